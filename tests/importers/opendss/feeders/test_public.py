"""What files of others do: weak sources, transformers in parallel, letters of file names; against OpenDSS."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("opendssdirect", reason="pip install 'amm-opt[opendss]'")
from opendss_truth import solve

from amm_opt.errors import InputError
from amm_opt.importers import ImportedNetwork, from_opendss
from tests.importers.opendss.test_opendss_random import modelled

HEAD = "clear\nset defaultbasefrequency=60\nnew circuit.weak bus1=s basekv=12.47 pu=1.03 "
CODE = "new linecode.c nphases=3 r1=0.2 x1=0.3 r0=0.4 x0=1 c1=9 c0=4 units=km normamps=300\n"
LINE = CODE + "new line.n bus1=s bus2=a linecode=c length=2 units=km\n"
ANY = "vminpu=.1 vmaxpu=2"
LOADS = f"""new load.one bus1=a.1 phases=1 kv=7.2 kw=900 pf=0.9 {ANY}
new load.two bus1=a.2.3 phases=1 conn=delta kv=12.47 kw=600 pf=0.95 {ANY}
new load.three bus1=s.3 phases=1 kv=7.2 kw=500 pf=0.95 {ANY}
"""


def written(folder: Path, text: str) -> Path:
    (folder / "Master.dss").write_text(text)
    return folder / "Master.dss"


def worst(network: ImportedNetwork, master: Path) -> float:
    """Largest error in pu at the buses that the file has."""
    truth, kv = solve(master, frequency=60.0), network.buses.set_index("name")["vn_kv"]
    known = {place: v for place, v in modelled(network).items() if f"{place[0]}.{place[1]}" in truth.volts}
    assert len(known) == len(truth.volts)
    return max(
        abs(v - abs(truth.volts[f"{bus}.{node}"]) / (1000 * kv[bus] / np.sqrt(3))) for (bus, node), v in known.items()
    )


def refused(folder: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        from_opendss(written(folder, text))
    return caught.value.problems


@pytest.mark.parametrize(
    "source",
    [
        "mvasc3=90 mvasc1=70",
        "isc3=4000 isc1=900 x1r1=2 x0r0=1",
        "r1=.4 x1=1.1",
        "r1=9\n~ z1=[.4 1.1]",
        "z0=[1 3] z1=(.4, 1.1)",
        "puz1=[.2 .6] puz0=[.5 1.4] basemva=80",
        "r1=.4 x1=1.1\nedit vsource.source mvasc3=90 mvasc1=80 basekv=12.3",
    ],
)
def test_a_source_is_behind_its_impedance(tmp_path: Path, source: str) -> None:
    master = written(tmp_path, HEAD + source + "\n" + LINE + LOADS + "set voltagebases=[12.47]\n")
    network = from_opendss(master)
    assert worst(network, master) < 2e-5
    held = from_opendss(master, source_impedance=False)
    assert set(network.buses["name"]) - set(held.buses["name"]) == {"infinite_bus_of_s"}
    assert worst(held, master) > 0.005


def test_what_a_source_impedance_costs_is_said(tmp_path: Path) -> None:
    """2.1 MW and 1.15 Mvar through 0.4 + 1.1j ohm at 12.47 kV: (0.4 x 2.1 + 1.1 x 1.15) / 155.5 = 0.0135 pu."""
    load = f"new load.x bus1=a kv=12.47 kw=2100 kvar=1150 {ANY}\n"
    master = written(tmp_path, HEAD + "r1=.4 x1=1.1 r0=1 x0=3\n" + LINE + load)
    assert "impedance of the source: its voltage is held; it lowers the voltage by about 0.014 pu at" in str(
        from_opendss(master, source_impedance=False).report
    )
    said = str(from_opendss(master).report)
    assert "at 'infinite_bus_of_s', behind its impedance of 0.4+1.1j ohm per phase: it lowers" in said
    assert "1 line and 0 switches" in said
    strong = written(tmp_path, HEAD.replace("1.03", "1.2") + "r1=.4 x1=1.1 r0=1 x0=3\n" + LINE + load)
    band = from_opendss(strong).buses.set_index("name")["v_max_pu"]
    assert band.to_dict() == {"infinite_bus_of_s": 1.2, "s": 1.1, "a": 1.1}


def test_weak_sources_are_joined_and_cut(tmp_path: Path) -> None:
    second = "new vsource.b basekv=4.16 pu=.98 angle=20 bus1=t r1=.1 x1=.2 r0=.2 x0=.5\n"
    second += "new line.m bus1=t bus2=d linecode=c length=1 units=km\n"
    second += f"new load.d bus1=d.2 phases=1 kv=2.4 kw=300 pf=.9 {ANY}\n"
    master = written(tmp_path, HEAD + "mvasc3=90 mvasc1=70\n" + LINE + LOADS + second)
    assert worst(from_opendss(master), master) < 1e-6
    assert list(from_opendss(master, sources=["t"]).buses["name"]) == ["infinite_bus_of_t", "t", "d"]


def test_an_asymmetric_source_impedance_is_refused_unless_left_out(tmp_path: Path) -> None:
    text = HEAD + "z1=[.4 1.1] z2=[.1 .2] z0=[1 3]\n" + LINE + LOADS
    (said,) = refused(tmp_path, text)
    assert "z2 = 0.1+0.2j ohm unlike z1 = 0.4+1.1j ohm is not supported; pass source_impedance=False" in said
    assert from_opendss(tmp_path / "Master.dss", source_impedance=False).buses["name"].tolist() == ["s", "a"]
    said = refused(tmp_path, HEAD + "\nedit vsource.source basekv=1e50\n" + LINE + LOADS)
    assert any("basekv = 1e+50 is more than 10000" in x for x in said)


@pytest.mark.parametrize("node", ["", ".2"])
def test_a_source_of_one_phase(tmp_path: Path, node: str) -> None:
    head = HEAD.replace("bus1=s basekv=12.47", f"bus1=s{node} phases=1 basekv=7.2")
    line = "new linecode.c nphases=1 r1=0.2 x1=0.3 c1=9 units=km normamps=300\n"
    line += f"new line.n bus1=s{node or '.1'} bus2=a{node or '.1'} linecode=c length=2 units=km\n"
    load = f"new load.x bus1=a{node or '.1'} phases=1 kv=7.2 kw=500 pf=.9 {ANY}\n"
    master = written(tmp_path, head + "mvasc3=90 mvasc1=60\n" + line + load)
    network = from_opendss(master)
    assert worst(network, master) < 1e-6
    (said,) = re.findall(r"lowers the voltage by about (\S+) pu", str(network.report))
    at = abs(solve(master, frequency=60.0).volts[f"s{node or '.1'}"]) / 7200
    assert float(said) == pytest.approx(1.03 - at, rel=0.2)
    assert "line 'n': phase c does not arrive at bus 's'" in str(
        refused(
            tmp_path,
            head + "r1=1 x1=1\n" + line.replace(f"s{node or '.1'}", "s.3").replace(f"a{node or '.1'}", "a.3") + load,
        )
    )


PARALLEL = """new transformer.t1 buses=[s a] conns=[delta wye] kvs=[12.47 .48] kvas=500 xhl=5 %rs=[.4 .4]
new transformer.t2 buses=[s a] conns=[delta wye] kvs=[12.47 .48] kvas=(800) xhl=4 %rs=[.7 .7] {}
"""


def test_transformers_in_parallel_are_one(tmp_path: Path) -> None:
    load = LOADS.replace("kv=7.2", "kv=.277").replace("kv=12.47", "kv=.48").replace("00 pf", "0 pf")
    load = load.replace("bus1=s.3", "bus1=a.3")
    bases = "set voltagebases=[12.47 .48]\n"
    master = written(tmp_path, HEAD + "model=ideal puzideal=[1e-8 1e-6]\n" + PARALLEL.format("") + load + bases)
    network = from_opendss(master)
    assert worst(network, master) < 2e-5
    # |z| of 500 kVA: hypot(5, .8) / 5 = 1.013 per MVA; of 800 kVA: hypot(4, 1.4) / 8 = .53: the second is full first,
    # at 880 kVA (normhkva is 110 % of its rating) or 800 kVA, with 800 x .53 / 1.013 kVA in the first
    (row,) = network.branches[network.branches["kind"].eq("transformer")].to_dict("records")
    assert row["rating_kva"] * 3 == pytest.approx(1217, rel=0.01)
    said = refused(tmp_path, HEAD + "\n" + PARALLEL.format("taps=[1 1.05]") + load + bases)
    assert any(
        "a current circulates between transformers in parallel of unlike ratios: t1 1, t2 0.952" in x for x in said
    )


def test_names_of_files_in_other_letters(tmp_path: Path) -> None:
    (tmp_path / "Data").mkdir()
    (tmp_path / "Data" / "LineCodes.DSS").write_text(CODE)
    text = HEAD + "\n" + LINE.replace(CODE, "redirect data\\LINECODES.dss\n") + LOADS
    assert from_opendss(written(tmp_path, text)).buses["name"].tolist() == ["infinite_bus_of_s", "s", "a"]
    (tmp_path / "Data" / "linecodes.dss").write_text(CODE)
    assert any("LINECODES.dss' not found" in x for x in refused(tmp_path, text))


def test_loads_beyond_what_could_be_carried_at_nominal_voltage(tmp_path: Path) -> None:
    """Below vminpu loads are impedances, so that OpenDSS finds a solution at 0.7 pu."""
    load = "new load.x bus1=a kv=12.47 kw=9000 pf=.9 vminpu=.9\nnew load.y bus1=a.2 phases=1 kv=7.2 kw=900 vminpu=.95\n"
    master = written(tmp_path, HEAD + "mvasc3=60 mvasc1=50\n" + LINE.replace("length=2", "length=5") + load)
    network = from_opendss(master, load_voltage_pu="solved")
    assert worst(network, master) < 1e-5
    assert min(modelled(network).values()) < 0.76
    assert "vminpu" not in str(network.report).partition("Left out")[2]


def test_only_the_reason_is_said(tmp_path: Path) -> None:
    """Not what follows from it: of an open conductor an island, of a mesh phases that seem not to arrive."""
    (said,) = refused(tmp_path, HEAD + "\n" + LINE + LOADS + "open line.n 2 3\n")
    assert said == "Master.dss:9: open of single conductors of line 'n' is not supported"
    loop = "new line.m bus1=a.1 bus2=b.1 phases=1 r1=1 x1=1 normamps=9\nnew line.k bus1=s bus2=b linecode=c\n"
    (said,) = refused(tmp_path, HEAD + "\n" + LINE + LOADS + loop + "new line.e bus1=b bus2=e linecode=c\n")
    assert said.startswith("mesh: open one of line 'n'")
    units = "new transformer.x phases=1 buses=[a.1.0 b.1.2] conns=[wye delta] kvs=[7.2 4.16]\n"
    units += "new transformer.y phases=1 buses=[a.2.0 b.2.3] conns=[wye delta] kvs=[7.2 4.16]\n"
    found = refused(tmp_path, HEAD + "\n" + LINE + LOADS + units)
    assert sum("unsupported element: connection delta-wye" in x for x in found) == 2
    assert not any("inconsistent base voltage: kv at" in x for x in found)


SERVICE = """new linecode.five nphases=5 units=km normamps=300
~ rmatrix=[.3 | .05 .3 | .05 .05 .3 | .05 .05 .05 .6 | .05 .05 .05 .05 .9]
~ xmatrix=[.8 | .4 .8 | .35 .4 .8 | .33 .34 .35 .9 | .3 .31 .32 .33 .95]
new line.n bus1=s.1.2.3.{0} bus2=a.1.2.3.{0} linecode=five length=2 units=km
new reactor.g1 phases=1 bus1=s.4 bus2=s.0 r={1} x=0
new reactor.g2 phases=1 bus1=s.5 bus2=s.0 r={1} x=0
new reactor.g3 phases=1 bus1=a.4 bus2=a.0 r={1} x=0
new reactor.g4 phases=1 bus1=a.5 bus2=a.0 r={1} x=0
"""


@pytest.mark.parametrize(("nodes", "ohm", "error"), [("0.0", 1e-4, 2e-5), ("4.5", 1e-4, 2e-5), ("4.5", 1.0, 2e-3)])
def test_several_neutrals_that_are_grounded_at_both_ends(tmp_path: Path, nodes: str, ohm: float, error: float) -> None:
    """Exact where they are ground; at the most that counts as grounded, 1 ohm, within 0.002 pu."""
    loads = LOADS.replace("bus1=s.3", "bus1=a.3")
    master = written(tmp_path, HEAD + "mvasc3=90 mvasc1=70\n" + SERVICE.format(nodes, ohm) + loads)
    network, truth = from_opendss(master), solve(master, frequency=60.0)
    ours = modelled(network)
    off = [abs(ours["a", n] - abs(truth.volts[f"a.{n}"]) / (12470 / np.sqrt(3))) for n in (1, 2, 3)]
    assert max(off) < error
    assert "1 line reduced by Kron reduction" in str(network.report)


def test_several_neutrals_that_are_not_grounded_are_refused(tmp_path: Path) -> None:
    """Not even one of them, at one end."""
    text = HEAD + "mvasc3=90 mvasc1=70\n" + SERVICE.format("4.5", 0.1) + LOADS.replace("bus1=s.3", "bus1=a.3")
    (said,) = refused(tmp_path, text + "edit reactor.g4 r=1.1\n")
    assert "line 'n': unsupported: 2 neutral conductors, unless all are grounded at both ends through at most" in said
    assert from_opendss(tmp_path / "Master.dss", neutral="kron").feeder.n_buses == 3


def test_a_neutral_that_reaches_nothing_is_refused(tmp_path: Path) -> None:
    """Bus ``a`` of a four-wire line is a.1.2.3.4, but that of the transformer's star a.1.2.3.0."""
    text = HEAD + "\n" + PARALLEL.format("").splitlines()[0] + "\n"
    text += (
        "new linecode.f nphases=4 r1=.1 x1=.1 r0=.2 x0=.3 normamps=300\nnew line.f bus1=a bus2=b linecode=f length=1\n"
    )
    text += f"new load.x bus1=b.1.4 phases=1 kv=.277 kw=20 {ANY}\nset voltagebases=[12.47 .48]\n"
    (said,) = refused(tmp_path, text)
    assert "load 'x': node 4 of bus 'b', its neutral, reaches no star point and no ground" in said
    for joined in (text.replace("[s a]", "[s a.1.2.3.4]"), text + "new reactor.g phases=1 bus1=b.4 r=.1 x=0\n"):
        assert from_opendss(written(tmp_path, joined)).feeder.n_buses == 4
