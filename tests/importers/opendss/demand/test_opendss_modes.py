"""``set mode``: what a file's own solve takes, against OpenDSS solving the same file; which shapes the case follows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

engine = pytest.importorskip("opendssdirect", reason="pip install 'amm-opt[opendss]'")

from amm_opt.errors import InputError  # noqa: E402
from amm_opt.importers import from_opendss  # noqa: E402
from tests.importers.opendss.test_opendss_random import modelled  # noqa: E402

HEAD = """clear
set defaultbasefrequency=60
new circuit.c basekv=12.47 bus1=s model=ideal puzideal=[1e-8 1e-6]
new linecode.c nphases=3 r1=0.4 x1=0.5 r0=0.9 x0=1.4 c1=9 c0=4 units=km normamps=300
new line.l bus1=s bus2=b linecode=c length=4 units=km
new loadshape.d npts=6 interval=1 mult=[0.1 0.7 0.3 0.5 0.9 0.2] qmult=[.2 .1 .6 .3 .5 .4]
new loadshape.y npts=9 minterval=30 mult=[.1 .2 .3 .4 .5 .6 .7 .8 .9]
new loadshape.u npts=4 sinterval=1 mult=[1 .7 .4 .2]
new loadshape.h npts=3 interval=0 hour=[1 3 6] mult=[.2 .9 .4]
new loadshape.k npts=5 interval=1 mult=[500 200 100 900 300] useactual=yes
new load.x bus1=b.1 phases=1 kv=7.2 kw=800 pf=.9 daily=d yearly=y duty=u vminpu=.5 vmaxpu=2
new load.f bus1=b.2 phases=1 kv=7.2 kw=300 daily=d status=fixed vminpu=.5 vmaxpu=2
new load.e bus1=b.3 phases=1 kv=7.2 kw=500 kvar=100 yearly=y status=exempt vminpu=.5 vmaxpu=2
new load.n bus1=b.2 phases=1 kv=7.2 kw=400 daily=h vminpu=.5 vmaxpu=2
new load.k bus1=b.3.1 phases=1 conn=delta kv=12.47 kw=100 pf=.95 daily=k vminpu=.5 vmaxpu=2
set loadmult=0.8 year=3 voltagebases=[12.47]
"""
MODES = (
    "solve",
    "set mode=daily|solve",
    "set number=2 mode=daily|solve",
    "set mode=da num=3 hour=2|solve|solve",
    "solve mode=daily number=5 stepsize=15m sec=1800",
    "set mode=peak number=4|solve|solve",
    "set mode=yearly number=(3 2 *)|solve",
    "set mode=yearly h=1800 time=(2, 600)|solve number=1",
    "set mode=duty number=3|solve",
    "set mode=duty step=1m number=2|solve|set mode=daily number=2|solve mode=snap",
    "set mode=daily number=2|solve|set hour=0",
    "set mode=daily number=4",
)


@pytest.mark.parametrize("statements", MODES)
def test_the_hour_of_the_files_own_solve(tmp_path: Path, statements: str) -> None:
    master = tmp_path / "Master.dss"
    master.write_text(HEAD + statements.replace("|", "\n"))
    network = from_opendss(master, hour="solve")
    here = Path.cwd()
    try:
        for command in ("clearall", f'redirect "{master}"', *(() if "solve" in statements else ("solve",))):
            engine.Text.Command(command)
    finally:
        engine.Text.Command(f'cd "{here}"')
    flat = np.array(engine.Circuit.AllBusVolts())
    truth = dict(zip(engine.Circuit.AllNodeNames(), np.abs(flat[::2] + 1j * flat[1::2]) / 7199.56, strict=True))
    for (bus, node), v in modelled(network).items():
        assert v == pytest.approx(truth[f"{bus}.{node}"], abs=2e-5), (bus, node)


def test_stated_power_is_kept_and_the_report_says_what_the_solve_takes(tmp_path: Path) -> None:
    master = tmp_path / "Master.dss"
    master.write_text(HEAD + "solve mode=daily number=5\n")
    network = from_opendss(master)
    kw = network.customers.set_index("name")["kw"]
    assert kw["x"] == pytest.approx(800 * 0.8 * 1.025**2)
    report = str(network.report)
    assert "the file solves mode=daily, last at hour 5: 3 loads on shapes (daily)" in report
    assert "mode=daily, number" not in report
    noon = from_opendss(master, hour=3)
    assert "customers are those of hour 3" in str(noon.report)
    assert noon.customers.set_index("name")["kw"]["x"] == pytest.approx(0.3 * kw["x"])


def test_the_case_follows_the_shapes_of_the_mode(tmp_path: Path) -> None:
    """Whatever hour the customers are taken at, even one at which they draw nothing; ``shapes`` chooses others."""
    master = tmp_path / "Master.dss"
    master.write_text(HEAD.replace("0.3 0.5", "0 0.5").replace(".6 .3 .5", "0 .3 .5") + "set mode=daily\n")
    stated, idle = (from_opendss(master, hour=hour).demand for hour in (None, 3))
    assert stated is not None
    assert idle is not None
    np.testing.assert_allclose(idle.series["scale_kw"], stated.series["scale_kw"], rtol=0.05)
    np.testing.assert_allclose(idle.participants["power_factor"], stated.participants["power_factor"], rtol=0.05)
    assert list(idle.profiles) == list(stated.profiles) == ["time", "d", "constant", "h", "k kw"]
    half_hours = from_opendss(master, shapes="yearly").demand
    assert half_hours is not None
    assert {"y", "h"} <= set(half_hours.profiles)
    assert len(half_hours.profiles) == 12


def test_what_cannot_be_followed_is_refused(tmp_path: Path) -> None:
    master = tmp_path / "Master.dss"
    for statements, options, said in (
        ("set mode=autoadd", {}, "set mode=autoadd: unsupported: it adds generators or capacitors"),
        ("set mode=daily stepsize=x", {}, "Master.dss:17: set: cannot read a number: 'x' is not a number"),
        ("set mode=M1", {"hour": "solve"}, "hour='solve': mode=m1 of the file is not followed"),
        ("", {"hour": -1.0}, "hour = -1.0 must be 'solve' or a number from 0 to 1e+06"),
        ("", {"shapes": "weekly"}, "shapes = 'weekly'; valid choices: yearly, daily, duty"),
    ):
        master.write_text(HEAD + statements)
        with pytest.raises(InputError) as caught:
            from_opendss(master, **options)
        assert said in str(caught.value)
