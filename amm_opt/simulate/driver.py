"""The driver: solves a mechanism interval by interval and carries its state."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from amm_opt.cases import Case, Window, as_case
from amm_opt.errors import InputError, SolveError
from amm_opt.market import Allocation, Mechanism, State
from amm_opt.registry import as_mechanism, network_model
from amm_opt.simulate.metrics import Metrics
from amm_opt.simulate.run import Run
from amm_opt.solve.audit import Audit
from amm_opt.solve.program import Program, Solution, Step
from amm_opt.solve.solver import ProgramSolver
from amm_opt.solve.solvers import solver_order

FloatArray = NDArray[np.float64]

BLOCK_STEPS = 96
BLOCK_NUMBERS = 3_000_000
"""A block has at most this many limited quantities times intervals, which bounds memory."""
REQUEST_SLACK = 1e-5


def simulate(
    case: Case | str | Path,
    mechanism: Mechanism[Any] | str,
    *,
    network: str = "lindistflow",
    solver: str | None = None,
    steps: int | str | slice | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Run one mechanism over a span of intervals.

    Args:
        case: what to run on, or its name or folder.
        mechanism: an instance, or a spec such as ``"amm:kappa=2"``.
        network: name of the network model.
        solver: name of any installed cvxpy solver; by capability where None.
        steps: None for every interval, a count, a period such as ``"2016-05"``, or a slice of dates (both ends
            included) or numbers (half-open).
        progress: called with (intervals done, all) after every block.

    Raises:
        InputError: anything the caller gave that is wrong; nothing has been run then.
    """
    case = as_case(case)
    mechanism = as_mechanism(mechanism)
    if mechanism.horizon != 1:
        raise InputError(f"{mechanism}: horizon = {mechanism.horizon}, but only one interval at a time can be run")
    order = solver_order(solver)
    first, stop = case.span(steps)
    step = Step(case, network_model(network)(case.feeder))
    began = time.perf_counter()
    job = _Job(step, mechanism, order)
    state: State = mechanism.initial_state(case)
    metrics, parts = Metrics(step), []
    with threadpool_limits(limits=1, user_api="blas"):
        length = max(1, min(BLOCK_STEPS, BLOCK_NUMBERS // len(step.network.quantities.lower)))
        for start in range(first, stop, length):
            window = case.window(start, min(start + length, stop))
            state, allocation = job.run_block(state, window)
            metrics.add(window, allocation)
            parts.append(allocation)
            if progress:
                progress(window.start + window.n_steps - first, stop - first)
    seconds = time.perf_counter() - began
    return Run(
        case=case,
        mechanism=mechanism,
        network=network,
        solver=job.solver_used(),
        times=case.times[first:stop],
        first=first,
        allocation=_joined(parts),
        state=state,
        summary=pd.Series(metrics.summary(seconds, len(job.failed), len(job.fallback)), name=str(mechanism)),
        failed_steps=dict(job.failed),
        fallback_steps=tuple(job.fallback),
        audit=job.audit,
    )


@dataclass
class _Job:
    """One mechanism on one network, and what went wrong on the way."""

    step: Step
    mechanism: Mechanism[Any]
    solvers: tuple[str | None, ...]
    failed: dict[int, str] = field(default_factory=dict)
    fallback: list[int] = field(default_factory=list)
    used: dict[str, int] = field(default_factory=dict)
    audit: Audit | None = None
    programs: dict[str, ProgramSolver] = field(init=False)

    def __post_init__(self) -> None:
        declared = self.mechanism.program(self.step)
        named = {"": declared} if isinstance(declared, Program) else declared or {}
        for item in named.values() if isinstance(named, Mapping) else (named,):
            if not isinstance(item, Program):
                raise InputError(f"{self.mechanism}: program(step) must return a Program, not {type(item).__name__}")
        self.programs = {name: ProgramSolver(p, self.step, self.solvers) for name, p in named.items()}

    def solver_used(self) -> str:
        """The solvers that really solved, most used first, or a dash where nothing had to be solved."""
        ordered = sorted((s for s in self.used if s != "-"), key=self.used.__getitem__, reverse=True)
        return "+".join(ordered).lower() or "-"

    def run_block(self, state: State, window: Window) -> tuple[State, Allocation]:
        """All intervals of a block in order."""
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
                allocation = self._run_interval(state, interval)
            state = self.mechanism.advance(state, allocation, interval)
            allocations.append(allocation)
        return state, _stacked(allocations)

    def _fully_hosted(self, window: Window) -> NDArray[np.bool_]:
        """Where full service is optimal and a sweep has proved that the network hosts it."""
        if not self.mechanism.full_service_optimal:
            return np.zeros(window.n_steps, dtype=bool)
        lower, upper = self.step.limits(window)
        _, asked = self.step.usage(window)
        return np.asarray(np.all((asked >= lower) & (asked <= upper), axis=-1))

    def _run_interval(self, state: State, interval: Window) -> Allocation:
        lower, upper = self.step.limits(interval)
        solved: list[Solution] = []

        def solve_program(values: Mapping[str, Any], name: str = "") -> Solution:
            solution = self.programs[name].solve(values, interval, lower, upper)
            solved.append(solution)
            return solution

        try:
            cleared = self.mechanism.clear(self.step, solve_program, state, interval)
            allocation = self.mechanism.settle(self.step, cleared, interval)
            allocation = self._audited(allocation, interval, lower, upper)
        except SolveError as error:
            if not self.failed:
                warnings.warn(f"{self.mechanism}: nobody is served where no answer holds; {error}", stacklevel=4)
            self.failed[interval.start] = str(error)
            nothing = np.zeros(self.step.n)
            return Allocation(nothing, nothing)
        for solution in solved:
            self.used[solution.solver] = self.used.get(solution.solver, 0) + 1
            if solution.audit is not None:
                self.audit = solution.audit.worst(self.audit)
        if any(s.fallback for s in solved):
            self.fallback.append(interval.start)
        return allocation

    def _audited(self, a: Allocation, interval: Window, lower: FloatArray, upper: FloatArray) -> Allocation:
        """The allocation clipped to its requests within solver tolerance, or SolveError where it breaks a limit."""
        clipped = []
        for power, request in ((a.import_kw, interval.import_request_kw), (a.export_kw, interval.export_request_kw)):
            inside = np.clip(power, 0.0, request)
            if not np.all(np.abs(inside - power) <= REQUEST_SLACK * np.maximum(1.0, request)):
                raise SolveError(f"interval {interval.times[0]}: an allocation is outside its request")
            clipped.append(inside)
        if self.mechanism.enforces_limits:
            u = self.step.quantities(interval, clipped[0], clipped[1])
            slack = 2.0 * self.step.network.quantities.tolerance
            if np.any((u > upper + slack) | (u < lower - slack)):
                raise SolveError(f"interval {interval.times[0]}: an allocation breaks a network limit")
        return Allocation(clipped[0], clipped[1], a.import_price, a.export_price)


def _stacked(parts: list[Allocation]) -> Allocation:
    return _combined(parts, np.stack)


def _joined(parts: list[Allocation]) -> Allocation:
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
