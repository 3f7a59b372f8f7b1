"""The largest feasible levels, by sweeps: for networks on which use of one relieves another.

Everybody at clip(L + base, 0, max_kw) changes course only where somebody starts to move or reaches its maximum. Between
two such levels every limited quantity is linear, so the levels that are feasible there are an interval. The largest of
all is found on the few limits that matter, and then checked on all by a sweep. Levels below it may break a limit.
"""

from __future__ import annotations

import numpy as np

from amm_opt.arrays import BoolArray, FloatArray
from amm_opt.cases.groups import Groups
from formulations.parts.sweeps.limits import Known, Limits

MARGIN_KW = 1e-4
"""A level that cannot rise by this much while the others stay is held."""
PASSES, GAIN_KW = 10, 1e-3
SAME = 1e-11
"""Use of a limit that differs by less is the same."""


def levels_by_sweeps(limits: Limits, base: FloatArray, groups: Groups, top: float) -> FloatArray:
    """(groups,) levels: all rise together as far as is feasible, those that cannot rise further are held, others go on.

    At last each in turn, the lowest first, rises as far as those of the others allow, which may relieve it by now.
    """
    max_kw, known, group, single = limits.max_kw, Known(limits), groups.of, np.eye(groups.count, dtype=bool)
    present = np.isin(np.arange(groups.count), group[max_kw > 0])
    level, rising = np.where(present, -np.inf, top), present

    def use(levels: FloatArray) -> FloatArray:
        return np.clip(levels[..., group] + base, 0.0, max_kw)

    def risen(level: FloatArray, rising: BoolArray, lower: float) -> FloatArray:
        """Those of the rising ones as large as is feasible, from ``lower`` on, while the others stay."""
        turns = np.concatenate([-base, max_kw - base])[np.tile(rising[group] & (max_kw > 0), 2)]
        first = max(float(turns.min()), lower)
        points = np.unique(np.append(turns[(turns > first) & (turns < top)], [min(first, top), top]))
        share = use(np.where(rising, points[:, None], level)) / np.where(max_kw > 0, max_kw, 1.0)
        while True:
            used = known.sensitivity @ (use(level) / np.where(max_kw > 0, max_kw, 1.0))
            room = np.maximum(known.room, used) + SAME  # a limit that those who stay use up is not broken by them
            together = np.where(rising, _largest(known.sensitivity @ share.T - room[:, None], points), level)
            excess, side = limits.excess(use(together))
            if not (np.any(excess > limits.slack) and known.add(excess, side)):
                return together

    while rising.any():
        level = risen(level, rising, float(np.max(level[~rising & (level < top)], initial=-np.inf)))
        one_more = use(level + MARGIN_KW * single)
        free = np.array([bool(np.all(limits.excess(x)[0] <= limits.slack)) for x in one_more])
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
    feasible = np.flatnonzero((start <= end) & ~((low > 0) & (high > 0)).any(axis=0))
    if len(feasible) == 0:
        return float(points[0])
    k = feasible[-1]
    return float(points[k] + end[k] * (points[k + 1] - points[k]))
