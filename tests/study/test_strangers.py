"""What a stranger writes from the pages alone is short, and runs.

The pages' network model and importer run in tests/network/test_own_model.py and tests/importers/test_formats.py.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

import amm_opt as ao
from amm_opt.testing import check_backend
from tests.study.test_docs import ROOT

CASE = "synthetic:buses=150,days=2,seed=1"
PARTS = {
    "mechanism": ("README.md", "class SameShare", 15),
    "mechanism with memory": ("docs/writing-a-mechanism.md", "class Remember", 40),
    "network model": ("docs/network.md", "class Transport", 40),
    "backend": ("docs/writing-a-solver.md", "class MySolver", 30),
    "feeder": ("docs/a-feeder-from-pandas.md", "homes = [", 32),
    "importer": ("docs/importers.md", "def two_tables", 25),
    "column": ("docs/results.md", "def evening_mwh", 6),
    "picture": ("docs/results.md", "def draw", 6),
}


def scarce() -> ao.Case:
    """At noon not all export is feasible."""
    return ao.load_case(CASE).with_scenario(export_scale=3.0)


def code(part: str) -> str:
    """The one block of a page that defines this part."""
    page, name, _ = PARTS[part]
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    (found,) = [block for block in blocks if name in block]
    return found


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Gives the module that a part is."""

    def imported(part: str) -> Any:
        module = ModuleType("stranger")
        monkeypatch.setitem(sys.modules, "stranger", module)
        exec(compile(code(part), part, "exec"), module.__dict__)
        return module

    return imported


@pytest.mark.parametrize("part", PARTS)
def test_it_is_short(part: str) -> None:
    lines = [line for line in code(part).splitlines() if line.strip()]
    assert len(lines) <= PARTS[part][2]


def test_a_mechanism_gives_everybody_the_same_share(written: Callable[[str], Any]) -> None:
    run = ao.simulate(scarce(), written("mechanism").SameShare(), steps=slice(20, 46))
    assert run.summary["failed_steps"] == 0
    pairs = [
        (run.requests.import_request_kw, run.allocation.import_kw),
        (run.requests.export_request_kw, run.allocation.export_kw),
    ]
    shares = [given[asked > 1e-3] / asked[asked > 1e-3] for both in pairs for asked, given in zip(*both, strict=True)]
    assert max(np.ptp(s) for s in shares if len(s)) < 1e-4
    assert min(s.min() for s in shares if len(s)) < 0.99


def test_a_mechanism_remembers(written: Callable[[str], Any]) -> None:
    kind = written("mechanism with memory").Remember
    run = ao.simulate(CASE, kind())
    assert run.summary["thermal_violations"] == run.summary["voltage_violations"] == run.summary["failed_steps"] == 0
    assert run.state.delivery_ratio.min() < 0.99
    forgetful = ao.simulate(CASE, kind(kappa=0.0))
    assert run.summary["jain_participant"] > forgetful.summary["jain_participant"]


def test_a_backend_serves_what_ours_serves(written: Callable[[str], Any]) -> None:
    backend = written("backend").MySolver
    check_backend(backend)
    mine, ours = (ao.simulate(scarce(), "amm", solver=solver, steps=slice(20, 32)) for solver in (backend, None))
    assert mine.solver == "mine"
    np.testing.assert_allclose(mine.allocation.export_kw, ours.allocation.export_kw, atol=1e-3)


def test_a_feeder_from_pandas(written: Callable[[str], Any]) -> None:
    """Five roofs of 7 kW behind 30 kVA at noon: 35 kW less what eight homes of 0.3 kW draw do not fit."""
    case = written("feeder").case
    run = ao.simulate(case, "amm", steps=slice(24, 26))
    flow = run.allocation.export_kw.sum(axis=1) - run.requests.inflexible_kw.sum(axis=1)
    assert run.requests.export_request_kw[1].sum() == pytest.approx(35.0)
    assert run.requests.inflexible_kw[1].sum() == pytest.approx(2.4, abs=0.01)
    assert flow[1] == pytest.approx(30.0, abs=0.2)  # 0.8 kvar, and an inner polygon for the circle of the rating
    assert ao.from_tables(name=case.name, **case.tables()).fingerprint == case.fingerprint


def test_a_column_by_hand(written: Callable[[str], Any]) -> None:
    result = ao.compare(CASE, ["equal_doe:enrolled=requesting", "amm"], columns=[written("column").column])
    for label, run in result.runs.items():
        lost = pd.Series(run.requests.import_request_kw.sum(axis=1), index=run.times)
        lost -= run.allocation.import_kw.sum(axis=1)
        kwh = lost.between_time("17:00", "19:59").sum() * run.case.dt_h
        assert result.table.loc[label, "evening_unserved_mwh"] == pytest.approx(kwh / 1000.0, rel=1e-9, abs=1e-12)
    assert result.table["evening_unserved_mwh"].max() > 0


def test_a_picture(written: Callable[[str], Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib").use("Agg")
    result = ao.compare(CASE, ["equal_doe:enrolled=requesting", "amm"])
    written("picture").draw(result, tmp_path / "served.png")
    assert (tmp_path / "served.png").read_bytes()[1:4] == b"PNG"
