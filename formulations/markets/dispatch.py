r"""Pay-as-bid dispatch: least load shed, then least reserve missing, then least cost at everybody's own bid.

Over a window of intervals k of length dt, of which the first are carried out (rolling horizon), with served load x,
output y, charging c and discharging b of batteries, and their content e:

    A:  min  S = dt sum (r - x)
    B:  min  R = dt sum s,                                                  S <= S_A
    C:  min  dt sum (offer_y y + offer_b b) + m dt sum o + t (e_half - e_end)+,   S <= S_A,  R <= R_B

    s.t. 0 <= x <= r,  0 <= y <= g,  y + o >= must-run,  injections y + b - x - c feasible and in balance,
         e+ = e + dt (eta c - b / eta) within a band of the size,
         sum (g - y) + sum (P + c - b) + s >= reserve sum x.

After D. Sweeney, "A Fair, Flexible, Zero-Waste Digital Electricity Market", arXiv 2512.13871 (2025), whose stages,
band, reserve, window and bids these are. There a plant's commitment u in [0, 1] bounds it by u Pmin and u g, which for
u free is 0 <= y <= g; only of must-run plants is u held, at a cost for each hour without them (here for each kWh). Only
the sum of reserve counts, which is what is left of plants and of batteries' power. Ours: the network is any linear
model, flows cost nothing, and of several answers of the same cost the most even one (``HorizonProgram.even``).

A program with a high price on load shed and reserve missing comes first: where its answer has none of either, A and B
come to nothing, and it is the answer of C.

No battery charges and discharges at once, which would burn what is too much on paper only: a content follows from net
power (``without_burning``).

With a ``source_price`` the source trades too, at that price; what it sells is no reserve.

Offers may rise: with slope a, what is given costs a (y + b)^2 / 2 more.

Everybody who generates is paid its own offer, a battery for what it discharges (what charges it is free: its offer is
for the service, and load has paid the plants). What is left of plants and batteries is paid ``reserve_price`` as far as
it is needed, in proportion. Load pays what both cost in the interval, per kWh served.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import cvxpy as cp
import numpy as np

from amm_opt.arrays import DIRECTIONS, FloatArray, IntArray
from amm_opt.cases import Batteries, Case, Requests
from amm_opt.cases.times import is_length
from amm_opt.errors import InputError, SolveError
from amm_opt.grid import Grid
from amm_opt.market import (
    STORE,
    Allocation,
    Mechanism,
    Payments,
    State,
    at_home,
    battery_kw,
    export_offers,
    stored_after,
    stored_kw,
    within_connections,
    without_burning,
)
from amm_opt.market.mechanism import Solve, Values
from amm_opt.program import HorizonProgram, Injection, Program, Solution

BAND = (0.05, 0.95)
"""Between these shares of its size the content of a battery stays."""
HALF = 0.5
"""Content of less than this share at the end of a window costs ``content_price``."""
MISSED = 10.0
"""A kWh that a must-run plant stays below its output costs so many times the largest offer."""
DEAR = 100.0
"""Where a kWh shed or missing costs so many times the largest offer, and none is, stages A and B come to 0."""
HELD = 1e-8, 1e-6
"""What a stage reached may be missed by, as a share of the energy that load asks for in the window; the second where
the first leaves the next stage no answer: limits that a stage did not need are kept within a tolerance only."""


def cost_of(interval: Program) -> cp.Expression:
    """What an interval minimises."""
    assert isinstance(interval.objective, cp.Minimize)
    return interval.objective.expr


@dataclass(frozen=True, eq=False)
class ContentState(State):
    """What each participant's battery holds, kWh, and its one-way efficiency, (n,) each."""

    summed: ClassVar[tuple[str, ...]] = ("stored_kwh",)

    stored_kwh: FloatArray
    efficiency: FloatArray


@dataclass(frozen=True)
class Dispatch(Mechanism[ContentState]):
    """Rolling pay-as-bid dispatch with batteries, must-run plants and reserve.

    Args:
        window: what is looked at together, such as ``72h`` or a number of intervals, or ``all`` of the run.
        committed: how much of it is carried out before the next look.
        reserve: power in reserve as a share of served load.
        offer: what those without an ``export_offer`` ask for a kWh; by default 0 where nobody has one, and where some
            do, every plant and battery needs one.
        reserve_price: currency per kW and hour for reserve.
        content_price: currency per kWh that batteries lack of half their size at the end of a window.
        source_price: at which the source sells and buys any amount; None where load must be met by participants.
    """

    name: ClassVar[str] = "dispatch"

    window: int | str = "72h"
    committed: int | str = "24h"
    reserve: float = 0.1
    offer: float | None = None
    reserve_price: float = 0.0075
    content_price: float = 0.005
    source_price: float | None = 0.25

    def __post_init__(self) -> None:
        said = [
            f"{name} = {length!r} must be a number of intervals, a time such as 24h, or all"
            for name, length in (("window", self.window), ("committed", self.committed))
            if not is_length(length)
        ]
        said += [
            f"{name} = {getattr(self, name):g} must not be negative"
            for name in ("reserve", "reserve_price", "content_price")
            if not getattr(self, name) >= 0
        ]
        if said:
            raise InputError(said, subject=self.name)

    @property
    def horizon(self) -> int | str:
        return self.window

    @property
    def commit(self) -> int | str:
        return self.committed

    def initial_state(self, case: Case) -> ContentState:
        stored = np.zeros(case.n_participants)
        stored[case.batteries.participant] = case.batteries.initial_kwh
        return ContentState(stored, case.participants["battery_efficiency"].to_numpy(float))

    @property
    def payments(self) -> Payments:
        return Payments("free", self.reserve, self.reserve_price, offers="rising", offer=self.offer)

    def offers(self, case: Case) -> tuple[FloatArray, FloatArray]:
        """(n,) each: what everybody asks for a first kWh, and how much more with every kW."""
        return export_offers(case, self.offer, self.name), case.own_prices[1][1]

    def _must_run(self, case: Case) -> IntArray:
        """Who must run, where available."""
        return np.flatnonzero(case.participants["must_run_kw"].to_numpy(float) > 0)

    def program(self, grid: Grid) -> Mapping[str, HorizonProgram]:
        battery, dt = grid.case.batteries, grid.case.dt_h
        charge, discharge = (cp.Variable(len(battery), name=name) for name in ("charge", "discharge"))
        lacking = cp.Variable(1, name="lacking_kw")
        interval = self._interval(grid, charge, discharge, lacking)
        limits = [part for b in (charge, discharge) for part in (b >= 0, b <= self._most_kw(battery, b))]
        stored = stored_kw(battery, charge, discharge)
        values = {**interval.values, "charge": charge, "discharge": discharge, "stored_kw": stored, "lacking": lacking}
        at_cost = replace(interval, constraints=[*interval.constraints, *limits, lacking >= 0], values=values)
        lost = DEAR * self._largest_offer(grid.case) * cp.sum(interval.values["shed"] + lacking)
        plenty = replace(at_cost, objective=cp.Minimize(cost_of(at_cost) + lost))
        free = replace(at_cost, objective=cp.Minimize(cp.Constant(0.0)))

        shed, lack = cp.Variable(1, name="all_shed"), cp.Variable(1, name="all_lacking")
        totals = {"shed": shed, "lacking": lack}
        held = [total <= cp.Parameter(1, nonneg=True, name=f"most_{total.name()}") for total in (shed, lack)]
        gained, short = (cp.Variable(len(battery), name=name) for name in ("gained", "short"))
        before = cp.Parameter(len(battery), name="before")
        content = [short >= 0, short >= HALF * battery.size_kwh - before - gained]
        stores = {STORE: "stored_kw"} if len(battery) else {}
        read: dict[str, Any] = {"stores": stores, "even": (*DIRECTIONS, "charge", "discharge")}
        ending = cp.Minimize(self.content_price / dt * cp.sum(short))
        return {
            "plenty": HorizonProgram(plenty, ending, {"stored_kw": gained}, content, **read),
            "shed": HorizonProgram(free, cp.Minimize(cp.sum(shed)), totals, stores=stores),
            "reserve": HorizonProgram(free, cp.Minimize(cp.sum(lack)), totals, held[:1], stores=stores),
            "cost": HorizonProgram(at_cost, ending, {**totals, "stored_kw": gained}, [*held, *content], **read),
        }

    def _most_kw(self, battery: Batteries, power: cp.Variable) -> cp.Expression | FloatArray:
        """What limits charging or discharging: numbers of ``without_burning``."""
        some = len(battery) > 0
        return cp.Parameter(len(battery), nonneg=True, name=f"{power.name()}_max") if some else battery.power_kw

    def _interval(self, grid: Grid, charge: cp.Expression, discharge: cp.Expression, lacking: cp.Expression) -> Program:
        """An interval at what everybody asks and a missed kWh counts, with what batteries do and reserve that lacks."""
        case, battery, (offers, slope) = grid.case, grid.case.batteries, self.offers(grid.case)
        must = self._must_run(case)
        served, output = (cp.Variable(grid.n, name=f"{name}_kw") for name in ("served", "output"))
        missed = cp.Variable(len(must), name="missed_kw")
        limits = [served >= 0, served <= grid.import_request_kw, output >= 0, output <= grid.export_request_kw]
        limits += [missed >= 0, output[must] + missed >= cp.Parameter(len(must), nonneg=True, name="must_run_kw")]
        left = cp.sum(grid.export_request_kw) - cp.sum(output) + cp.sum(battery.power_kw + charge - discharge)
        limits += [left + lacking >= self.reserve * cp.sum(served)]
        exchange = cp.sum(served) + cp.sum(charge) - cp.sum(output) - cp.sum(discharge)
        duals = {}
        if self.source_price is None:
            fixed_kw = float(case.feeder.shunt_kva.real.sum()) - cp.sum(grid.inflexible_kw)
            duals = {"balance": exchange == fixed_kw}
        owned = at_home(battery, grid.n)
        injection = Injection(served + owned @ charge, output + owned @ discharge)
        limits += [*duals.values(), *within_connections(injection, grid)]
        cost = offers @ injection.export_kw + (self.source_price or 0.0) * exchange
        cost += MISSED * self._largest_offer(case) * cp.sum(missed)
        if len(rises := np.flatnonzero(slope)):
            given = cp.Variable(len(rises), name="given_kw")
            limits.append(given == injection.export_kw[rises])
            cost += 0.5 * cp.sum_squares(cp.multiply(np.sqrt(slope[rises]), given))
        shed = cp.reshape(cp.sum(grid.import_request_kw) - cp.sum(served), (1,), order="C")
        values = {"import": served, "export": output, "missed": missed, "shed": shed}
        return Program(cp.Minimize(cost), limits, [injection], values, duals)

    def _largest_offer(self, case: Case) -> float:
        """The largest that anybody ever asks for a kWh, with all that it could give; 1 where nobody asks anything."""
        offers, slope = self.offers(case)
        most_kw = case.scenario.export_scale * case.profiles.largest_kw("export", case.n_participants)
        most_kw[case.batteries.participant] += case.batteries.power_kw
        return float(np.max(np.abs([offers, offers + slope * most_kw]), initial=0.0)) or 1.0

    def clear(self, grid: Grid, solve: Solve, state: ContentState, requests: Requests) -> Solution:
        case, battery = grid.case, grid.case.batteries
        stored = state.stored_kwh[battery.participant]
        low, high = (share * battery.size_kwh for share in BAND)
        must_run = np.minimum(case.participants["must_run_kw"].to_numpy(float), requests.export_request_kw)
        must_run = must_run[:, self._must_run(case)]
        numbers: Values = {"must_run_kw": must_run}
        if not len(battery):
            return self._plan(solve, numbers, {"before": stored}, requests)
        numbers |= {f"{STORE}_lower": np.minimum(low, stored), f"{STORE}_upper": np.maximum(high, stored)}
        numbers[f"{STORE}_initial"] = stored

        def within(powers: Values) -> tuple[Solution, tuple[float, ...]]:
            return self._plan(solve, {**powers, **numbers}, {"before": stored}, requests), ()

        return without_burning(within, battery, stored, requests.n_steps, work=0)

    def _plan(self, solve: Solve, numbers: Values, ending: Values, requests: Requests) -> Solution:
        """The window at least cost, stage by stage unless one program shows that nothing has to be shed or missing."""
        energy = requests.dt_h * float(requests.import_request_kw.sum())
        plan = solve({**numbers, **ending}, "plenty")
        if all(requests.dt_h * float(np.sum(plan[value])) <= HELD[0] * energy for value in ("shed", "lacking")):
            return plan
        try:
            return self._staged(solve, numbers, ending, requests.dt_h, HELD[0] * energy)
        except SolveError:
            return self._staged(solve, numbers, ending, requests.dt_h, HELD[1] * energy)

    def _staged(self, solve: Solve, numbers: Values, ending: Values, dt_h: float, slack_kwh: float) -> Solution:
        """Stages A, B and C, which may miss what was reached before by so much."""
        held: Values = {}
        for stage, value, most in (("shed", "shed", "most_all_shed"), ("reserve", "lacking", "most_all_lacking")):
            reached = dt_h * float(np.sum(solve({**numbers, **held}, stage)[value]))
            held = {**held, most: np.array([max(0.0, reached) + slack_kwh])}
        return solve({**numbers, **held, **ending}, "cost")

    def settle(self, grid: Grid, solution: Solution, requests: Requests) -> Allocation:
        """Powers, and prices: own offers for who generates, what that and reserve cost for load."""
        served, case = self._served(grid, solution), grid.case
        stored = np.zeros_like(served.export_kw) if served.battery_kw is None else served.battery_kw
        discharged = np.maximum(stored, 0.0)
        exchange = (served.import_kw - served.export_kw - stored).sum(axis=1)
        paid = self.payments.offered(case, served.export_kw, discharged).sum(axis=1)
        price = self._per_kwh(paid + (self.source_price or 0.0) * exchange, served)
        price += self._reserve_per_kwh(case, served, requests)
        offers, slope = self.offers(case)
        own = offers + 0.5 * slope * (served.export_kw + discharged)
        return replace(served, import_price=np.tile(price[:, None], grid.n), export_price=own)

    def _served(self, grid: Grid, solution: Solution) -> Allocation:
        """Powers without prices."""
        battery = grid.case.batteries
        stored = battery_kw(solution, battery, grid.n) if len(battery) else None
        return Allocation(solution["import"], solution["export"], battery_kw=stored)

    def _per_kwh(self, paid: FloatArray, served: Allocation) -> FloatArray:
        """(H,) currency per hour over what load is served."""
        load = served.import_kw.sum(axis=1)
        return np.asarray(np.divide(paid, load, out=np.zeros_like(paid), where=load > 0))

    def _reserve_per_kwh(self, case: Case, served: Allocation, requests: Requests) -> FloatArray:
        """(H,) what reserve is paid, per kWh served."""
        powers = served.import_kw, served.export_kw, served.battery_kw
        held = self.payments.reserve_kw(case, requests.export_request_kw, *powers)
        return self._per_kwh(self.reserve_price * held.sum(axis=1), served)

    def advance(self, state: ContentState, allocation: Allocation, requests: Requests) -> ContentState:
        if allocation.battery_kw is None:
            return state
        stored = stored_after(state.stored_kwh, state.efficiency, allocation.battery_kw, requests.dt_h)
        return replace(state, stored_kwh=stored)
