"""Solving a compiled program with only those network rows that matter.

A linear network has thousands of limits and a few dozen that bind. The program is solved with the rows seen so far,
one vectorised sweep checks every limit, violated rows are added until there are none, and useful rows stay for the
next interval. The answer satisfies every row, so it is the optimum of the full problem.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.cases import Requests
from amm_opt.grid import Grid, largest_of_each
from amm_opt.program import Program, Solution
from amm_opt.solve.audit import audit
from amm_opt.solve.backends.attempt import Reason
from amm_opt.solve.backends.dispatch import solve_reduced
from amm_opt.solve.backends.kept import Kept
from amm_opt.solve.backends.known import Choice
from amm_opt.solve.backends.reduced import INFEASIBLE, UNBOUNDED, Point, reduced
from amm_opt.solve.backends.water_filling import WATER_FILLING
from amm_opt.solve.compile import AffineMap, CompiledProgram, Numbers, Rows, stacked
from amm_opt.tolerances import ROW_SLACK

_Sparse = tuple[IntArray, FloatArray]
Slopes = tuple[_Sparse, _Sparse]

MAX_ROUNDS = 60
BOX = 1e6
"""Variables of a program that only the network bounds start inside plus or minus this."""
PATIENCE, GROWTH = 3, 1.4
"""Rounds in which one row of each group is added, and how many times more every later round adds than the last."""
STALE_AFTER = 12
FEW_ENTRIES = 100_000


@dataclass
class _Pool:
    """Rows in use for one injection, and what is known of every row ever used."""

    slopes: dict[int, Slopes] = field(default_factory=dict)
    gradients: dict[int, _Sparse] = field(default_factory=dict)
    idle: dict[int, int] = field(default_factory=dict)
    dual: dict[int, float] = field(default_factory=dict)


class LazyProgram:
    """One program on one linear network, solved by a direct backend.

    Raises:
        NotCompilableError: see ``CompiledProgram``.
    """

    def __init__(self, program: Program, grid: Grid, own: Mapping[str, Any]) -> None:
        self._grid, self._own = grid, own
        self._compiled = CompiledProgram(program, grid)
        self.quadratic = self._compiled.quadratic
        powers = self._compiled.powers
        self._powers = list(zip(powers[::2], powers[1::2], strict=True))
        self._constant = [imports.gain.constant and exports.gain.constant for imports, exports in self._powers]
        self._pools = [_Pool() for _ in self._powers]
        self._group = grid.limit_groups
        self._own_dual = np.zeros(self._compiled.n_rows)
        self._kept = Kept()

    def reset(self) -> None:
        """Forget which rows and multipliers the last intervals had."""
        for pool in self._pools:
            pool.idle.clear()
            pool.dual.clear()
        self._kept.forget()
        self._own_dual = np.zeros(self._compiled.n_rows)

    def solve(
        self,
        solver: Choice,
        values: Mapping[str, Any],
        requests: Requests,
        lower: FloatArray,
        upper: FloatArray,
        time_limit_s: float = np.inf,
    ) -> Solution | str:
        """Solve one interval, or say why that failed; arguments as for ``DeclaredProgram.solve``."""
        theta = self._compiled.theta(self._grid, self._own, values, requests)
        whole = numbers = self._compiled.numbers(theta)
        constants = [self._constants(requests, theta, *powers) for powers in self._powers]
        slack = ROW_SLACK * self._grid.network.quantities.tolerance
        inner = (lower - slack, upper + slack)
        boxed = False
        active = [(j, k) for j, pool in enumerate(self._pools) for k in pool.idle]
        rows = self._rows(active, theta)
        for attempt in range(MAX_ROUNDS):
            base = np.array([constants[j][k] for j, k in active])
            index = np.array([k for _, k in active], dtype=np.intp)
            start = np.concatenate([self._own_dual, [self._pools[j].dual.get(k, 0.0) for j, k in active]])
            low, high = lower[index] - base, upper[index] - base
            point = solve_reduced(reduced(numbers, rows, low, high, time_limit_s), solver, start, self._kept)
            if point.problem and not boxed and point.status != INFEASIBLE and not limited(numbers):
                boxed = True
                numbers = in_box(whole)
                continue
            if point.problem:
                return Reason.of(point.problem, point.status)
            self._own_dual = point.row_dual
            for (j, k), dual in zip(active, point.network_dual, strict=True):
                self._pools[j].dual[k] = float(dual)
            trouble, new = self._add_violated(
                point.v, theta, requests, inner, int(GROWTH ** max(0, attempt - PATIENCE))
            )
            if trouble:
                return trouble
            active, rows = [*active, *new], stacked(rows, self._rows(new, theta)) if new else rows
            if not new:
                if boxed and at_box(point.v):
                    return Reason.of("the program is unbounded", UNBOUNDED)
                checked = None
                if solver != WATER_FILLING:
                    checked = audit(whole, point.v, point.row_dual, rows, low, high, point.network_dual)
                    if not checked.passed:
                        return f"the audit failed: {checked}"
                self._age(active, point)
                return replace(self._solution(point, numbers, theta), audit=checked)
        return f"network rows still violated after {MAX_ROUNDS} rounds"

    def _rows(self, active: list[tuple[int, int]], theta: FloatArray) -> Rows:
        """Gradient of each active limited quantity, ordered by injection, in the program's variables, (K, N)."""
        parts: list[tuple[IntArray, FloatArray]] = []
        for j, pool in enumerate(self._pools):
            mine = [k for injection, k in active if injection == j]
            pool.slopes.update(slopes_of(self._grid, [k for k in mine if k not in pool.slopes]))
            if self._constant[j]:
                for k in mine:
                    if k not in pool.gradients:
                        pool.gradients[k] = self._gradient(self._powers[j], pool.slopes[k], theta)
                parts += [pool.gradients[k] for k in mine]
            elif mine:
                whole = gradients(
                    self._grid.n, self._compiled.size, self._powers[j], [pool.slopes[k] for k in mine], theta
                )
                cuts = whole.start.tolist()
                parts += [(whole.col[a:b], whole.data[a:b]) for a, b in itertools.pairwise(cuts)]
        return Rows.of(parts, self._compiled.size)

    def _gradient(self, powers: tuple[AffineMap, AffineMap], slopes: Slopes, theta: FloatArray) -> _Sparse:
        total = np.zeros(self._compiled.size)
        for (who, slope), power in zip(slopes, powers, strict=True):
            everyone = np.zeros(self._grid.n)
            everyone[who] = slope
            gain = power.gain
            total += np.bincount(gain.col, gain.data(theta) * everyone[gain.row], len(total))
        place = np.flatnonzero(total)
        return place, total[place]

    def _constants(self, requests: Requests, theta: FloatArray, imports: AffineMap, exports: AffineMap) -> FloatArray:
        """Every limited quantity where all variables are zero."""
        if imports.base.empty and exports.base.empty:
            return self._grid.usage(requests)[0]
        return self._grid.quantities(requests, imports.base.vector(theta), exports.base.vector(theta))

    def _add_violated(
        self, v: FloatArray, theta: FloatArray, requests: Requests, limits: tuple[FloatArray, FloatArray], most: int
    ) -> tuple[str, list[tuple[int, int]]]:
        """Put violated rows into use and return them; says so where a row in use is still violated.

        ``limits`` are those beyond which a row is added, ``most`` how many of a group are.
        """
        tolerance = self._grid.network.quantities.tolerance
        low, high = limits
        added: list[tuple[int, int]] = []
        for j, (pool, (imports, exports)) in enumerate(zip(self._pools, self._powers, strict=True)):
            u = self._grid.quantities(requests, imports.at(theta, v), exports.at(theta, v))
            violated = np.flatnonzero((u > high) | (u < low))
            at = u[violated]
            excess = np.maximum(at - high[violated], low[violated] - at) / tolerance[violated] + ROW_SLACK
            for i in largest_of_each(excess, self._group[violated], most):
                k = int(violated[i])
                if k not in pool.idle:
                    pool.idle[k] = 0
                    added.append((j, k))
                elif excess[i] > 1.0:
                    return f"a network row is violated by {excess[i]:.2g} times its tolerance", added
        return "", added

    def _age(self, active: list[tuple[int, int]], point: Point) -> None:
        for (j, k), dual in zip(active, point.network_dual, strict=True):
            idle = self._pools[j].idle
            idle[k] = 0 if abs(dual) > 1e-9 else idle[k] + 1
            if idle[k] > STALE_AFTER:
                del idle[k], self._pools[j].dual[k]

    def _solution(self, point: Point, numbers: Numbers, theta: FloatArray) -> Solution:
        v = point.v
        value = numbers.objective(v)
        sign = -1.0 if self._compiled.maximise else 1.0
        duals = {
            name: point.row_dual[rows].reshape(shape, order="F")
            for name, (rows, shape) in self._compiled.dual_rows.items()
        }
        return Solution(self._compiled.values(v, theta), duals, sign * value, point.solver)


def limited(numbers: Numbers) -> bool:
    """Whether every variable has two bounds."""
    return bool(np.all(np.isfinite(numbers.lower)) and np.all(np.isfinite(numbers.upper)))


def in_box(numbers: Numbers) -> Numbers:
    """The same within plus or minus BOX: network rows that are not in use yet may be all that bounds a program."""
    return replace(numbers, lower=np.maximum(numbers.lower, -BOX), upper=np.minimum(numbers.upper, BOX))


def at_box(v: FloatArray) -> bool:
    """Whether a solution inside the box is at its end: nothing but the box bounds the program."""
    return bool(np.any(np.abs(v) >= BOX * (1 - 1e-6)))


def gradients(n: int, width: int, powers: tuple[AffineMap, AffineMap], slopes: list[Slopes], theta: FloatArray) -> Rows:
    """Gradients of limited quantities in ``width`` variables, for gains that change with the parameters."""
    if all(p.gain.one_each or p.gain.empty for p in powers) and len(slopes) * width <= FEW_ENTRIES:
        whole = np.zeros((len(slopes), width))
        for side, power in enumerate(powers):
            if not power.gain.empty:
                rows = Rows.of([s[side] for s in slopes], n)
                place = rows.row * width + power.gain.col[rows.col]
                gain = power.gain.data(theta)[rows.col]
                whole += np.bincount(place, rows.data * gain, whole.size).reshape(whole.shape)
        return Rows.from_dense(whole)
    total: Any = 0.0
    for side, power in enumerate(powers):
        if not power.gain.empty:
            total = total + Rows.of([s[side] for s in slopes], n).sparse() @ power.gain.at(theta)
    matrix = sp.csr_array(total) if sp.issparse(total) else sp.csr_array((len(slopes), width))
    matrix.eliminate_zeros()
    return Rows.from_sparse(matrix)


def slopes_of(grid: Grid, rows: Sequence[int]) -> Iterator[tuple[int, Slopes]]:
    """Change of limited quantities per kW of flexible import and of export: participants and slopes of each."""
    if len(rows):
        for k, *both in zip(rows, *grid.sensitivity(np.array(rows, dtype=np.intp)), strict=True):
            imports, exports = ((np.flatnonzero(slope), slope[np.flatnonzero(slope)]) for slope in both)
            yield k, (imports, exports)
