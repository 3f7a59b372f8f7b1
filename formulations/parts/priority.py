r"""Priorities from memories: how much a kW of each participant counts, by whose memory.

With m_i the weight that follows from a participant's own memory and m_f from that of its feeder's customers together
(``State.aggregated``), each limited to a factor ``BOUND`` around the mean of those who ask now:

    participant   w_i = m_i
    feeder        w_i = m_f
    nested        w_i = m_f m_i / (smallest m_j of those of the feeder who ask now)

The mean is geometric and weighted by requests, of both directions together (in the nested form m_i is held against its
own feeder): somebody who cannot be served, and whose weight grows up to the bound, must not push all others' down. In
the nested form the smallest weight counts, by direction, because what is cut is cut at the margin: from the best served
of a feeder, whose weight is then the feeder's. A customer who is in no LV feeder is a feeder of its own. So in two
tiers each tier does its part of the nested form: the upper one sees feeders, each the smallest of itself, and inside
one feeder m_f is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.cases import Case, Requests
from amm_opt.market import State

LEVELS = ("participant", "feeder", "nested")
BOUND = 30.0
"""Weights lie within this factor of the mean: a range of 900, and of 810,000 where two are multiplied."""

LOG_BOUND = np.log(BOUND)

StateT = TypeVar("StateT", bound=State)


def priorities(
    level: str, weigh: Callable[[StateT], FloatArray], case: Case, state: StateT, requests: Requests
) -> FloatArray:
    """(2, n) weights, import and export, around 1: a common factor does not change a matching.

    They are worked out for those who ask, in whatever direction; the others have 1.

    Args:
        level: whose memory counts, one of ``LEVELS``.
        weigh: weights > 0 that follow from memories, (2, n) or (2, groups).
    """
    everybody_kw, weights = requests.both_kw, np.ones((2, case.n_participants))
    who = np.flatnonzero(everybody_kw.any(axis=0))
    asked, asking = everybody_kw[:, who], state.select(who)
    if level == "participant":
        weights[:, who] = _bounded(weigh(asking), asked, np.zeros(len(who), dtype=np.intp))
        return weights
    feeders, of = case.groups("own_feeder"), case.groups("own_feeder").of[who]
    total = (feeders.members @ everybody_kw.T).T
    every = np.zeros(feeders.count, dtype=np.intp)
    together = state.aggregated(feeders.members, everybody_kw, feeders.spread)
    common = _bounded(weigh(together), total, every)
    if level == "feeder":
        weights[:, who] = common[:, of]
        return weights
    own = _bounded(weigh(asking), asked, of)
    least = np.full(total.shape, np.inf)
    direction, i = np.nonzero(asked)
    np.minimum.at(least, (direction, of[i]), own[direction, i])
    weights[:, who] = common[:, of] * own / np.where(total > 0, least, 1.0)[:, of]
    return weights


def _bounded(weight: FloatArray, asked: FloatArray, group: IntArray) -> FloatArray:
    """(2, n) weights over the geometric mean of those in their group who ask, within ``BOUND`` of 1."""
    log = np.log(weight)
    total, sums = (np.bincount(group, weights=w) for w in (asked.sum(axis=0), (asked * log).sum(axis=0)))
    mean = sums / np.where(total > 0, total, 1.0)
    log -= mean[group]
    return np.asarray(np.exp(np.minimum(np.maximum(log, -LOG_BOUND, out=log), LOG_BOUND, out=log)))
