"""``amm-opt study``, as its users call it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from in_process import amm_opt

import amm_opt as ao
from amm_opt.study.cli import COMMANDS, LazyGroup, main

COMMAND = [sys.executable, "-c", "from amm_opt.study.cli import main; main(prog_name='amm-opt')"]
STUDY = """
title = "Curvature and more requests"
case = "synthetic:buses=70,days=1,seed=3"
mechanism = "amm"
start = "{day}"
steps = {steps}

[parameters]
mechanism.rho = [0.1, 0.4]
scenario.import_scale = {{ from = 1, to = 1.5, count = 2 }}
"""


def written(folder: Path, steps: int = 12) -> Path:
    path = folder / "study.toml"
    day = ao.load_case("synthetic:buses=70,days=1,seed=3").times[0]
    path.write_text(STUDY.format(day=f"{day:%Y-%m-%d}", steps=steps), encoding="utf-8")
    return path


def test_in_processes_of_its_own(tmp_path: Path) -> None:
    path, out = written(tmp_path), tmp_path / "out"
    done = subprocess.run(
        [*COMMAND, "study", str(path), "--out", str(out), "--executor", "processes", "--workers", "2", "--json"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["parameters"] == ["case", "mechanism", "mechanism.rho", "scenario.import_scale"]
    assert [row["scenario.import_scale"] for row in document["variants"]] == [1.0, 1.5, 1.0, 1.5]
    table = ao.open_study(out).table
    assert [row["unserved_mwh"] for row in document["variants"]] == table["unserved_mwh"].tolist()
    assert (out / "study.png").read_bytes()[:4] == b"\x89PNG"
    assert pd.read_csv(out / "table.csv")["variant"].tolist() == [0, 1, 2, 3]
    refused = amm_opt("study", path, "--out", out)
    assert refused.returncode == 2
    assert "it holds a study; go on with resume=True (--resume)" in refused.stderr


HELD = """
import time
from pathlib import Path

import formulations


class Held(formulations.AMM):
    name = "held"

    def initial_state(self, case):
        while self.rho > 0.2 and not Path({go!r}).exists():
            time.sleep(0.05)
        return super().initial_state(case)
"""


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of four variants does not end before it may: whatever else the machine does, Ctrl-C comes in time."""
    path, out, go = written(tmp_path), tmp_path / "out", tmp_path / "go"
    (tmp_path / "held_back.py").write_text(HELD.format(go=str(go)), encoding="utf-8")
    (script := tmp_path / "script.py").write_text("from held_back import Held", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    study = path.read_text(encoding="utf-8").replace('mechanism = "amm"', f'mechanism = "{script}:Held"')
    path.write_text(study, encoding="utf-8")
    command = [*COMMAND, "study", str(path), "--out", str(out), "--executor", "processes", "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list(out.glob("variants/*.json")) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "variants are kept in" in said or "variant" in said
    assert f"amm-opt study {path} --out {out}" in said
    assert "--resume" in said
    go.touch()
    whole = CliRunner().invoke(main, ["study", str(path), "--out", str(out), "--resume", "--json"])
    assert whole.exit_code == 0
    assert len(json.loads(whole.stdout)["variants"]) == 4


def test_a_bad_file_is_refused_with_everything_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(
        """
        case = "nowhere"
        mechanism = "ammm"
        stepz = 3
        [parameters]
        scenario.import_scale = [1.0, -1.2]
        ratings.all = { from = 0, to = 2 }
        [sample]
        metod = "sobol"
        """,
        encoding="utf-8",
    )
    out = tmp_path / "out"
    done = CliRunner().invoke(main, ["study", str(path), "--out", str(out)])
    assert done.exit_code == 2
    for sentence in (
        "unknown key 'stepz'; valid choices: ac, case",
        "unknown key of [sample] 'metod'; valid choices: bounds",
        "unknown mechanism 'ammm'",
        "unknown case 'nowhere'",
        "import_scale = -1.2 must be a non-negative number",
        "ratings.all.count = None must be a whole number of at least 2",
    ):
        assert sentence in done.stderr, done.stderr
    assert not out.exists()
    path.write_text("case = [", encoding="utf-8")
    assert "is not TOML" in CliRunner().invoke(main, ["study", str(path)]).stderr
    assert "cannot be read" in CliRunner().invoke(main, ["study", str(tmp_path / "none.toml")]).stderr


def test_help_imports_no_solver() -> None:
    code = (
        "import sys; from amm_opt.study.cli import main\n"
        "try: main(['--help'], prog_name='amm-opt')\n"
        "except SystemExit: pass\n"
        "print(sorted({'cvxpy', 'numpy', 'pandas', 'scipy', 'rich.console'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(name in done.stdout for name in COMMANDS)


def test_the_list_of_commands_says_what_they_say_themselves() -> None:
    assert isinstance(main, LazyGroup)
    for name, (_, sentence) in COMMANDS.items():
        command = main.commands[name]
        assert command.name == name
        told = " ".join((command.help or "").split("\n\n")[0].split())
        assert told.replace(",", "").startswith(sentence.rstrip(".").replace(",", "")), (name, told)
