"""Totals in place of the variables that stand for them.

Rows on totals and their bounds become rows on the intervals' variables. A program whose intervals are separable, with
totals that have no quadratic term, is then separable as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import BoolArray, FloatArray, IntArray
from amm_opt.solve.compile import Numbers, Rows


@dataclass(frozen=True, eq=False)
class Totals:
    """Variables ``col`` that stand for ``matrix @ v + base`` of the others."""

    col: IntArray
    matrix: sp.csr_array
    base: FloatArray

    @classmethod
    def of(cls, numbers: Numbers, defined: slice, col: IntArray) -> Totals | None:
        """Those that the rows ``defined`` say, v[col] - matrix @ v = base; None where they have a quadratic term."""
        if not len(col) or _curved(numbers)[col].any():
            return None
        rows = sp.csr_array(numbers.rows.sparse()[defined])
        itself = sp.csr_array((np.ones(len(col)), (np.arange(len(col)), col)), shape=rows.shape)
        matrix = sp.csr_array(itself - rows)
        matrix.eliminate_zeros()
        return cls(col, matrix, numbers.row_lower[defined])

    def put_in_place(self, numbers: Numbers, defined: slice) -> Numbers:
        """The numbers without these variables, whose columns stay empty.

        Rows that defined them become their bounds, at the same place; those without any leave.
        """
        rows, place = numbers.rows.sparse(), np.arange(defined.start, defined.stop)
        away, mine = np.ones(len(numbers.rows)), np.zeros(rows.shape[1], dtype=bool)
        away[place], mine[self.col] = 0.0, True
        bounds = sp.csr_array((np.ones(len(place)), (place, self.col)), shape=rows.shape)
        rows = sp.csc_array(sp.diags_array(away) @ rows + bounds)
        on_totals = sp.csr_array(rows[:, self.col])
        rows = sp.csr_array(rows @ sp.diags_array((~mine).astype(float)) + on_totals @ self.matrix)
        rows.eliminate_zeros()
        ends = [numbers.row_lower.copy(), numbers.row_upper.copy()]
        for end, bound in zip(ends, (numbers.lower, numbers.upper), strict=True):
            end[place] = bound[self.col]
            end -= on_totals @ self.base
        kept = np.isfinite(ends[0]) | np.isfinite(ends[1]) | (away > 0)
        price = numbers.q[self.col]
        return replace(
            numbers,
            q=np.where(mine, 0.0, numbers.q) + self.matrix.T @ price,
            offset=numbers.offset + float(price @ self.base),
            lower=np.where(mine, 0.0, numbers.lower),
            upper=np.where(mine, 0.0, numbers.upper),
            rows=Rows.from_sparse(sp.csr_array(rows[kept])),
            row_lower=ends[0][kept],
            row_upper=ends[1][kept],
        )

    def filled(self, v: FloatArray) -> FloatArray:
        """The variables with the values of these."""
        v = v.copy()
        v[self.col] = self.matrix @ v + self.base
        return v


def _curved(numbers: Numbers) -> BoolArray:
    """(N,) which variables have a quadratic term."""
    if numbers.matrix is None:
        assert numbers.hessian is not None
        return np.asarray(numbers.hessian != 0)
    return np.asarray(np.diff(sp.csc_array(abs(numbers.matrix) + abs(numbers.matrix.T)).indptr) > 0)
