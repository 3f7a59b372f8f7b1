"""Plug-ins: broken ones, and mechanisms and network models as classes and instances."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import difference

import amm_opt as ao
from amm_opt.registry import parameters_of, same_feeder
from formulations import AMM, EqualDOE, NoControl

AMM_OPT = str(Path(sys.executable).with_name("amm-opt"))
CASE = "synthetic:buses=20,days=1,seed=1"
BROKEN = {
    "missing": "nothing_here:X",
    "wrong": "strangers:number",
    "leaves": "strangers_that_leave:X",
    "loud": "strangers:Loud",
    "amm": "strangers:Loud",
    "clarabel": "strangers:Loud",
    "lindistflow": "strangers:Loud",
}
STRANGERS = """
print("strangers are here")
number = 3


class Loud:
    name, lp = "loud", True
"""


@pytest.fixture
def strangers(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that has another package's plug-ins, none of which works."""
    info = tmp_path / "strangers-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strangers\nVersion: 1.0\n")
    groups = ("amm_opt.mechanisms", "amm_opt.network_models", "amm_opt.solvers")
    lines = [f"[{g}]\n" + "".join(f"{name} = {value}\n" for name, value in BROKEN.items()) for g in groups]
    (info / "entry_points.txt").write_text("\n".join(lines))
    (tmp_path / "strangers.py").write_text(STRANGERS)
    (tmp_path / "strangers_that_leave.py").write_text("import sys\nsys.exit('no licence')\n")
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


SEVERAL = """
from amm_opt.study.cli import main

for words in {words!r}:
    try:
        main(words)
    except SystemExit as end:
        print("exit", end.code)
"""


def several(env: dict[str, str], *commands: list[str]) -> subprocess.CompletedProcess[str]:
    """Commands in one process, in which the plug-ins of ``env`` are installed."""
    script = [sys.executable, "-c", SEVERAL.format(words=commands)]
    return subprocess.run(script, capture_output=True, text=True, timeout=300, env=env, check=False)


def test_broken_plugins_are_reported_and_left_out(strangers: dict[str, str]) -> None:
    run = ["run", CASE, "--mechanism", "amm", "--solver", "clarabel", "--steps", "2", "--json"]
    done = several(strangers, ["mechanisms", "--json"], ["solvers", "--json"], run)
    listed, solvers, ran, end = done.stdout.split("exit 0\n")
    assert end == "", done.stderr
    assert '"amm"' in listed
    assert '"clarabel"' in solvers
    for group in ("mechanisms", "solvers"):
        assert f"plug-in 'missing' (amm_opt.{group}, package strangers) cannot be loaded: Mod" in done.stderr
        assert f"plug-in 'leaves' (amm_opt.{group}, package strangers)" in done.stderr
    assert "SystemExit: no licence; it is left out" in done.stderr
    assert "strangers are here" in done.stderr
    assert '"loud"' not in listed + solvers
    assert '"mechanism": "amm"' in ran


ASKED: list[tuple[list[str], str]] = [
    (["--mechanism", "missing"], "plug-in 'missing' (amm_opt.mechanisms, package strangers) cannot be loaded"),
    (["--mechanism", "wrong"], "3 is not a subclass of Mechanism"),
    (["--mechanism", "amm", "--network", "leaves"], "cannot be loaded: SystemExit: no licence"),
    (["--mechanism", "amm", "--network", "loud"], "is not a subclass of NetworkModel"),
    (["--mechanism", "amm", "--solver", "loud"], "is no solver: it needs name"),
]


def test_a_broken_plugin_that_is_asked_for_is_named(strangers: dict[str, str]) -> None:
    done = several(strangers, *(["run", CASE, "--steps", "2", *options] for options, _ in ASKED))
    assert done.stdout.splitlines() == ["exit 2"] * len(ASKED)
    for _, said in ASKED:
        assert said in done.stderr
    assert "Traceback" not in done.stderr


class Cautious(ao.LinDistFlow):
    """A model of one's own."""

    name = "cautious"


class Nameless(ao.LinDistFlow):
    """Inherits the name of an installed model."""


def case() -> ao.Case:
    return ao.load_case("synthetic:buses=70,days=1,seed=3").with_scenario(import_scale=2.5)


def test_mechanisms_as_classes() -> None:
    one, usual = ao.simulate(case(), AMM, steps=30), ao.simulate(case(), AMM(), steps=30)
    assert difference(one, usual) == 0.0
    assert list(ao.compare(case(), [EqualDOE, "amm", NoControl()], steps=4).runs) == ["equal_doe", "amm", "no_control"]


def test_network_models_as_classes_and_instances(tmp_path: Path) -> None:
    the_case = case()
    usual = ao.simulate(the_case, "amm", steps=30)
    for given in (Cautious, Cautious(the_case.feeder), Cautious(case().feeder)):
        run = ao.simulate(the_case, "amm", steps=30, network=given)
        assert run.network == "cautious"
        assert difference(usual, run) < 1e-9
    assert ao.compare(the_case, ["amm"], steps=2, network=Cautious).runs["amm"].network == "cautious"
    assert ao.simulate(the_case, "amm", steps=2, network=ao.LinDistFlow).network == "lindistflow"
    name = ao.simulate(the_case, "amm", steps=2, network=Nameless).network
    assert name.endswith(":Nameless")
    spread = ao.simulate(the_case, "equal_doe", network=Cautious, workers=2)
    assert difference(ao.simulate(the_case, "equal_doe"), spread) < 1e-9
    checked = ao.verify(run)
    np.testing.assert_allclose(checked.summary["ac_losses_mwh"], ao.verify(usual).summary["ac_losses_mwh"])
    run.save(tmp_path / "run")
    again = ao.open_run(tmp_path / "run")
    with pytest.raises(ao.InputError, match=r"'cautious', which is not installed: give it as network="):
        ao.verify(again)
    with pytest.raises(ao.InputError, match="network model 'cautious', not 'lindistflow'"):
        ao.verify(again, network="lindistflow")
    assert ao.verify(again, network=Cautious).summary["ac_losses_mwh"] == checked.summary["ac_losses_mwh"]


class Failing(ao.LinDistFlow):
    """Cannot be built."""

    def __init__(self, feeder: Any) -> None:
        raise RuntimeError("no data")


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (3, "network = 3 is not a network model"),
        (AMM(), "is not a network model"),
        (Failing, "network model Failing cannot be built on the feeder: RuntimeError: no data"),
        ("lindistfow", "unknown network 'lindistfow'"),
    ],
)
def test_what_is_no_network_model_is_refused(network: Any, said: str) -> None:
    with pytest.raises(ao.InputError, match=said):
        ao.simulate(case(), "amm", steps=2, network=network)


def test_a_model_of_another_feeder_is_refused() -> None:
    other = case().with_scenario(capacity_scale=0.5)
    assert same_feeder(case().feeder, case().feeder)
    assert not same_feeder(other.feeder, case().feeder)
    with pytest.raises(ao.InputError, match="network 'cautious' was built on another feeder than the case's"):
        ao.simulate(case(), "amm", steps=2, network=Cautious(other.feeder))


class OwnInit(AMM):
    """A mechanism made in a way of its own."""

    def __init__(self, gain: float = 2.0) -> None:
        super().__init__(kappa=gain)


def test_a_mechanism_may_have_an_init_of_its_own() -> None:
    one, usual = (
        ao.compare(CASE, [mechanism], steps=2).runs["amm:kappa=3"] for mechanism in (OwnInit(3.0), AMM(kappa=3))
    )
    assert difference(one, usual) == 0.0
    assert parameters_of(OwnInit) == {}
