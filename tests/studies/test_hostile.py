"""Studies that make no sense are refused whole; nothing that was asked for is left out without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import amm_opt as ao

CASE = "synthetic:buses=70,days=1,seed=3"


def made(**options: Any) -> ao.Study:
    return ao.Study(CASE, "no_control", **{"steps": 4, **options})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"parameters": {"scenario.import_scale": [np.nan, 1.0]}}, "scenario.import_scale = nan must be a number"),
        ({"parameters": {"scenario.import_scale": [None]}}, "scenario.import_scale = None must be a number"),
        ({"parameters": {"scenario.import_scale": [1, 1.0]}}, "has a value twice"),
        ({"parameters": {"scenario": {"import_scale": [1]}, "scenario.import_scale": [2]}}, "is given twice"),
        ({"variants": [{"scenario": {"import_scale": 1}, "scenario.import_scale": 2}]}, "is given twice"),
        ({"variants": pd.DataFrame([[1, 2]], columns=["ratings.all"] * 2)}, "column ratings.all is there twice"),
        ({"network": []}, "network: the list is empty"),
        ({"solver": ["clarabel", "clarabel"]}, "solver: two of the list are called 'clarabel'"),
        ({"forecast": [lambda *_: 1, lambda *_: 2]}, "forecast: two of the list are called '<lambda>'"),
        ({"parameters": {"ratings.all": np.linspace(0.1, 1, 400), "ratings.MV": np.linspace(0.1, 1, 400)}}, "160,000"),
        ({"parameters": {"ratings.all": {"from": 0.1, "to": 1, "count": 10**12}}}, "at most 100,000"),
        ({"sample": ao.Sample({"ratings.all": (0.1, 1)}, count=2**40)}, "1,099,511,627,776 variants"),
        ({"sample": ao.Sample({"uptake.ev": (0.1, 1), "uptake.seed": (0.5, 3.7)}, count=2)}, "must be whole numbers"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ao.InputError, match=sentence):
        made(**options)


def test_workers_need_an_executor_that_has_some() -> None:
    with pytest.raises(ao.InputError, match="workers = 2 needs an executor that has workers"):
        made().run(workers=2)


def test_variants_that_leave_a_parameter_as_it_was_stay_in_views() -> None:
    """Here 48 intervals of one case, at import scales 1 (left out) and 3."""
    rows = [{}, {"scenario.import_scale": 3.0}]
    result = ao.Study(CASE, "no_control", variants=rows).run()
    table = result.pivot("requested_import_mwh", "scenario.import_scale")["requested_import_mwh"]
    assert table.index.isna().sum() == 1
    assert table[3.0] == pytest.approx(3 * table[table.index.isna()].iloc[0])
    for index, columns in (("case", "case"), (None, None)):
        with pytest.raises(ao.InputError, match="must be two parameters"):
            result.pivot("unserved_mwh", index, columns)  # type: ignore[arg-type]


SCRIPT = """
from formulations import NoControl


class Mine(NoControl):
    name = "mine"
"""


def test_folders_and_scripts_are_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is read from, the study is the same and can be gone on with; its cases are called as in it."""
    home = tmp_path / "my stüdies"
    home.mkdir()
    ao.save_case(ao.load_case(CASE), home / "case one")
    (home / "mine.py").write_text(SCRIPT, encoding="utf-8")
    text = 'case = ["case one"]\nmechanism = ["mine.py:Mine"]\nsteps = 2\n'
    (home / "study.toml").write_text(text, encoding="utf-8")
    first = ao.read_study(home / "study.toml").run(tmp_path / "out")
    assert list(first.table["case"]) == ["case one"]
    assert list(first.table["mechanism"]) == ["mine"]
    monkeypatch.chdir(home)
    again = ao.read_study("study.toml").run(tmp_path / "out", resume=True)
    assert again.outcomes.equals(first.outcomes)
