"""The bounds of a box as matrices and cones: what a program on the model ``certified`` is solved with."""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.network.models.conic import ConicForm


@dataclass(frozen=True, eq=False)
class BoxForm(ConicForm):
    """As ``ConicForm``, over the unknowns u = (PU, PL, QU, QL, wL, wU, l, s, t) of ``Certified``.

    ``active`` and ``reactive`` take the net injections of the lowest corner and then those of the highest. ``voltage``
    are the lowest squared voltages, and ``metered`` the largest active power of metered branches.

    Attributes:
        high: the highest squared voltages.
        least: (A, k) the smallest active power of metered branches.
        covers: covers @ u >= 0.
        rated: number of rated branches.
    """

    high: slice
    least: sp.csr_array
    covers: sp.csr_array
    rated: int

    @property
    def rated_from(self) -> int:
        """Place of the first rating among the limited quantities, behind the voltages."""
        return 2 * super().rated_from

    @property
    def _rows(self) -> list[tuple[float, sp.csr_array, FloatArray, IntArray]]:
        """Quantities as matrix @ u + base: 1 for an upper limit and -1 for a lower one, and places of the limits."""
        eye, n, metered = sp.eye_array(self.size, format="csr"), super().rated_from, self.metered.shape[0]
        at, of_metered = np.arange(n), self.rated_from + self.rated + np.arange(metered)
        nothing, none = np.zeros(n), np.zeros(metered)
        return [
            (-1.0, eye[self.voltage], nothing, at),
            (1.0, eye[self.high], nothing, n + at),
            (1.0, self.amperes, self.amperes_base, self.rated_from + self.of_amperes),
            (1.0, self.metered, none, of_metered),
            (-1.0, self.least, none, of_metered + metered),
        ]

    def inequalities(self, lower: FloatArray, upper: FloatArray) -> tuple[sp.csr_array, FloatArray]:
        """Limits (m,) as rows ``matrix @ u <= rhs``, all but those of cones."""
        rows, rhs = [-self.covers], [np.zeros(self.covers.shape[0])]
        for side, matrix, base, of in self._rows:
            limit = (upper if side > 0 else lower)[of]
            some = np.isfinite(limit)
            rows.append(side * matrix[some])
            rhs.append(side * (limit - base)[some])
        return sp.csr_array(sp.vstack(rows)), np.concatenate(rhs)

    def limited(self, u: cp.Variable, lower: cp.Expression, upper: cp.Expression) -> list[cp.Constraint]:
        """The same in cvxpy; a limit that is infinite is none."""
        kept: list[cp.Constraint] = [self.covers @ u >= 0]
        for side, matrix, base, of in self._rows:
            if len(of):
                value = matrix @ u + base
                kept.append(value <= upper[of] if side > 0 else value >= lower[of])
        return kept

    def gap(self, u: FloatArray, n_buses: int) -> FloatArray:
        """(n_buses,) zeros: bounds need not be tight to hold."""
        return np.zeros(n_buses)
