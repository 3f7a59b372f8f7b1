"""Programs over a horizon on a linear network: one interval's program repeated, coupled by totals and stores.

The program of an interval is compiled once, whatever the length of the horizon. The whole is put together from its
numbers, block by block, and solved with those network rows of those intervals that are violated without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.errors import InputError
from amm_opt.grid import Grid
from amm_opt.program import HorizonProgram, Solution
from amm_opt.solve.backends.dispatch import Backends
from amm_opt.solve.backends.known import Choice
from amm_opt.solve.compile import CompiledProgram, NotCompilableError
from amm_opt.solve.route import Task
from amm_opt.solve.routes.checks import horizon_parameters
from amm_opt.solve.routes.lazy import audited, solve_with_lazy_rows
from amm_opt.solve.routes.network_rows import gradients_of
from amm_opt.solve.routes.window.alike import merged
from amm_opt.solve.routes.window.assembly import Assembled, Assembler
from amm_opt.solve.routes.window.even import Even, in_unit, unit_of
from amm_opt.solve.routes.window.rows import Pool, Sweep, WindowRows


class HorizonRoute:
    """A horizon program on one linear network.

    Raises:
        InputError: where a part of the program is not DPP, linear or quadratic, a total or store names an unknown
            value, something else than a variable is to be even, or that beside squares of sums, or the network model
            is conic.
    """

    reason = ""

    def __init__(self, program: HorizonProgram, grid: Grid) -> None:
        self.grid, self._program = grid, program
        self._own, _ = horizon_parameters(program, grid)
        try:
            self.interval = CompiledProgram(program.interval, grid)
            self._coupling = CompiledProgram(program.coupling, grid)
        except NotCompilableError as error:
            raise InputError(f"a program over a horizon must be linear or quadratic: {error}") from error
        for name in program.even:
            if name not in program.interval.values or not self.interval.value_map(name).gain.unit:
                raise InputError(f"even: {name!r} is no value of an interval that is a vector variable")
        if program.even and not (self.interval.separable and self._coupling.separable):
            raise InputError("even: the objective must have squares of single variables only")
        self._curved = self.interval.quadratic or self._coupling.quadratic
        self.needs = frozenset({"qp" if self._curved or program.even else "lp"})
        self._assembler = Assembler(program, self.interval, self._coupling)
        self.gradients = gradients_of(self.interval, grid)
        self._pool = Pool()
        self._sweep: Sweep | None = None
        self._backends, self._evening = Backends(), Backends()

    def reset(self) -> None:
        """What follows depends on nothing solved before."""
        self._backends.forget()
        self._evening.forget()
        self._pool, self._sweep = Pool(), None

    def solve(self, solver: Choice, task: Task) -> Solution:
        """See ``Route``.

        The values are (H, ...) for parameters of an interval; the bounds and the initial level of each store are
        ``<store>_initial`` (B,), ``<store>_lower`` and ``<store>_upper`` (B,) or (H, B).
        """
        thetas = self._thetas(task)
        whole = self._assembler.assembled(thetas, task.values, task.requests.dt_h)
        sweep, again = self._sweep, True
        if sweep is None or sweep.requests is not task.requests:
            sweep, again = Sweep(self.grid, task.requests), False
            if self._program.stores:  # what is stored is worth little: who starts elsewhere ends a little elsewhere
                self._pool = Pool()
        self._sweep = sweep
        of_interval = (self.interval, self.gradients, thetas[:-1])
        network = WindowRows(sweep, self._pool, *of_interval, whole, again)
        at = self._even_columns(len(thetas) - 1)
        unit = unit_of(whole.numbers, at) if len(at) and self._curved else 1.0
        presolve = merged if unit == 1.0 else partial(in_unit, unit=unit)
        how = (solver, task.time_limit_s, presolve, task.watch)
        point = solve_with_lazy_rows(whole.numbers, network, self._backends, *how)
        checked, v = audited(whole.numbers, network, point, unit), point.v
        network.age()
        if len(at):
            even = Even.of(whole.numbers, *network.in_use(), point, at)
            face = replace(whole, numbers=even.numbers)
            aside = partial(WindowRows, sweep, self._pool.aside(), *of_interval, face, False, v)
            v, again_checked = even.solved(aside, self._evening, solver, task)
            checked = again_checked.worst(checked)
        duals = {
            **self._duals(point.row_dual, len(thetas) - 1),
            **self._coupling.duals(point.row_dual[whole.coupling_rows]),
        }
        values = self._values(whole.whole(v), thetas, whole)
        objective, binding = self._coupling.objective(whole.numbers, point.v), network.binding()
        return Solution(values, duals, objective, point.solver, checked, limit_duals_by_step=binding)

    def _even_columns(self, steps: int) -> IntArray:
        """Where the values that are to be even are among the variables."""
        columns = [np.zeros(0, int), *(self.interval.value_map(name).gain.col for name in self._program.even)]
        first = np.arange(steps) * self.interval.size
        return np.asarray((first[:, None] + np.concatenate(columns)).ravel())

    def _duals(self, row_dual: FloatArray, steps: int) -> dict[str, FloatArray]:
        """(H, ...) multipliers of the intervals' named constraints."""
        count = self.interval.n_rows
        each = [self.interval.duals(row_dual[k * count : (k + 1) * count]) for k in range(steps)]
        return {name: np.stack([one[name] for one in each]) for name in self._program.interval.duals}

    def _thetas(self, task: Task) -> list[FloatArray]:
        """The parameter vectors of the intervals, and last of the coupling."""
        own, values, requests = self._own, task.values, task.requests
        found = []
        for k in range(requests.n_steps):
            given = {name: values[name][k] for name in own}
            found.append(self.interval.theta(given, requests.interval(k)).copy())
        last = requests.interval(requests.n_steps - 1)
        return [*found, self._coupling.theta(values, last).copy()]

    def _values(self, v: FloatArray, thetas: Sequence[FloatArray], whole: Assembled) -> dict[str, FloatArray]:
        size = self.interval.size
        each = [self.interval.values(v[k * size : (k + 1) * size], t) for k, t in enumerate(thetas[:-1])]
        found = {name: np.stack([one[name] for one in each]) for name in self._program.interval.values}
        start = len(each) * size
        found |= self._coupling.values(v[start : start + self._coupling.size], thetas[-1])
        return found | {name: v[at] for name, at in whole.store_at.items()}
