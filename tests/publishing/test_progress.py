"""Bars where somebody looks, a terminal or a notebook, and nothing elsewhere."""

from __future__ import annotations

import subprocess
import sys

import pytest

import amm_opt as ao

CASE = "synthetic:buses=20,days=1,seed=1"
CELL = """
import warnings
warnings.simplefilter("error")
import amm_opt as ao
with ao.progress_bars("amm") as report:
    assert report is not None
    for done in range(48):
        report(done + 1, 48)
print(done + 1)
"""


def test_nothing_is_shown_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with ao.progress_bars("amm") as report:
        assert report is None
        ao.simulate(CASE, "amm", progress=report)
    assert capsys.readouterr() == ("", "")


def test_bars_count_intervals_on_standard_error() -> None:
    code = (
        "import amm_opt as ao\n"
        "with ao.progress_bars('a bar', '[b]') as report:\n"
        "    report(20, 48)\n"
        "    report('[b]', 7, 48)\n"
        "    report('later', 1, 3)\n"
    )
    looks = {"FORCE_COLOR": "1", "COLUMNS": "100"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=looks)
    assert done.stdout == ""
    for shown in ("a bar", "20/48", "[b]", "7/48", "later", "1/3"):
        assert shown in done.stderr


def test_notebooks_have_bars() -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    nbclient.NotebookClient(page, timeout=120, kernel_name="python3").execute()
    outputs = page.cells[0].outputs
    assert "48\n" in [output.get("text") for output in outputs]
    assert any("application/vnd.jupyter.widget-view+json" in output.get("data", {}) for output in outputs)
    assert not any(output.get("name") == "stderr" for output in outputs)
