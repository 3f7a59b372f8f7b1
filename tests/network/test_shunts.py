"""Shunts and line charging: the models, and AC power flow against other tools."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cvxpy as cp
import numpy as np
import pandas as pd
import pytest

import amm_opt as ao
from amm_opt.network import ACNetwork, BranchFlowSOCP, Feeder, LinDist3Flow, LinDistFlow
from tests.network.test_lindist3flow import feeder_tables

NAN = float("nan")
NODES = {"source": 0, "mv": 1, "lv": 2, "end": 3}
ONE_PHASE_KV = 0.4 / np.sqrt(3)
UNBALANCED = f"""new circuit.c basekv=20 pu=1.02 bus1=source z1=[1e-7,1e-6] z0=[1e-7,1e-6]
new line.m bus1=source bus2=mv phases=3 length=5 units=km rmatrix=[0.3 | 0.05 0.3 | 0.05 0.05 0.3]
~ xmatrix=[0.5 | 0.2 0.5 | 0.2 0.2 0.5] cmatrix=[900 | 0 600 | 0 0 300]
new transformer.t leadlag=euro xhl=4 wdg=1 bus=mv conn=delta kv=20 tap=1.02 kva=200 %r=0.5
~ wdg=2 bus=lv conn=wye kv=0.4 kva=200 %r=0.5
new line.e bus1=lv bus2=end phases=3 length=0.2 units=km rmatrix=[0.3 | 0.05 0.3 | 0.05 0.05 0.3]
~ xmatrix=[0.3 | 0.1 0.3 | 0.1 0.1 0.3] cmatrix=[0 | 0 0 | 0 0 0]
new capacitor.c phases=1 bus1=end.1 kv={ONE_PHASE_KV} kvar=12
new capacitor.d phases=1 bus1=end.2 kv={ONE_PHASE_KV} kvar=5
new load.iron phases=1 bus1=lv.3 kv={ONE_PHASE_KV} kw=4 kvar=3 model=2 vminpu=0.1 vmaxpu=3
new load.a phases=1 bus1=end.1 kv={ONE_PHASE_KV} kw=15 kvar=6 model=1 vminpu=0.1 vmaxpu=3
new load.b phases=1 bus1=end.2 kv={ONE_PHASE_KV} kw=-9 kvar=0 model=1 vminpu=0.1 vmaxpu=3
new load.c phases=1 bus1=end.3 kv={ONE_PHASE_KV} kw=20 kvar=8 model=1 vminpu=0.1 vmaxpu=3
"""
LOADS = {"a": -15.0 - 6.0j, "b": 9.0, "c": -20.0 - 8.0j}


def ends(engine: Any, element: str) -> np.ndarray:
    """Powers in kVA at both ends of an element, (2, 3), into it and out of it."""
    engine.Circuit.SetActiveElement(element)
    flat = np.array(engine.CktElement.Powers())
    power = (flat[::2] + 1j * flat[1::2]).reshape(2, -1)[:, :3]
    return np.array([power[0], -power[1]])


def currents(engine: Any, element: str) -> np.ndarray:
    """Current in A at both ends of an element, (2, 3)."""
    engine.Circuit.SetActiveElement(element)
    return np.asarray(np.array(engine.CktElement.CurrentsMagAng())[::2].reshape(2, -1)[:, :3])


def unbalanced() -> Feeder:
    """The circuit above by hand: capacitances at 50 Hz, transformer of 1 + 4j % on 200 kVA."""
    farad, kvar = 1e-9 * 5, 2 * np.pi * 50 * (20e3 / np.sqrt(3)) ** 2 / 1000
    charging = " ".join(str(float(nf * farad * kvar)) for nf in (900, 600, 300))
    ohm = 400.0**2 / 200e3
    buses = pd.DataFrame(
        {
            "name": list(NODES),
            "vn_kv": [20.0, 20.0, 0.4, 0.4],
            "phases": "abc",
            "v_min_pu": 0.5,
            "v_max_pu": 1.5,
            "v_source_pu": [1.02, NAN, NAN, NAN],
            "shunt_kw": ["0", "0", "0 0 4", "0"],
            "shunt_kvar": ["0", "0", "0 0 -3", "12 5 0"],
        }
    )
    branches = pd.DataFrame(
        {
            "name": ["m", "t", "e"],
            "from_bus": ["source", "mv", "lv"],
            "to_bus": ["mv", "lv", "end"],
            "kind": ["line", "transformer", "line"],
            "r_ohm": ["1.5 | .25 1.5 | .25 .25 1.5", " | ".join(["0 " * i + repr(0.01 * ohm) for i in range(3)]), NAN],
            "x_ohm": ["2.5 | 1 2.5 | 1 1 2.5", " | ".join(["0 " * i + repr(0.04 * ohm) for i in range(3)]), NAN],
            "tap": [1.0, 1.02, 1.0],
            "vector_group": ["YNyn0", "Dyn11", "YNyn0"],
            "charging_kvar": [charging, 0, 0],
        }
    )
    branches.loc[2, ["r_ohm", "x_ohm"]] = ["0.06 | .01 .06 | .01 .01 .06", "0.06 | .02 .06 | .02 .02 .06"]
    return Feeder.from_tables(buses, branches)


def on_nodes(network: Any) -> tuple[np.ndarray, np.ndarray]:
    """The circuit's loads as injections at the nodes."""
    s = np.zeros(network.n_nodes, dtype=complex)
    for phase, power in LOADS.items():
        s[(network.bus == NODES["end"]) & (network.phase == "abc".index(phase))] = power
    return s.real, s.imag


def test_unbalanced_shunts_and_charging_against_opendss(tmp_path: Path) -> None:
    """AC: voltages within 1e-6 pu, powers and currents at both ends. The linear model's error is stated."""
    engine = pytest.importorskip("opendssdirect")
    from opendss_truth import solve

    (tmp_path / "Master.dss").write_text(UNBALANCED)
    truth = solve(tmp_path / "Master.dss")
    feeder = unbalanced()
    network = ACNetwork(feeder)
    p, q = on_nodes(network)
    state = network.flow(p, q)
    names = [feeder.bus_names[b] for b in network.bus]
    base = feeder.vn_kv[network.bus] * 1000 / np.sqrt(3)
    volts = [truth.volts[f"{name}.{phase + 1}"] for name, phase in zip(names, network.phase, strict=True)]
    np.testing.assert_allclose(state.v_pu, np.abs(volts) / base, atol=1e-6)
    for line in ("m", "e"):
        at = network.bus == feeder.branch_names.index(line)
        sent, received = ends(engine, f"line.{line}")
        np.testing.assert_allclose(state.p_sent_kw[at] + 1j * state.q_sent_kvar[at], sent, atol=2e-3)
        np.testing.assert_allclose(state.p_received_kw[at] + 1j * state.q_received_kvar[at], received, atol=2e-3)
        ampere = currents(engine, f"line.{line}").max(axis=0)  # at the end that carries more
        np.testing.assert_allclose(state.loading_kva[at], ampere * base[at] / 1000, atol=2e-3)
    winding = network.bus == feeder.branch_names.index("t")
    secondary = np.abs(ends(engine, "transformer.t")[1])
    np.testing.assert_allclose(state.loading_kva[winding], secondary, atol=2e-3)

    linear = LinDist3Flow(feeder)
    assert 1e-4 < np.abs(linear.state(p, q).v_pu - state.v_pu).max() < 1e-3
    without = np.abs(LinDist3Flow(plain(feeder)).state(p, q).v_pu - state.v_pu).max()
    assert without > 0.015
    around = linear.around(p, q).state(p, q)
    np.testing.assert_allclose(around.v_pu, state.v_pu, atol=1e-6)
    line = network.bus == feeder.branch_names.index("m")  # between the halves of its charging
    half = 0.5 * feeder.charging_kvar[1] * 1.02**2
    np.testing.assert_allclose(around.q_flow_kvar[line], state.q_sent_kvar[line] + half, atol=1e-3)
    np.testing.assert_allclose(around.p_flow_kw[line], state.p_sent_kw[line], atol=1e-3)
    np.testing.assert_allclose(np.abs(linear.power_flow(p, q)), state.v_pu, atol=1e-6)


def plain(feeder: Feeder) -> Feeder:
    """The same without shunts and charging."""
    branches = feeder.tables.branches.drop(columns=["z_ohm", "charging_kvar"])
    buses = feeder.tables.buses.drop(columns=["shunt_kw", "shunt_kvar"])
    return Feeder.from_tables(*(t.assign(phases=["".join(x) for x in t["phases"]]) for t in (buses, branches)))


def four_buses(phases: str = "pos", share: float = 1.0, seed: int | None = None) -> Feeder:
    """s --line-- m --tap-- l --line-- e with shunts and charging, ``share`` of each kVA."""
    rng = np.random.default_rng(seed)
    kw, kvar = (rng.normal(0, 20, (2, 4)) if seed is not None else np.array([[0, 3, 2, 0], [0, -20, 8, 30.0]])) * share
    buses = pd.DataFrame(
        {
            "name": ["s", "m", "l", "e"],
            "vn_kv": [10.0, 10.0, 0.4, 0.4],
            "phases": phases,
            "v_min_pu": 0.8,
            "v_max_pu": 1.2,
            "v_source_pu": [1.03, NAN, NAN, NAN],
            "shunt_kw": kw,
            "shunt_kvar": kvar,
        }
    )
    branches = pd.DataFrame(
        {
            "name": ["line", "tr", "cable"],
            "from_bus": ["s", "m", "l"],
            "to_bus": ["m", "l", "e"],
            "kind": ["line", "transformer", "line"],
            "r_ohm": [20.0, 0.01, 0.06],
            "x_ohm": [15.0, 0.03, 0.04],
            "tap": [1.0, 1.025, 1.0],
            "rating_kva": np.array([200.0, 150.0, 120.0]) * share,
            "charging_kvar": np.array([40.0, 0.0, 6.0]) * share,
        }
    )
    return Feeder.from_tables(buses, branches)


P, Q = np.array([0.0, -20.0, -15.0, -40.0]), np.array([0.0, -5.0, 0.0, -20.0])


def by_nodes() -> tuple[np.ndarray, np.ndarray]:
    """Voltages, and currents in kVA at nominal voltage at both ends of the branches, of ``four_buses`` under (P, Q).

    Node by node in per unit of 1 kVA: V = V_s - Z (J + Y V) with the impedance matrix of the path, J = conj(S / V).
    """
    z = np.array([(20 + 15j) / 1e5, (0.01 + 0.03j) / 160.0, (0.06 + 0.04j) / 160.0])
    shunt = np.array([0, -3 - 20j, -2 + 8j, 30j]).conj()
    half = np.array([20j, 0.0, 3j]).conj()
    shunt[:2] += half[0]
    shunt[2:] += half[2]
    v = np.ones(4, dtype=complex) * 1.03
    for _ in range(300):
        drawn = -np.conj((P + 1j * Q) / v) - shunt * v
        below = np.array([drawn[1] + (drawn[2] + drawn[3]) / 1.025, drawn[2] + drawn[3], drawn[3]])
        v = np.array([1.03, 0, 0, 0], dtype=complex)
        v[1] = v[0] - z[0] * below[0]
        v[2] = v[1] / 1.025 - z[1] * below[1]
        v[3] = v[2] - z[2] * below[2]
    sent = np.array([below[0] - half[0] * v[0], below[1] / 1.025, below[2] - half[2] * v[2]])
    received = np.array([below[0] + half[0] * v[1], below[1], below[2] + half[2] * v[3]])
    return v, np.abs([sent, received])


@pytest.mark.parametrize(("phases", "share"), [("pos", 1.0), ("b", 1 / 3)])
def test_balanced_shunts_by_hand(phases: str, share: float) -> None:
    """AC and branch flow agree with the nodal equations; a line's loading is its current, a transformer's its power."""
    feeder = four_buses(phases, share)
    v, current = by_nodes()
    power = current * np.abs([v[:3], v[1:]])
    loading = np.array([current[:, 0].max(), power[:, 1].max(), current[:, 2].max()])
    assert abs(current[0, 0] - current[1, 0]) > 5
    socp = BranchFlowSOCP(feeder)
    for state in (ACNetwork(feeder).flow(P * share, Q * share), socp.state(P * share, Q * share)):
        np.testing.assert_allclose(state.v_pu, np.abs(v), atol=1e-6)
        np.testing.assert_allclose(state.loading_kva[1:], loading * share, rtol=1e-5)
        assert state.loss_kw == pytest.approx(socp.state(P * share, Q * share).loss_kw, rel=1e-4)
    linear = LinDistFlow(feeder).state(P * share, Q * share)
    assert np.abs(linear.v_pu - np.abs(v)).max() < 4e-3
    assert np.abs(LinDistFlow(plain(feeder)).state(P * share, Q * share).v_pu - np.abs(v)).max() > 6e-3


def test_the_relaxation_has_the_same_shunts_and_limits() -> None:
    feeder = four_buses()
    network = BranchFlowSOCP(feeder)
    wide = network.quantities
    relaxed = network.relaxation(cp.Constant(P), cp.Constant(Q), wide.lower - 9.0, wide.upper + 9.0)
    cp.Problem(cp.Minimize(relaxed.loss_kw), relaxed.constraints).solve(solver="CLARABEL")
    u, form = relaxed.unknowns.value, network.form
    v, current = by_nodes()
    np.testing.assert_allclose(np.sqrt(u[form.voltage]), np.abs(v[1:]), atol=1e-6)
    np.testing.assert_allclose(
        form.amperes @ u + form.amperes_base, (current[:, [0, 2]] / [200.0, 120.0]).ravel() ** 2, rtol=1e-5
    )
    ends = (form.powers @ u + form.powers_base).reshape(-1, 3)
    np.testing.assert_allclose(np.hypot(*ends[:, 1:].T), current[:, 1] * np.abs(v[1:3]) / 150.0, rtol=1e-5)
    v2 = network.evaluate(P, Q)
    assert v2[3:] == pytest.approx([(current[:, 0].max() / 200) ** 2, network.state(P, Q).loading_kva[2] / 150, v2[5]])
    state = network.state(P, Q)
    np.testing.assert_allclose(network.limited(state.v_pu, *state.rated_flows[1])[:3], v2[:3], rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_rows_evaluate_and_constraints_agree_with_shunts(seed: int) -> None:
    """Also the largest use of one bus within the limits, once by rows and once by the cvxpy constraints."""
    for model in (LinDistFlow(four_buses(seed=seed)), LinDist3Flow(phase_feeder(seed))):
        rng = np.random.default_rng(seed)
        p, q = rng.normal(-2.0, 3.0, (2, 5, model.n_nodes))
        a_p, a_q, constant = model.rows(np.arange(len(model.quantities.kind)))
        np.testing.assert_allclose(model.evaluate(p, q), p @ a_p.T + q @ a_q.T + constant, atol=1e-12)
        zero = np.zeros(model.n_nodes)
        assert np.abs(type(model)(plain(model.feeder)).evaluate(zero, zero) - constant).max() > 0.01
        limits = model.evaluate(p[0], q[0])
        x, y = cp.Variable(model.n_nodes), cp.Variable(model.n_nodes)
        for given, at in ((limits, 0), (model.evaluate(p[1], q[1]), 1)):
            near = cp.Problem(
                cp.Minimize(cp.sum_squares(x - p[at]) + cp.sum_squares(y - q[at])),
                model.constraints(x, y, given - 1e-6, given + 1e-6),
            )
            assert near.solve(solver="CLARABEL") < 1e-4


def phase_feeder(seed: int) -> Feeder:
    """A random feeder with shunts on some buses, of one number or one per phase."""
    buses, branches = feeder_tables(12, np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    own = [branches.set_index("to_bus")["phases"].get(name, "abc") for name in buses["name"]]
    kvar = [" ".join(str(float(v)) for v in rng.normal(0, 3, len(p))) for p in own]
    buses = buses.assign(shunt_kvar=kvar, shunt_kw=rng.uniform(0, 2, len(buses)), phases=own)
    return Feeder.from_tables(buses, branches.assign(charging_kvar=rng.uniform(0, 9, len(branches))))


def loaded(network: str, **columns: object) -> ao.Case:
    """10 kVA to one bus where two ask for 12 kW each; columns of that bus."""
    phases = "a" if network == "lindist3flow" else "pos"
    buses = pd.DataFrame({"name": ["s", "e"], "vn_kv": 0.4, "v_min_pu": 0.8, "v_max_pu": 1.2, "phases": phases})
    branches = pd.DataFrame({"name": ["l"], "from_bus": ["s"], "to_bus": ["e"], "r_ohm": 1e-6, "x_ohm": 1e-6})
    return ao.from_tables(
        name="loaded",
        buses=buses.assign(v_source_pu=[1.0, NAN], **{name: [0, value] for name, value in columns.items()}),
        branches=branches.assign(rating_kva=10.0, charging_kvar=0.0),
        participants=pd.DataFrame({"name": ["p", "q"], "bus": "e"}).assign(
            connection_import_kw=20.0, connection_export_kw=20.0
        ),
        profiles=pd.DataFrame({"time": pd.date_range("2030-01-01", periods=2, freq="30min"), "one": 1.0}),
        series=pd.DataFrame(
            {"participant": ["p", "q"], "quantity": "import", "profile": "one", "scale_kw": [12.0, 12.0]}
        ),
    )


@pytest.mark.parametrize(
    ("network", "mechanism"),
    [
        *((n, m) for n in ("lindistflow", "lindist3flow", "socp") for m in ("amm", "equal_doe:enrolled=requesting")),
        ("lindistflow", "fot"),
        ("lindist3flow", "alpha_fair:alpha=0"),
    ],
)
def test_mechanisms_leave_room_for_shunts(network: str, mechanism: str) -> None:
    """A shunt of 3 kW leaves 7 of 10 kVA; one of 6 kvar leaves 8 kW, on the circle or inside its polygon."""
    three = ao.verify(ao.simulate(loaded(network, shunt_kw=3.0), mechanism, network=network))
    assert three.allocation.import_kw.sum(axis=1) == pytest.approx([7.0, 7.0], rel=2e-3)
    assert three.summary["ac_thermal_violations"] == 0
    six = ao.simulate(loaded(network, shunt_kvar=-6.0), mechanism, network=network).allocation.import_kw.sum(axis=1)
    assert np.all((six <= 8.0 + 1e-3) & (np.hypot(six, 6.0) >= 9.81))


def test_a_lateral_on_another_phase_is_not_lindistflow() -> None:
    buses = pd.DataFrame({"name": ["s", "x", "y"], "vn_kv": 0.4, "v_min_pu": 0.8, "v_max_pu": 1.2, "phases": "abc"})
    branches = pd.DataFrame({"name": ["x", "y"], "from_bus": "s", "to_bus": ["x", "y"], "r_ohm": 0.1, "x_ohm": 0.1})
    tables = {"buses": buses.assign(v_source_pu=[1.0, NAN, NAN]), "branches": branches.assign(phases=["a", "b"])}
    for model in (LinDistFlow, BranchFlowSOCP):
        with pytest.raises(ao.InputError, match="branches are on phases a, b; lindistflow models one phase throughout"):
            model(Feeder.from_tables(**tables))
    one = LinDistFlow(Feeder.from_tables(tables["buses"], branches.assign(phases="a")))
    with pytest.raises(ao.InputError, match="participant 1: it is on phases abc, but only a feeds bus 'y'"):
        one.incidence(np.array([1, 2]), ("a", "abc"))


def test_what_changes_a_result_changes_the_fingerprint() -> None:
    cases = [loaded("socp", **columns) for columns in ({}, {"shunt_kw": 1.0}, {"shunt_kvar": 1.0})]
    feeder = cases[0].feeder
    for change in ({"branch_kind": ("", "transformer")}, {"vector_group": ("", "Dyn1")}):
        cases.append(replace(cases[0], feeder=replace(feeder, **change)))
    cases.append(replace(cases[0], feeder=replace(feeder, charging_kvar=feeder.charging_kvar + 1.0)))
    assert len({case.fingerprint for case in cases}) == 6
