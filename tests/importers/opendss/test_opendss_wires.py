"""Line geometries, spacings, wires and cables against OpenDSS: impedances, capacitances, voltages, refusals."""

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
from amm_opt.importers.opendss.circuit import Elements
from amm_opt.importers.opendss.dialect.reader import read_script
from tests.importers.opendss.test_opendss_random import modelled

DATA = """clear
set defaultbasefrequency=50
new circuit.wires basekv=11 bus1=a model=ideal puzideal=[1e-8 1e-6]
new wiredata.bare rac=0.27 runits=km gmrac=7.4 gmrunits=mm diam=19 radunits=mm normamps=300
new wiredata.thin rdc=0.9 runits=mi radius=0.15 radunits=in capradius=0.18 normamps=120
new wiredata.raw rac=0.0004 gmrac=0.006 radius=0.008 normamps=200
new cndata.cn runits=km radunits=cm gmrunits=mm inslayer=0.45 diains=2.1 diacable=2.8 epsr=2.4 rac=0.6 gmrac=3.4
~ diam=0.93 rstrand=2.55 gmrstrand=0.25 diastrand=0.065 k=9 normamps=210
new tsdata.ts runits=km radunits=mm gmrunits=mm inslayer=5 diains=20 epsr=2.5 rac=0.5 gmrac=4 diam=12 diashield=21
~ diacable=25 tapelayer=0.15 tapelap=15 normamps=190
new linespacing.pole nconds=4 nphases=3 units=m x=[-1.1 0 1.3 0.1] h=[10 10.4 10 8]
new linespacing.ditch nconds=4 nphases=3 x=[-0.7 0 0.7 0.1] h=[-3 -3 -3.1 -3.4]
new linespacing.three nconds=3 nphases=3 units=ft x=[-4 0 3] h=[31 34 31]
"""
LOAD = """
new load.x bus1=b.1 phases=1 kv=6.35 kw=900 kvar=400 vminpu=0.3
new load.y bus1=b phases=3 kv=11 kw=1500 kvar=300 vminpu=0.3
set voltagebases=[11]
calcvoltagebases
solve
"""


def truth_of(master: Path, name: str) -> tuple[np.ndarray, np.ndarray, dict[str, complex]]:
    """Impedance in ohm and capacitance in nF of a line as OpenDSS has it, and all voltages."""
    volts = solve(master).volts
    engine.Lines.Name(name)
    n, length = engine.Lines.Phases(), engine.Lines.Length()
    z = np.array(engine.Lines.RMatrix()) + 1j * np.array(engine.Lines.XMatrix())
    return z.reshape(n, n) * length, np.array(engine.Lines.CMatrix()).reshape(n, n) * length, volts


def judge(folder: Path, text: str) -> None:
    """The import against OpenDSS: matrices to 1e-6, voltages to 3e-5."""
    master = folder / "Master.dss"
    master.write_text(DATA + text + LOAD)
    (line,) = (x for x in Elements(read_script(master)).lines if x.element.name == "l")
    network = from_opendss(master)
    z, c, volts = truth_of(master, "l")
    np.testing.assert_allclose(line.z_ohm, z, rtol=0, atol=2e-7 * abs(z).max(), err_msg=text)
    np.testing.assert_allclose(line.c_nf, c, rtol=0, atol=1e-7 * abs(c).max(), err_msg=text)
    for (bus, node), v in modelled(network).items():
        assert abs(v - abs(volts[f"{bus}.{node}"]) / (11000 / 3**0.5)) < 3e-5, (text, bus, node)


def overhead(pick: random.Random) -> str:
    wire, rest = pick.choice(["bare", "thin", "raw"]), pick.choice(["bare", "thin"])
    unit, scale = pick.choice([("units=m", 1.0), ("", 3.28), ("units=ft", 3.28), ("units=in", 39.4)])
    places = [(-1.2, 10), (pick.uniform(-0.3, 0.3), 10.5), (1.3, 10), (0.1, 8)]
    text = "new linegeometry.g nconds=4 nphases=3 reduce=y\n"
    for i, (x, h) in enumerate(places, 1):
        kind = wire if i < 4 else rest
        text += f"~ cond={i} wire={kind} {unit if i == 1 else ''} x={scale * x:.5g} h=({scale:g} {h} *)\n"
    return text + pick.choice(["", "edit linegeometry.g normamps=250\n", "linegeometry.g.emergamps=400\n"])


def buried(pick: random.Random) -> str:
    kind, name = pick.choice([("cncable", "cn"), ("tscable", "ts")])
    text = "new linegeometry.g nconds=4 nphases=3 reduce=yes\n"
    for i, (x, h) in enumerate([(-0.2, -1), (0, -1), (0.2, -1.1)], 1):
        text += f"~ cond={i} {kind}={name} x={x} h={h} units=m\n"
    return text + "~ cond=4 wire=thin x=0.1 h=-1.2\n"


@pytest.mark.parametrize("seed", range(6))
def test_geometries(tmp_path: Path, seed: int) -> None:
    pick = random.Random(seed)
    geometry = pick.choice([overhead, buried])(pick)
    model = pick.choice(["", "set earthmodel=carson\n", "set earthmodel=full\n", "set earthmodel=deri\n"])
    length = pick.choice(["length=2 units=km", "length=1500", "units=mi length=0.8", "length=5 units=kft"])
    more = pick.choice(["", "rho=250", "earthmodel=carson", "rho=40 earthmodel=fullcarson"])
    judge(tmp_path, f"{model}{geometry}new line.l bus1=a bus2=b geometry=g {length} {more}")


@pytest.mark.parametrize(
    "line",
    [
        "new line.l bus1=a bus2=b spacing=pole wires=[bare bare bare thin] length=2 units=km",
        "new line.l bus1=a bus2=b spacing=pole wires=(thin, raw, bare, bare) length=1500",
        "new line.l bus1=a bus2=b spacing=three wires=[bare bare bare] length=1 units=mi",
        "new line.l bus1=a bus2=b spacing=ditch cncables=[cn cn cn] wires=[thin] length=2 units=km",
        "new linegeometry.g nconds=4 nphases=3 spacing=pole wires=[bare bare bare thin] reduce=y\n"
        "new line.l bus1=a bus2=b geometry=g length=2 units=km",
        "new linegeometry.g nconds=3 nphases=3 spacing=three wires=[bare bare bare]\n"
        "new line.l bus1=a bus2=b geometry=g length=2 units=km",
        "new linecode.c r1=9 x1=9 normamps=1\nnew linegeometry.g nconds=3 spacing=three wires=[bare bare bare]\n"
        "new line.l bus1=a bus2=b linecode=c geometry=g length=2 units=km",
        "new linegeometry.o nconds=3 spacing=three wires=[raw raw raw]\nnew linegeometry.g like=o cond=2 x=2 h=33\n"
        "new line.l bus1=a bus2=b geometry=g length=2 units=km\nedit wiredata.raw rac=7",
    ],
)
def test_spacings(tmp_path: Path, line: str) -> None:
    judge(tmp_path, line)


def test_neutral_as_a_node(tmp_path: Path) -> None:
    """Without reduction the neutral is a conductor of the line, here grounded at both ends."""
    geometry = overhead(random.Random(1)).replace("reduce=y", "reduce=n")
    judge(tmp_path, f"{geometry}new line.l bus1=a.1.2.3.0 bus2=b.1.2.3.0 geometry=g length=2 units=km")


def test_ampacity_is_that_of_the_geometry_or_of_its_first_conductor(tmp_path: Path) -> None:
    geometry = "new linegeometry.g nconds=3 spacing=three wires=[thin bare bare]\n"
    for text, amps in (
        (geometry + "new line.l bus1=a bus2=b geometry=g length=2 units=km", 120),
        (geometry + "edit linegeometry.g normamps=99\nnew line.l bus1=a bus2=b geometry=g length=2 units=km", 99),
        (geometry + "new line.l bus1=a bus2=b geometry=g length=2 units=km normamps=88", 88),
        ("new line.l bus1=a bus2=b normamps=88 spacing=three wires=[bare thin thin] length=2", 300),
    ):
        (tmp_path / "Master.dss").write_text(DATA + text + LOAD)
        branch = from_opendss(tmp_path / "Master.dss").branches.iloc[0]
        assert branch["rating_kva"] == pytest.approx(amps * 11 / 3**0.5), text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("new line.l bus1=a bus2=b geometry=g", "unknown linegeometry 'g'; it must be defined before"),
        ("new linegeometry.g nconds=3 cond=1 wire=gold", "unknown wiredata 'gold'"),
        ("new linegeometry.g nconds=2 nphases=1 cond=3", "cond = 3 of nconds = 2"),
        ("new line.l bus1=a bus2=b wires=[bare bare bare] spacing=three", "wires stands before spacing"),
        ("new line.l bus1=a bus2=b spacing=three wires=[bare bare]", "2 wires and 3 places for 2 conductors"),
        ("new line.l bus1=a bus2=b spacing=ditch wires=[bare bare bare bare]", "wires below ground"),
        ("new line.l bus1=a bus2=b spacing=three wires=[bare bare bare] r1=1", "r1 beside geometry or spacing"),
        ("new line.l bus1=a bus2=b spacing=three wires=[bare bare bare] earthmodel=flat", "earthmodel = 'flat'"),
        (
            "new line.l bus1=a bus2=b spacing=three wires=[bare bare bare] earthmodel=carson",
            "spacing beside earthmodel",
        ),
        ("new linegeometry.g nconds=3 spacing=three\nnew linegeometry.h like=g\n~ wires=[bare bare bare]", "like= on"),
        ("new line.l bus1=a bus2=b spacing=three wires=[bare bare bare] phases=2", "phases = 2, but 'three' has 3"),
        ("new wiredata.w runits=km radius=1\nnew line.l bus1=a bus2=b spacing=three wires=[w w w]", "rac is missing"),
        ("new linegeometry.g nconds=3 cond=1 wire=bare\nnew line.l bus1=a bus2=b geometry=g", "1 wire and 3 places"),
    ],
)
def test_refused(tmp_path: Path, text: str, said: str) -> None:
    master = tmp_path / "Master.dss"
    master.write_text(DATA + text + LOAD)
    with pytest.raises(InputError) as refused:
        from_opendss(master)
    assert any(said in problem and problem.startswith("Master.dss:") for problem in refused.value.problems), (
        refused.value
    )
