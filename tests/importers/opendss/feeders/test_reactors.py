"""Series and shunt reactors, and deltas fed by floating stars, as OpenDSS solves them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("opendssdirect", reason="pip install 'amm-opt[opendss]'")
from opendss_truth import solve

from amm_opt.errors import InputError
from amm_opt.importers import from_opendss
from tests.importers.opendss.test_opendss_random import modelled, voltages

HEAD = """clear
set defaultbasefrequency=60
new circuit.us basekv=12.47 bus1=s model=ideal puzideal=[1e-8 1e-6]
new linecode.c nphases=3 r1=0.2 x1=0.3 r0=0.4 x0=1 c1=9 c0=4 units=km normamps=300
new line.head bus1=s bus2=a linecode=c length=2 units=km
"""
TAIL = "set voltagebases=[12.47 4.16]\nset controlmode=off\n"


def written(folder: Path, text: str) -> Path:
    (folder / "Master.dss").write_text(HEAD + text + TAIL)
    return folder / "Master.dss"


def errors(master: Path) -> dict[tuple[str, int], float]:
    """By bus and phase, in pu."""
    network, truth = from_opendss(master, ratings=300), solve(master, frequency=60.0)
    kv = network.buses.set_index("name")["vn_kv"]
    return {
        (bus, node): v - abs(truth.volts[f"{bus}.{node}"]) / (1000 * kv[bus] / np.sqrt(3))
        for (bus, node), v in modelled(network).items()
    }


REACTORS = [
    "new reactor.r bus1=a bus2=b phases=3 r=0.5 x=2",
    "new reactor.r bus1=a bus2=b z=[0.5 2]",
    "new reactor.r bus1=a bus2=b phases=3 z1=[0.3 1] z0=[0.9 3]",
    "new reactor.r bus1=a bus2=b phases=3 rmatrix=[.2|.1 .2|.1 .1 .2] xmatrix=[.5|.2 .5|.2 .2 .5] normamps=200",
    "new reactor.r bus1=a bus2=b phases=3 lmh=3 r=0.2",
    "new reactor.r bus1=a.1.2.3 bus2=b.1.2.3 kv=12.47 kvar=90000",
    "new line.l bus1=a bus2=b linecode=c length=1\nnew reactor.r bus1=b phases=3 kv=12.47 kvar=600",
    "new line.l bus1=a bus2=b linecode=c length=1\nnew reactor.r bus1=b phases=3 conn=delta kv=12.47 kvar=600",
    "new line.l bus1=a bus2=b linecode=c length=1\nnew reactor.r bus1=b.2 phases=1 kv=7.2 kvar=300",
    "new line.l bus1=a bus2=b linecode=c length=1\nnew reactor.r bus1=b.3 phases=1 r=100 x=150",
]


@pytest.mark.parametrize("reactor", REACTORS)
def test_reactors(tmp_path: Path, reactor: str) -> None:
    text = reactor + "\nnew load.x bus1=b.1 phases=1 kv=7.2 kw=500 pf=.9 vminpu=.1 vmaxpu=2\n"
    text += "new load.y bus1=b phases=3 kv=12.47 kw=1500 pf=.9 vminpu=.1 vmaxpu=2\n"
    assert max(map(abs, errors(written(tmp_path, text)).values())) < 2e-5


@pytest.mark.parametrize("star", ["a", "a.1.2.3.4"])
@pytest.mark.parametrize("more", ["leadlag=lead taps=[1.05 1]", "kvas=[9000 9000] %noloadloss=1 %imag=2"])
def test_a_delta_fed_from_a_star(tmp_path: Path, star: str, more: str) -> None:
    """With ground, which draws by the zero sequence above it, and without; loads below it draw unevenly."""
    text = f"new transformer.t buses=[{star} b] conns=[wye delta] kvs=[12.47 4.16] kvas=[900 900] xhl=6 {more}\n"
    text += "new load.x bus1=a.1 phases=1 kv=7.2 kw=600 vminpu=.1 vmaxpu=2\n"
    text += "new load.y bus1=b phases=3 conn=delta kv=4.16 kw=300 pf=.9 vminpu=.1 vmaxpu=2\n"
    text += "new load.z bus1=b.1.2 phases=1 kv=4.16 kw=200 pf=.9 vminpu=.1 vmaxpu=2\n"
    master = written(tmp_path, text)
    truth, ours = solve(master, frequency=60.0).volts, voltages(from_opendss(master))
    for node in (1, 2, 3):
        assert abs(ours["a", node]) == pytest.approx(abs(truth[f"a.{node}"]) / 12470 * 3**0.5, abs=1e-5)
        other = node % 3 + 1
        between = abs(truth[f"b.{node}"] - truth[f"b.{other}"]) / 4160
        assert abs(ours["b", node] - ours["b", other]) / 3**0.5 == pytest.approx(between, abs=1e-5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "new transformer.t buses=[a.1.2.3.4 b] conns=[wye delta] kvs=[12.47 4.16]\n"
            "new load.x bus1=b.1.2 phases=1 kv=4.16\nnew reactor.n bus1=a.4 bus2=a.0 phases=1 r=5 x=0\n",
            "fed from a star whose point, node 4 of bus 'a', is neither ground itself nor joined to nothing",
        ),
        ("new reactor.r bus1=a.1.2 bus2=a.2.3 phases=2 x=1\n", "unsupported element: a reactor on nodes (1, 2)"),
        ("new reactor.r bus1=a bus2=b x=1 rp=3\n", "rp is not supported"),
    ],
)
def test_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        from_opendss(written(tmp_path, text))
    assert any(said in problem and problem.startswith("Master.dss:") for problem in refused.value.problems)
