"""What is counted of each limit over a run."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.cases import Case

MOST = 5
"""So many of the most affected are named."""
COVERED = 0.9
"""The hours of day that are named hold at least this share of the intervals."""


@dataclass
class Tally:
    """Of one limit.

    Attributes:
        lost_kwh: (2, n) what those behind it lost while it bound, import and export.
        by_hour: (24,) intervals in which it bound and somebody behind it was short, by hour of day.
        asked: intervals in which all requests together would exceed it.
        worth_kwh: energy per unit of the limit.
    """

    lost_kwh: FloatArray
    by_hour: IntArray = field(default_factory=lambda: np.zeros(24, dtype=np.intp))
    asked: int = 0
    worth_kwh: float = 0.0

    @property
    def intervals(self) -> int:
        """In which it bound."""
        return int(self.by_hour.sum())

    @property
    def lost_mwh(self) -> FloatArray:
        """(2,) import and export."""
        return np.asarray(self.lost_kwh.sum(axis=1) / 1000.0)

    def participants(self, case: Case) -> tuple[tuple[str, float], ...]:
        """The most affected and what they lost, MWh."""
        return _largest(case.participant_names, self.lost_kwh.sum(axis=0))

    def feeders(self, case: Case) -> tuple[tuple[str, float], ...]:
        """LV feeders likewise."""
        members = case.groups("feeder").members[:-1]
        return _largest(case.feeder.lv_feeders, members @ self.lost_kwh.sum(axis=0))

    def feeder_count(self, case: Case) -> int:
        """Of how many LV feeders somebody is behind it."""
        home = case.groups("feeder").of[self.lost_kwh.sum(axis=0) > 0]
        return len(np.unique(home[home < len(case.feeder.lv_feeders)]))


def _largest(names: tuple[str, ...], kwh: FloatArray) -> tuple[tuple[str, float], ...]:
    if not kwh.any():
        return ()
    order = np.argsort(-kwh, kind="stable")[:MOST]
    return tuple((names[i], float(kwh[i]) / 1000.0) for i in order.tolist() if kwh[i] > 0)


def span_of_hours(by_hour: IntArray) -> str:
    """The shortest span of hours of day, also over midnight, that holds most of the intervals, such as ``22-02``."""
    total = int(by_hour.sum())
    if total == 0:
        return ""
    for length in range(1, 24):
        held = [int(np.roll(by_hour, -start)[:length].sum()) for start in range(24)]
        start = int(np.argmax(held))
        if held[start] >= COVERED * total:
            return f"{start:02d}-{(start + length) % 24:02d}"
    return "00-24"
