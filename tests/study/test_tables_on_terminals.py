"""What is printed fits the terminal: numbers stay whole, names stay text, columns are left out by name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.cells import cell_len

import amm_opt as ao
from amm_opt.io.text import TableColumn, energy_unit, fold, number, plain, table
from amm_opt.study import show
from formulations import EqualDOE, NoControl

CASE = "synthetic:buses=70,days=1,seed=3"
START = [sys.executable, "-c", "from amm_opt.study.cli import main; main(prog_name='amm-opt')"]
LARGE = {
    "requested_import_mwh": 2e6,
    "unserved_mwh": 1234567.8,
    "thermal_violations": 1.2e9,
    "voltage_violations": 999999999.0,
    "ms_per_step": 123456.7,
}


@pytest.fixture(scope="module")
def comparison() -> ao.Comparison:
    class Marked(NoControl):
        name = "[red]x[/red] [/] \x1b[31m\n\u202eevil\u200b"

    class Long(EqualDOE):
        name = "x" * 300

    return ao.compare(
        CASE, ["amm:kappa=3,rho=0.25", "equal_doe:enrolled=requesting", Marked(), Long()], steps=slice(30, 46)
    )


def printed(comparison: ao.Comparison, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: object) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    show.print_table(comparison, (30, 46), "lindistflow")
    return capsys.readouterr().out.splitlines()  # type: ignore[attr-defined,no-any-return]


def enlarged(run: ao.Run) -> ao.Run:
    return replace(run, summary=pd.Series({**run.summary.to_dict(), **LARGE}))


@pytest.mark.parametrize("columns", [30, 40, 80, 100, 160])
@pytest.mark.parametrize("size", ["small", "large"])
def test_numbers_stay_whole(
    comparison: ao.Comparison,
    columns: int,
    size: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if size == "large":
        comparison = ao.Comparison(comparison.case, {k: enlarged(r) for k, r in comparison.runs.items()})
    lines = printed(comparison, columns, monkeypatch, capsys)
    assert max(map(cell_len, lines)) <= columns
    words = " ".join(lines).split()
    for s in comparison.runs.values():
        summary = s.summary
        for wanted in (
            f"{summary['p10_participant_served']:.3f}",
            f"{summary['worst_participant_served']:.3f}",
            f"{summary['thermal_violations']:.0f}",
            f"{summary['voltage_violations']:.0f}",
            f"{100 * summary['unserved_mwh'] / summary['requested_import_mwh']:.2f}",
        ):
            assert wanted in words
    text = re.sub(r"\s", "", "".join(lines))
    assert "1200000000" in text or size == "small"
    assert "tile" in text


def test_names_are_text(
    comparison: ao.Comparison, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "\n".join(printed(comparison, 500, monkeypatch, capsys))
    assert r"[red]x[/red] [/] \x1b[31m\n\u202eevil\u200b" in text
    assert "x" * 300 in text
    assert all(c.isprintable() or c == "\n" for c in text)
    lines = printed(comparison, 80, monkeypatch, capsys)
    assert sum(line.count("x") for line in lines) >= 300


def test_what_has_no_room_is_named(
    comparison: ao.Comparison, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ao.Comparison(comparison.case, {"amm": comparison.runs["amm:kappa=3,rho=0.25"]})
    assert "No room" not in " ".join(printed(short, 160, monkeypatch, capsys))
    text = " ".join(printed(short, 80, monkeypatch, capsys))
    assert re.search(r"No room for .*ms per +interval: +--json +has +all", text)
    assert "ms per interval" in " ".join(printed(short, 40, monkeypatch, capsys))
    assert "No room" not in " ".join(printed(short, 40, monkeypatch, capsys))


def test_blanks_are_dashes(
    comparison: ao.Comparison, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One LV feeder: there is nothing to compare between feeders."""
    (line,) = [x for x in printed(comparison, 300, monkeypatch, capsys) if x.startswith("amm:")]
    assert line.split().count("-") == 2
    assert "nan" not in line


@pytest.mark.parametrize(
    ("columns", "words", "whole"),
    [
        (80, ["cases"], ["2102", "17568", "1973"]),
        (40, ["mechanisms"], ["import_price_min=0.1,", "no_control"]),
        (80, ["solvers"], ["clarabel", "dual_newton", "yes"]),
        (
            40,
            ["run", CASE, "--mechanism", "amm", "--start", "2030-01-07 12:00", "--steps", "8"],
            ["dual_newton", "1.0000"],
        ),
    ],
    ids=lambda v: str(v[0]) if isinstance(v, list) else str(v),
)
def test_commands_fit(columns: int, words: list[str], whole: list[str]) -> None:
    environment = {**os.environ, "COLUMNS": str(columns)}
    done = subprocess.run([*START, *words], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert max(map(cell_len, done.stdout.splitlines())) <= columns
    assert set(whole) <= set(done.stdout.split())


def test_ascii_and_odd_widths(tmp_path: Path) -> None:
    script = tmp_path / "m.py"
    script.write_text(
        "from formulations import NoControl\n\n\nclass A(NoControl):\n    name = 'größe → 日本'\n", encoding="utf-8"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "COLUMNS": "wide"}
    words = ["run", CASE, "--mechanism", f"{script}:A", "--steps", "2"]
    done = subprocess.run([*START, *words], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert r"gr\xf6\xdfe \u2192 \u65e5\u672c" in done.stdout
    widths = {len(line.rstrip()) for line in done.stdout.splitlines() if "---" in line or "solver" in line}
    assert max(widths) <= 160


def test_ac_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("power_grid_model")
    result = ao.compare(CASE, ["no_control", "amm"], steps=slice(30, 46), ac="verify")
    for columns in (40, 80, 160):
        monkeypatch.setenv("COLUMNS", str(columns))
        show.print_ac(result)
        lines = capsys.readouterr().out.splitlines()
        assert max(map(cell_len, lines)) <= columns
        for run in result.runs.values():
            assert f"{run.summary['ac_voltage_violations']:.0f}" in " ".join(lines).split()
    assert f"{result.runs['amm'].summary['voltage_error_worst_pu']:.4f}" in " ".join(lines).split()


def test_units_by_size() -> None:
    assert energy_unit([0.2, 0.9, float("nan")]) == (1e-3, "kWh")
    assert energy_unit([0.2, 1.0]) == (1.0, "MWh")
    assert energy_unit([99_999.0]) == (1.0, "MWh")
    assert energy_unit([100_000.0]) == (1e3, "GWh")
    assert energy_unit([0.0]) == (1.0, "MWh")


def test_text() -> None:
    assert plain("a\x1b[2J\tb\u202e\u200d\ud800") == r"a\x1b[2J\tb\u202e\u200d\ud800"
    assert plain("größe 日本 $x$ [/]") == "größe 日本 $x$ [/]"
    assert number(float("nan"), ".2f") == number(None, ".2f") == number(float("inf"), ".0f") == "-"
    assert number(-1e-7, ".2f") == "0.00"
    assert number(-0.006, ".2f") == "-0.01"
    assert fold("at 12:30 it was 1,000 kW", 12) == ["at 12:30 it", " was 1,000", " kW"]
    assert fold("equal_doe:enrolled=requesting", 14) == ["equal_doe:", " enrolled=", " requesting"]
    assert fold("日本日本", 5) == ["日本", " 日本"]
    assert fold("", 5) == [""]


def test_columns_are_left_out_by_rank() -> None:
    columns = [
        TableColumn("who", ["somebody with a long name"], folds=True),
        TableColumn("first", ["11111"]),
        TableColumn("se-\ncond", ["22222"], rank=1),
        TableColumn("third", ["33333"], rank=2),
    ]
    text = "\n".join(table("t", columns, 28))
    assert "11111" in text
    assert "22222" in text
    assert "33333" not in text
    assert "No room for third" in text
    narrow = table("t", columns, 16)
    assert [line.split() for line in narrow if line.startswith("  ")] == [
        ["first", "11111"],
        ["second", "22222"],
        ["third", "33333"],
    ]
