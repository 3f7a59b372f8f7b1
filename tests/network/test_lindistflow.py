"""LinDistFlow against hand arithmetic, published voltages, its own rows, cvxpy, and an exact AC power flow."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import cvxpy as cp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case, from_tables, load_case
from amm_opt.cases.synthetic import synthetic_tables
from amm_opt.network import ACNetwork, ACState, Feeder, LinDistFlow
from amm_opt.simulation import simulate

NAN = float("nan")


def buses(names: list[str], vn_kv: list[float], **columns: object) -> pd.DataFrame:
    """Bus table with the first bus as source at 1.0 pu and a wide band."""
    source = [1.0] + [NAN] * (len(names) - 1)
    table = pd.DataFrame({"name": names, "vn_kv": vn_kv, "v_min_pu": 0.5, "v_max_pu": 1.5, "v_source_pu": source})
    return table.assign(**columns)


def three_bus(tap: float = 1.05, phases: str = "pos") -> Feeder:
    """Source -- line -- b1 -- transformer 10/0.4 kV with a tap -- b2."""
    branches = pd.DataFrame(
        {
            "name": ["line", "tr"],
            "from_bus": ["src", "b1"],
            "to_bus": ["b1", "b2"],
            "kind": ["line", "transformer"],
            "r_ohm": [0.5, 0.004],
            "x_ohm": [0.2, 0.016],
            "rating_kva": [2000.0, 400.0],
            "tap": [1.0, tap],
        }
    )
    return Feeder.from_tables(buses(["src", "b1", "b2"], [10.0, 10.0, 0.4], phases=phases), branches)


@lru_cache
def three_bus_model() -> LinDistFlow:
    return LinDistFlow(three_bus())


P3, Q3 = np.array([0.0, -1000.0, -300.0]), np.array([0.0, -400.0, -100.0])


def test_three_buses_by_hand() -> None:
    # line: 0.5 + j0.2 ohm / (1000 * 10^2) = 5e-6 + j2e-6 per kW; it carries 1300 kW, 500 kvar
    w1 = 1.0 - 2 * (5e-6 * 1300 + 2e-6 * 500)
    assert w1 == pytest.approx(0.985, abs=1e-15)
    # transformer: 0.004 + j0.016 ohm / (1000 * 0.4^2) = 2.5e-5 + j1e-4 per kW; it carries 300 kW, 100 kvar
    w2 = 0.985 / 1.05**2 - 2 * (2.5e-5 * 300 + 1e-4 * 100)
    assert w2 == pytest.approx(0.8584240362811792, abs=1e-15)
    state = LinDistFlow(three_bus()).state(P3, Q3)
    np.testing.assert_allclose(state.v_pu, np.sqrt([1.0, w1, w2]), rtol=1e-13)
    np.testing.assert_allclose(state.p_flow_kw, [1300, 1300, 300])
    np.testing.assert_allclose(state.q_flow_kvar, [500, 500, 100])
    np.testing.assert_allclose(state.s_flow_kva[1:], [math.hypot(1300, 500), math.hypot(300, 100)])


def test_three_bus_limits_by_hand() -> None:
    model = LinDistFlow(three_bus())
    q = model.quantities
    assert list(q.kind) == ["voltage"] * 2 + ["thermal"] * 16
    np.testing.assert_array_equal(q.element, [1, 2] + [1, 2] * 8)
    np.testing.assert_allclose([q.lower[:2], q.upper[:2]], [[0.25] * 2, [2.25] * 2])
    values = model.evaluate(P3, Q3)
    np.testing.assert_allclose(values[:2], [0.985, 0.8584240362811792], rtol=1e-13)
    # first edge normal: 11.25 degrees from the P axis, at cos(11.25 degrees) of the rating
    angle = math.pi / 16
    edge = [(math.cos(angle) * p + math.sin(angle) * q) / s for p, q, s in ((1300, 500, 2000), (300, 100, 400))]
    np.testing.assert_allclose(values[2:4], np.array(edge) / math.cos(angle), rtol=1e-13)


def test_single_phase_feeder_is_a_third_of_three_phases() -> None:
    three, single = LinDistFlow(three_bus()), LinDistFlow(three_bus(phases="b"))
    np.testing.assert_allclose(single.state(P3 / 3, Q3 / 3).v_pu, three.state(P3, Q3).v_pu, rtol=1e-13)
    np.testing.assert_allclose(single.state(P3 / 3, Q3 / 3).p_flow_kw, three.state(P3, Q3).p_flow_kw / 3)


@lru_cache
def ieee33() -> tuple[Feeder, FloatArray, FloatArray, FloatArray]:
    """The 33-bus feeder, its injections, and the AC voltages, in the feeder's bus order."""
    table = pd.read_csv(Path(__file__).parents[1] / "data" / "ieee33.csv", comment="#")
    lines = table.iloc[1:].astype({"from_bus": int})
    branches = pd.DataFrame(
        {
            "name": [f"line{b}" for b in lines["bus"]],
            "from_bus": lines["from_bus"].astype(str),
            "to_bus": lines["bus"].astype(str),
            "r_ohm": lines["r_ohm"],
            "x_ohm": lines["x_ohm"],
        }
    )
    feeder = Feeder.from_tables(buses([str(b) for b in table["bus"]], [12.66] * 33), branches)
    table = table.set_index(table["bus"].astype(str)).loc[list(feeder.bus_names)]
    load = table[["load_kw", "load_kvar", "v_ac_pu"]].to_numpy(dtype=float).T
    return feeder, -load[0], -load[1], load[2]


def test_ieee33_voltages_within_the_linearisation_error() -> None:
    feeder, p, q, v_ac = ieee33()
    assert (p.sum(), q.sum()) == (-3715.0, -2300.0)
    error = LinDistFlow(feeder).state(p, q).v_pu - v_ac
    assert error.min() >= -1e-5  # never below AC: losses only lower voltages (table rounded to 1e-5)
    # one branch with a drop of d errs by about d^2 / 2, 0.0038 at d = 0.087; loads spread along the feeder err less
    assert 0.0027 < error.max() < 0.0029


def test_ieee33_ac_flow_gives_the_published_numbers() -> None:
    feeder, p, q, v_ac = ieee33()
    state = ACNetwork(feeder).flow(p, q)
    np.testing.assert_allclose(state.v_pu, v_ac, atol=6e-6)
    assert feeder.bus_names[int(np.argmin(state.v_pu))] == "18"
    assert state.v_pu.min() == pytest.approx(0.9131, abs=5e-5)
    assert float(state.loss_kw) == pytest.approx(202.7, abs=0.05)


@lru_cache
def small() -> Case:
    """A synthetic case of 40 buses whose transformer has a tap of 0.975."""
    tables = synthetic_tables(buses=40, days=1, seed=3)
    tables["branches"]["tap"] = np.where(tables["branches"]["kind"] == "transformer", 0.975, 1.0)
    return from_tables(**tables)


def random_injections(feeder: Feeder, rng: np.random.Generator, *shape: int) -> tuple[FloatArray, FloatArray]:
    return rng.normal(0, 5, (*shape, feeder.n_buses)), rng.normal(0, 2, (*shape, feeder.n_buses))


@pytest.mark.parametrize("feeder", [three_bus(), small().feeder, ieee33()[0]], ids=["three", "small", "ieee33"])
def test_rows_reproduce_every_quantity(feeder: Feeder) -> None:
    model = LinDistFlow(feeder)
    m = len(model.quantities.kind)
    a_p, a_q, constant = model.rows(np.arange(m))
    p, q = random_injections(feeder, np.random.default_rng(0), 5)
    np.testing.assert_allclose(p @ a_p.T + q @ a_q.T + constant, model.evaluate(p, q), rtol=1e-9, atol=1e-12)
    pick = np.random.default_rng(1).permutation(m)[:7]
    for part, whole in zip(model.rows(pick), (a_p, a_q, constant), strict=True):
        np.testing.assert_array_equal(part, whole[pick])


def test_rows_are_finite_differences() -> None:
    model = LinDistFlow(small().feeder)
    n, m = model.feeder.n_buses, len(model.quantities.kind)
    a_p, a_q, constant = model.rows(np.arange(m))
    zero, unit = np.zeros((n, n)), np.eye(n)
    np.testing.assert_allclose(model.evaluate(zero[0], zero[0]), constant, atol=1e-14)
    np.testing.assert_allclose(model.evaluate(unit, zero) - constant, a_p.T, atol=1e-12)
    np.testing.assert_allclose(model.evaluate(zero, unit) - constant, a_q.T, atol=1e-12)


def test_rows_never_mistake_a_negative_index() -> None:
    model = LinDistFlow(three_bus())
    last = model.rows(len(model.quantities.kind) - 1)
    try:
        found = model.rows(-1)
    except IndexError:
        return
    for part, expected in zip(found, last, strict=True):
        np.testing.assert_array_equal(part, expected)


def at_participants(case: Case, p: cp.Expression) -> tuple[cp.Expression, cp.Expression]:
    """Bus injections of participants who keep a power factor of about 0.95."""
    return case.incidence @ p, 0.3 * (case.incidence @ p)


@pytest.mark.parametrize("seed", range(4))
def test_cvxpy_constraints_agree_with_evaluate_and_rows(seed: int) -> None:
    case, model = small(), LinDistFlow(small().feeder)
    widen = np.where(model.quantities.kind == "thermal", 1 if seed < 2 else 10, 1)  # from seed 2 on voltage binds
    lower, upper = model.quantities.lower * widen, model.quantities.upper * widen
    weight = np.random.default_rng(seed).uniform(0.2, 1.0, case.n_participants) * (1 if seed % 2 else -1)
    p = cp.Variable(case.n_participants)
    host = model.constraints(*at_participants(case, p), lower, upper)
    box = [p >= -40, p <= 40]
    value = cp.Problem(cp.Maximize(weight @ p), host + box).solve(solver=cp.CLARABEL)
    at_bus = case.incidence @ p.value
    found = model.evaluate(at_bus, 0.3 * at_bus)
    slack = np.minimum(found - lower, upper - found)
    assert -1e-6 < slack.min() < 1e-6
    assert model.quantities.kind[np.argmin(slack)] == ("thermal" if seed < 2 else "voltage")
    a_p, a_q, constant = model.rows(np.arange(len(found)))
    a = (a_p + 0.3 * a_q) @ case.incidence.toarray()
    rows = np.vstack([a, -a]), np.concatenate([upper - constant, constant - lower])
    same = linprog(-weight, A_ub=rows[0], b_ub=rows[1], bounds=(-40, 40))
    assert value == pytest.approx(-same.fun, rel=1e-6)


@pytest.mark.parametrize(("share", "status"), [(0.999, "optimal"), (1.001, "infeasible")])
def test_fixed_injections_are_feasible_up_to_the_limit_only(share: float, status: str) -> None:
    case, model = small(), LinDistFlow(small().feeder)
    limits = model.quantities
    at_bus = case.incidence @ np.ones(case.n_participants)
    base, slope = model.evaluate(0 * at_bus, 0 * at_bus), model.evaluate(at_bus, 0.3 * at_bus)
    reach = np.max((slope - base) / (limits.upper - base)), np.max((base - slope) / (base - limits.lower))
    p = cp.Parameter(case.n_participants, value=np.full(case.n_participants, share / max(reach)))
    host = model.constraints(*at_participants(case, p), limits.lower, limits.upper)
    problem = cp.Problem(cp.Minimize(0), host)
    problem.solve(solver=cp.HIGHS)
    assert problem.status == status


finite = st.floats(-600, 600)


@settings(deadline=None)
@given(finite, finite)
def test_polygon_is_inside_the_circle_and_nearly_fills_it(p: float, q: float) -> None:
    values = three_bus_model().evaluate([0.0, 0.0, p], [0.0, 0.0, q])
    inside = np.abs(values[3::2]).max()  # the eight edges of the 400 kVA transformer
    s = math.hypot(p, q)
    assert s / 400 <= inside * (1 + 1e-12) + 1e-300
    assert inside * math.cos(math.pi / 16) <= s / 400 * (1 + 1e-12)


@given(st.floats(0.01, 3), st.sampled_from([1.0, -1.0]))
@settings(deadline=None)
def test_polygon_is_exact_at_unity_power_factor(share: float, sign: float) -> None:
    values = three_bus_model().evaluate([0.0, 0.0, sign * share * 400], np.zeros(3))
    assert np.abs(values[3::2]).max() == pytest.approx(share, rel=1e-12)


def test_sweep_over_intervals_equals_one_by_one() -> None:
    model = LinDistFlow(small().feeder)
    p, q = random_injections(model.feeder, np.random.default_rng(2), 2, 3)
    whole = model.evaluate(p, q)
    assert whole.shape == (2, 3, len(model.quantities.kind))
    for i, j in np.ndindex(2, 3):
        np.testing.assert_allclose(whole[i, j], model.evaluate(p[i, j], q[i, j]), rtol=1e-12, atol=1e-14)


@lru_cache
def synthetic_flows(scale: float) -> tuple[Feeder, FloatArray, ACState]:
    """Linear voltages and the AC state of a week of the synthetic case with every request served."""
    case = load_case("synthetic:buses=200,seed=1")
    w = case.requests(0, case.n_steps)
    powers = (w.inflexible_kw, w.import_request_kw, w.export_request_kw)
    p, q = case.bus_injections(*(scale * power for power in powers))
    return case.feeder, LinDistFlow(case.feeder).state(p, q).v_pu, ACNetwork(case.feeder).flow(p, q)


def test_synthetic_voltages_against_ac() -> None:
    _, v, ac = synthetic_flows(1.0)
    error = v - ac.v_pu
    assert ac.v_pu.min() < 0.93
    assert ac.v_pu.max() > 1.09
    assert error.min() > -1e-9  # never below AC, whichever way power flows
    # about d^2 / 2 again, 0.005 at a drop of d = 0.1 pu along resistance, and some more for the reactive part
    assert 0.005 < error.max() < 0.006


def test_ac_error_shrinks_quadratically() -> None:
    for large, half in ((1.0, 0.5), (0.5, 0.25)):
        big, small_ = (v - ac.v_pu for _, v, ac in (synthetic_flows(large), synthetic_flows(half)))
        matters = big > 1e-4
        assert matters.sum() > 1000
        ratio = big[matters] / small_[matters]
        assert ratio.min() > 3.5
        assert ratio.max() < 4.7


def mean_flow_voltages(feeder: Feeder, ac: ACState) -> FloatArray:
    """LinDistFlow voltages with the mean of each branch's sent and received AC power as its flow."""
    injections = []
    for sent, received in ((ac.p_sent_kw, ac.p_received_kw), (ac.q_sent_kvar, ac.q_received_kvar)):
        flow = (sent + received) / 2
        at_bus = -flow
        np.add.at(at_bus.T, feeder.parent[1:], flow[:, 1:].T)
        injections.append(at_bus)
    return LinDistFlow(feeder).state(*injections).v_pu


def test_voltages_are_exact_when_flows_carry_half_of_the_losses() -> None:
    """w_a - w_b = r (P_sent + P_received) + x (Q_sent + Q_received) holds exactly, so any factor would show."""
    feeder, _, ac = synthetic_flows(1.0)
    np.testing.assert_allclose(mean_flow_voltages(feeder, ac), ac.v_pu, atol=1e-8)
    tapped = three_bus()
    state = ACNetwork(tapped).flow(P3[None], Q3[None])
    assert state.loss_kw[0] > 5
    np.testing.assert_allclose(mean_flow_voltages(tapped, state), state.v_pu, atol=1e-8)


def test_ac_flow_of_two_buses_in_closed_form() -> None:
    """w^2 - (w0 - 2 (r P + x Q)) w + |z|^2 S^2 = 0 is the exact AC voltage of one loaded branch."""
    p, q = np.array([0.0, 0.0, -300.0]), np.array([0.0, 0.0, -100.0])
    branches = three_bus().tables.branches.iloc[1:].assign(from_bus="src").drop(columns=["z_ohm", "phases"])
    feeder = Feeder.from_tables(buses(["src", "b2"], [10.0, 0.4]), branches)
    r, x = 2.5e-5, 1e-4
    b, c = 1 / 1.05**2 - 2 * (r * 300 + x * 100), (r**2 + x**2) * (300**2 + 100**2)
    exact = math.sqrt((b + math.sqrt(b**2 - 4 * c)) / 2)
    assert ACNetwork(feeder).flow(p[1:], q[1:]).v_pu[1] == pytest.approx(exact, abs=1e-8)
    assert LinDistFlow(feeder).state(p[1:], q[1:]).v_pu[1] == pytest.approx(math.sqrt(b), abs=1e-12)


@pytest.mark.parametrize("phases", [{}, {"phases": "abc"}])
def test_a_network_of_one_bus_limits_nothing(phases: dict[str, str]) -> None:
    case = from_tables(
        name="one bus",
        buses=pd.DataFrame(
            {"name": ["only"], "vn_kv": 0.4, "v_min_pu": 0.9, "v_max_pu": 1.1, "v_source_pu": 1.0, **phases}
        ),
        branches=pd.DataFrame(columns=["name", "from_bus", "to_bus", "kind", "r_ohm", "x_ohm", "rating_kva"]),
        participants=pd.DataFrame({"name": ["a"], "bus": ["only"], **phases}),
        profiles=pd.DataFrame({"p": [1.0, 2.0]}, index=pd.date_range("2030-01-07", periods=2, freq="30min")),
        series=pd.DataFrame({"participant": ["a"], "quantity": ["import"], "profile": ["p"], "scale_kw": [1.0]}),
    )
    assert simulate(case, "pro_rata").allocation.import_kw.ravel() == pytest.approx([1.0, 2.0])
