"""Separable quadratic programs by a primal-dual interior point, for where Newton's method on the dual does not end.

The problem of ``dual_newton``, with s = R x and barriers at the limits of x and s. Newton's equations of every step are
reduced to the rows: (R D^-1 R' + E^-1) dy = right side, D and E diagonal, which is dense, positive definite and as
large as there are rows. Predictor and corrector after S. Mehrotra, "On the implementation of a primal-dual interior
point method", SIAM J. Optimization 2(4), 1992, doi 10.1137/0802028.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from amm_opt.arrays import BoolArray, FloatArray
from amm_opt.solve.backends.dual_newton import SeparableQP, newton
from amm_opt.solve.rows import Rows

_Pair = tuple[FloatArray, FloatArray]

MAX_STEPS = 80
GAP = 1e-11
"""Mean complementarity product at the end, relative to the cost; residuals are a hundred times this."""
TO_BOUNDARY = 0.995
TINY, DIVERGED = 1e-100, 1e20
MANY_ROWS = 4000
"""Above, the dense equations take too long."""
INSIDE = 0.05
"""How far inside its limits every value starts, as a fraction of their distance."""


@dataclass(frozen=True, eq=False)
class _Box:
    """Values strictly inside low .. high, with a multiplier for each finite end; ``fixed`` where both are the same."""

    value: FloatArray
    low: FloatArray
    high: FloatArray
    on_low: FloatArray
    on_high: FloatArray
    fixed: BoolArray

    @classmethod
    def around(cls, value: FloatArray, low: FloatArray, high: FloatArray) -> _Box:
        """Start near ``value``."""
        fixed = low == high
        margin = INSIDE * np.where(np.isfinite(high - low), high - low, 1.0)
        inside = np.minimum(np.maximum(value, low + margin), high - margin)
        on_low, on_high = (np.where(np.isfinite(end) & ~fixed, 1.0, 0.0) for end in (low, high))
        return cls(np.where(fixed, low, inside), low, high, on_low, on_high, fixed)

    @property
    def room(self) -> _Pair:
        """To both ends, never nothing by rounding; 1 where there is none."""
        least = np.finfo(float).eps * (1.0 + np.abs(self.value))
        below = np.where(self.on_low > 0, np.maximum(self.value - self.low, least), 1.0)
        return below, np.where(self.on_high > 0, np.maximum(self.high - self.value, least), 1.0)

    @property
    def products(self) -> float:
        """Sum of all complementarity products."""
        below, above = self.room
        return float(below @ self.on_low + above @ self.on_high)

    @property
    def ends(self) -> int:
        """Number of finite ends."""
        return int(np.count_nonzero(self.on_low) + np.count_nonzero(self.on_high))

    @property
    def curvature(self) -> FloatArray:
        """Of the barrier."""
        below, above = self.room
        return self.on_low / below + self.on_high / above

    def pull(self, mu: float, second: _Pair) -> FloatArray:
        """The barrier's slope at ``mu``; ``second`` are the products of the predictor's steps."""
        below, above = self.room
        low, high = self.on_low > 0, self.on_high > 0
        return np.where(low, (mu - second[0]) / below, 0.0) - np.where(high, (mu - second[1]) / above, 0.0)

    def steps(self, step: FloatArray, mu: float, second: _Pair) -> _Pair:
        """Of the multipliers, for a step of the values."""
        below, above = self.room
        on_low = np.where(self.on_low > 0, (mu - second[0] - self.on_low * step) / below - self.on_low, 0.0)
        on_high = np.where(self.on_high > 0, (mu - second[1] + self.on_high * step) / above - self.on_high, 0.0)
        return on_low, on_high

    def longest(self, step: FloatArray, steps: _Pair) -> float:
        """How far values and multipliers can go until one is at its end."""
        below, above = self.room
        low, high = self.on_low > 0, self.on_high > 0
        pairs = ((below[low], step[low]), (above[high], -step[high]), (self.on_low, steps[0]), (self.on_high, steps[1]))
        return min(float(np.min(-room[d < 0] / d[d < 0], initial=np.inf)) for room, d in pairs)

    def moved(self, step: FloatArray, steps: _Pair, length: float) -> _Box:
        """After a step of this length."""
        value = np.where(self.fixed, self.value, self.value + length * step)
        on_low, on_high = self.on_low + length * steps[0], self.on_high + length * steps[1]
        return _Box(value, self.low, self.high, on_low, on_high, self.fixed)


def solve_separable(p: SeparableQP, starts: Iterable[FloatArray]) -> tuple[FloatArray, FloatArray, str]:
    """Newton's method on the dual from each of the ``starts`` until one ends, else from the interior point.

    Args:
        starts: at least one, (K,) multipliers each.

    Returns:
        Variables, multipliers and an empty text, or the reason for having no solution.
    """
    for start in starts:
        x, z, trouble = newton(p, start)
        if not trouble:
            return x, z, ""
    if len(p.row_lower) > MANY_ROWS:
        return x, z, f"{trouble}, and {len(p.row_lower)} rows are too many for the interior point"
    x, z, trouble = interior_point(p)
    return (x, z, trouble) if trouble else newton(p, z)


def interior_point(p: SeparableQP) -> tuple[FloatArray, FloatArray, str]:
    """Variables, multipliers (zero for rows inside their limits) and an empty text, or why there is no solution."""
    rows = p.rows.dense() if isinstance(p.rows, Rows) else p.rows
    limited = np.flatnonzero(np.isfinite(p.row_lower) | np.isfinite(p.row_upper))
    size = np.sqrt((rows[limited] ** 2).sum(axis=1))
    size[size == 0] = 1.0
    rows, z = rows[limited] / size[:, None], np.zeros(len(rows))
    x = _Box.around(np.clip(-p.q / p.hessian, p.lower, p.upper), p.lower, p.upper)
    s = _Box.around(rows @ x.value, p.row_lower[limited] / size, p.row_upper[limited] / size)
    y, count = np.zeros(len(size)), max(1, x.ends + s.ends)
    cost = 1.0 + float(np.max(np.abs(p.q), initial=0.0))
    for _ in range(MAX_STEPS):
        slope_x, slope_s = p.hessian * x.value + p.q - y @ rows, np.where(s.fixed, 0.0, y)
        off_x, off_s = slope_x - x.on_low + x.on_high, slope_s - s.on_low + s.on_high
        gap = rows @ x.value - s.value
        mu = (x.products + s.products) / count
        worst = max(float(np.max(np.abs(r), initial=0.0)) for r in (off_x, off_s, gap))
        if mu <= GAP * cost and worst <= 1e2 * GAP * cost * (1.0 + float(np.max(np.abs(x.value), initial=0.0))):
            tight = s.fixed | (np.maximum(s.on_low - s.room[0], s.on_high - s.room[1]) > 0)
            z[limited] = np.where(tight, y, 0.0) / size
            return x.value, z, ""
        if not mu <= DIVERGED * cost:
            break
        try:
            system = _System(p.hessian, rows, x, s)
        except LinAlgError:
            break
        step = system.step((slope_x, slope_s, gap), 0.0, None)
        after = step.x_moved.products + step.s_moved.products
        step = system.step((slope_x, slope_s, gap), mu * (min(after / count, mu) / max(mu, TINY)) ** 3, step)
        x, s, y = step.x_moved, step.s_moved, y + step.length * step.y
    return x.value, z, "the interior point did not converge"


@dataclass(frozen=True, eq=False)
class _Step:
    """A step of everything and where it leads."""

    x: FloatArray
    s: FloatArray
    y: FloatArray
    of_x: _Pair
    of_s: _Pair
    length: float
    x_moved: _Box
    s_moved: _Box


class _System:
    """Newton's equations at one point, factorised."""

    def __init__(self, hessian: FloatArray, rows: FloatArray, x: _Box, s: _Box) -> None:
        self._rows, self._x, self._s = rows, x, s
        self._d = np.where(x.fixed, 0.0, 1.0 / (hessian + x.curvature))
        self._e = np.where(s.fixed, 0.0, 1.0 / np.where(s.fixed, 1.0, s.curvature))
        scaled = rows * np.sqrt(self._d)
        matrix = scaled @ scaled.T
        diagonal = matrix.diagonal() + self._e
        matrix[np.diag_indices(len(diagonal))] = diagonal * (1.0 + 1e-14) + 1e-300
        self._factor = cho_factor(matrix, overwrite_a=True, check_finite=False)

    def step(self, residual: tuple[FloatArray, FloatArray, FloatArray], mu: float, before: _Step | None) -> _Step:
        """Towards products of ``mu``; corrected for the predictor's step ``before``."""
        rows, x, s, (slope_x, slope_s, gap) = self._rows, self._x, self._s, residual
        second_x = _products(before.x, before.of_x, before.length) if before else (np.zeros(len(x.value)),) * 2
        second_s = _products(before.s, before.of_s, before.length) if before else (np.zeros(len(s.value)),) * 2
        right_x, right_s = x.pull(mu, second_x) - slope_x, s.pull(mu, second_s) - slope_s
        right = self._e * right_s - gap - rows @ (self._d * right_x)
        dy = np.asarray(cho_solve(self._factor, right, check_finite=False))
        dx, ds = self._d * (right_x + dy @ rows), self._e * (right_s - dy)
        of_x, of_s = x.steps(dx, mu, second_x), s.steps(ds, mu, second_s)
        reach = min(x.longest(dx, of_x), s.longest(ds, of_s))
        length = min(1.0, TO_BOUNDARY * reach if before else reach)
        return _Step(dx, ds, dy, of_x, of_s, length, x.moved(dx, of_x, length), s.moved(ds, of_s, length))


def _products(step: FloatArray, steps: _Pair, length: float) -> _Pair:
    """Second-order terms of the predictor as far as it can be followed; in full they can make the corrector cycle."""
    return length**2 * step * steps[0], -(length**2) * step * steps[1]
