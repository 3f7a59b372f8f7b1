"""A run's allocations replayed by AC power flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from amm_opt.errors import InputError, as_path
from amm_opt.fields import checked_kind, not_callable
from amm_opt.grid import Grid
from amm_opt.network import ACNetwork, Feeder
from amm_opt.simulation.results.claim import Claim
from amm_opt.simulation.results.run import Run
from amm_opt.simulation.results.summary import summarised
from amm_opt.verification.replay import PowerFlow, ReplayTotals

BLOCK_STEPS = 192
BLOCK_NUMBERS = 400_000
"""A block has at most this many buses times intervals, which bounds memory."""


def verify(
    run: Run,
    *,
    threads: int = 0,
    opendss: str | Path | None = None,
    network: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Replay a run's allocations by AC power flow and fill the AC columns of its summary.

    Violations are counted as for the network model, with the same tolerances, on the voltage magnitude and on what the
    rating of a branch limits, at the end that carries more: the current of lines and switches, the apparent power of
    transformers (``ACState.loading_kva``); pairs that inflexible load only has beyond their limit in an
    AC power flow are unavoidable ones. The errors are those of the run's network model under the same injections, over
    all buses but the source (pu) and over all rated branches (in % of the rating). Intervals without a power-flow
    solution are counted in ``ac_unsolved_steps`` and in nothing else.

    Args:
        threads: of the power flow; 0 for one per processor. OpenDSS uses one.
        opendss: the OpenDSS master file (or its folder) that the feeder was imported from. OpenDSS then replays the run
            on all wires of the file, instead of power-grid-model on the feeder, see ``FourWireNetwork``.
        network: the network model of a run that was read from disk, where that is no installed one: its class, or a
            model that was built on the case's feeder.
        progress: called with (intervals done, all) after every block.

    Returns:
        The same run with its summary filled.

    Raises:
        InputError: where the power flow (the ``ac`` or ``opendss`` extra) is not installed or cannot model the feeder.
    """
    checked_kind(run, Run, "run")
    if problem := not_callable(progress, "progress"):
        raise InputError(problem)
    master = None if opendss is None else as_path(opendss, "file")
    wires = _wires(run.case.feeder, threads, master)
    return replayed(run, wires, network=network, progress=progress)


def _wires(feeder: Feeder, threads: int, master: Path | None) -> PowerFlow:
    if master is None:
        return ACNetwork(feeder, threads)
    from amm_opt.verification.four_wire import FourWireNetwork

    return FourWireNetwork(feeder, master)


def replayed(
    run: Run, wires: PowerFlow, *, network: Any = None, progress: Callable[[int, int], None] | None = None
) -> Run:
    """As ``verify``, by a power flow of the case's feeder that has solved nothing yet."""
    case = run.case
    grid = Grid(case, run.network_model(network))
    length = max(1, min(BLOCK_STEPS, BLOCK_NUMBERS // grid.network.n_nodes))
    totals = ReplayTotals()
    for start in range(0, len(run.times), length):
        stop = min(start + length, len(run.times))
        requests = case.requests(run.first + start, run.first + stop, waits=run.waits)
        totals.add(grid, wires, requests, run.allocation.select(slice(start, stop)))
        if progress is not None:
            progress(stop, len(run.times))
    points = "AC points" if isinstance(wires, ACNetwork) else "AC points on all wires"
    return summarised(replace(run, ac=totals, claim=_claim(run, grid, totals, points)))


def _claim(run: Run, grid: Grid, totals: ReplayTotals, points: str) -> Claim:
    """What a run says of limits after a replay."""
    before = run.claim or Claim(f"at the requested point in {run.network}", len(run.times))
    violations = totals.violations
    tested = len(run.times) - violations.unsolved
    of_margin = before.margin
    if run.trained is not None and run.trained.on_ac:
        of_margin = run.trained.sentence(violations.broken_intervals, len(run.times))
    return replace(
        before,
        margin=of_margin,
        points=points,
        tested=tested,
        broken_ac=violations.sentences(grid.network, run.case.times),
        unavoidable=violations.unavoidable if tested else before.unavoidable,
    )
