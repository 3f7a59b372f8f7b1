"""Water filling: leximin of levels that are the only variables of a linear program, without a solver.

    lexicographically max-min levels   s.t.  rows @ level <= limit,  lower <= level <= upper.

All levels rise together. A level stops when it is saturated: at its own upper bound, or in a limit that binds, its
bottleneck, in which it is among the largest. The others rise on (progressive filling; B. Radunovic and J.-Y. Le Boudec,
"A unified framework for max-min and min-max fairness with applications", IEEE/ACM Trans. Networking 15(5), 2007,
doi 10.1109/TNET.2007.896231). Where all coefficients are >= 0 a stage is one division per limit; where some levels
relieve a limit that others load, a stage is a linear program (``relief``).
"""

from __future__ import annotations

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.solve.backends.reduced import Point, Reduced, failed
from amm_opt.solve.backends.relief import fill_with_relief

SAME = 1e-12
"""Limits that bind within this of a stage's level, relative to it, bind together."""


class WaterFillingBackend:
    """Leximin of all variables of a problem without a cost, where its limits allow this short way."""

    name = "WATER_FILLING"
    lp, qp = True, False

    def solve(self, problem: Reduced, start: FloatArray) -> Point:
        """See ``Backend``.

        Levels that load no limit and relieve some are best at their upper bound, whatever the others are.
        """
        if len(problem.own):
            return failed("water filling takes no constraints but bounds")
        rows, limit = _one_sided(problem)
        relieving = ~(rows > 0).any(axis=0) & np.isfinite(problem.upper)
        limit = limit - rows[:, relieving] @ problem.upper[relieving]
        rows = np.where(relieving, 0.0, rows)
        loaded = (rows > 0).any(axis=1)
        rows, limit = rows[loaded], limit[loaded]
        if np.any(rows < 0):
            level = fill_with_relief(rows, limit, problem.lower, problem.upper)
        else:
            level = fill(rows, limit, problem.upper)
        if not np.all(np.isfinite(level)):
            return failed("a level has no limit")
        if np.any(level < problem.lower):
            return failed("the lower bound of a level is not feasible")
        return problem.point(level, np.zeros(len(problem.row_lower)))


def fill(rows: FloatArray, limit: FloatArray, upper: FloatArray) -> FloatArray:
    """Leximin-optimal levels subject to rows @ level <= limit, level <= upper, with rows >= 0.

    Args:
        rows: (K, G); limit: (K,); upper: (G,), infinite where a level has no bound of its own.

    Returns:
        (G,) levels, infinite where nothing limits one.
    """
    rows, limit, upper = _own_limits_as_bounds(rows, limit, upper)
    if np.all(np.isfinite(upper)) and np.all(rows @ upper <= limit):
        return upper
    level = np.full(len(upper), np.inf)
    rising = np.ones(len(upper), dtype=bool)
    used = np.zeros(len(limit))
    while rising.any():
        # the ratio test: the level at which each limit binds if all that still rise rise together
        loading = rows[:, rising].sum(axis=1)
        reach = np.where(loading > 0, (limit - used) / np.where(loading > 0, loading, 1.0), np.inf)
        t = min(float(np.min(reach, initial=np.inf)), float(np.min(upper[rising])))
        if np.isinf(t):
            break
        # levels in a bottleneck or at their own bound are saturated
        bottleneck = reach <= t + SAME * max(1.0, abs(t))
        saturated = rising & ((rows[bottleneck] > 0).any(axis=0) | (upper <= t))
        level[saturated] = t
        used += rows[:, saturated].sum(axis=1) * t
        rising &= ~saturated
    return level


def _own_limits_as_bounds(
    rows: FloatArray, limit: FloatArray, upper: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Limits of one level only become upper bounds: the other rows, their limits, and the bounds."""
    single = (rows != 0).sum(axis=1) == 1
    if not single.any():
        return rows, limit, upper
    row, which = np.nonzero(rows[single])
    upper = upper.copy()
    np.minimum.at(upper, which, limit[single][row] / rows[single][row, which])
    return rows[~single], limit[~single], upper


def _one_sided(problem: Reduced) -> tuple[FloatArray, FloatArray]:
    """Network rows as rows @ x <= limit, without those that hold wherever x is within its bounds."""
    above, below = np.isfinite(problem.row_upper), np.isfinite(problem.row_lower)
    network = problem.network.dense()
    rows = np.concatenate([network[above], -network[below]])
    limit = np.concatenate([problem.row_upper[above], -problem.row_lower[below]])
    bounded = np.isfinite(problem.lower) & np.isfinite(problem.upper)
    largest = np.maximum(rows * np.where(bounded, problem.lower, 0.0), rows * np.where(bounded, problem.upper, 0.0))
    can_bind = (largest.sum(axis=1) > limit) | (rows[:, ~bounded] != 0).any(axis=1)
    return rows[can_bind], limit[can_bind]
