"""Loads at the voltages that they meet and regulators at their set points, as OpenDSS solves them with controls."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("opendssdirect", reason="pip install 'amm-opt[opendss]'")
import opendssdirect as engine
from opendss_truth import solve

from amm_opt.errors import InputError
from amm_opt.importers import from_opendss
from tests.importers.opendss.feeders.test_ieee_feeders import DATA, between, injections, largest, to_neutral

HEAD = """clear
set defaultbasefrequency=60
new circuit.s basekv=12.47 bus1=s pu={pu} model=ideal puzideal=[1e-8 1e-6]
new linecode.c nphases=3 r1=0.2 x1=0.3 r0=0.4 x0=1 c1=9 c0=4 units=km normamps=300
new line.head bus1=s bus2=a linecode=c length=2 units=km
"""
TAIL = "set voltagebases=[12.47]\nset maxcontroliter=100\n"


@pytest.mark.parametrize(("name", "without"), [("ieee13", ()), ("ieee34", ()), ("ieee37", ()), ("ieee123", ("610",))])
@pytest.mark.parametrize("regulators", ["as_stated", "set_point"])
def test_ieee_feeders(name: str, without: tuple[str, ...], regulators: str) -> None:
    """With the files' own load models; regulators also from where OpenDSS finds them."""
    master = DATA / f"{name}.dss"
    network = from_opendss(master, load_voltage_pu="solved", regulators=regulators)
    model, p_kw, q_kvar = injections(network)
    off = ["set controlmode=off"] if regulators == "as_stated" else ["set maxcontroliter=100"]
    truth = solve(master, off, 60.0)
    seen = between if name == "ieee37" else to_neutral
    assert largest(network, truth, seen(model, model.power_flow(p_kw, q_kvar)), without) < 5e-4


@pytest.mark.parametrize("model", range(1, 9))
def test_load_models(tmp_path: Path, model: int) -> None:
    for pu in (0.55, 0.8, 0.93, 1.04, 1.12):
        text = HEAD.format(pu=pu) + f"new load.x bus1=a phases=3 kv=12.47 kw=300 kvar=90 model={model}"
        text += " zipv=[.2 .3 .5 .6 .3 .1 0] cvrwatts=0.8 cvrvars=2.5\n"
        text += "new load.y bus1=a.2 phases=1 kv=7.2 kw=200 pf=.9 vminpu=.9 vmaxpu=1.1 vlowpu=.6\n"
        (tmp_path / "Master.dss").write_text(text + TAIL)
        people = from_opendss(tmp_path / "Master.dss", load_voltage_pu="solved").customers
        solve(tmp_path / "Master.dss", frequency=60.0)
        for name in "xy":
            engine.Circuit.SetActiveElement(f"load.{name}")
            own = people[people["name"].str[0] == name]
            powers = np.array(engine.CktElement.Powers()).reshape(-1, 2).sum(axis=0)
            assert [own["kw"].sum(), own["kvar"].sum()] == pytest.approx(powers, abs=0.02), pu


def test_random_regulators(tmp_path: Path) -> None:
    """One after the other and side by side, with line drop compensation: the taps at which OpenDSS comes to rest."""
    for seed in range(3):
        pick = random.Random(seed)
        text = HEAD.format(pu=pick.choice([0.95, 1.0, 1.04]))
        for k, (start, stop) in enumerate((("a", "b"), ("c", "d"))):
            each = pick.random() < 0.7
            for p in "123" if each else [""]:
                at = f".{p}" if each else ""
                phases, kv = (1, 7.2) if each else (3, 12.47)
                text += f"new transformer.r{k}{p} phases={phases} buses=[{start}{at} {stop}{at}] kvs=[{kv} {kv}] xhl=.1"
                text += f" kvas=[9000 9000] %r=.01 taps=[1 {1 + pick.randint(-8, 8) * 0.00625}]\n"
                ldc = pick.choice(["", f"r={pick.randint(1, 4)} x={pick.randint(1, 6)} ctprim=300"])
                text += f"new regcontrol.c{k}{p} transformer=r{k}{p} winding=2 vreg={pick.randint(118, 124)} band="
                text += f"{pick.choice([2, 3])} ptratio=60 delay={pick.choice([15, 30, 45])} {ldc}\n"
        text += "new line.mid bus1=b bus2=c linecode=c length=3 units=km\n"
        text += "new line.end bus1=d bus2=e linecode=c length=2 units=km\n"
        for i, (bus, p) in enumerate((b, p) for b in "bde" for p in "123"):
            text += f"new load.l{i} bus1={bus}.{p} phases=1 kv=7.2 kw={pick.randint(50, 700)} pf=.92"
            text += f" model={pick.choice([1, 2, 5])} vminpu=.7 vmaxpu=1.3\n"
        (tmp_path / "Master.dss").write_text(text + TAIL)
        network = from_opendss(tmp_path / "Master.dss", load_voltage_pu="solved", regulators="set_point")
        model, p_kw, q_kvar = injections(network)
        truth = solve(tmp_path / "Master.dss", frequency=60.0)
        error = largest(network, truth, to_neutral(model, model.power_flow(p_kw, q_kvar)))
        assert error < 1e-4, (seed, error, text)
        assert "regulators at rest under the file's own loads" in str(network.report)


def test_refused(tmp_path: Path) -> None:
    text = (
        HEAD.format(pu=1) + "new transformer.r buses=[a b] kvs=[12.47 12.47] xhl=1\nnew load.x bus1=b kv=12.47 kw=9\n"
    )
    control = "new regcontrol.c transformer=r winding=2 vreg=120 ptratio=60 {}\n"
    for more, said in (
        ("bus=a.1", "bus=a.1 is not followed"),
        ("tapwinding=1", "another winding"),
        ("vlimit=125", "vlimit"),
    ):
        (tmp_path / "Master.dss").write_text(text + control.format(more) + TAIL)
        with pytest.raises(InputError, match=f"regcontrol 'c': .*{said}.*; pass regulators='as_stated'"):
            from_opendss(tmp_path / "Master.dss", regulators="set_point")
        from_opendss(tmp_path / "Master.dss")
    (tmp_path / "Master.dss").write_text(text.replace("kw=9", "kw=9e5") + TAIL)
    with pytest.raises(InputError, match="load_voltage_pu='solved': "):
        from_opendss(tmp_path / "Master.dss", load_voltage_pu="solved")
    with pytest.raises(InputError, match="regulators = 'free'; valid choices: as_stated, set_point"):
        from_opendss(tmp_path / "Master.dss", regulators="free")
