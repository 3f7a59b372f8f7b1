"""A program solved as declared: one cvxpy problem with every network row, by any solver that cvxpy knows.

This is the reference that faster ways are held against.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from amm_opt.cases import Window
from amm_opt.errors import InputError, SolveError
from amm_opt.solve.program import Program, Solution, Step
from amm_opt.solve.solvers import SETTINGS

FloatArray = NDArray[np.float64]


class DeclaredProgram:
    """One program on one network, built once and solved for many intervals.

    Args:
        solvers: names to try in order; a solver that fails is followed by the next.

    Raises:
        InputError: where the program is not DPP, or a parameter of the same name stands for two things.
    """

    def __init__(self, program: Program, step: Step, solvers: Sequence[str]) -> None:
        self._program, self._step, self._solvers = program, step, tuple(solvers)
        m = len(step.network.quantities.lower)
        self._lower, self._upper = cp.Parameter(m, name="lower"), cp.Parameter(m, name="upper")
        self._power = [step.bus_power(injection) for injection in program.injections]
        network = [c for p, q in self._power for c in step.network.constraints(p, q, self._lower, self._upper)]
        self._problem = cp.Problem(program.objective, [*program.constraints, *network])
        self._own = check_program(program, step)

    def solve(self, values: Mapping[str, Any], window: Window, lower: FloatArray, upper: FloatArray) -> Solution:
        """Solve one interval.

        Args:
            values: numbers of the mechanism's own parameters.
            window: the interval, arrays of shape (n,).
            lower, upper: (m,) limits of the interval.

        Raises:
            SolveError: where every solver fails.
        """
        set_values(self._own, values)
        step = self._step
        step.inflexible_kw.value = window.inflexible_kw
        step.import_request_kw.value = window.import_request_kw
        step.export_request_kw.value = window.export_request_kw
        self._lower.value, self._upper.value = lower, upper
        failures = []
        for position, name in enumerate(self._solvers):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)
                    self._problem.solve(solver=name, **SETTINGS.get(name, {}))
            except cp.error.SolverError as error:
                failures.append(f"{name}: {error}")
                continue
            if self._problem.status == cp.OPTIMAL and not (said := self._residual(lower, upper)):
                return self._solution(name, fallback=position > 0)
            failures.append(f"{name}: {self._problem.status if self._problem.status != cp.OPTIMAL else said}")
        raise SolveError(f"interval {window.start}: " + "; ".join(failures))

    def _residual(self, lower: FloatArray, upper: FloatArray) -> str:
        """What the solution breaks, checked without the solver: the network by a sweep, own constraints by value."""
        q = self._step.network.quantities
        for p, reactive in self._power:
            u = self._step.network.evaluate(p.value, reactive.value)
            if np.any((u > upper + q.tolerance) | (u < lower - q.tolerance)):
                return "the solution breaks a network limit"
        for constraint in self._program.constraints:
            worst = float(np.max(constraint.violation(), initial=0.0))
            if worst > 1e-5:
                return f"the solution breaks {constraint} by {worst:.2g}"
        return ""

    def _solution(self, solver: str, *, fallback: bool) -> Solution:
        values = {name: np.asarray(e.value, dtype=float) for name, e in self._program.values.items()}
        duals = {name: np.asarray(c.dual_value, dtype=float) for name, c in self._program.duals.items()}
        return Solution(values, duals, float(self._problem.value), solver, fallback)


def check_program(program: Program, step: Step) -> dict[str, cp.Parameter]:
    """The mechanism's own parameters by name, after checking that the program can be compiled once.

    Raises:
        InputError: with the offending expression.
    """
    if not program.objective.is_dcp(dpp=True):
        raise InputError(f"program is not DPP (linear in its parameters, convex): objective {program.objective}")
    for constraint in program.constraints:
        if not constraint.is_dcp(dpp=True):
            raise InputError(f"program is not DPP (linear in its parameters, convex): constraint {constraint}")
    for injection in program.injections:
        for expression in (injection.import_kw, injection.export_kw):
            if not (expression.is_affine() and expression.is_dcp(dpp=True)):
                raise InputError(f"program is not DPP: injection {expression} is not affine")
            if expression.shape != (step.n,):
                raise InputError(f"injection {expression} has shape {expression.shape}, not ({step.n},)")
    given = {step.inflexible_kw.id, step.import_request_kw.id, step.export_request_kw.id}
    parts = [program.objective, *program.constraints]
    parts += [e for i in program.injections for e in (i.import_kw, i.export_kw)]
    own: dict[str, cp.Parameter] = {}
    for parameter in {p.id: p for part in parts for p in part.parameters()}.values():
        if parameter.id in given:
            continue
        if parameter.name() in own:
            raise InputError(f"two parameters of the program are named {parameter.name()!r}")
        own[parameter.name()] = parameter
    return own


def set_values(own: Mapping[str, cp.Parameter], values: Mapping[str, Any]) -> None:
    """Fill the mechanism's parameters.

    Raises:
        InputError: missing or unknown names, wrong shapes or signs.
    """
    if missing := sorted(own.keys() - values.keys()):
        raise InputError(f"no value for parameter {', '.join(missing)} of the program")
    if extra := sorted(values.keys() - own.keys()):
        raise InputError(f"values for unknown parameter {', '.join(extra)}; the program has {', '.join(sorted(own))}")
    for name, parameter in own.items():
        try:
            parameter.value = values[name]
        except ValueError as error:
            raise InputError(f"parameter {name!r}: {error}") from error
