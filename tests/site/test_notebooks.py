"""The notebooks run, and what is kept in them is what they give."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.study.test_docs import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
BYTES = 60_000
NUMBER = re.compile(r"(?<![\w.:-])-?\d+(?:\.\d+)?(?:e[+-]\d+)?(?![\w.:-])")


def texts(of: list[Any]) -> list[list[str]]:
    """What each code cell printed or showed as text. What a busy machine makes a library warn of is not counted."""
    found = []
    for cell in of:
        if cell["cell_type"] == "code":
            said = [o for o in cell["outputs"] if o.get("name") != "stderr"]
            shown = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in said]
            found.append(["".join(text) for text in shown])
    return found


def numbers(outputs: list[str]) -> list[float]:
    return sorted(float(n) for text in outputs for n in NUMBER.findall(text) if not text.startswith("<Figure"))


def cells(path: Path) -> list[Any]:
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert isinstance(found, list)
    return found


def test_notebooks_run_and_give_what_is_kept_in_them(tmp_path: Path) -> None:
    """All in one kernel. Numbers are compared, so that another version of a table's layout is no difference."""
    pytest.importorskip("nbclient")
    pytest.importorskip("distributed")
    script = ROOT / "benchmarks" / "pages" / "notebooks.py"
    done = subprocess.run([sys.executable, script, "--out", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(NOTEBOOKS) >= 6
    for path in NOTEBOOKS:
        pairs = zip(texts(cells(path)), texts(cells(tmp_path / path.name)), strict=True)
        for number, (kept, new) in enumerate(pairs):
            assert numbers(new) == pytest.approx(numbers(kept), rel=1e-3, abs=2e-3), f"{path.name}, cell {number}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_what_is_kept_is_small_and_without_errors(path: Path) -> None:
    assert path.stat().st_size < BYTES
    first, *rest = cells(path)
    assert first["cell_type"] == "markdown"
    assert "".join(first["source"]).startswith("# ")
    outputs = [output for cell in rest if cell["cell_type"] == "code" for output in cell["outputs"]]
    assert outputs
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
