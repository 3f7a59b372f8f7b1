"""Audit of a solution, independent of the solver that found it."""

from __future__ import annotations

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.program import Audit
from amm_opt.solve.compile import Numbers, Rows
from amm_opt.tolerances import AUDIT_TOLERANCE


def audit(
    numbers: Numbers,
    v: FloatArray,
    row_dual: FloatArray,
    network: Rows,
    lower: FloatArray,
    upper: FloatArray,
    network_dual: FloatArray,
) -> Audit:
    """Check primal feasibility, stationarity, signs and complementarity of a primal-dual point.

    Args:
        numbers: the program without network rows.
        v, row_dual: variables and multipliers of its general rows, P v + q = rows' y + network' z + (bounds).
        network, lower, upper, network_dual: network rows (K, N), their limits and multipliers (K,).
    """
    curved = numbers.matrix @ v if numbers.matrix is not None else _diagonal(numbers) * v
    slope = curved + numbers.q
    if len(row_dual):
        slope -= row_dual @ numbers.rows
    slope -= network_dual @ network
    parts = [
        _conditions(numbers.rows @ v, numbers.row_lower, numbers.row_upper, row_dual),
        _conditions(network @ v, lower, upper, network_dual),
        _conditions(v, numbers.lower, numbers.upper, slope),
    ]
    cost = 1.0 + float(np.max(np.abs(numbers.q), initial=0.0))
    if parts[-1][1] > AUDIT_TOLERANCE * cost:
        rounding = np.finfo(float).eps * (_size(row_dual, numbers.rows) + _size(network_dual, network))
        slope = np.sign(slope) * np.maximum(np.abs(slope) - rounding, 0.0)
        parts[-1] = _conditions(v, numbers.lower, numbers.upper, slope)
    primal, dual, gap = np.array(parts).T
    return Audit(
        primal=float(np.max(primal)),
        dual=float(np.max(dual)) / cost,
        gap=float(np.sum(gap)) / (1.0 + abs(numbers.objective(v) - numbers.offset)),
    )


def _conditions(use: FloatArray, low: FloatArray, high: FloatArray, push: FloatArray) -> tuple[float, float, float]:
    """Relative violation, largest multiplier of a limit that does not exist, sum of complementarity products.

    A value that is not a number makes its result not a number, which fails the audit.
    """
    if not len(use):
        return 0.0, 0.0, 0.0
    above, below = use - low, high - use
    size = 1.0 + np.minimum(np.abs(low), np.abs(high))
    size[np.isinf(size)] = 1.0
    violation = np.max(np.maximum(-above, -below) / size, initial=0.0)
    room = np.where(push > 0, above, below)
    missing = np.isinf(room) & np.isfinite(use)
    if not missing.any():
        return float(violation), 0.0, float(np.abs(push * room).sum())
    unbacked = np.max(np.abs(push[missing]))
    return float(violation), float(unbacked), float(np.abs(push * np.where(missing, 0.0, room)).sum())


def _size(dual: FloatArray, rows: Rows) -> FloatArray:
    """Sum of the sizes of all terms of ``dual @ rows``."""
    return np.asarray(np.abs(dual) @ Rows(rows.start, rows.col, np.abs(rows.data), rows.width))


def _diagonal(numbers: Numbers) -> FloatArray:
    assert numbers.hessian is not None
    return numbers.hessian
