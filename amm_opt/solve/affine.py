"""Matrices and maps whose numbers are affine in the parameters of a program."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from amm_opt.solve.rows import Rows

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]


class AffineMatrix:
    """A sparse matrix (or, with one column, a vector) whose entries are affine in the parameter vector."""

    def __init__(self, row: IntArray, col: IntArray, tensor: sp.csr_array, shape: tuple[int, int]) -> None:
        order = np.lexsort((col, row))
        self.row, self.col, self.shape = row[order], col[order], shape
        self._map = sp.csr_array(tensor[order])
        self.constant = bool(self._map[:, :-1].nnz == 0) if len(row) else True
        self._indptr = np.searchsorted(self.row, np.arange(shape[0] + 1))
        self._fixed = self._map[:, [-1]].toarray().ravel() if self.constant else None
        self.one_each = len(row) == shape[0] and np.array_equal(self.row, np.arange(shape[0]))
        self._unit = self._fixed is not None and self.one_each and bool(np.all(self._fixed == 1.0))

    @property
    def empty(self) -> bool:
        """Whether it is zero whatever the parameters."""
        return len(self.row) == 0

    def part(self, rows: NDArray[np.bool_]) -> AffineMatrix:
        """Only these rows."""
        pick = np.flatnonzero(rows[self.row])
        number = np.cumsum(rows) - 1
        shape = (int(rows.sum()), self.shape[1])
        return AffineMatrix(number[self.row[pick]], self.col[pick], self._map[pick], shape)

    def entries(self, entries: IntArray) -> sp.csr_array:
        """The map from the parameter vector to these entries."""
        return sp.csr_array(self._map[entries])

    def data(self, theta: FloatArray) -> FloatArray:
        """Values of the structural entries at ``theta``."""
        return self._fixed if self._fixed is not None else np.asarray(self._map @ theta)

    def fixed(self, entries: IntArray) -> NDArray[np.bool_]:
        """Which of these entries do not depend on the parameters."""
        return np.asarray(np.diff(sp.csr_array(self._map[entries][:, :-1]).indptr) == 0)

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
        if self._unit:
            return v[self.col]
        weights = self.data(theta) * v[self.col]
        if self.one_each:
            return weights
        return np.bincount(self.row, weights=weights, minlength=self.shape[0]).astype(float, copy=False)

    def vector(self, theta: FloatArray) -> FloatArray:
        """A one-column matrix as a dense vector."""
        if self.one_each:
            return self.data(theta).copy()
        out = np.zeros(self.shape[0])
        out[self.row] = self.data(theta)
        return out


@dataclass(frozen=True, eq=False)
class AffineMap:
    """An expression that is affine in the variables: gain @ v + base."""

    gain: AffineMatrix
    base: AffineMatrix

    def at(self, theta: FloatArray, v: FloatArray) -> FloatArray:
        """Its value."""
        moved = self.gain.times(theta, v)
        return moved if self.base.empty else moved + self.base.vector(theta)
