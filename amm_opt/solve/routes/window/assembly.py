"""The numbers of a program over a horizon, put together from those of its intervals and of what couples them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.program import HorizonProgram
from amm_opt.solve.compile import CompiledProgram, Numbers, Rows
from amm_opt.solve.routes.window.totals import Totals


@dataclass(frozen=True, eq=False)
class Assembled:
    """The whole program of a window without its network.

    Its variables are those of each interval, then those of the coupling, then the stores' levels.

    Attributes:
        store_at: (H, B) where the levels of each store are among the variables.
        coupling_rows: the coupling's own constraints among the rows.
        totals: variables that totals were put in place of.
    """

    numbers: Numbers
    store_at: Mapping[str, IntArray]
    coupling_rows: slice
    totals: Totals | None

    def whole(self, v: FloatArray) -> FloatArray:
        """The variables, with those that no solver saw."""
        return v if self.totals is None else self.totals.filled(v)


@dataclass
class _RowBuilder:
    """Rows lower <= A v <= upper that are put together piece by piece."""

    row: list[IntArray] = field(default_factory=list)
    col: list[IntArray] = field(default_factory=list)
    data: list[FloatArray] = field(default_factory=list)
    lower: list[FloatArray] = field(default_factory=list)
    upper: list[FloatArray] = field(default_factory=list)
    count: int = 0

    def limits(self, lower: FloatArray, upper: FloatArray) -> int:
        """Open rows with these limits; returns the number of the first."""
        self.lower.append(lower)
        self.upper.append(upper)
        self.count += len(lower)
        return self.count - len(lower)

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
        ends = [np.concatenate(side) if side else np.zeros(0) for side in (self.lower, self.upper)]
        return Rows.from_sparse(matrix), ends[0], ends[1]


class Assembler:
    """Puts the numbers of windows together; the parts are compiled once, whatever the length of the horizon."""

    def __init__(self, program: HorizonProgram, interval: CompiledProgram, coupling: CompiledProgram) -> None:
        self._program, self._interval, self._coupling = program, interval, coupling

    def assembled(self, thetas: Sequence[FloatArray], values: Mapping[str, Any], dt_h: float) -> Assembled:
        """The numbers of one window.

        Args:
            thetas: the parameter vectors of the intervals, and last of the coupling.
            values: with the bounds and the initial level of each store.
        """
        steps, size = len(thetas) - 1, self._interval.size
        parts = [*(self._interval.numbers(theta) for theta in thetas[:-1]), self._coupling.numbers(thetas[-1])]
        builder = _RowBuilder()
        for k, part in enumerate(parts):
            first = builder.limits(part.row_lower, part.row_upper)
            builder.entries(part.rows.row + first, part.rows.col + k * size, part.rows.data)
        coupling_rows = slice(first, builder.count)
        col = [
            self._add_total(builder, value, total.name(), thetas, dt_h) for value, total in self._program.totals.items()
        ]
        defined = slice(coupling_rows.stop, builder.count)
        q, lower, upper = (np.concatenate([getattr(p, n) for p in parts]) for n in ("q", "lower", "upper"))
        width = steps * size + self._coupling.size
        store_at: dict[str, IntArray] = {}
        for name, gain in self._program.stores.items():
            count = self._program.interval.values[gain].size
            store_at[name] = width + np.arange(steps * count).reshape(steps, count)
            width += steps * count
            self._add_store(builder, gain, store_at[name], np.asarray(values[f"{name}_initial"]), thetas, dt_h)
            low, high = (np.broadcast_to(values[f"{name}_{side}"], (steps, count)) for side in ("lower", "upper"))
            q, lower, upper = (np.append(a, b) for a, b in ((q, np.zeros(low.size)), (lower, low), (upper, high)))
        hessian, matrix = _curvature(parts, width)
        offset = sum(p.offset for p in parts)
        numbers = Numbers(q, offset, hessian, matrix, lower, upper, *builder.rows(width))
        if (totals := Totals.of(numbers, defined, np.concatenate([np.zeros(0, dtype=np.intp), *col]))) is not None:
            numbers = totals.put_in_place(numbers, defined)
        return Assembled(self._without_idle(numbers, thetas), store_at, coupling_rows, totals)

    def _add_total(
        self, builder: _RowBuilder, value: str, total: str, thetas: Sequence[FloatArray], dt_h: float
    ) -> IntArray:
        """total - dt_h sum_k value_k = 0; the total's columns."""
        inner, outer = self._interval.value_map(value), self._coupling.value_map(total)
        base = dt_h * sum(inner.base.vector(t) for t in thetas[:-1]) - outer.base.vector(thetas[-1])
        first = builder.limits(base, base)
        gain = outer.gain
        offset = (len(thetas) - 1) * self._interval.size
        builder.entries(gain.row + first, gain.col + offset, gain.data(thetas[-1]))
        for k, theta in enumerate(thetas[:-1]):
            column = inner.gain.col + k * self._interval.size
            builder.entries(inner.gain.row + first, column, -dt_h * inner.gain.data(theta))
        return np.asarray(gain.col + offset)

    def _add_store(
        self,
        builder: _RowBuilder,
        value: str,
        at: IntArray,
        initial: FloatArray,
        thetas: Sequence[FloatArray],
        dt_h: float,
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

    def _without_idle(self, numbers: Numbers, thetas: Sequence[FloatArray]) -> Numbers:
        """Variables that nothing depends on are fixed."""
        used = numbers.q != 0
        used |= np.bincount(numbers.rows.col, minlength=len(used)) > 0
        if numbers.matrix is not None:
            used |= np.diff(numbers.matrix.indptr) > 0
        elif numbers.hessian is not None:
            used |= numbers.hessian != 0
        for k, theta in enumerate(thetas[:-1]):
            for power in chain.from_iterable(self._interval.powers):
                used[power.gain.col[power.gain.data(theta) != 0] + k * self._interval.size] = True
        still = np.clip(0.0, numbers.lower, numbers.upper)
        lower, upper = np.where(used, numbers.lower, still), np.where(used, numbers.upper, still)
        return replace(numbers, lower=lower, upper=upper)


def _curvature(parts: Sequence[Numbers], width: int) -> tuple[FloatArray | None, sp.csr_array | None]:
    """Diagonal of the quadratic term where all parts have only that, else its matrix."""
    if all(p.matrix is None for p in parts):
        diagonal = np.concatenate([p.hessian for p in parts if p.hessian is not None])
        return np.append(diagonal, np.zeros(width - len(diagonal))), None
    blocks = [sp.diags_array(p.hessian) if p.matrix is None else p.matrix for p in parts]
    used = sum(len(p.q) for p in parts)
    return None, sp.csr_array(sp.block_diag([*blocks, sp.csr_array((width - used, width - used))]))
