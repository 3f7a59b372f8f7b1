"""Regulators and banks of one-phase units: one branch with a tap for each phase, as OpenDSS solves them."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("opendssdirect", reason="pip install 'amm-opt[opendss]'")
from opendss_truth import solve

from amm_opt.errors import InputError
from amm_opt.importers import ImportedNetwork, YearScenario, from_opendss, year_case
from amm_opt.network import ACNetwork, LinDist3Flow
from tests.importers.opendss.test_opendss_random import modelled

HEAD = """clear
set defaultbasefrequency=60
new circuit.reg basekv=12.47 bus1=s model=ideal puzideal=[1e-8 1e-6]
new linecode.c nphases=3 r1=0.2 x1=0.3 r0=0.4 x0=1 c1=9 c0=4 units=km normamps=300
new line.head bus1=s bus2=a linecode=c length=2 units=km
"""
TAIL = """new line.tail bus1=b bus2=e linecode=c length=1.5 units=km
new load.one bus1=e.1 phases=1 kv=7.2 kw=400 pf=0.95 vminpu=0.1 vmaxpu=2
new load.two bus1=e.2 phases=1 kv=7.2 kw=700 pf=0.9 vminpu=0.1 vmaxpu=2
new load.all bus1=e phases=3 kv=12.47 kw=900 pf=0.92 vminpu=0.1 vmaxpu=2
set voltagebases=[12.47 4.16 0.48]
"""
UNIT = (
    "new transformer.r{0} phases=1 xhl=1 %loadloss=0.4 buses=[a.{0} b.{0}] kvs=[7.2 7.2] kvas=[{1} {1}] taps=[1 {2}]\n"
)
BANK = UNIT.format(1, 2000, 1.0375) + UNIT.format(2, 1500, 1.025) + UNIT.format(3, 2000, 0.99375)

OPEN_DELTA = """new transformer.r1 phases=1 conns=[delta delta] buses=[a.1.2 b.1.2] kvs=[12.47 12.47] kvas=[3000 3000]
~ xhl=1 taps=[1 1.03]
new transformer.r2 phases=1 conns=[delta delta] buses=[a.3.2 b.3.2] kvs=[12.47 12.47] kvas=[3000 3000] xhl=1
new line.by bus1=a.2 bus2=b.2 phases=1 switch=y
"""


def written(folder: Path, text: str) -> Path:
    (folder / "Master.dss").write_text(text)
    return folder / "Master.dss"


def worst_error(network: ImportedNetwork, master: Path) -> float:
    """Largest error in pu over all nodes, with taps and capacitors held in OpenDSS."""
    truth, kv = solve(master, ["set controlmode=off"], 60.0), network.buses.set_index("name")["vn_kv"]
    return max(
        abs(v - abs(truth.volts[f"{bus}.{node}"]) / (1000 * kv[bus] / np.sqrt(3)))
        for (bus, node), v in modelled(network).items()
    )


def problems(folder: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        from_opendss(written(folder, text))
    return caught.value.problems


def test_a_bank_of_regulators_has_a_tap_for_each_phase(tmp_path: Path) -> None:
    master = written(tmp_path, HEAD + BANK + TAIL)
    network = from_opendss(master)
    feeder = network.feeder
    branch = feeder.branch_names.index("r1+r2+r3")
    assert feeder.phase_tap[branch] == pytest.approx([1 / 1.0375, 1 / 1.025, 1 / 0.99375])
    assert feeder.rating_kva[branch] == 1500.0
    assert worst_error(network, master) < 1e-5
    assert "r1+r2+r3 on abc, taps 0.96386 0.97561 1.0063, 1500 kVA per phase" in str(network.report)


def test_units_may_be_listed_in_any_direction_and_tapped_on_either_side(tmp_path: Path) -> None:
    turned = UNIT.format(2, 1500, 1.025).replace("[a.2 b.2]", "[b.2 a.2]").replace("[1 1.025]", "[1.025 0.98]")
    texts = [UNIT.format(1, 2000, 1.0375), turned, UNIT.format(3, 2000, 0.99375)]
    for order in ((0, 1, 2), (1, 0, 2), (1, 2)):
        text = HEAD + "".join(texts[i] for i in order) + TAIL
        text = (
            text
            if len(order) == 3
            else text.replace("bus1=e ", "bus1=e.2 ").replace("phases=3 kv=12.47", "phases=1 kv=7.2")
        )
        text = (
            text
            if len(order) == 3
            else text.replace("e.1", "e.3").replace(
                "bus1=b bus2=e linecode=c", "phases=2 bus1=b.2.3 bus2=e.2.3 r1=.2 x1=.3 r0=.4 x0=1 normamps=300"
            )
        )
        master = written(tmp_path, text)
        assert worst_error(from_opendss(master), master) < 1e-5, order


@pytest.mark.parametrize(
    ("control", "taps"),
    [
        ("winding=2 vreg=122 ptratio=60 band=2", 1.0375),
        ("winding=2 vreg=122 tapnum=5", 1.03125),
        ("winding=2 tapnum=40", 1.1),
        ("winding=2 tapnum=-40", 0.9),
        ("winding=1 tapwinding=2 tapnum=-3", 0.98125),
    ],
)
def test_taps_are_as_the_file_leaves_them(tmp_path: Path, control: str, taps: float) -> None:
    master = written(tmp_path, HEAD + BANK + f"new regcontrol.c1 transformer=r1 {control}\n" + TAIL)
    network = from_opendss(master)
    assert 1 / network.feeder.phase_tap[2, 0] == pytest.approx(taps)
    assert worst_error(network, master) < 1e-5
    assert "1 regulator controls: taps as they stand in the file" in str(network.report)


def test_tap_numbers_refer_to_the_range_of_the_winding(tmp_path: Path) -> None:
    text = "edit transformer.r1 wdg=2 maxtap=1.2 mintap=0.9 numtaps=20\n"
    text += "new regcontrol.c transformer=r1 winding=2 tapnum=4\n"
    master = written(tmp_path, HEAD + BANK + text + TAIL)
    network = from_opendss(master)
    assert 1 / network.feeder.phase_tap[2, 0] == pytest.approx(1.11)
    assert worst_error(network, master) < 1e-5


def test_a_regulated_transformer_between_mv_levels_in_the_middle_of_the_tree(tmp_path: Path) -> None:
    text = HEAD + "new transformer.sub buses=[a m] conns=[delta wye] kvs=[12.47 4.16] kvas=[5000 5000] xhl=8 %r=.5\n"
    text += "~ taps=[1.0125 1.05]\nnew line.mid bus1=m bus2=n linecode=c length=0.4 units=km\n"
    text += BANK.replace("a.", "n.").replace("7.2", "2.4") + TAIL.replace("7.2", "2.4").replace("kv=12.47", "kv=4.16")
    text += "new transformer.lv buses=[e f] conns=[delta wye] kvs=[4.16 .48] kvas=[500 500] xhl=2 %r=.55\n"
    text += "new load.lv bus1=f.2 phases=1 kv=.277 kw=100 pf=.9 vminpu=0.1 vmaxpu=2\n"
    text += "new regcontrol.s transformer=sub winding=2 vreg=120 ptratio=20\n"
    master = written(tmp_path, text)
    network = from_opendss(master)
    assert worst_error(network, master) < 2e-5
    assert sorted(network.buses["feeder"].dropna()) == ["lv"]


def test_capacitors_with_a_control_stand_as_they_are(tmp_path: Path) -> None:
    text = "new capacitor.c bus1=e phases=3 kv=12.47 kvar=600 numsteps=2 states=[1 0]\n"
    text += "new capcontrol.cc capacitor=c element=line.tail type=voltage onsetting=119 offsetting=121 ptratio=60\n"
    master = written(tmp_path, HEAD + BANK + TAIL + text)
    network = from_opendss(master)
    assert worst_error(network, master) < 1e-4
    assert "1 capacitor controls: capacitors as they stand in the file" in str(network.report)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BANK + UNIT.format(3, 500, 1).replace("r3", "r4"), "bank r1+r2+r3+r4: a current circulates between"),
        (BANK + "new line.by bus1=a bus2=b linecode=c length=1\n", "mesh: open one of line 'by'"),
        (BANK.replace("a.2 b.2", "a.2.1 b.2.1"), "r1+r2+r3: an open delta has two units with one phase in common"),
        (OPEN_DELTA.replace("new line.by", "!"), "bank r1+r2: no line, or one on other phases, carries phase b"),
        (OPEN_DELTA.replace("a.2 bus2=b.2", "a.1 bus2=b.1"), "no line, or one on other phases, carries phase b"),
        (OPEN_DELTA, "load 'one': unsupported: it draws to ground, which no current reaches through transformer 'r1'"),
        (
            "new transformer.d buses=[a b] conns=[delta delta] kvs=[12.47 12.47]\n",
            "load 'two': unsupported: it draws to ground, which no current reaches through transformer 'd'",
        ),
        (BANK + "new regcontrol.c transformer=nope winding=2\n", "regcontrol 'c': unknown element 'transformer.nope'"),
        (BANK + "new regcontrol.c tapnum=2 transformer=r1\n", "regcontrol 'c': tapnum stands before transformer"),
        (BANK + "new regcontrol.c transformer=r1 winding=3 tapnum=2\n", "regcontrol 'c': winding 3 of 2"),
        (BANK + "new capcontrol.c capacitor=nope\n", "capcontrol 'c': unknown element 'capacitor.nope'"),
        (BANK + "new regcontrol.c vreg=120\n", "regcontrol 'c': what it controls must be given"),
    ],
)
def test_refused(tmp_path: Path, text: str, words: str) -> None:
    found = problems(tmp_path, HEAD + text + TAIL)
    assert any(words in said for said in found), found


def test_random_banks(tmp_path: Path) -> None:
    for seed in range(24):
        pick = random.Random(seed)
        phases = pick.choice([[1, 2, 3], [3, 1, 2], [2, 1, 3]])
        units = "".join(UNIT.format(p, pick.choice([800, 2000]), pick.randint(-16, 16) * 0.00625 + 1) for p in phases)
        for p in phases:
            if pick.random() < 0.5:
                units += f"new regcontrol.c{p} transformer=r{p} winding={pick.choice([1, 2])} vreg=120"
                units += pick.choice(["\n", f" tapnum={pick.randint(-20, 20)}\n"])
        master = written(tmp_path, HEAD + units + TAIL)
        network = from_opendss(master)
        assert worst_error(network, master) < 1e-5, (seed, units)
        model = LinDist3Flow(network.feeder)
        assert model.n_nodes == 12


def test_a_bank_becomes_a_case(tmp_path: Path) -> None:
    """Through the tables of a case folder and back, with taps of LV transformers left to the scenario."""
    network = from_opendss(written(tmp_path, HEAD + BANK + TAIL))
    case = year_case(network, YearScenario(days=1, ev=0, pv=0))
    assert case.feeder.phase_tap[2] == pytest.approx(network.feeder.phase_tap[2])
    with pytest.raises(InputError, match=r"transformer 'r1\+r2\+r3': its phases must have one tap, but have 0.9639"):
        ACNetwork(network.feeder)


def test_random_open_deltas(tmp_path: Path) -> None:
    """Voltages between phases: exact with equal taps, else but for the square of their difference."""
    for seed in range(12):
        pick = random.Random(seed)
        middle, one, two = pick.sample("123", 3)
        taps = [pick.randint(-16, 16) * 0.00625 for _ in range(2)]
        if seed % 3 == 0:
            taps[1] = taps[0]
        units = ""
        for i, (phase, tap) in enumerate(zip((one, two), taps, strict=True)):
            ends = pick.choice([f"{phase}.{middle}", f"{middle}.{phase}"])
            units += f"new transformer.r{i} phases=1 conns={pick.choice(['[delta delta]', '[wye wye]'])} xhl=1 %r=.2"
            units += f" buses=[a.{ends} b.{ends}] kvs=[12.47 12.47] kvas=[3000 3000] taps=[1 {1 + tap:.5f}]\n"
        units += f"new line.by bus1=a.{middle} bus2=b.{middle} phases=1 switch=y\n"
        loads = "new line.tail bus1=b bus2=e linecode=c length=1.5 units=km\nset voltagebases=[12.47]\n"
        for i, nodes in enumerate(("1.2", "2.3", "3.1")):
            kw = pick.randint(100, 900)
            loads += f"new load.l{i} bus1=e.{nodes} phases=1 kv=12.47 kw={kw} pf=.9 vminpu=0.1 vmaxpu=2\n"
        master = written(tmp_path, HEAD.replace("c1=9 c0=4", "c1=0 c0=0") + units + loads)
        network, truth = from_opendss(master), solve(master, ["set controlmode=off"], 60.0)
        model, people = LinDist3Flow(network.feeder), network.customers
        at = model.incidence(np.array([network.feeder.bus_index[b] for b in people["bus"]]), tuple(people["phases"]))
        u = model.power_flow(-(at @ people["kw"].to_numpy(float)), -(at @ people["kvar"].to_numpy(float)))
        of = {(network.feeder.bus_names[b], p): v for b, p, v in zip(model.bus, model.phase, u, strict=True)}
        for bus, i, k in (("b", 0, 1), ("e", 1, 2), ("e", 2, 0), ("e", 0, 1)):
            judged = abs(truth.volts[f"{bus}.{i + 1}"] - truth.volts[f"{bus}.{k + 1}"]) / 12470
            error = abs(abs(of[bus, i] - of[bus, k]) / 3**0.5 - judged)
            assert error < 3e-5 + (taps[0] - taps[1]) ** 2 / 4, (seed, units)
