"""Rows of limited quantities in a program's variables."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.grid import Grid
from amm_opt.solve.compile import CompiledProgram, Powers, Rows

SparseRow = tuple[IntArray, FloatArray]
"""Places and values."""
FEW_ENTRIES = 100_000


def gradients_of(compiled: CompiledProgram, grid: Grid) -> list[Gradients]:
    """Of every injection."""
    sensitivities = Sensitivities(grid)
    return [Gradients(sensitivities, grid.n, compiled.size, powers) for powers in compiled.powers]


class Sensitivities:
    """Change of limited quantities per kW of flexible import and of export, each once read and then kept."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._known: dict[int, tuple[SparseRow, SparseRow]] = {}

    def of(self, limits: Sequence[int]) -> list[tuple[SparseRow, SparseRow]]:
        """Participants and sensitivities of each."""
        if new := [k for k in limits if k not in self._known]:
            for k, *both in zip(new, *self._grid.sensitivity(np.array(new, dtype=np.intp)), strict=True):
                imports, exports = ((np.flatnonzero(one), one[np.flatnonzero(one)]) for one in both)
                self._known[k] = (imports, exports)
        return [self._known[k] for k in limits]


class Gradients:
    """Gradients of limited quantities in a program's variables, for one injection.

    They are kept where they do not change with the parameters.
    """

    def __init__(self, sensitivities: Sensitivities, n: int, size: int, powers: Powers) -> None:
        self._sensitivities, self._n, self._size, self._powers = sensitivities, n, size, powers
        self._constant = all(power.gain.constant for power in powers)
        self._known: dict[int, SparseRow] = {}

    def at(self, theta: FloatArray, limits: Sequence[int]) -> list[SparseRow]:
        """The gradients of these limits at the parameters ``theta``."""
        if not limits:
            return []
        if not self._constant:
            whole = self._together(theta, limits)
            return [(whole.col[a:b], whole.data[a:b]) for a, b in itertools.pairwise(whole.start.tolist())]
        if new := [k for k in limits if k not in self._known]:
            self._known.update(
                (k, self._one(theta, both)) for k, both in zip(new, self._sensitivities.of(new), strict=True)
            )
        return [self._known[k] for k in limits]

    def _one(self, theta: FloatArray, sensitivity: tuple[SparseRow, SparseRow]) -> SparseRow:
        total = np.zeros(self._size)
        for (who, values), power in zip(sensitivity, self._powers, strict=True):
            everyone = np.zeros(self._n)
            everyone[who] = values
            gain = power.gain
            total += np.bincount(gain.col, gain.data(theta) * everyone[gain.row], len(total))
        place = np.flatnonzero(total)
        return place, total[place]

    def _together(self, theta: FloatArray, limits: Sequence[int]) -> Rows:
        """All at once, which takes less time where few are kept."""
        sensitivities = self._sensitivities.of(limits)
        gains = [
            (power.gain, Rows.of([both[side] for both in sensitivities], self._n))
            for side, power in enumerate(self._powers)
            if not power.gain.empty
        ]
        count, width = len(limits), self._size
        if all(gain.one_each for gain, _ in gains) and count * width <= FEW_ENTRIES:
            dense = np.zeros((count, width))
            for gain, rows in gains:
                place = rows.row * width + gain.col[rows.col]
                values = rows.data * gain.data(theta)[rows.col]
                dense += np.bincount(place, values, dense.size).reshape(dense.shape)
            return Rows.from_dense(dense)
        total: Any = sum((rows.sparse() @ gain.at(theta) for gain, rows in gains), start=sp.csr_array((count, width)))
        matrix = sp.csr_array(total)
        matrix.eliminate_zeros()
        return Rows.from_sparse(matrix)
