"""Centre-tapped service transformers: 120/240 V below one phase of a medium-voltage feeder, as OpenDSS solves them."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("opendssdirect", reason="pip install 'amm-opt[opendss]'")
from opendss_truth import solve

import amm_opt as ao
from amm_opt.errors import InputError
from amm_opt.importers import ImportedNetwork, YearScenario, from_opendss, year_case
from tests.importers.opendss.test_opendss_random import modelled

HEAD = """clear
set defaultbasefrequency=60
new circuit.us basekv=12.47 bus1=s model=ideal puzideal=[1e-8 1e-6]
new linecode.c nphases=3 r1=0.2 x1=0.3 r0=0.4 x0=1 c1=9 c0=4 units=km normamps=300
new linecode.triplex nphases=2 units=kft normamps=200 rmatrix=[0.4|0.09 0.4] xmatrix=[0.35|0.26 0.35] cmatrix=[0|0 0]
new linecode.open3 nphases=3 units=kft normamps=200 rmatrix=[0.4|0.05 0.4|0.05 0.05 0.5]
~ xmatrix=[0.35|0.1 0.35|0.1 0.1 0.4] cmatrix=[0|0 0|0 0 0]
new line.head bus1=s bus2=a linecode=c length=2 units=km
new line.tail bus1=a bus2=b linecode=c length=2 units=km
new load.far bus1=b phases=3 kv=12.47 kw=900 pf=0.9 vminpu=.1 vmaxpu=2
"""
TAIL = "set voltagebases=[12.47 0.208]\ncalcvoltagebases\nsolve\n"
WAYS = (
    "phases=1 windings=3 buses=[{bus}.{p} {low}.1.0 {low}.0.2] conns=[wye wye wye] kvs=[7.2 .12 .12] kvas=[25 25 25]"
    " %rs=[0.6 1.2 1.2] xhl=2.04 xht=2.04 xlt=1.36",
    "phases=1 windings=3 xhl=2.3 xht=2.5 xlt=1.6 wdg=1 bus={bus}.{p} kv=7.2 kva=50 %r=0.5 wdg=2 bus={low}.1.0 kv=0.12"
    " kva=50 %r=1.1 wdg=3 bus={low}.0.2 kv=0.12 kva=50 %r=1.3",
    "phases=1 windings=3 buses=({bus}.{p}.0, {low}.0.1, {low}.2.0) kvs=(7.2, 0.12, 0.12) kvas=(37.5, 37.5, 37.5)"
    " xscarray=(2 2 1.4) %loadloss=1.2 %noloadloss=0.4 %imag=1 taps=[1.025 1 1]",
    "xfmrcode=ct bus={bus}.{p} wdg=2 bus={low}.1.0 wdg=3 bus={low}.0.2",
)
CODE = """new xfmrcode.ct phases=1 windings=3 kvs=[7.2 0.12 0.12] kvas=[15 15 15] %rs=[.7 1.3 1.3] xhl=2 xht=2 xlt=1.3
"""


def written(folder: Path, text: str) -> Path:
    (folder / "Master.dss").write_text(HEAD + CODE + text + TAIL)
    return folder / "Master.dss"


def worst(network: ImportedNetwork, master: Path) -> float:
    """Largest error: at a split bus of the mean of both halves, whose voltages are opposite."""
    truth, kv = solve(master, frequency=60.0), network.buses.set_index("name")["vn_kv"]
    errors = []
    for (bus, node), v in modelled(network).items():
        base = 1000 * kv[bus] / np.sqrt(3)
        volts = (
            abs(truth.volts[f"{bus}.1"] - truth.volts[f"{bus}.2"]) / 2
            if kv[bus] < 1
            else abs(truth.volts[f"{bus}.{node}"])
        )
        errors.append(abs(v - volts / base))
    return float(max(errors))


def street(pick: random.Random, equal: bool) -> str:
    text = ""
    for k in range(3):
        low, phase = f"x{k}", pick.choice("123")
        text += f"new transformer.t{k} " + pick.choice(WAYS).format(bus=pick.choice("ab"), p=phase, low=low) + "\n"
        for i in range(2):
            metres, house = pick.uniform(20, 60), f"h{k}{i}"
            code, nodes = pick.choice([("triplex", ".1.2"), ("open3", ".1.2.0")])
            text += f"new line.{house} bus1={low}{nodes} bus2={house}{nodes} linecode={code} length={metres} units=m\n"
            kw, load = pick.uniform(1, 4), f"phases=1 pf={pick.choice([0.9, 1.0, -0.95])} vminpu=.1 vmaxpu=2"
            text += f"new load.w{house} bus1={house}.1.2 kv=0.24 kw={kw} {load}\n"
            text += f"new load.v{house} bus1={house}.1.2 phases=2 kv=0.208 kw={kw / 2} vminpu=.1 vmaxpu=2\n"
            text += f"new load.a{house} bus1={house}.1 kv=0.12 kw={kw / 3} {load}\n"
            text += f"new load.b{house} bus1={house}.2 kv=0.12 kw={kw / 3 if equal else kw / 5} {load}\n"
    return text


@pytest.mark.parametrize("seed", range(4))
def test_equal_halves_are_exact(tmp_path: Path, seed: int) -> None:
    """Loads on the halves are equal in power; what their voltages differ by is of second order."""
    master = written(tmp_path, street(random.Random(seed), True))
    network = from_opendss(master, ratings=200, standard="ANSI C84.1")
    assert worst(network, master) < 2e-5
    lv = network.buses[network.buses["tier"] == "LV"]
    assert set(lv["vn_kv"]) == {0.208}
    assert "114 to 126 V to neutral, by ANSI C84.1" in str(network.report)


@pytest.mark.parametrize("seed", range(4))
def test_unequal_halves_are_as_far_apart_as_the_report_says(tmp_path: Path, seed: int) -> None:
    master = written(tmp_path, street(random.Random(seed), False))
    network = from_opendss(master, ratings=200)
    assert worst(network, master) < 2e-4
    said = float(re.findall(r"a half is up to (\S+) pu away", str(network.report))[0])
    truth = solve(master, frequency=60.0)
    halves = [(truth.volts[f"{b}.1"], truth.volts[f"{b}.2"]) for b in network.buses["name"] if b[0] in "xh"]
    apart = max(abs(u + v) / 2 / (208 / np.sqrt(3)) for u, v in halves)
    assert said == pytest.approx(apart, rel=0.25)


def test_ratings_count_both_conductors_and_neutral_loads_the_right_phase(tmp_path: Path) -> None:
    """By hand: 200 A in each of two conductors at 120 V are 48 kVA; the transformer has its 25 kVA."""
    text = "new transformer.t " + WAYS[0].format(bus="a", p="2", low="x") + "\n"
    text += "new line.l bus1=x.1.2 bus2=h.1.2 linecode=triplex length=50 units=m\n"
    text += "new load.ann bus1=h.1.2 phases=1 kv=0.24 kw=3 vminpu=.1 vmaxpu=2\n"
    text += "new pvsystem.roof bus1=h.1.2 phases=1 kv=0.24 pmpp=5 kva=5 %cutin=1 %cutout=1\n"
    network = from_opendss(written(tmp_path, text), nominal_kv=[12.47])
    branches = network.branches.set_index("name")
    assert branches.loc["l", ["rating_kva", "phases"]].tolist() == [pytest.approx(48.0), "b"]
    assert branches.loc["t", ["rating_kva", "phases"]].tolist() == [pytest.approx(25.0), "b"]
    assert network.buses.set_index("name").loc["h", "vn_kv"] == pytest.approx(0.12 * np.sqrt(3))
    people = network.case().participants.set_index("name")
    assert people.loc["ann", ["phases", "connection_export_kw"]].tolist() == ["b", 5.0]
    case = year_case(network, YearScenario(days=2, ev=1.0, pv=1.0, tap_steps=0))
    run = ao.simulate(case, "amm")
    assert run.summary["thermal_violations"] == run.summary["voltage_violations"] == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (WAYS[0].replace("{low}.0.2", "{low}.2.0"), "in series on one bus, as in house.1.0 and house.0.2"),
        (WAYS[0].replace("{low}.0.2", "y.0.2"), "in series on one bus"),
        (WAYS[0].replace("{bus}.{p}", "{bus}.1.2"), "a centre tap, fed on 'a.1.2' and not from a phase to neutral"),
        (WAYS[0].replace("windings=3", "windings=4"), "4 windings are not supported"),
        (WAYS[0] + "\nnew load.z bus1=x phases=3 kv=0.2 kw=1", "3 phases on nodes (1, 2, 3, 0) below a centre-tapped"),
        (WAYS[0] + "\nnew line.z bus1=x.3 bus2=q.3 linecode=c1 length=1", "below a centre-tapped transformer"),
        (WAYS[0] + "\nnew load.z bus1=x.1.2 phases=1 kv=0.12 kw=1", "inconsistent base voltage: kv = 0.06"),
    ],
)
def test_what_is_no_centre_tap_is_refused(tmp_path: Path, text: str, words: str) -> None:
    code = "new linecode.c1 nphases=1 r1=1 x1=1 r0=1 x0=1 normamps=9 units=km\n"
    with pytest.raises(InputError) as caught:
        from_opendss(written(tmp_path, f"{code}new transformer.t {text.format(bus='a', p='1', low='x')}\n"))
    assert words in str(caught.value), caught.value
