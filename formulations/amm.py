r"""The Automatic Market Maker (AMM): stateful matching with bounded, deficit-driven prices.

Source: Sweeney, "Stateful Pricing and Allocation for Repeated Constrained DER Coordination in Distribution Networks",
arXiv 2606.22463 (2026). The paper names dual fairness states, bounded prices and a feasibility-constrained matching
without writing the matching and the price out; the equations below are our reading.

State, per participant and direction: shortage memory s in [0, 1] and delivery ratio F (``FairnessState``).

Priority: w = 1 + kappa s (``shortage``), w = min(1/F, 999) (``inverse_ratio``, the weight g = 1/F of arXiv
2407.20814, 999 at F = 0), or w = 1 + kappa max(0, F* - F) (``deficit``).

Matching, one convex program for both directions, with requests r, g and service x, y:

    max  sum w_imp x + w_exp y - rho/2 sum w_imp (r - x)^2 / r - rho/2 sum w_exp (g - y)^2 / g
    s.t. 0 <= x <= r,  0 <= y <= g,  injections feasible on the network.

rho > 0 makes the allocation unique and proportional among equals; full service is optimal wherever it is feasible. With
``envelope`` the market is an additive layer: x and y are at least what the envelope mechanism would give.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case, Requests
from amm_opt.errors import InputError
from amm_opt.fields import wrong_choices
from amm_opt.grid import Grid
from amm_opt.market import Allocation, FairnessState, Mechanism, PriceCurve, deficits
from amm_opt.market.mechanism import Solve, Values
from amm_opt.program import Program, Solution
from formulations.parts.floor import floor_kw, floor_programs, no_floor
from formulations.parts.matching import TIE, matching, matching_values, per_request

PRIORITIES = ("shortage", "inverse_ratio", "deficit")
MAX_INVERSE_RATIO = 999.0
IDLE = ("hold", "decay")


@dataclass(frozen=True)
class AMM(Mechanism[FairnessState]):
    """Shares what is feasible among those who ask, favouring those who went short; bounded prices.

    Args:
        kappa: weight of the memory in the priority, >= 0.
        rho: curvature of the matching, >= 0; 0 is the plain LP, its ties (and differences in weight below 0.1 %) broken
            by a curvature of 1e-3.
        beta: share of the newest interval in the shortage memory, in (0, 1].
        priority: ``shortage``, ``inverse_ratio`` or ``deficit``.
        target: delivery ratio F* of the ``deficit`` priority.
        idle: what the memory does without a request: ``hold`` or ``decay``.
        import_price_min, import_price_max, export_price_min, export_price_max: bounds in currency per kWh.
        price_shape, price_exponent: of the price curve (``linear``, ``power``, ``logistic``).
        envelope: a mechanism without memory, such as ``EqualDOE()``, whose outcome everyone has at least.
    """

    name: ClassVar[str] = "amm"
    full_service_optimal: ClassVar[bool] = True

    kappa: float = 2.0
    rho: float = 1.0
    beta: float = 0.05
    priority: str = "shortage"
    target: float = 1.0
    idle: str = "hold"
    import_price_min: float = 0.10
    import_price_max: float = 0.40
    export_price_min: float = 0.00
    export_price_max: float = 0.08
    price_shape: str = "linear"
    price_exponent: float = 2.0
    envelope: Mechanism[Any] | None = None

    def __post_init__(self) -> None:
        problems = [
            f"{n} = {getattr(self, n)} must not be negative" for n in ("kappa", "rho") if not getattr(self, n) >= 0
        ]
        if not 0 < self.beta <= 1:
            problems.append(f"beta = {self.beta} must be in (0, 1]")
        if not 0 <= self.target <= 1:
            problems.append(f"target = {self.target} must be in [0, 1]")
        problems += wrong_choices(self, priority=PRIORITIES, idle=IDLE)
        if self.envelope is not None:
            problems += no_floor(self.envelope)
        if problems:
            raise InputError(problems, subject=self.name)
        self.prices  # noqa: B018 - checks the bounds

    @property
    def prices(self) -> PriceCurve:
        """The bounded price curve."""
        return PriceCurve(
            (self.import_price_min, self.import_price_max),
            (self.export_price_min, self.export_price_max),
            self.price_shape,
            self.price_exponent,
        )

    def initial_state(self, case: Case) -> FairnessState:
        return FairnessState.fresh(case.n_participants)

    def weights(self, state: FairnessState) -> FloatArray:
        """Priorities (2, n), import and export; rounded for rho = 0, where rounding would decide over everything."""
        if self.priority == "inverse_ratio":
            w = 1.0 / np.maximum(state.delivery_ratio, 1.0 / MAX_INVERSE_RATIO)
        elif self.priority == "deficit":
            w = 1.0 + self.kappa * np.maximum(0.0, self.target - state.delivery_ratio)
        else:
            w = 1.0 + self.kappa * state.shortage
        return np.round(w / TIE) * TIE if self.rho == 0 else w

    def program(self, grid: Grid) -> Program | Mapping[str, Program]:
        if self.envelope is None:
            return matching(grid)
        return {"": matching(grid, floored=True), **floor_programs(self.envelope, grid)}

    def parameters(
        self, grid: Grid, state: FairnessState, requests: Requests, floor: FloatArray | None = None
    ) -> Values:
        """Expanding the square: w x - rho w (r - x)^2 / (2 r) = (1 + rho) w x - (rho w / r) x^2 / 2 + constant."""
        rho, w = max(self.rho, TIE), self.weights(state)
        return matching_values((1.0 + rho) * w, per_request(rho * w, requests.both_kw), floor)

    def clear(self, grid: Grid, solve: Solve, state: FairnessState, requests: Requests) -> Solution:
        floor = None if self.envelope is None else floor_kw(self.envelope, grid, solve, requests)
        return solve(self.parameters(grid, state, requests, floor))

    def full_service(self, grid: Grid, requests: Requests) -> Allocation:
        """At the prices of no deficit."""
        prices = self.prices.prices(np.zeros((2, grid.n)))
        return Allocation(requests.import_request_kw, requests.export_request_kw, *prices)

    def settle(self, grid: Grid, solution: Solution, requests: Requests) -> Allocation:
        served = super().settle(grid, solution, requests)
        return Allocation(served.import_kw, served.export_kw, *self.prices.prices(deficits(grid, requests)))

    def without_memory(self) -> AMM | None:
        """The same matching and prices with equal priorities; None where they are equal anyway."""
        if self.kappa == 0 and self.priority != "inverse_ratio":
            return None
        return replace(self, priority="shortage", kappa=0.0, beta=AMM.beta, target=AMM.target, idle=AMM.idle)

    def advance(self, state: FairnessState, allocation: Allocation, requests: Requests) -> FairnessState:
        return state.advanced(allocation.both_kw, requests.both_kw, requests.dt_h, self.beta, self.idle)
