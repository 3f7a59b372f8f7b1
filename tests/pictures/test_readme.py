"""The picture of the README is what its script draws from the results that are kept."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

image = pytest.importorskip("matplotlib.image")
ROOT = Path(__file__).parents[2]
KEPT = ROOT / "benchmarks" / "results" / "paper_table_mv33lv"


def grey(path: Path) -> np.ndarray:
    """Darkness from 0 to 1, in squares of 8 dots, so that a letter may be half a dot off."""
    dots = 1.0 - image.imread(path)[..., :3].mean(axis=2)
    high, wide = (n // 8 * 8 for n in dots.shape)
    return dots[:high, :wide].reshape(high // 8, 8, wide // 8, 8).mean(axis=(1, 3))


def test_the_picture_of_the_readme_is_rebuilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    try:
        script = importlib.import_module("paper_table")
        document = json.loads(KEPT.with_suffix(".json").read_text(encoding="utf-8"))
        monkeypatch.setattr(script, "draw_months", lambda found, path: None)
        monkeypatch.setattr(script, "markdown", lambda *_: "")
        script._write(document, "mv33lv", tmp_path / "again")
    finally:
        for name in set(sys.modules) - before:
            if name.split(".")[0] in ("paper_table", "helpers"):
                del sys.modules[name]
    drawn = grey(tmp_path / "again_winners.png")
    for kept in (ROOT / "docs" / "images" / "winners.png", KEPT.with_name(f"{KEPT.name}_winners.png")):
        there = grey(kept)
        assert drawn.shape == there.shape
        assert float(np.mean(np.abs(drawn - there))) < 0.15 * float(there.mean())
    assert "images/winners.png" in (ROOT / "README.md").read_text(encoding="utf-8")
