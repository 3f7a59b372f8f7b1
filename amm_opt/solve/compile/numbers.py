"""The numbers of one interval's program, without its network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import FloatArray
from amm_opt.solve.compile.rows import Rows


@dataclass(frozen=True, eq=False)
class Numbers:
    """min 1/2 v'Pv + q'v + offset over lower <= v <= upper, row_lower <= rows v <= row_upper; N variables.

    ``hessian`` is the diagonal of P where P is diagonal, else None and ``matrix`` holds P.
    """

    q: FloatArray
    offset: float
    hessian: FloatArray | None
    matrix: sp.csr_array | None
    lower: FloatArray
    upper: FloatArray
    rows: Rows
    row_lower: FloatArray
    row_upper: FloatArray

    def gradient(self, v: FloatArray) -> FloatArray:
        """P v + q."""
        if self.matrix is not None:
            return np.asarray(self.matrix @ v + self.q, dtype=float)
        assert self.hessian is not None
        return self.hessian * v + self.q

    def objective(self, v: FloatArray) -> float:
        """The value at ``v``."""
        if self.matrix is not None:
            return float(0.5 * v @ (self.matrix @ v) + self.q @ v + self.offset)
        assert self.hessian is not None
        return float((0.5 * self.hessian * v + self.q) @ v + self.offset)
