"""One program, solved by the first solver that gives an audited answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.cases import Requests
from amm_opt.errors import SolveError
from amm_opt.grid import Grid
from amm_opt.program import HorizonProgram, Leximin, Program, Solution
from amm_opt.solve.backends.known import (
    HORIZON_TIME_LIMIT_S,
    TIME_LIMIT_S,
    Choice,
    SolverOrder,
    label,
    require,
)
from amm_opt.solve.backends.reduced import FAILED, INFEASIBLE, UNBOUNDED
from amm_opt.solve.backends.water_filling import WATER_FILLING
from amm_opt.solve.compile import NotCompilableError
from amm_opt.solve.routes.conic import ConicProgram
from amm_opt.solve.routes.declared import DeclaredProgram, check_program, check_values
from amm_opt.solve.routes.horizon import HorizonForm
from amm_opt.solve.routes.lazy import LazyProgram
from amm_opt.solve.routes.leximin import numeric_program, only_levels, solve_stages, stage_program

Interval = tuple[Any, Any, Any, float]
DECLARED_DEFAULT = "CLARABEL"
STAGES_DEFAULT = "CLARABEL"
"""Interior points give every blocked level a multiplier; simplex gives it to a few, and needs a stage for each."""


class ProgramSolver:
    """Solves a program interval by interval.

    An interval that fails is solved again from a cold start, then by the next solver; its solution is marked.

    Linear and quadratic programs on linear network models are solved in compiled form with lazy network rows, other
    convex programs as declared.

    Args:
        solvers: what to try in order; None stands for the choice by capability.

    Attributes:
        reason: why the program is not compiled, or an empty text.

    Raises:
        InputError: where the program is not DPP, or the first solver lacks what it needs.
    """

    def __init__(self, program: Program | HorizonProgram, grid: Grid, solvers: SolverOrder | Sequence[Choice]) -> None:
        order = SolverOrder.of(solvers)
        self._solvers = order.choices
        usual = HORIZON_TIME_LIMIT_S if isinstance(program, HorizonProgram) else TIME_LIMIT_S
        self._time_limit_s = order.time_limit_s or usual
        self._own = check_program(program, grid) if isinstance(program, Program) else {}
        self._levels = program.objective.level.size if isinstance(program.objective, Leximin) else 0
        self._filled: _Form | None = None
        self._hot = False
        self._coupled = grid.conic
        if self._levels:
            if self._solvers[0] is None and isinstance(program, Program) and only_levels(program) and not grid.conic:
                self._filled = _Form(numeric_program(program), grid)
            program = stage_program(program)
        if isinstance(program, HorizonProgram):
            self._form: _Form | HorizonForm = HorizonForm(program, grid)
        else:
            self._form = _Form(program, grid, staged=bool(self._levels))
        self.reason = self._form.reason
        require(self._solvers[0], self._form.needs)

    def reset(self) -> None:
        """Start afresh: what follows depends on nothing solved before."""
        self._hot = False
        for form in (self._form, self._filled):
            if form is not None:
                form.reset()

    def solve(
        self, values: Mapping[str, Any], requests: Requests, lower: FloatArray | None, upper: FloatArray | None
    ) -> Solution:
        """Solve one interval, or one window of a horizon program.

        Args:
            values: numbers of the mechanism's own parameters.
            requests: the interval, arrays of shape (n,), or of a horizon program the window, (H, n).
            lower, upper: (m,) limits of the interval; None for a window, whose limits are worked out where needed.

        Raises:
            SolveError: where every solver fails.
        """
        if isinstance(self._form, HorizonForm):
            stage = {f"leximin_{name}": np.zeros(self._levels) for name in ("rising", "held") if self._levels}
            self._form.check({**values, **stage}, requests.n_steps)
        else:
            check_values(self._own, values)
        interval: Interval = (requests, lower, upper, self._time_limit_s)
        if self._filled is not None and not self._filled.reason:
            answer = self._filled.solve(WATER_FILLING, values, *interval)
            if isinstance(answer, Solution):
                return answer
        failures: list[tuple[Choice, str]] = []
        tried = [*self._solvers[:1], *self._solvers] if self._hot else self._solvers
        for position, name in enumerate(tried):
            if position == 1 and self._hot:
                self.reset()
            answer = self._answer(name, values, interval)
            if isinstance(answer, Solution):
                self._hot = True
                return answer.as_fallback(_reasons(failures)) if failures else answer
            failures.append((name, answer))
        raise SolveError(_proved(failures) or _reasons(failures))

    def _answer(self, name: Choice, values: Mapping[str, Any], interval: Interval) -> Solution | str:
        if self._levels:
            return solve_stages(partial(self._stage, name, values, interval), self._levels, self._coupled)
        return self._form.solve(name, values, *interval)

    def _stage(
        self, name: Choice, values: Mapping[str, Any], interval: Interval, stage: Mapping[str, Any]
    ) -> Solution | str:
        if name is None and isinstance(self._form, _Form):
            name = STAGES_DEFAULT
        return self._form.solve(name, {**values, **stage}, *interval)


def _reasons(failures: Sequence[tuple[Choice, str]]) -> str:
    """Who failed and why, each sentence once."""
    return "; ".join(dict.fromkeys(f"{label(name)}: {reason}" for name, reason in failures))


def _proved(failures: Sequence[tuple[Choice, str]]) -> str:
    """That the program has no solution, where solvers of the toolkit have proved it and none disagrees."""
    proofs: dict[str, dict[str, str]] = {INFEASIBLE: {}, UNBOUNDED: {}}
    for name, reason in failures:
        status = getattr(reason, "status", FAILED)
        if status in proofs and (name is None or isinstance(name, str)):
            proofs[status][label(name)] = reason
    found = [status for status, by in proofs.items() if by]
    if len(found) != 1:
        return ""
    by = proofs[found[0]]
    detail = next((r for r in by.values() if " must be " in r), "")
    return f"the program is {found[0]}" + (f": {detail}" if detail else f", as {' and '.join(by)} found")


class _Form:
    """A program in the form that it can be solved in: compiled, or else as declared.

    A stage of a leximin program (``staged``) has no weight on losses, whose price would be taken for a level's limit.
    """

    def __init__(self, program: Program, grid: Grid, staged: bool = False) -> None:
        self._loss_weight = grid.conic_network.loss_weight if grid.conic and not staged else 0.0
        self._program, self._grid = program, grid
        self._own = check_program(program, grid)
        self._declared: DeclaredProgram | None = None
        self._lazy: LazyProgram | None = None
        self._conic: ConicProgram | None = None
        self.reason = ""
        try:
            if grid.conic:
                self.reason, self.needs = f"network model {grid.network.name} is conic", frozenset({"socp"})
                self._conic = ConicProgram(program, grid, self._own, self._loss_weight)
                return
            self._lazy = LazyProgram(program, grid, self._own)
            self.needs = frozenset({"qp" if self._lazy.quadratic else "lp"})
        except NotCompilableError as error:
            self.reason = str(error)
            self.needs = error.needs | ({"socp"} if grid.conic else frozenset())

    def reset(self) -> None:
        """Forget the last intervals."""
        self._declared = None
        for form in (self._lazy, self._conic):
            if form is not None:
                form.reset()

    def solve(
        self,
        solver: Choice,
        values: Mapping[str, Any],
        requests: Requests,
        lower: FloatArray,
        upper: FloatArray,
        time_limit_s: float,
    ) -> Solution | str:
        """The solution, or why there is none."""
        interval = (values, requests, lower, upper, time_limit_s)
        if self._lazy is not None:
            return self._lazy.solve(solver, *interval)
        named = isinstance(solver, str)
        if self._conic is not None and (solver is None or (named and solver == DECLARED_DEFAULT)):
            return self._conic.solve(*interval)
        if self._declared is None:
            self._declared = DeclaredProgram(self._program, self._grid, self._own, self._loss_weight)
        name = DECLARED_DEFAULT if solver is None else solver
        if not isinstance(name, str):
            return f"only compiled programs, and this one is not: {self.reason}"
        return self._declared.solve(name, *interval)
