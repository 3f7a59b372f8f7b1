"""Guarding: what is carried out keeps every limit, or is cut back until it does, or has failed with a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import numpy as np

from amm_opt.arrays import DIRECTIONS, FloatArray
from amm_opt.cases import Requests
from amm_opt.errors import SolveError
from amm_opt.grid import Grid
from amm_opt.market import Allocation
from amm_opt.market.cut import cut_program, cut_values
from amm_opt.network import ACState
from amm_opt.simulation.loop.result import Notes
from amm_opt.simulation.loop.secure import ACSecurity, scaled_back
from amm_opt.solve.backends.known import SolverOrder
from amm_opt.solve.solver import ProgramSolver
from amm_opt.tolerances import REQUEST_SLACK, SOLVED_SLACK

Limits = tuple[FloatArray, FloatArray]
Clear = Callable[[Limits], Allocation]

CHECKED = 96
"""Intervals of a plan that are checked together."""


class Repair:
    """Cuts an allocation back where it uses a limit that it breaks (``amm_opt.market.cut``), nowhere else.

    The program is compiled when it is first needed.
    """

    def __init__(self, grid: Grid, solvers: SolverOrder) -> None:
        self._grid, self._solvers = grid, solvers

    @cached_property
    def _solver(self) -> ProgramSolver:
        return ProgramSolver(cut_program(self._grid), self._grid, self._solvers)

    def reset(self) -> None:
        """Forget the last interval."""
        if "_solver" in self.__dict__:
            self._solver.reset()

    def __call__(
        self, plan: Allocation, interval: Requests, limits: Limits, notes: Notes, *, marked: bool = True
    ) -> Allocation:
        """The largest allocation within the plan that keeps the limits; the plan itself where it does.

        Args:
            marked: whether the interval is noted as repaired where it is cut.

        Raises:
            SolveError: where every solver fails.
        """
        if self._grid.feasible(interval, plan.import_kw, plan.export_kw, limits=limits, slack=SOLVED_SLACK):
            return plan
        values = cut_values(plan.import_kw, plan.export_kw)
        solution = self._solver.solve(values, interval, *limits)
        notes.solved.append(solution)
        if marked:
            notes.repaired.append(interval.start)
        served, accepted = (np.clip(solution[d], 0.0, values[f"cap_{d}"]) for d in DIRECTIONS)
        return replace(plan, import_kw=served, export_kw=accepted)


class Guard:
    """Checks allocations of one mechanism.

    Args:
        repair: cuts back what does not fit.
        security: where allocations must keep every limit on AC power flow too.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        enforces_limits: bool,
        feasible_at_limits_only: bool,
        repair: Repair,
        security: ACSecurity | None = None,
    ) -> None:
        self._grid, self._repair = grid, repair
        self.enforces_limits, self._cuts = enforces_limits, feasible_at_limits_only
        self.security = security if enforces_limits else None
        self._battery_kw = grid.case.participants["battery_kw"].to_numpy(float)

    def reset(self) -> None:
        """Forget the last interval."""
        self._repair.reset()
        if self.security is not None:
            self.security.reset()

    def allocation(self, interval: Requests, clear: Clear, notes: Notes, inflexible: ACState | None) -> Allocation:
        """What ``clear(limits)`` gives within the limits of an interval, audited.

        Args:
            inflexible: the power flow with inflexible load only, where allocations are secured.

        Raises:
            SolveError: where clearing fails, or nothing of it keeps every limit.
        """

        def within_limits(limits: Limits) -> Allocation:
            return self.audited(self.within_requests(clear(limits), interval), interval, limits, notes)

        if self.security is None or inflexible is None:
            return within_limits(self._grid.limits(interval))
        allocation, scaled = self.security.allocate(interval, inflexible, within_limits)
        notes.repaired += [interval.start] if scaled else []
        return allocation

    def plan(self, allocation: Allocation, requests: Requests, notes: Notes) -> Allocation:
        """The allocation of a window, every interval of it audited.

        Raises:
            SolveError: as :meth:`allocation` does.
        """
        checked: list[Allocation] = []
        for first in range(0, requests.n_steps, CHECKED):
            piece = self._grid.select(requests, slice(first, first + CHECKED))
            a = self.within_requests(allocation.select(slice(first, first + CHECKED)), piece)
            if not self._keeps(a, piece, self._grid.limits(piece)):
                intervals = [piece.interval(k) for k in range(piece.n_steps)]
                a = Allocation.stacked(
                    [self.audited(a.select(k), i, self._grid.limits(i), notes) for k, i in enumerate(intervals)]
                )
            checked.append(a)
        return Allocation.joined(checked)

    def carried_out(self, allocation: Allocation, interval: Requests, notes: Notes) -> Allocation:
        """What an interval really has room for, where the allocation was made for another or without AC power flow.

        Raises:
            SolveError: where cutting back fails.
        """
        if not self.enforces_limits:
            return allocation
        limits = self._grid.limits(interval)
        if self.security is None:
            fits = self._repair(allocation, interval, limits, notes)
            return allocation if fits is allocation else self.audited(fits, interval, limits, notes)
        drawn_kw, injected_kw = allocation.drawn_kw, allocation.injected_kw
        within_model = self._grid.feasible(interval, drawn_kw, injected_kw, limits=limits, slack=SOLVED_SLACK)
        if within_model and self.security.keeps(allocation, interval):
            return allocation

        def cut(limits: Limits) -> Allocation:
            return self._repair(allocation, interval, limits, notes, marked=False)

        notes.repaired.append(interval.start)
        return self.allocation(interval, cut, notes, self.security.inflexible(interval))

    def keeps(self, allocation: Allocation, interval: Requests) -> bool:
        """Whether an allocation keeps the limits of its interval: the model's, and on AC power flow where secured."""
        if not self._keeps(allocation, interval, self._grid.limits(interval)):
            return False
        return self.security is None or self.security.keeps(allocation, interval)

    def _keeps(self, a: Allocation, requests: Requests, limits: Limits) -> bool:
        if not self.enforces_limits:
            return True
        return bool(np.all(self._grid.feasible(requests, a.drawn_kw, a.injected_kw, limits=limits)))

    def within_requests(self, a: Allocation, requests: Requests) -> Allocation:
        """The allocation clipped to its requests within solver tolerance.

        Raises:
            SolveError: where it is outside by more, or beyond a battery's power.
        """
        clipped = []
        for power, request in ((a.import_kw, requests.import_request_kw), (a.export_kw, requests.export_request_kw)):
            inside = np.minimum(np.maximum(power, 0.0), request)
            if not np.all(np.abs(inside - power) <= REQUEST_SLACK * np.maximum(1.0, request)):
                raise SolveError("an allocation is outside its request")
            clipped.append(inside)
        if a.battery_kw is not None and not np.all(np.abs(a.battery_kw) <= self._battery_kw * (1 + REQUEST_SLACK)):
            raise SolveError("a battery's power is beyond its battery_kw")
        return replace(a, import_kw=clipped[0], export_kw=clipped[1])

    def audited(self, a: Allocation, interval: Requests, limits: Limits, notes: Notes) -> Allocation:
        """The allocation where it keeps every limit.

        Cut back, and noted, is what an envelope's outcome has too much, and then what an inexact relaxation promised
        more than exact branch flow hosts.

        Raises:
            SolveError: where it does not keep every limit.
        """
        if self._keeps(a, interval, limits):
            return a
        if self._cuts:
            a = self._repair(a, interval, limits, notes)
            if self._keeps(a, interval, limits):
                return a
        if not self._grid.conic:
            raise SolveError("an allocation breaks a network limit")
        notes.repaired.append(interval.start)
        return scaled_back(a, lambda part: self._keeps(part, interval, limits))
