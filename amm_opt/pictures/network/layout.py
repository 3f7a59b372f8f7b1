"""Where buses stand in a picture: at their coordinates, or in a tidy tree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.errors import InputError, unknown
from amm_opt.network import Feeder

LAYOUTS = ("coordinates", "tree")


@dataclass(frozen=True, eq=False)
class Layout:
    """Places of buses and courses of branches.

    Attributes:
        kind: one of ``LAYOUTS``.
        xy: (buses, 2) coordinates as in the tables; in a tree the number of branches to the source, and the row.
        branches: numbers of the branches that are drawn.
        courses: (branches, points, 2) of each; in a tree with a corner.
    """

    kind: str
    xy: FloatArray
    branches: IntArray
    courses: FloatArray


def laid_out(feeder: Feeder, kind: str | None = None) -> Layout:
    """Places of the buses of a feeder.

    Args:
        kind: ``coordinates`` or ``tree``; by default coordinates where more than half of the buses have some. Those
            without then stand where the next bus towards the source does.

    Raises:
        InputError: for another kind, and for coordinates where no bus has some.
    """
    known = _coordinates(feeder)
    have = ~np.isnan(known[:, 0])
    if kind is None:
        kind = "coordinates" if 2 * have.sum() > feeder.n_buses else "tree"
    if kind not in LAYOUTS:
        raise unknown("layout", str(kind), LAYOUTS)
    if kind == "coordinates" and not have.any():
        raise InputError("no bus has coordinates: draw the tree")
    branches = np.arange(1, len(feeder.branch_names), dtype=np.intp)
    at = _filled(feeder, known) if kind == "coordinates" else _tree(feeder)
    one, other = at[feeder.ends[0, branches]], at[feeder.ends[1, branches]]
    if kind == "coordinates":
        return Layout(kind, at, branches, np.stack([one, other], axis=1))
    corner = np.stack([one[:, 0], other[:, 1]], axis=1)
    corner[branches >= feeder.n_buses] = other[branches >= feeder.n_buses]
    return Layout(kind, at, branches, np.stack([one, corner, other], axis=1))


def _coordinates(feeder: Feeder) -> FloatArray:
    """(buses, 2), NaN where a bus has none."""
    buses = feeder.tables.buses
    if not {"x", "y"} <= set(buses.columns):
        return np.full((feeder.n_buses, 2), np.nan)
    table = buses.set_index("name")[["x", "y"]].astype(float)
    return np.asarray(table.reindex(list(feeder.bus_names)), dtype=float)


def _filled(feeder: Feeder, known: FloatArray) -> FloatArray:
    """Buses without coordinates stand where the bus upstream does, or at the source where the first that has some."""
    at = known.copy()
    if np.isnan(at[0]).any():
        at[0] = at[np.flatnonzero(~np.isnan(at[:, 0]))[0]]
    for i in range(1, feeder.n_buses):
        if np.isnan(at[i]).any():
            at[i] = at[feeder.parent[i]]
    return at


def _tree(feeder: Feeder) -> FloatArray:
    """Every leaf has a row of its own, in the order of the walk; every other bus the middle of those it leads to."""
    n, parent = feeder.n_buses, feeder.parent
    first, last = np.full(n, np.nan), np.full(n, np.nan)
    rows = np.zeros(n)
    leaf = feeder.subtree_end == np.arange(n) + 1
    rows[leaf] = np.arange(int(leaf.sum()))
    for i in range(n - 1, -1, -1):
        rows[i] = rows[i] if leaf[i] else 0.5 * (first[i] + last[i])
        up = int(parent[i])
        if up >= 0:
            last[up] = rows[i] if np.isnan(last[up]) else last[up]
            first[up] = rows[i]
    return np.stack([feeder.depth.astype(float), rows.max() - rows], axis=1)
