"""The driver: runs a mechanism over a span of intervals and puts the results of its shards together."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import DIRECTIONS
from amm_opt.cases import Case
from amm_opt.errors import InexactWarning, UnavoidableWarning
from amm_opt.market import Mechanism
from amm_opt.network.excess import broken_without_injection
from amm_opt.registry import is_script, network_name
from amm_opt.simulation.forecast import Forecast
from amm_opt.simulation.loop.loop import Loop
from amm_opt.simulation.loop.result import ShardResult
from amm_opt.simulation.loop.waiting import Backlog
from amm_opt.simulation.options import JOINT, TWO, Options, Settings, settled
from amm_opt.simulation.replay import verify
from amm_opt.simulation.results.claim import Claim
from amm_opt.simulation.results.column import Column
from amm_opt.simulation.results.reasons import logger, tell
from amm_opt.simulation.results.run import Run
from amm_opt.simulation.results.store import RunStore
from amm_opt.simulation.results.summary import summarised
from amm_opt.simulation.results.totals import Totals
from amm_opt.simulation.shards import Collector, run_shards
from amm_opt.solve.backends.known import Choice

NOTHING = 1e-6
"""Of what is asked for: less is nothing."""


def simulate(
    case: Case | str | Path,
    mechanism: Mechanism[Any] | str,
    *,
    network: Any = None,
    solver: Choice = None,
    steps: int | str | slice | None = None,
    workers: int = 1,
    ac: str | None = None,
    forecast: Forecast | str | None = None,
    defer: bool = False,
    tiers: str = JOINT,
    time_limit_s: float | None = None,
    columns: Sequence[Column] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Run one mechanism over a span of intervals.

    Args:
        case: what to run on, or its name or folder.
        mechanism: an instance, a class whose parameters all have defaults, or a spec such as ``"amm:alpha=2"``.
        network: name of the network model, ``script.py:Class``, its class, or a model that was built on the case's
            feeder; None for lindistflow on balanced feeders and lindist3flow on others.
        solver: name of any installed cvxpy solver or registered backend, or a ``Backend`` or its class; by capability
            where None.
        steps: None for every interval, a count, a period such as ``"2016-05"``, or a slice of dates (both ends
            included) or numbers (half-open).
        workers: processes to spread the intervals over. The result is the same to the bit. A mechanism with memory uses
            one, as does energy that waits, and what cannot be sent to other processes: ``run.workers`` says how many
            were used, and the logger ``amm_opt`` why.
        ac: ``"verify"`` replays the run by AC power flow (see ``verify``); ``"secure"`` also makes every allocation of
            a mechanism that enforces limits AC-feasible, by margins learnt from the model's error; windows are planned
            without it, and cut back when they are carried out. Both need the ``ac`` extra.
        forecast: what mechanisms plan on: None or ``"perfect"``, ``"persistence"``, ``"noisy:sigma=0.1,seed=0"``, or a
            function (case, now, stop) that returns a ``Requests``. What happens is what the plan and the real requests
            leave, cut back where it breaks a limit (``run.planned``, ``repaired_steps``).
        defer: whether charging sessions can wait: what they are not served is asked for again until they depart
            (``run.backlog``, ``run.departed``, ``waiting_mwh``). Needs a perfect forecast.
        tiers: ``"joint"`` matches everybody at once; ``"two"`` matches LV feeders against each other on the upper tier
            and customers inside each LV feeder's grant (docs/tiers.md); what breaks a limit of the whole network is
            cut back (``repaired_steps``).
        time_limit_s: for every call of a solver; by default 120 s, and 3 h for programs over a horizon. A solver that
            takes longer has failed. docs/writing-a-solver.md says which solvers can be stopped.
        columns: summary columns of your own (docs/results.md).
        progress: called with (intervals done, all) after every block.

    Raises:
        InputError: anything the caller gave that is wrong; nothing has been run then.
        SolveError: where none of the first intervals that had to be solved has a solution.
    """
    options = Options(
        network=network,
        solver=solver,
        steps=steps,
        workers=workers,
        ac=ac,
        forecast=forecast,
        defer=defer,
        tiers=tiers,
        time_limit_s=time_limit_s,
        columns=columns,
        progress=progress,
    )
    return execute(settled(case, mechanism, options))


def execute(settings: Settings) -> Run:
    """Run what was checked.

    Raises:
        InputError: where a program cannot be compiled, or solved by the named solver.
        SolveError: where none of the first intervals that had to be solved has a solution.
    """
    began = time.perf_counter()
    loop = settings.loop()
    processes = _processes(settings, loop)
    store = RunStore(settings.case, settings.first, settings.stop)
    done = Collector(store, settings.stop - settings.first, settings.progress)
    total = run_shards(loop, replace(settings, progress=None, columns=()).loop, processes, done)
    seconds = time.perf_counter() - began
    _tell(settings, total)
    run = _run(settings, store, total, _totals(settings, loop, total, seconds), processes, _unavoidable(loop, total))
    run = replace(run, claim=_claim(loop, run.network, total))
    return verify(run) if settings.verified else summarised(run)


def _run(
    settings: Settings,
    store: RunStore,
    total: ShardResult,
    totals: Totals,
    processes: int,
    unavoidable: tuple[str, ...],
) -> Run:
    return Run(
        case=settings.case,
        mechanism=settings.mechanism,
        network=network_name(settings.case, settings.network),
        model=None if isinstance(settings.network, str) and not is_script(settings.network) else settings.network,
        tiers=settings.tiers,
        solver=total.solver_used(),
        times=settings.case.times[settings.first : settings.stop],
        first=settings.first,
        allocation=store.allocation(),
        state=total.state,
        summary=pd.Series(dtype=float),
        failed_steps=total.failed,
        fallback_reasons=total.fallback,
        audit=total.audit,
        store=store,
        repaired_steps=tuple(sorted(set(total.repaired))),
        inexact_steps=tuple(total.inexact),
        gap=total.gap,
        unavoidable=unavoidable,
        backlog=total.backlog,
        departed=None if settings.sessions is None else Backlog.joined(total.departed),
        waits=settings.sessions is not None,
        totals=totals,
        columns=settings.columns,
        workers=processes,
    )


def _processes(settings: Settings, loop: Loop) -> int:
    """How many processes a run uses; says why there is one where more are asked for."""
    if settings.workers > 1 and settings.one_process:
        logger.info("%s: one process: %s", settings.mechanism, settings.one_process)
        return 1
    return min(settings.workers, len(loop.shards())) if loop.matching.clears else 1


def _totals(settings: Settings, loop: Loop, total: ShardResult, seconds: float) -> Totals:
    """What the summary is computed from."""
    conic, waiting = loop.grid.conic, None
    cuts = settings.secure or settings.forecast or settings.tiers == TWO or settings.mechanism.feasible_at_limits_only
    if settings.sessions is not None and total.backlog is not None:
        waiting = float(settings.sessions.waiting_kwh(total.backlog, settings.stop).sum())
    return replace(
        total.totals,
        seconds=seconds,
        waiting_kwh=waiting,
        conic=conic,
        cuts=bool(cuts or conic or total.repaired),
    )


def _claim(loop: Loop, network: str, total: ShardResult) -> Claim:
    """What a run says of limits before any replay."""
    where = "with everyone at the limit" if loop.mechanism.feasible_at_limits_only else "at the requested point"
    violations = total.totals.violations
    return Claim(
        f"{where} in {network}",
        loop.stop - loop.first,
        violations.sentences(loop.grid.network, loop.grid.case.times),
        unavoidable=violations.unavoidable,
    )


def _tell(settings: Settings, total: ShardResult) -> None:
    """Log why intervals failed or took a second try, and warn of those that failed or were inexact."""
    label, times = str(settings.mechanism), settings.case.times
    tell(label, times, total.fallback, total.failed)
    if total.failed:
        first, reason = next(iter(total.failed.items()))
        failed = f"{label}: nobody is served in {len(total.failed)} intervals, first at {times[first]}: {reason}"
        warnings.warn(failed, stacklevel=4)
    if total.inexact and total.gap is not None:
        branch = int(np.argmax(total.gap))
        warnings.warn(
            f"{label}: the relaxed network model is inexact in {len(total.inexact)} intervals, first at"
            f" {times[total.inexact[0]]}; the worst gap is {total.gap[branch]:.2g} of the rating squared, on"
            f" branch {settings.case.feeder.branch_names[branch]!r}. {len(set(total.repaired))} allocations were scaled"
            " back",
            InexactWarning,
            stacklevel=4,
        )


def _unavoidable(loop: Loop, total: ShardResult) -> tuple[str, ...]:
    """Limits that are broken whatever is served; a warning where one is with nobody connected and nobody is served."""
    network, elements, steps = loop.grid.network, total.totals.violations.elements, loop.stop - loop.first
    always = broken_without_injection(network)
    said = (*always, *([] if elements is None else elements.sentences(network, steps)))
    text = f"case {loop.grid.case.name!r} has limits that are broken whatever is served: {'; '.join(said)}"
    asked, served = (kwh.sum(axis=1) for kwh in (total.totals.requested_kwh, total.totals.served_kwh))
    refused = [d for d, a, s in zip(DIRECTIONS, asked, served, strict=True) if a > 0 and s <= NOTHING * a]
    if always and refused:
        warnings.warn(f"no {' and no '.join(refused)} is served: {text}", UnavoidableWarning, stacklevel=4)
    elif said:
        logger.info("%s", text)
    return said
