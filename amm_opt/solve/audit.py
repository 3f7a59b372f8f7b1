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
    bound_dual = numbers.gradient(v)
    if len(row_dual):
        bound_dual -= row_dual @ numbers.rows
    bound_dual -= network_dual @ network
    conditions = [
        _conditions(numbers.rows @ v, numbers.row_lower, numbers.row_upper, row_dual),
        _conditions(network @ v, lower, upper, network_dual),
        _conditions(v, numbers.lower, numbers.upper, bound_dual),
    ]
    cost = 1.0 + float(np.max(np.abs(numbers.q), initial=0.0))
    if conditions[-1][1] > AUDIT_TOLERANCE * cost:
        rounding = np.finfo(float).eps * (_size(row_dual, numbers.rows) + _size(network_dual, network))
        bound_dual = np.sign(bound_dual) * np.maximum(np.abs(bound_dual) - rounding, 0.0)
        conditions[-1] = _conditions(v, numbers.lower, numbers.upper, bound_dual)
    primal, dual, gap = np.array(conditions).T
    return Audit(
        primal=float(np.max(primal)),
        dual=float(np.max(dual)) / cost,
        gap=float(np.sum(gap)) / (1.0 + abs(numbers.objective(v) - numbers.offset)),
    )


def _conditions(
    value: FloatArray, lower: FloatArray, upper: FloatArray, dual: FloatArray
) -> tuple[float, float, float]:
    """Relative violation, largest multiplier of a limit that does not exist, sum of complementarity products.

    A value that is not a number makes its result not a number, which fails the audit.
    """
    if not len(value):
        return 0.0, 0.0, 0.0
    above, below = value - lower, upper - value
    size = 1.0 + np.minimum(np.abs(lower), np.abs(upper))
    size[np.isinf(size)] = 1.0
    violation = np.max(np.maximum(-above, -below) / size, initial=0.0)
    slack = np.where(dual > 0, above, below)
    missing = np.isinf(slack) & np.isfinite(value)
    if not missing.any():
        return float(violation), 0.0, float(np.abs(dual * slack).sum())
    unbacked = np.max(np.abs(dual[missing]))
    return float(violation), float(unbacked), float(np.abs(dual * np.where(missing, 0.0, slack)).sum())


def _size(dual: FloatArray, rows: Rows) -> FloatArray:
    """Sum of the sizes of all terms of ``dual @ rows``."""
    return np.asarray(np.abs(dual) @ Rows(rows.start, rows.col, np.abs(rows.data), rows.width))
