"""Reading OpenDSS: the text, what it means, small feeders against OpenDSS itself, and every kind of bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from amm_opt.errors import InputError
from amm_opt.importers import ImportedNetwork, from_opendss
from amm_opt.importers.opendss.dialect.reader import read_script
from amm_opt.importers.opendss.dialect.text import tokens
from amm_opt.importers.opendss.lines.conductors import reduced_neutral
from amm_opt.importers.opendss.ratings import guessed_rating
from amm_opt.network import LinDist3Flow

HEAD = "new circuit.small basekv=0.4 pu=1.05 bus1=src model=ideal\n"
CODE = "new linecode.c nphases=3 units=km r1=0.3 x1=0.1 r0=0.9 x0=0.4 c1=0 c0=0 normamps=200\n"


def written(folder: Path, text: str, **files: str) -> Path:
    for name, content in files.items():
        (folder / f"{name}.dss").write_text(content)
    master = folder / "Master.dss"
    master.write_text(text)
    return master


def problems(folder: Path, text: str, **options: object) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        from_opendss(written(folder, text), **options)  # type: ignore[arg-type]
    return caught.value.problems


# text


def test_tokens_of_a_line() -> None:
    line = "bus1=a.1.2 [x y] kvs=(11, 0.4) name = 'b c', \"d e\" %r=0.5"
    assert tokens(line) == [
        ("bus1", "a.1.2"),
        ("", "x y"),
        ("kvs", "11, 0.4"),
        ("name", "b c"),
        ("", "d e"),
        ("%r", "0.5"),
    ]


def test_continuation_comments_blocks_and_abbreviations(tmp_path: Path) -> None:
    text = """! a comment
NEW Circuit.X BasekV=11 // more
~ BUS1=src   ! and more
/* nothing here counts
new line.no bus1=a bus2=b
*/
new line.One src b2 code1 1.5 phases=3
more uni=km
// ! new line.gone bus1=x
! new line.Tie_OPEN bus1=b2 bus2=c
line.one.LENGTH=2.5
edit line.one normamps=90 rmat=[1 | 0.1 1 | 0.1 0.1 1]
new "line.Two" like=one bus2=b3
open line.two 1
batchedit line..* switch=n
solve
"""
    script = read_script(written(tmp_path, text))
    assert not script.problems
    one, two = script.elements["line", "one"], script.elements["line", "two"]
    assert one.given[:4] == [("bus1", "src"), ("bus2", "b2"), ("linecode", "code1"), ("length", "1.5")]
    assert one.given[4:8] == [("phases", "3"), ("units", "km"), ("length", "2.5"), ("normamps", "90")]
    assert one.given[8:] == [("rmatrix", "1 | 0.1 1 | 0.1 0.1 1"), ("switch", "n")]
    assert two.given[:-3] == [*one.given[2:-1], ("#like", "one")]
    assert two.given[-3:] == [("bus2", "b3"), ("#open", "1"), ("switch", "n")]
    assert script.elements["vsource", "source"].given == [("basekv", "11"), ("bus1", "src")]
    assert script.commented == {"line": ["Tie_OPEN"]}
    assert script.left_out == {"command solve": 1}


def test_redirects_are_relative_to_their_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "lines.dss").write_text("new line.l1 bus1=src bus2=b linecode=c\nredirect more.dss\n")
    (tmp_path / "sub" / "more.dss").write_text("new load.x bus1=b.1 phases=1 kv=0.23 kw=1\n")
    script = read_script(written(tmp_path, HEAD + CODE + "redirect sub\\lines.dss\nredirect gone.dss\n"))
    assert ("load", "x") in script.elements
    assert script.elements["load", "x"].where == ("sub/more.dss", 1)
    assert [p.partition(": ")[0] for p in script.problems] == ["Master.dss:4"]
    assert "gone.dss" in script.problems[0]


# meaning


def only_line(folder: Path, line: str, code: str = CODE) -> np.ndarray:
    net = from_opendss(written(folder, HEAD + code + line), ratings={"c": 100.0, "l1": 100.0})
    return np.asarray(net.feeder.z_ohm[1])


def test_units_of_codes_and_lines(tmp_path: Path) -> None:
    base = only_line(tmp_path, "new line.l1 src b c length=1.2 units=km")
    assert base[0, 0] == pytest.approx(1.2 * complex(1.5, 0.6) / 3)
    assert base[0, 1] == pytest.approx(1.2 * complex(0.6, 0.3) / 3)
    for line in (
        "new line.l1 src b c length=1200 units=m",
        f"new line.l1 src b c length={1.2 / 1.609344} units=mi",
        f"new line.l1 src b c length={1.2 / 0.3048} units=kft",
        f"new line.l1 src b c units=ft length={1200 / 0.3048}",
        "new line.l1 src b c length=1.2",
    ):
        assert np.allclose(only_line(tmp_path, line), base, rtol=1e-12)
    per_kft = CODE.replace("units=km", "units=kft")
    assert np.allclose(only_line(tmp_path, "new line.l1 src b c length=1.2 units=km", per_kft), base / 0.3048)
    own = "new line.l1 src b phases=3 r1=0.3 x1=0.1 r0=0.9 x0=0.4 length=1.2 units=km"
    assert np.allclose(only_line(tmp_path, own), base)


def test_a_switch_has_the_impedance_that_opendss_gives_it(tmp_path: Path) -> None:
    z = only_line(tmp_path, "new line.l1 src b c length=5 units=km switch=y")
    assert np.allclose(z, 0.001 * (1 + 1j) * np.eye(3))


def test_neutral_reductions_by_hand() -> None:
    z = np.full((4, 4), 0.1 + 0.2j) + np.diag([0.3, 0.3, 0.3, 0.4]) * (1 + 0.5j)
    kron, back = (reduced_neutral(z, [0, 1, 2], [3], how) for how in ("kron", "return"))
    nn = z[3, 3]
    assert kron[0, 0] == pytest.approx(z[0, 0] - z[0, 3] ** 2 / nn)
    assert back[0, 0] == pytest.approx(z[0, 0] - 2 * z[0, 3] + nn)
    assert back[0, 1] == pytest.approx(z[0, 1] - 2 * z[0, 3] + nn)


def test_open_and_disabled_branches(tmp_path: Path) -> None:
    text = HEAD + CODE + "new line.l1 src b c\nnew line.l2 b d c\nnew line.l3 src d c\nopen line.l3 1\n"
    text += "new line.l4 src d c enabled=no\nnew load.x bus1=d.2 phases=1 kv=0.231 kw=3 kvar=1.5\n"
    net = from_opendss(written(tmp_path, text))
    assert net.branches.set_index("name")["closed"].to_dict() == {"l1": True, "l2": True, "l3": False}
    assert net.feeder.n_buses == 3
    report = str(net.report)
    assert "1 open branch, kept as open: l3" in report
    assert "1 disabled element: l4" in report
    customer = net.customers.iloc[0]
    assert (customer["bus"], customer["phases"], customer["kw"]) == ("d", "b", 3.0)
    assert customer["power_factor"] == pytest.approx(3 / np.hypot(3, 1.5))


def test_ratings_come_from_the_caller_the_file_and_the_catalogue(tmp_path: Path) -> None:
    text = HEAD + CODE + CODE.replace("linecode.c", "linecode.UGLV_240al_x").replace(" normamps=200", "")
    text += "new line.l1 src b c length=1 units=km\nnew line.l2 b d UGLV_240al_x length=1 units=km\n"
    text += "new line.l3 d e UGLV_240al_x length=1 units=m\n"
    net = from_opendss(written(tmp_path, text))
    volts = 0.4 / np.sqrt(3)
    assert net.branches["rating_kva"].to_numpy() == pytest.approx([200 * volts, 360 * volts, np.inf])
    assert "assumed" in str(net.report)
    net = from_opendss(written(tmp_path, text), ratings={"C": 90.0, "uglv_240AL_x": np.inf})
    assert net.branches["rating_kva"].to_numpy() == pytest.approx([90 * volts, np.inf, np.inf])


# against OpenDSS

FOUR = """new linecode.lv nphases=4 units=kft normamps=300
~ rmatrix=(0.1 | 0.02 0.1 | 0.02 0.02 0.1 | 0.02 0.02 0.02 0.12)
~ xmatrix=[0.08 | 0.03 0.08 | 0.02 0.03 0.08 | 0.03 0.02 0.03 0.09]
~ cmatrix=[0 | 0 0 | 0 0 0 | 0 0 0 0]
"""
MV = "new linecode.mv nphases=3 units=mi r1=0.4 x1=0.35 r0=0.8 x0=1.2 c1=0 c0=0 normamps=200\n"


def delta_wye(lead: str, tap: float, neutral: str, far: str) -> str:
    """11 kV line, a delta-wye transformer, two four-wire lines, unbalanced loads; a large one on MV."""
    n = neutral
    return f"""clear
new circuit.small basekv=11 pu=1.02 bus1=src model=ideal
{MV}{FOUR}new line.l1 bus1=src bus2=m1 linecode=mv length=1500 units=m
new transformer.t1 phases=3 windings=2 buses=[m1 lv0.1.2.3{n}] conns=[delta wye] kvs=[11 0.433] kvas=[200 200]
~ taps=[{tap} 1] xhl=4 %rs=[0.5 0.7] {lead}
new transformer.t2 wdg=1 bus=m1 conn=wye kv=11 kva=500 %r=0.4
~ wdg=2 bus=n1 conn=wye kv=0.4 kva=500 %r=0.4 tap=1.025 xhl=5
new line.a1 bus1=lv0.1.2.3{n} bus2=lv1.1.2.3{far} linecode=lv length=0.2 units=km
new line.a2 bus1=lv1.1.2.3{far} bus2=lv2.1.2.3{far} linecode=lv length=120 units=m
new line.b1 bus1=n1.1.3.0 bus2=n2.1.3.0 length=0.1 units=km normamps=150 phases=3 rmatrix=[.3|.1 .3|.1 .1 .3]
~ xmatrix=[.2|.1 .2|.1 .1 .2] cmatrix=[0|0 0|0 0 0]
new load.x bus1=lv1.1{far} phases=1 kv=0.25 kw=20 pf=0.95 vminpu=0.1 vmaxpu=2
new load.y bus1=lv2.2{far} phases=1 kv=0.25 kw=12 pf=-0.9 vminpu=0.1 vmaxpu=2
new load.z bus1=lv2.3{far} phases=1 kv=0.25 kw=-8 pf=1 vminpu=0.1 vmaxpu=2
new load.m bus1=m1 phases=3 conn=delta kv=11 kw=600 kvar=150 vminpu=0.1 vmaxpu=2
new load.n bus1=n2.3.0 phases=1 kv=0.23 kw=30 pf=0.97 vminpu=0.1 vmaxpu=2
"""


def powers(net: ImportedNetwork, model: LinDist3Flow) -> tuple[np.ndarray, np.ndarray]:
    people = net.customers
    bus = np.array([net.feeder.bus_index[b] for b in people["bus"]])
    spread = model.incidence(bus, tuple(people["phases"]))
    factor = people["power_factor"].to_numpy()
    p = people["kw"].to_numpy()
    q = np.abs(p) * np.sqrt(1 / factor**2 - 1) * np.sign(factor) * np.sign(p)
    return -(spread @ p), -(spread @ q)


@pytest.mark.parametrize(("lead", "group"), [("leadlag=euro", "Dyn11"), ("", "Dyn1")])
@pytest.mark.parametrize(("neutral", "far", "how"), [(".0", ".0", "Kron"), (".4", ".4", "neutral return")])
@pytest.mark.parametrize("tap", [1.0, 1.05])
def test_small_feeders_agree_with_opendss(
    tmp_path: Path, lead: str, group: str, neutral: str, far: str, how: str, tap: float
) -> None:
    pytest.importorskip("opendssdirect", reason="pip install 'amm-opt[opendss]'")
    from opendss_truth import solve

    text = delta_wye(lead, tap, neutral, far)
    if neutral == ".4":
        text += "new reactor.g phases=1 bus1=lv0.4 bus2=lv0.0 r=0.0001 x=0\n"
    master = written(tmp_path, text)
    net = from_opendss(master, nominal_kv=(11.0, 0.4))
    assert f"lines reduced by {how}" in str(net.report)
    assert group in set(net.branches["vector_group"])
    truth = solve(master)
    model = LinDist3Flow(net.feeder)
    p, q = powers(net, model)
    v = model.power_flow(p, q)
    for node, (bus, phase) in enumerate(zip(model.bus, model.phase, strict=True)):
        name = net.feeder.bus_names[bus]
        below = 4 if neutral == ".4" and name.startswith("lv") else 0
        exact = truth.phase_neutral(name, phase + 1, below) / (1000 * net.feeder.vn_kv[bus] / np.sqrt(3))
        assert v[node] == pytest.approx(exact, abs=2e-5), name
    around = model.around(p, q)
    sent = around.state(p, q)
    assert sent.p_flow_kw[model.bus == 0].sum() == pytest.approx(truth.source_kw, rel=1e-5)
    assert sent.q_flow_kvar[model.bus == 0].sum() == pytest.approx(truth.source_kvar, rel=1e-4)
    flat = model.state(p, q)
    assert np.abs(flat.v_pu - np.abs(v)).max() < 0.02
    assert flat.p_flow_kw[model.bus == 0].sum() == pytest.approx(-p.sum())


# bad input


def test_every_problem_is_listed_with_file_and_line(tmp_path: Path) -> None:
    text = (
        HEAD
        + CODE
        + """new line.l1 src b nosuchcode
new line.l2 src d c lenght=3
new indmach012.c1 bus1=b kw=100
new transformer.t1 windings=4 buses=[src e f]
new line.l3 src g
new reactor.r1 bus1=b kvar=10 rp=9
new line.l4 src b c units=furlong
new linecode.bad nphases=2 rmatrix=[1 2 3]
new line.l1 src x c
edit line.nobody length=3
new line.l5 src h c length=abc
frobnicate now
new line.l6 src i phases=1 rmatrix=[0.1]
"""
    )
    found = problems(tmp_path, text)
    for line, words in (
        (3, "unknown linecode 'nosuchcode'"),
        (4, "unknown property 'lenght'"),
        (5, "unsupported element 'indmach012.c1'"),
        (6, "4 windings are not supported"),
        (7, "missing rating"),
        (8, "rp is not supported"),
        (9, "unknown units 'furlong'; valid choices: none, mi"),
        (10, "is not a matrix of 2 conductors"),
        (11, "line 'l1' is defined again; first at Master.dss:3"),
        (12, "edit of an unknown line 'nobody'"),
        (13, "cannot read a number"),
        (14, "unknown command 'frobnicate'"),
        (15, "xmatrix is missing"),
    ):
        assert any(p.startswith(f"Master.dss:{line}: ") and words in p for p in found), (line, words, found)
    assert len(found) == 14


def test_missing_ratings_bases_and_loads_are_listed_together(tmp_path: Path) -> None:
    text = HEAD.replace("0.4", "11") + CODE.replace(" normamps=200", "") + "new line.l1 src b c\n"
    text += "new transformer.t buses=[b d] kvs=[22 0.4] conns=[delta wye]\n"
    text += "new line.l2 d e c\nnew load.x bus1=e.1 phases=1 kv=0.4\nnew load.y bus1=nowhere kv=0.4\n"
    text += "new load.z bus1=e.1.1 phases=1 kv=0.4\n"
    text += "new transformer.u buses=[d k] kvs=[.4 .4] phases=2 conns=[wye delta]\n"
    found = problems(tmp_path, text)
    for line, words in (
        (3, " and 1 more lines: missing rating: no normamps, and 'c' (2,000 m) is not in the catalogue"),
        (4, "inconsistent base voltage: kv at bus 'b' is 22 kV, the bus is at 11 kV"),
        (6, "inconsistent base voltage: kv = 0.4 at bus 'e' is 0.6928 kV, the bus is at 0.4 kV"),
        (7, "unknown bus 'nowhere'"),
        (8, "unsupported element: nodes (1, 1"),
        (9, "unsupported element: connection delta-wye on nodes"),
    ):
        assert any(p.startswith(f"Master.dss:{line}: ") and words in p for p in found), (line, words, found)


def test_a_rating_is_missing_once_per_conductor_and_what_to_pass_is_said(tmp_path: Path) -> None:
    text = (
        HEAD
        + CODE.replace(" normamps=200", "")
        + CODE.replace("linecode.c", "linecode.thin").replace("r1=0.3", "r1=1.2")
    )
    text = text.replace(" normamps=200", "").replace("basekv=0.4", "basekv=0.4")
    text += "new line.l1 src b c length=0.1\nnew line.l2 b d c length=0.2\nnew line.l3 d e thin length=0.05\n"
    found = problems(tmp_path, text)
    assert len(found) == 3
    assert found[0].startswith("Master.dss:4: line 'l1' and 1 more lines: missing rating")
    assert "'c' (300 m)" in found[0]
    assert "line 'l3': missing rating: no normamps, and 'thin' (50 m)" in found[1]
    assert found[2].startswith("pass ratings={'c': 200, 'thin': 90} with your own figures")
    master = written(tmp_path, text)

    def kva(ratings: object) -> dict[str, float]:
        network = from_opendss(master, ratings=ratings)  # type: ignore[arg-type]
        return dict(zip(network.branches["name"], network.branches["rating_kva"], strict=True))

    per_amp = 0.4 / np.sqrt(3)
    assert kva(250.0) == pytest.approx({"l1": 250 * per_amp, "l2": 250 * per_amp, "l3": 250 * per_amp})
    assert kva({"thin": 60, "*": 300}) == pytest.approx({"l1": 300 * per_amp, "l2": 300 * per_amp, "l3": 60 * per_amp})
    assert kva("guess") == pytest.approx({"l1": 200 * per_amp, "l2": 200 * per_amp, "l3": 90 * per_amp})
    assert kva(np.inf)["l3"] == np.inf
    assert "guessed from resistance: an assumption" in str(from_opendss(master, ratings="guess").report)
    for wrong in (0, "lots", {"c": -1}, {"*": "some"}):
        with pytest.raises(InputError, match="must be a positive number of A, inf or 'guess'"):
            from_opendss(master, ratings=wrong)  # type: ignore[arg-type]


def test_guesses_meet_the_catalogue() -> None:
    """Resistances at 20 C of tables of conductors: copper 4, 16, 120, 185 mm2, aluminium 95 and 240 mm2."""
    known = {4.61: 40, 1.15: 95, 0.153: 300, 0.0991: 385, 0.32: 205, 0.125: 360}
    for ohm_per_km, amps in known.items():
        guess = guessed_rating("c", ohm_per_km)
        assert guess is not None
        assert guess.amps == pytest.approx(amps, rel=0.125)
    assert guessed_rating("c", float("nan")) is None


def test_a_mesh_offers_the_open_points(tmp_path: Path) -> None:
    text = HEAD + CODE + "new line.l1 src b c\nnew line.l2 b d c\nnew line.s1 d src c switch=yes\n"
    text += "new transformer.l3 buses=[b e] kvs=[.4 .4] conns=[wye wye]\nnew line.l4 b e c\n"
    found = problems(tmp_path, text)
    assert found == (
        "mesh: open one of line 'l4' (Master.dss:7)",
        "mesh: open one of line 's1' (Master.dss:5)",
    )
    net = from_opendss(written(tmp_path, text + "open line.s1 1\nopen line.l4 2\n"))
    assert net.feeder.n_buses == 4


def test_lines_side_by_side_are_one_branch(tmp_path: Path) -> None:
    """By hand: two equal ones have half the impedance and twice the amperes; three of one phase each are a diagonal."""
    net = from_opendss(written(tmp_path, HEAD + CODE + "new line.l1 src b c\nnew line.l2 b src c\n"))
    assert np.allclose(net.feeder.z_ohm[1], only_line(tmp_path, "new line.l1 src b c") / 2)
    assert net.feeder.rating_kva[1] == pytest.approx(400 * 0.4 / np.sqrt(3))
    assert net.branches["name"].tolist() == ["l1+l2"]
    one = "new line.{0} src.{1} b.{1} phases=1 r1={2} x1=0.2 length=2 normamps={3}\n"
    text = HEAD + one.format("u", 2, 0.3, 50) + one.format("v", 1, 0.4, 60) + one.format("w", 3, 0.5, 70)
    net = from_opendss(written(tmp_path, text + "new load.x bus1=b phases=3 kv=0.4 kw=3\n"))
    assert net.branches[["name", "phases"]].to_numpy().tolist() == [["u+v+w", "abc"]]
    assert np.allclose(net.feeder.z_ohm[1], np.diag([0.8, 0.6, 1.0]) + 0.4j * np.eye(3))
    assert net.feeder.rating_kva[1] == pytest.approx(50 * 0.4 / np.sqrt(3))
    assert "lines side by side are one branch: u+v+w" in str(net.report)


def test_bases_that_two_paths_disagree_on(tmp_path: Path) -> None:
    text = HEAD.replace("0.4", "11") + CODE + "new transformer.t buses=[src b] kvs=[11 0.4] conns=[delta wye]\n"
    text += "new transformer.u buses=[src d] kvs=[11 6.6] conns=[delta wye]\nnew line.l1 b d c\n"
    found = problems(tmp_path, text)
    assert any("inconsistent base voltage: bus" in p and p.startswith("Master.dss:") for p in found)
    assert any(p.startswith("mesh: open one of line 'l1'") for p in found)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"xhl": "ohm"}, "xhl = 'ohm'; valid choices: percent, per_unit"), ({"neutral": "no"}, "neutral = 'no'")],
)
def test_unknown_options(tmp_path: Path, options: dict[str, str], words: str) -> None:
    assert words in problems(tmp_path, HEAD, **options)[0]


def test_no_file_and_no_circuit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not found"):
        from_opendss(tmp_path / "nothing.dss")
    assert "no circuit" in problems(tmp_path, CODE)[0]
