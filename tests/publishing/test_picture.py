"""The picture of the README is what the kept results give: drawn again, and compared point by point."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import matplotlib.image as mpl_image
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
SHOWN = ROOT / "docs" / "images" / "winners.png"
KEPT = ROOT / "benchmarks" / "results" / "paper_table_mv33lv_winners.png"


def drawn_with(path: Path) -> str:
    with Image.open(path) as picture:
        return str(picture.info["Software"]).partition(",")[0]


def draw(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    try:
        script = importlib.import_module("paper_table")
        document = json.loads((ROOT / "benchmarks/results/paper_table_mv33lv.json").read_text(encoding="utf-8"))
        script.winners(script.read(document, "mv33lv"), script.KINDS, path)
    finally:
        for name in set(sys.modules) - before:
            if name.split(".")[0] in ("paper_table", "helpers"):
                del sys.modules[name]


def test_the_picture_of_the_readme_is_of_the_kept_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert KEPT.read_bytes() == SHOWN.read_bytes()
    assert f"](docs/images/{SHOWN.name})" in (ROOT / "README.md").read_text(encoding="utf-8")
    path = tmp_path / "winners.png"
    draw(path, monkeypatch)
    release, drawn_by = map(drawn_with, (path, SHOWN))
    if release.rpartition(".")[0] != drawn_by.rpartition(".")[0]:
        pytest.skip(f"drawn by {drawn_by}, here is {release}: letters have other sizes")
    drawn, shown = (mpl_image.imread(file)[..., :3] for file in (path, SHOWN))
    assert drawn.shape == shown.shape
    different = np.any(np.abs(drawn - shown) > 0.1, axis=2)
    assert different.mean() < 1e-4, f"{100 * different.mean():.3f} % of the picture differs: copy {path} to {SHOWN}"
