"""Step 2: variables and rows that no solver needs to see are eliminated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from amm_opt.arrays import BoolArray, FloatArray, IntArray
from amm_opt.solve.compile.affine import AffineMap, AffineMatrix, Entries, Terms, numbered
from amm_opt.solve.compile.canonical import Canonical


@dataclass(frozen=True, eq=False)
class Bounds:
    """Inequalities ``factor * v[variable] + base >= 0``, one variable each."""

    variable: IntArray
    factor: FloatArray
    base: AffineMatrix

    @cached_property
    def _sides(self) -> tuple[IntArray, IntArray]:
        return np.flatnonzero(self.factor > 0), np.flatnonzero(self.factor < 0)

    @cached_property
    def _once(self) -> bool:
        return all(len(np.unique(v)) == len(v) for v in (self.variable[side] for side in self._sides))

    def at(self, theta: FloatArray, size: int) -> tuple[FloatArray, FloatArray]:
        """Lower and upper bounds of all variables."""
        lower, upper = np.full(size, -np.inf), np.full(size, np.inf)
        limit = -self.base.vector(theta) / self.factor
        low, high = self._sides
        if self._once:
            lower[self.variable[low]] = limit[low]
            upper[self.variable[high]] = limit[high]
        else:
            np.maximum.at(lower, self.variable[low], limit[low])
            np.minimum.at(upper, self.variable[high], limit[high])
        return lower, upper


@dataclass(frozen=True, eq=False)
class Squares:
    """Terms 1/2 p t^2 of eliminated variables t, which rows f t + g x + h = 0 define; some rows have no x.

    They are quadratic in theta, and so are put together anew for every interval.

    Attributes:
        curvature: p; ``own``: f; ``base``: h, one each.
        has_x: which rows have an x.
        variable, factor: x and g of those.
    """

    curvature: FloatArray
    own: FloatArray
    base: AffineMatrix
    has_x: IntArray
    variable: IntArray
    factor: Entries

    def add(self, theta: FloatArray, q: FloatArray, hessian: FloatArray) -> float:
        """Add them to a cost and to a diagonal of curvatures; returns the constant."""
        a = -self.factor.at(theta) / self.own[self.has_x]
        slope = self.curvature[self.has_x] * a
        hessian += np.bincount(self.variable, slope * a, len(hessian))
        if self.base.empty:
            return 0.0
        b = -self.base.vector(theta) / self.own
        q += np.bincount(self.variable, slope * b[self.has_x], len(q))
        return float(0.5 * np.sum(self.curvature * b**2))


@dataclass(frozen=True, eq=False)
class Compact:
    """min 1/2 v'Pv + squares + cost(v), subject to bounds and to rows that are zero or not negative.

    Attributes:
        row_number: the number of each canonical row; -1 for those that became bounds or were eliminated.
        maps: the canonical form's, in terms of v.
    """

    quadratic: AffineMatrix
    squares: Squares | None
    cost: AffineMap
    rows: AffineMap
    equality: BoolArray
    row_number: IntArray
    bounds: Bounds
    maps: list[AffineMap]

    @property
    def size(self) -> int:
        """Number of variables v."""
        return self.quadratic.shape[0]

    @cached_property
    def diagonal(self) -> bool:
        """Whether P is, whatever the parameters."""
        return np.array_equal(self.quadratic.row, self.quadratic.col)


def put_back_products(form: Canonical, columns: IntArray, factor: Terms, operand: Terms) -> Canonical:
    """Products factor * operand in place of the variables in ``columns``, which stand for them.

    A variable that has a square or a cost stays, with a row that defines it: its square is not affine in theta.
    """
    product = operand.times(factor)
    number = np.full(form.size + 1, -1, dtype=np.intp)
    number[columns] = np.arange(len(columns))
    used = np.zeros(form.size + 1, dtype=bool)
    used[np.concatenate([form.quadratic.row, form.quadratic.col, form.cost.col])] = True
    defined = _definitions(product, columns, used[columns])
    rows = Terms.stacked([form.rows.substituted(number, product), defined])
    column = numbered((number < 0) | used)
    size = int(column[-1])
    return replace(
        form,
        quadratic=form.quadratic.placed(column, column, (size, size)),
        cost=form.cost.renumbered(column),
        rows=rows.renumbered(column),
        equality=np.append(form.equality, np.ones(defined.shape[0], dtype=bool)),
        maps=[m.substituted(number, product).renumbered(column) for m in form.maps],
    )


def _definitions(product: Terms, columns: IntArray, needed: BoolArray) -> Terms:
    """Rows w - product = 0 of those that are needed."""
    right = product.renumbered(np.arange(product.shape[1]), numbered(needed))
    count = int(needed.sum())
    left = Terms(np.arange(count), columns[needed], np.full(count, product.shape[2] - 1), np.ones(count), right.shape)
    return left.plus(replace(right, value=-right.value))


def eliminate(form: Canonical, asked: Sequence[IntArray]) -> Compact:
    """Inequalities on one variable become bounds; squared variables that one equality defines are eliminated.

    Args:
        asked: rows whose multipliers are wanted, and which therefore define nothing that is eliminated.
    """
    gain, quadratic = AffineMap(form.rows).gain, AffineMatrix(form.quadratic)
    bound = _on_one_variable(gain) & ~form.equality
    lifted = _lifted(form, gain, quadratic, asked)
    kept, row = np.ones(form.size + 1, dtype=bool), ~bound
    kept[gain.col[lifted]] = row[gain.row[lifted]] = False
    column, number, every = numbered(kept), numbered(row), np.arange(form.size + 1)
    size = int(column[-1])
    single, defining = (AffineMap(form.rows.renumbered(every, numbered(r))) for r in (bound, ~bound & ~row))
    return Compact(
        quadratic=AffineMatrix(form.quadratic.placed(column, column, (size, size))),
        squares=_squares(defining, quadratic, column) if len(lifted) else None,
        cost=AffineMap(form.cost.renumbered(column)),
        rows=AffineMap(form.rows.renumbered(column, number)),
        equality=form.equality[row],
        row_number=number,
        bounds=Bounds(column[single.gain.col], single.gain.without_parameters(), single.base),
        maps=[AffineMap(m.renumbered(column)) for m in form.maps],
    )


def _on_one_variable(gain: AffineMatrix) -> BoolArray:
    """Rows with one entry, which depends on no parameter."""
    count, fixed = (np.bincount(gain.row[pick], minlength=gain.shape[0]) for pick in (slice(None), gain.fixed))
    return np.asarray((count == 1) & (fixed == 1))


def _lifted(form: Canonical, gain: AffineMatrix, quadratic: AffineMatrix, asked: Sequence[IntArray]) -> IntArray:
    """The entries, each in an equality of its own, of variables that a(theta) x + b(theta) defines there.

    They occur in nothing else but squares without parameters. That is how cvxpy writes sum_squares(a x + b); putting
    a x + b back keeps the objective separable.
    """
    if not (quadratic.constant and np.array_equal(quadratic.row, quadratic.col)):
        return np.zeros(0, dtype=np.intp)
    candidate = np.bincount(gain.col, minlength=form.size + 1) == 1
    squared = np.zeros(form.size + 1, dtype=bool)
    squared[quadratic.row] = True
    for terms in (form.cost, *form.maps):
        candidate[terms.col] = False
    defines = form.equality & (np.bincount(gain.row, minlength=gain.shape[0]) <= 2)
    for row in asked:
        defines[row] = False
    entry = np.flatnonzero((candidate & squared)[gain.col] & defines[gain.row] & gain.fixed)
    _, first = np.unique(gain.row[entry], return_index=True)
    return entry[first]


def _squares(rows: AffineMap, quadratic: AffineMatrix, column: IntArray) -> Squares:
    """From the rows that define the variables without a new column."""
    new = column[rows.gain.col]
    own, other = np.flatnonzero(new < 0), np.flatnonzero(new >= 0)
    return Squares(
        curvature=quadratic.without_parameters()[np.searchsorted(quadratic.row, rows.gain.col[own])],
        own=rows.gain.without_parameters()[own],
        base=rows.base,
        has_x=rows.gain.row[other],
        variable=new[other],
        factor=rows.gain.entries(other),
    )
