"""Audit of a solution, independent of the solver that found it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amm_opt.solve.numbers import Numbers

FloatArray = NDArray[np.float64]

TOLERANCE = 1e-6


@dataclass(frozen=True)
class Audit:
    """Optimality conditions of one solve; each number is relative and 0 for an exact optimum.

    Attributes:
        primal: worst violation of a bound or row, over the size of its limit.
        dual: worst violation of stationarity or of a multiplier's sign, over the size of the cost.
        gap: duality gap, the sum of all complementarity products, over the size of the objective.
    """

    primal: float
    dual: float
    gap: float

    @property
    def passed(self) -> bool:
        """Whether every number is within the tolerance."""
        return max(self.primal, self.dual, self.gap) <= TOLERANCE

    def worst(self, other: Audit | None) -> Audit:
        """Number by number the worse of two audits."""
        if other is None:
            return self
        return Audit(max(self.primal, other.primal), max(self.dual, other.dual), max(self.gap, other.gap))

    def __str__(self) -> str:
        return f"primal residual {self.primal:.1e}, dual residual {self.dual:.1e}, gap {self.gap:.1e}"


def audit(
    numbers: Numbers,
    v: FloatArray,
    row_dual: FloatArray,
    network: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    network_dual: FloatArray,
) -> Audit:
    """Check primal feasibility, stationarity, signs and complementarity of a primal-dual point.

    Args:
        numbers: the program without network rows.
        v, row_dual: variables and multipliers of its general rows, P v + q = rows' y + network' z + (bounds).
        network, lower, upper, network_dual: dense network rows (K, N), their limits and multipliers (K,).
    """
    curved = numbers.matrix @ v if numbers.matrix is not None else _diagonal(numbers) * v
    slope = curved + numbers.q - numbers.rows.T @ row_dual - network_dual @ network
    use = np.concatenate([numbers.rows @ v, network @ v, v])
    low = np.concatenate([numbers.row_lower, lower, numbers.lower])
    high = np.concatenate([numbers.row_upper, upper, numbers.upper])
    push = np.concatenate([row_dual, network_dual, slope])
    size = 1.0 + np.minimum(np.abs(low), np.abs(high))
    size[~np.isfinite(size)] = 1.0
    primal = np.maximum(np.maximum(low - use, use - high), 0.0) / size
    up, down = np.maximum(push, 0.0), np.maximum(-push, 0.0)
    unbacked = np.where(np.isfinite(low), 0.0, up) + np.where(np.isfinite(high), 0.0, down)
    room = _product(up, np.abs(use - low)) + _product(down, np.abs(high - use))
    cost = 1.0 + float(np.max(np.abs(numbers.q), initial=0.0))
    return Audit(
        primal=float(np.max(primal, initial=0.0)),
        dual=float(np.max(unbacked, initial=0.0)) / cost,
        gap=float(room.sum()) / (1.0 + abs(numbers.objective(v) - numbers.offset)),
    )


def _product(push: FloatArray, distance: FloatArray) -> FloatArray:
    """Multiplier times distance to its limit, 0 where there is no limit (that counts as a dual residual)."""
    return np.where(np.isfinite(distance), push * np.where(np.isfinite(distance), distance, 0.0), 0.0)


def _diagonal(numbers: Numbers) -> FloatArray:
    assert numbers.hessian is not None
    return numbers.hessian
