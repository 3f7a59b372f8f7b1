"""Grid truth: a run's allocations replayed by AC power flow, and how far the network model was off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.cases import Requests
from amm_opt.errors import InputError, as_path
from amm_opt.fields import checked_kind, not_callable
from amm_opt.grid import Grid
from amm_opt.network import ACNetwork, ACState
from amm_opt.network.excess import FlowState
from amm_opt.registry import network_models, network_name, network_of
from amm_opt.simulation.results.metrics import Violations
from amm_opt.simulation.results.run import Run
from amm_opt.verify.four_wire import FourWireNetwork

BLOCK_STEPS = 192
BLOCK_NUMBERS = 400_000
"""A block has at most this many buses times intervals, which bounds memory."""


@dataclass
class _Error:
    """Worst and root mean square of a difference."""

    worst: float = 0.0
    squares: float = 0.0
    count: int = 0

    def add(self, difference: FloatArray) -> None:
        self.worst = max(self.worst, float(np.max(np.abs(difference), initial=0.0)))
        self.squares += float(np.vdot(difference, difference))
        self.count += difference.size

    @property
    def rms(self) -> float:
        return float(np.sqrt(self.squares / max(self.count, 1)))


@dataclass
class _Totals:
    """What the replay came to."""

    violations: Violations = field(default_factory=Violations)
    voltage_error_pu: _Error = field(default_factory=_Error)
    flow_error: _Error = field(default_factory=_Error)
    losses_kwh: float = 0.0

    def add(self, ac: ACState, model: FlowState, rated: IntArray, rating_kva: FloatArray, dt_h: float) -> None:
        """Losses of the intervals that have a power-flow solution, and errors where the model has one as well."""
        self.losses_kwh += float(ac.loss_kw[ac.solved].sum()) * dt_h
        solved = ac.solved & ~np.isnan(model.v_pu).any(axis=1)
        self.voltage_error_pu.add((model.v_pu - ac.v_pu)[solved, 1:])
        difference = model.loading_kva[:, rated] - ac.loading_kva[:, rated]
        self.flow_error.add(difference[solved] / rating_kva[rated])

    def columns(self) -> dict[str, float]:
        v = self.violations
        return {
            "ac_thermal_violations": v.thermal,
            "ac_voltage_violations": v.voltage,
            "worst_ac_thermal_excess_pct": 100.0 * v.worst_thermal,
            "worst_ac_voltage_excess_pu": v.worst_voltage_pu,
            "ac_unavoidable_violations": v.unavoidable,
            "ac_unsolved_steps": v.unsolved,
            "voltage_error_worst_pu": self.voltage_error_pu.worst,
            "voltage_error_rms_pu": self.voltage_error_pu.rms,
            "flow_error_worst_pct": 100.0 * self.flow_error.worst,
            "flow_error_rms_pct": 100.0 * self.flow_error.rms,
            "ac_losses_mwh": self.losses_kwh / 1000.0,
        }


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
    transformers (``ACState.loading_kva``); pairs that inflexible load alone has beyond their limit in an
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
    case = run.case
    grid = Grid(case, _model(run, network))
    wires = FourWireNetwork(case.feeder, master) if master is not None else ACNetwork(case.feeder, threads)
    model = grid.network
    rated = np.flatnonzero(np.isfinite(model.rating_kva))
    length = max(1, min(BLOCK_STEPS, BLOCK_NUMBERS // model.n_nodes))
    totals = _Totals()
    for start in range(0, len(run.times), length):
        stop = min(start + length, len(run.times))
        requests = case.requests(run.first + start, run.first + stop, waits=run.waits)
        a = run.allocation.select(slice(start, stop))
        p, q = grid.node_injections(requests.inflexible_kw, a.drawn_kw, a.injected_kw)
        ac = wires.flow(p, q)
        totals.add(ac, model.state(p, q), rated, model.rating_kva, case.dt_h)
        totals.violations.add(model, ac, partial(_alone, wires, grid, requests))
        if progress is not None:
            progress(stop, len(run.times))
    return replace(run, summary=_filled(run.summary, totals.columns()))


def _model(run: Run, network: Any) -> Any:
    """The network model of a run.

    Raises:
        InputError: where it is not known any more, or another one than the run's is given.
    """
    chosen = run.model if network is None else network
    if chosen is None:
        if run.network not in network_models():
            raise InputError(
                f"the run was made with the network model {run.network!r}, which is not installed: give it as"
                " verify(run, network=...)"
            )
        chosen = run.network
    if (name := network_name(run.case, chosen)) != run.network:
        raise InputError(f"the run was made with the network model {run.network!r}, not {name!r}")
    return network_of(run.case, chosen)


def _alone(network: ACNetwork | FourWireNetwork, grid: Grid, requests: Requests, k: IntArray) -> ACState:
    return network.flow(*grid.node_injections(requests.inflexible_kw[k], 0.0, 0.0))


def _filled(summary: pd.Series[float], columns: dict[str, float]) -> pd.Series[float]:
    return pd.Series({**summary.to_dict(), **columns}, name=summary.name)
