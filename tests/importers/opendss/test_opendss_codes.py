"""Transformer codes: what they give, in the order of the statements, as OpenDSS solves them."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("opendssdirect", reason="pip install 'amm-opt[opendss]'")
from amm_opt.importers import from_opendss
from tests.importers.opendss.test_opendss_banks import HEAD, problems, worst_error, written

CODE = """new xfmrcode.q phases=3 windings=2 conns=[delta wye] kvs=[12.47 .48] kvas=[315 315] %rs=[.6 .7] xhl=4.5
~ %noloadloss=.2 %imag=.5 taps=[1 1.025]
"""
LOADS = """new load.f bus1=f.2 phases=1 kv=.277 kw=60 pf=.9 vminpu=0.1 vmaxpu=2
new load.g bus1=f phases=3 kv=.48 kw=100 pf=.95 vminpu=0.1 vmaxpu=2
set voltagebases=[12.47 .48]
"""


@pytest.mark.parametrize(
    "statements",
    [
        "new transformer.t xfmrcode=q buses=[a f]",
        "new transformer.t buses=[a f] kvs=[7 2] taps=[.95 1] %loadloss=9 xhl=9 xfmrcode=q",
        "new transformer.t buses=[a f] xfmrcode=q taps=[.975 1] leadlag=lead xhl=6 %rs=[.5 .5]",
        "new transformer.t xfmrcode=q\n~ wdg=1 bus=a wdg=2 bus=f kva=500\nedit xfmrcode.q xhl=9",
        "edit xfmrcode.q wdg=2 tap=1.05 kva=400 %imag=0\nnew transformer.t xfmrcode=q buses=[a f]",
        "new xfmrcode.one phases=1 kvs=[7.2 .277] kvas=[50 50] %loadloss=1 xhl=2\n"
        "new transformer.t1 xfmrcode=one buses=[a.1 f.1] taps=[1 1.02]\n"
        "new transformer.t3 xfmrcode=one buses=[a.3 f.3]\nnew transformer.t2 xfmrcode=one buses=[a.2 f.2] kva=75",
        "new transformer.o buses=[a o] conns=[delta wye] kvs=[12.47 .48] kvas=[315 315] xhl=4 %imag=5 leadlag=lead\n"
        "new transformer.t like=o buses=[a f]",
        "new xfmrcode.three windings=4 kvs=[1 2 3]\nnew transformer.t xfmrcode=q buses=[a f]",
    ],
)
def test_transformer_codes(tmp_path: Path, statements: str) -> None:
    master = written(tmp_path, HEAD + CODE + statements + "\n" + LOADS)
    assert worst_error(from_opendss(master), master) < 2e-5


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        ("new transformer.t xfmrcode=nope buses=[a f]", "Master.dss:8: transformer 't': unknown xfmrcode 'nope'"),
        ("new xfmrcode.c windings=4\nnew transformer.t xfmrcode=c buses=[a f]", "xfmrcode 'c': 4 windings are not"),
        ("new xfmrcode.c xhl=y\nnew transformer.t xfmrcode=c buses=[a f]", "xfmrcode 'c': cannot read a number: 'y'"),
        ("new xfmrcode.c like=q", "xfmrcode 'c': like=q: OpenDSS copies only a part"),
    ],
)
def test_refused(tmp_path: Path, statements: str, words: str) -> None:
    found = problems(tmp_path, HEAD + CODE + statements + "\n" + LOADS)
    assert any(words in said for said in found), found
