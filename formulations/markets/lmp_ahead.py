r"""Locational marginal prices with batteries and reserve: one window at least cost, paid at what a kWh more costs.

    min  sum_k dt (offer_y y + offer_b b + p0 z + sum_i v_i (r_i - x_i) + w s + m o) + t (e_half - e_end)+

under the limits of ``dispatch``, whose window, batteries, must-run plants and reserve these are: what is not served
counts its worth v (value of lost load), and reserve that is missing the price w of shortfall, in place of stages that
come before cost. The price of an interval at a place is the derivative of this least cost with respect to consumption
there, ``MarginalPrices`` of that interval, so that what is in batteries is priced through time. Load, plants and
batteries all pay and are paid it (F. C. Schweppe and others, "Spot pricing of electricity", Kluwer, 1988). Reserve is
paid as under ``dispatch``, by load, on top of its price of energy.

It is the benchmark of D. Sweeney, arXiv 2512.13871 (2025), in our reading: there plants are committed a day ahead in
whole numbers before prices are set; commitment is linear here, as in ``dispatch``, so that the two differ in money and
not in what plants can do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import cvxpy as cp
import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case, Requests
from amm_opt.errors import InputError
from amm_opt.grid import Grid
from amm_opt.market import Allocation, MarginalPrices, Payments, capped, wrong_cap
from amm_opt.market.marginal import ENERGY
from amm_opt.market.mechanism import Solve, Values
from amm_opt.program import HorizonProgram, Program, Solution
from formulations.markets.dispatch import Dispatch, cost_of


@dataclass(frozen=True)
class LMPAhead(Dispatch):
    """Least cost over a window, everybody at the marginal price of its place and interval.

    Args:
        window, committed, reserve, offer, reserve_price, content_price, source_price: as for ``Dispatch``.
        value: worth of a kWh of import to those without an ``import_value`` (value of lost load); currency per kWh.
        shortfall_price: what a kWh of missing reserve counts; currency per kW and hour.
        price_cap: what no kWh of energy costs more than, whatever its marginal price; None for no cap.
    """

    name: ClassVar[str] = "lmp_ahead"

    value: float = 10.0
    shortfall_price: float = 1.0
    price_cap: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        low = not self.shortfall_price >= 0
        said = [f"shortfall_price = {self.shortfall_price:g} must not be negative"] if low else []
        if said := [*said, *wrong_cap(self.price_cap)]:
            raise InputError(said, subject=self.name)

    def worth(self, case: Case) -> FloatArray:
        """(n,) of a first kWh of import."""
        own = case.own_prices[0][0]
        return np.where(np.isnan(own), self.value, own)

    def program(self, grid: Grid) -> Mapping[str, HorizonProgram]:
        return {"cost": super().program(grid)["cost"]}

    def _interval(self, grid: Grid, charge: cp.Expression, discharge: cp.Expression, lacking: cp.Expression) -> Program:
        interval = super()._interval(grid, charge, discharge, lacking)
        served, slope = interval.values["import"], grid.case.own_prices[1][0]
        cost = cost_of(interval) + self.shortfall_price * cp.sum(lacking)
        cost += self.worth(grid.case) @ (grid.import_request_kw - served)
        if slope.any():  # less what worth falls by up to the whole request, which is the same for every plan
            cost += 0.5 * cp.sum_squares(cp.multiply(np.sqrt(slope), served))
        return replace(interval, objective=cp.Minimize(cost))

    def _plan(self, solve: Solve, numbers: Values, ending: Values, requests: Requests) -> Solution:
        """No stage comes before cost: as much may be shed and missing as can be."""
        most = np.array([1.0 + 2.0 * requests.dt_h * float(requests.import_request_kw.sum())])
        held = {"most_all_shed": most, "most_all_lacking": (1.0 + self.reserve) * most}
        return solve({**numbers, **held, **ending}, "cost")

    @property
    def payments(self) -> Payments:
        """A battery buys and sells at the price of its place, to which load adds what reserve costs."""
        return replace(super().payments, charging="export")

    def settle(self, grid: Grid, solution: Solution, requests: Requests) -> Allocation:
        """Powers, and marginal prices up to the cap; load pays reserve on top."""
        served = self._served(grid, solution)
        price = np.stack([self._marginal(grid, solution, k) for k in range(requests.n_steps)], axis=1)
        price = capped(price, self.price_cap)
        on_top = self._reserve_per_kwh(grid.case, served, requests)
        return replace(served, import_price=price[0] + on_top[:, None], export_price=price[1])

    def _marginal(self, grid: Grid, solution: Solution, k: int) -> FloatArray:
        """(2, n) prices of interval k."""
        energy = solution.duals["balance"][k] if self.source_price is None else self.source_price
        interval = replace(solution.at_step(k), values={ENERGY: np.asarray(energy, dtype=float)})
        return MarginalPrices.of(grid, interval).price
