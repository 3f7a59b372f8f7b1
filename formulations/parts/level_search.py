"""The largest levels that are hosted, by sweeps: for networks on which use of one relieves another.

Everybody at clip(L + base, 0, most) changes course only where somebody starts to move or reaches its most. Between two
such levels every limited quantity is linear, so the levels that are hosted there are an interval. The largest of all is
found on the few limits that matter, and then checked on all by a sweep. Levels below it may break a limit.
"""

from __future__ import annotations

import numpy as np

from amm_opt.arrays import BoolArray, FloatArray, IntArray
from formulations.parts.sequential import Known, Limits

HAIR_KW = 1e-4
"""A level that cannot rise alone by this much is held."""
PASSES, GAIN_KW = 10, 1e-3
SAME = 1e-11
"""Use of a limit that differs by less is the same."""


def levels_by_sweeps(limits: Limits, base: FloatArray, group: IntArray, count: int, top: float) -> FloatArray:
    """(count,) levels: all rise together as far as is hosted, those that cannot rise alone are held, others go on.

    At last each in turn, the lowest first, rises as far as those of the others allow, which may relieve it by now.
    """
    most, known, single = limits.most, Known(limits), np.eye(count, dtype=bool)
    present = np.isin(np.arange(count), group[most > 0])
    level, rising = np.where(present, -np.inf, top), present

    def use(levels: FloatArray) -> FloatArray:
        return np.clip(levels[..., group] + base, 0.0, most)

    def risen(level: FloatArray, rising: BoolArray, least: float) -> FloatArray:
        """Those of the rising ones as large as is hosted, from ``least`` on, while the others stay."""
        turns = np.concatenate([-base, most - base])[np.tile(rising[group] & (most > 0), 2)]
        first = max(float(turns.min()), least)
        points = np.unique(np.append(turns[(turns > first) & (turns < top)], [min(first, top), top]))
        share = use(np.where(rising, points[:, None], level)) / np.where(most > 0, most, 1.0)
        while True:
            used = known.slopes @ (use(level) / np.where(most > 0, most, 1.0))
            room = np.maximum(known.room, used) + SAME  # a limit that those who stay use up is not broken by them
            together = np.where(rising, _largest(known.slopes @ share.T - room[:, None], points), level)
            excess, side = limits.excess(use(together))
            if not (np.any(excess > limits.slack) and known.add(excess, side)):
                return together

    while rising.any():
        level = risen(level, rising, float(np.max(level[~rising & (level < top)], initial=-np.inf)))
        alone = use(level + HAIR_KW * single)
        free = np.array([bool(np.all(limits.excess(x)[0] <= limits.slack)) for x in alone])
        held = rising & ~(free & (level < top))
        rising = rising & ~(held if held.any() else rising)
    for _ in range(PASSES if present.sum() > 1 else 0):
        before = level
        for g in np.argsort(level, kind="stable"):
            if present[g] and level[g] < top:
                level = risen(level, single[g], level[g])
        if np.all(level - before < GAIN_KW):
            break
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
