"""Running one mechanism on one network, chunk by chunk and interval by interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amm_opt.cases import Window
from amm_opt.errors import InputError, SolveError
from amm_opt.market import Allocation, Mechanism, State
from amm_opt.simulate.metrics import Metrics
from amm_opt.solve.audit import Audit
from amm_opt.solve.program import Program, Solution, Step
from amm_opt.solve.solver import ProgramSolver
from amm_opt.solve.solvers import Choice

FloatArray = NDArray[np.float64]

REQUEST_SLACK = 1e-5
"""How far outside its request a solver may leave an allocation, relative to the request or 1 kW."""


@dataclass
class Part:
    """What one chunk of intervals came to.

    ``failed`` gives the reason by interval, ``fallback`` the intervals solved by another solver than the first choice,
    ``used`` how often each solver solved.
    """

    state: State
    metrics: Metrics
    allocation: Allocation = field(default_factory=lambda: Allocation(np.zeros(0), np.zeros(0)))
    failed: dict[int, str] = field(default_factory=dict)
    fallback: list[int] = field(default_factory=list)
    used: dict[str, int] = field(default_factory=dict)
    audit: Audit | None = None

    def solver_used(self) -> str:
        """The solvers that really solved, most used first, or a dash where nothing had to be solved."""
        ordered = sorted((s for s in self.used if s != "-"), key=self.used.__getitem__, reverse=True)
        return "+".join(ordered).lower() or "-"

    def merge(self, other: Part) -> None:
        """Add the totals of a later chunk (allocations are put together elsewhere)."""
        self.metrics.merge(other.metrics)
        self.failed.update(other.failed)
        self.fallback.extend(other.fallback)
        for solver, count in other.used.items():
            self.used[solver] = self.used.get(solver, 0) + count
        if other.audit is not None:
            self.audit = other.audit.worst(self.audit)


class Job:
    """A mechanism's programs on one network.

    Raises:
        InputError: where the mechanism's program is none, or cannot be compiled or solved by the named solver.
    """

    def __init__(self, step: Step, mechanism: Mechanism[Any], solvers: tuple[Choice, ...]) -> None:
        self.step, self.mechanism = step, mechanism
        declared = mechanism.program(step)
        named = {"": declared} if isinstance(declared, Program) else declared or {}
        for item in named.values() if isinstance(named, Mapping) else (named,):
            if not isinstance(item, Program):
                raise InputError(f"{mechanism}: program(step) must return a Program, not {type(item).__name__}")
        self.programs = {name: ProgramSolver(p, step, solvers) for name, p in named.items()}

    def run_chunk(self, state: State, start: int, stop: int, length: int, report: Callable[[int], None]) -> Part:
        """Intervals ``start .. stop - 1`` in blocks of ``length``, with solvers that remember nothing from before."""
        for program in self.programs.values():
            program.reset()
        part = Part(state, Metrics.empty(self.step.n))
        blocks = []
        for first in range(start, stop, length):
            window = self.step.case.window(first, min(first + length, stop))
            allocation = self._run_block(part, window)
            part.metrics.add(self.step, window, allocation)
            blocks.append(allocation)
            report(window.n_steps)
        part.allocation = joined(blocks)
        return part

    def _run_block(self, part: Part, window: Window) -> Allocation:
        hosted = np.ones(window.n_steps, dtype=bool)
        if self.programs:
            window = replace(window, usage=self.step.usage(window))
            hosted = self._fully_hosted(window)
        allocations = []
        for k in range(window.n_steps):
            interval = window.interval(k)
            if hosted[k]:
                allocation = self.mechanism.settle(self.step, None, interval)
            else:
                allocation = self._run_interval(part, interval)
            part.state = self.mechanism.advance(part.state, allocation, interval)
            allocations.append(allocation)
        return _combined(allocations, np.stack)

    def _fully_hosted(self, window: Window) -> NDArray[np.bool_]:
        """Where full service is optimal and a sweep has proved that the network hosts it."""
        if not self.mechanism.full_service_optimal:
            return np.zeros(window.n_steps, dtype=bool)
        lower, upper = self.step.limits(window)
        _, asked = self.step.usage(window)
        return np.asarray(np.all((asked >= lower) & (asked <= upper), axis=-1))

    def _run_interval(self, part: Part, interval: Window) -> Allocation:
        lower, upper = self.step.limits(interval)
        solved: list[Solution] = []

        def solve_program(values: Mapping[str, Any], name: str = "") -> Solution:
            solution = self.programs[name].solve(values, interval, lower, upper)
            solved.append(solution)
            return solution

        try:
            cleared = self.mechanism.clear(self.step, solve_program, part.state, interval)
            allocation = self.mechanism.settle(self.step, cleared, interval)
            allocation = self._audited(allocation, interval, lower, upper)
        except SolveError as error:
            part.failed[interval.start] = str(error)
            nothing = np.zeros(self.step.n)
            return Allocation(nothing, nothing)
        for solution in solved:
            part.used[solution.solver] = part.used.get(solution.solver, 0) + 1
            if solution.audit is not None:
                part.audit = solution.audit.worst(part.audit)
        if any(s.fallback for s in solved):
            part.fallback.append(interval.start)
        return allocation

    def _audited(self, a: Allocation, interval: Window, lower: FloatArray, upper: FloatArray) -> Allocation:
        """The allocation clipped to its requests within solver tolerance, or SolveError where it breaks a limit."""
        clipped = []
        for power, request in ((a.import_kw, interval.import_request_kw), (a.export_kw, interval.export_request_kw)):
            inside = np.clip(power, 0.0, request)
            if not np.all(np.abs(inside - power) <= REQUEST_SLACK * np.maximum(1.0, request)):
                raise SolveError(f"interval {interval.times[0]}: an allocation is outside its request")
            clipped.append(inside)
        claimed = self.step.case.feeder.balanced or not self.mechanism.hosted_at_limits_only
        if self.mechanism.enforces_limits and claimed:
            u = self.step.quantities(interval, clipped[0], clipped[1])
            slack = 2.0 * self.step.network.quantities.tolerance
            if np.any((u > upper + slack) | (u < lower - slack)):
                raise SolveError(f"interval {interval.times[0]}: an allocation breaks a network limit")
        return Allocation(clipped[0], clipped[1], a.import_price, a.export_price)


def joined(parts: list[Allocation]) -> Allocation:
    """Blocks of allocations one after another."""
    return _combined(parts, np.concatenate)


def _combined(parts: list[Allocation], how: Callable[[list[FloatArray]], FloatArray]) -> Allocation:
    """Allocations put together; prices that some intervals lack (a failed solve) are NaN there."""

    def prices(name: str) -> FloatArray | None:
        given = [getattr(p, name) for p in parts]
        if all(g is None for g in given):
            return None
        return how([np.full_like(p.import_kw, np.nan) if g is None else g for p, g in zip(parts, given, strict=True)])

    return Allocation(
        how([p.import_kw for p in parts]),
        how([p.export_kw for p in parts]),
        prices("import_price"),
        prices("export_price"),
    )
