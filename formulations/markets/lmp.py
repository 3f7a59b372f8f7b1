r"""Locational marginal prices: the clearing with the most surplus, at the price of a kWh more at every place.

    max  sum_i v_i x_i - a_i x_i^2 / 2  -  sum_i c_i y_i + b_i y_i^2 / 2  -  p0 e
    s.t. 0 <= x <= r,  0 <= y <= g,  injections y - x - d feasible on the network,

with v the worth of a kWh of import, c the offer for one of export, a and b their slopes (columns of participants), and
e what the source sends, bought and sold at p0. Without a source price there is no trade with it: e = 0. The price of
participant i is the derivative of the least cost with respect to consumption at its place (``MarginalPrices``): F. C.
Schweppe, M. C. Caramanis, R. D. Tabors, R. E. Bohn, "Spot pricing of electricity", Kluwer, 1988; W. W. Hogan, J.
Regulatory Economics 4(3), 1992, doi 10.1007/BF00133621. It is the benchmark of bounded prices: nothing bounds it but
the worth of what is not served.

With ``losses`` an interval is cleared twice: without losses, and then with what a kWh more at every place adds to them
at that operating point, so that it costs p0 (1 + dLoss/dd_i) there (one step of successive linearisation; ours).

With a ``price_cap`` what is paid is the smaller of marginal price and cap; powers do not change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import cvxpy as cp
import numpy as np

from amm_opt.arrays import DIRECTIONS, FloatArray
from amm_opt.cases import Case, Requests
from amm_opt.errors import InputError
from amm_opt.grid import Grid
from amm_opt.market import Allocation, MarginalPrices, Mechanism, NoState, Payments, capped, export_offers, wrong_cap
from amm_opt.market.marginal import ENERGY, LOSSES
from amm_opt.market.mechanism import Solve, Values
from amm_opt.market.state import requested
from amm_opt.network import marginal_losses
from amm_opt.program import Program, Solution

TIE = 1e-6
"""Equal bids are served in proportion: worth falls, and offers rise, by this share of them over a request."""


@dataclass(frozen=True)
class LMP(Mechanism[NoState]):
    """Most surplus in each interval, without memory; everybody pays and is paid the marginal price of its place.

    Args:
        value: worth of a kWh of import to those without an ``import_value``; currency per kWh.
        offer: what those without an ``export_offer`` ask for a kWh of export; by default 0 where nobody has one, and
            where some do, everybody with generation needs one.
        source_price: at which the source sells and buys any amount; None where what is drawn must be injected by
            participants.
        losses: whether marginal losses at the operating point of the clearing without losses count; radial feeders.
        price_cap: what no kWh costs more than, whatever its marginal price; currency per kWh, None for no cap.
    """

    name: ClassVar[str] = "lmp"

    value: float = 1.0
    offer: float | None = None
    source_price: float | None = 0.25
    losses: bool = False
    price_cap: float | None = None

    def __post_init__(self) -> None:
        lossy = self.losses and self.source_price is None
        said = ["losses are paid at the source's price: give a source_price"] if lossy else []
        if said := [*said, *wrong_cap(self.price_cap)]:
            raise InputError(said, subject=self.name)

    @property
    def payments(self) -> Payments:
        return Payments(offers="rising", offer=self.offer)

    def program(self, grid: Grid) -> Program:
        if self.losses:
            marginal_losses(grid.case.feeder)
        if grid.conic:
            raise InputError(
                f"{self.name} reads its prices from linear limits, and {grid.network.name} has none: use"
                f" {grid.network.linear.name}"
            )
        power, objective, limits = {}, 0.0, []
        for direction in DIRECTIONS:
            x = cp.Variable(grid.n, name=f"{direction}_kw")
            gain = cp.Parameter(grid.n, name=f"gain_{direction}")
            root = cp.Parameter(grid.n, nonneg=True, name=f"root_slope_{direction}")
            objective += gain @ x - 0.5 * cp.sum_squares(cp.multiply(root, x))
            limits += [x >= 0, x <= grid.request_kw(direction)]
            power[direction] = x
        injection = grid.injection(import_kw=power["import"], export_kw=power["export"])
        values = {**power, "exchange": cp.sum(power["import"]) - cp.sum(power["export"])}
        if self.source_price is not None:
            return Program(cp.Maximize(objective), limits, [injection], values)
        fixed_kw = cp.sum(grid.inflexible_kw) - float(grid.case.feeder.shunt_kva.real.sum())
        balance = values["exchange"] == -fixed_kw
        return Program(cp.Maximize(objective), [*limits, balance], [injection], values, {"balance": balance})

    def bids(self, case: Case) -> tuple[FloatArray, FloatArray]:
        """(2, n) each: worth and offer of a kWh, and their slopes per kW."""
        worth, slope = case.own_prices[0][0], case.own_prices[1]
        worth = np.where(np.isnan(worth), self.value, worth)
        return np.stack([worth, export_offers(case, self.offer, self.name, stores=False)]), slope

    def parameters(self, grid: Grid, state: NoState, requests: Requests, losses: FloatArray | float = 0.0) -> Values:
        """Gains, worth less cost and cost less offer, and slopes; a kWh costs (2, n) ``losses`` beside energy."""
        own, slope = self.bids(grid.case)
        size = np.abs([*own.ravel(), self.source_price or 0.0])
        tie = TIE * (np.abs(own) + np.min(size[size > 0], initial=1.0))
        asked = requested(requests.both_kw)
        bend = np.maximum(slope, np.where(asked, tie / np.where(asked, requests.both_kw, 1.0), 0.0))
        cost = np.broadcast_to((self.source_price or 0.0) + losses, own.shape)
        gain = np.stack([own[0] - cost[0], cost[1] - own[1]])
        values: Values = {}
        for row, direction in enumerate(DIRECTIONS):
            values[f"gain_{direction}"], values[f"root_slope_{direction}"] = gain[row], np.sqrt(bend[row])
        return values

    def clear(self, grid: Grid, solve: Solve, state: NoState, requests: Requests) -> Solution:
        solution, extra = solve(self.parameters(grid, state, requests)), np.zeros((2, grid.n))
        if self.losses:
            extra = self._losses(grid, solution, requests)
            solution = solve(self.parameters(grid, state, requests, extra))
        energy = self.source_price if self.source_price is not None else float(solution.duals["balance"])
        values: Mapping[str, FloatArray] = {**solution.values, ENERGY: np.asarray(energy), LOSSES: extra}
        return replace(solution, values=values)

    def _losses(self, grid: Grid, solution: Solution, requests: Requests) -> FloatArray:
        """(2, n) what marginal losses add to the price of import and of export at a solution."""
        assert self.source_price is not None
        at = grid.at_nodes(requests, solution["import"], solution["export"])
        per_kw, per_kvar, _ = marginal_losses(grid.network.of_nodes).at(*at)
        _, *kvar = grid.case.kvar_per_kw
        share, reactive = grid.at_participants(per_kw), grid.at_participants(per_kvar)
        return self.source_price * (share + np.stack(kvar) * reactive)

    def settle(self, grid: Grid, solution: Solution, requests: Requests) -> Allocation:
        served = super().settle(grid, solution, requests)
        price = capped(MarginalPrices.of(grid, solution).price, self.price_cap)
        return Allocation(served.import_kw, served.export_kw, *price)
