"""Mechanisms by solvers: raw answers against a reference, and reasons where a solver was not enough."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

import amm_opt as ao
from amm_opt.solve.backends.kept import ClarabelBackend
from amm_opt.solve.backends.reduced import Point, Reduced, failed
from amm_opt.testing.cases import small_case

SHIFT = 1e-7


class Sloppy:
    """Clarabel, but every value is higher by a little, so that some are above their bounds."""

    name = "sloppy"
    lp = qp = True

    def solve(self, problem: Reduced, start: np.ndarray) -> Point:
        exact = ClarabelBackend().solve(problem, start)
        duals = np.concatenate([exact.row_dual, exact.network_dual[problem.live]])
        return problem.point(exact.x + SHIFT * (1.0 + np.abs(exact.x)), duals, 7)


class Refusing:
    """Has no answer."""

    name = "refusing"
    lp = qp = True

    def solve(self, problem: Reduced, start: np.ndarray) -> Point:
        return failed("out of paper")


def test_raw_answers_are_measured_and_reasons_are_told() -> None:
    found = ao.compare_solvers(small_case(False), ["amm", "leximin"], ["clarabel", "dual_newton", Sloppy, Refusing])
    table = found.table.set_index(["mechanism", "solver"])
    assert list(table.index.get_level_values("solver")[:5]) == [
        "automatic", "clarabel", "dual_newton", "sloppy", "refusing",
    ]  # fmt: skip
    amm = table.loc["amm"]
    assert (amm.loc["automatic", ["error_kw", "error_dual"]] == 0.0).all()
    assert amm.loc["clarabel", "error_kw"] < 1e-4
    assert 0.0 < amm.loc["clarabel", "error_dual"] < 1e-6
    assert amm.loc["clarabel", "primal"] < 0.1 * SHIFT
    # nothing is put inside its bounds before it is measured
    assert 0.9 * SHIFT < amm.loc["sloppy", "primal"] < 100 * SHIFT
    assert amm.loc["sloppy", "iterations"] == 7.0
    assert amm.loc["refusing", "fallbacks"] > 0
    assert amm.loc["refusing", "reasons"] == "refusing: out of paper"
    # answers of fallbacks are none of its own
    assert amm.loc["refusing", ["iterations", "primal", "dual", "error_dual"]].isna().all()
    for solver in ("clarabel", "sloppy"):
        assert min(amm.loc[solver, ["inside_s", "around_s"]]) > 0.0
    assert "cannot solve linear programs" in table.loc[("leximin", "dual_newton"), "reasons"]
    assert np.isnan(table.loc[("leximin", "dual_newton"), "error_kw"])
    assert "2 mechanisms by 5 solvers" in repr(found)


def test_one_solver_and_a_mechanism_that_needs_none() -> None:
    table = ao.compare_solvers(small_case(False), "no_control", "clarabel", steps=3).table
    assert table["solver"].tolist() == ["automatic", "clarabel"]
    assert table["error_kw"].tolist() == [0.0, 0.0]
    assert table[["primal", "dual", "error_dual"]].isna().all(axis=None)


def test_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from amm_opt.study.cli import main; main(prog_name='amm-opt')", "bench-solvers"]
    case = ["synthetic:buses=40,days=1,seed=3", "--steps", "12"]
    out = tmp_path / "out"
    done = subprocess.run(
        [*command, *case, "--solvers", "clarabel", "--json", "--out", str(out)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["intervals"] == 12
    assert [row["solver"] for row in document["solvers"]] == ["automatic", "clarabel"]
    assert pd.read_csv(out / "solvers.csv")["solver"].tolist() == ["automatic", "clarabel"]
    refused = subprocess.run([*command, *case, "--solvers", "clarabull"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert "unknown solver 'clarabull'" in refused.stderr


def test_a_table_of_80_columns() -> None:
    from click.testing import CliRunner

    from amm_opt.study.cli import main

    case = ["synthetic:buses=40,days=1,seed=3", "--steps", "12", "--solvers", "clarabel"]
    done = CliRunner().invoke(main, ["bench-solvers", *case], env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    assert max(map(len, done.output.splitlines())) <= 80
    assert "clarabel" in done.output
