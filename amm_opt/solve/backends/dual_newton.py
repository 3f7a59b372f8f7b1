"""Separable quadratic programs with few rows: a semismooth Newton method on the dual.

    min 1/2 sum h_i x_i^2 + q'x   s.t.  row_lower <= R x <= row_upper,  lower <= x <= upper,   h > 0.

A multiplier z_k > 0 holds row k at its lower limit, z_k < 0 at its upper limit. The minimiser of the Lagrangian is

    x(z) = clip((R'z - q) / h, lower, upper),

so the dual objective is a concave, piecewise quadratic function of as many variables as there are rows. Its gradient is
g(z) = (the limit that z_k points to) - R x(z). Every iteration takes the working set W, the rows with a multiplier or
outside their limits, and the free variables F, which are strictly between their bounds, and solves

    (R_WF diag(1/h_F) R_WF' + damping) dz_W = g_W                                       (generalised Hessian)

A multiplier that would change sign goes to zero, as in a projected Newton method, and the others are solved again. A
line search on the dual objective follows. Where the working sets settle, the iteration ends after finitely many steps
(L. Qi and J. Sun, "A nonsmooth version of Newton's method", Math. Programming 58, 1993, doi 10.1007/BF01581275;
projection: D. P. Bertsekas, "Projected Newton methods for optimization problems with simple constraints", SIAM J.
Control Optim. 20(2), 1982, doi 10.1137/0320018; damping and the handling of short steps are our own). Stationarity and
bounds hold exactly at every iterate; what remains to be checked is the gradient, so a converged point is optimal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from amm_opt.arrays import BoolArray, FloatArray, IntArray
from amm_opt.solve.compile import Rows

MAX_STEPS = 30
SHORT = 0.05
"""A step length below this is short; ``SHORT_STEPS`` of them in a row lead nowhere."""
SHORT_STEPS = 5
MIN_LENGTH = 1e-9
"""The line search gives up below this step length."""
ASCENT = 1e-4
"""Armijo's condition: the dual objective rises by at least this fraction of what its slope promises."""
TOLERANCE = 1e-9
"""Of the gradient, relative to the norm of each row."""
DAMPING, MAX_DAMPING = 1e-12, 1.0
"""Added to the generalised Hessian, relative to the row's curvature with every variable free."""
FLAT = 1e-3
"""The same for a row in which no variable is free."""
MANY_ROWS = 150
"""With more rows the Newton system is sparse."""
MANY_PAIRS = 200_000


class Outcome(NamedTuple):
    """Variables (N,), multipliers (K,), the reason why they are not optimal, empty where they are, and steps taken."""

    x: FloatArray
    z: FloatArray
    reason: str
    steps: int = 0


@dataclass(frozen=True, eq=False)
class SeparableQP:
    """The problem above; ``rows`` is (K, N), sparse or dense, of which the first ``border`` may couple all others."""

    hessian: FloatArray
    q: FloatArray
    rows: Rows | FloatArray
    row_lower: FloatArray
    row_upper: FloatArray
    lower: FloatArray
    upper: FloatArray
    border: int = 0

    def at(self, z: FloatArray) -> _Iterate:
        """The minimiser x(z) of the Lagrangian, and the dual objective."""
        reduced_cost = self.q - z @ self.rows
        unclipped = -reduced_cost / self.hessian
        x = np.minimum(np.maximum(unclipped, self.lower), self.upper)
        limit = np.where(z > 0, self.row_lower, np.where(z < 0, self.row_upper, 0.0))
        return _Iterate(z, x, unclipped, float((self._half * x + reduced_cost) @ x + z @ limit))

    def free(self, at: _Iterate) -> BoolArray:
        """(N,) which variables are strictly between their bounds."""
        return np.asarray((at.unclipped > self.lower) & (at.unclipped < self.upper))

    @cached_property
    def _half(self) -> FloatArray:
        return 0.5 * self.hessian

    def gradient(self, at: _Iterate) -> FloatArray:
        """(K,) of the dual objective; zero where a row without multiplier is within its limits."""
        use = self.rows @ at.x
        to_lower, to_upper = self.row_lower - use, self.row_upper - use
        outside = np.maximum(to_lower, 0.0) + np.minimum(to_upper, 0.0)
        return np.where(at.z > 0, to_lower, np.where(at.z < 0, to_upper, outside))

    def admissible(self, z: FloatArray) -> FloatArray:
        """``z`` itself, changed in place: without multipliers of limits that do not exist."""
        no_lower, no_upper = self._without
        if no_lower is not None:
            z[(z > 0) & no_lower] = 0.0
        if no_upper is not None:
            z[(z < 0) & no_upper] = 0.0
        return z

    @cached_property
    def _without(self) -> tuple[BoolArray | None, BoolArray | None]:
        """Rows without a lower and without an upper limit; None where there are none."""
        endless = (~np.isfinite(limit) for limit in (self.row_lower, self.row_upper))
        no_lower, no_upper = (rows if rows.any() else None for rows in endless)
        return no_lower, no_upper


class _Iterate(NamedTuple):
    """Multipliers, their minimiser, with and without bounds, and the dual objective."""

    z: FloatArray
    x: FloatArray
    unclipped: FloatArray
    objective: float


def newton(p: SeparableQP, start: FloatArray) -> Outcome:
    """Newton's method from the multipliers ``start``, (K,)."""
    hessian = _DualHessian(p)
    at = p.at(p.admissible(start.copy()))
    tolerance = TOLERANCE * hessian.row_norm
    damping, short = DAMPING, 0
    for count in range(MAX_STEPS):
        # converged: every row is within its limits, or at the limit that its multiplier points to
        gradient = p.gradient(at)
        if (np.abs(gradient) <= tolerance).all():
            return Outcome(at.x, at.z, "", count)
        # step and line search
        step = _newton_step(at, p.free(at), gradient, hessian, damping)
        trial, length = _line_search(p, at, step, gradient)
        # give up where steps stay short; damp where there is no ascent
        short = short + 1 if length < SHORT else 0
        if short == SHORT_STEPS:
            return Outcome(at.x, at.z, f"{SHORT_STEPS} short Newton steps in a row", count)
        if length == 0.0:
            if damping > MAX_DAMPING:
                return Outcome(at.x, at.z, "the line search found no ascent", count)
            damping *= 1e3
            continue
        damping = max(DAMPING, damping * (1e-2 if length == 1.0 else 1.0))
        at = trial
    return Outcome(at.x, at.z, f"no convergence in {MAX_STEPS} Newton steps", MAX_STEPS)


class _DualHessian:
    """The generalised Hessian of the dual, R_WF diag(1 / h_F) R_WF', up to its sign.

    Attributes:
        row_norm: (K,) Euclidean norm of each row, 1 for an empty one.
    """

    def __init__(self, p: SeparableQP) -> None:
        self._rows = p.rows
        self._inverse = 1.0 / p.hessian
        if isinstance(p.rows, Rows):
            square, diagonal = p.rows.square_sums(np.ones(len(p.q))), p.rows.square_sums(self._inverse)
            self._paired = len(p.rows) <= MANY_ROWS and p.rows.n_pairs <= MANY_PAIRS
        else:
            square, diagonal = np.sum(p.rows**2, axis=1), p.rows**2 @ self._inverse
        self.row_norm = np.where(square > 0, np.sqrt(square), 1.0)
        self._all_free = np.where(diagonal > 0, diagonal, 1.0)  # an empty row has no curvature of its own

    def damped(self, free: BoolArray, working: IntArray, damping: float) -> FloatArray | sp.csc_array:
        """The matrix of the Newton system of the rows ``working``."""
        rows = self._rows
        scale, every_row = self._all_free[working], len(working) == len(rows)
        matrix: FloatArray | sp.csc_array
        if not isinstance(rows, Rows):
            # dense rows: one product over the free columns
            columns = free.nonzero()[0]
            some = rows[:, columns] if every_row else rows[working[:, None], columns]
            matrix = (some * self._inverse[columns]) @ some.T
        elif self._paired:
            # few sparse rows: a dense matrix from stored pairs of entries, whose sum alone depends on the weights
            matrix = rows.gram(np.where(free, self._inverse, 0.0))
            matrix = matrix if every_row else matrix[working[:, None], working]
        else:
            # many sparse rows: a sparse matrix
            matrix = rows.sparse_gram(np.where(free, self._inverse, 0.0))
            matrix = matrix if every_row else matrix[working][:, working]
        # diagonal
        extra = damping * scale + np.where(matrix.diagonal() <= 0, FLAT * scale, 0.0)
        if isinstance(matrix, np.ndarray):
            matrix.flat[:: len(working) + 1] += extra
            return matrix
        return sp.csc_array(matrix + sp.diags_array(extra))


def _newton_step(
    at: _Iterate, free: BoolArray, gradient: FloatArray, hessian: _DualHessian, damping: float
) -> FloatArray:
    """(K,) Newton's step, with multipliers that would change sign taken to zero and the others solved again."""
    working = ((at.z != 0) | (gradient != 0)).nonzero()[0]
    matrix = hessian.damped(free, working, damping)
    z, g = at.z[working], gradient[working]
    sign = np.where(z != 0, z, g)
    step = np.zeros(len(working))
    moving = np.arange(len(working))
    while len(moving):
        if len(moving) == len(working):
            step = _solved(matrix, g)
        else:
            still = step.copy()
            still[moving] = 0.0
            right = g - matrix @ still
            block = matrix[moving[:, None], moving] if isinstance(matrix, np.ndarray) else matrix[moving][:, moving]
            step[moving] = _solved(block, right[moving])
        crosses = ((z + step) * sign < 0)[moving]
        if not crosses.any():
            break
        step[moving[crosses]] = -z[moving[crosses]]
        moving = moving[~crosses]
    full = np.zeros_like(at.z)
    full[working] = step
    return full


def _solved(matrix: FloatArray | sp.csc_array, right: FloatArray) -> FloatArray:
    if isinstance(matrix, np.ndarray):
        return np.asarray(np.linalg.solve(matrix, right))
    return np.asarray(splu(sp.csc_matrix(matrix)).solve(right))


def _line_search(p: SeparableQP, at: _Iterate, step: FloatArray, gradient: FloatArray) -> tuple[_Iterate, float]:
    """The first step length of 1, 1/2, 1/4, ... with enough ascent, and where it leads; 0 where there is none."""
    slope = float(gradient @ step)
    rounding = 1e-14 * max(1.0, abs(at.objective))
    length = 1.0
    while slope > 0 and length > MIN_LENGTH:
        z = at.z + length * step
        trial = p.at(p.admissible(np.where(z * at.z < 0, 0.0, z)))
        if trial.objective >= at.objective + ASCENT * length * slope - rounding:
            return trial, length
        length *= 0.5
    return at, 0.0
