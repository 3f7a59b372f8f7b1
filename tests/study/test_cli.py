"""The command line: what it prints and writes, which intervals it picks, and how it refuses bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

import amm_opt as ao
from amm_opt.cases import save_case
from amm_opt.importers import importers
from amm_opt.registry import mechanisms
from amm_opt.study.cli import COMMANDS, main
from amm_opt.study.commands.running import split_specs

CASE = "synthetic:buses=70,days=1,seed=3"
SUMMARY = [
    "requested_import_mwh",
    "unserved_mwh",
    "requested_export_mwh",
    "curtailed_mwh",
    "thermal_violations",
    "voltage_violations",
    "ac_thermal_violations",
    "ac_voltage_violations",
    "jain_feeder",
    "jain_participant",
    "worst_feeder_served",
    "worst_participant_served",
    "steps",
    "seconds",
    "ms_per_step",
]
DIRECTIONS = [
    f"{name}_{direction}"
    for name in ("jain_feeder", "jain_participant", "worst_feeder_served", "worst_participant_served")
    for direction in ("import", "export")
]
SCRIPT = '''
from dataclasses import dataclass

import amm_opt as ao
import cvxpy as cp


@dataclass(frozen=True)
class SameShare(ao.Mechanism):
    """Everyone gets the same share."""

    name = "same_share"
    most: float = 1.0

    def program(self, step):
        share = cp.Variable(2)
        imports, exports = share[0] * step.import_request_kw, share[1] * step.export_request_kw
        hosted = step.injection(import_kw=imports, export_kw=exports)
        limits = [share >= 0, share <= self.most]
        return ao.Program(cp.Maximize(cp.sum(share)), limits, [hosted], {"import": imports, "export": exports})
'''


def call(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def document(*arguments: str) -> Any:
    """What --json prints: all of standard output is one document."""
    return json.loads(call(*arguments, "--json").stdout)


def test_lists() -> None:
    listed = document("cases")
    cases = {c["case"]: c for c in listed}
    assert set(cases) == {"mv33lv", "national", "pjm5", "three_bus", "ieee14", "ieee57", "ieee118"}
    default = cases["mv33lv"]
    assert (default["buses"], default["lv_feeders"], default["intervals"]) == (2102, 33, 17568)
    assert "ODbL" in default["licence"]
    known = {m["mechanism"]: m for m in document("mechanisms")}
    assert set(known) == set(mechanisms()) >= {"no_control", "equal_doe", "greedy_doe", "amm"}
    assert known["amm"]["parameters"]["kappa"] == 2.0
    assert known["equal_doe"]["parameters"] == {"enrolled": "active", "robust": False, "per": "feeder"}
    solvers = {s["solver"]: s for s in document("solvers")}
    assert solvers["clarabel"]["installed"]
    assert solvers["highs"]["lp"]
    assert not solvers["highs"]["socp"]
    assert solvers["mosek"]["install"] == "" or solvers["mosek"]["install"] == "pip install Mosek"
    for command, word in (("cases", "mv33lv"), ("mechanisms", "amm"), ("solvers", "clarabel")):
        assert word in call(command).stdout


@pytest.mark.parametrize("command", ["cases", "mechanisms", "solvers", "run", "compare", "verify", "explain"])
def test_help_has_an_example(command: str) -> None:
    assert f"Example:  amm-opt {command}" in call(command, "--help").stdout
    assert "amm-opt compare mv33lv" in call("--help").stdout
    assert ao.__version__ in call("--version").stdout


def test_help_fits_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every command and every format; sentences are whole."""
    monkeypatch.setenv("COLUMNS", "80")
    for words in ((), *((name,) for name in COMMANDS), *(("import", name) for name in importers())):
        lines = call(*words, "--help").stdout.splitlines()
        assert max(map(len, lines)) <= 80, words
        assert words != ("import",) or not any(line.endswith("...") for line in lines[1:])


def test_json_of_a_comparison() -> None:
    found = document("compare", CASE, "--mechanisms", "no_control,amm:kappa=3,rho=0.5,amm")
    assert list(found) == ["case", "rows", "solver", "network"]
    assert found["case"] == ao.load_case(CASE).name
    assert found["network"] == "lindistflow"
    assert found["solver"] == "dual_newton"
    assert [r["mechanism"].replace("3.0", "3") for r in found["rows"]] == ["no_control", "amm:kappa=3,rho=0.5", "amm"]
    table = ao.compare(ao.load_case(CASE), ["no_control", "amm:kappa=3,rho=0.5", "amm"]).table
    for row, (_, expected) in zip(found["rows"], table.iterrows(), strict=True):
        columns = [c for c in row if c not in ("mechanism", "solver", "claim", "claim_words")]
        assert columns[: len(SUMMARY) + 8] == SUMMARY + DIRECTIONS
        for column in set(columns) - {"seconds", "ms_per_step"}:
            if row[column] is None:
                assert pd.isna(expected[column])
            else:
                assert row[column] == pytest.approx(float(expected[column]), rel=1e-9, abs=1e-12), column
        assert row["ms_per_step"] == pytest.approx(1000 * row["seconds"] / 48)
        assert isinstance(row["steps"], int)
        assert isinstance(row["thermal_violations"], int)
        assert row["ac_voltage_violations"] is None
    assert found["rows"][0]["thermal_violations"] + found["rows"][0]["voltage_violations"] > 20
    assert found["rows"][2]["curtailed_mwh"] > 0.01


def test_table_on_the_terminal() -> None:
    command = ["compare", CASE, "--mechanisms", "no_control,amm", "--steps", "30"]
    wide, narrow = (CliRunner().invoke(main, command, env={"COLUMNS": columns}).stdout for columns in ("160", "80"))
    for text in (wide, narrow):
        assert "30 intervals" in text
        assert "no_control" in text
    assert "dual_newton" in wide
    assert "No room for" not in wide
    assert "dual_newton" not in narrow
    assert "solver" in narrow.partition("No room for")[2]


def test_start_and_steps_pick_the_window() -> None:
    case = ao.load_case("synthetic:buses=70,days=3,seed=3")
    found = document("run", "synthetic:buses=70,days=3,seed=3", "--mechanism", "amm", "--start", "2030-01-08 06:00",
                     "--steps", "20")["rows"][0]  # fmt: skip
    requests = case.requests(60, 80)
    assert found["steps"] == 20
    assert found["requested_export_mwh"] == pytest.approx(requests.export_request_kw.sum() * 0.5 / 1000)
    rest = document("run", "synthetic:buses=70,days=3,seed=3", "--mechanism", "no_control", "--start", "2030-01-09")
    assert rest["rows"][0]["steps"] == 48
    asked = case.requests(96, 144).import_request_kw.sum() * 0.5 / 1000
    assert rest["rows"][0]["requested_import_mwh"] == pytest.approx(asked)


def test_solver_is_used() -> None:
    found = document("run", CASE, "--mechanism", "amm", "--solver", "clarabel", "--steps", "30")
    assert found["solver"] == found["rows"][0]["solver"] == "clarabel"
    assert found["rows"][0]["fallback_steps"] == 0


def test_out_holds_summary_and_intervals(tmp_path: Path) -> None:
    out = tmp_path / "new" / "results"
    printed = document("compare", CASE, "--mechanisms", "equal_doe,amm:rho=0.5", "--out", str(out))
    summary = pd.read_csv(out / "summary.csv", index_col="mechanism")
    assert list(summary.columns[: len(SUMMARY)]) == SUMMARY
    for row in printed["rows"]:
        for column in ("unserved_mwh", "curtailed_mwh", "jain_participant", "steps"):
            assert summary.loc[row["mechanism"], column] == pytest.approx(row[column], rel=1e-5)
    case, run = ao.load_case(CASE), ao.simulate(ao.load_case(CASE), "amm:rho=0.5")
    folder = out / "amm_rho=0.5"
    intervals = pd.read_parquet(folder / "intervals").set_index("time")
    assert list(intervals.index) == list(case.times)
    np.testing.assert_allclose(intervals["accepted_export_kw"], run.allocation.export_kw.sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(intervals["mean_import_price"], run.allocation.import_price.mean(axis=1), rtol=1e-12)
    stored = ao.open_run(folder).allocation
    for name in ("import_kw", "export_kw", "import_price"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(run.allocation, name))
    assert (out / "equal_doe" / "run.json").is_file()
    refused = call("compare", CASE, "--out", str(out), code=2)
    assert "is not an empty folder" in refused.stderr


def test_empty_folder_is_accepted_and_a_file_is_not(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    call("run", CASE, "--mechanism", "no_control", "--steps", "2", "--out", str(tmp_path / "empty"))
    assert (tmp_path / "empty" / "summary.csv").is_file()
    (tmp_path / "file").write_text("mine")
    call("run", CASE, "--mechanism", "no_control", "--steps", "2", "--out", str(tmp_path / "file"), code=2)
    assert (tmp_path / "file").read_text() == "mine"


BAD: list[tuple[list[str], list[str]]] = [
    (["run", "mv34lv", "--mechanism", "amm"], ["unknown case 'mv34lv'", "mv33lv", "synthetic:buses=..."]),
    (["run", "synthetic:nodes=9", "--mechanism", "amm"], ["parameter of synthetic 'nodes'", "buses, days, seed"]),
    (["run", "synthetic:buses=two", "--mechanism", "amm"], ["buses = 'two' is not a whole number"]),
    (["run", "synthetic:buses=2", "--mechanism", "amm"], ["buses = 2", "at least 5"]),
    (["run", CASE, "--mechanism", "anm"], ["unknown mechanism 'anm'", "amm", "equal_doe", "no_control", "script.py:"]),
    (["run", CASE, "--mechanism", "amm:kapa=2"], ["'kapa'", "kappa", "rho", "priority"]),
    (["run", CASE, "--mechanism", "no_control:x=1"], ["'x'", "none"]),
    (["run", CASE, "--mechanism", "amm:kappa=two"], ["kappa = 'two' is not a number"]),
    (["run", CASE, "--mechanism", "amm:kappa"], ["kappa = '' is not a number"]),
    (["run", CASE, "--mechanism", "amm:kappa=-1"], ["kappa = -1.0 must not be negative"]),
    (["run", CASE, "--mechanism", "equal_doe:per=bus"], ["per = 'bus'", "feeder, system"]),
    (["run", CASE, "--mechanism", "missing.py:Mine"], ["missing.py not found"]),
    (["compare", CASE, "--mechanisms", "amm,nothing"], ["unknown mechanism 'nothing'", "greedy_doe"]),
    (["compare", CASE, "--mechanisms", ","], ["no mechanism"]),
    (["run", CASE, "--mechanism", "amm", "--solver", "clarbel"], ["unknown solver 'clarbel'", "clarabel", "highs"]),
    (["run", CASE, "--mechanism", "amm", "--network", "lindist"], ["unknown network 'lindist'", "lindistflow"]),
    (["run", CASE, "--mechanism", "amm", "--start", "soon"], ["'soon' is not a date"]),
    (["run", CASE, "--mechanism", "amm", "--start", "2031-01-01"], ["2031-01-01", "48 intervals"]),
    (["run", CASE, "--mechanism", "amm", "--start", "2030-01-07 12:00", "--steps", "25"], ["--steps 25", "beyond"]),
    (["run", CASE, "--mechanism", "amm", "--steps", "49"], ["--steps 49", "beyond the last interval"]),
    (["run", CASE, "--mechanism", "amm", "--steps", "0"], ["--steps"]),
    (["run", CASE, "--mechanism", "amm", "--steps", "many"], ["--steps"]),
    (["run", CASE, "--mechanism", "amm", "--colour", "red"], ["No such option", "--colour"]),
    (["run", CASE], ["--mechanism"]),
    (["simulate", CASE], ["No such command 'simulate'"]),
]


@pytest.mark.parametrize(("arguments", "said"), BAD, ids=lambda a: " ".join(a[1:])[-40:] if a else "")
def test_bad_input(arguments: list[str], said: list[str], tmp_path: Path) -> None:
    """Exit code 2, one message on standard error with the valid choices, nothing printed or written otherwise."""
    out = tmp_path / "out"
    extra = ["--out", str(out)] if arguments[0] in ("run", "compare") else []
    result = call(*arguments, *extra, code=2)
    assert result.stdout == ""
    assert result.stderr.count("Error: ") == 1
    for fragment in said:
        assert fragment in result.stderr
    assert "Traceback" not in result.stderr
    assert not out.exists()


def test_bad_profiles_are_named_by_column_and_row(tmp_path: Path) -> None:
    folder = save_case(ao.load_case(CASE), tmp_path / "case")
    call("run", str(folder), "--mechanism", "no_control", "--steps", "2")
    profiles = pd.read_parquet(folder / "profiles.parquet")
    profiles.loc[4, "pv"] = -0.5
    profiles.loc[6, "home1"] = np.nan
    profiles.to_parquet(folder / "profiles.parquet")
    result = call("run", str(folder), "--mechanism", "amm", "--out", str(tmp_path / "out"), code=2)
    assert "'home1' row 7" in result.stderr
    assert "'pv' row 5: negative request -0.5" in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "out").exists()


def test_mechanism_from_a_script(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(SCRIPT)
    whole = document("run", CASE, "--mechanism", f"{script}:SameShare", "--start", "2030-01-07 11:00", "--steps", "4")
    half = document("run", CASE, "--mechanism", f"{script}:SameShare:most=0.25", "--start", "2030-01-07 11:00",
                    "--steps", "4")  # fmt: skip
    row, low = whole["rows"][0], half["rows"][0]
    assert row["thermal_violations"] == row["voltage_violations"] == row["failed_steps"] == 0
    assert row["jain_participant"] > 0.999
    assert 0.01 < row["curtailed_mwh"] / row["requested_export_mwh"] < 0.6
    assert low["curtailed_mwh"] == pytest.approx(0.75 * low["requested_export_mwh"], rel=1e-4)
    result = call("run", CASE, "--mechanism", f"{script}:Other", code=2)
    assert "'Other'" in result.stderr
    assert "SameShare" in result.stderr
    result = call("run", CASE, "--mechanism", f"{script}:SameShare:least=1", code=2)
    assert "most" in result.stderr


def test_split_specs() -> None:
    assert split_specs("equal_doe,amm:kappa=2,rho=0") == ["equal_doe", "amm:kappa=2,rho=0"]
    assert split_specs("amm:kappa=2,rho=0,amm:rho=1, no_control ,") == ["amm:kappa=2,rho=0", "amm:rho=1", "no_control"]
    assert split_specs("a.py:B:x=1,y=2,a.py:C") == ["a.py:B:x=1,y=2", "a.py:C"]
    assert split_specs("") == []


def test_as_a_process() -> None:
    """The installed entry point, with an exit code and pure JSON on standard output."""
    code = "from amm_opt.study.cli import main; main(prog_name='amm-opt')"
    arguments = ["run", CASE, "--mechanism", "no_control", "--json", "--steps", "4"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"][0]["steps"] == 4
    done = subprocess.run([sys.executable, "-c", code, "run", "x"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
