"""Costs of plants as other tools give them, per hour and MW, as what participants ask and give for a kWh.

A cost f(P) rises with output P in MW by f'(P); a kWh more is asked at f'(P) / 1000. Of a polynomial up to the second
order that is an offer with a slope; of a piecewise linear cost it is steps, which must not fall. Power that is drawn is
P < 0: a kWh less of it costs f'(P) / 1000, which is what it is worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.cases.folder.offers import falling
from amm_opt.errors import shorten

SMALL = 1e-9
"""Steps of a smaller share of the whole are none; slopes that fall by a smaller share of the steepest do not fall."""


@dataclass(frozen=True)
class Piece:
    """Output between two powers, negative where power is drawn.

    Attributes:
        from_mw, to_mw: rising, both of one sign or 0.
        price: marginal cost at ``from_mw``, currency per MWh.
        slope: by which it rises per MW.
    """

    from_mw: float
    to_mw: float
    price: float
    slope: float = 0.0

    @property
    def kw(self) -> float:
        """Its power."""
        return 1e3 * (self.to_mw - self.from_mw)

    @property
    def prices(self) -> dict[str, float]:
        """Columns of a participant, in currency per kWh, and per kW."""
        if self.from_mw >= 0:
            return {"export_offer": self.price / 1e3, "export_offer_slope": self.slope / 1e6}
        top = self.price + self.slope * (self.to_mw - self.from_mw)
        return {"import_value": top / 1e3, "import_value_slope": self.slope / 1e6}


def polynomial(coefficients: Sequence[float], low_mw: float, high_mw: float) -> tuple[list[Piece], str]:
    """A cost a0 + a1 P + a2 P^2 + ... between two powers of one sign, or why it cannot be said."""
    a = [*map(float, coefficients), 0.0, 0.0, 0.0]
    if not np.isfinite(a).all():
        return [], "its cost coefficients must be finite numbers"
    if order := max((k for k, number in enumerate(a) if number and k > 2), default=0):
        return [], f"its cost is a polynomial of order {order}; an offer can be of order 2"
    if a[2] < 0:
        return [], f"its cost rises by less with every MW (quadratic term {a[2]:g}): it is not convex"
    return [Piece(low_mw, high_mw, a[1] + 2.0 * a[2] * low_mw, 2.0 * a[2])], ""


def piecewise(
    power_mw: Sequence[float], cost: Sequence[float], low_mw: float, high_mw: float
) -> tuple[list[Piece], str]:
    """A cost through points, its first and last line going on beyond them, between two powers; else as ``polynomial``.

    Pieces come in the order in which they are used: of output from the cheapest, of draw from what is worth most.
    """
    x, f = np.asarray(power_mw, dtype=float), np.asarray(cost, dtype=float)
    if len(x) < 2 or not (np.isfinite(x).all() and np.isfinite(f).all()) or not (np.diff(x) > 0).all():
        points = shorten([f"({a:g}, {b:g})" for a, b in zip(x, f, strict=True)])
        return [], f"the points of its piecewise linear cost must rise in power, at least two: {points or 'none'}"
    slopes = np.diff(f) / np.diff(x)
    noise = SMALL * float(np.abs(slopes).max()) * np.arange(len(slopes))
    if (k := falling(slopes + noise)) is not None:
        return [], (
            f"its piecewise linear cost rises by {slopes[k - 2]:g} per MWh and then by {slopes[k - 1]:g}: it is not"
            " convex, and cannot be dispatched at least cost"
        )
    ends, least = np.clip([-np.inf, *x[1:-1], np.inf], low_mw, high_mw), SMALL * (high_mw - low_mw)
    pieces = [Piece(a, b, p) for a, b, p in zip(ends, ends[1:], slopes.tolist(), strict=False) if b - a > least]
    return pieces if low_mw >= 0 else pieces[::-1], ""


def envelope(power_mw: FloatArray, cost: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The largest convex cost that is nowhere above the one through points, by the points that it shares with it.

    It is what a plant costs at least that may run for a part of the time, or of a number of like units (linear
    commitment).
    """
    kept: list[int] = []
    for k in range(len(power_mw)):
        while len(kept) > 1:
            (i, j), rise = kept[-2:], (cost[k] - cost[kept[-2]]) / (power_mw[k] - power_mw[kept[-2]])
            if cost[j] < cost[i] + rise * (power_mw[j] - power_mw[i]):
                break
            kept.pop()
        kept.append(k)
    return power_mw[kept], cost[kept]
