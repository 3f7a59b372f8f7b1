r"""Priorities from memories: how much a kW of each participant counts, by whose memory.

With m_i the weight that follows from a participant's own memory and m_f from that of its feeder's customers together
(``State.aggregated``), each over the mean of those who ask now and limited to a
factor ``BOUND`` around it:

    participant   w_i = m_i
    feeder        w_i = m_f
    nested        w_i = m_f m_i / (mean of m_j over those of the feeder who ask now)

The means are geometric and weighted by requests, by direction: somebody who cannot be served, and whose weight grows
up to the bound, must not push the neighbours' down. A customer who is in no LV feeder is a feeder of its own. So in two
tiers each tier does its part of the nested form: the upper one sees feeders, whose mean is their own weight, and inside
one feeder m_f is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case, Requests
from amm_opt.cases.groups import Groups
from amm_opt.market import State

LEVELS = ("participant", "feeder", "nested")
BOUND = 100.0
"""Weights lie within this factor of the usual one, so within a range of 1e4."""

StateT = TypeVar("StateT", bound=State)


def priorities(
    level: str, weigh: Callable[[StateT], FloatArray], case: Case, state: StateT, requests: Requests
) -> FloatArray:
    """(2, n) weights, import and export, around 1: a common factor does not change a matching.

    Args:
        level: whose memory counts, one of ``LEVELS``.
        weigh: weights > 0 that follow from memories, (2, n) or (2, groups).
    """
    asked = requests.both_kw
    if level == "participant":
        return bounded(weigh(state), asked)
    feeders = _feeders(case)
    member = feeders.members
    common = bounded(weigh(state.aggregated(member, asked)), (member @ asked.T).T)[:, feeders.of]
    if level == "feeder":
        return common
    own = np.log(bounded(weigh(state), asked))
    total = (member @ asked.T).T
    usual = (member @ (asked * own).T).T / np.where(total > 0, total, 1.0)
    return np.asarray(common * np.exp(own - usual[:, feeders.of]))


def bounded(weight: FloatArray, asked: FloatArray) -> FloatArray:
    """Weights over their geometric mean among those who ask, both directions together, within ``BOUND`` of 1."""
    log, total = np.log(weight), asked.sum()
    usual = (asked * log).sum() / total if total > 0 else 0.0
    return np.exp(np.clip(log - usual, -np.log(BOUND), np.log(BOUND)))


def _feeders(case: Case) -> Groups:
    """LV feeders that have customers, and each customer in none by itself."""
    own = len(case.feeder.lv_feeders) + np.arange(case.n_participants)
    used, of = np.unique(np.where(case.lv_feeder >= 0, case.lv_feeder, own), return_inverse=True)
    return Groups(of, len(used))
