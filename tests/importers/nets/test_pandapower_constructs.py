"""Several sources, busbars that switches join, three windings, single phases and batteries of pandapower nets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandapower_truth import BUILDERS, CONSTRUCTS, bus_voltages, stored, two_buses

import amm_opt as ao

TRUTH = {build.__name__: found for build, found in zip(BUILDERS, stored(CONSTRUCTS), strict=True)}


def node_voltages(case: ao.Case) -> dict[str, float]:
    """AC magnitudes by bus; by bus and phase where the network is on phases."""
    if case.feeder.balanced:
        return bus_voltages(case)
    w = case.requests(0, 1)
    network = ao.ACNetwork(case.feeder)
    at = ao.LinDist3Flow(case.feeder).incidence(case.bus, case.phases)
    p, q = case.bus_injections(w.inflexible_kw, w.import_request_kw, w.export_request_kw, at)
    names = [f"{case.feeder.bus_names[b]}.{'abc'[k]}" for b, k in zip(network.bus, network.phase, strict=True)]
    return dict(zip(names, network.flow(p[0], q[0]).v_pu.tolist(), strict=True))


@pytest.mark.parametrize("which", TRUTH)
def test_constructs_have_the_voltages_of_pandapower(which: str) -> None:
    net, truth = TRUTH[which]
    mine = node_voltages(ao.from_pandapower(net))
    shared = set(mine) & set(truth)
    assert len(shared) >= len(truth) - 2  # a busbar of each voltage is one with its neighbour
    assert max(abs(mine[name] - truth[name]) for name in shared) < 1e-6


def test_several_sources_are_joined_or_chosen() -> None:
    net, truth = TRUTH["two_trees"]
    case = ao.from_pandapower(net)
    assert case.feeder.bus_names[0] == "joined sources"
    assert "2 sources are joined at one stiff node" in str(case.report)
    alone = ao.from_pandapower(net, sources=["bus 2"])
    assert set(alone.feeder.bus_names) == {"bus 2", "bus 3"}
    assert alone.feeder.v_source_pu == 0.99
    assert bus_voltages(alone)["bus 3"] == pytest.approx(truth["bus 3"], abs=1e-6)
    for words in ("1 source by sources=...: bus 0", "2 buses without supply: bus 0, bus 1"):
        assert words in str(alone.report)
    with pytest.raises(ao.InputError, match="sources: unknown bus of a source 'bus 9'; valid choices: bus 0, bus 2"):
        ao.from_pandapower(net, sources=["bus 9"])


def test_sources_of_one_tree_close_a_loop() -> None:
    net, _ = TRUTH["two_trees"]
    tie = net["line"].iloc[[0]].assign(from_bus=1, to_bus=3, name="tie").set_axis([7])
    ring = {**net, "line": pd.concat([net["line"], tie])}
    with pytest.raises(ao.InputError, match="loop of 5 branches; open one of: tie"):
        ao.from_pandapower(ring)
    assert bus_voltages(ao.from_pandapower(ring, open_branches=["tie"])) == bus_voltages(ao.from_pandapower(net))


def test_sources_at_one_bus_must_agree() -> None:
    net = two_buses()
    net["ext_grid"] = pd.DataFrame({"bus": [0, 0], "vm_pu": [1.02, 1.02]})
    assert ao.from_pandapower(net).feeder.v_source_pu == 1.02
    net["ext_grid"]["vm_pu"] = [1.02, 1.03]
    with pytest.raises(ao.InputError, match=r"sources at bus 'mv' hold different voltages: 1\.02, 1\.03 pu"):
        ao.from_pandapower(net)


def test_branches_side_by_side_are_full_when_the_first_of_them_is() -> None:
    """Two lines of 138.6 kVA and 0.1 and 0.2 km: the shorter takes two thirds, so both together 207.8 kVA."""
    feeder = ao.from_pandapower(TRUTH["coupled_busbars"][0]).feeder
    lines = feeder.branch_names.index("line 0 + line 1")
    assert feeder.rating_kva[lines] == pytest.approx(1.5 * np.sqrt(3) * 400 * 0.2)
    assert feeder.z_ohm[lines][0, 0] == pytest.approx(complex(0.3, 0.1) / 15)
    units = feeder.branch_names.index("trafo 0 + trafo 1")
    assert feeder.rating_kva[units] == pytest.approx(650.0, rel=1e-4)  # alike in percent


def test_ties_are_ranked_by_what_they_carry() -> None:
    """A ring of four lines with all load at its third bus: of the way round the far side the end carries least."""
    net = two_buses()
    net["bus"] = pd.DataFrame({"name": list("sabc"), "vn_kv": 0.4})
    line = {"length_km": [0.1, 0.1, 0.1, 0.3], "r_ohm_per_km": 0.3, "x_ohm_per_km": 0.1, "max_i_ka": 0.2}
    net["line"] = pd.DataFrame(
        {"name": ["sa", "ab", "bc", "cs"], "from_bus": [0, 1, 2, 3], "to_bus": [1, 2, 3, 0], **line}
    )
    net["load"] = pd.DataFrame({"bus": [1, 2, 3], "p_mw": [0.01, 0.02, 0.01], "q_mvar": 0.0})
    del net["trafo"]
    # with resistances 1, 1, 1, 3 round the ring, cs carries (10 + 2 * 20 + 3 * 10) / 6 = 13.3, bc 3.3, ab 16.7, sa 26.7
    with pytest.raises(ao.InputError) as caught:
        ao.from_pandapower(net)
    assert 'Least loaded when all are closed: open_branches=["bc"]' in str(caught.value)
    assert "loop of 4 branches; open one of: bc, cs, ab, sa" in str(caught.value)


def test_a_loop_of_lines_keeps_its_switches() -> None:
    """The tie between the ends of two lines of unequal length carries little: it is offered first."""
    net = two_buses()
    net["bus"] = pd.DataFrame({"name": list("sabcd"), "vn_kv": 0.4})
    line = {"length_km": 0.1, "r_ohm_per_km": 0.3, "x_ohm_per_km": 0.1, "max_i_ka": 0.2}
    net["line"] = pd.DataFrame({"name": list("1234"), "from_bus": [0, 1, 0, 3], "to_bus": [1, 2, 3, 4], **line})
    net["switch"] = pd.DataFrame({"name": ["tie"], "bus": [2], "element": [4], "et": ["b"], "closed": [True]})
    net["load"] = pd.DataFrame({"bus": [1, 2, 3, 4], "p_mw": [0.01, 0.01, 0.01, 0.011], "q_mvar": 0.0})
    del net["trafo"]
    with pytest.raises(ao.InputError, match=r"loop of 5 branches; open one of: tie, "):
        ao.from_pandapower(net)
    assert ao.from_pandapower(net, open_branches=["tie"]).feeder.n_buses == 5


def test_lines_side_by_side_open_by_either_name() -> None:
    net = two_buses()
    del net["trafo"]
    net["bus"] = pd.DataFrame({"name": list("sab"), "vn_kv": 0.4})
    line = {"length_km": 0.1, "r_ohm_per_km": 0.3, "x_ohm_per_km": 0.1, "max_i_ka": 0.2}
    net["line"] = pd.DataFrame({"name": list("1234"), "from_bus": [0, 0, 1, 0], "to_bus": [1, 1, 2, 2], **line})
    for names in (["1 + 2"], ["1", "2"]):
        feeder = ao.from_pandapower(net, open_branches=names).feeder
        assert set(feeder.branch_names[1:]) == {"3", "4"}
    with pytest.raises(ao.InputError, match="open_branches: no branch '5'"):
        ao.from_pandapower(net, open_branches=["5"])


def test_storage_is_a_battery() -> None:
    """8.1 kWh between both limits; 0.81 there and back is 0.9 each way; the second at the bus adds to it."""
    net = two_buses()
    store = {
        "bus": [1, 1, 0],
        "p_mw": [0.002, 0.0, 0.0],
        "max_e_mwh": [0.009, 0.0027, 0.1],
        "min_e_mwh": [0.0009, 0.0, 0],
    }
    store |= {
        "sn_mva": [0.005, 0.001, 0.05],
        "efficiency_percent": [81.0, 81.0, 0.81],
        "soc_percent": [50.0, 0.0, 20.0],
    }
    net["storage"] = pd.DataFrame(store)
    case = ao.from_pandapower(net)
    people = case.participants.set_index("name")
    assert people.loc["lv", "battery_kwh"] == pytest.approx(10.8)
    assert people.loc["lv", "battery_kw"] == pytest.approx(6.0)
    assert people.loc["lv", "battery_efficiency"] == pytest.approx(0.9)
    assert people.loc["lv", "battery_initial"] == pytest.approx(0.5 * 8.1 / 10.8)
    assert people.loc["lv", "connection_import_kw"] == pytest.approx(66.0)
    assert people.loc["mv", ["battery_kwh", "connection_export_kw"]].tolist() == pytest.approx([100.0, 50.0])
    for words in (
        "3 storage elements as batteries of 110.8 kWh and 56 kW",
        "2 kW that storage units draw",
        "1 batteries",
    ):
        assert words in str(case.report)


def test_storage_of_unknown_size_is_its_power() -> None:
    net = two_buses()
    net["storage"] = pd.DataFrame({"bus": [1, 1], "p_mw": [0.02, -0.005], "q_mvar": 0.0, "max_e_mwh": np.nan})
    case = ao.from_pandapower(net)
    assert case.requests(0, 1).inflexible_kw.sum() == pytest.approx(60.0 + 20.0 - 5.0)
    assert (case.participants["battery_kwh"] == 0).all()
    assert "power as it stands of 2 storage elements that can hold nothing (max_e_mwh)" in str(case.report)


def test_double_busbars_are_one_bus() -> None:
    """Two closed couplers side by side and an open one between the same busbars."""
    net = two_buses()
    net["bus"] = pd.DataFrame({"name": ["mv", "lv", "bar"], "vn_kv": [20.0, 0.4, 0.4]})
    net["load"] = net["load"].assign(bus=2)
    net["switch"] = pd.DataFrame({"bus": 1, "element": 2, "et": "b", "closed": [True, True, False]})
    case = ao.from_pandapower(net)
    assert case.feeder.bus_names == ("mv", "lv")
    assert bus_voltages(case)["lv"] == pytest.approx(1.0150, abs=2e-4)  # as without busbars


def phase_net(**changes: Any) -> dict[str, Any]:
    net = dict(TRUTH["single_phases"][0])
    for kind, edit in changes.items():
        net[kind] = edit(net[kind])
    return net


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"asymmetric_load": lambda t: t.assign(type="delta")}, "type = 'delta' is not supported: wye is"),
        ({"line": lambda t: t.drop(columns="r0_ohm_per_km")}, "the line table has no column r0_ohm_per_km"),
        ({"trafo": lambda t: t.assign(shift_degree=90.0)}, "vector_group = 'dyn' with shift_degree = 90"),
        ({"trafo": lambda t: t.assign(vector_group="Yzn")}, "Dyn with 30 or 150, and YNyn with 0 are"),
        ({"asymmetric_sgen": lambda t: t.assign(p_b_mw=-0.1)}, "p_b_mw must not be negative"),
    ],
)
def test_what_cannot_be_used_on_phases_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ao.InputError, match=message):
        ao.from_pandapower(phase_net(**changes))


def test_phase_loads_are_participants_on_their_phase() -> None:
    people = ao.from_pandapower(TRUTH["single_phases"][0]).participants.set_index("name")
    assert people["phases"][["bus 3", "bus 3 phase a", "bus 3 phase c", "bus 2 phase b"]].tolist() == [
        "abc",
        "a",
        "c",
        "b",
    ]
    assert people["power_factor"]["bus 3 phase a"] == pytest.approx(20 / np.hypot(20, 6))


def test_impedances_that_differ_by_direction_are_refused() -> None:
    net = dict(TRUTH["three_windings"][0])
    net["impedance"] = net["impedance"].assign(rtf_pu=0.5)
    with pytest.raises(ao.InputError, match="impedance 'impedance 0': not supported, its two directions"):
        ao.from_pandapower(net)


def test_motors_and_lines_of_direct_current_by_hand() -> None:
    """20 kW on the shaft at 80 % and 0.9: 17.78 kW and, at 0.8, 13.33 kvar; 20 kW less 2 % and 1 kW arrive as 18.6."""
    net = two_buses()
    net["motor"] = pd.DataFrame({"bus": [1], "pn_mech_mw": 0.02, "loading_percent": 80.0, "efficiency_percent": 90.0})
    net["motor"]["cos_phi"] = 0.8
    net["dcline"] = pd.DataFrame({"from_bus": [0, 1], "to_bus": [1, 0], "p_mw": [0.02, -0.01], "loss_percent": 2.0})
    net["dcline"]["loss_mw"] = [0.001, 0.0]
    case = ao.from_pandapower(net)
    w = case.requests(0, 1)
    p, q = case.bus_injections(w.inflexible_kw, 0.0, 0.0)
    mv, lv = (case.feeder.bus_index[bus] for bus in ("mv", "lv"))
    assert (-p[0])[[mv, lv]].tolist() == pytest.approx([20.0 + 10.0, 60.0 + 160.0 / 9.0 - 18.6 - 9.8])
    assert (-q[0])[[mv, lv]].tolist() == pytest.approx([0.0, 20.0 + 40.0 / 3.0])
    assert "power as it stands of 2 lines of direct current" in str(case.report)


def test_what_voltage_dependence_misses_is_said() -> None:
    """Of 60 kW 30 % go with v^2 and 20 % with v: 60 (0.3 0.21 + 0.2 0.1) = 4.98 kW at 1.1 pu; of 20 kvar a third."""
    net = two_buses()
    net["load"] = net["load"].assign(const_z_p_percent=30.0, const_i_p_percent=20.0)
    net["load"] = net["load"].assign(const_z_q_percent=30.0, const_i_q_percent=20.0)
    assert "at 1.1 pu is 4.98 kW and 1.66 kvar less than theirs" in str(ao.from_pandapower(net).report)


def test_a_mesh_has_one_angle() -> None:
    net, _ = TRUTH["two_trees"]
    turned = {**net, "ext_grid": net["ext_grid"].assign(va_degree=5.0)}
    assert ao.from_pandapower(turned).n_participants == 2
    with pytest.raises(ao.InputError, match=r"sources at different angles \(va_degree\): 0, 5; in a mesh"):
        ao.from_pandapower(turned, meshed=True)


def test_reactive_power_of_a_plant_with_a_price_and_no_power_stays() -> None:
    net = two_buses()
    net["sgen"] = pd.DataFrame({"name": ["var"], "bus": [1], "p_mw": [0.0], "q_mvar": [0.03]})
    net["poly_cost"] = pd.DataFrame({"element": [0], "et": ["sgen"], "cp1_eur_per_mw": [50.0]})
    case = ao.from_pandapower(net)
    people = case.participants.set_index("name")
    assert people.loc["var", ["inflexible_kvar", "export_offer"]].tolist() == pytest.approx([-30.0, 0.05])
