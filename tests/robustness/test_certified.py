"""Certified boxes: by hand on one line, against AC power flow on whole feeders, and orders at the head."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import pytest
from small import small_case

import amm_opt as ao
from amm_opt.grid import Grid
from amm_opt.network import ACNetwork, Certified, LinDistFlow
from amm_opt.network.excess import excesses
from amm_opt.solve.solver import ProgramSolver
from amm_opt.testing import cases
from formulations import GreedyDOE
from tests.network.ac.test_ac import OHM, X_OHM

EVENING = slice(38, 41)


@lru_cache
def strained() -> ao.Case:
    case = ao.load_case("synthetic:buses=300,days=2,seed=1")
    return case.with_scenario(import_scale=1.6, load_scale=1.6, export_scale=1.5)


@lru_cache
def evening() -> ao.Run:
    return ao.simulate(strained(), "amm", network="certified", steps=EVENING)


def test_one_line_by_hand() -> None:
    """A box from 40 kW of import to 30 kW of export behind r + jx: import end exactly, export end without losses.

    w = v^2 solves w^2 - (1 - 2 (r p + x q)) w + |z|^2 (p^2 + q^2) = 0 with p, q injections, in pu of 1 kW.
    """
    case = small_case({"lv": ("src", OHM, 200.0)}, ["lv"], [[0.0]], [[1.0]], [[0.0]], x_ohm=X_OHM)
    model = Certified(case.feeder)
    r, x = (ohm / (1000.0 * case.feeder.vn_kv[1] ** 2) for ohm in (OHM, X_OHM))
    proved = model.certificate([0.0, -40.0, 0.0, 30.0], np.zeros(4))
    b = 1.0 - 2.0 * r * 40.0
    w = 0.5 * (b + math.sqrt(b**2 - 4.0 * (r**2 + x**2) * 40.0**2))
    assert proved.w_low[1] == pytest.approx(w, abs=1e-10)
    assert proved.w_high[1] == pytest.approx(1.0 + 2.0 * r * 30.0, abs=1e-12)
    assert proved.current[1] == pytest.approx(40.0**2 / w, rel=1e-9)
    sent = 40.0 + r * 40.0**2 / w
    assert proved.p_high[1] == pytest.approx(sent, rel=1e-9)
    assert proved.current[1] == pytest.approx(sent**2 + (x * 40.0**2 / w) ** 2, rel=1e-8)
    assert proved.p_low[1] == pytest.approx(-30.0, abs=1e-9)
    assert float(proved.radius) == pytest.approx(2.0 * (sent * r + x * x * 40.0**2 / w), rel=2e-3)


def test_no_bounds_is_nan() -> None:
    case = small_case({"lv": ("src", OHM, 200.0)}, ["lv"], [[0.0]], [[1.0]], [[0.0]], x_ohm=X_OHM)
    assert np.isnan(Certified(case.feeder).evaluate([0.0, -600.0], [0.0, 0.0])).all()


def test_refused_by_name() -> None:
    with pytest.raises(ao.InputError, match="phase"):
        Certified(cases.small_case(balanced=False).feeder)
    with pytest.raises(ao.InputError, match="already"):
        ao.simulate(strained(), "amm", network="certified", ac="secure", steps=1)
    with pytest.raises(ao.InputError, match="no certified boxes"):
        ao.certificates(ao.simulate(strained(), "amm", steps=1))


def adversarial(case: ao.Case, rng: np.random.Generator, count: int) -> np.ndarray:
    """Shares (K, n): random corners, whole LV feeders at one corner, the interior, everybody."""
    n, home = case.n_participants, case.lv_feeder
    corners = (rng.random((count, n)) < rng.random((count, 1))).astype(float)
    feeders = (rng.random((count, home.max() + 2)) < 0.7).astype(float)[:, home]
    return np.concatenate([corners, feeders, rng.random((count, n)), np.ones((1, n))])


@pytest.mark.parametrize("direction", ["import", "export"])
def test_every_point_is_feasible_on_ac_where_the_linear_box_is_not(direction: str) -> None:
    case, beyond = strained(), {}
    asked = case.requests(40, 41).interval(0)
    ac = ACNetwork(case.feeder, threads=-1)
    for kind in (LinDistFlow, Certified):
        grid, mechanism = Grid(case, kind(case.feeder)), GreedyDOE()
        solver = ProgramSolver(mechanism.program(grid)[direction], grid, [None])
        held = {"held_kw": np.zeros(grid.n)} if grid.boxes and direction == "import" else {}

        def solve(values, solver=solver, held=held, grid=grid):
            return solver.solve({**values, **held}, asked, *grid.limits(asked))

        box = mechanism._envelope(grid, solve, direction, asked)["envelope"]
        points = box * adversarial(case, np.random.default_rng(3), 100)
        load = np.broadcast_to(asked.inflexible_kw, points.shape)
        powers = (points, 0.0) if direction == "import" else (0.0, points)
        thermal, voltage = excesses(LinDistFlow(case.feeder), ac.flow(*grid.node_injections(load, *powers)))
        beyond[kind.name] = int(((thermal > 1e-4).any(axis=1) | (voltage > 1e-5).any(axis=1)).sum())
    assert beyond["certified"] == 0
    if direction == "import":
        assert beyond["lindistflow"] > 0


def test_both_envelopes_hold_together() -> None:
    """Import found beside export, not alone: both keep limits, import alone on top of export does not."""
    case = strained()
    asked = case.requests(36, 37).interval(0)
    grid, mechanism = Grid(case, Certified(case.feeder)), GreedyDOE(enrolled="active")
    solvers = {name: ProgramSolver(p, grid, [None]) for name, p in mechanism.program(grid).items()}

    def solve(values, name):
        return solvers[name].solve(values, asked, *grid.limits(asked))

    found = mechanism.clear(grid, solve, mechanism.initial_state(case), asked)
    both = [np.maximum(found[d]["envelope"], 0.0) for d in ("import", "export")]
    assert grid.feasible(asked, *both)
    alone = mechanism._envelope(
        grid, lambda values: solve({**values, "held_kw": np.zeros(grid.n)}, "import"), "import", asked
    )["envelope"]
    assert grid.feasible(asked, np.maximum(alone, 0.0), 0.0)
    assert not grid.feasible(asked, np.maximum(alone, 0.0), both[1])


def test_the_claim_is_certified_and_stays_so_after_ac() -> None:
    run = evening()
    assert run.claim is not None
    assert run.claim.rung == "certified"
    after = ao.verify(run).claim
    assert after is not None
    assert after.rung == "certified"
    assert "no violation at 3 tested AC points" in after.words
    broken = ao.verify(ao.simulate(strained(), "no_control", network="certified", steps=EVENING)).claim
    assert broken is not None
    assert broken.rung == "falsified"


def test_orders_at_the_head_are_met_and_admissible() -> None:
    run, rng = evening(), np.random.default_rng(4)
    proved = ao.certificates(run)
    assert proved["certified"].all()
    assert (proved["radius"] < 0.2).all()
    order = proved["head_low_kw"] + rng.random(3) * (proved["head_high_kw"] - proved["head_low_kw"])
    for given in ({}, {"by": "priority", "priority": rng.random(strained().n_participants)}):
        done = ao.disaggregate(run, order, **given)
        assert np.abs(done.head_kw - order).max() < 1e-3
        assert done.admissible.all()
        assert np.all(done.import_kw <= run.allocation.import_kw + 1e-9)
        assert np.all(done.export_kw <= run.allocation.export_kw + 1e-9)
    for k, row in enumerate(done.import_kw):
        asked = run.allocation.import_kw[k] > 1e-6
        cut = asked & (row < run.allocation.import_kw[k] - 1e-6)
        assert given["priority"][cut].max(initial=0.0) <= given["priority"][asked & ~cut].min(initial=1.0)
    with pytest.raises(ao.InputError, match="outside the band"):
        ao.disaggregate(run, 1e6)
    with pytest.raises(ao.InputError, match="priority"):
        ao.disaggregate(run, order, by="turns", priority=1.0)
