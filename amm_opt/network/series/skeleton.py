"""Which buses of a radial feeder tell the voltages and flows of all others: ends, junctions, changes of conductor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from amm_opt.arrays import BoolArray, ComplexArray, IntArray
from amm_opt.network.feeder.feeder import Feeder
from amm_opt.network.feeder.limits import BRANCH_LIMITS

ALIKE = 1e-9
"""Impedances are in proportion where they differ by no more than this, as a fraction."""
SAME_PHASES = ("", "YNyn0")
"""Vector groups that turn no voltage."""
OF_BUSES = ("vn_kv", "v_min_pu", "v_max_pu", "lv_feeder", "delta_kva", "tap", "phase_tap")
NAMES = ("bus_names", "tier", "phases", "branch_names", "branch_kind", "branch_phases", "vector_group")
"""Arrays and tuples of a feeder that stay as they are at kept buses."""


@dataclass(frozen=True, eq=False)
class Skeleton:
    """A feeder of which only some buses are kept: those between two kept ones are merged into one branch.

    Attributes:
        bus: (k,) the kept buses in the order of the feeder, the source first.
        branch: (k,) of the branches between each and the kept bus above it, the one with the smallest rating.
        feeder: the k buses as a feeder of their own; it has no tables that could be edited.
        between: of each kept bus with merged buses above it, these; dead ends that leave them are not among them.
    """

    bus: IntArray
    branch: IntArray
    feeder: Feeder
    between: dict[int, IntArray]


def skeleton_of(feeder: Feeder, used: IntArray, apart: IntArray) -> Skeleton:
    """The buses that matter where power is injected at ``used`` only.

    A bus goes where nothing is injected at it, shunts and line charging included, and it is

    - a dead end, or passed on the way to dead ends only, on the plain side of the bus that it hangs on, or
    - between two branches of impedances in proportion, on the same phases,

    with the nominal voltage, the band, the tier and the LV feeder of the bus above it, and no transformer or limit of
    active power among its branches.

    Args:
        used: buses at which participants are.
        apart: buses that are kept in any case.
    """
    plain, direction = _plain(feeder), _directions(feeder)
    kept = np.any(feeder.injected_kva != 0.0, axis=1) | ~plain
    kept[used] = kept[apart] = True
    live = _walked_up(feeder, kept, plain, direction)
    bus = np.flatnonzero(kept)
    above, branch, z, between = _walked_down(feeder, kept, live)
    place = np.cumsum(kept) - 1
    parent = np.where(bus > 0, place[above[bus]], -1)
    return Skeleton(bus, branch[bus], _cut_down(feeder, bus, branch[bus], parent, z), between)


def _plain(feeder: Feeder) -> BoolArray:
    """(n,) buses with what they have in common with the bus above, which is not the source, and no ratio between."""
    up, n = np.maximum(feeder.parent, 0), feeder.n_buses
    same = np.ones(n, dtype=bool)
    for values in (feeder.vn_kv, feeder.v_min_pu, feeder.v_max_pu, feeder.lv_feeder, np.array(feeder.tier)):
        same &= values == values[up]
    unlimited = np.isinf(feeder.import_limit_kw) & np.isinf(feeder.export_limit_kw)
    turned = ~np.isin(feeder.vector_group, SAME_PHASES) | (np.array(feeder.branch_kind) == "transformer")
    return np.asarray(same & unlimited & (feeder.phase_tap == 1.0).all(axis=1) & ~turned & (feeder.parent > 0))


def _directions(feeder: Feeder) -> list[ComplexArray | None]:
    """Of every branch its impedance over its size; None where it has none."""
    sizes = [float(np.abs(z).sum()) for z in feeder.z_ohm]
    return [z / size if size > 0 else None for z, size in zip(feeder.z_ohm, sizes, strict=True)]


def _walked_up(feeder: Feeder, kept: BoolArray, plain: BoolArray, direction: list[ComplexArray | None]) -> BoolArray:
    """Where something below is kept; ``kept`` gets the junctions and changes of conductor, ``direction`` of chains."""
    n, parent = feeder.n_buses, feeder.parent.tolist()
    count, below = [0] * n, [-1] * n
    live = np.zeros(n, dtype=bool)
    for b in range(n - 1, -1, -1):
        if count[b] > 1:
            kept[b] = True
        elif count[b] == 1 and not kept[b]:
            child = below[b]
            own, other = direction[b], direction[child]
            in_line = plain[child] and feeder.branch_phases[b] == feeder.branch_phases[child]
            if not in_line or (own is not None and other is not None and np.abs(own - other).max() > ALIKE):
                kept[b] = True
            elif own is None:
                direction[b] = other
        live[b] = kept[b] or count[b] > 0
        if b and live[b]:
            count[parent[b]] += 1
            below[parent[b]] = b
    return live


def _walked_down(
    feeder: Feeder, kept: BoolArray, live: BoolArray
) -> tuple[IntArray, IntArray, list[ComplexArray], dict[int, IntArray]]:
    """Kept bus above each, branch of the smallest rating and impedance on the way, buses between by kept bus."""
    parent = feeder.parent.tolist()
    above, branch, z = np.zeros(feeder.n_buses, dtype=np.intp), np.arange(feeder.n_buses), list(feeder.z_ohm)
    passed: dict[int, list[int]] = {}
    for b in range(1, feeder.n_buses):
        up = parent[b]
        if kept[up] or not live[b]:
            above[b] = up
            continue
        above[b] = above[up]
        passed[b] = [*passed.pop(up, ()), up]
        z[b] = z[b] + z[up]
        if feeder.rating_kva[branch[up]] <= feeder.rating_kva[b]:
            branch[b] = branch[up]
    return above, branch, z, {b: np.array(buses) for b, buses in passed.items() if kept[b]}


def _cut_down(feeder: Feeder, bus: IntArray, branch: IntArray, parent: IntArray, z: list[ComplexArray]) -> Feeder:
    """The kept buses as a feeder; branches with line charging end at kept buses and are as they were."""
    arrays: dict[str, Any] = {c: getattr(feeder, c)[bus] for c in OF_BUSES}
    arrays |= {c: getattr(feeder, c)[branch] for c in BRANCH_LIMITS}
    arrays |= {c: tuple(getattr(feeder, c)[b] for b in bus.tolist()) for c in NAMES}
    return replace(
        feeder,
        **arrays,
        parent=parent,
        subtree_end=np.searchsorted(bus, feeder.subtree_end[bus]),
        shunt_kva=feeder.shunt_kva[bus],
        z_ohm=tuple(z[b] for b in bus.tolist()),
        charging_kvar=feeder.charging_kvar[bus],
        ends=np.stack([parent, np.arange(len(bus))]),
    )
