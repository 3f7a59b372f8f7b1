"""The largest levels that are hosted, by sweeps: for networks on which use of one relieves another.

Everybody at clip(L + base, 0, most) changes course only where somebody starts to move or reaches its most. Between two
such levels every limited quantity is linear, so the levels that are hosted there are an interval. The largest of all is
found on the few limits that matter, and then checked on all by a sweep. Levels below it may break a limit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from amm_opt.market.mechanism import FloatArray
from formulations.sequential import Known, Limits

HAIR_KW = 1e-4
"""A level that cannot rise alone by this much is held."""


def levels_by_sweeps(limits: Limits, base: FloatArray, group: NDArray[np.intp], count: int, top: float) -> FloatArray:
    """(count,) levels: all rise together as far as is hosted, those that cannot rise alone are held, others go on."""
    most, known = limits.most, Known(limits)
    level, rising = np.full(count, -np.inf), np.isin(np.arange(count), group[most > 0])
    level[~rising] = top

    def use(levels: FloatArray) -> FloatArray:
        return np.clip(levels[..., group] + base, 0.0, most)

    while rising.any():
        turns = np.concatenate([-base, most - base])[np.tile(rising[group] & (most > 0), 2)]
        reached = float(np.max(level[~rising & (level < top)], initial=-np.inf))
        first = max(float(turns.min()), reached)
        points = np.unique(np.append(turns[(turns > first) & (turns < top)], [min(first, top), top]))
        share = use(np.where(rising, points[:, None], level)) / np.where(most > 0, most, 1.0)
        while True:
            now = _largest(known.slopes @ share.T - known.room[:, None], points)
            together = np.where(rising, now, level)
            excess, side = limits.excess(use(together))
            if not (np.any(excess > limits.slack) and known.add(excess, side)):
                break
        level = together
        alone = use(level + HAIR_KW * np.eye(count))
        free = np.array([bool(np.all(limits.excess(x)[0] <= limits.slack)) for x in alone])
        held = rising & ~(free & (level < top))
        rising &= ~(held if held.any() else rising)
    return level


def _largest(beyond: FloatArray, points: FloatArray) -> float:
    """The largest level at which nothing is beyond its limit, (K, P) at ``points``; the first where there is none."""
    if np.all(beyond[:, -1] <= 0):
        return float(points[-1])
    low, high = beyond[:, :-1], beyond[:, 1:]
    rate = np.abs(high - low)
    cross = np.divide(np.abs(low), rate, out=np.zeros_like(low), where=rate > 0)
    start = np.max(np.where((low > 0) & (high <= 0), cross, 0.0), axis=0, initial=0.0)
    end = np.min(np.where((low <= 0) & (high > 0), cross, 1.0), axis=0, initial=1.0)
    hosted = np.flatnonzero((start <= end) & ~((low > 0) & (high > 0)).any(axis=0))
    if len(hosted) == 0:
        return float(points[0])
    k = hosted[-1]
    return float(points[k] + end[k] * (points[k + 1] - points[k]))
