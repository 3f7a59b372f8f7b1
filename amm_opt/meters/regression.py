"""Regression with an intercept, a ridge and coefficients that are not negative, by squares or Huber's loss.

Non-negative least squares is an active-set method (``scipy.optimize.nnls``): it ends at the exact optimum of a problem
of some 60 columns in a millisecond, while a cone solver would be asked once per meter and iteration. Huber's loss is
the same program with other weights, until these stay (iteratively reweighted least squares, which converges because
the loss is convex).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from amm_opt.arrays import FloatArray

LOSSES = ("squares", "huber")
HUBER = 1.345
"""Residuals beyond so many standard deviations count with their size only; 95 % efficient where errors are normal."""
TO_SIGMA = 1.4826
"""The median size of a normal error times this is its standard deviation."""
ROUNDS, SETTLED = 100, 1e-6


@dataclass(frozen=True)
class Way:
    """How rows are fitted.

    Attributes:
        ridge: weight of the squared coefficients of powers, as a share of the mean squared power of a column.
        loss: ``squares`` or ``huber``.
        signs: whether coefficients must not be negative.
    """

    ridge: float
    loss: str
    signs: bool


def regressed(x: FloatArray, y: FloatArray, penalised: int, way: Way) -> tuple[FloatArray, float]:
    """Coefficients (k,) and intercept of y (T,) on the columns of x (T, k), the first ``penalised`` under the ridge."""
    size = np.square(x[:, :penalised] - x[:, :penalised].mean(axis=0)).sum(axis=0).mean() if penalised else 0.0
    stiff = np.sqrt(way.ridge * size) * np.eye(penalised, x.shape[1])
    weight = np.ones(len(y))
    coefficients, intercept = _weighted(x, y, weight, stiff, way.signs)
    for _ in range(ROUNDS if way.loss == "huber" else 0):
        size_of = np.abs(y - x @ coefficients - intercept)
        cut = HUBER * TO_SIGMA * np.median(size_of)
        before, weight = weight, np.minimum(1.0, cut / np.maximum(size_of, 1e-300))
        coefficients, intercept = _weighted(x, y, weight, stiff, way.signs)
        if np.abs(weight - before).max() < SETTLED:
            break
    return coefficients, intercept


def _weighted(
    x: FloatArray, y: FloatArray, weight: FloatArray, stiff: FloatArray, signs: bool
) -> tuple[FloatArray, float]:
    """Least squares with weights; the intercept is free, so that it is taken out by centring."""
    share = weight / weight.sum()
    at_x, at_y, root = share @ x, share @ y, np.sqrt(weight)[:, None]
    a = np.vstack([root * (x - at_x), stiff])
    b = np.concatenate([root[:, 0] * (y - at_y), np.zeros(len(stiff))])
    if signs:
        q, r = np.linalg.qr(a)
        coefficients = nnls(r, q.T @ b)[0]
    else:
        coefficients = np.linalg.lstsq(a, b, rcond=None)[0]
    return coefficients, float(at_y - at_x @ coefficients)
