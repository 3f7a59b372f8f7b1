r"""Cutting requests limit by limit, from the leaves to the root: what the rules of practice share. No solver.

Everyone starts with all it asks for. The broken limits at the deepest buses come first. At each of them

    excess_c = how far c is beyond its limit,    s_ci = use of c per kW of participant i and direction, where positive,

a rule cuts those behind c by excess_c in total, sum s_ci (cut of i) = excess_c. Behind a limit are those who use it at
least a tenth as much per kW as who uses it most (ours); below a branch these are all alike, of a voltage those near.
Where they have nothing left, the others who use it are cut in the same way. Limits at the same depth are met each by
itself, and everyone keeps the least that one of them leaves, so that no order matters. Then come the limits further up.

Nobody is ever raised again. Where use of one relieves another (on phases, or by reactive power), a limit that was met
can break again; another pass meets it, and what was cut on the way may be more than was needed in the end. What is left
after all passes is for the engine to cut back and to mark.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from amm_opt.arrays import DIRECTIONS, FloatArray, IntArray
from amm_opt.cases import Requests
from amm_opt.grid import Grid
from amm_opt.market import Mechanism
from amm_opt.market.mechanism import Solve, StateT
from amm_opt.program import Solution
from amm_opt.tolerances import BEHIND, ROUNDING, SEARCH_SLACK

PASSES = 50

Rule = Callable[[IntArray, FloatArray, FloatArray, float], FloatArray]
"""``rule(who, power_kw, use, excess)``: what is left of powers (m,) of which each kW uses this much (m,) of a limit.

``who`` are places among (2 n), imports first. All of it is cut where that is less than the excess.
"""


class ByLimit(Mechanism[StateT], ABC):
    """Base of mechanisms that cut requests limit by limit."""

    full_service_optimal: ClassVar[bool] = True
    feasible_at_limits_only: ClassVar[bool] = True

    def program(self, grid: Grid) -> None:
        return None

    @abstractmethod
    def rule(self, grid: Grid, state: StateT, requests: Requests) -> Rule:
        """Who is cut at a limit in this interval."""

    def clear(self, grid: Grid, solve: Solve, state: StateT, requests: Requests) -> Solution:
        served = limit_by_limit(grid.linear, requests, self.rule(grid, state, requests))
        return Solution(dict(zip(DIRECTIONS, served, strict=True)), {}, float("nan"), "-")


def limit_by_limit(grid: Grid, requests: Requests, rule: Rule) -> FloatArray:
    """(2, n) what is served of one interval's requests."""
    q, (lower, upper) = grid.network.quantities, grid.limits(requests)
    slack = SEARCH_SLACK * q.tolerance
    depth = grid.case.feeder.depth[grid.network.quantity_bus]
    served = requests.both_kw.ravel()
    for _ in range(PASSES):
        before, above = served, np.inf
        while True:
            u = grid.quantities(requests, *served.reshape(2, -1))
            excess = np.maximum(u - upper, lower - u)
            broken = np.flatnonzero((excess > slack) & (depth < above))
            if len(broken) == 0:
                break
            above = depth[broken].max()
            rows = broken[depth[broken] == above]
            side = np.where(u > upper, 1.0, -1.0)[rows]
            use = side[:, None] * np.concatenate(list(grid.kept_sensitivity(rows)), axis=1)
            left = [
                _cut(rule, served, *of) for of in zip(use, excess[rows].tolist(), slack[rows].tolist(), strict=True)
            ]
            served = np.min(left, axis=0)
        if np.array_equal(served, before):
            break
    return served.reshape(2, -1)


def _cut(rule: Rule, served: FloatArray, use: FloatArray, excess: float, slack: float) -> FloatArray:
    """(2 n,) what one limit leaves: of those behind it, and then of the others who use it."""
    left, largest = served.copy(), float(np.max(use, where=served > 0, initial=0.0))
    loads = (use > ROUNDING) & (served > 0)
    for group in (loads & (use >= BEHIND * largest), loads & (use < BEHIND * largest)):
        who = np.flatnonzero(group)
        if len(who) and excess > slack:
            left[who] = np.clip(rule(who, served[who], use[who], excess), 0.0, served[who])
            excess -= float(use[who] @ (served[who] - left[who]))
    return left


def by_one_fraction(who: IntArray, power_kw: FloatArray, use: FloatArray, excess: float) -> FloatArray:
    """The rule that cuts all by the same fraction."""
    return power_kw * max(0.0, 1.0 - excess / float(use @ power_kw))
