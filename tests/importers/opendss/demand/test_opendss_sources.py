"""Several sources: joined at one stiff node, or cut, as OpenDSS solves each tree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("opendssdirect", reason="pip install 'amm-opt[opendss]'")
from opendss_truth import solve

import amm_opt as ao
from amm_opt.errors import InputError
from amm_opt.importers import YearScenario, from_opendss, year_case
from tests.importers.opendss.test_opendss_random import modelled

TEXT = """clear
set defaultbasefrequency=50
new circuit.two basekv=11 pu=1.02 bus1=north model=ideal puzideal=[1e-8 1e-6]
new vsource.second basekv=33 pu=0.98 angle=40 bus1=south model=ideal puzideal=[1e-8 1e-6]
new linecode.c nphases=3 r1=0.2 x1=0.3 r0=0.4 x0=1 c1=9 c0=4 units=km normamps=300
new line.n bus1=north bus2=a linecode=c length=2 units=km
new line.s bus1=south bus2=b linecode=c length=3 units=km
new transformer.t buses=[b c] conns=[delta wye] kvs=[33 0.4] kvas=[500 500] xhl=4
new load.one bus1=a.1 phases=1 kv=6.35 kw=700 pf=0.9 vminpu=.1 vmaxpu=2
new load.two bus1=c phases=3 kv=0.4 kw=200 pf=0.95 vminpu=.1 vmaxpu=2
new load.three bus1=c.2 phases=1 kv=0.23 kw=60 pf=0.95 vminpu=.1 vmaxpu=2
set voltagebases=[33 11 0.4]
calcvoltagebases
solve
"""


def written(folder: Path, text: str = TEXT) -> Path:
    (folder / "Master.dss").write_text(text)
    return folder / "Master.dss"


def test_sources_on_separate_trees_are_joined(tmp_path: Path) -> None:
    master = written(tmp_path)
    network = from_opendss(master)
    truth, kv = solve(master), network.buses.set_index("name")["vn_kv"]
    ours = modelled(network)
    for node, volts in truth.volts.items():
        bus, phase = node.split(".")
        assert ours[bus, int(phase)] == pytest.approx(abs(volts) / (1000 * kv[bus] / np.sqrt(3)), abs=2e-5), node
    report = str(network.report)
    assert (
        "2 sources are joined at one stiff node, 'joined sources', and keep their voltages: north at 1.02 pu" in report
    )
    assert "1 transformer (1 Dyn1), 0.50 MVA" in report
    run = ao.simulate(year_case(network, YearScenario(days=1, tap_steps=0)), "amm")
    assert run.summary["thermal_violations"] == 0


def test_impedances_that_are_left_out_are_told(tmp_path: Path) -> None:
    weak = written(tmp_path, TEXT.replace("model=ideal puzideal=[1e-8 1e-6]", "mvasc3=500 mvasc1=400"))
    assert "keep their voltages, without their impedances: north" in str(
        from_opendss(weak, source_impedance=False).report
    )
    assert "keep their voltages: north" in str(from_opendss(weak).report)


@pytest.mark.parametrize(("keep", "buses"), [("second", ["south", "b", "c"]), ("NORTH", ["north", "a"])])
def test_sources_that_are_not_named_are_cut(tmp_path: Path, keep: str, buses: list[str]) -> None:
    master = written(tmp_path)
    network = from_opendss(master, sources=[keep])
    assert network.buses["name"].tolist() == buses
    truth, kv = solve(master), network.buses.set_index("name")["vn_kv"]
    for (bus, node), v in modelled(network).items():
        assert v == pytest.approx(abs(truth.volts[f"{bus}.{node}"]) / (1000 * kv[bus] / np.sqrt(3)), abs=2e-5)
    assert "1 source by sources=...:" in str(network.report)
    assert sorted(network.customers["name"]) == (["one"] if keep == "NORTH" else ["three", "two"])


def test_sources_of_one_tree_must_be_chosen(tmp_path: Path) -> None:
    text = TEXT.replace("basekv=33 pu=0.98", "basekv=11 pu=0.98").replace("kvs=[33", "kvs=[11")
    master = written(tmp_path, text + "new line.tie bus1=a bus2=b linecode=c length=1 units=km\n")
    with pytest.raises(InputError) as caught:
        from_opendss(master, nominal_kv=[11, 0.4])
    assert "sources at 'north', 'south' on one tree: name those to keep, as in sources=['north'], or open" in str(
        caught.value
    )
    assert "mesh: open one of " in str(caught.value)
    network = from_opendss(master, nominal_kv=[11, 0.4], sources=["north"])
    assert len(network.buses) == 5
    assert len(network.customers) == 3


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        (["west"], "sources: unknown source 'west'; valid choices: north, south"),
        ([], "must be a list of names"),
        ("north", "must be a list of names"),
        ([1], "must be a list of names"),
    ],
)
def test_bad_names_of_sources(tmp_path: Path, sources: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        from_opendss(written(tmp_path), sources=sources)  # type: ignore[arg-type]


def test_two_sources_on_one_bus(tmp_path: Path) -> None:
    text = TEXT.replace("bus1=south model", "bus1=north model")
    with pytest.raises(InputError, match="vsource 'second': another source is at bus 'north'"):
        from_opendss(written(tmp_path, text))


def test_voltage_bases_that_do_not_cover_a_winding(tmp_path: Path) -> None:
    """One sentence says what to pass, beside the elements that do not fit."""
    master = written(tmp_path, TEXT.replace("voltagebases=[33 11 0.4]", "voltagebases=[33 11]"))
    with pytest.raises(InputError, match=r"do not cover 0.4 kV: pass nominal_kv=\[33.0, 11.0, 0.4\], or give them"):
        from_opendss(master)
    assert len(from_opendss(master, nominal_kv=[33.0, 11.0, 0.4]).buses) == 6
