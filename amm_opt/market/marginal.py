"""Marginal prices of one interval: what a kWh more at a participant costs, and which limits make it cost that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amm_opt.arrays import DIRECTIONS, FloatArray, IntArray
from amm_opt.cases import Requests
from amm_opt.grid import Grid
from amm_opt.program import Solution

PARTS = ("energy", "losses", "congestion", "voltage_upper", "voltage_lower")
"""What a price is the sum of."""
ENERGY, LOSSES = "energy", "losses"
"""Values by which a solution says the price at its source, and (2, n) what marginal losses add to everybody's."""


@dataclass(frozen=True, eq=False)
class MarginalPrices:
    """How fast the least cost of a program rises with consumption at each participant, part by part.

    The first row of (2, n) arrays is the price of a kWh of import, with the reactive power that goes with it; the
    second that of a kWh of export, which is paid to the exporter: at unity power factor both are the price of
    consumption at that place. With u_k the limited quantities, mu_k >= 0 the multiplier of a limit that binds, and S_ki
    the change of u_k per kW of import of participant i,

        price_i = energy + losses_i + sum_k +-mu_k S_ki,      + at an upper limit, - at a lower one,

    and for export the same with minus the change per kW of export. On a radial feeder S_ki of a branch is 1 on the path
    to i and 0 elsewhere, over the branch's limit; of a squared voltage it is -2 R_ki (and -2 X_ki times the reactive
    power), with the impedance of the common path; on a meshed one it is a distribution factor. These are the nodal
    prices of F. C. Schweppe, M. C. Caramanis, R. D. Tabors, R. E. Bohn, "Spot pricing of electricity", Kluwer, 1988,
    and W. W. Hogan, "Contract networks for electric power transmission", J. Regulatory Economics 4(3), 1992, doi
    10.1007/BF00133621. No part is computed as the rest of the others.

    Units are those of the objective per kW: currency per kWh where the objective is currency per hour, and weights of
    service where it is weighted service.

    Attributes:
        energy: (2, n) price of a kWh at the source; 0 where the program has no cost of energy.
        losses: (2, n) what marginal losses at the operating point add; 0 where the program has none.
        rows: (K,) limited quantities that bind.
        signed_mu: (K,) their multipliers, positive at an upper limit, negative at a lower one.
        by_limit: (K, 2, n) the part of each in every price.
        kind: (K,) ``voltage``, ``thermal`` or ``active``.
    """

    energy: FloatArray
    losses: FloatArray
    rows: IntArray
    signed_mu: FloatArray
    by_limit: FloatArray
    kind: NDArray[np.str_]

    @classmethod
    def of(cls, grid: Grid, solution: Solution) -> MarginalPrices:
        """The prices of a solution of one interval, on a linear network model.

        A solution whose objective is a cost has the price at its source among its values (``energy``), and what
        marginal losses add to everybody's price where it knows them (``losses``, (2, n)).
        """
        rows = np.array(list(solution.limit_duals), dtype=np.intp)
        signed = -np.array([solution.limit_duals[k] for k in rows.tolist()], dtype=float)
        change = np.swapaxes(grid.kept_sensitivity(rows), 0, 1) * np.array([1.0, -1.0])[:, None]
        energy, losses = np.zeros((2, 2, grid.n))
        energy += solution.values.get(ENERGY, 0.0)
        losses += solution.values.get(LOSSES, 0.0)
        return cls(energy, losses, rows, signed, signed[:, None, None] * change, grid.network.quantities.kind[rows])

    @property
    def congestion(self) -> FloatArray:
        """(2, n) of the limits of branches."""
        return self._of(self.kind != "voltage")

    @property
    def voltage_upper(self) -> FloatArray:
        """(2, n) of the upper ends of voltage bands."""
        return self._of((self.kind == "voltage") & (self.signed_mu > 0))

    @property
    def voltage_lower(self) -> FloatArray:
        """(2, n) of the lower ends of voltage bands."""
        return self._of((self.kind == "voltage") & (self.signed_mu < 0))

    @property
    def price(self) -> FloatArray:
        """(2, n) the sum of all parts."""
        return np.asarray(sum(getattr(self, part) for part in PARTS))

    def _of(self, which: Any) -> FloatArray:
        return np.asarray(self.by_limit[which].sum(axis=0))

    def rent(self, grid: Grid, requests: Requests) -> FloatArray:
        """(K,) what flexible use pays for each limit that binds: its multiplier times the room that was left for it.

        The surplus identity: what flexible import pays, less what flexible export is paid, is the energy that
        flexible use draws from the source at its price, plus these rents, plus what it pays for marginal losses.
        """
        lower, upper = grid.limits(requests)
        inflexible, _ = grid.usage(requests)
        limit = np.where(self.signed_mu > 0, upper[self.rows], lower[self.rows])
        return np.asarray(self.signed_mu * (limit - inflexible[self.rows]))

    def columns(self, direction: str) -> dict[str, FloatArray]:
        """(n,) each: price and parts in a direction, by name."""
        row = DIRECTIONS.index(direction)
        return {part: getattr(self, part)[row] for part in ("price", *PARTS)}
