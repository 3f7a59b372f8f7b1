"""What ratings limit, judged by OpenDSS: amperes of lines, phases of the wye of delta-wye transformers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import amm_opt as ao
from amm_opt.network import ACNetwork, Feeder, LinDist3Flow
from amm_opt.network.ac.ratings import RatedEnds

pytest.importorskip("opendssdirect", reason="pip install 'amm-opt[opendss]'")
NAN = float("nan")
LOADS = {"a": 30.0, "b": -30.0, "c": 5.0}
KVAR = {"a": 9.0, "b": 0.0, "c": 2.0}
DELTA = {"Dyn11": "conn=delta", "Dyn1": "conn=delta", "YNyn0": "conn=wye"}


def circuit(group: str) -> str:
    lead = "leadlag=euro" if group == "Dyn11" else ""
    loads = "\n".join(
        f"new load.{p} phases=1 bus1=end.{i + 1} kv=0.2309401 kw={LOADS[p]} kvar={KVAR[p]} vminpu=0.1 vmaxpu=3"
        for i, p in enumerate("abc")
    )
    return f"""set defaultbasefrequency=50
new circuit.c basekv=11 pu=1 bus1=s z1=[1e-7,1e-6] z0=[1e-7,1e-6]
new transformer.t {lead} xhl=4 wdg=1 bus=s {DELTA[group]} kv=11 kva=99 %r=0.5 wdg=2 bus=lv conn=wye kv=0.4 kva=99 %r=0.5
new line.cable bus1=lv bus2=end phases=3 length=0.2 units=km rmatrix=[0.1 | 0 0.1 | 0 0 0.1]
~ xmatrix=[0.05 | 0 0.05 | 0 0 0.05] cmatrix=[0 | 0 0 | 0 0 0]
{loads}
"""


def feeder(group: str, cable_kva: float = 25.0, km: float = 0.2) -> Feeder:
    """The circuit by hand: 1 + 4j % of 99 kVA, 33 kVA per phase."""
    ohm = 400.0**2 / 99e3

    def diagonal(z: float) -> str:
        return f"{z} | 0 {z} | 0 0 {z}"

    buses = pd.DataFrame({"name": ["s", "lv", "end"], "vn_kv": [11.0, 0.4, 0.4], "v_min_pu": 0.8, "v_max_pu": 1.2})
    branches = pd.DataFrame({"name": ["t", "cable"], "from_bus": ["s", "lv"], "to_bus": ["lv", "end"]}).assign(
        kind=["transformer", "line"],
        r_ohm=[diagonal(0.01 * ohm), diagonal(0.1 * km)],
        x_ohm=[diagonal(0.04 * ohm), diagonal(0.05 * km)],
        rating_kva=[33.0, cable_kva],
        vector_group=[group, "YNyn0"],
    )
    return Feeder.from_tables(buses.assign(phases="abc", v_source_pu=[1.0, NAN, NAN]), branches)


def case(made: Feeder, **powers: tuple[str, float]) -> ao.Case:
    """One participant per phase at the end: a = ("import", 30.0) for example."""
    tables = {"buses": made.tables.buses, "branches": made.tables.branches}
    phases = {name: ["".join(x) for x in table["phases"]] for name, table in tables.items()}
    return ao.from_tables(
        name="dyn",
        buses=made.tables.buses.assign(phases=phases["buses"]),
        branches=made.tables.branches.drop(columns="z_ohm").assign(phases=phases["branches"]),
        participants=pd.DataFrame({"name": list(powers), "bus": "end", "phases": list(powers)}).assign(
            connection_import_kw=200.0, connection_export_kw=200.0
        ),
        profiles=pd.DataFrame({"time": pd.date_range("2030-01-01", periods=2, freq="30min"), "one": 1.0}),
        series=pd.DataFrame(
            [(name, quantity, "one", kw) for name, (quantity, kw) in powers.items()],
            columns=["participant", "quantity", "profile", "scale_kw"],
        ),
    )


@pytest.mark.parametrize("group", list(DELTA))
def test_the_loading_is_what_opendss_measures(group: str, tmp_path: Path) -> None:
    """kVA of each phase of the wye winding, and amperes of the cable; in the network and on the file's own wires."""
    import opendssdirect as engine
    from opendss_truth import solve

    master = tmp_path / "Master.dss"
    master.write_text(circuit(group))
    solve(master)
    engine.Circuit.SetActiveElement("transformer.t")
    flat = np.array(engine.CktElement.Powers()).reshape(-1, 2) @ [1, 1j]
    winding = np.abs(flat.reshape(2, -1)[:, :3])
    engine.Circuit.SetActiveElement("line.cable")
    ampere = np.array(engine.CktElement.CurrentsMagAng())[::2].reshape(2, 3).max(axis=0)
    made = feeder(group)
    model = LinDist3Flow(made)
    p, q = (-np.where(model.bus == 2, [values["abc"[phase]] for phase in model.phase], 0.0) for values in (LOADS, KVAR))
    right = winding[1] if group != "YNyn0" else winding.max(axis=0)
    for network in (ACNetwork(made), ao.FourWireNetwork(made, master)):
        loading = network.flow(p[None], q[None]).loading_kva[0]
        np.testing.assert_allclose(loading[model.bus == 1], right, atol=2e-3)
        np.testing.assert_allclose(loading[model.bus == 2], ampere * 0.4 / np.sqrt(3), atol=2e-3)
    # without losses and voltage drop the model loads the winding with the phase's power, which is within 4 % of 33 kVA
    linear = model.state(p, q).loading_kva[model.bus == 1]
    np.testing.assert_allclose(linear, [np.hypot(30, 9), 30, np.hypot(5, 2)], rtol=1e-9)
    np.testing.assert_allclose(linear, right, atol=0.04 * 33)
    if group != "YNyn0":
        assert np.abs(winding[0] - right).max() > 10  # the primary's phases are others


def test_a_phase_that_carries_nothing_is_not_loaded() -> None:
    made = case(feeder("Dyn11", 60.0), a=("import", 30.0), b=("export", 30.0))
    run = ao.verify(ao.simulate(made, "no_control", steps=1))
    assert run.summary["flow_error_worst_pct"] < 3
    assert run.summary["ac_thermal_violations"] == 0


@pytest.mark.parametrize("group", ["Dyn1", "Dyn11"])
def test_secure_gives_both_phases_of_a_delta_wye_transformer_their_rating(group: str) -> None:
    """Import on a and export on b, each more than the 33 kVA of its phase of the secondary, with the third idle."""
    made = case(feeder(group, 60.0), a=("import", 50.0), b=("export", 50.0))
    run = ao.verify(ao.simulate(made, "amm", steps=1, ac="secure"))
    assert run.summary["ac_thermal_violations"] == 0
    network = ACNetwork(made.feeder)
    drawn = run.allocation.import_kw[0] - run.allocation.export_kw[0]
    p = np.zeros(network.n_nodes)
    p[(network.bus == 2) & (network.phase == 0)] = -drawn[0]
    p[(network.bus == 2) & (network.phase == 1)] = -drawn[1]
    loading = network.flow(p, 0 * p).loading_kva[network.bus == 1]
    assert np.all(loading <= 33 * (1 + 1e-4))
    assert loading[:2] == pytest.approx([33, 33], rel=0.02)


@pytest.mark.parametrize("network", ["lindist3flow", "socp"])
def test_secure_and_the_conic_model_keep_amperes(network: str) -> None:
    """25 kW at 0.95 pu are 26.3 kVA of current at nominal voltage: on a cable of 25 less than 24.6 kW are served."""
    phases = {"lindist3flow": "abc", "socp": "a"}[network]
    made = case(feeder("YNyn0", 25.0, 1.0), a=("import", 40.0))
    if network == "socp":
        tables = made.feeder.tables
        branches = tables.branches.drop(columns="z_ohm").assign(phases=phases, r_ohm=[0.016, 0.1], x_ohm=[0.065, 0.05])
        made = replace(made, feeder=Feeder.from_tables(tables.buses.assign(phases=phases), branches))
    run = ao.verify(ao.simulate(made, "amm", steps=1, network=network, ac="secure" if network != "socp" else None))
    assert run.summary["ac_thermal_violations"] == 0
    served = run.allocation.import_kw[0, 0]
    assert served < 24.6
    other = made.feeder
    ac = ACNetwork(other)
    p = np.where((ac.bus == 2) & (ac.phase == 0), -served, 0.0)
    assert ac.flow(p, 0 * p).loading_kva[(ac.bus == 2) & (ac.phase == 0)] == pytest.approx(25.0, rel=5e-3)


def test_which_end_of_which_branch() -> None:
    made = feeder("Dyn11")
    turned = replace(made, vector_group=("", "Dyn11 reversed", "YNyn0"))
    bus = np.arange(3)
    one: Any = np.array([1.0, 2.0, 4.0]), np.zeros(3)
    other: Any = np.array([1.0, 3.0, 5.0]), np.zeros(3)
    for given, rated in ((made, ([1, 3, 4], [1, 3, 5])), (turned, ([1, 2, 4], [1, 2, 5]))):
        ends = RatedEnds.of(given, bus).chosen(one, other)
        np.testing.assert_array_equal([end[0] for end in ends], rated)
    scaled = RatedEnds.of(made, bus).scaled(np.array([1.0, 0.5, 0.8]), *one)
    np.testing.assert_allclose(scaled[0], [1, 2, 5])
