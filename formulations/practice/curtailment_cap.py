r"""A cap on everyone's cumulative curtailment index, as low as can be; then most energy. Interval by interval.

After Quessongo, Gebbran and Unsihuay-Vila, arXiv 2608.23444 (abstract only): with the energy that participant i had
available and was accepted so far, this interval included,

    chi_i = (available_i - accepted_i) / available_i,      min Gamma  s.t.  chi_i <= Gamma  for every i,

then the most energy with that Gamma. 1 - chi_i is the served ratio with history, so this is FUH (``fair_over_time``)
with participants as groups, windows of one interval and nothing given up. Imports have a cap of their own, by analogy.

With one interval and one participant to a group, a level L_d = 1 - Gamma_d is a lower bound of everybody's service,

    x_i >= floor_i(L_d) = (L_d H_i - h_i) / dt,      h, H accepted and available so far, this interval included in H.

Nobody can be served more than it asks for, so L_d <= top_d = min_i (h_i + r_i dt) / H_i, and only those with a floor
above zero at the top can hold a level down further: mostly few. The two levels are lexicographically max-min, the lower
one first. The most energy, with ties as in FUH, is the matching of ``parts.matching`` with the floors of these levels.

A participant whose past is worse than anything that this interval can mend sets Gamma by itself: all others are then
bound by the second stage only. That is the min-max rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import cvxpy as cp
import numpy as np

from amm_opt.arrays import DIRECTIONS, FloatArray
from amm_opt.cases import Case, Requests
from amm_opt.grid import Grid
from amm_opt.market import Allocation, Mechanism, ServedState
from amm_opt.market.mechanism import Solve, Values
from amm_opt.market.state import requested
from amm_opt.program import Leximin, Program, Solution
from formulations.fair_over_time import RHO, SLACK
from formulations.parts.matching import matching, matching_values, per_request


@dataclass(frozen=True)
class CurtailmentCap(Mechanism[ServedState]):
    """The largest cumulative share that anybody is cut is as small as can be."""

    name: ClassVar[str] = "curtailment_cap"
    full_service_optimal: ClassVar[bool] = True

    def initial_state(self, case: Case) -> ServedState:
        return ServedState.fresh(case.n_participants)

    def program(self, grid: Grid) -> Mapping[str, Program]:
        plain, level = matching(grid), cp.Variable(2, name="level")
        reached = [level <= cp.Parameter(2, nonneg=True, name="top")]
        for i, d in enumerate(DIRECTIONS):
            rise = cp.Parameter(grid.n, nonneg=True, name=f"rise_{d}")
            reached.append(plain.values[d] >= cp.Parameter(grid.n, name=f"base_{d}") + cp.multiply(rise, level[i]))
        levels = Program(Leximin(level), [*plain.constraints, *reached], plain.injections, {"level": level})
        return {"levels": levels, "share": matching(grid, floored=True)}

    def clear(self, grid: Grid, solve: Solve, state: ServedState, requests: Requests) -> Solution:
        request, dt_h = requests.both_kw, requests.dt_h
        available, accepted = state.requested_kwh + request * dt_h, state.served_kwh
        had = requested(available)
        most = np.where(had, accepted + request * dt_h, 1.0) / np.where(had, available, 1.0)
        top = np.clip(most.min(axis=1), 0.0, 1.0)

        def floor(level: FloatArray) -> FloatArray:
            return np.clip((level[:, None] * available - accepted) / dt_h, 0.0, request)

        holds, values = floor(top) > 0, Values(top=top)
        for i, d in enumerate(DIRECTIONS):
            values[f"base_{d}"] = np.where(holds[i], -accepted[i] / dt_h, 0.0)
            values[f"rise_{d}"] = np.where(holds[i], available[i] / dt_h, 0.0)
        level = solve(values, "levels")["level"]
        gain = np.where(requested(request), 1.0 + RHO, 0.0)
        return solve(matching_values(gain, per_request(RHO, request), floor(level - SLACK)), "share")

    def settle(self, grid: Grid, solution: Solution, requests: Requests) -> Allocation:
        return Allocation(solution["import"], solution["export"])

    def advance(self, state: ServedState, allocation: Allocation, requests: Requests) -> ServedState:
        return state.advanced(allocation.both_kw, requests.both_kw, requests.dt_h)
