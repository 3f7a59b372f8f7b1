"""Which limits stand behind what a run did not serve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import DIRECTIONS, FloatArray, IntArray
from amm_opt.cases import Case, Requests
from amm_opt.errors import InputError
from amm_opt.grid import Grid
from amm_opt.margins import Margin
from amm_opt.market import Allocation
from amm_opt.market.scarcity import relative_sensitivities
from amm_opt.network import NetworkModel
from amm_opt.simulation.explanation.places import LOWER, PER, UPPER, Places, Side, at_limit
from amm_opt.simulation.explanation.tally import Tally, span_of_hours
from amm_opt.simulation.explanation.worth import Worth
from amm_opt.tolerances import BEHIND, BINDING, ROW_SLACK

SHORT = 1e-4
"""Somebody is short who lacks more than this share of the request, or of 1 kW."""
NO_LIMIT, FAILED = "no limit reached", "failed intervals"
BLOCK_STEPS = 96

Report = Callable[[int, int], None]


@dataclass
class Explainer:
    """Adds up, block by block, what each limit kept from whom.

    Attributes:
        shared: the grid of this network and margin, where other runs use it too: it sweeps requests once.

    Raises:
        InputError: on a conic network model.
    """

    case: Case
    network: NetworkModel
    worth: bool
    margin: Margin | None = None
    shared: Grid | None = None
    rest: dict[str, Tally] = field(default_factory=dict)
    tallies: dict[int, Tally] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.grid = Grid(self.case, self.network, self.margin) if self.shared is None else self.shared
        if self.grid.conic:
            raise InputError(
                f"limits of the network model {self.network.name!r} are not rows: only linear ones explain"
            )
        self.places = Places(self.grid)
        self._worth = Worth(self.grid, self.places)

    def add(self, requests: Requests, allocation: Allocation, failed: Mapping[int, str]) -> None:
        """Account for a block: requests and allocation with (T, n) arrays."""
        asked_kw = requests.both_kw
        lost_kw = np.maximum(asked_kw - allocation.both_kw, 0.0)
        short = np.any(lost_kw > SHORT * np.maximum(asked_kw, 1.0), axis=(0, 2))
        used = self.grid.quantities(requests, allocation.drawn_kw, allocation.injected_kw)
        lower, upper = self.grid.limits(requests)
        room = BINDING * self.grid.network.quantities.tolerance
        self._count_asked(self.grid.usage(requests)[1], lower, upper)
        for t in np.flatnonzero(short).tolist():
            hour, lost_kwh = int(requests.times[t].hour), lost_kw[:, t] * requests.dt_h
            if requests.start + t in failed:
                self._take(self.rest, FAILED, lost_kwh, hour)
                continue
            shares: dict[int, FloatArray] = {}
            for side, limit in ((UPPER, upper[t]), (LOWER, lower[t])):
                self._collect(shares, np.flatnonzero(at_limit(used[t], limit, room, side)), side)
            behind_any = np.zeros_like(lost_kwh, dtype=bool)
            for place, share in shares.items():
                behind_any |= share > 0
                if np.any((share > 0) & (lost_kw[:, t] > SHORT * np.maximum(asked_kw[:, t], 1.0))):
                    self._take(self.tallies, place, share * lost_kwh, hour)
            left = np.where(behind_any, 0.0, lost_kwh)
            if np.any(left > SHORT * requests.dt_h * np.maximum(asked_kw[:, t], 1.0)):
                self._take(self.rest, NO_LIMIT, left, hour)
        if self.worth:
            for place, kwh in self._worth.kwh(requests).items():
                self._of(self.tallies, place).worth_kwh += kwh

    def _collect(self, shares: dict[int, FloatArray], rows: IntArray, side: Side) -> None:
        """Of everybody the share in each place that binds: the largest in any of these quantities of it."""
        places = self.places.of(rows, side).tolist()
        for place, (who, share) in zip(places, relative_sensitivities(self.grid, rows, float(side)), strict=True):
            mine = shares.setdefault(place, np.zeros((2, self.grid.n))).reshape(-1)
            mine[who] = np.maximum(mine[who], np.where(share >= BEHIND, share, 0.0))

    def _count_asked(self, asked: FloatArray, lower: FloatArray, upper: FloatArray) -> None:
        """In which intervals full service would exceed each place."""
        room, pairs = ROW_SLACK * self.grid.network.quantities.tolerance, []
        for side, limit in ((UPPER, upper), (LOWER, lower)):
            t, rows = np.nonzero(side * (asked - limit) > room)
            pairs.append(np.stack([t, self.places.of(rows, side)]))
        for place, count in zip(*np.unique(np.unique(np.hstack(pairs), axis=1)[1], return_counts=True), strict=True):
            self._of(self.tallies, int(place)).asked += int(count)

    def _of(self, among: dict[Any, Tally], key: int | str) -> Tally:
        if key not in among:
            among[key] = Tally(np.zeros((2, self.grid.n)))
        return among[key]

    def _take(self, among: dict[Any, Tally], key: int | str, lost_kwh: FloatArray, hour: int) -> None:
        tally = self._of(among, key)
        tally.lost_kwh += lost_kwh
        tally.by_hour[hour] += 1

    def table(self) -> pd.DataFrame:
        """One row for each limit, those with the most energy behind them first, and what no limit explains."""
        limits = [self._row(*self._about(place), tally) for place, tally in self.tallies.items()]
        limits.sort(
            key=lambda r: (
                -r["unserved_mwh"] - r["curtailed_mwh"],
                -np.nan_to_num(r["worth_mwh"]),
                -r["asked_intervals"],
            )
        )
        rows = [*limits, *(self._row(name, "", "", tally) for name, tally in self.rest.items())]
        return pd.DataFrame(rows, columns=COLUMNS)

    def _about(self, place: int) -> tuple[str, str, str]:
        kind, _, direction = self.places.keys[place]
        return self.places.name(place), kind, DIRECTIONS[direction]

    def _row(self, name: str, kind: str, direction: str, tally: Tally) -> dict[str, Any]:
        unserved, curtailed = tally.lost_mwh.tolist()
        count = tally.feeder_count(self.case)
        return {
            "limit": name,
            "kind": kind,
            "direction": direction,
            "intervals": tally.intervals,
            "asked_intervals": tally.asked,
            "hours": span_of_hours(tally.by_hour),
            "unserved_mwh": unserved,
            "curtailed_mwh": curtailed,
            "worth_mwh": tally.worth_kwh / 1000.0 if kind and self.worth else np.nan,
            "worth_per": PER.get(kind, ""),
            "feeders": count,
            "shared": bool(kind) and count > 1,
            "most_affected_feeders": tally.feeders(self.case),
            "most_affected": tally.participants(self.case),
            "intervals_by_hour": tuple(tally.by_hour.tolist()),
        }


COLUMNS = [
    "limit",
    "kind",
    "direction",
    "intervals",
    "asked_intervals",
    "hours",
    "unserved_mwh",
    "curtailed_mwh",
    "worth_mwh",
    "worth_per",
    "feeders",
    "shared",
    "most_affected_feeders",
    "most_affected",
    "intervals_by_hour",
]


def binding_of(table: pd.DataFrame, dt_h: float) -> pd.DataFrame:
    """See ``Run.binding``; ``table`` as of :meth:`Explainer.table`, intervals of ``dt_h`` hours."""
    bound = table[(table["kind"] != "") & (table["intervals"] > 0)].reset_index(drop=True)
    return bound[["limit", "kind", "direction"]].assign(
        hours=bound["intervals"] * dt_h,
        hours_of_day=bound["hours"],
        multiplier=bound["worth_mwh"],
        per=bound["worth_per"],
        **{name: bound[name] for name in ("feeders", "most_affected_feeders", "most_affected")},
    )


def explained(
    case: Case,
    network: NetworkModel,
    margin: Margin | None,
    span: range,
    allocation: Allocation,
    failed: Mapping[int, str],
    report: Report | None,
) -> pd.DataFrame:
    """See ``Run.explain``; ``span`` are the numbers of the run's intervals within the case."""
    explainer = Explainer(case, network, allocation.battery_kw is None, margin)
    length = min(BLOCK_STEPS, explainer.grid.block_steps)
    for at in range(0, len(span), length):
        stop = min(at + length, len(span))
        explainer.add(case.requests(span[at], span[stop - 1] + 1), allocation.select(slice(at, stop)), failed)
        if report is not None:
            report(stop, len(span))
    return explainer.table()
