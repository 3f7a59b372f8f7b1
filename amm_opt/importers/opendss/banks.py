"""Transformers as parts of a branch: each by itself, or several one-phase units side by side as one bank."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from amm_opt.arrays import ComplexArray
from amm_opt.importers.opendss.elements.component import PHASE_NAMES, UnsupportedError
from amm_opt.importers.opendss.elements.transformers import Transformer
from amm_opt.importers.opendss.lines.parallel import triangles


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
    group = {("wye", "wye"): "YNyn0", ("delta", "wye"): "Dyn11" if x.lead else "Dyn1"}.get(x.conns)
    nodes = [[n for n in side[: x.phases] if n in PHASE_NAMES] for side in x.nodes]
    distinct = len(set(nodes[0])) == x.phases
    if group is None or not distinct or nodes[0] != nodes[1] or (group != "YNyn0" and nodes[0] != [1, 2, 3]):
        raise UnsupportedError(
            f"unsupported element: connection {'-'.join(x.conns)} on nodes {x.nodes[0]} and {x.nodes[1]}; supported"
            " are wye-wye on the same phases and three-phase delta-wye"
        )
    stars = [side[x.phases] for side, conn in zip(x.nodes, x.conns, strict=True) if conn == "wye"]
    if any(node in PHASE_NAMES for node in stars):
        raise UnsupportedError(
            f"unsupported element: a winding between phases, on nodes {x.nodes[0]} and {x.nodes[1]} (open delta)"
        )
    kv = [k * t * (math.sqrt(3) if x.phases == 1 else 1.0) for k, t in zip(x.kv, x.taps, strict=True)]
    base = [vn_kv.get(b.lower(), k) for b, k in zip(x.buses, x.kv, strict=True)]
    stop = 1 - start
    kva = x.kva * (3.0 / x.phases if x.phases < 3 else 1.0)
    return Unit(
        x,
        "".join(PHASE_NAMES[n] for n in sorted(nodes[0])),
        group,
        complex(x.r_percent, reactance) / 100.0 * kv[stop] ** 2 * 1000.0 / kva,
        star_ohm,
        kv[start] / kv[stop] * base[stop] / base[start],
        x.rating_kva / x.phases,
    )


def bank(units: Sequence[Unit]) -> dict[str, object]:
    """Columns of the branch that units side by side, each on phases of its own, make up, but for name and ends.

    The rating is that of the smallest unit, as a branch has one for all its phases.

    Raises:
        UnsupportedError: where they are none.
    """
    phases = "".join(x.phases for x in units)
    if len(set(phases)) < len(phases) or any(x.group != "YNyn0" for x in units):
        raise UnsupportedError("supported are wye-wye transformers side by side, each on phases of its own")
    if len({x.star_ohm for x in units}) > 1:
        raise UnsupportedError("their star points are joined to the neutral in different ways")
    return _columns(units, "".join(sorted(phases)))


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
