"""Which layer and which limit set each price: worked out again from what was asked for, exactly as in the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import DIRECTIONS, BoolArray, FloatArray, IntArray
from amm_opt.cases import Case, Requests
from amm_opt.grid import Grid
from amm_opt.market import Allocation, Mechanism, areas_of
from amm_opt.simulation.explanation.places import LOWER, UPPER, Places

Report = Callable[[int, int], None]
BLOCK_STEPS = 96
NOTHING = -1


def has_layers(mechanism: Mechanism[Any]) -> bool:
    """Whether the prices of a mechanism follow from deficits of limits."""
    return type(mechanism).scarcity is not Mechanism.scarcity


@dataclass
class PriceSources:
    """What sets the prices of one mechanism on one grid, which is to be that of the run.

    Attributes:
        limits: (area, kind, name) of every limit that has set a price so far.
    """

    grid: Grid
    mechanism: Mechanism[Any]
    limits: list[tuple[int, str, str]] = field(default_factory=list)
    _numbers: dict[tuple[int, int], int] = field(default_factory=dict)
    _inside: dict[int, BoolArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._places = Places(self.grid.linear)

    @cached_property
    def _area(self) -> IntArray:
        return areas_of(self.grid.linear)

    def of(self, requests: Requests) -> tuple[IntArray, FloatArray]:
        """Number of the limit, -1 where there is none, and deficit of everybody: (T, 2, n) each.

        Where everything is served without a solve there is no deficit.
        """
        steps = np.arange(requests.n_steps)
        if self.mechanism.full_service_optimal:
            steps = np.flatnonzero(self.grid.scarce(requests))
        shape = (requests.n_steps, 2, self.grid.n)
        number, deficit = np.full(shape, NOTHING, dtype=np.intp), np.zeros(shape)
        for k, interval in zip(steps.tolist(), self.grid.intervals(requests, steps), strict=True):
            found = self.mechanism.scarcity(self.grid, interval)
            assert found is not None
            deficit[k] = found.deficit
            for upper, side in ((True, UPPER), (False, LOWER)):
                mine = (found.quantity >= 0) & (found.upper == upper)
                rows, back = np.unique(found.quantity[mine], return_inverse=True)
                number[k][mine] = self._number(rows, side)[back]
        return number, deficit

    def _number(self, rows: IntArray, side: int) -> IntArray:
        """The numbers of these quantities' limits at this side; edges and phases of one element share one."""
        if not len(rows):
            return rows
        found = []
        for row, place in zip(rows.tolist(), self._places.of(rows, side).tolist(), strict=True):
            key = (int(self._area[row]), place)
            if key not in self._numbers:
                self._numbers[key] = len(self.limits)
                self.limits.append((key[0], self._places.keys[place][0], self._places.name(place)))
            found.append(self._numbers[key])
        return np.array(found, dtype=np.intp)

    def inside(self, number: int) -> BoolArray:
        """(n,) who lies in the area of a limit; nobody in that of none."""
        if number not in self._inside:
            area = np.full(self.grid.n, self.limits[number][0] if number != NOTHING else NOTHING)
            self._inside[number] = self.grid.case.layers.holds(area, self.grid.case.bus) & (number != NOTHING)
        return self._inside[number]

    def named(self) -> pd.DataFrame:
        """``layer``, ``area``, ``limit`` and ``kind`` by number; the last row, of -1, is empty."""
        layers = self.grid.case.layers
        rows = [(layers.names[layers.layer[a]], layers.areas[a], name, kind) for a, kind, name in self.limits]
        return pd.DataFrame([*rows, ("", "", "", "")], columns=["layer", "area", "limit", "kind"])


def prices_of(
    case: Case, first: int, times: pd.DatetimeIndex, allocation: Allocation, sources: PriceSources | None
) -> pd.DataFrame:
    """See ``Run.prices``: (T, n) prices as rows, with what set them where ``sources`` knows."""
    n, count = case.n_participants, len(times)
    prices = (allocation.import_price, allocation.export_price)
    columns: dict[str, Any] = {
        "time": np.repeat(times, 2 * n),
        "participant": pd.Categorical.from_codes(np.tile(np.arange(n), 2 * count), list(case.participant_names)),
        "direction": pd.Categorical.from_codes(np.tile(np.repeat([0, 1], n), count), list(DIRECTIONS)),
        "price_per_kwh": np.stack([np.full((count, n), np.nan) if p is None else p for p in prices], axis=1).ravel(),
    }
    if sources is not None:
        parts = [sources.of(case.requests(first + k, first + stop)) for k, stop in _blocks(sources.grid, count)]
        numbers = np.concatenate([number.ravel() for number, _ in parts])
        columns["deficit"] = np.concatenate([deficit.ravel() for _, deficit in parts])
        for name, texts in sources.named().items():
            code, known = pd.factorize(texts)
            columns[str(name)] = pd.Categorical.from_codes(code[numbers], list(known))
    return pd.DataFrame(columns)


def _blocks(grid: Grid, count: int) -> Iterator[tuple[int, int]]:
    length = min(BLOCK_STEPS, grid.block_steps)
    return ((k, min(k + length, count)) for k in range(0, count, length))


@dataclass
class _Count:
    """Of one limit and direction, or of none: pairs of a participant and an interval whose price it set."""

    intervals: int = 0
    price: float = 0.0
    inside: int = 0
    highest: float = -np.inf
    lowest: float = np.inf
    by_hour: IntArray = field(default_factory=lambda: np.zeros(24, dtype=np.int64))
    by_month: IntArray = field(default_factory=lambda: np.zeros(12, dtype=np.int64))


def counted(
    case: Case,
    first: int,
    times: pd.DatetimeIndex,
    allocation: Allocation,
    sources: PriceSources,
    report: Report | None,
) -> pd.DataFrame:
    """See ``Run.price_layers``."""
    counts: dict[tuple[int, int], _Count] = {}
    for start, stop in _blocks(sources.grid, len(times)):
        numbers, _ = sources.of(case.requests(first + start, first + stop))
        some = allocation.select(slice(start, stop))
        for d, prices in enumerate((some.import_price, some.export_price)):
            assert prices is not None
            for number in np.unique(numbers[:, d]).tolist():
                inside = sources.inside(number)
                _add(
                    counts.setdefault((number, d), _Count()), numbers[:, d] == number, prices, times[start:stop], inside
                )
        if report is not None:
            report(stop, len(times))
    named = sources.named()
    rows = [
        {
            "direction": DIRECTIONS[d],
            **named.iloc[number].to_dict(),
            "intervals": count.intervals,
            "share_pct": 100.0 * float(count.by_hour.sum()) / (len(times) * case.n_participants),
            "inside_pct": 100.0 * count.inside / max(int(count.by_hour.sum()), 1) if number != NOTHING else np.nan,
            "mean_price": count.price / max(int(count.by_hour.sum()), 1),
            "lowest_price": count.lowest,
            "highest_price": count.highest,
            "by_hour": tuple(count.by_hour.tolist()),
            "by_month": tuple(count.by_month.tolist()),
        }
        for (number, d), count in counts.items()
    ]
    return (
        pd.DataFrame(rows)
        .sort_values(["direction", "share_pct", "limit"], ascending=[False, False, True], kind="stable")
        .reset_index(drop=True)
    )


def _add(count: _Count, mine: BoolArray, prices: FloatArray, times: pd.DatetimeIndex, inside: BoolArray) -> None:
    """Add a block: where the price was set by it, (T, n), the prices, and (n,) who lies in its area."""
    known = mine & ~np.isnan(prices)
    count.inside += int(np.count_nonzero(known & inside))
    of_interval = known.sum(axis=1)
    count.intervals += int(np.count_nonzero(of_interval))
    if of_interval.any():
        paid = prices[known]
        count.price += float(paid.sum())
        count.highest, count.lowest = max(count.highest, float(paid.max())), min(count.lowest, float(paid.min()))
    np.add.at(count.by_hour, times.hour, of_interval)
    np.add.at(count.by_month, times.month - 1, of_interval)
