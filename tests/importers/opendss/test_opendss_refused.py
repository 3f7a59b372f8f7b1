"""OpenDSS files: what is not used is reported, what would change the network is refused, feeders have names."""

from __future__ import annotations

from pathlib import Path

import pytest

from amm_opt.importers import from_opendss
from tests.importers.opendss.test_opendss import CODE, HEAD, problems, written


def test_what_is_not_used_is_reported(tmp_path: Path) -> None:
    text = HEAD + CODE + "new line.l1 src b c emergamps=400 faultrate=1\nnew line.l2 b d c emergamps=500\n"
    text += "new loadshape.day npts=1 interval=1 mult=[1]\nnew load.x bus1=d.1 phases=1 kv=0.23 kw=1 numcust=4\n"
    text += "~ daily=day duty=day class=2 rneut=3\n"
    text += "new monitor.m element=line.l1\nset year=2\n"
    text += "set mode=daily number=24 tolerance=1e-6\nsolve\n"
    report = str(from_opendss(written(tmp_path, text)).report)
    for said in (
        "properties of line elements that are not used: emergamps (2), faultrate (1)",
        "properties of load elements that are not used: numcust (1), class (1), rneut (1)",
        "options that are not used: tolerance=1e-6",
        "1 x monitor",
        "1 x command solve",
        "set year=2 multiplies all loads by 1.025: 2.5 % of growth a year",
    ):
        assert said in report, said


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("allocateloads", "unsupported command 'allocateloads': it changes elements"),
        ("reduce", "unsupported command 'reduce'"),
        ("var @x=3", "unsupported command 'var'"),
        ("set loadmult=x", "set loadmult=x: 'x' is not a number"),
        ("new circuit.second basekv=11", "only one circuit is supported: circuit 'second' follows 'small'"),
        ("edit vsource.source phases=2", "a source of 2 phases; only one and three are supported"),
        ("edit vsource.source sequence=neg", "only the positive one is supported"),
        ("open vsource.source", "opening the source is not supported"),
        ("new line.m b d phases=3 r1=1 x1=1 rmatrix=[1|0 1|0 0 1]", "rmatrix beside r1, x1: of matrices and sequence"),
        ("new linecode.z nphases=3 r1=1 basefreq=50\nnew line.m b d z", "basefreq = 50, but the circuit is at 60 Hz"),
        ("new line.m b d c length=0", "length = 0 must be positive"),
        ("new line.m b d c normamps=0", "normamps = 0.0 must be positive"),
        ("new line. b d c", "an element needs a name"),
        ("new line.m b.2.3.1 d c", "its phases change places between its ends"),
        (
            "new line.m b.1 d.1 phases=1 r1=1 normamps=9\nnew line.n d e c",
            "line 'n': phase b, c does not arrive at bus",
        ),
        ("new load.m b.1 d.1\nnew load.n bus1=b kv=0.4 kw=(1 0 /)", "'1 0 /' is not a number"),
        ("new transformer.m buses=[b d] kvs=[0.4 0.4] xfmrcode=q", "unknown xfmrcode 'q'"),
        ("new transformer.m buses=[b d] kvs=[0.4 0.4] windings=2", "windings must be given before"),
        ("new transformer.m buses=[b d] kvs=[0.4 -1]", "kv = -1 must be positive"),
        ("new transformer.m buses=[b d e] kvs=[0.4 0.4]", "needs a value for each of the 2 windings"),
        ("new capacitor.m bus1=b bus2=d kvar=9 kv=0.4", "a capacitor between 'b' and 'd', not to ground"),
        ("new capacitor.m bus1=b kvar=9 kv=0.4 cuf=3", "cuf is not supported"),
        ("new capacitor.m bus1=b kvar=9 kv=11", "kv = 11 at bus 'b' is 11 kV, the bus is at 0.4 kV"),
        ("new reactor.m bus1=b r=1 rmatrix=[1]", "unsupported element: a reactor on nodes (1, 2, 3)"),
        ("select", "select without an element"),
        ("batchedit line.( r1=1", "is not a regular expression"),
    ],
)
def test_what_would_change_the_network_is_refused(tmp_path: Path, statement: str, words: str) -> None:
    text = HEAD + CODE + "new line.l1 src b c\n" + statement.replace("\\n", "\n") + "\n"
    found = problems(tmp_path, text)
    assert any(words in said for said in found), found


def test_the_network_has_no_line(tmp_path: Path) -> None:
    assert problems(tmp_path, HEAD + "new load.x bus1=src.1 phases=1 kv=0.23\n") == (
        "no line and no transformer: the source feeds nothing",
    )


def test_lv_feeders_are_named(tmp_path: Path) -> None:
    """After the transformer's folder, the transformer, or the circuit where the source is LV."""
    lv = from_opendss(written(tmp_path, HEAD + CODE + "new line.l1 src b c\n")).buses
    assert set(lv["feeder"]) == {"small"}
    head = HEAD.replace("0.4", "11") + "set voltagebases=[11 0.4]\n"
    one = "new transformer.{0} buses=[src {0}x] kvs=[11 .4] conns=[delta wye]\n"
    (tmp_path / "east").mkdir()
    (tmp_path / "east" / "net.dss").write_text(one.format("t3"))
    text = head + one.format("t1") + one.format("t2") + "redirect east/net.dss\n"
    buses = from_opendss(written(tmp_path, text)).buses.set_index("name")["feeder"]
    assert buses.dropna().to_dict() == {"t1x": "t1", "t2x": "t2", "t3x": "east"}
