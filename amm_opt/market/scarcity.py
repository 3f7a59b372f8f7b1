"""Scarcity: how much of the requested use each limit cannot carry, who inherits it, and the price it makes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.cases import Requests
from amm_opt.errors import InputError
from amm_opt.fields import Checked, is_number
from amm_opt.grid import Grid
from amm_opt.tolerances import ROW_SLACK

SHAPES = ("linear", "power", "logistic")


def deficits(grid: Grid, requests: Requests) -> FloatArray:
    """Deficit that each participant inherits in one interval: (2, n), row 0 import, row 1 export, in [0, 1].

    For a limited quantity c, headroom H is its limit minus what inflexible load uses and U what the net of all
    requests would use on top; its deficit is clip(1 - H/U, 0, 1) where U > 0: the fraction of the requested use that
    c cannot carry. A participant inherits the tightest limit, weighted by its own sensitivity relative to that of the
    most sensitive participant; a side of a limit counts for the direction that loads it. A limit that all requests
    together exceed by less than what solvers let pass is kept, and has no deficit. (Ours.) On a conic network model
    the limited quantities are those of LinDistFlow.

    Args:
        requests: one interval, arrays of shape (n,).
    """
    return grid.once(requests, "deficits", lambda: _deficits(grid.linear, requests))


def _deficits(grid: Grid, requests: Requests) -> FloatArray:
    q = grid.network.quantities
    inflexible, asked = grid.usage(requests)
    inherited = np.zeros(2 * grid.n)
    if grid.within(asked, (q.lower, q.upper)):
        return _sealed(inherited)
    use = asked - inflexible
    for side, headroom in ((1.0, q.upper - inflexible), (-1.0, inflexible - q.lower)):
        loading = side * use
        tight = np.flatnonzero((loading > 0) & (loading > headroom + ROW_SLACK * q.tolerance))
        if len(tight):
            deficit = 1.0 - np.maximum(headroom[tight], 0.0) / loading[tight]
            for (who, share), missing in zip(grid.relative_sensitivities(tight, side), deficit.tolist(), strict=True):
                inherited[who] = np.maximum(inherited[who], missing * share)
    return _sealed(inherited)


def _sealed(inherited: FloatArray) -> FloatArray:
    """(2, n), not to be changed: others are given the same array."""
    both = inherited.reshape(2, -1)
    both.setflags(write=False)
    return both


@dataclass(frozen=True)
class PriceCurve(Checked):
    """Bounded prices driven by deficits, for both directions, in currency per kWh.

    ``import = lo + (hi - lo) phi(deficit)`` and ``export = hi - (hi - lo) phi(deficit)``, phi rising from 0 to 1. The
    curve buy = 265 (1 - min(1, supply/demand)) p/kWh of arXiv 2407.20814 is the linear case with lo = 0, hi = 265.

    Attributes:
        import_bounds, export_bounds: lowest and highest price.
        shape: phi: ``linear``, ``power`` (deficit^exponent) or ``logistic`` (steepness 10 around 1/2, rescaled to
            reach 0 and 1).
    """

    import_bounds: tuple[float, float] = (0.10, 0.40)
    export_bounds: tuple[float, float] = (0.00, 0.08)
    shape: str = "linear"
    exponent: float = 2.0

    def __post_init__(self) -> None:
        problems = [
            f"{name} = {bounds}: the lowest price must not exceed the highest, both finite"
            for name, bounds in (("import price", self.import_bounds), ("export price", self.export_bounds))
            if not (len(bounds) == 2 and all(map(is_number, bounds)) and bounds[0] <= bounds[1])
        ]
        if self.shape not in SHAPES:
            problems.append(f"price shape {self.shape!r}; valid choices: {', '.join(SHAPES)}")
        if not self.exponent > 0:
            problems.append(f"price exponent = {self.exponent} must be positive")
        if problems:
            raise InputError(problems)

    def phi(self, deficit: FloatArray) -> FloatArray:
        """Monotone from 0 at no deficit to 1 at a deficit of 1."""
        d = np.clip(deficit, 0.0, 1.0)
        if self.shape == "power":
            return np.asarray(d**self.exponent)
        if self.shape == "logistic":
            return np.asarray(0.5 + np.tanh(5.0 * (d - 0.5)) / (2.0 * np.tanh(2.5)))
        return np.asarray(d)

    def prices(self, deficit: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Import and export price (n,) each from a (2, n) deficit."""
        (lo, hi), (lo_e, hi_e) = self.import_bounds, self.export_bounds
        return lo + (hi - lo) * self.phi(deficit[0]), hi_e - (hi_e - lo_e) * self.phi(deficit[1])
