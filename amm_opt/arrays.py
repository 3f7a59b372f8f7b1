"""Array types and the two directions, for every room."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]

DIRECTIONS = ("import", "export")
"""The order of rows where an array holds both directions."""
