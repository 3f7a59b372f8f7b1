"""Array types and the two directions, for every room."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]
ComplexArray = NDArray[np.complex128]

DIRECTIONS = ("import", "export")
"""The order of rows where an array holds both directions."""
OPPOSITE = {"import": "export", "export": "import"}
SIGN = {"import": 1.0, "export": -1.0}
"""What a kW of each direction adds to the net power that a participant draws."""


def largest_of_each(excess: FloatArray, group: IntArray, count: int = 1) -> list[int]:
    """Positions of the largest in each group, at most so many of each."""
    if len(excess) == 0:
        return []
    order = np.lexsort((-excess, group))
    first = np.concatenate([[True], np.diff(group[order]) != 0])
    rank = np.arange(len(order)) - np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    return [int(i) for i in order[rank < count]]
