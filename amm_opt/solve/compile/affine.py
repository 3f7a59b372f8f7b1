"""Matrices and maps whose numbers are affine in the parameters of a program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import BoolArray, FloatArray, IntArray
from amm_opt.solve.compile.rows import Rows


@dataclass(frozen=True, eq=False)
class Terms:
    """A matrix as a sum of terms: ``value * theta[parameter]`` at (``row``, ``col``); several may share a place.

    theta is the parameter vector with a 1 behind it.

    Attributes:
        shape: rows, columns and length of theta.
    """

    row: IntArray
    col: IntArray
    parameter: IntArray
    value: FloatArray
    shape: tuple[int, int, int]

    @classmethod
    def none(cls, shape: tuple[int, int, int]) -> Terms:
        """Zero."""
        index = np.zeros(0, dtype=np.intp)
        return cls(index, index, index, np.zeros(0), shape)

    @classmethod
    def stacked(cls, parts: Sequence[Terms]) -> Terms:
        """One above the other; all have the same columns and parameters."""
        first, whole = 0, cls.none((sum(part.shape[0] for part in parts), *parts[0].shape[1:]))
        for part in parts:
            whole = whole.plus(replace(part, row=part.row + first))
            first += part.shape[0]
        return whole

    @property
    def fixed(self) -> BoolArray:
        """Which terms depend on no parameter."""
        return np.asarray(self.parameter == self.shape[2] - 1)

    def pick(self, which: BoolArray) -> Terms:
        """Only these terms."""
        return Terms(self.row[which], self.col[which], self.parameter[which], self.value[which], self.shape)

    def placed(self, rows: IntArray, cols: IntArray, shape: tuple[int, int]) -> Terms:
        """Row i moved to ``rows[i]`` and column j to ``cols[j]`` of a matrix of ``shape``; -1 leaves it out."""
        row, col = rows[self.row], cols[self.col]
        new = Terms(row, col, self.parameter, self.value, (*shape, self.shape[2]))
        return new.pick((row >= 0) & (col >= 0))

    def renumbered(self, cols: IntArray, rows: IntArray | None = None) -> Terms:
        """Column j moved to ``cols[j]`` and row i to ``rows[i]``; -1 leaves it out, and the last columns stay last."""
        kept = np.arange(self.shape[0]) if rows is None else rows
        return self.placed(kept, cols, (int(np.max(kept, initial=-1)) + 1, int(cols[-1]) + 1))

    def plus(self, other: Terms) -> Terms:
        """The sum of both, in the shape of this one."""
        return Terms(
            np.concatenate([self.row, other.row]),
            np.concatenate([self.col, other.col]),
            np.concatenate([self.parameter, other.parameter]),
            np.concatenate([self.value, other.value]),
            self.shape,
        )

    def times(self, factor: Terms) -> Terms:
        """Row i times the number in row i of ``factor``; either of them has no parameters."""
        i, j = pairs(factor.row, self.row)
        parameter = np.where(self.fixed[j], factor.parameter[i], self.parameter[j])
        return Terms(self.row[j], self.col[j], parameter, factor.value[i] * self.value[j], self.shape)

    def substituted(self, number: IntArray, definition: Terms) -> Terms:
        """Column j replaced by row ``number[j]`` of ``definition`` (-1: it stays); its entries have no parameters."""
        place = number[self.col]
        inside, at = self.pick(place >= 0), place[place >= 0]
        i, j = pairs(at, definition.row)
        value = inside.value[i] * definition.value[j]
        new = Terms(inside.row[i], definition.col[j], definition.parameter[j], value, self.shape)
        return self.pick(place < 0).plus(new)


def pairs(left: IntArray, right: IntArray) -> tuple[IntArray, IntArray]:
    """All i and j with ``left[i] == right[j]``."""
    order = np.argsort(right, kind="stable")
    first = np.searchsorted(right[order], left, side="left")
    count = np.searchsorted(right[order], left, side="right") - first
    i = np.repeat(np.arange(len(left)), count)
    return i, order[np.arange(len(i)) + np.repeat(first - np.cumsum(count) + count, count)]


def numbered(kept: BoolArray) -> IntArray:
    """New numbers of those that are kept; -1 for the others."""
    return np.where(kept, np.cumsum(kept) - 1, -1)


class Entries:
    """The map from the parameter vector to some entries of a matrix, sparse; without it where each has one term."""

    def __init__(self, matrix: sp.csr_array) -> None:
        self.matrix = matrix
        one_each = np.array_equal(matrix.indptr, np.arange(matrix.shape[0] + 1))
        self._one_each = (matrix.data, matrix.indices.astype(np.intp)) if one_each else None

    def at(self, theta: FloatArray) -> FloatArray:
        """Their values."""
        if self._one_each is None:
            return np.asarray(self.matrix @ theta)
        factor, parameter = self._one_each
        return np.asarray(factor * theta[parameter])


class AffineMatrix:
    """A sparse matrix (or, with one column, a vector) whose entries are affine in the parameter vector."""

    def __init__(self, terms: Terms) -> None:
        m, n, length = terms.shape
        place, entry = np.unique(terms.row * n + terms.col, return_inverse=True)
        self.shape = (m, n)
        self.row, self.col = place // n, place % n
        self._map = Entries(sp.csr_array((terms.value, (entry, terms.parameter)), shape=(len(place), length)))
        self.fixed = np.ones(len(place), dtype=bool)
        self.fixed[entry[~terms.fixed]] = False
        self.constant = bool(self.fixed.all())
        self._indptr = np.searchsorted(self.row, np.arange(m + 1))
        self._fixed = self.without_parameters() if self.constant else None
        self.one_each = np.array_equal(self.row, np.arange(m))
        self.unit = self._fixed is not None and self.one_each and bool(np.all(self._fixed == 1.0))

    @property
    def empty(self) -> bool:
        """Whether it is zero whatever the parameters."""
        return len(self.row) == 0

    def entries(self, entries: IntArray) -> Entries:
        """The map from the parameter vector to these entries."""
        return Entries(sp.csr_array(self._map.matrix[entries]))

    def without_parameters(self) -> FloatArray:
        """Values of the structural entries where all parameters are zero."""
        return np.asarray(self._map.matrix[:, [-1]].toarray().ravel())

    def data(self, theta: FloatArray) -> FloatArray:
        """Values of the structural entries at ``theta``."""
        return self._fixed if self._fixed is not None else self._map.at(theta)

    def at(self, theta: FloatArray) -> sp.csr_array:
        """The matrix at ``theta``."""
        return sp.csr_array((self.data(theta), self.col, self._indptr), shape=self.shape)

    def rows(self, theta: FloatArray) -> Rows:
        """The same, light."""
        return Rows(self._indptr, self.col, self.data(theta), self.shape[1])

    def times(self, theta: FloatArray, v: FloatArray) -> FloatArray:
        """The matrix at ``theta`` times ``v``."""
        if self.empty:
            return np.zeros(self.shape[0])
        if self.unit:
            return np.asarray(v[self.col])
        weights: FloatArray = self.data(theta) * v[self.col]
        if self.one_each:
            return weights
        return np.asarray(np.bincount(self.row, weights=weights, minlength=self.shape[0]), dtype=float)

    def vector(self, theta: FloatArray) -> FloatArray:
        """A one-column matrix as a dense vector."""
        if self.one_each:
            return self.data(theta).copy()
        out = np.zeros(self.shape[0])
        out[self.row] = self.data(theta)
        return out


class AffineMap:
    """An expression that is affine in the variables: gain @ v + base."""

    def __init__(self, terms: Terms) -> None:
        """From terms whose last column stands for 1."""
        m, width, _ = terms.shape
        last = terms.col == width - 1
        body, every = np.arange(width), np.arange(m)
        body[-1] = -1
        self.gain = AffineMatrix(terms.pick(~last).placed(every, body, (m, width - 1)))
        self.base = AffineMatrix(terms.pick(last).placed(every, np.zeros(width, dtype=np.intp), (m, 1)))

    def at(self, theta: FloatArray, v: FloatArray) -> FloatArray:
        """Its value."""
        moved = self.gain.times(theta, v)
        return moved if self.base.empty else moved + self.base.vector(theta)
