"""Sparse rows that are made anew for every interval: less overhead than a general sparse matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import FloatArray, IntArray

LARGE = 20_000_000
FILLED = 0.1
"""Rows with more than this share of entries are better kept dense."""


@dataclass(frozen=True, eq=False)
class Rows:
    """K rows over ``width`` variables: row k has ``data[start[k] : start[k + 1]]`` in the columns ``col[...]``.

    No entry is stored twice. ``rows @ x`` and ``z @ rows`` work with vectors.
    """

    start: IntArray
    col: IntArray
    data: FloatArray
    width: int

    __array_ufunc__ = None

    @classmethod
    def of(cls, parts: Sequence[tuple[IntArray, FloatArray]], width: int) -> Rows:
        """From columns and values of each row."""
        start = np.zeros(len(parts) + 1, dtype=np.intp)
        if not parts:
            return cls(start, np.zeros(0, dtype=np.intp), np.zeros(0), width)
        np.cumsum([len(c) for c, _ in parts], out=start[1:])
        return cls(start, np.concatenate([c for c, _ in parts]), np.concatenate([d for _, d in parts]), width)

    @classmethod
    def from_dense(cls, matrix: FloatArray) -> Rows:
        """From a (K, N) array."""
        row, col = np.nonzero(matrix)
        return cls(np.searchsorted(row, np.arange(len(matrix) + 1)), col, matrix[row, col], matrix.shape[1])

    @classmethod
    def from_sparse(cls, matrix: sp.csr_array) -> Rows:
        """From a scipy matrix without explicit zeros."""
        return cls(matrix.indptr.astype(np.intp), matrix.indices.astype(np.intp), matrix.data, matrix.shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """(K, N)."""
        return len(self.start) - 1, self.width

    def __len__(self) -> int:
        return len(self.start) - 1

    @cached_property
    def row(self) -> IntArray:
        """Row of every entry."""
        return np.repeat(np.arange(len(self)), np.diff(self.start))

    def __matmul__(self, x: FloatArray) -> FloatArray:
        return _sums(self.row, self.data * x[self.col], len(self))

    def __rmatmul__(self, z: FloatArray) -> FloatArray:
        return _sums(self.col, self.data * z[self.row], self.width)

    def columns(self, free: IntArray) -> Rows:
        """Only these columns."""
        if len(free) == self.width:
            return self
        if not len(self.data):
            return Rows(self.start, self.col, self.data, len(free))
        place = np.full(self.width, -1, dtype=np.intp)
        place[free] = np.arange(len(free))
        col = place[self.col]
        inside = np.flatnonzero(col >= 0)
        start = np.zeros(len(self) + 1, dtype=np.intp)
        np.cumsum(np.bincount(self.row[inside], minlength=len(self)), out=start[1:])
        return Rows(start, col[inside], self.data[inside], len(free))

    def filled(self) -> tuple[Rows, IntArray]:
        """Only the rows that have an entry: they and their numbers."""
        live = np.flatnonzero(np.diff(self.start))
        if len(live) == len(self):
            return self, live
        return Rows(np.concatenate([[0], self.start[live + 1]]), self.col, self.data, self.width), live

    def square_sums(self, weight: FloatArray) -> FloatArray:
        """(K,) sum of weight times squared entries of each row."""
        return _sums(self.row, self.data**2 * weight[self.col], len(self))

    @cached_property
    def _pairs(self) -> tuple[IntArray, IntArray, FloatArray]:
        """All pairs of entries in the same column: position in the K x K matrix, column, product."""
        order = np.argsort(self.col, kind="stable")
        col, row, data = self.col[order], self.row[order], self.data[order]
        count = np.bincount(col, minlength=self.width)
        first = (np.cumsum(count) - count)[col]
        many = count[col]
        left = np.repeat(np.arange(len(col)), many)
        right = np.arange(len(left)) - np.repeat(np.cumsum(many) - many, many) + np.repeat(first, many)
        return row[left] * len(self) + row[right], col[left], data[left] * data[right]

    @property
    def n_pairs(self) -> int:
        """Number of pairs of entries in the same column."""
        return int((np.bincount(self.col, minlength=self.width).astype(float) ** 2).sum())

    def gram(self, weight: FloatArray) -> FloatArray:
        """(K, K) rows diag(weight) rows'."""
        place, col, product = self._pairs
        k = len(self)
        return _sums(place, product * weight[col], k * k).reshape(k, k)

    def sparse_gram(self, weight: FloatArray) -> sp.csc_array:
        """The same, sparse."""
        matrix = self.sparse()
        return sp.csc_array(matrix @ sp.csr_array(sp.diags_array(weight)) @ matrix.T)

    def handy(self) -> Rows | FloatArray:
        """A dense array where that is faster to compute with: not large, and well filled."""
        size = len(self) * self.width
        return self.dense() if size <= LARGE and len(self.data) > FILLED * size else self

    def dense(self) -> FloatArray:
        """(K, N) array."""
        out = np.zeros(self.shape)
        out[self.row, self.col] = self.data
        return out

    def sparse(self) -> sp.csr_array:
        """The same as a scipy matrix."""
        return sp.csr_array((self.data, self.col, self.start), shape=self.shape)


def _sums(place: IntArray, values: FloatArray, size: int) -> FloatArray:
    """Sum of the values at each place; numpy's own returns integers where there is nothing to sum."""
    return np.asarray(np.bincount(place, values, size), dtype=np.float64)


def stacked(first: Rows, second: Rows) -> Rows:
    """One above the other."""
    if len(first) == 0:
        return second
    start = np.concatenate([first.start, first.start[-1] + second.start[1:]])
    parts = (np.concatenate([first.col, second.col]), np.concatenate([first.data, second.data]))
    return Rows(start, *parts, first.width)
