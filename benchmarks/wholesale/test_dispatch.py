"""A window of dispatch on the national system, 72 h in 144 half-hours: ours beside one program in cvxpy.

    pytest benchmarks/wholesale/test_dispatch.py --benchmark-timer=time.process_time

``cvxpy`` is how one writes it by hand: matrices of variables over the whole window, angles and a flow per line, three
stages one after the other, HiGHS. ``rebuilt`` makes and compiles it, as ours does; ``kept`` is the second time, with
parameters. What is shed and the cost agree to 1e-6.
"""

from __future__ import annotations

from typing import Any

import cvxpy as cp
import numpy as np
import pytest

import amm_opt as ao
from amm_opt.arrays import FloatArray

WINDOW, FIRST = 144, 432
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
            problem.solve(solver=cp.HIGHS, warm_start=False)  # from an old basis it takes far longer
            assert problem.status == "optimal", problem.status
            if k < 2:
                reached[k] = max(0.0, float((self.shed, self.lack)[k].value)) + 1e-8 * asked.sum()
                self.most.value = reached
        return float(self.shed.value), float(self.lack.value), float(self.cost.value)


def _numbers(case: ao.Case) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Load, availability and content of the window, GW and GWh."""
    requests = case.requests(FIRST, FIRST + WINDOW)
    return 1e-6 * requests.import_request_kw, 1e-6 * requests.export_request_kw, 1e-6 * case.batteries.initial_kwh


def _ours(case: ao.Case) -> ao.Run:
    return ao.simulate(case, f"{SPEC},committed=72h", steps=slice(FIRST, FIRST + WINDOW), network="dc")


@pytest.mark.parametrize("way", ["amm_opt", "cvxpy rebuilt", "cvxpy kept"])
def test_a_window(benchmark: Any, way: str) -> None:
    benchmark.group = "dispatch, 144 half-hours of the national system"
    case = ao.load_case("national")
    if way == "amm_opt":
        assert not benchmark.pedantic(_ours, (case,), rounds=3).failed_steps
    elif way == "cvxpy rebuilt":
        benchmark.pedantic(lambda: Monolith(case, WINDOW).solved(*_numbers(case)), rounds=1)
    else:
        kept = Monolith(case, WINDOW)
        kept.solved(*_numbers(case))
        benchmark.pedantic(kept.solved, _numbers(case), rounds=1)


def test_both_reach_the_same() -> None:
    case = ao.load_case("national")
    run = _ours(case)
    asked, can, content = _numbers(case)
    shed, _, cost = Monolith(case, WINDOW).solved(asked, can, content)
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
