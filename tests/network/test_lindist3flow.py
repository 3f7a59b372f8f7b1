"""LinDist3Flow: its parts agree, it is LinDistFlow where the network is balanced, and other tools agree with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cvxpy as cp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known.ac3 import asymmetric_voltages

from amm_opt.cases import Case, from_tables
from amm_opt.errors import InputError, SolveError
from amm_opt.grid import Grid
from amm_opt.network import Feeder, LinDist3Flow, LinDistFlow
from amm_opt.simulation import simulate
from amm_opt.study.compare import compare

NAN = float("nan")


def triangle(own: float, mutual: float, k: int) -> str:
    return " | ".join(" ".join([f"{mutual!r}"] * i + [f"{own!r}"]) for i in range(k))


def feeder_tables(
    n: int, rng: np.random.Generator, *, laterals: bool = True, coupled: bool = True
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A random MV tree, transformers of all vector groups (some with taps) to LV trees, laterals on fewer phases."""
    rows: list[dict[str, Any]] = [{"name": "src", "vn_kv": 10.0, "phases": "abc", "v_source_pu": 1.03}]
    lines: list[dict[str, Any]] = []
    for i in range(1, n):
        parent = rows[int(rng.integers(max(0, i - 4), i))]
        transformer = parent["vn_kv"] == 10.0 and parent["phases"] == "abc" and (rng.random() < 0.35 or i == 1)
        vn = 0.4 if transformer else parent["vn_kv"]
        phases = parent["phases"]
        if laterals and not transformer and rng.random() < 0.3:
            phases = "".join(sorted(rng.choice(list(phases), int(rng.integers(1, len(phases) + 1)), replace=False)))
        scale, k = (0.02, len(phases)) if vn == 0.4 else (1.0, len(phases))
        r, x = scale * rng.uniform(0.2, 0.8), scale * rng.uniform(0.2, 0.8)
        share = 0.0 if transformer or not coupled else 0.3
        rows.append({"name": f"b{i}", "vn_kv": vn, "phases": phases, "v_source_pu": NAN})
        lines.append(
            {
                "name": f"l{i}",
                "from_bus": parent["name"],
                "to_bus": f"b{i}",
                "kind": "transformer" if transformer else "line",
                "r_ohm": triangle(r, share * r, k) if k > 1 else r,
                "x_ohm": triangle(x, share * x, k) if k > 1 else x,
                "rating_kva": 300.0 if rng.random() < 0.7 else np.inf,
                "tap": rng.choice([1.0, 1.025, 0.95]) if transformer else 1.0,
                "phases": phases,
                "vector_group": rng.choice(["YNyn0", "Dyn1", "Dyn11"]) if transformer else "YNyn0",
            }
        )
    buses = pd.DataFrame(rows).assign(v_min_pu=0.9, v_max_pu=1.1)
    buses["feeder"] = np.where(buses["vn_kv"] < 1, "F", None)
    return buses, pd.DataFrame(lines)


def random_feeder(n: int, seed: int, **options: bool) -> Feeder:
    return Feeder.from_tables(*feeder_tables(n, np.random.default_rng(seed), **options))


def loads(model: LinDist3Flow, seed: int, kw: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = -kw * rng.uniform(-0.3, 1.0, model.n_nodes)
    return p, p * rng.uniform(-0.2, 0.5, model.n_nodes)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 40), seed=st.integers(0, 10_000))
def test_rows_are_the_exact_affine_form_of_evaluate(n: int, seed: int) -> None:
    model = LinDist3Flow(random_feeder(n, seed))
    for network in (model, model.around(*loads(model, seed + 1, 1.0))):
        p, q = (np.stack(x) for x in zip(*(loads(network, seed + k) for k in range(3)), strict=True))
        values = network.evaluate(p, q)
        a_p, a_q, constant = network.rows(np.arange(values.shape[-1]))
        assert np.allclose(p @ a_p.T + q @ a_q.T + constant, values, rtol=1e-10, atol=1e-12)
        state = network.state(p, q)
        is_voltage = network.quantities.kind == "voltage"
        inner = network.bus > 0
        assert np.allclose(np.sqrt(values[:, is_voltage]), state.v_pu[:, inner])
        assert np.array_equal(network.quantities.element[is_voltage], network.bus[inner])
        worst = np.abs(values[:, ~is_voltage]).max(axis=1, initial=0.0)
        loading = (state.s_flow_kva / network.rating_kva).max(axis=1)
        assert np.all(loading <= worst + 1e-12)
        assert np.all(worst * np.cos(np.pi / 16) <= loading + 1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_constraints_are_the_same_model(seed: int) -> None:
    network = LinDist3Flow(random_feeder(14, seed))
    p, q = loads(network, seed)
    values = network.evaluate(p, q)
    size = len(values)
    row = np.random.default_rng(seed).normal(size=size)
    move = cp.Variable(network.n_nodes)
    low, high = np.minimum(network.quantities.lower, values - 0.01), np.maximum(network.quantities.upper, values + 0.01)
    network_rows = network.constraints(p + move, q + 0.3 * move, cp.Constant(low), cp.Constant(high))
    a_p, a_q, constant = network.rows(np.arange(size))
    gain = row @ (a_p + 0.3 * a_q)
    box = [move >= -20, move <= 20]
    best = cp.Problem(cp.Maximize(gain @ move), [*network_rows, *box])
    best.solve(solver="CLARABEL")
    at = a_p @ (p + move) + a_q @ (q + 0.3 * move) + constant
    same = cp.Problem(cp.Maximize(gain @ move), [at <= high, at >= low, *box])
    same.solve(solver="CLARABEL")
    assert best.value == pytest.approx(same.value, rel=1e-5)
    assert np.abs(move.value).max() > 0.1


@pytest.mark.parametrize("seed", range(5))
def test_balanced_loads_on_symmetric_phases_are_lindistflow(seed: int) -> None:
    buses, branches = feeder_tables(25, np.random.default_rng(seed), laterals=False)
    three = LinDist3Flow(Feeder.from_tables(buses, branches))

    def positive(text: object) -> float:
        values = [float(v) for v in str(text).replace("|", " ").split()]
        return values[0] - values[1]

    single = branches.assign(
        phases="pos",
        vector_group="YNyn0",
        rating_kva=3 * branches["rating_kva"],
        r_ohm=branches["r_ohm"].map(positive),
        x_ohm=branches["x_ohm"].map(positive),
    )
    one = LinDistFlow(Feeder.from_tables(buses.assign(phases="pos"), single))
    p, q = np.random.default_rng(seed).normal(-10.0, 8.0, (2, 25))
    expected, state = one.state(p, q), three.state(np.tile(p, 3) / 3, np.tile(q, 3) / 3)
    assert np.allclose(state.v_pu.reshape(3, -1), expected.v_pu, rtol=1e-12)
    assert np.allclose(state.p_flow_kw.reshape(3, -1) * 3, expected.p_flow_kw)
    assert np.allclose(state.q_flow_kvar.reshape(3, -1) * 3, expected.q_flow_kvar)


def test_one_phase_by_hand() -> None:
    buses = pd.DataFrame({"name": ["s", "m", "l"], "vn_kv": [11.0, 11.0, 0.4], "phases": "abc"})
    buses = buses.assign(v_min_pu=0.9, v_max_pu=1.1, v_source_pu=[1.0, NAN, NAN])
    line, tx = triangle(1.0, 0.4, 3), triangle(0.01, 0.0, 3)
    branches = pd.DataFrame(
        {
            "name": ["line", "tx"],
            "from_bus": ["s", "m"],
            "to_bus": ["m", "l"],
            "kind": ["line", "transformer"],
            "r_ohm": [line, tx],
            "x_ohm": [triangle(0.5, 0.2, 3), triangle(0.02, 0.0, 3)],
            "tap": [1.0, 1.05],
            "vector_group": ["YNyn0", "Dyn11"],
        }
    )
    model = LinDist3Flow(Feeder.from_tables(buses, branches))
    p = np.zeros(9)
    p[2] = -30.0  # phase a of bus l
    state = model.state(p, np.zeros(9))
    # Dyn11: winding a of the secondary belongs to a-b: half of P in both, and +/- P / (2 sqrt 3) of Q
    assert state.p_flow_kw.reshape(3, 3)[:, 1] == pytest.approx([15.0, 15.0, 0.0], abs=1e-9)
    q = 30.0 / (2 * np.sqrt(3))
    assert state.q_flow_kvar.reshape(3, 3)[:, 1] == pytest.approx([-q, q, 0.0], abs=1e-9)
    # on the line: w_a = 1 - 2 Re((z_aa S_a* + z_ab e^-j120 S_b*)) 3 / (1000 vn^2), S* conjugate
    pu = 3 / (1000 * 11.0**2)
    turn = np.exp(-2j * np.pi / 3)
    drop = (1 + 0.5j) * (15 + 1j * q) + (0.4 + 0.2j) * turn * (15 - 1j * q)
    assert state.v_pu[1] ** 2 == pytest.approx(1 - 2 * pu * drop.real, abs=1e-12)
    # the secondary of a follows V_a - V_b of the primary, then drops on its own winding: 2 r P
    other = (1 + 0.5j) * (15 - 1j * q) + (0.4 + 0.2j) / turn * (15 + 1j * q)
    between = (drop - turn * other) / (1 - turn)
    own = 2 * 0.01 * 30.0 * 3 / (1000 * 0.4**2)
    assert state.v_pu[2] ** 2 == pytest.approx((1 - 2 * pu * between.real) / 1.05**2 - own, abs=1e-12)


def test_around_is_exact_at_its_point_and_without_load() -> None:
    model = LinDist3Flow(random_feeder(30, 3))
    p, q = loads(model, 4, 6.0)
    v = model.power_flow(p, q)
    around = model.around(p, q)
    state = around.state(p, q)
    assert np.allclose(state.v_pu, np.abs(v), atol=1e-9)
    lossless = model.state(p, q)
    sent, flat = (s.p_flow_kw[model.bus == 0].sum() for s in (state, lossless))
    assert flat == pytest.approx(-p.sum())
    assert 1e-4 * abs(flat) < sent - flat
    zero = np.zeros(model.n_nodes)
    assert np.allclose(around.state(zero, zero).p_flow_kw, 0.0)
    together = model.power_flow(np.stack([p, zero]), np.stack([q, zero]))
    assert np.allclose(together[0], v)
    assert np.allclose(together[1], model.reference)


def test_a_collapse_is_an_error() -> None:
    model = LinDist3Flow(random_feeder(10, 1))
    with pytest.raises(SolveError, match="does not converge"), np.errstate(all="ignore"):
        model.power_flow(np.full(model.n_nodes, -1e6), np.zeros(model.n_nodes))


@pytest.mark.parametrize("seed", range(4))
def test_power_grid_model_agrees(seed: int) -> None:
    feeder = random_feeder(15, seed, laterals=False)
    model = LinDist3Flow(feeder)
    p, q = loads(model, seed, 3.0)
    exact = asymmetric_voltages(feeder, p.reshape(3, -1), q.reshape(3, -1)).ravel()
    v = model.power_flow(p, q)
    assert np.abs(np.abs(v) - np.abs(exact)).max() < 2e-6
    unbalance = np.ptp(np.abs(exact).reshape(3, -1), axis=0).max()
    assert unbalance > 0.004
    error = np.abs(model.state(p, q).v_pu - np.abs(exact)).max()
    assert error < 0.15 * np.abs(np.abs(exact) - np.abs(model.reference)).max() + 1e-4


# input


def test_balanced_feeders_and_short_circuited_stars_are_refused() -> None:
    buses, branches = feeder_tables(3, np.random.default_rng(0), laterals=False)
    balanced = branches.assign(phases="pos", vector_group="YNyn0", r_ohm=1.0, x_ohm=1.0)
    with pytest.raises(InputError, match=r"3 buses are balanced .* Use lindistflow"):
        LinDist3Flow(Feeder.from_tables(buses.assign(phases="pos"), balanced))
    with pytest.raises(InputError, match="use lindist3flow"):
        LinDistFlow(Feeder.from_tables(buses, branches))
    turned = Feeder.from_tables(
        buses.iloc[:2], branches.iloc[[0]].assign(vector_group="Dyn1", from_bus="b1", to_bus="src")
    )
    shorted = replace(turned, z_ohm=(turned.z_ohm[0], 0.0 * turned.z_ohm[1]))
    with pytest.raises(InputError, match="Dyn1 is fed from its grounded star, and has no impedance"):
        LinDist3Flow(shorted)


def test_a_branch_cannot_carry_a_phase_that_does_not_arrive() -> None:
    buses = pd.DataFrame({"name": ["s", "m", "l"], "vn_kv": 0.4, "phases": "abc", "v_source_pu": [1.0, NAN, NAN]})
    buses = buses.assign(v_min_pu=0.9, v_max_pu=1.1)
    branches = pd.DataFrame({"name": ["x", "y"], "from_bus": ["s", "m"], "to_bus": ["m", "l"], "phases": ["a", "b"]})
    branches = branches.assign(r_ohm=0.1, x_ohm=0.1)
    with pytest.raises(InputError, match="bus 'l': its branch has phases b, only a arrive at 'm'"):
        LinDist3Flow(Feeder.from_tables(buses, branches))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vector_group": "Dz0"}, "vector_group = 'Dz0'; valid choices: YNyn0, Dyn1, Dyn11"),
        ({"vector_group": "Dyn1", "kind": "line"}, "vector_group = 'Dyn1' needs a transformer on phases abc"),
    ],
)
def test_vector_groups_are_checked(change: dict[str, str], words: str) -> None:
    buses, branches = feeder_tables(3, np.random.default_rng(0), laterals=False)
    with pytest.raises(InputError, match=words):
        Feeder.from_tables(buses, branches.assign(**change))


# engine


def small_case(seed: int, **columns: object) -> Case:
    """Customers on single phases of LV buses and one on three, whose vehicles do not all fit."""
    rng = np.random.default_rng(seed)
    buses, branches = feeder_tables(16, rng)
    branches["rating_kva"] = np.where(branches["kind"] == "transformer", 8.0, branches["rating_kva"])
    low = buses[buses["vn_kv"] == 0.4]
    people = pd.DataFrame({"name": [f"p{i}" for i in range(len(low))], "bus": low["name"].to_numpy()})
    people["phases"] = [p if i == 0 else rng.choice(list(p)) for i, p in enumerate(low["phases"])]
    people = people.assign(connection_import_kw=30.0, connection_export_kw=30.0, power_factor=0.95, **columns)
    times = pd.date_range("2030-01-07", periods=8, freq="30min")
    profiles = pd.DataFrame({"time": times, "one": 1.0, "ramp": np.linspace(0.2, 1.0, 8)})
    parts = [
        (n, k, "one" if k == "inflexible" else "ramp", s)
        for n in people["name"]
        for k, s in (("inflexible", 0.5), ("import", float(rng.uniform(2, 12))), ("export", float(rng.uniform(0, 8))))
    ]
    series = pd.DataFrame(parts, columns=["participant", "quantity", "profile", "scale_kw"])
    return from_tables(
        name="small", buses=buses, branches=branches, participants=people, profiles=profiles, series=series
    )


@pytest.mark.parametrize("seed", [0, 2, 3])
def test_lazy_rows_find_the_optimum_of_the_whole_program(seed: int) -> None:
    case = small_case(seed)
    lazy = simulate(case, "amm:rho=0.5")
    assert lazy.network == "lindist3flow"
    assert lazy.summary["thermal_violations"] == lazy.summary["voltage_violations"] == 0
    assert lazy.summary["unserved_mwh"] > 0
    network = LinDist3Flow(case.feeder)
    grid = Grid(case, network)
    requests = case.requests(7, 8).interval(0)
    lower, upper = grid.limits(requests)
    x, y = cp.Variable(case.n_participants), cp.Variable(case.n_participants)
    values = np.eye(2 * case.n_participants)
    zero = grid.quantities(requests, np.zeros(case.n_participants), np.zeros(case.n_participants))
    n = case.n_participants
    slopes = np.stack([grid.quantities(requests, v[:n], v[n:]) - zero for v in values])
    at = slopes.T @ cp.hstack([x, y]) + zero
    r, g = requests.import_request_kw, requests.export_request_kw
    # interval 7 on its own, with fresh weights
    alone = simulate(case, "amm:rho=0.5,alpha=0", steps=slice(7, 8)).allocation
    cost = sum(cp.sum(v) - 0.25 * cp.sum(cp.square(a - v) / np.maximum(a, 1e-9)) for v, a in ((x, r), (y, g)))
    cp.Problem(cp.Maximize(cost), [x >= 0, x <= r, y >= 0, y <= g, at <= upper, at >= lower]).solve(solver="CLARABEL")
    assert np.allclose(alone.import_kw[0], x.value, atol=2e-3)
    assert np.allclose(alone.export_kw[0], y.value, atol=2e-3)


def test_every_mechanism_runs_on_phases() -> None:
    case = small_case(0)
    table = compare(case, ["no_control", "equal_doe", "equal_doe:enrolled=requesting", "greedy_doe", "amm"]).table
    assert table["failed_steps"].eq(0).all()
    assert table.loc["no_control", "thermal_violations"] > 0
    assert table.loc["amm", ["thermal_violations", "voltage_violations"]].sum() == 0
    assert table.loc["amm", "unserved_mwh"] < table.loc["equal_doe:enrolled=requesting", "unserved_mwh"]


def test_phases_of_participants() -> None:
    case = small_case(0)
    network = LinDist3Flow(case.feeder)
    spread = network.incidence(case.bus, case.phases)
    assert np.allclose(spread.sum(axis=0), 1.0)
    column = spread[:, [0]].tocoo()
    assert len(column.data) == len(case.phases[0])
    again = from_tables_of(case)
    assert again.phases == case.phases
    people = case.participants.assign(phases=["x", *case.participants["phases"][1:]])
    with pytest.raises(InputError, match=r"participant 'p0': phases = 'x' are not among those of bus"):
        from_tables_of(case, participants=people)


def from_tables_of(case: Case, **changes: pd.DataFrame) -> Case:

    return from_tables(name="again", **{**case.tables(), **changes})
