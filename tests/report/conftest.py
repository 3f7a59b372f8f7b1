"""One comparison with its report, for all tests of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import amm_opt as ao
from amm_opt.cases.folder.report import MadeFrom
from amm_opt.study.cli import main


@pytest.fixture(scope="session")
def odd() -> ao.Case:
    """A small case whose name is no plain text, and that says how it was imported."""
    case = ao.load_case("synthetic:buses=150,days=1,seed=1").with_scenario(import_scale=2.0, export_scale=1.5)
    said = MadeFrom("a file", read=["150 buses"], assumed=["every line is <i>new</i>"], left_out=["2 switches"])
    return replace(case, source="", name="<b>odd</b> & case", report=said)


@pytest.fixture(scope="session")
def reported(odd: ao.Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a comparison, into which ``amm-opt report`` has written."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    result = ao.compare(odd, ["no_control", "equal_doe", "amm"], steps=slice(20, 46))
    folder = result.save(tmp_path_factory.mktemp("report") / "r")
    done = CliRunner().invoke(main, ["report", str(folder)])
    assert done.exit_code == 0, done.output
    return folder
