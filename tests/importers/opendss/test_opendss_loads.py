"""Loads in the order of their properties: what OpenDSS makes of them, and what the import does."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amm_opt.errors import InputError
from amm_opt.importers import YearScenario, from_opendss, year_case

HEAD = """clear
new circuit.t basekv=0.4 bus1=lv pu=1.0 model=ideal
new line.l1 bus1=lv bus2=e r1=0.3 x1=0.1 r0=0.3 x0=0.1 c1=0 c0=0 length=0.1 units=km normamps=200
"""
VALUES = {
    "kw": st.sampled_from([0.0, 3.0, 7.5, -4.0]),
    "kvar": st.sampled_from([0.0, 2.0, -1.5]),
    "pf": st.sampled_from([0.9, 0.95, -0.97, 1.0]),
    "kva": st.sampled_from([5.0, 12.0]),
    "xfkva": st.sampled_from([20.0, 25.0]),
    "allocationfactor": st.sampled_from([0.4, 0.7]),
    "kwh": st.sampled_from([720.0, 900.0]),
    "kwhdays": st.sampled_from([30.0, 10.0]),
    "cfactor": st.sampled_from([2.0, 4.0]),
    "status": st.sampled_from(["variable", "fixed", "exempt"]),
    "model": st.just("1"),
    "vminpu": st.just("0.5"),
}
PAIR = st.sampled_from(sorted(VALUES)).flatmap(lambda name: VALUES[name].map(lambda value: f"{name}={value}"))
STATEMENTS = st.lists(st.lists(PAIR, min_size=1, max_size=5), min_size=1, max_size=3)


def customers(folder: Path, text: str) -> dict[str, tuple[float, float]]:
    (folder / "Master.dss").write_text(HEAD + text)
    table = from_opendss(folder / "Master.dss").customers
    ratio = np.sign(table["power_factor"]) * np.sqrt(1 / table["power_factor"] ** 2 - 1)
    assert np.allclose(table["kw"] * ratio + table["inflexible_kvar"], table["kvar"])
    return dict(zip(table["name"], zip(table["kw"], table["kvar"], strict=True), strict=True))


def by_opendss(text: str) -> dict[str, tuple[float, float]]:
    engine = pytest.importorskip("opendssdirect", reason="pip install 'amm-opt[opendss]'")
    for line in (HEAD + text).splitlines():
        engine.Text.Command(line)
    found = {}
    for _ in engine.Loads:
        found[engine.Loads.Name()] = engine.Loads.kW(), engine.Loads.kvar()
    return found


def load(name: str, statements: list[list[str]]) -> str:
    first, *more = (" ".join(parts) for parts in statements)
    return "\n".join([f"new load.{name} bus1=e.1 phases=1 kv=0.23 {first}", *(f"~ {parts}" for parts in more), ""])


@settings(max_examples=25, deadline=None)
@given(many=st.lists(STATEMENTS, min_size=4, max_size=4))
def test_any_order_of_properties(tmp_path_factory: pytest.TempPathFactory, many: list[list[list[str]]]) -> None:
    """Without active power the power factor is 0; whoever then asks for it gets NaN from OpenDSS, here a refusal."""
    text = "".join(load(f"x{i}", statements) for i, statements in enumerate(many))
    folder, truth = tmp_path_factory.mktemp("loads"), by_opendss(text)
    if bad := [name for name, power in truth.items() if not np.isfinite(power).all()]:
        with pytest.raises(InputError) as caught:
            customers(folder, text)
        assert all(f"load '{name}': pf = 0 must be" in str(caught.value) for name in bad)
        return
    ours = customers(folder, text)
    assert ours.keys() == truth.keys()
    for name, power in truth.items():
        assert ours[name] == pytest.approx(power, abs=1e-6), (name, text)


def test_a_power_factor_of_zero_may_be_replaced(tmp_path: Path) -> None:
    """2 kvar alone make it 0; billed kWh then need one, and get it in the same statement or never."""
    first = ["cfactor=2", "kvar=2"]
    text = load("x", [first, ["cfactor=2", "pf=0.9"]])
    assert customers(tmp_path, text) == by_opendss(text) == {"x": (0.0, 0.0)}
    with pytest.raises(InputError, match="load 'x': pf = 0 must be within"):
        customers(tmp_path, load("x", [first, ["kwh=720"]]))


def test_every_pair_of_specifications(tmp_path: Path) -> None:
    """Both orders of every two, in one statement and in two."""
    given = ["kw=5", "kvar=2", "pf=-0.9", "kva=8", "xfkva=20", "allocationfactor=0.7", "kwh=900", "cfactor=3"]
    text = ""
    for i, (a, b) in enumerate(itertools.permutations(given, 2)):
        text += load(f"one{i}", [[a, b]]) + load(f"two{i}", [[a], [b]])
    ours, truth = customers(tmp_path, text), by_opendss(text)
    assert len(ours) == 112
    assert {n: pytest.approx(p, abs=1e-9) for n, p in truth.items()} == ours


def test_factors_of_all_loads(tmp_path: Path) -> None:
    names = random.Random(1)
    given = ["kw=5 pf=0.9", "xfkva=20", "kwh=900 pf=0.97", "kva=8", "kw=3 kvar=2"]
    text = "".join(load(f"a{i}", [[names.choice(given)]]) for i in range(8))
    text += "set allocationfactors=0.8\n"
    assert customers(tmp_path, text) == {n: pytest.approx(p, abs=1e-9) for n, p in by_opendss(text).items()}


def test_the_load_multiplier_leaves_fixed_loads_alone(tmp_path: Path) -> None:
    """By hand: 4 kW and 3 kvar, half of them, and once in full."""
    text = "set loadmult=0.5\n" + load("a", [["kw=4", "kvar=3"]]) + load("b", [["kw=4", "kvar=3", "status=fixed"]])
    assert customers(tmp_path, text) == {"a": (2.0, 1.5), "b": (4.0, 3.0)}


def test_reactive_power_alone_is_kept(tmp_path: Path) -> None:
    """A power factor below 0.1 carries nothing; the kvar do, in the case too, and such a load is no household."""
    text = load("var", [["kw=0", "kvar=-8"]]) + load("almost", [["kw=0.1", "kvar=5"]]) + load("none", [["kw=0"]])
    text += load("home", [["kw=2", "pf=0.9"]])
    assert customers(tmp_path, text) == {
        "var": (0.0, -8.0),
        "almost": (0.1, 5.0),
        "none": (0.0, 0.0),
        "home": (2.0, pytest.approx(2 * np.tan(np.arccos(0.9)))),
    }
    network = from_opendss(tmp_path / "Master.dss")
    assert "2 loads with (almost) no active power" in str(network.report)
    people = network.customers.set_index("name")
    assert people["inflexible_kvar"].to_dict() == {"var": -8.0, "almost": 5.0, "none": 0.0, "home": 0.0}
    case = year_case(network, YearScenario(ev=1.0, pv=1.0, days=1))
    parts = case.participants.set_index("name")
    assert parts["inflexible_kvar"].to_dict() == {"var": -8.0, "almost": 5.0, "none": 0.0, "home": 0.0}
    requests = case.requests(0, case.n_steps).interval(20)
    assert requests.inflexible_kw[case.participant_names.index("var")] == 0.0
    assert requests.inflexible_kw[case.participant_names.index("home")] > 0.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pf=0", "pf = 0 must be within"),
        ("pf=1.2", "pf = 1.2 must be within"),
        ("kw=abc", "'abc' is not a number"),
        ("kw=nan", "'nan' is not a number"),
        ("kw=1e999", "not a finite number"),
        ("phases=1.5", "is not a whole number"),
        ("kv=0", "kv = 0 must be positive"),
        ("bus1=e.x", "'x' is not a number"),
    ],
)
def test_what_no_load_can_be(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        customers(tmp_path, load("a", [[text]]))


def test_load_shapes_in_kw_set_the_power_of_loads(tmp_path: Path) -> None:
    shape = "new loadshape.day npts=2 interval=12 mult=[3 5]\n~ useactual={}\n"
    assert customers(tmp_path, shape.format("no") + load("a", [["kw=2", "pf=1", "daily=day"]])) == {"a": (2.0, 0.0)}
    text = shape.format("yes")
    for i, parts in enumerate(itertools.permutations(["kw=2", "daily=day", "pf=0.9", "kvar=1"])):
        text += load(f"a{i}", [[*parts[:3]]]) + load(f"b{i}", [[*parts[:2]], [parts[2]]])
    assert customers(tmp_path, text) == {n: pytest.approx(p, abs=1e-9) for n, p in by_opendss(text).items()}


def test_loads_on_two_phases_and_opened_loads(tmp_path: Path) -> None:
    text = "new load.two bus1=e.1.3 phases=2 kv=0.4 kw=6 pf=1\nnew load.off bus1=e.2 phases=1 kv=0.23 kw=1\n"
    (tmp_path / "Master.dss").write_text(HEAD + text + "open load.off 1\n")
    network = from_opendss(tmp_path / "Master.dss")
    assert network.customers[["name", "phases", "kw"]].to_numpy().tolist() == [["two", "ac", 6.0]]
    assert "loads, capacitors or reactors that are opened" in str(network.report)


@pytest.mark.parametrize(
    ("nodes", "conn"), [("1.2", "wye"), ("2.1", "wye"), ("3.1", "delta"), ("1.3", "delta"), ("2.3", "wye")]
)
def test_loads_between_phases(tmp_path: Path, nodes: str, conn: str) -> None:
    """What OpenDSS draws from either node, where voltages are (almost) nominal and balanced."""
    engine = pytest.importorskip("opendssdirect", reason="pip install 'amm-opt[opendss]'")
    text = f"new load.x bus1=lv.{nodes} phases=1 conn={conn} kv=0.4 kw=8 kvar=3\nset voltagebases=[0.4]\ncalcv\nsolve\n"
    ours = customers(tmp_path, text)
    by_opendss(text)
    engine.Circuit.SetActiveElement("load.x")
    powers = np.array(engine.CktElement.Powers()).reshape(-1, 2)
    for i, node in enumerate(nodes.split(".")):
        assert ours[f"x.{'abc'[int(node) - 1]}"] == pytest.approx(tuple(powers[i]), abs=1e-3)
    assert "load between two phases" in str(from_opendss(tmp_path / "Master.dss").report)


@pytest.mark.parametrize(
    ("nodes", "phases", "conn"),
    [("1.2.3", 2, "delta"), ("3.1.2", 2, "delta"), ("2.1.3", 2, "ll"), ("3.1.2", 3, "delta")],
)
def test_delta_loads_draw_from_each_phase_as_in_opendss(tmp_path: Path, nodes: str, phases: int, conn: str) -> None:
    """Behind an impedance, with an uneven load beside: where the voltages are neither nominal nor balanced."""
    engine = pytest.importorskip("opendssdirect", reason="pip install 'amm-opt[opendss]'")
    text = f"new load.x bus1=e.{nodes} phases={phases} conn={conn} kv=0.4 kw=60 kvar=20 vminpu=.1 vmaxpu=2\n"
    text += "new load.y bus1=e.1 phases=1 kv=0.23 kw=60 kvar=20 vminpu=.1 vmaxpu=2\n"
    text += "set voltagebases=[0.4]\ncalcv\nset tolerance=1e-9\nsolve\n"
    ours = customers(tmp_path, text)
    by_opendss(text)
    engine.Circuit.SetActiveElement("load.x")
    powers = np.array(engine.CktElement.Powers()).reshape(-1, 2)
    for node, own in zip(nodes.split("."), powers, strict=True):
        assert ours[f"x.{'abc'[int(node) - 1]}"] == pytest.approx(tuple(own), abs=0.02)


def test_two_phases_in_delta_on_two_nodes_are_hardly_meant(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="half of it between its two nodes and half from the second to ground"):
        customers(tmp_path, "new load.x bus1=e.1.2 phases=2 conn=delta kv=0.4 kw=6\n")


@pytest.mark.parametrize("model", range(1, 9))
@pytest.mark.parametrize("pu", [0.9, 1.0, 1.07])
def test_load_models_at_a_stated_voltage(tmp_path: Path, model: int, pu: float) -> None:
    """What OpenDSS draws where the source holds that voltage."""
    engine = pytest.importorskip("opendssdirect", reason="pip install 'amm-opt[opendss]'")
    text = f"edit vsource.source pu={pu}\nnew load.x bus1=lv.1 phases=1 kv={0.4 / np.sqrt(3):.9f} kw=8 kvar=3"
    text += f" model={model} zipv=[.2 .3 .5 .6 .3 .1 0] cvrwatts=0.8 cvrvars=3 vminpu=.1 vmaxpu=2\n"
    text += "set voltagebases=[0.4]\ncalcv\nsolve\n"
    (tmp_path / "Master.dss").write_text(HEAD + text)
    network = from_opendss(tmp_path / "Master.dss", load_voltage_pu=pu)
    by_opendss(text)
    engine.Circuit.SetActiveElement("load.x")
    assert network.customers.loc[0, ["kw", "kvar"]].tolist() == pytest.approx(engine.CktElement.Powers()[:2], abs=1e-3)
    assert ("1 load of model" in str(network.report)) == (model not in (1, 6))


def test_the_report_says_what_a_load_would_draw_at_the_ends_of_the_band(tmp_path: Path) -> None:
    """By hand: 10 kW of constant impedance draw 8.1 kW at 0.9 pu and 12.1 kW at 1.1 pu."""
    (tmp_path / "Master.dss").write_text(HEAD + "new load.x bus1=e phases=3 kv=0.4 kw=10 pf=1 model=2\n")
    report = str(from_opendss(tmp_path / "Master.dss").report)
    assert "would be 8.1 kW and 0 kvar at 0.9 pu and 12.1 kW and 0 kvar at 1.1 pu: x" in report
    with pytest.raises(InputError, match="load_voltage_pu = 2 must be within"):
        from_opendss(tmp_path / "Master.dss", load_voltage_pu=2)
    (tmp_path / "Master.dss").write_text(HEAD + "new load.x bus1=e phases=3 kv=0.4 kw=10 model=8\n")
    with pytest.raises(InputError, match="model = 8 needs 7 numbers as zipv, not 0"):
        from_opendss(tmp_path / "Master.dss")


def test_bands_by_standard_in_volts(tmp_path: Path) -> None:
    """AS 60038: 216 to 253 V; IEC 60038: 207 to 253 V; ANSI C84.1 on 0.208 kV: 114 to 126 V."""
    (tmp_path / "Master.dss").write_text(HEAD + "new load.x bus1=e phases=3 kv=0.4 kw=10\n")
    for options, said in (
        ({}, "2 LV buses at 0.4 kV: 0.9391 to 1.1 pu, 217 to 254 V to neutral, by AS 60038"),
        ({"standard": "IEC 60038"}, "0.9 to 1.1 pu, 208 to 254 V to neutral, by IEC 60038"),
        ({"nominal_kv": [0.415]}, "2 LV buses at 0.415 kV: 0.9052 to 1.06 pu, 217 to 254 V to neutral, by AS 60038"),
        ({"standard": "ANSI C84.1"}, "0.95 to 1.05 pu, 219 to 242 V to neutral, by ANSI C84.1"),
        ({"lv_band_pu": (0.9, 1.05), "mv_band_pu": (0.95, 1.05)}, "0.9 to 1.05 pu, 208 to 242 V to neutral\n"),
    ):
        report = str(from_opendss(tmp_path / "Master.dss", **options).report)  # type: ignore[arg-type]
        assert said in report
    with pytest.raises(InputError, match="standard = 'ansi'; valid choices: AS 60038, IEC 60038"):
        from_opendss(tmp_path / "Master.dss", standard="ansi")
