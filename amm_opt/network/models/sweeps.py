"""Sums over subtrees and along paths, as differences of cumulative sums over a depth-first order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from amm_opt.arrays import IntArray


class Forest:
    """Trees in depth-first order: everything at and below node i is ``i .. end[i] - 1``.

    Args:
        end: (n,) one past the last node below each node.
    """

    def __init__(self, end: IntArray) -> None:
        self._end = end
        self._leaving = np.argsort(end, kind="stable")
        self._n_left = np.searchsorted(end[self._leaving], np.arange(len(end)), side="right")

    def below(self, values: NDArray[Any]) -> NDArray[Any]:
        """Sum of ``values`` over the subtree of every node (last axis)."""
        total = np.zeros((*values.shape[:-1], values.shape[-1] + 1), dtype=values.dtype)
        np.cumsum(values, axis=-1, out=total[..., 1:])
        return np.asarray(total.take(self._end, axis=-1) - total[..., :-1])

    def along(self, values: NDArray[Any]) -> NDArray[Any]:
        """Sum of ``values`` over the path from the root to every node (last axis)."""
        left = np.zeros((*values.shape[:-1], values.shape[-1] + 1), dtype=values.dtype)
        np.cumsum(values.take(self._leaving, axis=-1), axis=-1, out=left[..., 1:])
        return np.asarray(np.cumsum(values, axis=-1) - left.take(self._n_left, axis=-1))
