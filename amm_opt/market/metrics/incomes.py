"""Inequality of incomes, recovery of costs, and concentration.

Incomes may be negative, as net revenue is where a plant earns less than its fuel. The Gini index still has a meaning
then, as long as their mean is positive, but may exceed 1; Atkinson's and Theil's index have powers and logarithms of
incomes, and none: they are NaN as soon as one income is negative. Nothing is left out or cut off at zero.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from amm_opt.arrays import BoolArray, FloatArray
from amm_opt.errors import InputError

CENT = 0.005
"""A cost counts as recovered where less than half a cent is missing."""


def gini(incomes: ArrayLike) -> float:
    """Gini index sum_ij |x_i - x_j| / (2 n^2 mean): 0 where all are equal, (n - 1) / n where one has everything.

    NaN for no incomes and where their mean is not positive. C. Gini, 1912; A. Sen, "On Economic Inequality", 1973.
    """
    x = np.sort(_given(incomes))
    if not len(x) or x.sum() <= 0:
        return np.nan
    rank = np.arange(1, len(x) + 1)
    return float((2 * rank - len(x) - 1) @ x / (len(x) * x.sum()))


def atkinson(incomes: ArrayLike, epsilon: float = 0.5) -> float:
    """Atkinson's index 1 - mean(x^(1-epsilon))^(1/(1-epsilon)) / mean(x); at epsilon = 1 1 - geometric mean / mean.

    The share of all income that could go if the rest were shared equally, at the same welfare. NaN for no incomes,
    where one is negative, or all are 0. A. B. Atkinson, J. Economic Theory 2(3), 1970, doi
    10.1016/0022-0531(70)90039-6.

    Raises:
        InputError: where epsilon, the aversion to inequality, is not above 0.
    """
    if not epsilon > 0:
        raise InputError(f"epsilon = {epsilon!r} must be above 0")
    x = _given(incomes)
    if not len(x) or x.min() < 0 or not x.any():
        return np.nan
    if epsilon >= 1 and x.min() == 0:
        return 1.0
    equal = np.exp(np.log(x).mean()) if epsilon == 1 else np.mean(x ** (1 - epsilon)) ** (1 / (1 - epsilon))
    return float(1.0 - equal / x.mean())


def theil(incomes: ArrayLike) -> float:
    """Theil's index T, mean(x / mean ln(x / mean)): 0 where all are equal, ln n where one has everything.

    NaN for no incomes, where one is negative, or all are 0. H. Theil, "Economics and Information Theory", 1967.
    """
    x = _given(incomes)
    if not len(x) or x.min() < 0 or not x.any():
        return np.nan
    share = x / x.mean()
    return float(np.mean(share * np.log(np.where(share > 0, share, 1.0))))


def revenue_adequacy(revenue: ArrayLike, cost: ArrayLike) -> FloatArray:
    """Revenue over cost; NaN where there is no cost."""
    got, spent = np.asarray(revenue, dtype=float), np.asarray(cost, dtype=float)
    return np.asarray(np.divide(got, spent, out=np.full(np.broadcast(got, spent).shape, np.nan), where=spent != 0))


def recovered(revenue: ArrayLike, cost: ArrayLike) -> BoolArray:
    """Whose revenue covers its cost, to the cent; how many is the head count."""
    return np.asarray(np.asarray(revenue, dtype=float) >= np.asarray(cost, dtype=float) - CENT)


def payback_years(capital: ArrayLike, net_per_year: ArrayLike) -> FloatArray:
    """Capital over what is left of a year's revenue after fuel and operation: years until it is earned.

    Infinite where nothing is left; NaN without capital.
    """
    spent, left = np.asarray(capital, dtype=float), np.asarray(net_per_year, dtype=float)
    years = np.divide(spent, left, out=np.full(np.broadcast(spent, left).shape, np.inf), where=left > 0)
    return np.where(spent > 0, years, np.nan)


def hhi(volumes: ArrayLike) -> float:
    """Herfindahl-Hirschman index, 10,000 times the sum of squared shares: 10,000 for one, 10,000 / n for n equal ones.

    Of energies or incomes of owners; NaN where one is negative, or all are 0.
    """
    share = _shares(volumes)
    return float(1e4 * share @ share)


def concentration_ratio(volumes: ArrayLike, largest: int = 4) -> float:
    """The share of the largest few (CR4, CR10); NaN where one is negative, or all are 0."""
    return float(np.sort(_shares(volumes))[::-1][:largest].sum())


def _shares(volumes: ArrayLike) -> FloatArray:
    x = _given(volumes)
    return x / x.sum() if len(x) and x.min() >= 0 and x.any() else np.full(1, np.nan)


def _given(values: ArrayLike) -> FloatArray:
    """The values as one row of numbers.

    Raises:
        InputError: where one is not finite.
    """
    x = np.asarray(values, dtype=float).ravel()
    if not np.isfinite(x).all():
        raise InputError("incomes must be finite numbers")
    return x
