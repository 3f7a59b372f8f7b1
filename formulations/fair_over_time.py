"""Max-min fairness of served ratios: at each time (FET), over time (FOT) and over time using history (FUH).

After Moring, Farrell and Mathieu, "Fair-over-time distributed energy resource coordination", Allerton 2024,
doi 10.1109/ALLERTON63246.2024.10735316. Their equations could not be obtained; this is our reading.

Groups f (LV feeders, or participants), directions d, intervals k of a window W, x_ik what participant i is served of
its request r_ik:

    served_f = sum_k sum_(i in f) x_ik dt,     requested_f = sum_k sum_(i in f) r_ik dt.

Inside a group participants are free, or all get the same share of their requests (``inside``).

Stage 1: the two levels L_d are lexicographically max-min, the lower one first, subject to

    (h_fd + served_fd) >= L_d (H_fd + requested_fd)  for every f,     all injections feasible,

h, H being what the group was served and asked for before (FUH; zero for FET and FOT). Stage 2: most service, with the
quadratic of the AMM's matching, rho = 0.1. Levels l_d may be lower than L_d (less 1e-6), by at most the share ``give``,
where that buys more: with A_d = sum_f (H_fd + requested_fd), a level of 0.01 is worth one per cent of A_d at first and
two at the end (ours),

    max sum_ik dt (x_ik - rho/2 (r_ik - x_ik)^2 / r_ik) - sum_d A_d (L_d - l_d) (1 + (L_d - l_d) / (2 give L_d)).

An interval in which full service is feasible is served in full.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import cvxpy as cp
import numpy as np

from amm_opt.arrays import DIRECTIONS, BoolArray, FloatArray
from amm_opt.cases import Case, Requests
from amm_opt.cases.times import is_length
from amm_opt.errors import InputError
from amm_opt.fields import wrong_choices
from amm_opt.grid import Grid
from amm_opt.market import Allocation, Mechanism, ServedState
from amm_opt.market.mechanism import Solve, Values
from amm_opt.program import HorizonProgram, Leximin, Program, Solution
from formulations.parts.matching import per_request

PER = ("feeder", "participant")
INSIDE = ("free", "proportional")
RHO = 0.1
"""A kWh of who is served least counts up to 1 + RHO times as much as one of who is served nearly all."""
SLACK = 1e-6
"""By how much a level may be missed whatever is given on purpose, so that stage 2 has a feasible point."""
GIVEN = ("gain", "root", "least", "most")
"""Of a level in stage 2: its linear and the root of its quadratic coefficient, and its bounds."""


@dataclass(frozen=True)
class FairEachTime(Mechanism[ServedState]):
    """FET: every interval by itself, without memory.

    Args:
        per: ``feeder`` or ``participant``: whose served ratio counts.
        inside: who shares what a feeder gets: participants are ``free``, or all get the same share of their requests
            (``proportional``). With ``per="participant"`` the two are the same.
        give: share of the levels that may be given up where it buys more service, in [0, 1].
    """

    name: ClassVar[str] = "fet"
    full_service_optimal: ClassVar[bool] = True

    per: str = "feeder"
    inside: str = "free"
    give: float = 0.02

    def __post_init__(self) -> None:
        if problems := self._problems():
            raise InputError(problems, subject=self.name)

    def _problems(self) -> list[str]:
        problems = wrong_choices(self, per=PER, inside=INSIDE)
        if not 0 <= self.give <= 1:
            problems.append(f"give = {self.give} must be in [0, 1]")
        return problems

    def initial_state(self, case: Case) -> ServedState:
        return ServedState.fresh(case.n_participants)

    def program(self, grid: Grid) -> Mapping[str, HorizonProgram]:
        members = grid.case.groups(self.per).members
        count = members.shape[0]
        if self.inside == "free":
            moved = power = {d: cp.Variable(grid.n, name=f"{d}_kw") for d in DIRECTIONS}
            limits = [limit for d, x in power.items() for limit in (x >= 0, x <= grid.request_kw(d))]
        else:
            moved = {d: cp.Variable(count, name=f"share_{d}") for d in DIRECTIONS}
            limits = [limit for a in moved.values() for limit in (a >= 0, a <= 1)]
            power = {d: cp.multiply(grid.request_kw(d), members.T @ moved[d]) for d in DIRECTIONS}
        served = {f"served_{d}": self._served(grid, moved, d) for d in DIRECTIONS}
        injection = grid.injection(import_kw=power["import"], export_kw=power["export"])
        interval = Program(cp.Maximize(cp.Constant(0.0)), limits, [injection], {**power, **served})

        total = {name: cp.Variable(count, name=f"total_{name}") for name in served}
        level = cp.Variable(2, name="level")
        floors = [
            total[f"served_{d}"] + cp.Parameter(count, name=f"before_{d}")
            >= cp.multiply(cp.Parameter(count, nonneg=True, name=f"asked_{d}"), level[i])
            for i, d in enumerate(DIRECTIONS)
        ]
        root = {d: cp.Parameter(x.size, nonneg=True, name=f"root_{d}") for d, x in moved.items()}
        uneven = 0.5 * sum(cp.sum_squares(cp.multiply(root[d], x)) for d, x in moved.items())
        even = cp.Maximize((1.0 + RHO) * grid.case.dt_h * sum(cp.sum(s) for s in served.values()) - uneven)
        gain, bend, least, most = (cp.Parameter(2, nonneg=True, name=f"{name}_level") for name in GIVEN)
        price = cp.Maximize(gain @ level - 0.5 * cp.sum_squares(cp.multiply(bend, level)))
        within = [*floors, level >= least, level <= most]
        return {
            "level": HorizonProgram(interval, Leximin(level), total, [*floors, level <= 1]),
            "throughput": HorizonProgram(replace(interval, objective=even), price, total, within),
        }

    def _served(self, grid: Grid, moved: Mapping[str, cp.Variable], direction: str) -> cp.Expression:
        """(groups,) kW, of participants' powers or of groups' shares."""
        members = grid.case.groups(self.per).members
        if self.inside == "free":
            return members @ moved[direction]
        return cp.multiply(members @ grid.request_kw(direction), moved[direction])

    def clear(self, grid: Grid, solve: Solve, state: ServedState, requests: Requests) -> Solution:
        """Both stages, on the intervals that are not served in full anyway."""
        members = grid.case.groups(self.per).members
        scarce = grid.select(requests, self._scarce(grid, requests))
        levels: Values = {}
        roots: Values = {}
        for i, d in enumerate(DIRECTIONS):
            energy = members @ requests.request_kw(d).sum(axis=0) * requests.dt_h
            full = energy - members @ scarce.request_kw(d).sum(axis=0) * requests.dt_h
            levels[f"before_{d}"] = members @ state.served_kwh[i] + full
            levels[f"asked_{d}"] = members @ state.requested_kwh[i] + energy
            weight, request = RHO * requests.dt_h, scarce.request_kw(d)
            free = self.inside == "free"
            roots[f"root_{d}"] = np.sqrt(per_request(weight, request) if free else weight * request @ members.T)
        reached = np.maximum(solve(levels, "level", scarce)["leximin_level"] - SLACK, 0.0)
        return solve({**roots, **self._given(reached, levels)}, "throughput", scarce)

    def _given(self, reached: FloatArray, levels: Values) -> Values:
        """Stage 2's numbers of levels, which stand there as energies A_d l_d, so that they are as large as services."""
        whole = np.array([np.sum(levels[f"asked_{d}"]) for d in DIRECTIONS])
        whole[whole == 0.0] = 1.0
        high = reached * whole
        bend = 1.0 / np.where(self.give * high > 0, self.give * high, 1.0)
        shares = {f"asked_{d}": levels[f"asked_{d}"] / whole[i] for i, d in enumerate(DIRECTIONS)}
        numbers = dict(zip(GIVEN, (1.0 + bend * high, np.sqrt(bend), (1.0 - self.give) * high, high), strict=True))
        return {**levels, **shares, **{f"{name}_level": number for name, number in numbers.items()}}

    def _scarce(self, grid: Grid, requests: Requests) -> BoolArray:
        """(T,) the intervals that are planned; all others are served in full."""
        return grid.scarce(requests)

    def settle(self, grid: Grid, solution: Solution, requests: Requests) -> Allocation:
        served = requests.both_kw
        served[:, self._scarce(grid, requests)] = solution["import"], solution["export"]
        return Allocation(*served)


@dataclass(frozen=True)
class FairOverTime(FairEachTime):
    """FOT: served ratios over each window, with everything in it known beforehand; windows know nothing of each other.

    Args:
        per, inside, give: as for ``FairEachTime``.
        window: its length, such as ``1D``, ``7D`` or ``all`` (the whole run), or a number of intervals.
    """

    name: ClassVar[str] = "fot"

    window: int | str = "1D"

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if not is_length(self.window):
            problems.append(f"window = {self.window!r} must be a number of intervals, a time such as 1D, or all")
        return problems

    @property
    def horizon(self) -> int | str:
        return self.window


@dataclass(frozen=True)
class FairUsingHistory(FairOverTime):
    """FUH: as FOT, but what was served and asked for before the window counts too.

    Args:
        per, inside, give: as for ``FairEachTime``.
        window: its length, such as ``1D``, ``7D`` or ``all`` (the whole run), or a number of intervals.
    """

    name: ClassVar[str] = "fuh"

    def advance(self, state: ServedState, allocation: Allocation, requests: Requests) -> ServedState:
        return state.advanced(allocation.both_kw, requests.both_kw, requests.dt_h)
