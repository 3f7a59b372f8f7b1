"""BranchFlowSOCP: its sweep against AC power flow, exact where losses hurt, reported inexact where they help."""

from __future__ import annotations

import math
import warnings
from functools import lru_cache

import cvxpy as cp
import numpy as np
import pytest
from small import small_case

import amm_opt as ao
from amm_opt.grid import Grid
from amm_opt.market import deficits
from amm_opt.network import ACNetwork, BranchFlowSOCP, Feeder, LinDistFlow
from amm_opt.solve.route import Task
from amm_opt.solve.routes.checks import check_program
from amm_opt.solve.routes.declared import DeclaredProgram
from amm_opt.tolerances import EXACT_GAP
from formulations import AMM, EqualDOE, GreedyDOE
from tests.network.ac.test_ac import OHM, X_OHM, exact, hosted_on_ac

NIGHT, NOON = slice(38, 42), slice(20, 24)


@lru_cache
def strained() -> ao.Case:
    """Scarce of import at night and of export at noon; a tap on every transformer."""
    case = ao.load_case("synthetic:buses=300,days=2,seed=1")
    return case.with_scenario(import_scale=1.6, load_scale=1.6, export_scale=1.5)


def with_taps(case: ao.Case) -> Feeder:
    tables = case.feeder.tables
    tap = np.where(tables.branches["kind"] == "transformer", 0.975, 1.0)
    return Feeder.from_tables(
        tables.buses.assign(phases="pos"), tables.branches.drop(columns="z_ohm").assign(phases="pos", tap=tap)
    )


def injections(case: ao.Case, steps: slice, share: float) -> tuple[np.ndarray, np.ndarray]:
    w = case.requests(steps.start, steps.stop)
    return case.bus_injections(w.inflexible_kw, share * w.import_request_kw, share * w.export_request_kw)


@pytest.mark.parametrize("steps", [NIGHT, NOON], ids=["import", "export"])
def test_the_sweep_is_ac_power_flow(steps: slice) -> None:
    feeder = with_taps(strained())
    p, q = injections(strained(), steps, 0.8)
    mine, ac = BranchFlowSOCP(feeder).state(p, q), ACNetwork(feeder).flow(p, q)
    np.testing.assert_allclose(mine.v_pu, ac.v_pu, atol=1e-7)
    for name in ("p_sent_kw", "q_sent_kvar", "p_received_kw", "q_received_kvar", "s_flow_kva"):
        np.testing.assert_allclose(getattr(mine, name)[:, 1:], getattr(ac, name)[:, 1:], atol=1e-3)
    assert np.abs(mine.v_pu - LinDistFlow(feeder).state(p, q).v_pu).max() > 1e-3


def test_no_solution_is_nan() -> None:
    case = small_case({"lv": ("src", OHM, 200.0)}, ["lv"], [[0.0]], [[1.0]], [[0.0]], x_ohm=X_OHM)
    state = BranchFlowSOCP(case.feeder).state([[0.0, -60.0], [0.0, -600.0]], np.zeros((2, 2)))
    assert state.v_pu[0, 1] == pytest.approx(exact(60.0, 0.0)[0], abs=1e-10)
    assert np.isnan(state.v_pu[1]).all()
    assert np.isnan(BranchFlowSOCP(case.feeder).evaluate([0.0, -600.0], [0.0, 0.0])).all()


def test_intervals_without_a_solution_are_counted() -> None:
    powers = ([[0.0], [0.0]], [[60.0], [600.0]], [[0.0], [0.0]])
    case = small_case({"lv": ("src", OHM, 200.0)}, ["lv"], *powers, x_ohm=X_OHM, connection_import_kw=1000.0)
    s = ao.simulate(case, "no_control", network="socp", ac="verify").summary
    assert (s["unsolved_steps"], s["ac_unsolved_steps"]) == (1, 1)
    assert s["voltage_error_worst_pu"] < 1e-7


@pytest.mark.parametrize("steps", [NIGHT, NOON], ids=["import", "export"])
def test_exact_where_losses_are_minimised(steps: slice) -> None:
    """Given injections: the solution with the least losses is the power flow, and every cone is tight to 1e-6."""
    feeder = with_taps(strained())
    network = BranchFlowSOCP(feeder)
    p, q = injections(strained(), steps, 0.5)
    wide = network.quantities
    for k in range(len(p)):
        relaxed = network.relaxation(cp.Constant(p[k]), cp.Constant(q[k]), wide.lower - 9.0, wide.upper + 9.0)
        problem = cp.Problem(cp.Minimize(relaxed.loss_kw), relaxed.constraints)
        problem.solve(solver="CLARABEL")
        u, state = relaxed.unknowns.value, network.state(p[k], q[k])
        assert network.form.gap(u, feeder.n_buses).max() <= 1e-6
        np.testing.assert_allclose(np.sqrt(u[network.form.voltage]), state.v_pu[1:], atol=1e-6)
        losses = float((state.p_sent_kw - state.p_received_kw).sum())
        assert problem.value == pytest.approx(losses, rel=1e-5)
        assert losses > 0.1


def test_one_line_is_used_to_its_rating() -> None:
    """Import until the sent end carries 30 kVA, on the circle; twice the same request is served alike."""
    case = small_case({"lv": ("src", OHM, 30.0)}, ["lv"] * 2, [[5.0, 5.0]], [[40.0, 40.0]], [[0.0, 0.0]], x_ohm=X_OHM)
    for mechanism, tolerance in ((AMM(), 1e-5), (EqualDOE(), 2.5e-3)):
        run = ao.simulate(case, mechanism, network="socp", steps=slice(0, 1))
        x = run.allocation.import_kw[0]
        assert x[0] == pytest.approx(x[1], rel=1e-4)
        assert exact(10.0 + x.sum(), 0.0)[2] == pytest.approx(30.0, rel=tolerance)
        assert (run.inexact_steps, run.repaired_steps, run.summary["worst_gap"]) == ((), (), 0.0)
        assert run.audit is not None
        assert max(run.audit.primal, run.audit.dual, run.audit.gap) < 1e-6


@pytest.mark.parametrize("mechanism", [AMM(), EqualDOE(enrolled="requesting")], ids=str)
def test_import_is_exact_and_close_to_the_secured_linear_model(mechanism: ao.Mechanism) -> None:
    """No warning (warnings are errors here). The polygon of the linear model costs at most 1.9 % of a rating."""
    run = ao.simulate(strained(), mechanism, network="socp", steps=NIGHT, ac="verify")
    linear = ao.simulate(strained(), mechanism, steps=NIGHT, ac="secure")
    assert run.summary["inexact_steps"] == 0
    assert hosted_on_ac(run)
    assert (run.summary["ac_thermal_violations"], run.summary["ac_voltage_violations"]) == (0, 0)
    assert run.summary["voltage_error_worst_pu"] < 1e-7
    assert run.allocation.import_kw.sum() == pytest.approx(linear.allocation.import_kw.sum(), rel=0.04)
    assert run.summary["unserved_mwh"] > 0.01


@pytest.mark.parametrize("mechanism", [GreedyDOE(), AMM()], ids=str)
def test_export_is_reported_inexact(mechanism: ao.Mechanism) -> None:
    """Losses are a sink for power that the network cannot carry; what they promise too much is taken back."""
    with pytest.warns(
        ao.InexactWarning, match=r"inexact in \d+ intervals, first at 2030-01-07 10:00:00; the worst gap"
    ):
        run = ao.simulate(strained(), mechanism, network="socp", steps=NOON, ac="verify")
    assert run.summary["inexact_steps"] == len(run.inexact_steps) > 0
    assert run.gap is not None
    assert run.gap.max() == run.summary["worst_gap"] > 1e3 * EXACT_GAP
    assert run.gap.shape == (strained().feeder.n_buses,)
    assert set(run.repaired_steps) <= set(run.inexact_steps)
    assert hosted_on_ac(run)
    assert run.summary["failed_steps"] == 0


def test_direct_and_declared_agree() -> None:
    """The compiled program with the network's matrices against one cvxpy problem with every cone."""
    grid = Grid(strained(), BranchFlowSOCP(strained().feeder))
    mechanism = AMM()
    program = mechanism.program(grid)
    declared = DeclaredProgram(program, grid, check_program(program, grid), BranchFlowSOCP.loss_weight)
    for k in (38, 40):
        w = strained().requests(k, k + 1).interval(0)
        values = mechanism.parameters(grid, mechanism.initial_state(strained()), w)
        slow = declared.solve("CLARABEL", Task(values, w, *grid.limits(w)))
        fast = ao.simulate(strained(), mechanism, network="socp", steps=slice(k, k + 1))
        np.testing.assert_allclose(fast.allocation.import_kw[0], slow["import"], atol=2e-4)
        assert slow.gap is not None
        assert slow.gap.max() <= EXACT_GAP


def test_prices_are_those_of_the_linear_limits() -> None:
    case = strained()
    conic, linear = Grid(case, BranchFlowSOCP(case.feeder)), Grid(case, LinDistFlow(case.feeder))
    w = case.requests(38, 39).interval(0)
    np.testing.assert_array_equal(deficits(conic, w), deficits(linear, w))
    assert deficits(conic, w).max() > 0.05


def test_solver_without_cones_is_refused() -> None:
    with pytest.raises(ao.InputError, match="'highs' cannot solve second-order cone programs"):
        ao.simulate(strained(), AMM(), network="socp", solver="highs", steps=1)


def test_secure_on_the_relaxed_model() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ao.InexactWarning)
        run = ao.simulate(strained(), AMM(), network="socp", steps=slice(22, 24), ac="secure")
    assert hosted_on_ac(run)
    assert math.isfinite(run.summary["repaired_steps"])
