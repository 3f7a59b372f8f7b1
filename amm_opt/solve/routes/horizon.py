"""Programs over a horizon on a linear network: one interval's program repeated, coupled by totals and stores.

The program of an interval is compiled once, whatever the length of the horizon. The whole is put together from its
numbers, block by block, and solved with those network rows of those intervals that are violated without them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.errors import InputError
from amm_opt.grid import Grid, largest_of_each
from amm_opt.program import HorizonProgram, Solution
from amm_opt.solve.answer import NoAnswerError
from amm_opt.solve.backends.dispatch import Backends
from amm_opt.solve.backends.known import Choice
from amm_opt.solve.backends.reduced import Point
from amm_opt.solve.compile import CompiledProgram, NotCompilableError, Rows
from amm_opt.solve.route import Task
from amm_opt.solve.routes.assembly import Assembled, Assembler
from amm_opt.solve.routes.checks import horizon_parameters
from amm_opt.solve.routes.lazy import audited, solve_with_lazy_rows
from amm_opt.solve.routes.network_rows import SparseRow, gradients_of
from amm_opt.tolerances import ROW_SLACK, SOLVED_SLACK

BLOCK = 96
"""At most so many intervals are swept at once."""


class HorizonRoute:
    """A horizon program on one linear network.

    Raises:
        InputError: where a part of the program is not DPP, linear or quadratic, a total or store names an unknown
            value, or the network model is conic.
    """

    reason = ""

    def __init__(self, program: HorizonProgram, grid: Grid) -> None:
        self.grid, self._program = grid, program
        self._own = horizon_parameters(program, grid)
        try:
            self.interval = CompiledProgram(program.interval, grid)
            self._coupling = CompiledProgram(program.coupling, grid)
        except NotCompilableError as error:
            raise InputError(f"a program over a horizon must be linear or quadratic: {error}") from error
        self.needs = frozenset({"qp" if self.interval.quadratic or self._coupling.quadratic else "lp"})
        self._assembler = Assembler(program, self.interval, self._coupling)
        self.gradients = gradients_of(self.interval, grid)
        self.group = grid.limit_groups
        self._backends = Backends()

    def reset(self) -> None:
        """Start the solvers afresh; nothing else is carried from window to window."""
        self._backends.forget()

    def solve(self, solver: Choice, task: Task) -> Solution:
        """See ``Route``.

        The values are (H, ...) for parameters of an interval; the bounds and the initial level of each store are
        ``<store>_initial`` (B,), ``<store>_lower`` and ``<store>_upper`` (B,) or (H, B).
        """
        thetas = self._thetas(task)
        whole = self._assembler.assembled(thetas, task.values, task.requests.dt_h)
        network = _WindowRows(self, task, thetas, whole)
        point = solve_with_lazy_rows(whole.numbers, network, self._backends, solver, task.time_limit_s)
        checked = audited(whole.numbers, network, point)
        duals = self._coupling.duals(point.row_dual[whole.coupling_rows])
        values = self._values(point.v, thetas, whole)
        return Solution(values, duals, self._coupling.objective(whole.numbers, point.v), point.solver, checked)

    def _thetas(self, task: Task) -> list[FloatArray]:
        """The parameter vectors of the intervals, and last of the coupling."""
        (own, coupling), values, requests = self._own, task.values, task.requests
        found = []
        for k in range(requests.n_steps):
            given = {name: values[name][k] for name in own}
            found.append(self.interval.theta(self.grid, own, given, requests.interval(k)).copy())
        last = requests.interval(requests.n_steps - 1)
        return [*found, self._coupling.theta(self.grid, coupling, {n: values[n] for n in coupling}, last).copy()]

    def _values(self, v: FloatArray, thetas: Sequence[FloatArray], whole: Assembled) -> dict[str, FloatArray]:
        size = self.interval.size
        each = [self.interval.values(v[k * size : (k + 1) * size], t) for k, t in enumerate(thetas[:-1])]
        found = {name: np.stack([one[name] for one in each]) for name in self._program.interval.values}
        start = len(each) * size
        found |= self._coupling.values(v[start : start + self._coupling.size], thetas[-1])
        return found | {name: v[at] for name, at in whole.store_at.items()}


class _WindowRows:
    """Network rows in one window, see ``LazyRows``; one in use is (j, k, i), limit i of injection j in interval k."""

    def __init__(self, route: HorizonRoute, task: Task, thetas: Sequence[FloatArray], whole: Assembled) -> None:
        self._route, self._requests, self._thetas = route, task.requests, thetas
        self._width, self._n_own = whole.numbers.rows.width, len(whole.numbers.row_lower)
        self._rows: list[SparseRow] = []
        self._limits: list[tuple[float, float]] = []
        self._active: set[tuple[int, int, int]] = set()

    def in_use(self) -> tuple[Rows, FloatArray, FloatArray]:
        lower, upper = np.array(self._limits).reshape(-1, 2).T
        return Rows.of(self._rows, self._width), lower, upper

    def start(self) -> FloatArray:
        return np.zeros(self._n_own + len(self._rows))

    def solved(self, point: Point) -> None:
        """Every round starts from nothing."""

    def add_violated(self, v: FloatArray, round_number: int) -> bool:
        """The most violated of each group in each interval."""
        before, steps = len(self._rows), self._requests.n_steps
        for first in range(0, steps, BLOCK):
            self._add_in_block(range(first, min(first + BLOCK, steps)), v)
        return len(self._rows) > before

    def _add_in_block(self, block: range, v: FloatArray) -> None:
        grid, size = self._route.grid, self._route.interval.size
        requests = self._requests.select(slice(block.start, block.stop))
        lower, upper = grid.limits(requests)
        tolerance = grid.network.quantities.tolerance
        for j, powers in enumerate(self._route.interval.powers):
            imports, exports = (
                np.stack([power.at(self._thetas[k], v[k * size : (k + 1) * size]) for k in block]) for power in powers
            )
            u = grid.quantities(requests, imports, exports)
            excess = np.maximum(u - upper, lower - u) / tolerance
            for k in np.flatnonzero((excess > ROW_SLACK).any(axis=1)).tolist():
                if new := self._violated(j, block[k], excess[k]):
                    self._add(j, block[k], new, lower[k], upper[k])

    def _violated(self, j: int, k: int, excess: FloatArray) -> list[int]:
        """Limits of injection j in interval k that are violated and not in use."""
        violated = np.flatnonzero(excess > ROW_SLACK)
        new = []
        for i in violated[largest_of_each(excess[violated], self._route.group[violated])].tolist():
            if (j, k, i) not in self._active:
                new.append(i)
            elif excess[i] > SOLVED_SLACK:
                raise NoAnswerError(f"a network row is violated by {excess[i]:.2g} times its tolerance")
        return new

    def _add(self, j: int, k: int, new: list[int], lower: FloatArray, upper: FloatArray) -> None:
        grid, theta, first = self._route.grid, self._thetas[k], k * self._route.interval.size
        self._rows += [(col + first, data) for col, data in self._route.gradients[j].at(theta, new)]
        imports, exports = (power.base.vector(theta) for power in self._route.interval.powers[j])
        base = grid.quantities(self._requests.interval(k), imports, exports)
        self._limits += [(lower[i] - base[i], upper[i] - base[i]) for i in new]
        self._active.update((j, k, i) for i in new)
