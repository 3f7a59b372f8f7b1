"""Separable quadratic programs by a primal-dual interior point, where Newton's method on the dual does not converge.

The problem of ``dual_newton``, with the use s of the rows as variables of their own:

    min 1/2 x'Hx + q'x   s.t.  R x = s,   lower <= x <= upper,   row_lower <= s <= row_upper,   H diagonal.

Multipliers: y of R x = s; u, w >= 0 of the lower and the upper bounds of x and of s, with slacks a = x - lower and
b = upper - x, and the same for s. Optimal where

    Hx + q - R'y - u_x + w_x = 0,   y - u_s + w_s = 0,   R x = s,   a u = b w = mu,   mu -> 0.

With Theta = u/a + w/b, which is diagonal, and the barrier's force f = (mu - c_u)/a - (mu - c_w)/b (c: second-order
correction), a Newton step solves

    (H + Theta_x) dx - R' dy = f_x - (Hx + q - R'y) =: r_x
           Theta_s ds +  dy  = f_s - y              =: r_s
                 R dx - ds   = -(R x - s)           =: -gap

and with D = (H + Theta_x)^-1 and E = Theta_s^-1, both diagonal, this reduces to one positive definite system that is as
large as there are rows:

    (R D R' + E) dy = E r_s - gap - R D r_x,    dx = D (r_x + R' dy),    ds = E (r_s - dy).

Rows of different intervals of a window share no variables; only the program's own rows, the border, couple them. The
system then has a dense block for each interval and a border, and is solved by elimination of the blocks.

Each iteration factorises it once and solves it twice: an affine step (predictor), which aims at mu = 0, and a step to a
mu that depends on how far the affine step came, with its second-order terms (corrector). S. Mehrotra, "On the
implementation of a primal-dual interior point method", SIAM J. Optimization 2(4), 1992, doi 10.1137/0802028. Common
step lengths for everything, and second-order terms only as far as the affine step can be followed, are our reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from scipy.linalg import LinAlgError
from scipy.linalg.lapack import dpotrf, dpotrs
from scipy.sparse.csgraph import connected_components

from amm_opt.arrays import BoolArray, FloatArray, IntArray
from amm_opt.solve.backends.dual_newton import Outcome, SeparableQP, newton
from amm_opt.solve.backends.kept import HighsBackend
from amm_opt.solve.backends.reduced import Point, Reduced, failed
from amm_opt.solve.compile import Rows

_Pair = tuple[FloatArray, FloatArray]
"""One array for lower bounds and one for upper bounds."""

MAX_STEPS = 80
GAP = 1e-11
"""Mean complementarity product at the end, relative to the cost; residuals are a hundred times this."""
STALLED_GAP = 1e-9
"""The same where rounding keeps a step from halving it."""
TO_BOUNDARY = 0.995
"""The corrector goes this fraction of the way to the boundary."""
TINY, DIVERGED = 1e-100, 1e20
MANY_ROWS = 4000
"""With more rows in one dense block the system takes too long."""
INSIDE = 0.05
"""How far inside its bounds every variable starts, as a fraction of their distance."""
LINEAR_START = 150
"""With more rows the linear program takes longer than the interior point."""


class DualNewtonBackend:
    """Our own method for separable quadratic programs: from the given multipliers, else from the linear program's."""

    name = "DUAL_NEWTON"
    lp, qp = False, True

    def __init__(self) -> None:
        self._highs = HighsBackend()

    def solve(self, problem: Reduced, start: FloatArray) -> Point:
        """See ``Backend``."""
        if not problem.separable:
            return failed("the problem is not a separable quadratic program with few rows")
        assert isinstance(problem.hessian, np.ndarray)
        limits = (problem.row_lower, problem.row_upper, problem.lower, problem.upper)
        separable = SeparableQP(problem.hessian, problem.q, problem.all_rows.handy(), *limits, problem.n_own)
        x, z, reason, steps = solve_separable(separable, self._starts(problem, start))
        return failed(reason) if reason else problem.point(x, z, steps)

    def _starts(self, problem: Reduced, start: FloatArray) -> Iterator[FloatArray]:
        yield np.concatenate([start[: problem.n_own], start[problem.n_own :][problem.live]])
        if len(problem.row_lower) <= LINEAR_START:
            linear = self._highs.solve(replace(problem, hessian=None), start)
            if not linear.problem:
                yield np.concatenate([linear.row_dual, linear.network_dual[problem.live]])


@dataclass(frozen=True, eq=False)
class _Bounded:
    """Variables strictly inside their bounds, with a multiplier for each finite one; ``fixed`` where both are equal."""

    value: FloatArray
    lower: FloatArray
    upper: FloatArray
    dual_lower: FloatArray
    dual_upper: FloatArray
    fixed: BoolArray

    @classmethod
    def around(cls, value: FloatArray, lower: FloatArray, upper: FloatArray) -> _Bounded:
        """Start near ``value``, with multipliers of 1."""
        fixed = lower == upper
        margin = INSIDE * np.where(np.isfinite(upper - lower), upper - lower, 1.0)
        inside = np.minimum(np.maximum(value, lower + margin), upper - margin)
        dual_lower, dual_upper = (np.where(np.isfinite(bound) & ~fixed, 1.0, 0.0) for bound in (lower, upper))
        return cls(np.where(fixed, lower, inside), lower, upper, dual_lower, dual_upper, fixed)

    @cached_property
    def slack(self) -> _Pair:
        """To both bounds, never zero by rounding; 1 where there is no bound."""
        least = np.finfo(float).eps * (1.0 + np.abs(self.value))
        below = np.where(self.dual_lower > 0, np.maximum(self.value - self.lower, least), 1.0)
        return below, np.where(self.dual_upper > 0, np.maximum(self.upper - self.value, least), 1.0)

    @property
    def complementarity(self) -> float:
        """Sum of all products of slack and multiplier."""
        below, above = self.slack
        return float(below @ self.dual_lower + above @ self.dual_upper)

    @property
    def n_bounds(self) -> int:
        """Number of finite bounds."""
        return int(np.count_nonzero(self.dual_lower) + np.count_nonzero(self.dual_upper))

    @property
    def theta(self) -> FloatArray:
        """Multiplier over slack: the diagonal that the bounds add to the Newton system."""
        below, above = self.slack
        return self.dual_lower / below + self.dual_upper / above

    def force(self, mu: float, second_order: _Pair) -> FloatArray:
        """Of the barrier, away from the bounds."""
        below, above = self.slack
        from_lower = np.where(self.dual_lower > 0, (mu - second_order[0]) / below, 0.0)
        return from_lower - np.where(self.dual_upper > 0, (mu - second_order[1]) / above, 0.0)

    def dual_step(self, step: FloatArray, mu: float, second_order: _Pair) -> _Pair:
        """Of the multipliers, for a step of the values."""
        below, above = self.slack
        lower = (mu - second_order[0] - self.dual_lower * step) / below - self.dual_lower
        upper = (mu - second_order[1] + self.dual_upper * step) / above - self.dual_upper
        return np.where(self.dual_lower > 0, lower, 0.0), np.where(self.dual_upper > 0, upper, 0.0)

    def max_length(self, step: FloatArray, dual_step: _Pair) -> float:
        """The ratio test: the step length at which the first slack or multiplier is zero."""
        below, above = self.slack
        low, high = self.dual_lower > 0, self.dual_upper > 0
        slacks = (below[low], step[low]), (above[high], -step[high])
        duals = (self.dual_lower, dual_step[0]), (self.dual_upper, dual_step[1])
        return min(float(np.min(-at[d < 0] / d[d < 0], initial=np.inf)) for at, d in (*slacks, *duals))

    def moved(self, step: FloatArray, dual_step: _Pair, length: float) -> _Bounded:
        """After a step of this length."""
        value = np.where(self.fixed, self.value, self.value + length * step)
        duals = self.dual_lower + length * dual_step[0], self.dual_upper + length * dual_step[1]
        return _Bounded(value, self.lower, self.upper, *duals, self.fixed)


def solve_separable(p: SeparableQP, starts: Iterable[FloatArray]) -> Outcome:
    """Newton's method on the dual from each of the ``starts`` until it converges, at last from the interior point.

    Args:
        starts: at least one, (K,) multipliers each.
    """
    steps = 0
    for start in starts:
        outcome = newton(p, start)
        steps += outcome.steps
        if not outcome.reason:
            return outcome._replace(steps=steps)
    if (size := max(p.border, _largest_block(p))) > MANY_ROWS:
        return outcome._replace(reason=f"{outcome.reason}, and {size} rows are too many for the interior point")
    outcome = interior_point(p)
    if outcome.reason:
        return outcome
    exact = newton(p, outcome.z)
    return (outcome if exact.reason else exact)._replace(steps=steps + outcome.steps + exact.steps)


def interior_point(p: SeparableQP) -> Outcome:
    """Solve to ``GAP``; multipliers of rows within their limits are zero."""
    # rows without a limit play no part; the others are scaled to a norm of 1
    z = np.zeros(len(p.row_lower))
    limited = np.flatnonzero(np.isfinite(p.row_lower) | np.isfinite(p.row_upper))
    given = sp.csr_array(p.rows.sparse() if isinstance(p.rows, Rows) else p.rows)[limited]
    norm = np.sqrt(given.power(2).sum(axis=1))
    norm[norm == 0] = 1.0
    blocks = _Blocks(sp.csr_array(sp.diags_array(1.0 / norm) @ given), int(np.searchsorted(limited, p.border)))
    rows = blocks.rows
    # start inside all bounds, near the minimiser without rows
    x = _Bounded.around(np.clip(-p.q / p.hessian, p.lower, p.upper), p.lower, p.upper)
    s = _Bounded.around(rows @ x.value, p.row_lower[limited] / norm, p.row_upper[limited] / norm)
    at, count = _Iterate(x, s, np.zeros(len(norm))), max(1, x.n_bounds + s.n_bounds)
    cost = 1.0 + float(np.max(np.abs(p.q), initial=0.0))
    last = np.inf
    for steps in range(MAX_STEPS):
        # converged: complementarity and residuals are small; rows with more multiplier than slack bind
        residual = _Residual.of(p, rows, at)
        mu = at.complementarity / count
        gap, last = (GAP if mu < 0.5 * last else STALLED_GAP) * cost, mu
        size = 1.0 + float(np.max(np.abs(at.x.value), initial=0.0))
        if mu <= gap and residual.largest(at) <= 1e2 * gap * size:
            z[limited] = np.where(at.s.fixed | _binds(at.s), at.y, 0.0) / norm
            return Outcome(at.x.value, z, "", steps)
        if not mu <= DIVERGED * cost:
            break
        # factorise once for both steps
        try:
            system = _NewtonSystem(p.hessian, blocks, at)
        except LinAlgError:
            break
        # affine step (predictor), and how far it would bring complementarity down
        affine = system.step(residual, 0.0, None)
        mu_affine = at.moved(affine).complementarity / count
        # corrector: the less the affine step achieves, the more it is centred
        centred = mu * (min(mu_affine, mu) / max(mu, TINY)) ** 3
        at = at.moved(system.step(residual, centred, affine))
    return Outcome(at.x.value, z, "the interior point did not converge")


def _binds(s: _Bounded) -> BoolArray:
    below, above = s.slack
    return np.maximum(s.dual_lower - below, s.dual_upper - above) > 0


@dataclass(frozen=True, eq=False)
class _Iterate:
    """Variables, use of the rows, and multipliers of R x = s."""

    x: _Bounded
    s: _Bounded
    y: FloatArray

    @property
    def complementarity(self) -> float:
        """Sum of all products of slack and multiplier."""
        return self.x.complementarity + self.s.complementarity

    def moved(self, step: _Step) -> _Iterate:
        """After this step."""
        x = self.x.moved(step.x, step.dual_x, step.length)
        s = self.s.moved(step.s, step.dual_s, step.length)
        return _Iterate(x, s, self.y + step.length * step.y)


@dataclass(frozen=True, eq=False)
class _Residual:
    """Slopes of the Lagrangian without its bounds in x, (N,), and in s, (K,); gap R x - s, (K,)."""

    slope_x: FloatArray
    slope_s: FloatArray
    gap: FloatArray

    @classmethod
    def of(cls, p: SeparableQP, rows: FloatArray | sp.csr_array, at: _Iterate) -> _Residual:
        """At this iterate."""
        slope_x = p.hessian * at.x.value + p.q - at.y @ rows
        return cls(slope_x, np.where(at.s.fixed, 0.0, at.y), rows @ at.x.value - at.s.value)

    def largest(self, at: _Iterate) -> float:
        """Largest violation of stationarity and of R x = s."""
        x = self.slope_x - at.x.dual_lower + at.x.dual_upper
        s = self.slope_s - at.s.dual_lower + at.s.dual_upper
        return max(float(np.max(np.abs(r), initial=0.0)) for r in (x, s, self.gap))


@dataclass(frozen=True, eq=False)
class _Step:
    """A direction of everything, and the step length."""

    x: FloatArray
    s: FloatArray
    y: FloatArray
    dual_x: _Pair
    dual_s: _Pair
    length: float


class _Blocks:
    """Rows by blocks that share no variables but through the first ``border`` rows, the border.

    Attributes:
        rows: all of them, dense where there is one block.
    """

    def __init__(self, rows: sp.csr_array, border: int) -> None:
        at_row, at_col = _components(rows, border)
        several = len(np.unique(at_row)) > 1
        self.rows = rows if several else rows.toarray()
        self._border, self._edge = border, rows[:border]
        by_column = sp.csc_array(rows) if several else None
        self._blocks = []
        for one in np.unique(at_row):
            row, col = np.flatnonzero(at_row == one), np.flatnonzero(at_col == one)
            part = self.rows[:, col] if by_column is None else by_column[:, col].toarray()
            self._blocks.append((row + border, col, part[border:][row], part[:border]))

    def solver(self, d: FloatArray, e: FloatArray) -> Callable[[FloatArray], FloatArray]:
        """What solves rows diag(d) rows' + diag(e), factorised.

        Raises:
            LinAlgError: where it is not positive definite.
        """
        border = self._border
        corner = (self._edge @ sp.diags_array(d) @ self._edge.T).toarray() if border else np.zeros((0, 0))
        corner = _lifted(corner, e[:border])
        factors, root = [], np.sqrt(d)
        for row, col, inner, edge in self._blocks:
            half = inner * root[col]
            factor = _factor(_lifted(half @ half.T, e[row]))  # a matrix times its own transpose costs half as much
            coupled = half @ (edge * root[col]).T
            eliminated = dpotrs(factor, coupled)[0]
            corner -= coupled.T @ eliminated
            factors.append((row, factor, eliminated))
        last = _factor(corner) if border else None

        def solved(right: FloatArray) -> FloatArray:
            found = np.empty(len(right))
            edge = right[:border] - sum(eliminated.T @ right[row] for row, _, eliminated in factors)
            found[:border] = edge if last is None else dpotrs(last, edge)[0]
            for row, factor, eliminated in factors:
                found[row] = dpotrs(factor, right[row])[0] - eliminated @ found[:border]
            return found

        return solved


def _components(rows: sp.csr_array, border: int) -> tuple[IntArray, IntArray]:
    """To which block each row after the border and each variable belongs."""
    inner = sp.csr_array(abs(rows[border:]))
    links = sp.block_array([[None, inner], [inner.T, None]], format="csr")
    _, component = connected_components(links, directed=False)
    return component[: inner.shape[0]], component[inner.shape[0] :]


def _largest_block(p: SeparableQP) -> int:
    """Rows in the largest block."""
    if len(p.row_lower) <= MANY_ROWS:  # no block has more
        return len(p.row_lower)
    rows = sp.csr_array(p.rows.sparse() if isinstance(p.rows, Rows) else p.rows)
    return int(np.bincount(_components(rows, p.border)[0]).max(initial=0))


def _factor(matrix: FloatArray) -> FloatArray:
    """Cholesky's, by LAPACK itself: blocks are many and small, and scipy's checks take longer than their numbers."""
    factor, failed_at = dpotrf(matrix, overwrite_a=True)
    if failed_at:
        raise LinAlgError(f"minor {failed_at} is not positive definite")
    return np.asarray(factor)


def _lifted(matrix: FloatArray, extra: FloatArray) -> FloatArray:
    """With ``extra`` and a trace more on the diagonal, in place."""
    matrix[np.diag_indices(len(extra))] = (matrix.diagonal() + extra) * (1.0 + 1e-14) + 1e-300
    return matrix


class _NewtonSystem:
    """R D R' + E at one iterate, factorised; everything else is diagonal."""

    def __init__(self, hessian: FloatArray, blocks: _Blocks, at: _Iterate) -> None:
        self._rows, self._at = blocks.rows, at
        # diagonal; a fixed variable does not move
        self._d = np.where(at.x.fixed, 0.0, 1.0 / (hessian + at.x.theta))
        self._e = np.where(at.s.fixed, 0.0, 1.0 / np.where(at.s.fixed, 1.0, at.s.theta))
        self._solved = blocks.solver(self._d, self._e)

    def step(self, residual: _Residual, mu: float, affine: _Step | None) -> _Step:
        """Towards complementarity ``mu``: the affine step itself, or corrected for the one that is given."""
        rows, x, s = self._rows, self._at.x, self._at.s
        second_x = _second_order(affine.x, affine.dual_x, affine.length) if affine else _nothing(x)
        second_s = _second_order(affine.s, affine.dual_s, affine.length) if affine else _nothing(s)
        r_x, r_s = x.force(mu, second_x) - residual.slope_x, s.force(mu, second_s) - residual.slope_s
        right = self._e * r_s - residual.gap - rows @ (self._d * r_x)
        dy = self._solved(right)
        dx, ds = self._d * (r_x + dy @ rows), self._e * (r_s - dy)
        dual_x, dual_s = x.dual_step(dx, mu, second_x), s.dual_step(ds, mu, second_s)
        length = min(x.max_length(dx, dual_x), s.max_length(ds, dual_s))
        return _Step(dx, ds, dy, dual_x, dual_s, min(1.0, TO_BOUNDARY * length if affine else length))


def _second_order(step: FloatArray, dual_step: _Pair, length: float) -> _Pair:
    """Products of the affine step as far as it can be followed; in full they can make the corrector cycle."""
    return length**2 * step * dual_step[0], -(length**2) * step * dual_step[1]


def _nothing(variables: _Bounded) -> _Pair:
    return (np.zeros(len(variables.value)),) * 2
