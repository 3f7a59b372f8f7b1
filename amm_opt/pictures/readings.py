"""What pictures need of runs, read block by block: energies by month, and what the network carried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case
from amm_opt.errors import InputError
from amm_opt.grid import Grid
from amm_opt.market.state import served_ratio
from amm_opt.network.feeder.metered import Metered
from amm_opt.simulation import Run
from amm_opt.simulation.results.fairness import by_feeder
from amm_opt.simulation.results.labelled import on_network

BLOCK_NUMBERS = 4_000_000
"""A block has at most so many pairs of a participant and an interval."""
PER = ("feeder", "participant")


def scarcest(cut: pd.Series[float], asked: pd.Series[float], day: pd.DatetimeIndex) -> pd.Timestamp:
    """The day on which most is cut; where nothing is, that on which most is asked for.

    Args:
        day: to which each of the intervals belongs.
    """
    return pd.Timestamp((cut if cut.sum() > 0 else asked).groupby(day).sum().idxmax())


@dataclass(frozen=True, eq=False)
class Energies:
    """Energies of one run by month.

    Attributes:
        months: the first day of each.
        requested_kwh, served_kwh: (months, 2, n) import and export of participants; of energy that waits, what is asked
            for counts once, where it is asked for first.
    """

    case: Case
    months: pd.DatetimeIndex
    requested_kwh: FloatArray
    served_kwh: FloatArray

    def of(self, per: str) -> tuple[FloatArray, FloatArray]:
        """Requested and served, (months, 2, feeders) or (months, 2, n)."""
        both = (self.requested_kwh, self.served_kwh)
        return both if per == "participant" else (by_feeder(self.case, both[0]), by_feeder(self.case, both[1]))

    def ratios(self, per: str) -> FloatArray:
        """Served over requested energy of the whole run, (2, feeders) or (2, n); NaN where nothing was requested."""
        requested, served = (a.sum(axis=0) for a in self.of(per))
        return np.where(requested > 0, served_ratio(served, requested), np.nan)


def energies(runs: Mapping[str, Run]) -> dict[str, Energies]:
    """Energies of runs of one case on the same intervals, in one pass; what was asked for is expanded once.

    Raises:
        InputError: where the runs are of different cases or intervals.
    """
    some = same_intervals(runs)
    month = some.times.to_numpy().astype("datetime64[M]")
    months, of = np.unique(month, return_inverse=True)
    shape = (len(months), 2, some.case.n_participants)
    requested = {waits: np.zeros(shape) for waits in {run.waits for run in runs.values()}}
    served = {label: np.zeros(shape) for label in runs}
    for m in range(len(months)):
        first, last = np.flatnonzero(of == m)[[0, -1]].tolist()
        for start, stop in blocks(some.case, first, last + 1):
            for waits, kwh in requested.items():
                asked = some.case.requests(some.first + start, some.first + stop, waits=waits)
                kwh[m] += asked.both_kw.sum(axis=1) * some.case.dt_h
            for label, run in runs.items():
                served[label][m] += run.store.read("served_kw", start, stop).sum(axis=0) * some.case.dt_h
    at = pd.DatetimeIndex(months.astype("datetime64[ns]"))
    return {label: Energies(run.case, at, requested[run.waits], served[label]) for label, run in runs.items()}


def same_intervals(runs: Mapping[str, Run]) -> Run:
    """One of the runs, that is like all others.

    Raises:
        InputError: where there is none, or they are of different cases or intervals.
    """
    if not runs:
        raise InputError("there is no run to draw")
    some = next(iter(runs.values()))
    for label, run in runs.items():
        if (run.case.fingerprint, run.first, len(run.times)) != (some.case.fingerprint, some.first, len(some.times)):
            raise InputError(f"the run of {label!r} is of another case or of other intervals than {some.mechanism}")
    return some


def blocks(case: Case, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Intervals in blocks that memory holds."""
    length = max(1, BLOCK_NUMBERS // max(1, case.n_participants))
    return ((k, min(k + length, stop)) for k in range(start, stop, length))


@dataclass(frozen=True, eq=False)
class NetworkUse:
    """What the network carried under what was served, in the run's network model.

    Attributes:
        loading: (T,) of the most loaded branch in each interval, as a fraction of its rating, or of its limit of active
            power where it is closer to that; NaN where no branch has a limit.
        branch_loading: (branches,) the highest of each, NaN where it has no limit; entry 0 is no branch.
        v_lowest_pu, v_highest_pu: (buses,) over the phases.
    """

    loading: FloatArray
    branch_loading: FloatArray
    v_lowest_pu: FloatArray
    v_highest_pu: FloatArray


def network_use(run: Run, spans: Sequence[tuple[int, int]], network: Any = None) -> NetworkUse:
    """Sweep some of a run's intervals on its network model.

    Args:
        spans: first interval and one past the last, counted within the run.
        network: as for ``Run.loading``.
    """
    model = run.network_model(network)
    grid, feeder = Grid(run.case, model), run.case.feeder
    branch = model.branch[model.branch > 0]
    metered = Metered.of(feeder, branch)
    of_branch = np.full(len(feeder.branch_names), -np.inf)
    low, high = np.full(feeder.n_buses, np.inf), np.full(feeder.n_buses, -np.inf)
    parts = []
    for start, stop in spans:
        for a, b in blocks(run.case, start, stop):
            found = on_network(run.store, run.waits, grid, a, b, ("loading", "voltage_pu", "p_kw"))
            loading = found["loading"].to_numpy()
            active = metered.loading(found["p_kw"].to_numpy())[:, metered.of_flow]
            loading[:, metered.flow] = np.maximum(loading[:, metered.flow], active)
            v_pu = found["voltage_pu"].to_numpy()
            parts.append(loading.max(axis=1, initial=-np.inf))
            np.maximum.at(of_branch, branch, loading.max(axis=0))
            np.minimum.at(low, model.bus, v_pu.min(axis=0))
            np.maximum.at(high, model.bus, v_pu.max(axis=0))
    limited = np.isfinite(feeder.rating_kva)
    limited[metered.branch] = True
    limited &= np.isfinite(of_branch)
    every = np.concatenate(parts) if parts else np.zeros(0)
    return NetworkUse(
        every if limited.any() else np.full(len(every), np.nan), np.where(limited, of_branch, np.nan), low, high
    )


def unlimited(runs: Mapping[str, Run]) -> set[str]:
    """Labels of the mechanisms that do not claim to keep limits."""
    return {label for label, run in runs.items() if not run.known_mechanism.enforces_limits}
