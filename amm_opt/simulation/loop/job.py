"""Running one mechanism on one network, chunk by chunk and interval by interval."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from amm_opt.arrays import BoolArray, FloatArray, IntArray
from amm_opt.cases import Requests
from amm_opt.errors import InputError, SolveError
from amm_opt.grid import Grid
from amm_opt.market import Allocation, Mechanism, State
from amm_opt.network import ACState
from amm_opt.program import Audit, HorizonProgram, Program, Solution
from amm_opt.simulation.loop.repair import Repair
from amm_opt.simulation.loop.secure import ACSecurity, scaled_back
from amm_opt.simulation.loop.waiting import Backlog, Sessions
from amm_opt.simulation.results.metrics import Metrics
from amm_opt.simulation.results.reasons import most_common
from amm_opt.simulation.results.store import Block
from amm_opt.solve.backends.known import SolverOrder
from amm_opt.solve.solver import ProgramSolver

AnyProgram = Program | HorizonProgram
Limits = tuple[FloatArray, FloatArray]

REQUEST_SLACK = 1e-5
"""How far outside its request a solver may leave an allocation, relative to the request or 1 kW."""

ENOUGH = 24
"""So many intervals fail at the beginning before a run is given up; all of a shorter run."""

EXACT_GAP = 1e-5
"""A relaxed network model counts as exact where its gap, as a fraction of the rating squared, is at most this."""


@dataclass
class Part:
    """What one chunk of intervals came to, but for its allocations.

    ``attempted`` counts the intervals that had to be solved, ``opening`` says that they are the first of the run.
    ``failed`` gives the reason by interval, ``fallback`` of those solved at a second try what failed before,
    ``repaired`` those whose allocation was scaled back, ``used`` how often each solver solved. On a conic network model
    ``gap`` is the worst relaxation gap of each branch and ``inexact`` the intervals with one above EXACT_GAP. Where
    energy can wait, ``backlog`` is what still waits at the end, and ``departed`` what left without all of its energy.
    """

    state: State
    metrics: Metrics
    backlog: Backlog | None = None
    departed: list[Backlog] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    fallback: dict[int, str] = field(default_factory=dict)
    repaired: list[int] = field(default_factory=list)
    inexact: list[int] = field(default_factory=list)
    gap: FloatArray | None = None
    used: dict[str, int] = field(default_factory=dict)
    audit: Audit | None = None
    attempted: int = 0
    opening: bool = False

    def solver_used(self) -> str:
        """The solvers that really solved, most used first, or a dash where nothing had to be solved."""
        ordered = sorted((s for s in self.used if s != "-"), key=self.used.__getitem__, reverse=True)
        return "+".join(ordered).lower() or "-"

    def widen(self, gap: FloatArray | None) -> None:
        """Take the worse of two gaps at every branch."""
        if gap is not None:
            self.gap = gap if self.gap is None else np.maximum(self.gap, gap)

    def merge(self, other: Part) -> None:
        """Add the totals of a later chunk."""
        self.state, self.backlog = other.state, other.backlog
        self.departed.extend(other.departed)
        self.metrics.merge(other.metrics)
        self.failed.update(other.failed)
        self.fallback.update(other.fallback)
        self.repaired.extend(other.repaired)
        self.inexact.extend(other.inexact)
        self.widen(other.gap)
        for solver, count in other.used.items():
            self.used[solver] = self.used.get(solver, 0) + count
        if other.audit is not None:
            self.audit = other.audit.worst(self.audit)


def programs_of(mechanism: Mechanism[Any], grid: Grid) -> dict[str, AnyProgram]:
    """A mechanism's programs by name.

    Raises:
        InputError: where it declares something else, or programs of an interval next to programs over a horizon.
    """
    declared = mechanism.program(grid)
    named = {"": declared} if isinstance(declared, Program | HorizonProgram) else declared or {}
    for item in named.values() if isinstance(named, Mapping) else (named,):
        if not isinstance(item, Program | HorizonProgram):
            raise InputError(f"{mechanism}: program(grid) must return a Program, not {type(item).__name__}")
    if len({type(item) for item in named.values()}) > 1:
        raise InputError(f"{mechanism}: its programs must be all of one interval or all over a horizon")
    return dict(named)


class Job:
    """A mechanism's programs on one network.

    Args:
        secure: whether allocations must be hosted on AC power flow too.
        sessions: the case's sessions where their energy can wait; None where every request is instantaneous.

    Attributes:
        programs: a solver for each program.
        opening: the first interval of the run, which is given up where the first ``enough`` that are solved fail.
        clears: whether intervals are cleared at all; a mechanism may do so without a program.

    Raises:
        InputError: where a program cannot be compiled or solved by the named solver.
    """

    def __init__(
        self,
        grid: Grid,
        mechanism: Mechanism[Any],
        programs: Mapping[str, AnyProgram],
        solvers: SolverOrder,
        secure: bool = False,
        sessions: Sessions | None = None,
    ) -> None:
        self.grid, self.mechanism, self.sessions = grid, mechanism, sessions
        self.opening: int | None = None
        self.enough = ENOUGH
        self.programs = {name: ProgramSolver(p, grid, solvers) for name, p in programs.items()}
        self._solvers = solvers
        self._repair: Repair | None = None
        self._security = ACSecurity(grid) if secure and mechanism.enforces_limits else None
        self.clears = bool(self.programs) or type(mechanism).clear is not Mechanism.clear

    def run_chunk(
        self,
        state: State,
        start: int,
        stop: int,
        length: int,
        done: Callable[[Block], None],
        backlog: Backlog | None = None,
    ) -> Part:
        """Intervals ``start .. stop - 1`` in blocks of ``length``, with solvers that remember nothing from before.

        ``done(block)`` is called after every block. ``backlog`` is what waits before ``start``, where energy can wait.
        """
        self.reset()
        part = Part(state, Metrics.empty(self.grid.n), backlog, opening=start == self.opening)
        self.run_span(part, start, stop, length, done)
        return part

    def stop_if_hopeless(self, part: Part) -> None:
        """End the run where all of the first ``enough`` intervals that had to be solved failed.

        Intervals in which full service is hosted are not solved and do not count.

        Raises:
            SolveError: with the reason that was given most often.
        """
        tried = part.attempted
        if part.opening and tried >= self.enough and len(part.failed) >= tried:
            raise SolveError(
                f"{self.mechanism}: the run was stopped, because none of the first {tried} intervals that had to be"
                f" solved has a solution: {most_common(part.failed.values())}"
            )

    def reset(self) -> None:
        """Forget everything that was solved."""
        for program in self.programs.values():
            program.reset()
        for kept in (self._security, self._repair):
            if kept is not None:
                kept.reset()

    @property
    def repair(self) -> Repair:
        """The program that cuts back what is not hosted, compiled when it is first needed."""
        if self._repair is None:
            self._repair = Repair(self.grid, self._solvers)
        return self._repair

    def run_span(self, part: Part, start: int, stop: int, length: int, done: Callable[[Block], None]) -> None:
        """Intervals ``start .. stop - 1``, added to ``part``."""
        for first in range(start, stop, length):
            requests = self.grid.case.requests(first, min(first + length, stop), waits=self.sessions is not None)
            allocation = self._run_block(part, requests) if part.backlog is None else self._run_waiting(part, requests)
            part.metrics.add(self.grid, requests, allocation)
            done(Block.of(self.grid.case, requests, allocation))

    def _run_block(self, part: Part, requests: Requests, firm: Requests | None = None) -> Allocation:
        """A block; ``firm`` are the same intervals without sessions, where energy can wait."""
        hosted = np.ones(requests.n_steps, dtype=bool)
        intervals: Iterable[Requests] = map(requests.interval, range(requests.n_steps))
        if self.clears:
            intervals = self.grid.intervals(requests)
            hosted = self.fully_hosted(requests)
        alone: dict[int, ACState] = {}
        if self._security is not None:
            hosted, alone = self._security.screened(requests, hosted)
        self.look_ahead(requests, np.flatnonzero(~hosted))
        allocations = []
        for k, interval in enumerate(intervals):
            if hosted[k]:
                allocation = self.mechanism.full_service(self.grid, interval)
            else:
                allocation = self.run_interval(part, interval, alone.get(k))
            if firm is not None:
                interval, allocation = self.carry_over(part, interval, firm.interval(k), allocation)
            part.state = self.mechanism.advance(part.state, allocation, interval)
            allocations.append(allocation)
        return Allocation.stacked(allocations)

    def _run_waiting(self, part: Part, requests: Requests) -> Allocation:
        """A block one interval after the other, because what is asked for depends on what was served before."""
        assert self.sessions is not None
        firm = self.sessions.firm(requests)
        allocations = []
        for k in range(requests.n_steps):
            assert part.backlog is not None
            alone = firm.select(slice(k, k + 1))
            allocations.append(self._run_block(part, self.sessions.asked(part.backlog, alone), alone).select(0))
        return Allocation.stacked(allocations)

    def carry_over(
        self, part: Part, asked: Requests, firm: Requests, allocation: Allocation
    ) -> tuple[Requests, Allocation]:
        """Move the backlog over an interval in which sessions got this, while they were there.

        Where some were there for a part of the interval, others may have counted on their use for relief. Everybody's
        flexible power is scaled back then as far as the mean over the interval needs it.

        Returns:
            what was asked for and what was served in the mean over the interval; ``firm`` is it without sessions.
        """
        if self.sessions is None or part.backlog is None:
            return asked, allocation
        backlog, mean_kw = part.backlog, partial(self.sessions.mean_kw, part.backlog, firm)
        mean = mean_kw(allocation.import_kw)
        if mean is not allocation.import_kw:
            if self.mechanism.enforces_limits and not self._hosts(asked, replace(allocation, import_kw=mean)):
                part.repaired.append(asked.start)
                allocation = scaled_back(
                    allocation, lambda x, y: self._hosts(asked, replace(allocation, import_kw=mean_kw(x), export_kw=y))
                )
                mean = mean_kw(allocation.import_kw)
            asked = replace(asked, import_request_kw=mean_kw(asked.import_request_kw))
        part.backlog, departed = self.sessions.after(backlog, firm, allocation.import_kw)
        part.departed += [departed] if len(departed.session) else []
        return asked, replace(allocation, import_kw=mean)

    def _hosts(self, interval: Requests, a: Allocation) -> bool:
        """Whether an allocation keeps the limits of its interval as an audit sees them."""
        return self._keeps(a.drawn_kw, a.injected_kw, interval, self.grid.limits(interval))

    def _keeps(self, import_kw: FloatArray, export_kw: FloatArray, interval: Requests, limits: Limits) -> bool:
        lower, upper = limits
        slack = 2.0 * self.grid.network.quantities.tolerance
        u = self.grid.quantities(interval, import_kw, export_kw)
        return bool(np.all((u <= upper + slack) & (u >= lower - slack)))

    def look_ahead(self, requests: Requests, scarce: IntArray) -> None:
        """Work out what can be for a whole block: the intervals of these numbers will be cleared one by one."""

    def fully_hosted(self, requests: Requests) -> BoolArray:
        """Where full service is optimal and a sweep has proved that the network hosts it."""
        if not self.mechanism.full_service_optimal:
            return np.zeros(requests.n_steps, dtype=bool)
        return ~self.grid.scarce(requests)

    def run_interval(self, part: Part, interval: Requests, alone: ACState | None = None) -> Allocation:
        """The allocation of one interval; nobody is served where no answer passes, which is marked."""
        solved: list[Solution] = []
        part.attempted += 1

        def clear(lower: FloatArray, upper: FloatArray) -> Allocation:
            cleared = self.cleared(part, interval, (lower, upper), solved)
            settled = self.inside(self.mechanism.settle(self.grid, cleared, interval), interval)
            return self.audited(part, settled, interval, (lower, upper))

        try:
            if self._security is None or alone is None:
                allocation = clear(*self.grid.limits(interval))
            else:
                allocation, repaired = self._security.allocate(interval, alone, clear)
                part.repaired += [interval.start] if repaired else []
        except SolveError as error:
            part.failed[interval.start] = str(error)
            part.fallback.pop(interval.start, None)
            self.stop_if_hopeless(part)
            nothing = np.zeros(self.grid.n)
            return Allocation(nothing, nothing)
        self.record(part, solved, interval.start)
        return allocation

    def cleared(
        self, part: Part, interval: Requests, limits: Limits, solved: list[Solution]
    ) -> Solution | Mapping[str, Solution]:
        """What the mechanism makes of one interval within these limits; every solution is added to ``solved``."""

        def solve_program(values: Mapping[str, Any], name: str = "") -> Solution:
            solution = self.programs[name].solve(values, interval, *limits)
            solved.append(solution)
            return solution

        return self.mechanism.clear(self.grid, solve_program, part.state, interval)

    @staticmethod
    def record(part: Part, solved: list[Solution], start: int) -> None:
        """Note which solvers solved, and the worst audit."""
        for solution in solved:
            part.used[solution.solver] = part.used.get(solution.solver, 0) + 1
            if solution.audit is not None:
                part.audit = solution.audit.worst(part.audit)
            part.widen(solution.gap)
        if any(s.gap is not None and s.gap.max() > EXACT_GAP for s in solved):
            part.inexact.append(start)
        if reasons := [s.fallback for s in solved if s.fallback]:
            before = [part.fallback[start]] if start in part.fallback else []
            part.fallback[start] = "; ".join(dict.fromkeys([*before, *reasons]))

    def inside(self, a: Allocation, interval: Requests) -> Allocation:
        """The allocation clipped to its requests within solver tolerance.

        Raises:
            SolveError: where it is outside by more, or beyond a battery's power.
        """
        clipped = []
        for power, request in ((a.import_kw, interval.import_request_kw), (a.export_kw, interval.export_request_kw)):
            inside = np.clip(power, 0.0, request)
            if not np.all(np.abs(inside - power) <= REQUEST_SLACK * np.maximum(1.0, request)):
                raise SolveError("an allocation is outside its request")
            clipped.append(inside)
        if a.battery_kw is not None:
            most = self.grid.case.participants["battery_kw"].to_numpy(float)
            if not np.all(np.abs(a.battery_kw) <= most * (1 + REQUEST_SLACK)):
                raise SolveError("a battery's power is beyond its battery_kw")
        return replace(a, import_kw=clipped[0], export_kw=clipped[1])

    def audited(self, part: Part, a: Allocation, interval: Requests, limits: Limits) -> Allocation:
        """The allocation where it keeps every limit; else SolveError.

        Cut back, and marked, is what an envelope's outcome has too much, and then what an inexact relaxation promised
        more than exact branch flow hosts.
        """
        if not self.mechanism.enforces_limits or self._keeps(a.drawn_kw, a.injected_kw, interval, limits):
            return a
        if self.mechanism.feasible_at_limits_only:
            part.repaired.append(interval.start)
            a, cut = self.repair(a, interval, limits)
            self.record(part, [cut] if cut else [], interval.start)
            if self._keeps(a.drawn_kw, a.injected_kw, interval, limits):
                return a
        if not self.grid.conic:
            raise SolveError("an allocation breaks a network limit")
        part.repaired.append(interval.start)
        return scaled_back(a, lambda x, y: self._keeps(x, y, interval, limits))
