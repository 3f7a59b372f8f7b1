"""Transformers as parts of a branch: each by itself, or several one-phase units side by side as one bank."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from amm_opt.arrays import ComplexArray
from amm_opt.importers.opendss.elements.component import PHASE_NAMES, UnsupportedError
from amm_opt.importers.opendss.elements.transformers import Transformer
from amm_opt.importers.opendss.lines.parallel import triangles

MIDDLE_OHM = 1e-6
"""Impedance of the common phase of an open delta, whose current passes beside it."""
SAME_RATIO = 1e-6
"""How far apart the ratios of transformers in parallel may be."""
OPEN_DELTA = "open delta"
"""Group of a unit between two phases, which is part of a branch only together with another one."""


@dataclass(frozen=True)
class Unit:
    """A transformer on its phases, from one of its ends to the other.

    Attributes:
        phases: such as ``"abc"``, in this order.
        group: vector group.
        ohm: impedance of each phase at the second end.
        star_ohm: what all phases have in common besides.
        ratio: off-nominal turns ratio at the first end.
        rating_kva: of one phase.
    """

    transformer: Transformer
    phases: str
    group: str
    ohm: complex
    star_ohm: float
    ratio: float
    rating_kva: float

    @property
    def columns(self) -> dict[str, object]:
        """Its columns of the branches table, but for name and ends."""
        return _columns([self], self.phases)


def unit(x: Transformer, start: int, vn_kv: Mapping[str, float], reactance: float, star_ohm: float) -> Unit:
    """A transformer, whose percentages refer to the voltage of either winding at its tap.

    Args:
        start: which of its windings is at the first end.
        vn_kv: nominal voltage by bus, in lower case.
        reactance: in percent.
        star_ohm: between star point and neutral.

    Raises:
        UnsupportedError: where its connection cannot be followed.
    """
    of_phase = x.phases
    group = {("wye", "wye"): "YNyn0", ("delta", "wye"): "Dyn11" if x.lead else "Dyn1"}.get(x.conns)
    if x.between_phases:
        group, of_phase = OPEN_DELTA, 2
    elif x.conns == ("delta", "delta") and x.phases == 3:
        group = "YNyn0"
    nodes = [[n for n in side[:of_phase] if n in PHASE_NAMES] for side in x.nodes]
    distinct = len(set(nodes[0])) == of_phase
    if group == OPEN_DELTA:
        nodes = [sorted(side) for side in nodes]
    if (
        group is None
        or not distinct
        or nodes[0] != nodes[1]
        or (group not in ("YNyn0", OPEN_DELTA) and nodes[0] != [1, 2, 3])
    ):
        raise UnsupportedError(
            f"unsupported element: connection {'-'.join(x.conns)} on nodes {x.nodes[0]} and {x.nodes[1]}; supported"
            " are wye-wye on the same phases, and three-phase delta-wye and delta-delta"
        )
    stars = [side[x.phases] for side, conn in zip(x.nodes, x.conns, strict=True) if conn == "wye"]
    if group != OPEN_DELTA and any(node in PHASE_NAMES for node in stars):
        raise UnsupportedError(
            f"unsupported element: a winding between phases, on nodes {x.nodes[0]} and {x.nodes[1]} (open delta)"
        )
    kv = [k * t for k, t in zip(x.line_kv, x.taps, strict=True)]
    base = [vn_kv.get(b.lower(), k) for b, k in zip(x.buses, x.kv, strict=True)]
    stop = 1 - start
    kva = x.kva * (3.0 / x.phases if x.phases < 3 and group != OPEN_DELTA else 1.0)
    return Unit(
        x,
        "".join(PHASE_NAMES[n] for n in sorted(nodes[0])),
        group,
        complex(x.r_percent, reactance) / 100.0 * kv[stop] ** 2 * 1000.0 / kva,
        star_ohm,
        kv[start] / kv[stop] * base[stop] / base[start],
        x.rating_kva / (math.sqrt(3) if group == OPEN_DELTA else x.phases),
    )


def bank(units: Sequence[Unit]) -> dict[str, object]:
    """Columns of the branch that units side by side make up, but for name and ends.

    Units on the same phases are in parallel; wye-wye units on phases of their own are a bank. The rating is that of the
    smallest unit, as a branch has one for all its phases.

    Raises:
        UnsupportedError: where they are none.
    """
    units = [_parallel([x for x in units if x.phases == phases]) for phases in dict.fromkeys(x.phases for x in units)]
    if len(units) == 1:
        return units[0].columns
    phases = "".join(x.phases for x in units)
    if len(set(phases)) < len(phases) or any(x.group != "YNyn0" for x in units):
        raise UnsupportedError(
            "supported are transformers of one vector group on the same phases, and wye-wye transformers side by side,"
            " each on phases of its own"
        )
    if len({x.star_ohm for x in units}) > 1:
        raise UnsupportedError("their star points are joined to the neutral in different ways")
    return _columns(units, "".join(sorted(phases)))


def _parallel(units: Sequence[Unit]) -> Unit:
    """Units on the same phases as one; current divides by their admittances, so the first at its rating limits all.

    Raises:
        UnsupportedError: where they are unlike in more than impedance and rating.
    """
    first = units[0]
    if len(units) == 1:
        return first
    if len({(x.group, x.star_ohm) for x in units}) > 1:
        raise UnsupportedError("transformers in parallel have unlike connections")
    if any(abs(x.ratio / first.ratio - 1.0) > SAME_RATIO for x in units):
        ratios = ", ".join(f"{x.transformer.element.name} {x.ratio:.5g}" for x in units)
        raise UnsupportedError(f"a current circulates between transformers in parallel of unlike ratios: {ratios}")
    admittance = sum(1.0 / x.ohm for x in units)
    rating = min(x.rating_kva * abs(admittance * x.ohm) for x in units)
    return replace(first, ohm=1.0 / admittance, rating_kva=rating)


def open_delta(units: Sequence[Unit]) -> dict[str, object]:
    """Columns of the branch that two units between phases make up, whose common phase goes through beside them.

    They set two of the three voltages between phases, by their ratios a and b; the third is then that of their
    difference. The branch has the taps t on its phases that give these three, (t_i + t_k) / 2 between phases i and k:
    exact where a = b, else but for terms of (a - b)^2 / 8. Current of a unit is that of its own phase, so the common
    one has no impedance. (Ours.) The rating is that of the smaller unit.

    Raises:
        UnsupportedError: where they are none.
    """
    common = set("abc").intersection(*(u.phases for u in units))
    if len(units) != 2 or len(common) != 1:
        raise UnsupportedError("an open delta has two units with one phase in common")
    (middle,) = common
    one, two = units
    first, second = (u.phases.replace(middle, "") for u in units)
    a, b = 1.0 / one.ratio, 1.0 / two.ratio
    turn = np.exp(-2j * math.pi / 3)
    at = {p: turn ** "abc".index(p) for p in "abc"}
    third = abs(b * (at[second] - at[middle]) - a * (at[first] - at[middle])) / math.sqrt(3)
    ratio = {first: a + third - b, middle: a + b - third, second: b + third - a}
    ohm = {first: one.ohm, middle: MIDDLE_OHM, second: two.ohm}
    rating = min(one.rating_kva, two.rating_kva)
    made = [Unit(one.transformer, p, "YNyn0", complex(ohm[p]), 0.0, 1.0 / ratio[p], rating) for p in "abc"]
    return _columns(made, "abc")


def _columns(units: Sequence[Unit], phases: str) -> dict[str, Any]:
    of = {p: x for x in units for p in x.phases}
    own: ComplexArray = np.array([of[p].ohm for p in phases], dtype=complex)
    ratios = np.array([of[p].ratio for p in phases])
    tap = float(ratios.mean())
    unequal = np.ptp(ratios) > 1e-12 * tap
    return {
        "kind": "transformer",
        **triangles(np.asarray(np.diag(own) + units[0].star_ohm, dtype=np.complex128)),
        "rating_kva": min(x.rating_kva for x in units),
        "tap": tap if unequal else float(ratios[0]),
        **({"phase_taps": " ".join(f"{x:.12g}" for x in ratios / tap)} if unequal else {}),
        "phases": phases,
        "vector_group": units[0].group,
        "charging_kvar": 0.0,
    }
