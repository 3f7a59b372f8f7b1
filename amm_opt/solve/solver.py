"""One program, solved by the first solver that gives an audited answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.cases import Requests
from amm_opt.errors import SolveError
from amm_opt.grid import Grid
from amm_opt.network.models.conic import TangentModel
from amm_opt.program import HorizonProgram, Leximin, Program, Solution
from amm_opt.solve.answer import INFEASIBLE, UNBOUNDED, NoAnswerError
from amm_opt.solve.backends.known import (
    HORIZON_TIME_LIMIT_S,
    TIME_LIMIT_S,
    Choice,
    SolverOrder,
    label,
    require,
)
from amm_opt.solve.compile import Known, NotCompilableError
from amm_opt.solve.route import Route, Task
from amm_opt.solve.routes.checks import check_program, value_check
from amm_opt.solve.routes.conic import ConicRoute
from amm_opt.solve.routes.coupled import Coupling
from amm_opt.solve.routes.declared import DeclaredRoute
from amm_opt.solve.routes.interval import IntervalRoute
from amm_opt.solve.routes.leximin import LeximinRoute, WaterFillingRoute, numeric_program, only_levels, stage_program
from amm_opt.solve.routes.tangents import TangentRoute
from amm_opt.solve.routes.window.route import HorizonRoute

STAGES_DEFAULT = "CLARABEL"
"""Interior points give every blocked level a multiplier; simplex gives it to a few, and needs a stage for each."""
NO_LIMITS = np.zeros(0)
Failures = list[tuple[Choice, NoAnswerError]]


class ProgramSolver:
    """Solves a program interval by interval.

    An interval that fails is solved again from a cold start, then by the next solver; its solution is marked.

    Linear and quadratic programs on linear network models are solved in compiled form with lazy network rows, other
    convex programs as declared.

    Args:
        solvers: what to try in order; None stands for the choice by capability.
        known: compiled programs by form, which programs of other grids may share; see ``IntervalRoute``.

    Attributes:
        reason: why the program is not compiled, or an empty text.

    Raises:
        InputError: where the program is not DPP, or the first solver lacks what it needs.
    """

    def __init__(
        self,
        program: Program | HorizonProgram,
        grid: Grid,
        solvers: SolverOrder | Sequence[Choice],
        known: Known | None = None,
    ) -> None:
        order = SolverOrder.of(solvers)
        usual = HORIZON_TIME_LIMIT_S if isinstance(program, HorizonProgram) else TIME_LIMIT_S
        self._solvers, self._time_limit_s = order.choices, order.time_limit_s or usual
        self._watch = order.watch
        self._check = value_check(program, grid)
        self._route = route_of(program, grid, known)
        self._hot = False
        self.reason = self._route.reason
        require(self._solvers[0], self._route.needs)

    def reset(self) -> None:
        """Start afresh: what follows depends on nothing solved before."""
        self._hot = False
        self._route.reset()

    def solve(
        self,
        values: Mapping[str, Any],
        requests: Requests,
        lower: FloatArray = NO_LIMITS,
        upper: FloatArray = NO_LIMITS,
    ) -> Solution:
        """Solve one interval, or one window of a horizon program.

        Args:
            values: numbers of the mechanism's own parameters.
            requests: the interval, arrays of shape (n,), or of a horizon program the window, (H, n).
            lower, upper: (m,) limits of the interval; not given for a window, whose limits are the grid's.

        Raises:
            SolveError: where every solver fails.
        """
        self._check(values, requests.n_steps)
        task = Task(values, requests, lower, upper, self._time_limit_s, self._watch)
        failures: Failures = []
        for solver in self._attempts():
            try:
                solution = self._route.solve(solver, task)
            except NoAnswerError as error:
                failures.append((solver, error))
                continue
            self._hot = True
            solution = solution.as_fallback(_reasons(failures)) if failures else solution
            if self._watch is not None:
                self._watch.solved(requests.start, solution)
            return solution
        raise SolveError(_proved(failures) or _reasons(failures))

    def _attempts(self) -> Iterator[Choice]:
        """The solvers in turn; the first one twice where it starts from earlier intervals: as it is, then afresh."""
        if self._hot:
            yield self._solvers[0]
            self.reset()
        yield from self._solvers


def route_of(program: Program | HorizonProgram, grid: Grid, known: Known | None = None) -> Route:
    """The way in which a program is solved.

    Raises:
        InputError: where there is none.
    """
    if not isinstance(program.objective, Leximin):
        if isinstance(program, HorizonProgram):
            return HorizonRoute(program, grid)
        return _of_interval(program, grid, known)
    size = program.objective.level.size
    if isinstance(program, HorizonProgram):
        return LeximinRoute(HorizonRoute(stage_program(program), grid), None, size)
    stage, alone = _of_interval(stage_program(program), grid, known, stages=True), only_levels(program)
    if isinstance(stage, TangentRoute):
        return LeximinRoute(stage, None, size, Coupling(stage.by_tangents, stage.compiled if alone else None))
    if grid.conic:
        compiled = stage.compiled if alone and isinstance(stage, ConicRoute) else None
        return LeximinRoute(stage, STAGES_DEFAULT, size, Coupling(None, compiled))
    stages = LeximinRoute(stage, STAGES_DEFAULT, size)
    if not alone:
        return stages
    filling = numeric_program(program)
    try:
        return WaterFillingRoute(IntervalRoute(filling, grid, known), stages)
    except NotCompilableError:
        return stages


def _of_interval(program: Program, grid: Grid, known: Known | None, stages: bool = False) -> Route:
    """Compiled, or else as declared.

    Args:
        stages: whether it is the stage of a leximin program. Losses then have no weight on a conic network model: their
            price would be taken for a level's limit.
    """
    own = check_program(program, grid)
    loss_weight = grid.conic_network.loss_weight if grid.conic and not stages else 0.0
    try:
        if not grid.conic:
            return IntervalRoute(program, grid, known)
        cones = partial(ConicRoute, program, grid, own, loss_weight)
        if isinstance(grid.network, TangentModel):
            return TangentRoute(program, grid, cones, STAGES_DEFAULT if stages else None)
        return cones()
    except NotCompilableError as error:
        needs = error.needs | ({"socp"} if grid.conic else frozenset())
        return DeclaredRoute(program, grid, own, loss_weight, str(error), needs)


def _reasons(failures: Failures) -> str:
    """Who failed and why, each sentence once."""
    return "; ".join(dict.fromkeys(f"{label(name)}: {error.reason}" for name, error in failures))


def _proved(failures: Failures) -> str:
    """That the program has no solution, where solvers of the toolkit have proved it and none disagrees."""
    proofs: dict[str, dict[str, str]] = {INFEASIBLE: {}, UNBOUNDED: {}}
    for name, error in failures:
        if error.status in proofs and (name is None or isinstance(name, str)):
            proofs[error.status][label(name)] = error.reason
    found = [status for status, by in proofs.items() if by]
    if len(found) != 1:
        return ""
    by = proofs[found[0]]
    detail = next((r for r in by.values() if " must be " in r), "")
    return f"the program is {found[0]}" + (f": {detail}" if detail else f", as {' and '.join(by)} found")
