"""One interval's compiled program on a linear network; rows and multipliers are kept for the next interval."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from amm_opt.arrays import FloatArray, largest_of_each
from amm_opt.cases import Requests
from amm_opt.grid import Grid
from amm_opt.program import Program, Solution
from amm_opt.solve.answer import NoAnswerError
from amm_opt.solve.backends.dispatch import Backends
from amm_opt.solve.backends.known import Choice
from amm_opt.solve.backends.reduced import Point
from amm_opt.solve.backends.water_filling import WaterFillingBackend
from amm_opt.solve.compile import CompiledProgram, Known, Numbers, Powers, Rows, compiled_once, stacked
from amm_opt.solve.route import Task
from amm_opt.solve.routes.lazy import audited, solve_with_lazy_rows
from amm_opt.solve.routes.network_rows import gradients_of
from amm_opt.tolerances import ROW_SLACK, SOLVED_SLACK

PATIENCE, GROWTH = 3, 1.4
"""Rounds in which one row of each group is added, and how many times more every later round adds than the last."""
STALE_AFTER = 12
"""Solved intervals without a multiplier after which a row leaves."""


@dataclass
class Pool:
    """Rows in use for one injection: solved intervals since each had a multiplier, and its last multiplier."""

    idle: dict[int, int] = field(default_factory=dict)
    dual: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Posed:
    """A program's numbers in one interval, with some network rows.

    Attributes:
        theta: the parameter vector.
        numbers: everything but the network.
        network: (K, N) the rows; ``lower`` and ``upper`` (K,) their limits.
    """

    theta: FloatArray
    numbers: Numbers
    network: Rows
    lower: FloatArray
    upper: FloatArray


@dataclass(frozen=True, eq=False)
class Optimum:
    """A solved interval.

    Attributes:
        active: the network rows in use, limit k of injection j each.
    """

    posed: Posed
    active: list[tuple[int, int]]
    point: Point
    solution: Solution


class IntervalRoute:
    """One program on one linear network.

    Args:
        known: compiled programs by form; one of the same form is taken from there, or else put there.

    Raises:
        NotCompilableError: see ``CompiledProgram``.
    """

    reason = ""

    def __init__(self, program: Program, grid: Grid, known: Known | None = None) -> None:
        self.grid = grid
        self.compiled = CompiledProgram(program, grid) if known is None else compiled_once(program, grid, known)
        self.needs = frozenset({"qp" if self.compiled.quadratic else "lp"})
        self.gradients = gradients_of(self.compiled, grid)
        self.pools = [Pool() for _ in self.compiled.powers]
        self.group = grid.limit_groups
        self.own_dual = np.zeros(self.compiled.n_rows)
        self._backends = Backends()

    def reset(self) -> None:
        """Forget which rows and multipliers the last intervals had."""
        for pool in self.pools:
            pool.idle.clear()
            pool.dual.clear()
        self._backends.forget()
        self.own_dual = np.zeros(self.compiled.n_rows)

    def solve(self, solver: Choice, task: Task) -> Solution:
        """See ``Route``; what water filling answers has no multipliers to audit."""
        return self.optimum(solver, task).solution

    def posed(self, task: Task, active: list[tuple[int, int]]) -> Posed:
        """The numbers of an interval with these network rows; nothing is solved."""
        theta = self.compiled.theta(task.values, task.requests).copy()
        network = _IntervalRows(self, task, theta, active)
        return Posed(theta, self.compiled.numbers(theta), *network.in_use())

    def optimum(self, solver: Choice, task: Task) -> Optimum:
        """As :meth:`solve`, with everything that is known of the solution.

        Raises:
            NoAnswerError: where there is none.
        """
        theta = self.compiled.theta(task.values, task.requests).copy()
        numbers = self.compiled.numbers(theta)
        network = _IntervalRows(self, task, theta)
        point = solve_with_lazy_rows(numbers, network, self._backends, solver, task.time_limit_s, watch=task.watch)
        checked = None if solver == WaterFillingBackend.name else audited(numbers, network, point)
        network.age(point)
        values, duals = self.compiled.values(point.v, theta), self.compiled.duals(point.row_dual)
        objective, binding = self.compiled.objective(numbers, point.v), network.binding(point)
        solution = Solution(values, duals, objective, point.solver, checked, limit_duals=binding)
        return Optimum(Posed(theta, numbers, *network.in_use()), network.active, point, solution)


class _IntervalRows:
    """Network rows in one interval, see ``LazyRows``; one in use is (j, k), limit k of injection j."""

    def __init__(
        self, route: IntervalRoute, task: Task, theta: FloatArray, active: list[tuple[int, int]] | None = None
    ) -> None:
        self._route, self._task, self._theta = route, task, theta
        self._tolerance = route.grid.network.quantities.tolerance
        slack = ROW_SLACK * self._tolerance
        self._inner = (task.lower - slack, task.upper + slack)
        self._constants = [self._without_variables(task.requests, both) for both in route.compiled.powers]
        known = [(j, k) for j, pool in enumerate(route.pools) for k in pool.idle]
        self.active = known if active is None else active
        self._rows = self._gradients(self.active)

    def in_use(self) -> tuple[Rows, FloatArray, FloatArray]:
        base = np.array([self._constants[j][k] for j, k in self.active])
        index = np.array([k for _, k in self.active], dtype=np.intp)
        return self._rows, self._task.lower[index] - base, self._task.upper[index] - base

    def start(self) -> FloatArray:
        pools = self._route.pools
        return np.concatenate([self._route.own_dual, [pools[j].dual.get(k, 0.0) for j, k in self.active]])

    def solved(self, point: Point) -> None:
        self._route.own_dual = point.row_dual
        for (j, k), dual in zip(self.active, point.network_dual.tolist(), strict=True):
            self._route.pools[j].dual[k] = dual

    def add_violated(self, v: FloatArray, round_number: int) -> bool:
        """The most violated of each group, from the round ``PATIENCE`` on more of them."""
        count = int(GROWTH ** max(0, round_number - PATIENCE))
        new = [(j, k) for j in range(len(self._route.pools)) for k in self._violated(j, v, count)]
        if new:
            self.active = [*self.active, *new]
            self._rows = stacked(self._rows, self._gradients(new))
        return bool(new)

    def binding(self, point: Point) -> dict[int, float]:
        """Multipliers of limits that have one, over all injections."""
        found: dict[int, float] = {}
        for (_, k), dual in zip(self.active, point.network_dual.tolist(), strict=True):
            if dual:
                found[k] = found.get(k, 0.0) + dual
        return found

    def age(self, point: Point) -> None:
        """Rows without a multiplier for long leave."""
        for (j, k), dual in zip(self.active, point.network_dual.tolist(), strict=True):
            pool = self._route.pools[j]
            pool.idle[k] = 0 if abs(dual) > 1e-9 else pool.idle[k] + 1
            if pool.idle[k] > STALE_AFTER:
                del pool.idle[k], pool.dual[k]

    def _gradients(self, active: list[tuple[int, int]]) -> Rows:
        """Rows of these, (K, N)."""
        limits = [[k for injection, k in active if injection == j] for j in range(len(self._route.gradients))]
        each = [iter(g.at(self._theta, mine)) for g, mine in zip(self._route.gradients, limits, strict=True)]
        return Rows.of([next(each[j]) for j, _ in active], self._route.compiled.size)

    def _without_variables(self, requests: Requests, powers: Powers) -> FloatArray:
        """Every limited quantity where all variables are zero."""
        imports, exports = (power.base for power in powers)
        if imports.empty and exports.empty:
            return self._route.grid.usage(requests)[0]
        return self._route.grid.quantities(requests, imports.vector(self._theta), exports.vector(self._theta))

    def _violated(self, j: int, v: FloatArray, count: int) -> list[int]:
        """Limits of injection j that are violated and now put into use."""
        route, (low, high), idle = self._route, self._inner, self._route.pools[j].idle
        imports, exports = (power.at(self._theta, v) for power in route.compiled.powers[j])
        u = route.grid.quantities(self._task.requests, imports, exports)
        violated = np.flatnonzero((u > high) | (u < low))
        at = u[violated]
        excess = np.maximum(at - high[violated], low[violated] - at) / self._tolerance[violated] + ROW_SLACK
        new = []
        for i in largest_of_each(excess, route.group[violated], count):
            k = int(violated[i])
            if k not in idle:
                idle[k] = 0
                new.append(k)
            elif excess[i] > SOLVED_SLACK:
                raise NoAnswerError(f"a network row is violated by {excess[i]:.2g} times its tolerance")
        return new
