"""Limited quantities as people know them: a bus or a branch, by the direction that loads it."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from amm_opt.arrays import BoolArray, FloatArray, IntArray
from amm_opt.grid import Grid
from amm_opt.network import Quantities

UPPER, LOWER = 1, -1
Side = int
"""``UPPER`` or ``LOWER``: which end of a limited quantity."""
PER = {"voltage": "pu", "thermal": "kVA", "active": "kW"}
"""What a limit of each kind is counted in."""


class Places:
    """Every side of every limited quantity belongs to a place: an element and a direction.

    The lower end of a voltage band is import's, the upper one export's; of a branch it is the direction that loads it
    the more per kW. A place has one number; sides that bind at one element (edges of its polygon, its phases) share it.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._known: dict[tuple[int, Side], int] = {}
        self.keys: list[tuple[str, int, int]] = []
        self._numbers: dict[tuple[str, int, int], int] = {}

    def __len__(self) -> int:
        return len(self.keys)

    def of(self, rows: IntArray, side: Side) -> IntArray:
        """The place of each of these quantities at this side; new ones get the next number."""
        new = [k for k in np.unique(rows).tolist() if (k, side) not in self._known]
        for start in range(0, len(new), 256):
            some = np.array(new[start : start + 256], dtype=np.intp)
            for k, exports in zip(some.tolist(), self._exports(some, side).tolist(), strict=True):
                key = (str(self._q.kind[k]), int(self._q.element[k]), int(exports))
                self._known[k, side] = self._numbers.setdefault(key, len(self._numbers))
                if len(self._numbers) > len(self.keys):
                    self.keys.append(key)
        return np.array([self._known[k, side] for k in rows.tolist()], dtype=np.intp)

    def _exports(self, rows: IntArray, side: Side) -> BoolArray:
        """Whether the direction of each of these quantities at this side is export."""
        exports = np.full(len(rows), side == UPPER)
        branches = self._q.kind[rows] != "voltage"
        loading = (side * self._grid.sensitivity(rows[branches])).max(axis=2)
        exports[branches] = loading[1] > loading[0]
        return exports

    def name(self, place: int) -> str:
        """Bus or branch."""
        kind, element, _ = self.keys[place]
        feeder = self._grid.case.feeder
        return feeder.bus_names[element] if kind == "voltage" else feeder.branch_names[element]

    def per_unit(self, rows: IntArray, side: Side) -> FloatArray:
        """Change of the limits of these quantities per kVA, kW or pu that their element is given more."""
        q = self._q
        limit = np.where(side == UPPER, q.upper[rows], q.lower[rows])
        kinds = [q.kind[rows] == "voltage", q.kind[rows] == "thermal"]
        changes = [2.0 * np.sqrt(np.maximum(limit, 0.0)), 1.0 / self._rating[rows]]
        return np.asarray(np.select(kinds, changes, 1.0 / self._base[rows]))

    @property
    def _q(self) -> Quantities:
        return self._grid.network.quantities

    @cached_property
    def _rating(self) -> FloatArray:
        """(m,) rating of the branch of each quantity."""
        return self._grid.case.feeder.rating_kva[self._q.element]

    @cached_property
    def _base(self) -> FloatArray:
        """(m,) what the active power of each quantity is a fraction of; 1 where it is none."""
        metered, out = self._grid.network.metered, np.ones(len(self._q.kind))
        out[self._q.kind == "active"] = metered.base_kw
        return out


def at_limit(quantities: FloatArray, limit: FloatArray, room: FloatArray, side: Side) -> BoolArray:
    """(..., m) where quantities are within ``room`` of their upper or lower limit, or beyond."""
    return np.asarray(side * (limit - quantities) <= room)
