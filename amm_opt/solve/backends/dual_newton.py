"""Separable quadratic programs with few rows: a semismooth Newton method on the dual.

    min 1/2 sum h_i x_i^2 + q'x   s.t.  row_lower <= R x <= row_upper,  lower <= x <= upper,   h > 0.

For multipliers z the minimiser of the Lagrangian is x(z) = clip((R'z - q) / h, lower, upper), so the dual is a concave,
piecewise quadratic function of as many variables as there are rows. Newton's method with the generalised Hessian
R_F diag(1/h_F) R_F' (F: variables between their bounds) ends after finitely many steps (L. Qi and J. Sun, "A nonsmooth
version of Newton's method", Math. Programming 58, 1993, doi 10.1007/BF01581275). Stationarity and bounds hold exactly
at every iterate; what remains to be checked is the residual of the rows, so a converged point is certified optimal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from amm_opt.arrays import BoolArray, FloatArray, IntArray
from amm_opt.solve.rows import Rows

MAX_STEPS = 30
SHORT = 0.05
"""So many steps in a row that are no longer than this fraction of Newton's lead nowhere."""
SHORT_STEPS = 5
TOLERANCE = 1e-9
DAMPING = 1e-12
MANY_ROWS = 150
"""From here on Newton's equations are solved by sparse factorisation."""
MANY_PAIRS = 200_000


@dataclass(frozen=True, eq=False)
class SeparableQP:
    """The problem above; ``rows`` is (K, N), sparse or dense."""

    hessian: FloatArray
    q: FloatArray
    rows: Rows | FloatArray
    row_lower: FloatArray
    row_upper: FloatArray
    lower: FloatArray
    upper: FloatArray

    def at(self, z: FloatArray) -> _Iterate:
        """The minimiser x(z) of the Lagrangian, and the dual objective."""
        slope = self.q - z @ self.rows
        raw = -slope / self.hessian
        x = np.minimum(np.maximum(raw, self.lower), self.upper)
        side = np.where(z > 0, self.row_lower, np.where(z < 0, self.row_upper, 0.0))
        free = (raw > self.lower) & (raw < self.upper)
        return _Iterate(z, x, free, float((0.5 * self.hessian * x + slope) @ x + z @ side))


@dataclass(frozen=True, eq=False)
class _Iterate:
    """Multipliers, their minimiser, which variables are not clipped, and the dual objective."""

    z: FloatArray
    x: FloatArray
    free: BoolArray
    value: float


def newton(p: SeparableQP, start: FloatArray) -> tuple[FloatArray, FloatArray, str]:
    """Newton's method from the multipliers ``start``, (K,).

    Returns:
        Variables, multipliers and an empty text, or the reason for having no solution.
    """
    curvature = _Curvature(p)
    at = p.at(_signed(p, start.copy()))
    damping = DAMPING
    short = 0
    for _ in range(MAX_STEPS):
        residual = _residual(p, at.z, p.rows @ at.x)
        if np.all(np.abs(residual) <= TOLERANCE * curvature.size):
            return at.x, at.z, ""
        step = _newton_step(at, residual, curvature, damping)
        trial, length = _line_search(p, at, step, residual)
        short = short + 1 if length < SHORT else 0
        if short == SHORT_STEPS:
            return at.x, at.z, f"{SHORT_STEPS} short Newton steps in a row"
        if length == 0.0:
            if damping > 1.0:
                return at.x, at.z, "the line search found no ascent"
            damping *= 1e3
            continue
        damping = max(DAMPING, damping * (1e-2 if length == 1.0 else 1.0))
        at = trial
    return at.x, at.z, f"no convergence in {MAX_STEPS} Newton steps"


class _Curvature:
    """Generalised Hessians of the dual, rows_F diag(1 / h_F) rows_F', dense where there are few rows."""

    def __init__(self, p: SeparableQP) -> None:
        self._rows = p.rows
        self._inverse = 1.0 / p.hessian
        if isinstance(p.rows, Rows):
            size, scale = p.rows.square_sums(np.ones(len(p.q))), p.rows.square_sums(self._inverse)
            self._paired = len(p.rows) <= MANY_ROWS and p.rows.n_pairs <= MANY_PAIRS
        else:
            size, scale = np.sum(p.rows**2, axis=1), p.rows**2 @ self._inverse
        self.size = np.where(size > 0, np.sqrt(size), 1.0)
        self.scale = np.where(scale > 0, scale, 1.0)  # an empty row has no curvature of its own

    def system(self, free: BoolArray, work: IntArray, damping: float) -> FloatArray | sp.csc_array:
        """The damped matrix of the rows ``work``."""
        weight, rows = np.where(free, self._inverse, 0.0), self._rows
        scale, everyone = self.scale[work], len(work) == len(rows)
        if isinstance(rows, Rows) and not self._paired:
            sparse = rows.sparse_gram(weight)
            sparse = sparse if everyone else sparse[work][:, work]
            extra = damping * scale + np.where(sparse.diagonal() <= 0, 1e-3 * scale, 0.0)
            return sp.csc_array(sparse + sp.diags_array(extra))
        if isinstance(rows, Rows):
            matrix = rows.gram(weight)
            matrix = matrix if everyone else matrix[np.ix_(work, work)]
        else:
            at = np.flatnonzero(free)
            part = rows[:, at] if everyone else rows[np.ix_(work, at)]
            matrix = (part * weight[at]) @ part.T
        diagonal = matrix.diagonal()
        matrix[np.diag_indices(len(work))] += damping * scale + np.where(diagonal <= 0, 1e-3 * scale, 0.0)
        return matrix


def _signed(p: SeparableQP, z: FloatArray) -> FloatArray:
    """Drop multipliers of limits that do not exist."""
    z[(z > 0) & ~np.isfinite(p.row_lower)] = 0.0
    z[(z < 0) & ~np.isfinite(p.row_upper)] = 0.0
    return z


def _residual(p: SeparableQP, z: FloatArray, use: FloatArray) -> FloatArray:
    """Gradient of the dual, zero where a row without multiplier is inside its limits."""
    low, high = p.row_lower - use, p.row_upper - use
    inactive = np.maximum(low, 0.0) + np.minimum(high, 0.0)
    return np.where(z > 0, low, np.where(z < 0, high, inactive))


def _newton_step(at: _Iterate, residual: FloatArray, curvature: _Curvature, damping: float) -> FloatArray:
    """Newton's step, with multipliers that would change sign taken to zero and the others solved again."""
    work = np.flatnonzero((at.z != 0) | (residual != 0))
    matrix = curvature.system(at.free, work, damping)
    here, gradient = at.z[work], residual[work]
    side = np.where(here != 0, here, gradient)
    step = np.zeros(len(work))
    moving = np.ones(len(work), dtype=bool)
    while moving.any():
        if moving.all():
            step = _solved(matrix, gradient)
        else:
            pull = gradient - matrix @ np.where(moving, 0.0, step)
            part = matrix[np.ix_(moving, moving)] if isinstance(matrix, np.ndarray) else matrix[moving][:, moving]
            step[moving] = _solved(part, pull[moving])
        crossing = moving & ((here + step) * side < 0)
        if not crossing.any():
            break
        step[crossing] = -here[crossing]
        moving &= ~crossing
    full = np.zeros_like(at.z)
    full[work] = step
    return full


def _solved(matrix: FloatArray | sp.csc_array, right: FloatArray) -> FloatArray:
    if isinstance(matrix, np.ndarray):
        return np.asarray(np.linalg.solve(matrix, right))
    return np.asarray(splu(sp.csc_matrix(matrix)).solve(right))


def _line_search(p: SeparableQP, at: _Iterate, step: FloatArray, residual: FloatArray) -> tuple[_Iterate, float]:
    """The largest step length of 1, 1/2, 1/4, ... that raises the dual enough; 0 where there is none."""
    rise = float(residual @ step)
    noise = 1e-14 * max(1.0, abs(at.value))
    length = 1.0
    while rise > 0 and length > 1e-9:
        z = at.z + length * step
        trial = p.at(_signed(p, np.where(z * at.z < 0, 0.0, z)))
        if trial.value >= at.value + 1e-4 * length * rise - noise:
            return trial, length
        length *= 0.5
    return at, 0.0
