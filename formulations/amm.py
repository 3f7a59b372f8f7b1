r"""The Automatic Market Maker (AMM): stateful matching with bounded, deficit-driven prices.

Source: Sweeney, "Stateful Pricing and Allocation for Repeated Constrained DER Coordination in Distribution Networks",
arXiv 2606.22463 (2026). The paper names dual fairness states, bounded prices and a feasibility-constrained matching
without writing the matching and the price out; the equations below are our reading.

State, per participant and direction: shortage memory s in [0, 1] and delivery ratio F (``FairnessState``).

Priority of the default, ``delivery``: w = F^-alpha, with F as if ``prior_h`` hours of requests had been served in full
before. This is gradient scheduling for alpha-fair service in the long run (A. L. Stolyar, "On the asymptotic optimality
of the gradient scheduling algorithm for multiuser throughput allocation", Operations Research 53(1), 2005, doi
10.1287/opre.1040.0156): F^-alpha is the derivative of sum_i R_i u_alpha(F_i), R requested, in served energy. Others:
w = min(1/F, 999) (``inverse_ratio``, the weight g = 1/F of arXiv 2407.20814, 999 at F = 0), w = 1 + kappa s
(``shortage``), or w = 1 + kappa max(0, F* - F) (``deficit``). ``level`` says whose memory counts: the participant's,
its feeder's, or both (``formulations.parts.priority``).

Matching, one convex program for both directions, with requests r, g and service x, y:

    max  sum w_imp x + w_exp y - rho/2 sum w_imp (r - x)^2 / r - rho/2 sum w_exp (g - y)^2 / g
    s.t. 0 <= x <= r,  0 <= y <= g,  injections feasible on the network.

rho > 0 makes the allocation unique and proportional among equals; full service is optimal wherever it is feasible. With
``envelope`` the market is an additive layer: x and y are at least what the envelope mechanism would give.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case, Requests
from amm_opt.cases.times import length_h
from amm_opt.errors import InputError
from amm_opt.fields import maker_of, wrong_choices
from amm_opt.grid import Grid
from amm_opt.market import (
    Allocation,
    FairnessState,
    Mechanism,
    PostedState,
    PriceCurve,
    Scarcity,
    deficits,
    scarcity,
    zones,
)
from amm_opt.market.mechanism import Solve, Values
from amm_opt.market.scarcity import NODAL
from amm_opt.program import Program, Solution
from formulations.parts.floor import floor_kw, floor_programs, no_floor
from formulations.parts.matching import TIE, matching, matching_values, per_request
from formulations.parts.priority import LEVELS, priorities

PRIORITIES = ("delivery", "shortage", "inverse_ratio", "deficit")
MAX_INVERSE_RATIO = 999.0
MAX_ALPHA = 100.0
IDLE = ("hold", "decay")
OF_MEMORY = ("alpha", "level", "prior_h", "memory", "kappa", "beta", "priority", "target", "idle")
"""Parameters that do not matter without memory."""


@dataclass(frozen=True)
class AMM(Mechanism[FairnessState]):
    """Shares what is feasible among those who ask, favouring those who went short; bounded prices.

    Args:
        alpha: aversion to inequality over time of the ``delivery`` priority, in [0, 100]; 0 remembers nothing.
        level: whose memory counts: ``participant``, ``feeder`` or ``nested`` (both).
        prior_h: hours of requests that count as served in full before the first one (``delivery``), >= 0.
        memory: time after which energies count half, such as ``90D``; None never forgets.
        kappa: weight of the memory in the other priorities, >= 0.
        rho: curvature of the matching, >= 0; 0 is the plain LP, its ties (and differences in weight below 0.1 %) broken
            by a curvature of 1e-3.
        beta: share of the newest interval in the shortage memory, in (0, 1].
        priority: ``delivery``, ``shortage``, ``inverse_ratio`` or ``deficit``.
        target: delivery ratio F* of the ``deficit`` priority.
        idle: what the memory does without a request: ``hold`` or ``decay``.
        import_price_min, import_price_max, export_price_min, export_price_max: bounds in currency per kWh.
        price_shape, price_exponent: of the price curve (``linear``, ``power``, ``logistic``, ``published``).
        price_step: how much a price may change from one interval to the next, currency per kWh; None: by any amount.
        pricing: ``nodal``: everybody's own price; ``uniform``: one for all; or a layer: one in each of its areas.
        envelope: a mechanism without memory, such as ``EqualDOE()``, whose outcome everyone has at least.
    """

    name: ClassVar[str] = "amm"
    full_service_optimal: ClassVar[bool] = True

    alpha: float = 5.0
    level: str = "nested"
    prior_h: float = 8.0
    memory: str | None = None
    kappa: float = 2.0
    rho: float = 0.1
    beta: float = 0.05
    priority: str = "delivery"
    target: float = 1.0
    idle: str = "hold"
    import_price_min: float = 0.10
    import_price_max: float = 0.40
    export_price_min: float = 0.00
    export_price_max: float = 0.08
    price_shape: str = "linear"
    price_exponent: float = 2.0
    price_step: float | None = None
    pricing: str = NODAL
    envelope: Mechanism[Any] | None = None

    def __post_init__(self) -> None:
        amounts = ("prior_h", "kappa", "rho")
        problems = [f"{n} = {getattr(self, n)} must not be negative" for n in amounts if not getattr(self, n) >= 0]
        if not 0 <= self.alpha <= MAX_ALPHA:
            problems.append(f"alpha = {self.alpha} must be in [0, {MAX_ALPHA:g}]")
        if self.memory is not None and length_h(self.memory) is None:
            problems.append(f"memory = {self.memory!r} must be a length of time such as 90D, or None")
        if not 0 < self.beta <= 1:
            problems.append(f"beta = {self.beta} must be in (0, 1]")
        if not 0 <= self.target <= 1:
            problems.append(f"target = {self.target} must be in [0, 1]")
        problems += wrong_choices(self, priority=PRIORITIES, level=LEVELS, idle=IDLE)
        if self.price_step is not None and not self.price_step > 0:
            problems.append(f"price_step = {self.price_step} must be positive, or None")
        if self.envelope is not None:
            problems += no_floor(self.envelope)
        if problems:
            raise InputError(problems, subject=self.name)
        self.prices  # noqa: B018 - checks the bounds

    @cached_property
    def prices(self) -> PriceCurve:
        """The bounded price curve."""
        return PriceCurve(
            (self.import_price_min, self.import_price_max),
            (self.export_price_min, self.export_price_max),
            self.price_shape,
            self.price_exponent,
        )

    def initial_state(self, case: Case) -> FairnessState:
        zones(case, self.pricing)
        fresh = FairnessState.fresh(case.n_participants)
        if self.price_step is None:
            return fresh
        return PostedState(**fresh.arrays(), price=np.stack(self._without_deficit(case.n_participants)))

    @property
    def price_bounds(self) -> tuple[tuple[float, float], tuple[float, float]]:
        return self.prices.import_bounds, self.prices.export_bounds

    def _without_deficit(self, n: int) -> tuple[FloatArray, FloatArray]:
        """(n,) import and export prices where nothing is scarce."""
        imports, exports = (np.repeat(price, n) for price in self.prices.prices(np.zeros((2, 1))))
        return imports, exports

    def posted(self, state: FairnessState, allocation: Allocation) -> Allocation:
        """Prices that move by at most ``price_step`` towards those of the deficits."""
        if not isinstance(state, PostedState) or allocation.import_price is None or allocation.export_price is None:
            return allocation
        wanted = np.stack([allocation.import_price, allocation.export_price])
        moved = state.price + np.clip(wanted - state.price, -self._step, self._step)
        return replace(allocation, import_price=moved[0], export_price=moved[1])

    @property
    def _step(self) -> float:
        return np.inf if self.price_step is None else self.price_step

    def weights(self, state: FairnessState) -> FloatArray:
        """(2, n) what memories by themselves make of a kW, import and export."""
        if self.priority == "delivery":
            w = np.maximum(state.delivery_ratio_after(self.prior_h), 1.0 / MAX_INVERSE_RATIO) ** -self.alpha
        elif self.priority == "inverse_ratio":
            w = 1.0 / np.maximum(state.delivery_ratio, 1.0 / MAX_INVERSE_RATIO)
        elif self.priority == "deficit":
            w = 1.0 + self.kappa * np.maximum(0.0, self.target - state.delivery_ratio)
        else:
            w = 1.0 + self.kappa * state.shortage
        return np.asarray(w)

    def priorities(self, grid: Grid, state: FairnessState, requests: Requests) -> FloatArray:
        """(2, n) weights of the matching; rounded for rho = 0, where rounding would decide over everything."""
        w = priorities(self.level, self.weights, grid.case, state, requests)
        return np.exp(np.round(np.log(w) / TIE) * TIE) if self.rho == 0 else w

    def program(self, grid: Grid) -> Program | Mapping[str, Program]:
        if self.envelope is None:
            return matching(grid)
        return {"": matching(grid, floored=True), **floor_programs(self.envelope, grid)}

    def parameters(
        self, grid: Grid, state: FairnessState, requests: Requests, floor: FloatArray | None = None
    ) -> Values:
        """Expanding the square: w x - rho w (r - x)^2 / (2 r) = (1 + rho) w x - (rho w / r) x^2 / 2 + constant."""
        rho, w = max(self.rho, TIE), self.priorities(grid, state, requests)
        return matching_values((1.0 + rho) * w, per_request(rho * w, requests.both_kw), floor)

    def clear(self, grid: Grid, solve: Solve, state: FairnessState, requests: Requests) -> Solution:
        floor = None if self.envelope is None else floor_kw(self.envelope, grid, solve, requests)
        return solve(self.parameters(grid, state, requests, floor))

    def full_service(self, grid: Grid, requests: Requests) -> Allocation:
        """At the prices of no deficit."""
        prices = self._without_deficit(grid.n)
        return Allocation(requests.import_request_kw, requests.export_request_kw, *prices)

    def settle(self, grid: Grid, solution: Solution, requests: Requests) -> Allocation:
        served = super().settle(grid, solution, requests)
        prices = self.prices.prices(deficits(grid, requests, self.pricing))
        return Allocation(served.import_kw, served.export_kw, *prices)

    def scarcity(self, grid: Grid, requests: Requests) -> Scarcity:
        return scarcity(grid, requests, self.pricing)

    def without_memory(self) -> AMM | None:
        """The same matching and prices with equal priorities; None where they are equal anyway.

        None as well of a class with an ``__init__`` of its own, which may not take these parameters.
        """
        equal = {"delivery": self.alpha == 0, "inverse_ratio": False}.get(self.priority, self.kappa == 0)
        rest: dict[str, Any] = {f.name: f.default for f in fields(AMM) if f.name in OF_MEMORY}
        return (
            None
            if equal or maker_of(type(self)) is None
            else replace(self, **{**rest, "priority": "delivery", "alpha": 0.0})
        )

    def advance(self, state: FairnessState, allocation: Allocation, requests: Requests) -> FairnessState:
        half = np.inf if self.memory is None else length_h(self.memory) or np.inf
        kept = 0.5 ** (requests.dt_h / half)
        after = state.advanced(allocation.both_kw, requests.both_kw, requests.dt_h, self.beta, self.idle, kept)
        if not isinstance(after, PostedState) or allocation.import_price is None or allocation.export_price is None:
            return after
        return replace(after, price=np.stack([allocation.import_price, allocation.export_price]))
