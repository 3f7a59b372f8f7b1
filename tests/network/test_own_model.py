"""A stranger's network model: written from the page, without a package, and what the base class derives for it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cvxpy as cp
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import amm_opt as ao
from amm_opt.registry import network_model
from amm_opt.study.cli import main
from amm_opt.testing import check_network_model
from amm_opt.testing.cases import rich_case

CASE = "synthetic:buses=70,days=1,seed=3"
PAGE = (Path(__file__).parents[2] / "docs" / "network.md").read_text(encoding="utf-8")
(MODEL,) = re.findall(r"<!-- file: my_model.py -->\n```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "my_model.py"
    path.write_text(MODEL, encoding="utf-8")
    return f"{path}:Transport"


def test_the_page_s_model_is_short_and_keeps_its_promises(script: str) -> None:
    assert len([line for line in MODEL.splitlines() if line.strip()]) <= 40
    kind = network_model(script)
    check_network_model(kind)
    case = ao.load_case(CASE).with_scenario(import_scale=4.0, capacity_scale=3.0)
    free, usual = (ao.simulate(case, "amm", network=network) for network in (kind, "lindistflow"))
    assert free.network == "transport"
    assert free.summary["thermal_violations"] == 0
    assert free.summary["voltage_violations"] == 0  # it has no band
    assert free.summary["unserved_mwh"] <= usual.summary["unserved_mwh"]
    assert free.summary["curtailed_mwh"] == 0.0 < usual.summary["curtailed_mwh"]
    assert ao.verify(free).summary["ac_losses_mwh"] > 0


def test_the_command_line_takes_a_model_from_a_script(script: str, tmp_path: Path) -> None:
    options = ["run", CASE, "--mechanism", "amm", "--steps", "4", "--network", script, "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(main, options)
    assert done.exit_code == 0, done.output
    again = ao.open_run(tmp_path / "run" / "amm")
    assert again.network == "transport"
    assert ao.verify(again, network=script).summary["ac_unsolved_steps"] == 0
    for spec, said in (
        (script.replace("Transport", "Transprt"), "unknown network model in"),
        (script.replace("my_model", "your_model"), "your_model.py not found"),
        ("lindistfow", "script.py:Class"),
    ):
        done = CliRunner().invoke(main, ["run", CASE, "--mechanism", "amm", "--steps", "2", "--network", spec])
        assert done.exit_code == 2
        assert said in " ".join(done.output.split())


class Derived(ao.NetworkModel):
    """LinDistFlow's or LinDist3Flow's state, and nothing else of it."""

    name = "derived"

    def __init__(self, feeder: ao.Feeder) -> None:
        super().__init__(feeder)
        self.of = ao.LinDistFlow(feeder) if feeder.balanced else ao.LinDist3Flow(feeder)
        self.bus, self.phase = self.of.bus, self.of.phase

    def state(self, p_kw: Any, q_kvar: Any) -> ao.NetworkState:
        return self.of.state(p_kw, q_kvar)


def test_what_is_derived_is_what_our_models_say(two_feeders: list[ao.Case]) -> None:
    for case in two_feeders:
        derived, rng = Derived(case.feeder), np.random.default_rng(1)
        ours = derived.of
        p, q = rng.uniform(-5.0, 5.0, (2, 4, ours.n_nodes))
        np.testing.assert_allclose(derived.evaluate(p, q), ours.evaluate(p, q), rtol=0, atol=1e-14)
        k = np.arange(len(ours.quantities.kind))
        for mine, right in zip(derived.rows(k), ours.rows(k), strict=True):
            np.testing.assert_allclose(mine, right, rtol=0, atol=1e-12)
        widening = cp.Variable(nonneg=True)
        u = ours.evaluate(p[0], q[0])
        given = cp.Constant(p[0]), cp.Constant(q[0]), u - widening, u + widening - 0.125
        cp.Problem(cp.Minimize(widening), derived.constraints(*given)).solve(solver=cp.CLARABEL)
        assert widening.value == pytest.approx(0.125, abs=1e-6)
        check_network_model(Derived)


def test_a_conic_model_has_no_rows(two_feeders: list[ao.Case]) -> None:
    model = ao.BranchFlowSOCP(two_feeders[0].feeder)
    with pytest.raises(ao.InputError, match="limited quantities of socp are not affine"):
        model.rows([0])
    assert isinstance(model.linear, ao.LinDistFlow)


class Mesh(ao.NetworkModel):
    """DC power flow of a triangle s, a, b of equal reactances, of which a-b is two lines in parallel."""

    name = "mesh"

    def __init__(self, feeder: ao.Feeder) -> None:
        super().__init__(feeder)
        self.branch = np.array([1, 2, 2, 2])
        self.rating_kva = np.array([20.0, 20.0, 1.0, 1.0])
        self.v_min_pu, self.v_max_pu = np.full(3, -np.inf), np.full(3, np.inf)
        self.factors = np.array([[0, 0, 0, 0], [-4, -2, 1, 1], [-2, -4, -1, -1]]) / 6.0

    def state(self, p_kw: Any, q_kvar: Any) -> ao.NetworkState:
        flow = p_kw @ self.factors
        return ao.NetworkState(np.ones_like(p_kw), flow, 0.0 * flow)


def test_a_meshed_model_with_more_branches_than_nodes() -> None:
    """b - a carries a third of what a draws: 2 kW on two lines let 6 of the 12 kW through, exactly at unity."""
    buses = pd.DataFrame({"name": ["s", "a", "b"], "vn_kv": 0.4, "v_min_pu": 0.9, "v_max_pu": 1.1})
    branches = pd.DataFrame({"name": ["sa", "sb"], "from_bus": "s", "to_bus": ["a", "b"], "r_ohm": 0.0, "x_ohm": 0.1})
    case = ao.from_tables(
        name="triangle",
        buses=buses.assign(v_source_pu=[1.0, np.nan, np.nan]),
        branches=branches,
        participants=pd.DataFrame({"name": ["one", "two"], "bus": ["a", "b"]}),
        profiles=pd.DataFrame({"time": pd.date_range("2030-01-01", periods=2, freq="30min"), "p": [1.0, 1.0]}),
        series=pd.DataFrame(
            [("one", "import", "p", 12.0), ("two", "inflexible", "p", 0.0)],
            columns=["participant", "quantity", "profile", "scale_kw"],
        ),
    )
    for mechanism in ("amm", "leximin", "no_control"):
        run = ao.simulate(case, mechanism, network=Mesh)
        served = 12.0 if mechanism == "no_control" else 6.0
        np.testing.assert_allclose(run.allocation.import_kw, [[served, 0.0]] * 2, atol=1e-4)
        assert run.summary["thermal_violations"] == (4 if mechanism == "no_control" else 0)


@pytest.fixture(scope="module")
def two_feeders() -> list[ao.Case]:
    return [rich_case(True), rich_case(False)]
