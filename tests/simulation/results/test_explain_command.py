"""``amm-opt explain``: what it prints, in which width, and its exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from in_process import Done, amm_opt
from rich.cells import cell_len

import amm_opt as ao
from amm_opt.study.cli import main


def explain(*words: object, columns: int = 80) -> Done:
    return amm_opt("explain", *words, columns=columns)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explain") / "out"
    names = ["amm", "no_control", "equal_doe"]
    ao.compare("synthetic:buses=70,days=1,seed=3", names, steps=slice(20, 46), out=folder)
    return folder


@pytest.mark.parametrize("columns", [40, 160])
def test_widths(out: Path, columns: int) -> None:
    assert max(map(cell_len, explain(out / "amm", columns=columns).stdout.splitlines())) <= columns


def test_table(out: Path) -> None:
    done = explain(out / "amm")
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(cell_len, done.stdout.splitlines())) <= 80
    run = ao.open_run(out / "amm")
    text = " ".join(done.stdout.split())
    assert run.explain()["limit"][0] in text
    assert "Lost in all: " in text
    assert "Behind 1" in text


def test_one_document(out: Path) -> None:
    done = explain(out / "amm", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    run = ao.open_run(out / "amm")
    table = run.explain()
    assert found["intervals"] == 26
    assert found["unserved_mwh"] == pytest.approx(run.summary["unserved_mwh"])
    assert [row["limit"] for row in found["limits"]] == table["limit"].tolist()
    for row, (_, expected) in zip(found["limits"], table.iterrows(), strict=True):
        assert row["intervals_by_hour"] == list(expected["intervals_by_hour"])
        assert row["most_affected"] == dict(expected["most_affected"])
        worth = np.nan if row["worth_mwh"] is None else row["worth_mwh"]
        np.testing.assert_allclose(worth, expected["worth_mwh"])


def test_nothing_lost_and_kept_back(out: Path) -> None:
    assert "Lost in all: 0.00" in explain(out / "no_control").stdout
    assert "no limit reached" in " ".join(explain(out / "equal_doe").stdout.split())


def test_what_is_no_run(out: Path, tmp_path: Path) -> None:
    several = explain(out)
    assert (several.returncode, several.stdout) == (2, "")
    assert several.stderr.startswith(f"Error: {out} holds 3 runs, give one: ")
    for folder in (tmp_path, tmp_path / "none"):
        done = CliRunner().invoke(main, ["explain", str(folder)])
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr.startswith(f"Error: {folder} holds neither a run nor a comparison")


def test_a_run_that_was_killed_is_said_to_be_unfinished(out: Path, tmp_path: Path) -> None:
    """By every command that takes a run, in the folder of the run and in that of the comparison."""
    killed = tmp_path / "killed"
    shutil.copytree(out / "amm", killed / "amm")
    (killed / "amm" / "run.json").unlink()
    shutil.copy(out / "comparison.json", killed / "unfinished.json")
    for command in (["explain"], ["report"], ["settle"], ["verify"], ["export", "--format", "csv", "--out", "x.csv"]):
        one, all_of_it = (amm_opt(*command, folder) for folder in (killed / "amm", killed))
        assert one.returncode == all_of_it.returncode == 2
        assert "holds a run that was not finished, with 1 block: go on with --resume" in one.stderr
        assert "not finished, without any finished run: go on with --resume" in all_of_it.stderr


def test_a_folder_with_one_run(tmp_path: Path) -> None:
    ao.compare("synthetic:buses=20,days=1,seed=1", "no_control", steps=1, out=tmp_path / "out")
    text = explain(tmp_path / "out").stdout
    assert "Everything was served." in text
    assert text.startswith("no_control on ")
