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
model, flows cost nothing, and plants at one bus with the same offer are served in proportion.

A program with a high price on load shed and reserve missing comes first: where its answer has none of either, A and B
come to nothing, and it is the answer of C.

With a ``source_price`` the source trades too, at that price; what it sells is no reserve.

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
from amm_opt.cases import Case, Requests
from amm_opt.cases.times import is_length, length_h
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
)
from amm_opt.market.mechanism import Solve, Values
from amm_opt.program import HorizonProgram, Injection, Program, Solution
from formulations.parts.matching import per_request

BAND = (0.05, 0.95)
"""Between these shares of its size the content of a battery stays."""
HALF = 0.5
"""Content of less than this share at the end of a window costs ``content_price``."""
MISSED = 10.0
"""A kWh that a must-run plant stays below its output costs so many times the largest offer."""
SAME = 1e-8
"""Shares may cost more than the plan by this share of what all power at the largest offer would cost."""
DEAR = 100.0
"""Where a kWh shed or missing costs so many times the largest offer, and none is, stages A and B come to 0."""
STRICT = 1e-6
"""What a kWh changes costs by that is more than this share of the largest offer is a change."""
HELD = 1e-8
"""What a stage reached may be missed by, as a share of the energy that load asks for in the window."""

SPARE = 1e-6
"""The plan keeps limits within a solver's tolerance only. Where shares therefore have no answer, they are asked for
again, and may shed, lack in reserve and cost more than the plan by this share of what an interval asks for."""


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
        return Payments("free", self.reserve, self.reserve_price, offers="flat", offer=self.offer)

    def offers(self, case: Case) -> FloatArray:
        """(n,) what everybody asks for a kWh."""
        return export_offers(case, self.offer, self.name)

    def _must_run(self, case: Case) -> IntArray:
        """Who must run, where available."""
        return np.flatnonzero(case.participants["must_run_kw"].to_numpy(float) > 0)

    def program(self, grid: Grid) -> Mapping[str, HorizonProgram]:
        battery, dt = grid.case.batteries, grid.case.dt_h
        charge, discharge = (cp.Variable(len(battery), name=name) for name in ("charge", "discharge"))
        lacking = cp.Variable(1, name="lacking_kw")
        interval = self._interval(grid, charge, discharge, lacking)
        limits = [part for b in (charge, discharge) for part in (b >= 0, b <= battery.power_kw)]
        stored = stored_kw(battery, charge, discharge)
        values = {**interval.values, "charge": charge, "discharge": discharge, "stored_kw": stored, "lacking": lacking}
        interval = replace(interval, constraints=[*interval.constraints, *limits, lacking >= 0], values=values)
        at_cost = replace(interval, objective=cp.Minimize(interval.values["cost"]))
        lost = DEAR * self._dearest(grid.case) * cp.sum(interval.values["shed"] + lacking)
        plenty = replace(interval, objective=cp.Minimize(interval.values["cost"] + lost))

        shed, lack = cp.Variable(1, name="all_shed"), cp.Variable(1, name="all_lacking")
        totals = {"shed": shed, "lacking": lack}
        held = [total <= cp.Parameter(1, nonneg=True, name=f"most_{total.name()}") for total in (shed, lack)]
        gained, short = (cp.Variable(len(battery), name=name) for name in ("gained", "short"))
        before = cp.Parameter(len(battery), name="before")
        content = [short >= 0, short >= HALF * battery.size_kwh - before - gained]
        stores = {STORE: "stored_kw"} if len(battery) else {}
        read: dict[str, Any] = {"stores": stores, "bound_duals": DIRECTIONS}
        ending = cp.Minimize(self.content_price / dt * cp.sum(short))
        return {
            "plenty": HorizonProgram(plenty, ending, {"stored_kw": gained}, content, **read),
            "shed": HorizonProgram(interval, cp.Minimize(cp.sum(shed)), totals, stores=stores),
            "reserve": HorizonProgram(interval, cp.Minimize(cp.sum(lack)), totals, held[:1], stores=stores),
            "cost": HorizonProgram(at_cost, ending, {**totals, "stored_kw": gained}, [*held, *content], **read),
            "shares": HorizonProgram(self._shares(grid), cp.Minimize(cp.Constant(0.0))),
        }

    def _interval(self, grid: Grid, charge: cp.Expression, discharge: cp.Expression, lacking: cp.Expression) -> Program:
        """An interval without objective, with what batteries do and the reserve that lacks.

        Currency per hour of it: ``paid`` at everybody's offer, and ``cost`` with what a missed kWh counts.
        """
        case, battery, offers = grid.case, grid.case.batteries, self.offers(grid.case)
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
        paid = offers @ output + offers[battery.participant] @ discharge + (self.source_price or 0.0) * exchange
        cost = paid + MISSED * self._largest(offers) * cp.sum(missed)
        owned = at_home(battery, grid.n)
        injection = Injection(served + owned @ charge, output + owned @ discharge)
        limits += [*duals.values(), *within_connections(injection, grid)]
        shed = cp.reshape(cp.sum(grid.import_request_kw) - cp.sum(served), (1,), order="C")
        values = {"import": served, "export": output, "missed": missed, "shed": shed, "paid": paid, "cost": cost}
        return Program(cp.Minimize(cp.Constant(0.0)), limits, [injection], values, duals)

    def _shares(self, grid: Grid) -> Program:
        """Of all answers of the same cost in an interval the one that serves everybody as alike as it can."""
        count = len(grid.case.batteries)
        charge, discharge = (cp.Parameter(count, name=f"{name}_fixed") for name in ("charge", "discharge"))
        interval = self._interval(grid, charge, discharge, cp.Parameter(1, name="lacking_fixed"))
        reached = [
            interval.values["shed"] <= cp.Parameter(1, name="shed_fixed"),
            interval.values["cost"] <= cp.Parameter(name="cost_fixed"),
        ]
        roots, bounds = {d: cp.Parameter(grid.n, nonneg=True, name=f"root_{d}") for d in DIRECTIONS}, []
        for d in DIRECTIONS:
            least, most = (cp.Parameter(grid.n, nonneg=True, name=f"{end}_{d}") for end in ("least", "most"))
            bounds += [interval.values[d] >= least, interval.values[d] <= most]
        uneven = sum(cp.sum_squares(cp.multiply(root, interval.values[d])) for d, root in roots.items())
        return replace(
            interval, objective=cp.Minimize(0.5 * uneven), constraints=[*interval.constraints, *reached, *bounds]
        )

    def _dearest(self, case: Case) -> float:
        """The largest number by which a kWh counts."""
        return self._largest(self.offers(case))

    def _largest(self, offers: FloatArray) -> float:
        return float(np.max(np.abs(offers), initial=0.0)) or 1.0

    def clear(self, grid: Grid, solve: Solve, state: ContentState, requests: Requests) -> Solution:
        case, battery = grid.case, grid.case.batteries
        stored = state.stored_kwh[battery.participant]
        low, high = (share * battery.size_kwh for share in BAND)
        must_run = np.minimum(case.participants["must_run_kw"].to_numpy(float), requests.export_request_kw)
        must_run = must_run[:, self._must_run(case)]
        numbers: Values = {"must_run_kw": must_run}
        if len(battery):
            numbers |= {f"{STORE}_lower": np.minimum(low, stored), f"{STORE}_upper": np.maximum(high, stored)}
            numbers[f"{STORE}_initial"] = stored
        plan = self._plan(solve, numbers, {"before": stored}, requests)
        return self._shared(grid, solve, plan, must_run, requests)

    def _plan(self, solve: Solve, numbers: Values, ending: Values, requests: Requests) -> Solution:
        """The window at least cost, stage by stage unless one program shows that nothing has to be shed or missing."""
        slack = HELD * requests.dt_h * float(requests.import_request_kw.sum())
        plan = solve({**numbers, **ending}, "plenty")
        if all(requests.dt_h * float(np.sum(plan[value])) <= slack for value in ("shed", "lacking")):
            return plan
        held: Values = {}
        for stage, value, most in (("shed", "shed", "most_all_shed"), ("reserve", "lacking", "most_all_lacking")):
            reached = requests.dt_h * float(np.sum(solve({**numbers, **held}, stage)[value]))
            held = {**held, most: np.array([max(0.0, reached) + slack])}
        return solve({**numbers, **held, **ending}, "cost")

    def _shared(self, grid: Grid, solve: Solve, plan: Solution, must_run: FloatArray, requests: Requests) -> Solution:
        """The plan, of which what is carried out is as even as its cost permits."""
        first = np.arange(requests.n_steps) < self._committed_steps(requests)
        fixed = {f"{name}_fixed": plan[name][first] for name in ("charge", "discharge", "lacking", "shed")}
        roots = {f"root_{d}": np.sqrt(per_request(1.0, requests.request_kw(d)[first])) for d in DIRECTIONS}
        slack = SAME * self._dearest(grid.case) * requests.both_kw[:, first].sum(axis=(0, 2))
        for d in DIRECTIONS:  # what would cost more at any other power keeps it
            kw, held = plan[d][first], np.abs(plan.bound_duals[d][first]) > STRICT * self._dearest(grid.case)
            fixed |= {f"least_{d}": kw * held, f"most_{d}": np.where(held, kw, requests.request_kw(d)[first])}
        numbers = {**fixed, **roots, "must_run_kw": must_run[first], "cost_fixed": plan["cost"][first] + slack}
        now = grid.select(requests, first)
        try:
            even = solve(numbers, "shares", now)
        except SolveError:
            spare = SPARE * now.import_request_kw.sum(axis=1, keepdims=True)
            wider = {name: fixed[name] + spare for name in ("shed_fixed", "lacking_fixed")}
            wider["cost_fixed"] = numbers["cost_fixed"] + self._dearest(grid.case) * spare[:, 0]
            wider |= {f"least_{d}": 0.0 * fixed[f"least_{d}"] for d in DIRECTIONS}
            wider |= {f"most_{d}": now.request_kw(d) for d in DIRECTIONS}
            even = solve(numbers | wider, "shares", now)
        changed = {name: np.concatenate([even[name], plan[name][~first]]) for name in (*DIRECTIONS, "paid")}
        return replace(plan, values={**plan.values, **changed})

    def _committed_steps(self, requests: Requests) -> int:
        hours = length_h(str(self.committed))
        steps = self.committed if hours is None else round(hours / requests.dt_h)
        return requests.n_steps if steps == "all" else int(steps)

    def settle(self, grid: Grid, solution: Solution, requests: Requests) -> Allocation:
        """Powers, and prices: own offers for who generates, what that and reserve cost for load."""
        served, offers = self._served(grid, solution), self.offers(grid.case)
        burnt = np.minimum(solution["charge"], solution["discharge"])  # nobody is paid for both at once
        paid = solution["paid"] - burnt @ offers[grid.case.batteries.participant]
        price = self._per_kwh(paid, served) + self._reserve_per_kwh(grid.case, served, requests)
        of_load, own = np.tile(price[:, None], grid.n), np.tile(offers, (len(price), 1))
        return replace(served, import_price=of_load, export_price=own)

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
