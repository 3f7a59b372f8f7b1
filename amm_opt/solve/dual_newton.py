"""Separable quadratic programs with few rows: a semismooth Newton method on the dual.

    min 1/2 sum h_i x_i^2 + q'x   s.t.  row_lower <= R x <= row_upper,  lower <= x <= upper,   h > 0.

For multipliers z the minimiser of the Lagrangian is x(z) = clip((R'z - q) / h, lower, upper), so the dual is a concave,
piecewise quadratic function of as many variables as there are rows. Newton's method with the generalised Hessian
R_F diag(1/h_F) R_F' (F: variables between their bounds) ends after finitely many steps (L. Qi and J. Sun, "A nonsmooth
version of Newton's method", Math. Programming 58, 1993, doi 10.1007/BF01581275). Stationarity and bounds hold exactly
at every iterate; what remains to be checked is the residual of the rows, so a converged point is certified optimal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MAX_STEPS = 60
TOLERANCE = 1e-9
DAMPING = 1e-12


@dataclass(frozen=True, eq=False)
class SeparableQP:
    """The problem above; ``rows`` is dense, (K, N)."""

    hessian: FloatArray
    q: FloatArray
    rows: FloatArray
    row_lower: FloatArray
    row_upper: FloatArray
    lower: FloatArray
    upper: FloatArray

    def minimiser(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """x(z), and the minimiser before clipping."""
        raw = (z @ self.rows - self.q) / self.hessian
        return np.minimum(np.maximum(raw, self.lower), self.upper), raw

    def dual_value(self, z: FloatArray, x: FloatArray) -> float:
        """The dual objective at z."""
        side = np.where(z > 0, self.row_lower, np.where(z < 0, self.row_upper, 0.0))
        return float((0.5 * self.hessian * x + self.q - z @ self.rows) @ x + z @ side)


def solve_separable(problem: SeparableQP, start: FloatArray) -> tuple[FloatArray, FloatArray, str]:
    """Variables, multipliers and an empty text, or the reason for having no solution.

    Where Newton's method does not end from ``start``, it follows the solutions of problems whose curvature falls from
    a thousandfold to the one asked for.

    Args:
        start: (K,) multipliers to start from, such as those of the interval before or of the linear program.
    """
    x, z, trouble = newton(problem, start)
    if trouble:
        z = np.zeros_like(start)
        for factor in (1e3, 1e2, 1e1, 1e0):
            x, z, trouble = newton(replace(problem, hessian=factor * problem.hessian), z)
    return x, z, trouble


def newton(p: SeparableQP, start: FloatArray, steps: int = MAX_STEPS) -> tuple[FloatArray, FloatArray, str]:
    """Newton's method from ``start``, at most so many steps."""
    size = np.sqrt(np.einsum("kn,kn->k", p.rows, p.rows))
    size = np.where(size > 0, size, 1.0)
    z = _signed(p, start.copy())
    x, raw = p.minimiser(z)
    value = p.dual_value(z, x)
    damping = DAMPING
    for _ in range(steps):
        residual = _residual(p, z, p.rows @ x)
        if np.all(np.abs(residual) <= TOLERANCE * size):
            return x, z, ""
        step = _newton_step(p, z, residual, (raw > p.lower) & (raw < p.upper), damping)
        trial, reached, length = _line_search(p, z, step, residual, value)
        if length == 0.0:
            if damping > 1.0:
                return x, z, "the line search found no ascent"
            damping *= 1e3
            continue
        damping = max(DAMPING, damping * (1e-2 if length == 1.0 else 1.0))
        z, value = trial, reached
        x, raw = p.minimiser(z)
    return x, z, f"no convergence in {steps} Newton steps"


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


def _newton_step(
    p: SeparableQP, z: FloatArray, residual: FloatArray, free: NDArray[np.bool_], damping: float
) -> FloatArray:
    """Newton's step, with multipliers that would change sign taken to zero and the others solved again."""
    work = np.flatnonzero((z != 0) | (residual != 0))
    rows = p.rows[work]
    matrix = (rows[:, free] / p.hessian[free]) @ rows[:, free].T
    scale = np.einsum("kn,kn->k", rows / p.hessian, rows)
    scale = np.where(scale > 0, scale, 1.0)  # an empty row has no curvature of its own
    matrix[np.diag_indices_from(matrix)] += damping * scale + np.where(matrix.diagonal() <= 0, 1e-3 * scale, 0.0)
    here, gradient = z[work], residual[work]
    side = np.where(here != 0, here, gradient)
    step = np.zeros(len(work))
    moving = np.ones(len(work), dtype=bool)
    while moving.any():
        pull = gradient[moving] - matrix[np.ix_(moving, ~moving)] @ step[~moving]
        step[moving] = np.linalg.solve(matrix[np.ix_(moving, moving)], pull)
        crossing = moving & ((here + step) * side < 0)
        if not crossing.any():
            break
        step[crossing] = -here[crossing]
        moving &= ~crossing
    full = np.zeros_like(z)
    full[work] = step
    return full


def _line_search(
    p: SeparableQP, z: FloatArray, step: FloatArray, residual: FloatArray, value: float
) -> tuple[FloatArray, float, float]:
    """The largest step length of 1, 1/2, 1/4, ... that raises the dual enough; 0 where there is none."""
    rise = float(residual @ step)
    noise = 1e-14 * max(1.0, abs(value))
    length = 1.0
    while rise > 0 and length > 1e-9:
        trial = z + length * step
        trial = _signed(p, np.where(trial * z < 0, 0.0, trial))
        reached = p.dual_value(trial, p.minimiser(trial)[0])
        if reached >= value + 1e-4 * length * rise - noise:
            return trial, reached, length
        length *= 0.5
    return z, value, 0.0
