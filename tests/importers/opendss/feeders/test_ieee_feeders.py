"""The IEEE 13-, 34-, 37- and 123-node feeders, written anew from their published tables, against OpenDSS."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("opendssdirect", reason="pip install 'amm-opt[opendss]'")
from opendss_truth import Truth, solve

from amm_opt.importers import ImportedNetwork, from_opendss
from amm_opt.network import LinDist3Flow, Lossy

DATA = Path(__file__).parents[3] / "data"
CONSTANT = "batchedit load..* model=1 vminpu=0.5 vmaxpu=2"
Voltages = dict[tuple[str, str], float]
PUBLISHED = {
    "rg60": "1.0625 1.0500 1.0687",
    "632": "1.0210 1.0420 1.0174",
    "671": "0.9900 1.0529 0.9778",
    "634": "0.9940 1.0218 0.9960",
    "675": "0.9835 1.0553 0.9758",
    "652": "0.9825",
    "611": "0.9738",
    "645": "1.0329 1.0155",
    "646": "1.0311 1.0134",
}
"""Voltages of the IEEE 13-node feeder's published solution, in pu, phase by phase."""


@cache
def imported(name: str) -> ImportedNetwork:
    return from_opendss(DATA / f"{name}.dss")


def injections(network: ImportedNetwork) -> tuple[LinDist3Flow, np.ndarray, np.ndarray]:
    """The model, and kW and kvar of the file's loads at its nodes."""
    model, people = LinDist3Flow(network.feeder), network.customers
    at = model.incidence(np.array([network.feeder.bus_index[b] for b in people["bus"]]), tuple(people["phases"]))
    return model, -(at @ people["kw"].to_numpy(float)), -(at @ people["kvar"].to_numpy(float))


def between(model: LinDist3Flow, u: np.ndarray) -> Voltages:
    """Voltages between phases, in pu of nominal ones, by bus and pair."""
    by_bus: dict[str, dict[int, complex]] = {}
    for bus, phase, volt in zip(model.bus, model.phase, u, strict=True):
        by_bus.setdefault(model.feeder.bus_names[bus], {})[int(phase)] = volt
    return {
        (bus, f"{i + 1}{k + 1}"): abs(volts[i] - volts[k]) / 3**0.5
        for bus, volts in by_bus.items()
        for i, k in ((0, 1), (1, 2), (2, 0))
        if {i, k} <= set(volts)
    }


def to_neutral(model: LinDist3Flow, u: np.ndarray) -> Voltages:
    """Voltages of phases in pu."""
    names = model.feeder.bus_names
    return {(names[b], str(p + 1)): abs(v) for b, p, v in zip(model.bus, model.phase, u, strict=True)}


def largest(network: ImportedNetwork, truth: Truth, ours: Voltages, without: tuple[str, ...] = ()) -> float:
    """Largest error in pu against OpenDSS, of voltages of phases or between them."""
    kv = network.buses.set_index("name")["vn_kv"]
    errors = []
    for (bus, nodes), v in ours.items():
        volts = [truth.volts[f"{bus}.{n}"] for n in nodes]
        volt = abs(volts[0]) * 3**0.5 if len(volts) == 1 else abs(volts[0] - volts[1])
        judged = volt / kv[bus] / 1000
        errors.append(0.0 if bus in without else abs(v - judged))
    return max(errors)


def test_ieee_13_is_near_its_published_voltages() -> None:
    model, p_kw, q_kvar = injections(imported("ieee13"))
    ours = to_neutral(model, model.power_flow(p_kw, q_kvar))
    for bus, published in PUBLISHED.items():
        of_bus = [v for (name, _), v in sorted(ours.items()) if name == bus]
        assert of_bus == pytest.approx([float(v) for v in published.split()], abs=0.005), bus


@pytest.mark.parametrize(
    ("name", "without", "constant", "stated", "linear"),
    [
        ("ieee13", (), 1e-6, 0.001, 0.01),
        ("ieee34", (), 1e-4, 0.016, 0.025),
        ("ieee123", ("610",), 1e-5, 0.002, 0.01),
    ],
)
def test_voltages_of_phases(name: str, without: tuple[str, ...], constant: float, stated: float, linear: float) -> None:
    """With constant power, as stated, and the linear model before and after it is linearised around the loads.

    Node 610 has no ground in the file, as it is behind a delta-delta transformer.
    """
    network = imported(name)
    model, p_kw, q_kvar = injections(network)
    exact = solve(DATA / f"{name}.dss", ["set controlmode=off", CONSTANT], 60.0)
    truth = solve(DATA / f"{name}.dss", ["set controlmode=off"], 60.0)
    ours = to_neutral(model, model.power_flow(p_kw, q_kvar))
    assert largest(network, exact, ours, without) < constant
    assert largest(network, truth, ours, without) < stated
    for which, tolerance in ((model, linear), (model.around(p_kw, q_kvar), stated)):
        assert largest(network, truth, to_neutral(model, which.state(p_kw, q_kvar).v_pu), without) < tolerance


def test_ieee_37_between_phases() -> None:
    """Three wires: what counts is between phases. The open delta's taps differ, and so do all three voltages."""
    network = imported("ieee37")
    model, p_kw, q_kvar = injections(network)
    u = model.power_flow(p_kw, q_kvar)
    truth = solve(DATA / "ieee37.dss", ["set controlmode=off"], 60.0)
    exact = solve(DATA / "ieee37.dss", ["set controlmode=off", CONSTANT], 60.0)
    assert largest(network, exact, between(model, u)) < 1e-4
    assert largest(network, truth, between(model, u)) < 5e-4
    at = between(model, u)
    assert [at["799r", pair] for pair in ("12", "23", "31")] == pytest.approx([1.04375, 1.025, 1.0345], abs=2e-4)


@pytest.mark.parametrize(
    ("name", "without", "stated"),
    [("ieee13", (), 0.003), ("ieee34", (), 0.005), ("ieee37", (), 0.0005), ("ieee123", ("610",), 0.0015)],
)
def test_losses_estimated_without_a_power_flow(name: str, without: tuple[str, ...], stated: float) -> None:
    """Of the files' own loads, as they draw there; 37 on its three wires, whose loads are between phases."""
    network = from_opendss(DATA / f"{name}.dss", load_voltage_pu="solved")
    linear, p_kw, q_kvar = injections(network)
    model, truth = Lossy(network.feeder), solve(DATA / f"{name}.dss", ["set controlmode=off"], 60.0)
    more_p, more_q = model.left_out(p_kw, q_kvar)
    v = model.state(p_kw + more_p, q_kvar + more_q).v_pu
    if name != "ieee37":
        assert largest(network, truth, to_neutral(linear, v), without) < stated
    else:
        assert np.abs(v - np.abs(linear.power_flow(p_kw, q_kvar))).max() < stated


def test_ieee_13_with_loads_to_neutral_is_exact(tmp_path: Path) -> None:
    text = (DATA / "ieee13.dss").read_text()
    text = text.replace("bus1=671.1.2.3 phases=3 conn=delta", "bus1=671 phases=3").replace("calcvoltagebases", "")
    text = text.replace("646.2.3 phases=1 conn=delta kv=4.16", "646.2 phases=1 kv=2.4").replace("model=2", "")
    text = text.replace("692.3.1 phases=1 conn=delta kv=4.16", "692.3 phases=1 kv=2.4").replace("model=5", "")
    master = tmp_path / "Master.dss"
    master.write_text(text.replace("solve", "batchedit load..* vminpu=0.5 vmaxpu=2"))
    assert "delta" not in text
    network, truth = (
        from_opendss(master),
        solve(master, ["set controlmode=off", "batchedit load..* vminpu=.5 vmaxpu=2"], 60.0),
    )
    model, p_kw, q_kvar = injections(network)
    assert largest(network, truth, to_neutral(model, model.power_flow(p_kw, q_kvar))) < 1e-5
