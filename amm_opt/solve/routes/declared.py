"""A program solved as declared: one cvxpy problem with every network row, by any solver that cvxpy knows.

This is the reference that faster ways are held against.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cvxpy as cp
import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.cases import Requests
from amm_opt.errors import InputError
from amm_opt.grid import Grid
from amm_opt.program import Leximin, Program, Solution
from amm_opt.solve.backends.attempt import Reason, by_cvxpy, caught
from amm_opt.solve.backends.known import CONIC_SETTINGS, SETTINGS
from amm_opt.solve.routes.conic import relaxation_gap
from amm_opt.tolerances import DECLARED_TOLERANCE, SOLVED_SLACK


class DeclaredProgram:
    """One program on one network, built once.

    Args:
        loss_weight: see ``ConicProgram``; without effect on linear network models.
    """

    def __init__(self, program: Program, grid: Grid, own: Mapping[str, cp.Parameter], loss_weight: float = 0.0) -> None:
        self._loss_weight = loss_weight
        self._program, self._grid, self._own = program, grid, own
        m = len(grid.network.quantities.lower)
        self._lower, self._upper = cp.Parameter(m, name="lower"), cp.Parameter(m, name="upper")
        self._power = [grid.bus_power(injection) for injection in program.injections]
        self._relaxed: list[Any] = []
        if grid.conic:
            self._relaxed = [grid.conic_network.relaxation(p, q, self._lower, self._upper) for p, q in self._power]
            network = [c for relaxed in self._relaxed for c in relaxed.constraints]
        else:
            network = [c for p, q in self._power for c in grid.network.constraints(p, q, self._lower, self._upper)]
        self._problem = cp.Problem(self._objective(), [*program.constraints, *network])

    def _objective(self) -> cp.Minimize | cp.Maximize:
        """The program's, with the least losses among equals on a conic network model."""
        objective = self._program.objective
        assert not isinstance(objective, Leximin)
        if not self._relaxed:
            return objective
        loss = self._loss_weight * sum(relaxed.loss_kw for relaxed in self._relaxed)
        if isinstance(objective, cp.Maximize):
            return cp.Maximize(objective.expr - loss)
        return cp.Minimize(objective.expr + loss)

    def solve(
        self,
        solver: str,
        values: Mapping[str, Any],
        requests: Requests,
        lower: FloatArray,
        upper: FloatArray,
        time_limit_s: float = np.inf,
    ) -> Solution | str:
        """Solve one interval, or say why that failed; arguments as for ``ProgramSolver.solve``."""
        grid = self._grid
        for parameter in grid.parameters:
            parameter.value = getattr(requests, parameter.name())
        for name, parameter in self._own.items():
            parameter.value = values[name]
        self._lower.value, self._upper.value = lower, upper
        settings = (CONIC_SETTINGS if self._relaxed else SETTINGS).get(solver, {})
        reason = by_cvxpy(self._problem, solver, settings, time_limit_s, inaccurate=bool(self._relaxed))
        if reason is not None:
            return reason
        problems: list[str] = []
        answer: Solution | str = ""
        with caught(problems):
            answer = self._incomplete() or self._residual(lower, upper) or self._solution(solver, lower, upper)
        return Reason(problems[0]) if problems else answer

    def _incomplete(self) -> str:
        """What the answer lacks."""
        given = {name: e.value for name, e in self._program.values.items()}
        given |= {name: c.dual_value for name, c in self._program.duals.items()}
        given |= {variable.name(): variable.value for variable in self._problem.variables()}
        for name, value in given.items():
            if value is None or not np.all(np.isfinite(np.asarray(value, dtype=float))):
                return f"its answer has no finite value of {name}"
        return ""

    def _residual(self, lower: FloatArray, upper: FloatArray) -> str:
        """What the solution breaks, checked without the solver: the network by a sweep, own constraints by value."""
        for p, reactive in self._power if not self._relaxed else ():
            u = self._grid.network.evaluate(p.value, reactive.value)
            if not self._grid.within(u, (lower, upper), SOLVED_SLACK):
                return "the solution breaks a network limit"
        relaxed = [c for relaxed in self._relaxed for c in relaxed.constraints if not isinstance(c, cp.SOC)]
        for constraint in [*self._program.constraints, *relaxed]:
            worst = float(np.max(constraint.violation(), initial=0.0))
            if worst > DECLARED_TOLERANCE:
                return f"the solution breaks {constraint} by {worst:.2g}"
        return ""

    def _solution(self, solver: str, lower: FloatArray, upper: FloatArray) -> Solution:
        values = {name: np.asarray(e.value, dtype=float) for name, e in self._program.values.items()}
        duals = {name: np.asarray(c.dual_value, dtype=float) for name, c in self._program.duals.items()}
        gap, objective = None, self._program.objective
        assert not isinstance(objective, Leximin)
        if self._relaxed:
            given = [(p.value, q.value) for p, q in self._power]
            gap = relaxation_gap(self._grid, given, [r.unknowns.value for r in self._relaxed], (lower, upper))
        return Solution(values, duals, float(objective.value), solver, gap=gap)


def check_program(program: Program, grid: Grid) -> dict[str, cp.Parameter]:
    """The mechanism's own parameters by name, after checking that the program can be compiled once.

    Raises:
        InputError: with the offending expression.
    """
    if not isinstance(program.objective, Leximin) and not program.objective.is_dcp(dpp=True):
        raise InputError(f"program is not DPP (linear in its parameters, convex): objective {program.objective}")
    for constraint in program.constraints:
        if not constraint.is_dcp(dpp=True):
            raise InputError(f"program is not DPP (linear in its parameters, convex): constraint {constraint}")
    for injection in program.injections:
        for expression in (injection.import_kw, injection.export_kw):
            if not (expression.is_affine() and expression.is_dcp(dpp=True)):
                raise InputError(f"program is not DPP: injection {expression} is not affine")
            if expression.shape != (grid.n,):
                raise InputError(f"injection {expression} has shape {expression.shape}, not ({grid.n},)")
    given = {parameter.id for parameter in grid.parameters}
    parts: list[Any] = [*program.constraints]
    if not isinstance(program.objective, Leximin):
        parts.append(program.objective)
    parts += [e for i in program.injections for e in (i.import_kw, i.export_kw)]
    own: dict[str, cp.Parameter] = {}
    for parameter in {p.id: p for part in parts for p in part.parameters()}.values():
        if parameter.id in given:
            continue
        if parameter.name() in own:
            raise InputError(f"two parameters of the program are named {parameter.name()!r}")
        own[parameter.name()] = parameter
    return own


def check_values(own: Mapping[str, cp.Parameter], values: Mapping[str, Any], leading: tuple[int, ...] = ()) -> None:
    """Check the numbers of the mechanism's parameters.

    Args:
        leading: dimensions in front of each parameter's own shape, such as the number of intervals.

    Raises:
        InputError: missing or unknown names, wrong sizes, NaN or a wrong sign.
    """
    if missing := sorted(own.keys() - values.keys()):
        raise InputError(f"no value for parameter {', '.join(missing)} of the program")
    if extra := sorted(values.keys() - own.keys()):
        raise InputError(f"values for unknown parameter {', '.join(extra)}; the program has {', '.join(sorted(own))}")
    for name, parameter in own.items():
        value = np.asarray(values[name], dtype=float)
        shape = (*leading, *parameter.shape)
        if value.shape != shape:
            raise InputError(f"the value of parameter {name!r} has shape {value.shape}, not {shape}")
        if not np.all(np.isfinite(value)):
            raise InputError(f"parameter {name!r} has a value that is not finite")
        if parameter.attributes["nonneg"] and np.any(value < 0):
            raise InputError(f"parameter {name!r} must not be negative, its value goes down to {value.min():g}")
