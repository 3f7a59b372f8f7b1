"""What linear models leave out, estimated from inflexible load: by hand, by AC power flow, and through whole runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import amm_opt as ao
from amm_opt.grid import Grid
from amm_opt.solve.route import Task
from amm_opt.solve.routes.checks import check_program
from amm_opt.solve.routes.declared import DeclaredProgram
from amm_opt.solve.solver import ProgramSolver
from formulations import AMM
from tests.network.test_lindist3flow import loads, random_feeder


def two_buses(phases: str, r: float, x: float, shunt_kvar: float = 0.0) -> ao.Feeder:
    buses = pd.DataFrame({"name": ["s", "l"], "vn_kv": 0.4, "v_min_pu": 0.9, "v_max_pu": 1.1, "phases": phases})
    buses["v_source_pu"], buses["shunt_kvar"] = [1.02, np.nan], [0.0, shunt_kvar]
    line = {"name": ["line"], "from_bus": ["s"], "to_bus": ["l"], "r_ohm": r, "x_ohm": x, "rating_kva": np.inf}
    return ao.Feeder.from_tables(buses, pd.DataFrame({**line, "phases": phases}))


def voltages(model: ao.Lossy, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    more_p, more_q = model.left_out(p, q)
    return np.asarray(model.state(p + more_p, q + more_q).v_pu)


@pytest.mark.parametrize("kw", [-60.0, -20.0, 60.0])
def test_one_line_by_hand(kw: float) -> None:
    """w^2 - w (w_0 + 2 (r p + x q)) + |z|^2 |s|^2 = 0 with what is injected, r and x in pu per kW: the larger root."""
    feeder, q = two_buses("pos", 0.1, 0.05), 0.3 * kw
    z = (0.1 + 0.05j) / (1000 * 0.4**2)
    middle = 1.02**2 + 2 * (z.real * kw + z.imag * q)
    exact = np.sqrt((middle + np.sqrt(middle**2 - 4 * abs(z) ** 2 * (kw**2 + q**2))) / 2)
    p, q_at = np.array([0.0, kw]), np.array([0.0, q])
    linear = ao.LinDistFlow(feeder).state(p, q_at).v_pu[1]
    found = voltages(ao.Lossy(feeder), p, q_at)[1]
    assert abs(found - exact) < 0.03 * abs(linear - exact)
    lost = -ao.Lossy(feeder).left_out(p, q_at)[0]
    current = np.hypot(kw, q) / exact
    assert lost.sum() == pytest.approx(z.real * current**2, rel=0.02)
    assert lost[0] == pytest.approx(lost[1])


def test_a_capacitor_gives_what_its_voltage_makes_it_give() -> None:
    feeder, nothing = two_buses("pos", 0.1, 0.05, shunt_kvar=30.0), np.zeros(2)
    more = ao.Lossy(feeder).left_out(nothing, nothing)
    truth = ao.ACNetwork(feeder).flow(nothing, nothing).v_pu
    half_of_the_line = 0.5 * 0.05 / (1000 * 0.4**2) * (30.0 * truth[1]) ** 2
    assert more[1][1] == pytest.approx(30.0 * (truth[1] ** 2 - 1.0) - half_of_the_line, abs=0.01)
    assert voltages(ao.Lossy(feeder), nothing, nothing) == pytest.approx(truth, abs=1e-5)
    none = two_buses("pos", 0.1, 0.05)
    assert not np.any(ao.Lossy(none).left_out(nothing, nothing))


@pytest.mark.parametrize("scale", [-4.0, 2.0, 4.0])
def test_random_feeders_on_phases(scale: float) -> None:
    """Transformers of all vector groups, taps and laterals; many intervals are as each alone."""
    before, after = [], []
    for seed in range(6):
        feeder = random_feeder(20, seed)
        linear, lossy = ao.LinDist3Flow(feeder), ao.Lossy(feeder)
        p, q = loads(linear, seed, scale)
        truth = np.abs(linear.power_flow(p, q))
        before.append(np.abs(linear.state(p, q).v_pu - truth).max())
        after.append(np.abs(voltages(lossy, p, q) - truth).max())
        both = voltages(lossy, np.stack([0 * p, p]), np.stack([0 * q, q]))
        assert both[1] == pytest.approx(voltages(lossy, p, q), abs=1e-12)
    assert np.all(np.array(after) < 0.5 * np.array(before) + 2e-6), (before, after)
    assert np.median(np.array(after) / np.array(before)) < 0.25


def test_beyond_what_a_line_carries_the_estimate_stays_finite() -> None:
    model, p = ao.Lossy(two_buses("pos", 0.1, 0.05)), np.array([0.0, -2000.0])
    assert np.all(np.isfinite(voltages(model, p, 0 * p)))


def test_a_run_is_nearer_to_ac_where_load_is_inflexible() -> None:
    case = ao.load_case("synthetic:buses=60,days=1,seed=2").with_scenario(
        import_scale=0.1, export_scale=0.0, load_scale=2.0
    )
    linear, lossy = (
        ao.simulate(case, "amm", network=network, steps=slice(30, 48), ac="verify").summary
        for network in ("lindistflow", ao.Lossy)
    )
    assert lossy["voltage_error_worst_pu"] < 0.2 * linear["voltage_error_worst_pu"]
    assert lossy["voltage_error_rms_pu"] < 0.2 * linear["voltage_error_rms_pu"]
    assert lossy["flow_error_rms_pct"] < 0.6 * linear["flow_error_rms_pct"]


def test_what_is_reported_holds_the_estimate() -> None:
    case = ao.load_case("synthetic:buses=60,days=1,seed=2").with_scenario(load_scale=2.0)
    run = ao.simulate(case, "amm", network=ao.Lossy, steps=slice(36, 40))
    grid = Grid(case, ao.Lossy(case.feeder))
    expected = []
    for k in range(36, 40):
        asked, served = case.requests(k, k + 1), run.allocation
        p, q = grid.at_nodes(asked, served.import_kw[k - 36 : k - 35], served.export_kw[k - 36 : k - 35])
        more_p, more_q = grid.network.left_out(*grid.at_nodes(asked, 0.0, 0.0))
        expected.append(grid.network.state(p + more_p, q + more_q).v_pu[0])
    assert run.voltages().to_numpy() == pytest.approx(np.array(expected), abs=1e-12)
    p, q = grid.at_nodes(asked, 0.0, 0.0)
    assert np.abs(grid.modelled(asked, 0.0, 0.0)[0] - p).max() > 0.01, "AC power flow must not get the losses twice"


def test_a_program_as_declared_has_the_same_answer() -> None:
    case = ao.load_case("synthetic:buses=60,days=1,seed=4").with_scenario(import_scale=3.0, load_scale=2.0)
    grid = Grid(case, ao.Lossy(case.feeder))
    day = case.requests(0, 48)
    requests = day.interval(int(np.flatnonzero(grid.scarce(day))[0]))
    mechanism = AMM()
    program, values = mechanism.program(grid), mechanism.parameters(grid, mechanism.initial_state(case), requests)
    task = Task(values, requests, *grid.limits(requests))
    found = ProgramSolver(program, grid, (None,)).solve(task.values, requests, task.lower, task.upper)
    expected = DeclaredProgram(program, grid, check_program(program, grid)).solve("CLARABEL", task)
    assert found.objective == pytest.approx(expected.objective, rel=1e-7)
