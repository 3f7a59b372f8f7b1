"""Max-min fairness of served ratios: at each time (FET), over time (FOT) and over time using history (FUH).

After Moring, Farrell and Mathieu, "Fair-over-time distributed energy resource coordination", Allerton 2024,
doi 10.1109/ALLERTON63246.2024.10735316. Their equations could not be obtained; this is our reading.

Groups f (LV feeders, or participants), directions d, intervals k of a window W. Every participant of a group gets the
same share a of its request, x_ik = a_fk r_ik, so that with R_fk the group's request

    served_f = sum_k a_fk R_fk dt,     requested_f = sum_k R_fk dt.

Stage 1: the two levels L_d are lexicographically max-min, the lower one first, subject to

    (h_fd + served_fd) >= L_d (H_fd + requested_fd)  for every f,     all injections feasible,

h, H being what the group was served and asked for before (FUH; zero for FET and FOT). Stage 2: most energy served,
subject to the levels of stage 1 less 1e-6, ties broken towards equal shares:

    max sum_fk R_fk dt (a_fk - tie/2 (1 - a_fk)^2),   tie = 1e-3.

An interval in which full service is feasible is served in full.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import cvxpy as cp
import numpy as np

from amm_opt.arrays import DIRECTIONS, BoolArray
from amm_opt.cases import Case, Requests
from amm_opt.cases.times import is_length
from amm_opt.errors import InputError
from amm_opt.fields import wrong_choices
from amm_opt.grid import Grid
from amm_opt.market import Allocation, Mechanism, ServedState
from amm_opt.market.mechanism import Solve, Values
from amm_opt.program import HorizonProgram, Leximin, Program, Solution

PER = ("feeder", "participant")
GIVE, TIE = 1e-6, 1e-3


@dataclass(frozen=True)
class FairEachTime(Mechanism[ServedState]):
    """FET: every interval by itself, without memory.

    Args:
        per: ``feeder`` or ``participant``: whose served ratio counts.
    """

    name: ClassVar[str] = "fet"
    full_service_optimal: ClassVar[bool] = True

    per: str = "feeder"

    def __post_init__(self) -> None:
        if problems := wrong_choices(self, per=PER):
            raise InputError(problems, subject=self.name)

    def initial_state(self, case: Case) -> ServedState:
        return ServedState.fresh(case.n_participants)

    def program(self, grid: Grid) -> Mapping[str, HorizonProgram]:
        members = grid.case.groups(self.per).members
        count = members.shape[0]
        share = {d: cp.Variable(count, name=f"share_{d}") for d in DIRECTIONS}
        power = {d: cp.multiply(grid.request_kw(d), members.T @ share[d]) for d in DIRECTIONS}
        served = {f"served_{d}": cp.multiply(members @ grid.request_kw(d), share[d]) for d in DIRECTIONS}
        limits = [limit for a in share.values() for limit in (a >= 0, a <= 1)]
        injection = grid.injection(import_kw=power["import"], export_kw=power["export"])
        interval = Program(cp.Maximize(cp.Constant(0.0)), limits, [injection], {**power, **served})

        total = {name: cp.Variable(count, name=f"total_{name}") for name in served}
        level = cp.Variable(2, name="level")
        floors = [
            total[f"served_{d}"] + cp.Parameter(count, name=f"before_{d}")
            >= cp.multiply(cp.Parameter(count, nonneg=True, name=f"asked_{d}"), level[i])
            for i, d in enumerate(DIRECTIONS)
        ]
        root = {d: cp.Parameter(count, nonneg=True, name=f"root_{d}") for d in DIRECTIONS}
        uneven = 0.5 * sum(cp.sum_squares(cp.multiply(root[d], share[d])) for d in DIRECTIONS)
        even = cp.Maximize(TIE * grid.case.dt_h * sum(cp.sum(s) for s in served.values()) - uneven)
        energy = cp.Maximize(sum(cp.sum(t) for t in total.values()))
        held = [*floors, level == cp.Parameter(2, name="reached")]
        return {
            "level": HorizonProgram(interval, Leximin(level), total, [*floors, level <= 1]),
            "throughput": HorizonProgram(replace(interval, objective=even), energy, total, held),
        }

    def clear(self, grid: Grid, solve: Solve, state: ServedState, requests: Requests) -> Solution:
        """Both stages, on the intervals that are not served in full anyway."""
        members = grid.case.groups(self.per).members
        scarce = requests.select(self._scarce(grid, requests))
        values: Values = {}
        roots: Values = {}
        for i, d in enumerate(DIRECTIONS):
            energy = members @ requests.request_kw(d).sum(axis=0) * requests.dt_h
            full = energy - members @ scarce.request_kw(d).sum(axis=0) * requests.dt_h
            values[f"before_{d}"] = members @ state.served_kwh[i] + full
            values[f"asked_{d}"] = members @ state.requested_kwh[i] + energy
            roots[f"root_{d}"] = np.sqrt(TIE * requests.dt_h * scarce.request_kw(d) @ members.T)
        reached = solve(values, "level", scarce)["leximin_level"] - GIVE
        return solve({**values, **roots, "reached": reached}, "throughput", scarce)

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
        per: ``feeder`` or ``participant``: whose served ratio counts.
        window: its length, such as ``1D``, ``7D`` or ``all`` (the whole run), or a number of intervals.
    """

    name: ClassVar[str] = "fot"

    window: int | str = "1D"

    def __post_init__(self) -> None:
        problems = wrong_choices(self, per=PER)
        if not is_length(self.window):
            problems.append(f"window = {self.window!r} must be a number of intervals, a time such as 1D, or all")
        if problems:
            raise InputError(problems, subject=self.name)

    @property
    def horizon(self) -> int | str:
        return self.window


@dataclass(frozen=True)
class FairUsingHistory(FairOverTime):
    """FUH: as FOT, but what was served and asked for before the window counts too.

    Args:
        per: ``feeder`` or ``participant``: whose served ratio counts.
        window: its length, such as ``1D``, ``7D`` or ``all`` (the whole run), or a number of intervals.
    """

    name: ClassVar[str] = "fuh"

    def advance(self, state: ServedState, allocation: Allocation, requests: Requests) -> ServedState:
        return state.advanced(allocation.both_kw, requests.both_kw, requests.dt_h)
