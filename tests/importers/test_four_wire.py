"""OpenDSS with all wires as the judge of runs: against a plain solve of the file, energy balance, taps, bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from in_process import amm_opt

import amm_opt as ao
from amm_opt.cases import Case
from amm_opt.errors import InputError
from amm_opt.importers import ImportedNetwork, YearScenario, csiro_network, from_opendss, year_case
from amm_opt.importers.opendss.elements.neutral import star_resistances
from amm_opt.network import ACNetwork
from amm_opt.simulation.results.columns import COLUMNS
from amm_opt.study.cli import main

pytest.importorskip("opendssdirect", reason="pip install 'amm-opt[opendss]'")

TEXT = """set defaultbasefrequency=50
new circuit.small basekv=11 pu=1.02 bus1=src angle=-30 model=ideal
new linecode.mv nphases=3 units=km r1=0.4 x1=0.35 r0=0.8 x0=1.2 c1=0 c0=0 normamps=100
new linecode.lv nphases=4 units=km rmatrix=[0.5 | 0.05 0.5 | 0.05 0.05 0.5 | 0.05 0.05 0.05 0.6]
~ xmatrix=[0.7 | 0.4 0.7 | 0.4 0.4 0.7 | 0.4 0.4 0.4 0.7] cmatrix=[0 | 0 0 | 0 0 0 | 0 0 0 0] normamps=150
new line.m bus1=src bus2=mv linecode=mv length=2 units=km
new transformer.t leadlag=euro xhl=4 wdg=1 bus=mv conn=delta kv=11 tap=1.02 kva=200 %r=0.6
~ wdg=2 bus=lv0.1.2.3.4 conn=wye kv=0.4 tap=1 kva=200 %r=0.6
new line.a phases=4 bus1=lv0.1.2.3.4 bus2=lv1.1.2.3.4 linecode=lv length=0.2 units=km
new line.b phases=4 bus1=lv2.1.2.3.4 bus2=lv1.1.2.3.4 linecode=lv length=0.1 units=km
new line.tie phases=4 bus1=lv2.1.2.3.4 bus2=lv0.1.2.3.4 linecode=lv length=0.1 units=km
open line.tie
new reactor.g phases=1 bus1=lv0.4 bus2=lv0.0 r=0.0001 x=0
new load.one phases=1 bus1=lv1.1.4 kv=0.23 kw=6 pf=0.95
new load.two phases=1 bus1=lv2.2.4 kv=0.23 kw=4 pf=0.95
new load.three phases=1 bus1=lv2.3.4 kv=0.23 kw=-3 pf=0.95
"""


def written(folder: Path, text: str = TEXT) -> Path:
    (folder / "Master.dss").write_text(text)
    return folder


def powers(network: ao.FourWireNetwork, net: ImportedNetwork) -> np.ndarray:
    """The file's loads as injections at the nodes, kW."""
    p = np.zeros(network.n_nodes)
    for row in net.customers.itertuples():
        at = (network.bus == net.feeder.bus_index[row.bus]) & (network.phase == "abc".index(row.phases))
        p[at] -= row.kw
    return p


@pytest.mark.parametrize("source", ["model=ideal", "mvasc3=20 mvasc1=15"])
def test_the_circuit_is_that_of_the_file(tmp_path: Path, source: str) -> None:
    """Also where the source is behind an impedance, which is then a branch of the feeder."""
    from opendss_truth import solve

    net = from_opendss(written(tmp_path, TEXT.replace("model=ideal", source)), nominal_kv=(11.0, 0.4))
    network = ao.FourWireNetwork(net.feeder, tmp_path)
    p = powers(network, net)
    q = np.abs(p) * np.sqrt(1 / 0.95**2 - 1) * np.sign(p)
    state = network.flow(np.stack([p, 0.5 * p]), np.stack([q, 0.5 * q]))
    assert state.solved.all()
    truth = solve(tmp_path / "Master.dss", ["batchedit load..* vminpu=0.1 vmaxpu=2"])
    for node, (bus, phase) in enumerate(zip(network.bus, network.phase, strict=True)):
        name = net.feeder.bus_names[bus]
        if name == "infinite_bus_of_src":
            continue
        exact = truth.phase_neutral(name, phase + 1, 4 if name.startswith("lv") else 0)
        base = 1000 * net.feeder.vn_kv[bus] / np.sqrt(3)
        assert state.v_pu[0, node] == pytest.approx(abs(exact) / base, abs=1e-6), name
    parent = net.feeder.parent[network.bus]
    head = np.flatnonzero((parent == net.feeder.bus_index["src"]) & (network.bus > 0))
    assert state.p_sent_kw[0, head].sum() == pytest.approx(truth.source_kw, rel=1e-5)
    assert state.q_sent_kvar[0, head].sum() == pytest.approx(truth.source_kvar, rel=1e-4)
    head = np.flatnonzero((parent == 0) & (network.bus > 0))
    # what is sent less what is drawn is lost, in both intervals, and losses grow with the square
    np.testing.assert_allclose(
        state.p_sent_kw[:, head].sum(axis=1) + p.sum() * np.array([1.0, 0.5]), state.loss_kw, atol=1e-5
    )
    assert 3.5 < state.loss_kw[0] / state.loss_kw[1] < 4.8


def test_agrees_with_the_reduced_network_where_the_neutral_is_grounded(tmp_path: Path) -> None:
    net = from_opendss(written(tmp_path), nominal_kv=(11.0, 0.4))
    network, reduced = ao.FourWireNetwork(net.feeder, tmp_path), ACNetwork(net.feeder)
    p = powers(network, net)[None]
    four, three = network.flow(p, 0.3 * p), reduced.flow(p, 0.3 * p)
    np.testing.assert_allclose(four.v_pu, three.v_pu, atol=2e-4)
    np.testing.assert_allclose(four.s_flow_kva, three.s_flow_kva, atol=0.02)
    assert four.v_pu.max() - four.v_pu.min() > 0.03


@pytest.mark.parametrize("ohm", [0.3, 0.02])
def test_a_star_point_that_is_joined_to_the_neutral_by_ground(tmp_path: Path, ohm: float) -> None:
    """One grounding at the busbar takes the whole return current, so its resistance is the star point's exactly."""
    text = TEXT.replace("bus=lv0.1.2.3.4 conn=wye", "bus=lv0.1.2.3.0 conn=wye").replace("r=0.0001", f"r={ohm}")
    net = from_opendss(written(tmp_path, text), nominal_kv=(11.0, 0.4))
    assert f"1 star point joined to the neutral by its groundings: {ohm:.2g} to {ohm:.2g} ohm" in str(net.report)
    network, reduced = ao.FourWireNetwork(net.feeder, tmp_path), ACNetwork(net.feeder)
    p = powers(network, net)[None]
    four, three = network.flow(p, 0.3 * p), reduced.flow(p, 0.3 * p)
    np.testing.assert_allclose(four.v_pu, three.v_pu, atol=3e-4)
    model = ao.LinDist3Flow(net.feeder)
    np.testing.assert_allclose(np.abs(model.power_flow(p[0], 0.3 * p[0])), three.v_pu[0], atol=1e-6)
    joined = from_opendss(written(tmp_path), nominal_kv=(11.0, 0.4))
    assert "star point" not in str(joined.report)
    if ohm > 0.1:
        other = ACNetwork(joined.feeder).flow(p, 0.3 * p)
        assert np.abs(four.v_pu - other.v_pu).max() > 0.01


def test_groundings_along_the_neutral_share_the_return_current() -> None:
    """Two groundings of 1 ohm at both ends of a line with 1 ohm of neutral, all load at the far end: V = (1, 2) / 3."""
    wires = np.diag([0.1, 0.1, 0.1, 1.0]).astype(complex)
    line = SimpleNamespace(closed=True, buses=("a", "b"), nodes=((1, 2, 3, 4), (1, 2, 3, 4)), z_ohm=wires)
    load = SimpleNamespace(phases=1, between_phases=False, bus="B")
    transformer = SimpleNamespace(
        closed=True, buses=("mv", "A"), conns=("delta", "wye"), phases=3, nodes=((1, 2, 3), (1, 2, 3, 0)),
        element=SimpleNamespace(name="t"),
    )  # fmt: skip
    found = star_resistances([transformer], [line], [load], {"a": 1.0, "b": 1.0})  # type: ignore[list-item]
    assert found == {"t": pytest.approx(1 / 3)}
    alone = star_resistances([transformer], [line], [load], {"a": 1.0})  # type: ignore[list-item]
    assert alone == {"t": pytest.approx(1.0)}
    assert star_resistances([transformer], [line], [load], {}) == {}  # type: ignore[list-item]
    transformer.nodes = ((1, 2, 3), (1, 2, 3, 4))
    assert star_resistances([transformer], [line], [load], {"a": 1.0}) == {}  # type: ignore[list-item]


def test_taps_and_source_are_those_of_the_case(tmp_path: Path) -> None:
    net = from_opendss(written(tmp_path), nominal_kv=(11.0, 0.4))
    feeder = net.feeder
    lower = feeder.tap * np.where(np.array(feeder.branch_kind) == "transformer", 1.05, 1.0)
    changed = replace(feeder, tap=lower, v_source_pu=0.98)
    before, after = (ao.FourWireNetwork(f, tmp_path) for f in (feeder, changed))
    none = np.zeros((1, before.n_nodes))
    v, w = before.flow(none, none).v_pu[0], after.flow(none, none).v_pu[0]
    low = feeder.vn_kv[before.bus] < 1
    np.testing.assert_allclose(w[low] / v[low], 0.98 / 1.02 / 1.05, rtol=1e-5)
    np.testing.assert_allclose(w[~low] / v[~low], 0.98 / 1.02, rtol=1e-5)


def test_bad_input(tmp_path: Path) -> None:
    net = from_opendss(written(tmp_path), nominal_kv=(11.0, 0.4))
    with pytest.raises(InputError, match="not found"):
        ao.FourWireNetwork(net.feeder, tmp_path / "nowhere.dss")
    other = tmp_path / "other"
    other.mkdir()
    written(
        other, TEXT.replace("line.b ", "line.bb ").replace("bus1=lv2.1.2.3.4 bus2=lv1", "bus1=lv9.1.2.3.4 bus2=lv1")
    )
    with pytest.raises(InputError) as caught:
        ao.FourWireNetwork(net.feeder, other)
    assert "no line.b" in str(caught.value)
    with pytest.raises(InputError, match="named phases"):
        ao.FourWireNetwork(ao.load_case("mv33lv").feeder, tmp_path)


def test_a_run_on_the_real_feeder_is_verified(csiro_folder: Path, tmp_path: Path) -> None:
    """Four wires and the reduced network see the same customers beyond their limits, but not the same number."""
    case = year_case(csiro_network(csiro_folder))
    noon = case.span(slice("2023-01-09 12:00", None))[0]
    run = ao.simulate(case, "no_control", steps=slice(noon, noon + 4))
    three, four = ao.verify(run), ao.verify(run, opendss=csiro_folder)
    assert four.summary["ac_unsolved_steps"] == 0
    assert four.summary["ac_losses_mwh"] == pytest.approx(three.summary["ac_losses_mwh"], rel=0.25)
    assert four.summary["ac_voltage_violations"] == pytest.approx(three.summary["ac_voltage_violations"], rel=0.1)
    assert four.summary["ac_voltage_violations"] > 300
    assert 0.002 < four.summary["voltage_error_worst_pu"] < 0.03
    assert four.summary["voltage_error_rms_pu"] < 0.004


def test_an_interval_without_a_solution_is_nan_and_the_next_one_is_solved(tmp_path: Path) -> None:
    net = from_opendss(written(tmp_path), nominal_kv=(11.0, 0.4))
    network = ao.FourWireNetwork(net.feeder, tmp_path)
    p = powers(network, net)
    state = network.flow(np.stack([p, 2000 * p, p]), np.zeros((3, len(p))))
    assert state.solved.tolist() == [True, False, True]
    np.testing.assert_allclose(state.v_pu[0], state.v_pu[2], atol=1e-7)
    assert np.isnan(state.v_pu[1]).all()


GROUNDS = """new reactor.h phases=1 bus1=lv1.4 bus2=lv1.0 r=1 x=0
new reactor.k phases=1 bus1=lv2.4 bus2=lv2.0 r=1 x=0
"""


def crowded(folder: Path) -> Case:
    """Two days of three customers whose neutral is grounded along the line, which the reduced network leaves out."""
    text = TEXT.replace("length=0.2 units=km", "length=1.5 units=km") + GROUNDS
    net = from_opendss(written(folder, text), nominal_kv=(11.0, 0.4))
    made = year_case(net, YearScenario(ev=1, pv=1, days=2, seed=3))
    return made.with_scenario(import_scale=3, export_scale=5)


@pytest.mark.parametrize("mechanism", ["amm", "equal_doe", "fot:window=4"])
def test_what_is_secured_on_all_wires_keeps_the_limits_of_the_file(mechanism: str, tmp_path: Path) -> None:
    case = crowded(tmp_path)
    reduced = ao.verify(ao.simulate(case, mechanism, ac="secure"), opendss=tmp_path)
    run = ao.simulate(case, mechanism, ac="secure", opendss=tmp_path)
    again = ao.verify(run, opendss=tmp_path)
    assert reduced.summary["ac_voltage_violations"] > 0
    for each in (run, again):
        assert each.summary["ac_voltage_violations"] == each.summary["ac_thermal_violations"] == 0
        assert each.claim is not None
        assert "on all wires" in each.claim.points
    served = [float(x.allocation.import_kw.sum() + x.allocation.export_kw.sum()) for x in (reduced, run)]
    assert served[1] == pytest.approx(served[0], rel=0.03)


def test_the_file_is_read_once_for_all_mechanisms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And every mechanism is judged as if it were alone, to the bit."""
    from amm_opt.verification import four_wire

    case, names, read, script = crowded(tmp_path), ["no_control", "amm"], [], four_wire.read_script
    ac = [name for name in COLUMNS if name.startswith("ac_")]
    alone = [ao.simulate(case, name, ac="verify", opendss=tmp_path, steps=12).summary[ac] for name in names]
    monkeypatch.setattr(four_wire, "read_script", lambda path: read.append(path) or script(path))
    together = ao.compare(case, names, ac="verify", opendss=tmp_path, steps=12)
    assert len(read) == 1
    for name, summary in zip(names, alone, strict=True):
        assert together.runs[name].summary[ac].equals(summary)
    together.save(tmp_path / "out")
    read.clear()
    said = CliRunner().invoke(main, ["verify", str(tmp_path / "out"), "--opendss", str(tmp_path)])
    assert said.exit_code == 0, said.output
    assert len(read) == 1


def test_a_run_on_all_wires_is_gone_on_with_on_the_same_wires_only(tmp_path: Path) -> None:
    case, out = crowded(tmp_path), tmp_path / "run"
    run = ao.simulate(case, "amm", ac="secure", opendss=tmp_path, steps=8, out=out)
    assert run.summary.equals(
        ao.simulate(case, "amm", ac="secure", opendss=tmp_path, steps=8, out=out, resume=True).summary
    )
    text = (tmp_path / "Master.dss").read_text()
    (tmp_path / "Master.dss").write_text(text.replace("bus2=lv1.0 r=1", "bus2=lv1.0 r=2"))
    with pytest.raises(InputError, match="wires of the OpenDSS file"):
        ao.simulate(case, "amm", ac="secure", opendss=tmp_path, steps=8, out=out, resume=True)


def test_all_wires_need_to_be_asked_for_ac_and_to_be_the_true_ones(tmp_path: Path) -> None:
    case = crowded(tmp_path)
    with pytest.raises(InputError, match="give ac"):
        ao.simulate(case, "amm", opendss=tmp_path)
    with pytest.raises(InputError, match="are the true ones"):
        ao.simulate(case, "amm", ac="secure", opendss=tmp_path, measurement="noise:sigma=0.1")
    with pytest.raises(InputError, match="not found"):
        ao.simulate(case, "amm", ac="verify", opendss=tmp_path / "nowhere.dss")
    with pytest.raises(InputError, match="is not the path of a file"):
        ao.simulate(case, "amm", ac="verify", opendss=3)  # type: ignore[arg-type]


def test_the_command_takes_the_file(tmp_path: Path) -> None:
    ao.save_case(crowded(tmp_path), tmp_path / "case")
    command = ["run", str(tmp_path / "case"), "--mechanism", "amm", "--steps", "4", "--ac", "secure"]
    made = amm_opt(*command, "--opendss", tmp_path, "--json")
    assert made.returncode == 0, made.stderr
    (row,) = json.loads(made.stdout)["rows"]
    assert row["ac_voltage_violations"] == 0
