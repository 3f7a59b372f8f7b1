"""pandapower nets: voltages are those of ``pandapower.runpp``; what cannot be used is named, not dropped in silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandapower_truth import bus_voltages, random_net, shaped, stored, two_buses, voltages

import amm_opt as ao

NAN = float("nan")


def assert_same(case: ao.Case, truth: dict[str, float]) -> None:
    mine = bus_voltages(case)
    assert set(mine) <= set(truth)
    for name, v in mine.items():
        assert v == pytest.approx(truth[name], abs=1e-6), name


@pytest.mark.parametrize("which", range(5))
def test_stored_nets_have_the_voltages_of_runpp(which: int) -> None:
    net, truth = stored()[which]
    case = ao.from_pandapower(net)
    assert case.feeder.n_buses >= 3
    assert_same(case, truth)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(100, 112))
def test_random_nets_have_the_voltages_of_runpp(seed: int) -> None:
    pp = pytest.importorskip("pandapower", reason="pandapower is missing: pip install 'amm-opt[simbench]'")
    net = random_net(pp, seed)
    assert_same(ao.from_pandapower(net), voltages(pp, net))


TAP = {"tap_side": "hv", "tap_neutral": 0, "tap_pos": 2, "tap_step_percent": 2.5, "tap_step_degree": 0.0}


@pytest.mark.parametrize(
    ("trafo", "v"),
    [
        ({}, 1.0150),
        ({**TAP, "tap_changer_type": "Ratio"}, 0.9661),
        ({**TAP, "tap_changer_type": "Symmetrical"}, 0.9661),
        ({**TAP, "tap_changer_type": "Ideal"}, 1.0150),
        ({**TAP, "tap_changer_type": None}, 1.0150),
        ({**TAP, "tap_changer_type": NAN}, 1.0150),
        ({**TAP, "tap_phase_shifter": False}, 0.9661),
        ({**TAP, "tap_phase_shifter": True}, 1.0150),
        (
            {
                "tap2_side": "lv",
                "tap2_neutral": 0,
                "tap2_pos": 1,
                "tap2_step_percent": 4.0,
                "tap2_changer_type": "Ratio",
            },
            1.0557,
        ),
        ({**TAP, "tap_changer_type": "Ratio", "tap_pos": NAN}, 1.0150),
    ],
)
def test_tap_changers(trafo: dict[str, Any], v: float) -> None:
    """The stated voltages are those of runpp."""
    assert bus_voltages(ao.from_pandapower(two_buses(**trafo)))["lv"] == pytest.approx(v, abs=2e-4)


def test_tap_table() -> None:
    """A table with the ratio 1.05 of the position says the same as two steps of 2.5 %."""
    table = {"id_characteristic": [7, 7], "step": [1, 2], "voltage_ratio": [1.025, 1.05], "angle_deg": 0.0}
    table |= {"vk_percent": [6.0, 6.0], "vkr_percent": [1.4, 1.4]}  # type: ignore[dict-item]
    unit = {**TAP, "tap_changer_type": "Tabular", "tap_dependency_table": True, "id_characteristic_table": 7}
    net = two_buses(**unit) | {"trafo_characteristic_table": pd.DataFrame(table)}
    by_steps = ao.from_pandapower(two_buses(**TAP, tap_changer_type="Ratio"))
    assert bus_voltages(ao.from_pandapower(net))["lv"] == pytest.approx(bus_voltages(by_steps)["lv"], abs=1e-9)
    with pytest.raises(ao.InputError, match="trafo_characteristic_table has no row for its tap position"):
        ao.from_pandapower(two_buses(**unit))


def home_and_roof(roof_profile: str = "roof") -> dict[str, Any]:
    net = two_buses()
    net["load"] = pd.DataFrame(
        {"name": ["house", "pv", "shop"], "bus": 1, "p_mw": [0.010, -0.009, 0.004], "q_mvar": [0.005, 0.0, 0.002]}
    ).assign(profile=["home", roof_profile, "home"])
    times = pd.date_range("2030-06-01", periods=4, freq="6h").strftime("%d.%m.%Y %H:%M")
    columns = {"home_pload": [1.0, 1.0, 0.5, 1.0], "roof_pload": [0.0, 0.0, 1.0, 0.0]}
    return net | {"profiles": {"load": pd.DataFrame({"time": times, **columns})}}


def test_generation_kept_as_negative_load_has_a_power_factor_of_its_own() -> None:
    case = ao.from_pandapower(home_and_roof())
    w = case.requests(0, 4)
    p, q = case.bus_injections(w.inflexible_kw, w.import_request_kw, w.export_request_kw)
    assert -q.sum(axis=1) == pytest.approx([7.0, 7.0, 3.5, 7.0])
    assert -p.sum(axis=1) == pytest.approx([14.0, 14.0, 7.0 - 9.0, 14.0])
    assert case.participant_names == ("lv", "lv: pv")
    assert case.connection_kw("export").tolist() == [0.0, 9.0]
    assert "1 further participant," in str(case.report)


def test_on_one_profile_the_sum_has_one_power_factor() -> None:
    """10 + 4 - 9 kW and 7 kvar follow one shape: always 1.4 kvar per kW, one participant."""
    case = ao.from_pandapower(home_and_roof("home"))
    w = case.requests(0, 4)
    p, q = case.bus_injections(w.inflexible_kw, w.import_request_kw, w.export_request_kw)
    assert (-q.sum(axis=1)).tolist() == pytest.approx([7.0, 7.0, 3.5, 7.0])
    assert (-p.sum(axis=1)).tolist() == pytest.approx([5.0, 5.0, 2.5, 5.0])
    assert case.n_participants == 1


def test_reactive_profiles_are_those_of_pandapower_at_every_step() -> None:
    """Bus 3 is one participant whatever its loads' shapes; only ``even`` keeps a power factor, 4 kvar for 10 kW."""
    net, truth = shaped()
    case = ao.from_pandapower(net)
    for step, known in enumerate(truth):
        mine = bus_voltages(case, step)
        assert set(mine) == set(known)
        assert max(abs(mine[bus] - v) for bus, v in known.items()) < 1e-6
    drawn = case.requests(0, 4).inflexible_kvar
    assert drawn is not None
    at = case.participant_names.index("bus 3")
    assert drawn[:, at].tolist() == pytest.approx([37.0, 7.0, 1.0, 33.0])  # 30 home_qload + 10 shop_qload
    assert case.participants["power_factor"].min() == pytest.approx(10.0 / np.hypot(10.0, 4.0))
    assert "reactive profiles of 5 loads: up to 900 kvar from a power factor" in str(case.report)


def test_reactive_profiles_of_what_may_be_refused_are_named() -> None:
    """The 20 kV load asks: 900 kvar times (1.1 - 0.1) in the last hour is what its power factor misses."""
    net, truth = shaped()
    net["load"]["controllable"] = net["load"].index == 5
    case = ao.from_pandapower(net)
    assert "reactive profiles of 1 flexible load," in str(case.report)
    assert "up to 900 kvar from a power factor" in str(case.report)
    assert bus_voltages(case, 0)["bus 1"] != pytest.approx(truth[0]["bus 1"], abs=1e-4)


@pytest.mark.parametrize(
    ("p", "q"), [([0.01, -0.01], [0.005, 0.0]), ([0.0, 0.0], [0.002, 0.003]), ([1e-5, 0], [0.005, 0])]
)
def test_reactive_power_beside_little_active_power_stays(p: list[float], q: list[float]) -> None:
    net = two_buses()
    net["load"] = pd.DataFrame({"bus": 1, "p_mw": p, "q_mvar": q})
    case = ao.from_pandapower(net)
    w = case.requests(0, 1)
    drawn = case.bus_injections(w.inflexible_kw, 0 * w.import_request_kw, 0 * w.export_request_kw)
    assert -drawn[1].sum() == pytest.approx(5.0)
    assert -drawn[0].sum() == pytest.approx(sum(p) * 1e3)
    assert "kvar of elements with little or no active power are constant" in str(case.report)


def test_made_names_do_not_clash_with_given_ones() -> None:
    names = ["a", "a", "a (2)", "a", None, "bus 4"]
    net = {
        "bus": pd.DataFrame({"name": names, "vn_kv": 0.4}),
        "ext_grid": pd.DataFrame({"bus": [0], "vm_pu": [1.0]}),
        "line": pd.DataFrame({"from_bus": range(5), "to_bus": range(1, 6), "length_km": 0.1}).assign(
            name=["l", "l", "l (2)", "l", ""], r_ohm_per_km=0.3, x_ohm_per_km=0.1, max_i_ka=0.2
        ),
        "load": pd.DataFrame({"bus": [5, 2], "p_mw": 0.01}),
    }
    case = ao.from_pandapower(net)
    assert set(case.feeder.bus_names) == {"a", "a (2)", "a (3)", "a (4)", "bus 4", "bus 4 (2)"}
    assert set(case.feeder.branch_names[1:]) == {"l", "l (2)", "l (3)", "l (4)", "line 4"}
    assert case.participants.set_index("name")["bus"].to_dict() == {"a (2)": "a (2)", "bus 4 (2)": "bus 4 (2)"}


def test_switches_have_pandapowers_impedance_and_limit() -> None:
    net = two_buses()
    net["bus"] = pd.DataFrame({"name": ["mv", "lv", "s"], "vn_kv": [20.0, 0.4, 0.4]})
    net["switch"] = pd.DataFrame(
        {"bus": [1], "element": [2], "et": ["b"], "closed": [True], "z_ohm": [0.5], "in_ka": [0.1]}
    )
    net["load"] = pd.DataFrame({"bus": [2], "p_mw": [0.01]})
    f = ao.from_pandapower(net).feeder
    k = f.bus_index["s"]
    assert f.z_ohm[k][0, 0] == pytest.approx(0.5 * complex(2, 1) / np.sqrt(5))
    assert f.rating_kva[k] == pytest.approx(np.sqrt(3) * 400 * 0.1)


def edited(kind: str, **columns: Any) -> Callable[[dict[str, Any]], None]:
    def edit(net: dict[str, Any]) -> None:
        net[kind] = net[kind].assign(**columns)

    return edit


def added(kind: str, **columns: Any) -> Callable[[dict[str, Any]], None]:
    return lambda net: net.update({kind: pd.DataFrame(columns)})


def profiled(**columns: Any) -> Callable[[dict[str, Any]], None]:
    def edit(net: dict[str, Any]) -> None:
        net["load"] = net["load"].assign(profile="h")
        net["profiles"] = {"load": pd.DataFrame(columns)}

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda net: net.pop("bus"), "the net has no buses in service"),
        (lambda net: net.update(bus=net["bus"].drop(columns="vn_kv")), "the bus table has no column vn_kv"),
        (
            lambda net: net.update(trafo=net["trafo"].drop(columns="vk_percent")),
            "the trafo table has no column vk_percent",
        ),
        (edited("bus", vn_kv=["x", 0.4]), "bus 'mv': vn_kv = 'x' must be a finite number"),
        (edited("load", p_mw=NAN), "load 'load 0': p_mw = nan must be a finite number"),
        (edited("load", q_mvar=NAN), "load 'load 0': q_mvar = nan must be a finite number"),
        (edited("load", scaling=NAN), "load 'load 0': scaling = nan must be a finite number"),
        (lambda net: net.update(load=net["load"].drop(columns=["q_mvar", "scaling"])), ""),
        (edited("trafo", lv_bus=0), "branch 'trafo 0': both ends are at bus 'mv'"),
        (
            added("switch", bus=[1], element=[1], et=["b"], closed=[True]),
            "branch 'switch 0': both ends are at bus 'lv'",
        ),
        (edited("load", p_mw=pd.Series([10**400], dtype=object)), "load 'load 0': p_mw = 1"),
        (edited("trafo", tap_dependent_impedance=True), "trafo 'trafo 0': tap_dependent_impedance is not supported"),
        (edited("load", scaling="two"), "load 'load 0': scaling = 'two' must be a finite number"),
        (edited("load", in_service="no"), "load 'load 0': in_service = 'no' must be true or false"),
        (edited("load", bus=9), "load 'load 0': bus = 9 is no bus of the net"),
        (edited("trafo", vkr_percent=7.0), "trafo 'trafo 0': vkr_percent is above vk_percent"),
        (edited("trafo", sn_mva=0.0), "sn_mva must be positive"),
        (edited("trafo", parallel=0), "must be a finite number of at least 1"),
        (edited("trafo", **(TAP | {"tap_changer_type": "Magic"})), "tap_changer_type = 'Magic'"),
        (edited("trafo", **(TAP | {"tap_changer_type": "Ratio", "tap_side": None})), "tap_side must be hv or lv"),
        (edited("bus", name=["mv", pd.NA]), ""),
        (edited("load", bus=[[1]]), "the load table: bus = [1] must be an index or a letter"),
        (lambda net: net.update(load=net["load"].rename(columns={"q_mvar": "p_mw"})), "the column p_mw more than once"),
        (lambda net: net.update(load=pd.concat([net["load"], net["load"]])), "the index 0 more than once"),
        (added("ext_grid", bus=[0, 1], vm_pu=1.0), "loop of 3 branches; open one of: trafo 0, link to mv, link to lv"),
        (lambda net: net.pop("ext_grid"), "no external grid and no slack generator in service"),
        (added("gen", bus=[1], p_mw=0.1, slack=True), "the gen table has no column vm_pu"),
        (added("svc", bus=[1], in_service=True), "1 svc element: not supported"),
        (added("xward", bus=[1], in_service=True), "1 xward element: not supported"),
        (added("vsc", bus=[1], in_service=True), "1 vsc element: not supported"),
        (added("switch", bus=[1], element=[0], et=["t3"], closed=[True]), "there is no trafo3w 0"),
        (added("switch", bus=[1], element=[5], et=["l"], closed=[False]), "there is no line 5"),
        (added("switch", bus=[1], element=[0], et=["t"], closed=["x"]), "closed = 'x' must be true or false"),
        (profiled(h_pload=[1.0, 1.0]), "net.profiles: no column 'time' in load"),
        (profiled(time=["2030-01-01", "2030-01-02"], other_pload=1.0), "profile 'h_pload' is not in net.profiles"),
        (profiled(time=["2030-01-01", "2030-01-02"], h_pload=[1.0, NAN]), "row 2: nan is not a finite number"),
        (profiled(time=["01/02/2030", "02/02/2030"], h_pload=1.0), "is ambiguous"),
        (profiled(time=[1.0, 2.0], h_pload=1.0), "holds numbers"),
        (profiled(time=["2030-01-01", "2030-01-02", "2030-01-05"], h_pload=1.0), "row 3: the steps are not regular"),
    ],
)
def test_what_cannot_be_used_is_named(edit: Callable[[dict[str, Any]], None], message: str) -> None:
    net = two_buses()
    edit(net)
    if not message:
        assert ao.from_pandapower(net).n_participants == 1
        return
    with pytest.raises(ao.InputError) as caught:
        ao.from_pandapower(net)
    assert message in str(caught.value)


@pytest.mark.parametrize("net", [None, 3, "net.json", []])
def test_what_is_no_net(net: Any) -> None:
    with pytest.raises(ao.InputError, match="a pandapower net, or a mapping of its tables, is needed"):
        ao.from_pandapower(net)


def test_the_report_names_what_is_not_read() -> None:
    net = two_buses() | {
        "measurement": pd.DataFrame({"value": [1.0, 2.0]}),
        "controller": pd.DataFrame({"object": ["x"], "in_service": True}),
    }
    net["load"] = net["load"].assign(profile="h", const_z_p_percent=30.0)
    report = str(ao.from_pandapower(net).report)
    for words in (
        "tables that are not read: measurement (2 rows)",
        "1 controller element",
        "loads that depend on the voltage (const_z_p_percent) draw constant power",
        "1 profile that elements name: net.profiles has none",
    ):
        assert words in report
