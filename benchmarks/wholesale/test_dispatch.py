"""A week of dispatch on the national system, 336 half-hours in windows of 72 h: ours beside one program in cvxpy.

    pytest benchmarks/wholesale/test_dispatch.py --benchmark-timer=time.process_time

``cvxpy`` is how one writes it by hand: matrices of variables over the whole window, angles and a flow per line, three
stages one after the other, HiGHS. ``kept`` has parameters and is compiled once, ``rebuilt`` makes it anew for every
window. What is shed, the reserve that lacks and the cost of the first window agree to 1e-6.
"""

from __future__ import annotations

from typing import Any

import cvxpy as cp
import numpy as np
import pytest

import amm_opt as ao
from amm_opt.arrays import FloatArray

STEPS, WINDOW, COMMITTED, FIRST = 336, 144, 48, 432
RESERVE, MISSED, CONTENT_PRICE, BAND = 0.1, 10.0, 0.005, (0.05, 0.95)
SPEC = "dispatch:source_price=none"


class Monolith:
    """One window as one program; power in GW, so that numbers are of one size."""

    def __init__(self, case: ao.Case, steps: int) -> None:
        people, feeder, n = case.participants, case.feeder, case.n_participants
        battery, dt, self.steps = case.batteries, case.dt_h, steps
        m, lines = len(battery), feeder.ends.shape[1] - 1
        self.offers = np.nan_to_num(case.own_prices[0][1])
        at = case.incidence.toarray().T  # (n, buses)
        start, stop = feeder.ends[:, 1:]
        per_rad = 1e-6 * 1000.0 * feeder.vn_kv[stop] ** 2 / np.array([z[0, 0].imag for z in feeder.z_ohm[1:]])
        along = np.zeros((feeder.n_buses, lines))
        along[start, np.arange(lines)], along[stop, np.arange(lines)] = 1.0, -1.0
        shape = (steps, n)
        self.asked, self.can, self.must = (cp.Parameter(shape, nonneg=True) for _ in range(3))
        self.before, self.most = cp.Parameter(m, nonneg=True), cp.Parameter(2, nonneg=True)
        self.served, self.output, self.missed = (cp.Variable(shape, nonneg=True) for _ in range(3))
        self.charge, self.discharge = (cp.Variable((steps, m), nonneg=True) for _ in range(2))
        content, lacking = cp.Variable((steps, m)), cp.Variable(steps, nonneg=True)
        short, theta = cp.Variable(m, nonneg=True), cp.Variable((steps, feeder.n_buses))
        size, power, eta = 1e-6 * battery.size_kwh, 1e-6 * battery.power_kw, battery.efficiency
        flow = (theta @ along) @ np.diag(per_rad)
        rating = np.where(np.isfinite(feeder.rating_kva[1:]), 1e-6 * feeder.rating_kva[1:], 1e3)
        net = (self.output - self.served) @ at + (self.discharge - self.charge) @ at[battery.participant]
        left = cp.sum(self.can - self.output, axis=1) + cp.sum(self.charge - self.discharge, axis=1) + power.sum()
        gained = dt * (self.charge @ np.diag(eta) - self.discharge @ np.diag(1.0 / eta))
        limits = [
            *(self.served <= self.asked, self.output <= self.can, self.output + self.missed >= self.must),
            *(self.charge <= power, self.discharge <= power, theta[:, 0] == 0, net == flow @ along.T),
            *(
                flow <= rating[None, :],
                flow >= -rating[None, :],
                left + lacking >= RESERVE * cp.sum(self.served, axis=1),
            ),
            *(content[0] == self.before + gained[0], content[1:] == content[:-1] + gained[1:]),
            *(content >= BAND[0] * size, content <= BAND[1] * size, short >= 0.5 * size - content[-1]),
        ]
        self.shed = dt * cp.sum(self.asked - self.served)
        self.lack = dt * cp.sum(lacking)
        bids = cp.sum(self.output @ self.offers) + cp.sum(self.discharge @ self.offers[battery.participant])
        self.cost = dt * bids + dt * MISSED * self.offers.max() * cp.sum(self.missed) + CONTENT_PRICE * cp.sum(short)
        held = [self.shed <= self.most[0], self.lack <= self.most[1]]
        stages = ((self.shed, []), (self.lack, held[:1]), (self.cost, held))
        self.problems = [cp.Problem(cp.Minimize(goal), [*limits, *own]) for goal, own in stages]
        self.content, self.must_run = content, 1e-6 * people["must_run_kw"].to_numpy(float)

    def solved(self, asked: FloatArray, can: FloatArray, before: FloatArray) -> tuple[float, float, float]:
        """Shed and lacking energy, GWh, and cost, million, stage by stage."""
        self.asked.value, self.can.value, self.before.value = asked, can, before
        self.must.value = np.minimum(self.must_run, can)
        reached = np.zeros(2)
        self.most.value = reached
        for k, problem in enumerate(self.problems):
            problem.solve(solver=cp.HIGHS)
            assert problem.status == "optimal", problem.status
            if k < 2:
                reached[k] = max(0.0, float((self.shed, self.lack)[k].value)) + 1e-8 * asked.sum()
                self.most.value = reached
        return float(self.shed.value), float(self.lack.value), float(self.cost.value)


def _week(case: ao.Case, kept: bool) -> list[tuple[float, float, float]]:
    """All windows of the week; shorter ones at the end are programs of their own."""
    requests, found = case.requests(FIRST, FIRST + STEPS), []
    stored, made = 1e-6 * case.batteries.initial_kwh, dict[int, Monolith]()
    for first in range(0, STEPS, COMMITTED):
        steps = min(WINDOW, STEPS - first)
        if not kept or steps not in made:
            made[steps] = Monolith(case, steps)
        span = slice(first, first + steps)
        asked, can = (1e-6 * kw[span] for kw in (requests.import_request_kw, requests.export_request_kw))
        found.append(made[steps].solved(asked, can, stored))
        stored = np.asarray(made[steps].content.value[min(COMMITTED, steps) - 1])
    return found


def _ours(case: ao.Case) -> ao.Run:
    return ao.simulate(case, SPEC, steps=slice(FIRST, FIRST + STEPS), network="dc")


@pytest.mark.parametrize("way", ["amm_opt", "cvxpy kept", "cvxpy rebuilt"])
def test_a_week(benchmark: Any, way: str) -> None:
    benchmark.group = "dispatch of a week, national"
    case = ao.load_case("national")
    if way == "amm_opt":
        run = benchmark.pedantic(_ours, (case,), rounds=3)
        assert not run.failed_steps
        return
    benchmark.pedantic(_week, (case, way == "cvxpy kept"), rounds=1)


def test_both_reach_the_same() -> None:
    """The first window alone: 72 hours, all of them carried out."""
    case = ao.load_case("national")
    run = ao.simulate(case, f"{SPEC},committed=72h", steps=slice(FIRST, FIRST + WINDOW), network="dc")
    asked, can = (1e-6 * kw for kw in (run.requests.import_request_kw, run.requests.export_request_kw))
    shed, _, cost = Monolith(case, WINDOW).solved(asked, can, 1e-6 * case.batteries.initial_kwh)
    people = run.settlement().participants
    ours = (np.nan_to_num(case.own_prices[0][1]) * (people["export_kwh"] + people["discharged_kwh"])).sum()
    state = run.dataset["state_stored_kwh"].to_numpy()[-1, case.batteries.participant]
    ours += CONTENT_PRICE * np.maximum(0.5 * case.batteries.size_kwh - state, 0.0).sum()
    must = np.minimum(case.participants["must_run_kw"].to_numpy(float), run.requests.export_request_kw)
    offers = np.nan_to_num(case.own_prices[0][1])
    ours += MISSED * offers.max() * case.dt_h * np.maximum(must - run.allocation.export_kw, 0.0).sum()
    assert 1e-6 * ours == pytest.approx(cost, rel=1e-6)
    unserved = case.dt_h * (asked - 1e-6 * run.allocation.import_kw).sum()
    assert unserved == pytest.approx(shed, abs=1e-6 * case.dt_h * asked.sum())
