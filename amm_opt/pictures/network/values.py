"""What a map is coloured by: a number for every bus or every branch, from a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from amm_opt.arrays import DIRECTIONS, FloatArray
from amm_opt.cases import Case
from amm_opt.errors import InputError, counted, unknown
from amm_opt.market import deficits
from amm_opt.market.state import served_ratio
from amm_opt.pictures.readings import NetworkUse, blocks, network_use
from amm_opt.simulation import Run
from amm_opt.tolerances import THERMAL_VIOLATION, VOLTAGE_VIOLATION_PU


@dataclass(frozen=True, eq=False)
class Values:
    """Numbers of buses or of branches, NaN where there is none.

    Attributes:
        values: (buses,) or (branches,).
        of: ``bus`` or ``branch``.
        title: what it is.
        unit: empty where it has none.
        low, high: ends of the scale of colours; what is beyond has a colour of its own.
        middle: where the scale of colours turns; None where it does not.
    """

    values: FloatArray
    of: str
    title: str
    unit: str
    low: float
    high: float
    middle: float | None = None

    @property
    def label(self) -> str:
        """Title and unit."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    def text(self, k: int) -> str:
        """The number of one of them in words."""
        value = float(self.values[k])
        return "-" if np.isnan(value) else f"{value:.4g} {self.unit}".rstrip()


COLOURED_BY = ("served", "loading", "voltage", "price", "deficit")


def values_of(run: Run, what: str, direction: str, steps: Any, network: Any) -> Values:
    """Numbers of one of ``COLOURED_BY`` over some of a run's intervals; see ``RunPictures.map``.

    Raises:
        InputError: for something else, another direction, and prices where there are none.
    """
    if what not in COLOURED_BY:
        raise unknown("colour", str(what), COLOURED_BY)
    if direction not in DIRECTIONS:
        raise unknown("direction", str(direction), DIRECTIONS)
    start, stop = run.chosen(steps)
    span = (start - run.first, stop - run.first)
    if what in ("loading", "voltage"):
        return _of_network(run, what, span, network)
    if what == "served":
        return _served(run, direction, span)
    if what == "price":
        return _price(run, direction, span)
    return _deficit(run, direction, span, network)


def _of_network(run: Run, what: str, span: tuple[int, int], network: Any) -> Values:
    use, feeder = network_use(run, [span], network), run.case.feeder
    if what == "loading":
        return highest_loading(use)
    room = (use.v_lowest_pu - feeder.v_min_pu, feeder.v_max_pu - use.v_highest_pu)
    v_pu = np.where(room[0] < room[1], use.v_lowest_pu, use.v_highest_pu)
    low, high = float(feeder.v_min_pu.min()), float(feeder.v_max_pu.max())
    near = (v_pu > low - VOLTAGE_VIOLATION_PU) & (v_pu < high + VOLTAGE_VIOLATION_PU)
    v_pu = np.where(near, np.clip(v_pu, low, high), v_pu)
    return Values(v_pu, "bus", "voltage closest to a limit of its band", "pu", low, high, 0.5 * (low + high))


def highest_loading(use: NetworkUse) -> Values:
    """Of each branch, in % of its limit; what is beyond it by less than a violation is at it."""
    kept = (use.branch_loading > 1.0) & (use.branch_loading <= 1.0 + THERMAL_VIOLATION)
    loading = np.where(kept, 1.0, use.branch_loading)
    return Values(100.0 * loading, "branch", "highest loading", "% of the limit", 0.0, 100.0)


def _served(run: Run, direction: str, span: tuple[int, int]) -> Values:
    d, totals = DIRECTIONS.index(direction), np.zeros((2, run.case.n_participants))
    for a, b in blocks(run.case, *span):
        asked = run.case.requests(run.first + a, run.first + b, waits=run.waits)
        totals[0] += asked.request_kw(direction).sum(axis=0)
        totals[1] += run.store.read("served_kw", a, b)[:, d].sum(axis=0)
    requested, served = (at_bus(run.case, kwh) for kwh in totals)
    ratio = np.where(requested > 0, served_ratio(served, requested), np.nan)
    lowest = float(np.nanmin(ratio)) if not np.isnan(ratio).all() else 0.0
    return Values(ratio, "bus", f"served ratio, {direction}", "", min(0.9, np.floor(10.0 * lowest) / 10.0), 1.0)


def _price(run: Run, direction: str, span: tuple[int, int]) -> Values:
    if not run.priced:
        raise InputError(f"{run.mechanism} sets no prices")
    d, n = DIRECTIONS.index(direction), run.case.n_participants
    total, count = np.zeros(n), np.zeros(n)
    for a, b in blocks(run.case, *span):
        prices = run.store.read("price_per_kwh", a, b)[:, d]
        total += np.nansum(prices, axis=0)
        count += (~np.isnan(prices)).sum(axis=0)
    summed, counted = at_bus(run.case, total), at_bus(run.case, count)
    mean = np.where(counted > 0, summed / np.maximum(counted, 1), np.nan)
    low, high = _ends(mean)
    return Values(mean, "bus", f"mean price, {direction}", "currency/kWh", low, high)


def _deficit(run: Run, direction: str, span: tuple[int, int], network: Any) -> Values:
    d, case, grid = DIRECTIONS.index(direction), run.case, run.program_grid(network)
    total, count = np.zeros(case.n_participants), 0
    for a, b in blocks(case, *span):
        asked = case.requests(run.first + a, run.first + b, waits=run.waits)
        steps = np.flatnonzero(grid.scarce(asked))
        for interval in grid.intervals(asked, steps):
            total += deficits(grid, interval)[d]
        count += len(steps)
    people = at_bus(case, np.ones(case.n_participants))
    mean = np.where(people > 0, at_bus(case, total) / np.maximum(people * max(count, 1), 1), np.nan)
    return Values(
        mean, "bus", f"mean deficit in {counted(count, 'scarce interval')}, {direction}", "", 0.0, _ends(mean)[1]
    )


def at_bus(case: Case, values: FloatArray) -> FloatArray:
    """(buses,) sums of what is of participants."""
    return np.asarray(case.incidence @ values)


def _ends(values: FloatArray) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    if not known.size:
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    return (low, high) if high > low else (low, low + max(abs(low), 1.0) * 1e-3)
