"""A program solved as declared: one cvxpy problem with every network row, by any solver that cvxpy knows.

This is the reference that faster ways are held against.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import cvxpy as cp
import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.grid import Grid
from amm_opt.program import Leximin, Program, Solution
from amm_opt.solve.answer import NoAnswerError, no_answer_from_errors
from amm_opt.solve.backends.by_cvxpy import solve_by_cvxpy
from amm_opt.solve.backends.kept import ClarabelBackend
from amm_opt.solve.backends.known import CONIC_SETTINGS, SETTINGS, Choice
from amm_opt.solve.route import Task
from amm_opt.tolerances import BINDING, DECLARED_TOLERANCE, SERVED_SLACK, SOLVED_SLACK


class DeclaredRoute:
    """One program on one network, built where it is first solved.

    Args:
        loss_weight: see ``ConicRoute``; without effect on linear network models.
        reason: why it is not compiled.
        needs: what a solver must be able to solve.
    """

    def __init__(
        self,
        program: Program,
        grid: Grid,
        own: Mapping[str, cp.Parameter],
        loss_weight: float,
        reason: str,
        needs: frozenset[str],
    ) -> None:
        self.reason, self.needs = reason, needs
        self._build = partial(DeclaredProgram, program, grid, own, loss_weight)
        self._built: list[DeclaredProgram] = []

    def reset(self) -> None:
        """Build it anew."""
        self._built.clear()

    def solve(self, solver: Choice, task: Task) -> Solution:
        """See ``Route``: by Clarabel, or by another solver of cvxpy's that is named."""
        if solver is not None and not isinstance(solver, str):
            raise NoAnswerError(f"only compiled programs, and this one is not: {self.reason}")
        if not self._built:
            self._built.append(self._build())
        return self._built[0].solve(solver or ClarabelBackend.name, task)


class DeclaredProgram:
    """One program on one network, built once.

    Args:
        loss_weight: see ``ConicRoute``; without effect on linear network models.
    """

    def __init__(self, program: Program, grid: Grid, own: Mapping[str, cp.Parameter], loss_weight: float = 0.0) -> None:
        self._loss_weight = loss_weight
        self._program, self._grid, self._own = program, grid, own
        m = len(grid.network.quantities.lower)
        self._lower, self._upper = cp.Parameter(m, name="lower"), cp.Parameter(m, name="upper")
        self._at: list[cp.Constraint] = []
        self._power = [grid.bus_power(injection) for injection in program.injections]
        self._relaxed: list[Any] = []
        if grid.conic:
            self._relaxed = [grid.conic_network.relaxation(p, q, self._lower, self._upper) for p, q in self._power]
            network = [c for relaxed in self._relaxed for c in relaxed.constraints]
        else:
            low, high = cp.Variable(m), cp.Variable(m)  # whose multipliers are those of limits, whatever a model writes
            self._at = [low == self._lower, high == self._upper]
            network = [c for p, q in self._power for c in grid.network.constraints(p, q, low, high)] + self._at
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

    def solve(self, solver: str, task: Task) -> Solution:
        """See ``Route``; the solution has no audit."""
        grid, requests = self._grid, task.requests
        for parameter in grid.parameters:
            parameter.value = getattr(requests, parameter.name())
        for name, parameter in self._own.items():
            parameter.value = task.values[name]
        lower, upper = (limit - self._left_out(task) for limit in (task.lower, task.upper))
        self._lower.value, self._upper.value = lower, upper
        settings = (CONIC_SETTINGS if self._relaxed else SETTINGS).get(solver, {})
        solve_by_cvxpy(self._problem, solver, settings, task.time_limit_s, inaccurate=bool(self._relaxed))
        with no_answer_from_errors():
            if wrong := self._incomplete() or self._broken(lower, upper):
                raise NoAnswerError(wrong)
            return self._solution(solver, lower, upper)

    def _left_out(self, task: Task) -> FloatArray | float:
        """(m,) what the network model estimates beside its rows (``NetworkModel.left_out``)."""
        network, requests = self._grid.network, task.requests
        if not network.estimates:
            return 0.0
        with_it, alone = self._grid.modelled(requests, 0.0, 0.0), self._grid.at_nodes(requests, 0.0, 0.0)
        return network.evaluate(*with_it) - network.evaluate(*alone)

    def _incomplete(self) -> str:
        """What the answer lacks."""
        given = {name: e.value for name, e in self._program.values.items()}
        given |= {name: c.dual_value for name, c in self._program.duals.items()}
        given |= {variable.name(): variable.value for variable in self._problem.variables()}
        for name, value in given.items():
            if value is None or not np.all(np.isfinite(np.asarray(value, dtype=float))):
                return f"its answer has no finite value of {name}"
        return ""

    def _broken(self, lower: FloatArray, upper: FloatArray) -> str:
        """What the solution breaks, checked without the solver: the network by a sweep, own constraints by value."""
        for p, reactive in self._power if not self._relaxed else ():
            u = self._grid.network.evaluate(p.value, reactive.value)
            if not self._grid.within(u, (lower, upper), SOLVED_SLACK):
                return "the solution breaks a network limit"
        relaxed = [c for relaxed in self._relaxed for c in relaxed.constraints if not isinstance(c, cp.SOC)]
        for constraint in [*self._program.constraints, *relaxed]:
            violation = float(np.max(constraint.violation(), initial=0.0))
            if violation > DECLARED_TOLERANCE:
                return f"the solution breaks {constraint} by {violation:.2g}"
        return ""

    def _solution(self, solver: str, lower: FloatArray, upper: FloatArray) -> Solution:
        values = {name: np.asarray(e.value, dtype=float) for name, e in self._program.values.items()}
        duals = {name: np.asarray(c.dual_value, dtype=float) for name, c in self._program.duals.items()}
        gap, objective = None, self._program.objective
        assert not isinstance(objective, Leximin)
        if self._relaxed:
            given = [(p.value, q.value) for p, q in self._power]
            gap = relaxation_gap(self._grid, given, [r.unknowns.value for r in self._relaxed], (lower, upper))
        binding = {} if self._relaxed else self._binding(lower, upper)
        return Solution(values, duals, float(objective.value), solver, gap=gap, limit_duals=binding)

    def _binding(self, lower: FloatArray, upper: FloatArray) -> dict[int, float]:
        """Multipliers of the limits that are reached; an interior point leaves a little on every other one."""
        reached = np.zeros((2, len(lower)), dtype=bool)
        room = BINDING * self._grid.network.quantities.tolerance
        for p, q in self._power:
            u = self._grid.network.evaluate(p.value, q.value)
            reached |= np.stack([u <= lower + room, u >= upper - room])
        duals = np.where(reached, -np.stack([c.dual_value for c in self._at]), 0.0).sum(axis=0)
        return {int(k): float(duals[k]) for k in np.flatnonzero(duals)}


def relaxation_gap(
    grid: Grid,
    injections: Sequence[tuple[FloatArray, FloatArray]],
    unknowns: Sequence[FloatArray],
    limits: tuple[FloatArray, FloatArray],
) -> FloatArray:
    """(n_buses,) largest gap of the solution's injections at each branch.

    Where the branch flow equations themselves keep every limit under an injection, that flow is a solution with the
    same objective and tight cones: the relaxation is exact there, and its gap 0, whatever currents the solver chose.

    Args:
        injections: net injection of the buses, (p_kw, q_kvar) each.
        unknowns: of the network's conic form, for every injection.
        limits: lower and upper limits of the interval, (m,) each.
    """
    n = grid.case.feeder.n_buses
    largest = np.zeros(n)
    for (p, q), u in zip(injections, unknowns, strict=True):
        if not grid.within(grid.network.evaluate(p, q), limits, SERVED_SLACK):
            largest = np.maximum(largest, grid.conic_network.form.gap(u, n))
    return largest
