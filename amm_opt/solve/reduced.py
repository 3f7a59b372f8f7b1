"""One interval's problem with only the variables that can move: what solvers get, and the point they answer with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from amm_opt.solve.numbers import Numbers
from amm_opt.solve.rows import Rows, stacked

FloatArray = NDArray[np.float64]

FIXED = 1e-12
"""A variable whose bounds are closer than this is taken out of the problem."""
FEW_ROWS = 20_000
"""The dual Newton method is meant for at most this many rows."""


@dataclass(frozen=True, eq=False)
class Point:
    """A solution: variables, multipliers of own rows and of network rows, or why there is none.

    Multipliers follow stationarity P v + q = rows' y + network' z + (bound multipliers).
    """

    v: FloatArray
    row_dual: FloatArray
    network_dual: FloatArray
    solver: str = ""
    problem: str = ""


def failed(reason: str) -> Point:
    """No solution."""
    nothing = np.zeros(0)
    return Point(nothing, nothing, nothing, problem=reason)


@dataclass(frozen=True, eq=False)
class Reduced:
    """The problem over the variables that are free to move; ``numbers`` is what it was made of."""

    numbers: Numbers
    free: NDArray[np.intp]
    base: FloatArray
    q: FloatArray
    hessian: FloatArray | sp.csc_array | None
    own: Rows
    network: Rows
    row_lower: FloatArray
    row_upper: FloatArray
    lower: FloatArray
    upper: FloatArray
    live: NDArray[np.intp]
    n_network: int

    @property
    def separable(self) -> bool:
        """Whether the dual Newton method applies: strictly convex in every variable, few rows."""
        strict = isinstance(self.hessian, np.ndarray) and bool(np.all(self.hessian > 0))
        return strict and len(self.row_lower) <= FEW_ROWS

    @property
    def rows(self) -> sp.csr_array:
        """All rows, sparse."""
        return self.all_rows.sparse()

    @cached_property
    def all_rows(self) -> Rows:
        """All rows, light."""
        return stacked(self.own, self.network)

    @property
    def n_own(self) -> int:
        """Number of the program's own rows."""
        return len(self.own)

    @property
    def sides(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
        """Which rows are equalities, have an upper and have a lower limit."""
        equal = self.row_lower == self.row_upper
        return equal, np.isfinite(self.row_upper) & ~equal, np.isfinite(self.row_lower) & ~equal

    def point(self, x: FloatArray, dual: FloatArray, solver: str) -> Point:
        """Back to all variables and rows."""
        v = self.base.copy()
        v[self.free] = np.minimum(np.maximum(x, self.lower), self.upper)
        network_dual = np.zeros(self.n_network)
        network_dual[self.live] = dual[self.n_own :]
        return Point(v, dual[: self.n_own], network_dual, solver)


def reduced(numbers: Numbers, network: Rows, lower: FloatArray, upper: FloatArray) -> Reduced:
    """Take out fixed variables and empty rows; ``network`` holds the network rows (K, N), limits are (K,)."""
    moving = numbers.upper - numbers.lower > FIXED
    free = np.flatnonzero(moving)
    base = np.where(moving, 0.0, numbers.lower)
    inside, live = network.columns(free).filled()
    shift = np.concatenate([numbers.rows @ base, (network @ base)[live]]) if base.any() else 0.0
    hessian: FloatArray | sp.csc_array | None
    q = numbers.q
    if numbers.matrix is not None:
        q = q + numbers.matrix @ base
        hessian = sp.csc_array(numbers.matrix[free][:, free])
    else:
        assert numbers.hessian is not None
        hessian = numbers.hessian[free] if np.any(numbers.hessian[free]) else None
    return Reduced(
        numbers,
        free,
        base,
        q[free],
        hessian,
        numbers.rows.columns(free),
        inside,
        np.concatenate([numbers.row_lower, lower[live]]) - shift,
        np.concatenate([numbers.row_upper, upper[live]]) - shift,
        numbers.lower[free],
        numbers.upper[free],
        live,
        len(network),
    )
