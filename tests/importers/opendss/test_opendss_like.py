"""``like=`` of every class: as OpenDSS copies it, whatever stands before and after, or refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("opendssdirect", reason="pip install 'amm-opt[opendss]'")

from tests.importers.opendss.test_opendss_judged import BASES, FEEDER, HEAD, SUPPLY, assert_same, refused, written

FIRST = "new transformer.o buses=[e y] kvs=[11 .4] kvas=[400 400] conns=[delta wye] xhl=6 %rs=[.4 .5] leadlag=lead"
LOAD = "new load.{0} bus1={0} kv=.4 kw=90\n"


@pytest.mark.parametrize(
    "second",
    [
        "like=o buses=[e z]",
        "xhl=15 taps=[.97 1] %imag=4 leadlag=lead like=o buses=[e z]",
        "buses=[e z] kvs=[33 11] like=o\n~ %rs=[1 1]".replace("\n~", "\nedit transformer.p"),
        "like=o wdg=1 bus=e wdg=2 bus=z tap=1.05",
        "like=o buses=[e z]\nedit transformer.o xhl=12 %rs=[3 3]",
        "buses=[e z] kvs=[11 .4] xhl=9 xscarray=[3]",
        "buses=[e z] kvs=[11 .4]\nedit transformer.p xscarray=[3]",
    ],
)
def test_transformers(tmp_path: Path, second: str) -> None:
    text = f"{FIRST}\nnew transformer.p {second}\n{LOAD.format('y')}{LOAD.format('z')}"
    assert_same(written(tmp_path, HEAD + SUPPLY + FEEDER + text + BASES))


@pytest.mark.parametrize(
    "statements",
    [
        # What is given before counts no more, nor what the other one does not say.
        "new load.o bus1=e kv=11 kw=300 pf=.9\nnew load.p model=5 status=fixed kw=50 like=o bus1=x\nset loadmult=.5",
        "new capacitor.o bus1=e kv=11 kvar=300\nnew capacitor.p numsteps=3 states=[1 0 0] like=o bus1=x",
        "new reactor.o bus1=e kv=11 kvar=300 r=20\nnew reactor.p x=9 like=o bus1=x r=60",
        "new reactor.o bus1=e bus2=f r=.2 x=.4\nnew load.f bus1=f.1 phases=1 kv=6.351 kw=300\nedit reactor.o z0=[3 9]",
        # The tap number is of the control that says it.
        "new transformer.o buses=[e y] kvs=[11 11] kvas=[900 900]\nnew regcontrol.o transformer=o winding=2 tapnum=4\n"
        "new transformer.p buses=[e z] kvs=[11 11] kvas=[900 900]\nnew regcontrol.p like=o transformer=p\n"
        "set controlmode=off",
        "new linecode.o nphases=3 r1=.5 x1=.7 r0=1 x0=2 c1=4 c0=2 units=km\nnew linecode.p like=o units=km x1=.9\n"
        "new line.p bus1=e bus2=f linecode=p length=900 units=m normamps=99\nnew load.f bus1=f kv=11 kw=300",
    ],
)
def test_other_elements(tmp_path: Path, statements: str) -> None:
    assert_same(written(tmp_path, f"{HEAD}{SUPPLY}{FEEDER}{statements}\n{BASES}"))


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (
            "new linecode.o nphases=1 rmatrix=[1] xmatrix=[1]\nnew linecode.p like=o",
            "does not copy matrices as they are",
        ),
        ("new line.p length=3 like=l bus1=e bus2=f", "like=l replaces what stands before it in parts; give it first"),
        ("new vsource.p like=source bus1=f", "vsource 'p': like=source: OpenDSS copies only a part; give its values"),
        ("new swtcontrol.o switchedobj=line.l\nnew swtcontrol.p like=o", "swtcontrol 'p': like=o: OpenDSS copies only"),
        ("new capacitor.o bus1=e kv=11 kvar=300 conn=delta numsteps=2", "several steps in delta: OpenDSS adds every"),
        ("new reactor.o bus1=e bus2=f rmatrix=[1|0 1|0 0 1]", "reactor 'o': xmatrix is missing"),
        ("new reactor.o bus1=e kv=11 kvar=0", "its values give no finite impedance or power"),
        ("new transformer.o buses=[e y] kvs=[11 10001]", "transformer 'o': kv = 10001 is more than 10000"),
        ("new load.o bus1=e kv=1e200", "'1e200' is beyond any quantity"),
        ("set year=2030", "set year=2030 %growth=2.5: at most 1000 each"),
    ],
)
def test_what_is_copied_in_part_or_beyond_reason_is_refused(tmp_path: Path, statements: str, said: str) -> None:
    assert said in refused(written(tmp_path, f"{HEAD}{SUPPLY}{FEEDER}{statements}\n{BASES}"))
