"""Programs over a horizon: one interval's program repeated, coupled by totals and stores, with lazy network rows.

The program of an interval is compiled once, whatever the length of the horizon. The whole is put together from its
numbers, block by block, and solved with those network rows of those intervals that are violated without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.cases import Requests
from amm_opt.errors import InputError
from amm_opt.grid import Grid, largest_of_each
from amm_opt.program import HorizonProgram, Solution
from amm_opt.solve.audit import audit
from amm_opt.solve.backends.attempt import Reason
from amm_opt.solve.backends.dispatch import solve_reduced
from amm_opt.solve.backends.kept import Kept
from amm_opt.solve.backends.known import Choice
from amm_opt.solve.backends.reduced import INFEASIBLE, UNBOUNDED, reduced
from amm_opt.solve.compile import CompiledProgram, NotCompilableError, Numbers, Rows
from amm_opt.solve.routes.declared import check_program, check_values
from amm_opt.solve.routes.lazy import (
    Slopes,
    at_box,
    gradients,
    in_box,
    limited,
    slopes_of,
)
from amm_opt.tolerances import ROW_SLACK

MAX_ROUNDS = 60
BLOCK = 96
_Triplets = tuple[IntArray, IntArray, FloatArray]


@dataclass
class _Builder:
    """Rows low <= A v <= high that are put together piece by piece."""

    row: list[IntArray] = field(default_factory=list)
    col: list[IntArray] = field(default_factory=list)
    data: list[FloatArray] = field(default_factory=list)
    low: list[FloatArray] = field(default_factory=list)
    high: list[FloatArray] = field(default_factory=list)
    count: int = 0

    def limits(self, low: FloatArray, high: FloatArray) -> int:
        """Open rows with these limits; returns the number of the first."""
        self.low.append(low)
        self.high.append(high)
        self.count += len(low)
        return self.count - len(low)

    def entries(self, row: IntArray, col: IntArray, data: FloatArray) -> None:
        """Put entries into open rows."""
        self.row.append(row)
        self.col.append(col)
        self.data.append(data)

    def rows(self, width: int) -> tuple[Rows, FloatArray, FloatArray]:
        """All rows and their limits."""
        place = (np.concatenate(self.row), np.concatenate(self.col)) if self.row else (np.zeros(0, int),) * 2
        data = np.concatenate(self.data) if self.data else np.zeros(0)
        matrix = sp.csr_array(sp.coo_array((data, place), shape=(self.count, width)))
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
        ends = [np.concatenate(side) if side else np.zeros(0) for side in (self.low, self.high)]
        return Rows.from_sparse(matrix), ends[0], ends[1]


class HorizonForm:
    """A horizon program on one linear network.

    Raises:
        InputError: where a part of the program is not DPP, linear or quadratic, a total or store names an unknown
            value, or the network model is conic.
    """

    reason = ""

    def __init__(self, program: HorizonProgram, grid: Grid) -> None:
        if grid.conic:
            raise InputError(f"programs over a horizon need a linear network model, and {grid.network.name} is conic")
        self._program, self._grid = program, grid
        coupling = program.coupling
        self._own = (check_program(program.interval, grid), check_program(coupling, grid))
        if both := sorted(self._own[0].keys() & self._own[1].keys()):
            raise InputError(f"parameter {both[0]!r} is both an interval's and the coupling's")
        for name in (*program.totals, *program.stores.values()):
            if name not in program.interval.values:
                known = ", ".join(program.interval.values)
                raise InputError(f"the interval's program has no value {name!r}; valid choices: {known}")
        try:
            self._interval, self._coupling = CompiledProgram(program.interval, grid), CompiledProgram(coupling, grid)
        except NotCompilableError as error:
            raise InputError(f"a program over a horizon must be linear or quadratic: {error}") from error
        self.needs = frozenset({"qp" if self._interval.quadratic or self._coupling.quadratic else "lp"})
        self._group = grid.limit_groups
        self._slopes: dict[int, Slopes] = {}
        self._kept = Kept()

    def reset(self) -> None:
        """Start the solvers afresh; nothing else is carried from window to window."""
        self._kept.forget()

    def solve(
        self,
        solver: Choice,
        values: Mapping[str, Any],
        requests: Requests,
        lower: None = None,
        upper: None = None,
        time_limit_s: float = np.inf,
    ) -> Solution | str:
        """Solve one window of H intervals, or say why that failed.

        Args:
            values: numbers of the parameters: (H, ...) for those of an interval; the bounds and the initial level of
                each store as ``<store>_initial`` (B,), ``<store>_lower`` and ``<store>_upper`` (B,) or (H, B).
        """
        thetas = self._thetas(values, requests)
        numbers, store_at = self._assembled(thetas, values, requests)
        pool = _Pool(self, requests, thetas, numbers.rows.width)
        whole, boxed = numbers, False
        for _ in range(MAX_ROUNDS):
            rows, low, high = pool.rows()
            start = np.zeros(len(numbers.row_lower) + len(low))
            point = solve_reduced(reduced(numbers, rows, low, high, time_limit_s), solver, start, self._kept)
            if point.problem and not boxed and point.status != INFEASIBLE and not limited(numbers):
                numbers, boxed = in_box(whole), True
                continue
            if point.problem:
                return Reason.of(point.problem, point.status)
            if not pool.add_violated(point.v):
                if boxed and at_box(point.v):
                    return Reason.of("the program is unbounded", UNBOUNDED)
                checked = audit(whole, point.v, point.row_dual, rows, low, high, point.network_dual)
                if not checked.passed:
                    return f"the audit failed: {checked}"
                solution = self._solution(point.v, point.row_dual, numbers, thetas, store_at)
                return replace(solution, solver=point.solver, audit=checked)
            if pool.stuck:
                return pool.stuck
        return f"network rows still violated after {MAX_ROUNDS} rounds"

    def check(self, values: Mapping[str, Any], steps: int) -> None:
        """Check the numbers of all parameters.

        Raises:
            InputError: see ``check_values``.
        """
        ours = {f"{s}_{kind}" for s in self._program.stores for kind in ("initial", "lower", "upper")}
        if missing := sorted(ours - values.keys()):
            raise InputError(f"no value for {', '.join(missing)} of the program's stores")
        inner = {n: v for n, v in values.items() if n in self._own[0]}
        check_values(self._own[0], inner, (steps,))
        check_values(self._own[1], {n: v for n, v in values.items() if n not in ours and n not in inner})

    def _thetas(self, values: Mapping[str, Any], requests: Requests) -> list[FloatArray]:
        """The parameter vectors of the intervals, and last of the coupling."""
        own, coupling = self._own
        found = []
        for k in range(requests.n_steps):
            given = {name: values[name][k] for name in own}
            found.append(self._interval.theta(self._grid, own, given, requests.interval(k)).copy())
        last = requests.interval(requests.n_steps - 1)
        return [*found, self._coupling.theta(self._grid, coupling, {n: values[n] for n in coupling}, last).copy()]

    def _assembled(
        self, thetas: list[FloatArray], values: Mapping[str, Any], requests: Requests
    ) -> tuple[Numbers, dict[str, IntArray]]:
        """All numbers but the network's, and where the stores' levels (H, B) are among the variables."""
        steps, size = requests.n_steps, self._interval.size
        parts = [self._interval.numbers(t) for t in thetas[:-1]]
        extra = self._coupling.numbers(thetas[-1])
        builder = _Builder()
        for k, part in enumerate((*parts, extra)):
            first = builder.limits(part.row_lower, part.row_upper)
            builder.entries(part.rows.row + first, part.rows.col + k * size, part.rows.data)
        self._coupling_rows = slice(builder.count - len(extra.row_lower), builder.count)
        for value, total in self._program.totals.items():
            self._add_total(builder, value, total.name(), thetas, requests.dt_h)
        width = steps * size + self._coupling.size
        q, lower, upper = (np.concatenate([getattr(p, n) for p in (*parts, extra)]) for n in ("q", "lower", "upper"))
        store_at: dict[str, IntArray] = {}
        for name, gain in self._program.stores.items():
            count = self._program.interval.values[gain].size
            store_at[name] = width + np.arange(steps * count).reshape(steps, count)
            width += steps * count
            self._add_store(builder, gain, store_at[name], np.asarray(values[f"{name}_initial"]), thetas, requests.dt_h)
            low, high = (np.broadcast_to(values[f"{name}_{side}"], (steps, count)) for side in ("lower", "upper"))
            q, lower, upper = (np.append(a, b) for a, b in ((q, np.zeros(low.size)), (lower, low), (upper, high)))
        rows, row_lower, row_upper = builder.rows(width)
        hessian, matrix = _curvature([*parts, extra], width)
        numbers = Numbers(
            q, sum(p.offset for p in (*parts, extra)), hessian, matrix, lower, upper, rows, row_lower, row_upper
        )
        return self._without_idle(numbers, thetas), store_at

    def _add_total(self, builder: _Builder, value: str, total: str, thetas: list[FloatArray], dt_h: float) -> None:
        """total - dt_h sum_k value_k = 0."""
        inner, outer = self._interval.value_map(value), self._coupling.value_map(total)
        base = dt_h * sum(inner.base.vector(t) for t in thetas[:-1]) - outer.base.vector(thetas[-1])
        first = builder.limits(base, base)
        gain = outer.gain
        offset = (len(thetas) - 1) * self._interval.size
        builder.entries(gain.row + first, gain.col + offset, gain.data(thetas[-1]))
        for k, theta in enumerate(thetas[:-1]):
            column = inner.gain.col + k * self._interval.size
            builder.entries(inner.gain.row + first, column, -dt_h * inner.gain.data(theta))

    def _add_store(
        self, builder: _Builder, value: str, at: IntArray, initial: FloatArray, thetas: list[FloatArray], dt_h: float
    ) -> None:
        """level_k - level_(k-1) - dt_h value_k = 0, from the initial level on."""
        inner, one = self._interval.value_map(value), np.ones(at.shape[1])
        for k, theta in enumerate(thetas[:-1]):
            base = dt_h * inner.base.vector(theta) + (initial if k == 0 else 0.0)
            first = builder.limits(base, base)
            own = first + np.arange(at.shape[1])
            builder.entries(own, at[k], one)
            if k:
                builder.entries(own, at[k - 1], -one)
            column = inner.gain.col + k * self._interval.size
            builder.entries(inner.gain.row + first, column, -dt_h * inner.gain.data(theta))

    def _without_idle(self, numbers: Numbers, thetas: list[FloatArray]) -> Numbers:
        """Variables that nothing depends on are fixed."""
        used = numbers.q != 0
        used |= np.bincount(numbers.rows.col, minlength=len(used)) > 0
        if numbers.matrix is not None:
            used |= np.diff(numbers.matrix.indptr) > 0
        elif numbers.hessian is not None:
            used |= numbers.hessian != 0
        for k, theta in enumerate(thetas[:-1]):
            for power in self._interval.powers:
                used[power.gain.col[power.gain.data(theta) != 0] + k * self._interval.size] = True
        still = np.clip(0.0, numbers.lower, numbers.upper)
        lower, upper = np.where(used, numbers.lower, still), np.where(used, numbers.upper, still)
        return replace(numbers, lower=lower, upper=upper)

    def _solution(
        self,
        v: FloatArray,
        dual: FloatArray,
        numbers: Numbers,
        thetas: list[FloatArray],
        store_at: Mapping[str, IntArray],
    ) -> Solution:
        size = self._interval.size
        each = [self._interval.values(v[k * size : (k + 1) * size], t) for k, t in enumerate(thetas[:-1])]
        start = (len(thetas) - 1) * size
        found = {name: np.stack([one[name] for one in each]) for name in self._program.interval.values}
        found |= self._coupling.values(v[start : start + self._coupling.size], thetas[-1])
        found |= {name: v[at] for name, at in store_at.items()}
        of_coupling = dual[self._coupling_rows]
        duals = {
            name: of_coupling[rows].reshape(shape, order="F")
            for name, (rows, shape) in self._coupling.dual_rows.items()
        }
        sign = -1.0 if self._coupling.maximise else 1.0
        return Solution(found, duals, sign * numbers.objective(v), "")


class _Pool:
    """Network rows in use in one window."""

    def __init__(self, form: HorizonForm, requests: Requests, thetas: list[FloatArray], width: int) -> None:
        self._form, self._requests, self._thetas, self._width = form, requests, thetas, width
        powers = form._interval.powers
        self._powers = list(zip(powers[::2], powers[1::2], strict=True))
        self._parts: list[tuple[IntArray, FloatArray]] = []
        self._limits: list[tuple[float, float]] = []
        self._seen: set[tuple[int, int, int]] = set()
        self.stuck = ""

    def rows(self) -> tuple[Rows, FloatArray, FloatArray]:
        """Rows in use and their limits."""
        low, high = np.array(self._limits).reshape(-1, 2).T
        return Rows.of(self._parts, self._width), low, high

    def add_violated(self, v: FloatArray) -> bool:
        """Add the most violated rows of each interval; whether there were any."""
        before, steps = len(self._parts), self._requests.n_steps
        for first in range(0, steps, BLOCK):
            self._add_in_block(first, min(first + BLOCK, steps), v)
        return len(self._parts) > before or bool(self.stuck)

    def _add_in_block(self, first: int, stop: int, v: FloatArray) -> None:
        grid, size = self._form._grid, self._form._interval.size
        requests = self._requests.select(slice(first, stop))
        lower, upper = grid.limits(requests)
        tolerance = grid.network.quantities.tolerance
        for j, powers in enumerate(self._powers):
            flexible = [
                np.stack([p.at(self._thetas[k], v[k * size : (k + 1) * size]) for k in range(first, stop)])
                for p in powers
            ]
            u = grid.quantities(requests, flexible[0], flexible[1])
            excess = np.maximum(u - upper, lower - u) / tolerance
            for k in np.flatnonzero((excess > ROW_SLACK).any(axis=1)):
                violated = np.flatnonzero(excess[k] > ROW_SLACK)
                self._add(j, first + int(k), violated, excess[k], lower[k], upper[k])

    def _add(
        self, j: int, k: int, violated: IntArray, excess: FloatArray, lower: FloatArray, upper: FloatArray
    ) -> None:
        form, new = self._form, []
        for i in largest_of_each(excess[violated], form._group[violated]):
            limit = int(violated[i])
            if (j, k, limit) not in self._seen:
                new.append(limit)
            elif excess[limit] > 1.0:
                self.stuck = f"a network row is violated by {excess[limit]:.2g} times its tolerance"
        if not new:
            return
        form._slopes.update(slopes_of(form._grid, [limit for limit in new if limit not in form._slopes]))
        theta, grid, size = self._thetas[k], form._grid, form._interval.size
        rows = gradients(grid.n, size, self._powers[j], [form._slopes[limit] for limit in new], theta)
        imports, exports = (p.base.vector(theta) for p in self._powers[j])
        base = grid.quantities(self._requests.interval(k), imports, exports)
        for i, limit in enumerate(new):
            part = slice(rows.start[i], rows.start[i + 1])
            self._parts.append((rows.col[part] + k * size, rows.data[part]))
            self._limits.append((lower[limit] - base[limit], upper[limit] - base[limit]))
            self._seen.add((j, k, limit))


def _curvature(parts: list[Numbers], width: int) -> tuple[FloatArray | None, sp.csr_array | None]:
    """Diagonal of the quadratic term where all parts have only that, else its matrix."""
    if all(p.matrix is None for p in parts):
        diagonal = np.concatenate([p.hessian for p in parts if p.hessian is not None])
        return np.append(diagonal, np.zeros(width - len(diagonal))), None
    blocks = [sp.diags_array(p.hessian) if p.matrix is None else p.matrix for p in parts]
    used = sum(len(p.q) for p in parts)
    return None, sp.csr_array(sp.block_diag([*blocks, sp.csr_array((width - used, width - used))]))
