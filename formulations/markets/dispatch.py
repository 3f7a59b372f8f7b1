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

With a ``source_price`` the source trades too, at that price; what it sells is no reserve.

Everybody who generates is paid its own offer (a battery for what it discharges), and reserve what is left of it is
needed, in proportion, at ``reserve_price``. Load pays what both cost in the interval, per kWh served.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case, Requests
from amm_opt.cases.times import is_length
from amm_opt.errors import InputError
from amm_opt.grid import Grid
from amm_opt.market import Allocation, Mechanism, State, battery_kw, stored_after
from amm_opt.market.mechanism import Solve, Values
from amm_opt.program import HorizonProgram, Injection, Program, Solution

STORE = "stored"
"""Name of the store that holds what is in batteries."""
BAND = (0.05, 0.95)
"""Between these shares of its size the content of a battery stays."""
HALF = 0.5
"""Content of less than this share at the end of a window costs ``content_price``."""
MISSED = 10.0
"""A kWh that a must-run plant stays below its output costs so many times the largest offer."""
HELD = 1e-3
"""What a stage reached may be missed by, in kWh."""


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
        offer: what those without an ``export_offer`` ask for a kWh.
        reserve_price: currency per kW and hour for reserve.
        content_price: currency per kWh that batteries lack of half their size at the end of a window.
        source_price: at which the source sells and buys any amount; None where load must be met by participants.
    """

    name: ClassVar[str] = "dispatch"

    window: int | str = "72h"
    committed: int | str = "24h"
    reserve: float = 0.1
    offer: float = 0.0
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

    def offers(self, case: Case) -> FloatArray:
        """(n,) what everybody asks for a kWh."""
        own = case.own_prices[0][1]
        return np.where(np.isnan(own), self.offer, own)

    def program(self, grid: Grid) -> Mapping[str, HorizonProgram]:
        battery, dt, offers = grid.case.batteries, grid.case.dt_h, self.offers(grid.case)
        served, output, missed = (cp.Variable(grid.n, name=f"{name}_kw") for name in ("served", "output", "missed"))
        charge, discharge = (cp.Variable(len(battery), name=name) for name in ("charge", "discharge"))
        lacking = cp.Variable(1, name="lacking_kw")
        at_home = sp.csr_array(
            (np.ones(len(battery)), (battery.participant, range(len(battery)))), (grid.n, len(battery))
        )
        shed = cp.sum(grid.import_request_kw) - cp.sum(served)
        left = cp.sum(grid.export_request_kw) - cp.sum(output) + cp.sum(battery.power_kw + charge - discharge)
        limits = [served >= 0, served <= grid.import_request_kw, output >= 0, output <= grid.export_request_kw]
        limits += [missed >= 0, output + missed >= cp.Parameter(grid.n, nonneg=True, name="must_run_kw")]
        limits += [part for b in (charge, discharge) for part in (b >= 0, b <= battery.power_kw)]
        limits += [lacking >= 0, left + lacking >= self.reserve * cp.sum(served)]
        fixed_kw = cp.sum(grid.inflexible_kw) - float(grid.case.feeder.shunt_kva.real.sum())
        exchange = cp.sum(served) + cp.sum(charge) - cp.sum(output) - cp.sum(discharge)
        limits += [] if self.source_price is not None else [exchange == -fixed_kw]
        injection = Injection(served + at_home @ charge, output + at_home @ discharge)
        stored = cp.multiply(battery.efficiency, charge) - cp.multiply(1.0 / battery.efficiency, discharge)
        values = {"import": served, "export": output, "charge": charge, "discharge": discharge, "stored_kw": stored}
        values |= {"shed_kw": cp.reshape(shed, (1,), order="C"), "lacking_kw": lacking}

        cost = (
            offers @ output + offers[battery.participant] @ discharge + MISSED * self._largest(offers) * cp.sum(missed)
        )
        cost += (self.source_price or 0.0) * exchange
        interval = Program(cp.Minimize(cp.Constant(0.0)), limits, [injection], values)
        at_cost = replace(interval, objective=cp.Minimize(dt * cost))

        shed, lacking, gained = (
            cp.Variable(k, name=name) for name, k in (("shed", 1), ("lack", 1), ("gained", len(battery)))
        )
        totals = {"shed_kw": shed, "lacking_kw": lacking}
        held = [total <= cp.Parameter(1, nonneg=True, name=f"most_{total.name()}") for total in totals.values()]
        short, before = cp.Variable(len(battery), name="short"), cp.Parameter(len(battery), name="before")
        content = [short >= 0, short >= HALF * battery.size_kwh - before - gained]
        stores = {STORE: "stored_kw"} if len(battery) else {}
        ending = cp.Minimize(self.content_price * cp.sum(short))
        return {
            "shed": HorizonProgram(interval, cp.Minimize(cp.sum(shed)), totals, stores=stores),
            "reserve": HorizonProgram(interval, cp.Minimize(cp.sum(lacking)), totals, held[:1], stores=stores),
            "cost": HorizonProgram(at_cost, ending, {**totals, "stored_kw": gained}, [*held, *content], stores=stores),
        }

    def _largest(self, offers: FloatArray) -> float:
        return float(np.max(np.abs(offers), initial=0.0)) or 1.0

    def clear(self, grid: Grid, solve: Solve, state: ContentState, requests: Requests) -> Solution:
        case, battery = grid.case, grid.case.batteries
        stored = state.stored_kwh[battery.participant]
        low, high = (share * battery.size_kwh for share in BAND)
        numbers: Values = {"must_run_kw": self._must_run(case, requests)}
        if len(battery):
            numbers |= {f"{STORE}_lower": np.minimum(low, stored), f"{STORE}_upper": np.maximum(high, stored)}
            numbers[f"{STORE}_initial"] = stored
        for stage, value, most in (("shed", "shed_kw", "most_shed"), ("reserve", "lacking_kw", "most_lack")):
            reached = requests.dt_h * float(np.sum(solve(numbers, stage)[value]))
            numbers[most] = np.array([max(0.0, reached) + HELD])
        return solve({**numbers, "before": stored}, "cost")

    def settle(self, grid: Grid, solution: Solution, requests: Requests) -> Allocation:
        """Powers, and prices: own offers for who generates, what that and reserve cost for load."""
        battery, offers = grid.case.batteries, self.offers(grid.case)
        output, discharge = self._in_proportion(grid.case, solution["export"], requests), solution["discharge"]
        served = solution["import"].sum(axis=1)
        reserve_kw = self.reserve * served - solution["lacking_kw"].ravel()
        cost = output @ offers + discharge @ offers[battery.participant] + self.reserve_price * reserve_kw
        if self.source_price is not None:
            drawn = served + solution["charge"].sum(axis=1) - output.sum(axis=1) - discharge.sum(axis=1)
            cost += self.source_price * drawn
        price = np.divide(cost, served, out=np.zeros_like(cost), where=served > 0)
        powers = solution["import"], output
        prices = np.tile(price[:, None], grid.n), np.tile(offers, (len(price), 1))
        return Allocation(*powers, *prices, battery_kw(solution, battery, grid.n) if len(battery) else None)

    def _in_proportion(self, case: Case, output: FloatArray, requests: Requests) -> FloatArray:
        """The same output at every place; plants there with the same offer share it by what they can do more."""
        phases = np.unique(np.array(case.phases), return_inverse=True)[1]
        alike = np.column_stack([case.bus, phases, case.kvar_per_kw[2], self.offers(case)])
        kind = np.unique(alike, axis=0, return_inverse=True)[1].ravel()
        member = sp.csr_array((np.ones(len(kind)), (kind, np.arange(len(kind)))))
        least = np.minimum(self._must_run(case, requests), output)
        more = requests.export_request_kw - least
        whole = more @ member.T
        share = np.divide((output - least) @ member.T, whole, out=np.zeros_like(whole), where=whole > 0)
        return np.asarray(least + more * share[:, kind])

    def _must_run(self, case: Case, requests: Requests) -> FloatArray:
        return np.asarray(np.minimum(case.participants["must_run_kw"].to_numpy(float), requests.export_request_kw))

    def advance(self, state: ContentState, allocation: Allocation, requests: Requests) -> ContentState:
        if allocation.battery_kw is None:
            return state
        stored = stored_after(state.stored_kwh, state.efficiency, allocation.battery_kw, requests.dt_h)
        return replace(state, stored_kwh=stored)
