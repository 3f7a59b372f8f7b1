"""The largest levels that are hosted, by sweeps: for networks on which use of one relieves another.

Everybody at clip(L + base, 0, most) changes course only where somebody starts to move or reaches its most. Between two
such levels every limited quantity is linear, so the levels that are hosted there are an interval, and the largest is
found from the top down. It need not be the end of the first interval: levels below it may break a limit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from amm_opt.market.mechanism import FloatArray
from formulations.sequential import Limits

HAIR_KW = 1e-4
"""A level that cannot rise alone by this much is held."""


def levels_by_sweeps(limits: Limits, base: FloatArray, group: NDArray[np.intp], count: int, top: float) -> FloatArray:
    """(count,) levels: all rise together as far as is hosted, those that cannot rise alone are held, others go on."""
    most = limits.most
    level, rising = np.full(count, -np.inf), np.isin(np.arange(count), group[most > 0])
    level[~rising] = top

    def use(levels: FloatArray) -> FloatArray:
        return np.clip(levels[group] + base, 0.0, most)

    def beyond(levels: FloatArray) -> FloatArray:
        return limits.beyond(use(levels))

    while rising.any():
        turns = np.concatenate([-base, most - base])[np.tile(rising[group] & (most > 0), 2)]
        reached = float(np.max(level[~rising & (level < top)], initial=-np.inf))
        first = max(float(turns.min()), reached)
        points = np.unique(np.append(turns[(turns > first) & (turns < top)], [min(first, top), top]))
        now = _largest(lambda at: beyond(np.where(rising, at, level)), points)  # noqa: B023
        level = np.where(rising, now, level)
        free = [bool(np.all(beyond(level + HAIR_KW * (np.arange(count) == g)) <= 0)) for g in range(count)]
        held = rising & ~(np.array(free) & (level < top))
        rising &= ~(held if held.any() else rising)
    return level


def _largest(beyond: Callable[[float], FloatArray], points: FloatArray) -> float:
    """The largest level within ``points`` at which nothing is beyond its limit; the first, where there is none."""
    above = beyond(points[-1])
    if np.all(above <= 0):
        return float(points[-1])
    for low, high in zip(points[-2::-1], points[:0:-1], strict=True):
        below = beyond(low)
        rate = np.abs(above - below)
        cross = np.divide(np.abs(below), rate, out=np.zeros_like(below), where=rate > 0)
        start = float(np.max(cross[(below > 0) & (above <= 0)], initial=0.0))
        end = float(np.min(cross[(below <= 0) & (above > 0)], initial=1.0))
        if start <= end and not np.any((below > 0) & (above > 0)):
            return float(low + end * (high - low))
        above = below
    return float(points[0])
