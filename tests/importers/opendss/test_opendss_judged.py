"""Constructs in every order and direction: as OpenDSS reads the same file, or refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

engine = pytest.importorskip("opendssdirect", reason="pip install 'amm-opt[opendss]'")

from amm_opt.errors import InputError  # noqa: E402
from amm_opt.importers import from_opendss  # noqa: E402
from amm_opt.network import LinDist3Flow  # noqa: E402

HEAD = """clear
set defaultbasefrequency=50
new circuit.t basekv=33 bus1=src pu=1.0 model=ideal
new linecode.c nphases=3 r1=0.32 x1=0.28 r0=1.2 x0=0.9 c1=0 c0=0 units=km normamps=200
"""
BASES = "set voltagebases=[33 11 0.4]\ncalcvoltagebases\nsolve\n"
SUPPLY = "new transformer.t buses=[src x] conns=[delta wye] kvs=[33 11] kvas=[5000 5000] xhl=8\n"
FEEDER = """new line.l bus1=x bus2=e linecode=c length=.5 units=km
new load.a bus1=e phases=3 kv=11 kw=900 pf=0.9
new load.b bus1=e.2 phases=1 kv=6.351 kw=200
"""
FILES = {"loads.dss": "new load.d bus1=e phases=3 kv=11 kw=700\n", "sub/loads.dss": "new load.d bus1=e kv=11 kw=50\n"}


def written(folder: Path, text: str) -> Path:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    (folder / "Master.dss").write_text(text)
    return folder / "Master.dss"


def modelled(master: Path) -> dict[str, float]:
    """Volts to neutral of every node by the import's AC power flow."""
    network = from_opendss(master)
    people, model = network.customers, LinDist3Flow(network.feeder)
    buses = np.array([network.feeder.bus_index[b] for b in people["bus"]], dtype=int)
    at = model.incidence(buses, tuple(people["phases"]))
    pu = np.abs(model.power_flow(-(at @ people["kw"].to_numpy(float)), -(at @ people["kvar"].to_numpy(float))))
    volts = pu * network.feeder.vn_kv[model.bus] * 1000 / np.sqrt(3)
    names = network.feeder.bus_names
    return {f"{names[b]}.{p + 1}": v for b, p, v in zip(model.bus, model.phase, volts, strict=True)}


def in_opendss(master: Path) -> dict[str, float]:
    here = Path.cwd()
    engine.Basic.ClearAll()
    engine.Text.Command("set defaultbasefrequency=60")
    try:
        for command in (f'redirect "{master}"', "set tolerance=1e-9", "batchedit load..* vminpu=.01 vmaxpu=5", "solve"):
            engine.Text.Command(command)
    finally:
        os.chdir(here)
    assert engine.Solution.Converged()
    flat = np.array(engine.Circuit.AllBusVolts())
    return dict(zip(engine.Circuit.AllNodeNames(), np.abs(flat[::2] + 1j * flat[1::2]), strict=True))


def assert_same(master: Path) -> None:
    mine, truth = modelled(master), in_opendss(master)
    for node, volts in mine.items():
        assert volts == pytest.approx(truth[node], rel=5e-5), node


def refused(master: Path) -> str:
    with pytest.raises(InputError) as caught:
        from_opendss(master)
    return "\n".join(caught.value.problems)


@pytest.mark.parametrize("lead", ["lag", "lead"])
@pytest.mark.parametrize(
    "windings",
    [
        "buses=[e hv] conns=[delta wye] kvs=[11 33] kvas=[3000 2000]",
        "buses=[hv e] conns=[wye delta] kvs=[33 11] kvas=[3000 2000]",
        "buses=[e hv] conns=[delta wye] kvs=[11 11] kvas=[3000 3000]",
        "buses=[hv e] conns=[wye delta] kvs=[.4 11] kvas=[300 400] %noloadloss=.5 %imag=2",
        "buses=[hv e] conns=[wye wye] kvs=[33 11] kvas=[3000 3000]",
    ],
)
def test_transformers_stepping_up_and_listed_from_below(tmp_path: Path, lead: str, windings: str) -> None:
    kv = float(windings.split("kvs=[")[1].split("]")[0].split()[int("buses=[e" in windings)])
    far = f"new load.h bus1=hv.1 phases=1 kv={kv / 3**0.5} kw={20 if kv < 1 else 300}\n"
    unit = f"new transformer.u {windings} xhl=6 leadlag={lead} %rs=[.3 .5] taps=[1 1.02]\n"
    assert_same(written(tmp_path, HEAD + SUPPLY + FEEDER + unit + far + BASES))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("kvar=600 numsteps=3", ""),
        ("kvar=600 numsteps=3 states=[1 0 1]", ""),
        ("numsteps=2 kvar=[150 150] states=(0, 1)", ""),
        ("states=[0] kvar=300", ""),
        ("kvar=600 states=[0] numsteps=2", ""),
        ("numsteps=2", ""),
        ("numsteps=3 kvar=[100 100 100]\n~ numsteps=2", ""),
        ("kvar=600 numsteps=4 states=[1 1 0 0]\ncapacitor.c.states=[0 0 0 1]", ""),
        (
            "numsteps=2 kvar=[100 200]",
            "steps of different kvar [100.0, 200.0]: OpenDSS gives every step the first value",
        ),
        ("numsteps=3 kvar=600", "1 value of kvar for numsteps = 3"),
        ("kvar=[100 200] numsteps=2", "2 values of kvar for numsteps = 1"),
        ("kvar=600 numsteps=2 numsteps=3", "numsteps = 3 after 2 steps"),
        ("kvar=600 states=[1 0] numsteps=2", "2 states for numsteps = 1"),
    ],
)
def test_steps_of_capacitors_follow_the_order(tmp_path: Path, given: str, said: str) -> None:
    master = written(tmp_path, f"{HEAD}{SUPPLY}{FEEDER}new capacitor.c bus1=e kv=11 {given}\n{BASES}")
    if said:
        assert f"Master.dss:9: capacitor 'c': {said}" in refused(master)
    else:
        assert_same(master)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("set defaultbasefrequency=50\n", "", ""),
        ("clear\nset defaultbasefrequency=50\n", "set defaultbasefrequency=50\nclear\n", ""),
        ("voltagebases", "frequency=50 voltagebases", ""),
        ("voltagebases", "frequency=60 voltagebases", "set frequency=60, but the circuit was made at 50 Hz"),
        ("voltagebases", "defaultbasefrequency=60 voltagebases", "but the circuit was made at 50 Hz"),
        ("solve", "solve frequency=60", "set frequency=60"),
        ("pu=1.0", "pu=1.0 basefreq=60", "basefreq = 60, but the circuit is at 50 Hz"),
    ],
)
def test_the_frequency_is_that_of_the_circuit_when_it_is_made(tmp_path: Path, old: str, new: str, said: str) -> None:
    line = "new line.f bus1=e bus2=f r1=.3 x1=.3 r0=.5 x0=.5 c1=4000 c0=2000 normamps=200\n"
    master = written(tmp_path, (HEAD + SUPPLY + FEEDER + line + BASES).replace(old, new, 1))
    if said:
        assert said in refused(master)
    else:
        assert_same(master)


def test_a_default_frequency_after_the_circuit_is_that_of_an_engine_that_starts_with_it(tmp_path: Path) -> None:
    before = HEAD + SUPPLY + FEEDER + BASES
    said = "set defaultbasefrequency=50\n"
    after = before.replace(said, "", 1).replace(BASES, f"{said}{BASES}")
    one, other = (from_opendss(written(tmp_path / name, text)) for name, text in (("a", before), ("b", after)))
    for a, b in zip(one.feeder.z_ohm, other.feeder.z_ohm, strict=True):
        np.testing.assert_allclose(a, b)
    assert any("at 50 Hz, although" in line for line in other.report.assumed)
    twice = after.replace(BASES, f"set basefrequency=60\n{BASES}")
    assert "but the circuit was made at 50 Hz" in refused(written(tmp_path / "c", twice))


@pytest.mark.parametrize(
    "lines",
    [
        "redirect loads",
        "cd sub\nredirect loads.dss",
        "set datapath=sub\nredirect loads.dss",
        "redirect sub/loads.dss\nbatchedit load.d kw=60\nnew load.q bus1=e kv=11 kw=9",
        "compile sub/loads.dss\ndisable load.d\nnew load.e like=d bus1=x kw=80",
        'compile "sub/loads.dss"\nremoved.dss',
        "edit circuit.t pu=1.05",
        "disable load.*",
        "disable load.*\nenable load.b",
    ],
)
def test_folders_and_commands(tmp_path: Path, lines: str) -> None:
    """``compile`` and ``cd`` move to another folder, ``redirect`` does not; ``edit circuit`` does nothing."""
    if "removed" in lines:
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "more.dss").write_text("new load.z bus1=x kv=11 kw=400\n")
        lines = lines.replace("removed.dss", "redirect more.dss")
    assert_same(written(tmp_path, f"{HEAD}{SUPPLY}{FEEDER}{lines}\n{BASES}"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("disable load.a*", "no element matches 'load.a*'"),
        ("open line.l* 1", "no element matches 'line.l*'"),
        ("cd nowhere", "is not a folder"),
        ("se defaultbasefrequency=50", "select needs class.name"),
        ("new load.n bus1=e phases=0 kv=11", "load 'n': phases = 0 must be positive"),
        ("new load.n bus1=e kv=11 model=9", "load 'n': model = 9; valid choices: 1"),
        ("new load.n bus1=e.1.4 phases=1 kv=6.351", "load 'n': node 4 of bus 'e', its neutral, is joined to nothing"),
        (
            "new transformer.s buses=[e y.1.2.3.4] conns=[delta wye] kvs=[11 .4] kvas=[90 90]",
            "transformer 's': node 4 of bus 'y', its star point, is joined to nothing",
        ),
        ("new swtcontrol.s switchedobj=line.l state=trip", "state = 'trip'; valid choices: open, close, closed"),
        ("new relay.r monitoredobj=line.l normal=open", "relay 'r': it is normally open, but closed"),
        ("new recloser.r monitoredobj=line.l normal=open state=closed", "recloser 'r': it is normally open"),
        ("new fuse.r monitoredobj=line.l normal=[open open open]", "fuse 'r': it is normally open, but closed"),
    ],
)
def test_what_opendss_reads_in_another_way_is_refused(tmp_path: Path, line: str, said: str) -> None:
    assert said in refused(written(tmp_path, f"{HEAD}{SUPPLY}{FEEDER}{line}\n{BASES}"))


@pytest.mark.parametrize("kind", ["relay", "recloser"])
@pytest.mark.parametrize(
    "objects", ["monitoredobj=line.l switchedobj=line.tie", "switchedobj=line.l monitoredobj=line.tie"]
)
def test_the_object_named_last_is_switched(tmp_path: Path, kind: str, objects: str) -> None:
    tie = "new line.tie bus1=x bus2=e linecode=c length=9 units=km normamps=50\n"
    control = f"new {kind}.r {objects} state=open phasetrip=1e9 groundtrip=1e9\n"
    assert_same(written(tmp_path, HEAD + SUPPLY + FEEDER + tie + control + BASES))


WIRES = """new linecode.w nphases=4 units=km rmatrix=[.5|.05 .5|.05 .05 .5|.05 .05 .05 .9]
~ xmatrix=[.4|.2 .4|.2 .2 .4|.2 .2 .2 .4] normamps=100
new transformer.d buses=[e y.1.2.3.4] conns=[delta wye] kvs=[11 .4] kvas=[400 400] xhl=4
new reactor.g bus1=y.4 bus2=y.0 phases=1 r=1e-6 x=0
new line.y bus1=y.1.2.3.4 bus2=z.1.2.3.4 linecode=w length=100 units=m
"""


def test_a_neutral_that_nothing_uses_carries_no_current(tmp_path: Path) -> None:
    """Its loads return through ground, in OpenDSS without resistance."""
    master = written(tmp_path, f"{HEAD}{SUPPLY}{FEEDER}{WIRES}new load.z bus1=z.1 phases=1 kv=.23 kw=8\n{BASES}")
    assert_same(master)
    assert "1 line reduced by leaving out the neutral" in str(from_opendss(master).report)


def test_loads_to_ground_beside_loads_to_the_neutral_are_refused(tmp_path: Path) -> None:
    both = "new load.z bus1=z.1 phases=1 kv=.23 kw=8\nnew load.n bus1=z.2.4 phases=1 kv=.23 kw=8\n"
    master = written(tmp_path, HEAD + SUPPLY + FEEDER + WIRES + both + BASES)
    assert "load 'z': unsupported: its current returns through ground" in refused(master)
    assert from_opendss(master, neutral="kron").feeder.n_buses == 5


def test_feeders_of_a_folder_and_of_a_transformer_of_its_name_stay_apart(tmp_path: Path) -> None:
    unit = "new transformer.t{0} buses=[src y{0}] conns=[delta wye] kvs=[33 .4] kvas=[400 400] xhl=4\n"
    (tmp_path / "t2").mkdir()
    (tmp_path / "t2" / "lv.dss").write_text(unit.format(1))
    loads = "".join(f"new load.y{i} bus1=y{i} kv=.4 kw=5\n" for i in (1, 2))
    network = from_opendss(written(tmp_path, HEAD + "redirect t2/lv.dss\n" + unit.format(2) + loads + BASES))
    assert network.buses.set_index("name")["feeder"].dropna().to_dict() == {"y1": "t1", "y2": "t2"}


@pytest.mark.parametrize(
    ("line", "copy"),
    [
        ("linecode=c length=.5 units=km", "units=m"),
        ("linecode=c length=500 units=m", "linecode=c length=.3 units=km"),
        ("rmatrix=[.3|.1 .3|.1 .1 .3] xmatrix=[.3|.1 .3|.1 .1 .3] length=.5 units=km", "units=m"),
        ("r1=.16 x1=.1 r0=.5 x0=.3 length=1", "r0=.6"),
        ("switch=y", ""),
    ],
)
def test_lines_like_others_have_no_units(tmp_path: Path, line: str, copy: str) -> None:
    text = FEEDER.replace("linecode=c length=.5 units=km", line + " normamps=200")
    assert_same(written(tmp_path, HEAD + SUPPLY + text + f"new line.m bus1=e bus2=f like=l {copy}\n" + FAR + BASES))


@pytest.mark.parametrize("line", ["linecode=c length=500 units=m", "r1=.16 x1=.1 r0=.5 x0=.3 length=1"])
def test_lines_that_opendss_does_not_copy(tmp_path: Path, line: str) -> None:
    text = FEEDER.replace("linecode=c length=.5 units=km", line + " normamps=200")
    said = refused(written(tmp_path, HEAD + SUPPLY + text + "new line.m bus1=e bus2=f like=l\n" + FAR + BASES))
    assert "line 'm': like=l: OpenDSS does not copy the impedance" in said


FAR = "new load.f bus1=f.1 phases=1 kv=6.351 kw=300\n"


@pytest.mark.parametrize(
    "first", ["kva=40|~ pf=.7|~ kvar=3", "kw=50 kvar=10|set allocationfactors=.2", "kw=-30 pf=.8|~ kvar=2"]
)
@pytest.mark.parametrize("then", ["", "kw=20", "pf=.9", "allocationfactor=.1"])
def test_loads_like_others_have_their_power(tmp_path: Path, first: str, then: str) -> None:
    loads = f"new load.d bus1=e.3 phases=1 kv=6.351 {first}\nnew load.k like=d bus1=e.3 {then}\n".replace("|", "\n")
    assert_same(written(tmp_path, HEAD + SUPPLY + FEEDER + loads + BASES))


@pytest.mark.parametrize("units", ["meters", "millimeters", "feet", "kilometers"])
def test_units_that_versions_of_opendss_read_differently(tmp_path: Path, units: str) -> None:
    text = FEEDER.replace("units=km", f"units={units}")
    assert f"unknown units '{units}'" in refused(written(tmp_path, HEAD + SUPPLY + text + BASES))


@pytest.mark.parametrize(
    "statements",
    [
        # Units before a geometry stay, and no multiplier changes fixed kvar.
        "new wiredata.w rac=.3 runits=km gmrac=4 gmrunits=mm radius=5 radunits=mm normamps=300\n"
        "new linegeometry.g nconds=3 cond=1 wire=w x=0 h=9 units=m cond=2 wire=w x=1 h=9 cond=3 wire=w x=2 h=9\n"
        "new line.m bus1=e bus2=f units=kft length=2 geometry=g\nnew load.m bus1=f kv=11 kw=300\n",
        "new load.m bus1=e kv=11 kw=300 kvar=900 model=6\nset loadmult=.5\n",
        # Steps and their states stay where numsteps is said again.
        "new capacitor.d bus1=e kv=11 kvar=600 numsteps=2 states=[1 0]\nnew capacitor.b like=d bus1=e numsteps=2\n",
        "new capacitor.d bus1=e kv=11 kvar=900 numsteps=3 states=[0 0 1] numsteps=2\n",
        # A resistance beside kvar is in series with the reactance.
        "new reactor.d bus1=e kv=11 kvar=300 r=200\n",
        # Of billed energy only the power is copied.
        "new load.z bus1=e kv=11 kwh=50000 cfactor=3 pf=.8\nnew load.y bus1=e like=z kwh=90000\n",
        # Growth counts from the first year on, for fixed loads too.
        "new load.z bus1=e kv=11 kw=900 status=fixed\nset %growth=10 loadmult=1.2\nset year=3\n",
        # Of a wire's resistances the first one sets the other.
        "new wiredata.w rac=.3 runits=km gmrac=4 gmrunits=mm radius=5 radunits=mm normamps=300\n"
        "new wiredata.v rac=9 like=w rac=1.2\n"
        "new linegeometry.g nconds=3 nphases=3 cond=1 wire=v x=-1 h=9 units=m cond=2 wire=v x=0 h=9 cond=3 wire=v x=1"
        " h=9\nnew line.m bus1=e bus2=f geometry=g length=5 units=km\nnew load.f bus1=f kv=11 kw=900\n",
        # Without any impedance a line is OpenDSS's own, whatever the unit.
        "new line.m bus1=e bus2=f length=30 units=m normamps=300\nnew load.f bus1=f kv=11 kw=300\n",
    ],
)
def test_copies_growth_and_defaults_count_as_in_opendss(statements: str, tmp_path: Path) -> None:
    assert_same(written(tmp_path, HEAD + SUPPLY + FEEDER + statements + BASES))


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        ("set loadm=a\n", "set loadmodel=a: unsupported: all loads as admittances"),
        ("set mode=direct\n", "set mode=direct: unsupported"),
        ("set cktmodel=positive\n", "set cktmodel=positive: unsupported"),
        ("load.a.growth=g\nset year=2\n", "load 'a': unsupported: growth in year 2 by a shape of its own"),
        ("new load.q bus1=e.1.2.3.4 kv=11 kw=300\n", "node 4 of bus 'e', its neutral, is joined to nothing"),
        ("new load.q bus1=e kv=11 conn=delta\nnew load.r bus1=e like=q\n", "give conn=delta after it"),
    ],
)
def test_what_would_be_solved_otherwise_is_refused(statements: str, said: str, tmp_path: Path) -> None:
    assert said in refused(written(tmp_path, HEAD + SUPPLY + FEEDER + statements + BASES))


def test_a_delta_load_like_another_is_one_where_it_says_so(tmp_path: Path) -> None:
    like = "new load.q bus1=e kv=11 kw=300 conn=delta\nnew load.r bus1=e like=q conn=delta\n"
    assert_same(written(tmp_path, HEAD + SUPPLY + FEEDER + like + BASES))
