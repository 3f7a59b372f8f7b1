"""Standard output in real processes: one JSON document and nothing else, whatever solvers and plug-ins print."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from amm_opt.registry import mechanisms
from amm_opt.solve.backends.known import solvers

CASE = "synthetic:buses=70,days=1,seed=3"
SPAN = ["--start", "2030-01-07 12:00", "--steps", "2", "--json"]
AMM_OPT = str(Path(sys.executable).with_name("amm-opt"))
MANY = """
import os, sys
from amm_opt.study.cli import main

if __name__ == "__main__":
    for command in {commands!r}:
        os.write(1, b"\\x1e")
        main(command, standalone_mode=False)
"""
"""Commands of one process, one after the other: what reaches descriptor 1 is separated by a control character."""
NOISY = """
import ctypes, os
from dataclasses import dataclass

import cvxpy as cp

import amm_opt as ao

print("imported")


@dataclass(frozen=True)
class Noisy(ao.Mechanism):
    "Prints in every way there is."

    name = "noisy"

    def program(self, grid):
        served = cp.Variable(grid.n)
        limits = [served >= 0, served <= grid.import_request_kw]
        hosted = grid.injection(import_kw=served)
        return ao.Program(cp.Maximize(cp.sum(served)), limits, [hosted], {"import": served, "export": 0 * served})

    def clear(self, grid, solve, state, requests):
        print("by Python")
        print("at once", flush=True)
        os.write(1, b"by descriptor\\n")
        ctypes.CDLL(None).puts(b"by C")
        return super().clear(grid, solve, state, requests)
"""


def python(script: str, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=folder, check=False)


def documents(commands: list[list[str]]) -> list[Any]:
    done = python(MANY.format(commands=commands))
    assert done.returncode == 0, done.stderr
    nothing, *printed = done.stdout.split("\x1e")
    assert nothing == ""
    assert len(printed) == len(commands)
    return [json.loads(text) for text in printed]


def test_every_mechanism_and_every_solver_prints_json_alone() -> None:
    by_name = [["run", CASE, "--mechanism", name, *SPAN] for name in mechanisms()]
    quadratic = [name for name, info in solvers().items() if info.installed and info.qp]
    linear = [name for name, info in solvers().items() if info.installed and info.lp]
    assert len(linear) >= 5
    by_name += [["run", CASE, "--mechanism", "amm", "--solver", name.lower(), *SPAN] for name in quadratic]
    by_name += [["run", CASE, "--mechanism", "equal_doe", "--solver", name.lower(), *SPAN] for name in linear]
    by_name += [["run", CASE, "--mechanism", "amm", "--network", "socp", *SPAN]]
    lists = [["cases", "--json"], ["mechanisms", "--json"], ["solvers", "--json"]]
    found = documents(by_name + lists)
    assert all(len(item["rows"]) == 1 for item in found[: len(by_name)])
    assert sum(item["rows"][0]["unserved_mwh"] + item["rows"][0]["curtailed_mwh"] for item in found[1:-3]) > 0.01
    assert all(len(item) > 1 for item in found[len(by_name) + 1 :])


def test_the_command_itself_with_worker_processes() -> None:
    command = [AMM_OPT, "compare", "synthetic:buses=20,days=29,seed=1", "--mechanisms", "greedy_doe"]
    done = subprocess.run(
        [*command, "--steps", "1345", "--workers", "2", "--json"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [row["mechanism"] for row in json.loads(done.stdout)["rows"]] == ["greedy_doe"]


def test_what_mechanisms_print_is_on_standard_error(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(NOISY)
    command = [AMM_OPT, "run", CASE, "--mechanism", "noisy.py:Noisy", *SPAN]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["rows"]) == 1
    for said in ("imported", "by Python", "at once", "by descriptor", "by C"):
        assert said in done.stderr


SCRIPT = """
import os, sys
print("before")
import amm_opt as ao
run = ao.simulate("synthetic:buses=70,days=1,seed=3", "greedy_doe", steps=slice(24, 26), solver=sys.argv[1])
os.write(1, b"descriptor\\n")
print("after", run.solver)
"""


def test_scripts_keep_their_standard_output() -> None:
    done = python(SCRIPT, "highs")
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.splitlines()
    assert (first, second) == ("before", "descriptor")  # what stood in Python's buffer was written first
    assert third.startswith("after ")


CLOSED = """
import os, sys
os.close(1)
import amm_opt as ao
run = ao.simulate("synthetic:buses=70,days=1,seed=3", "greedy_doe", steps=slice(24, 26), solver="highs")
opened = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
assert opened == 1, opened
run = ao.simulate("synthetic:buses=70,days=1,seed=3", "equal_doe", steps=slice(24, 26), solver="highs")
os.write(1, b"mine")
assert len(run.times) == 2
print("good", file=sys.stderr)
os._exit(0)
"""


def test_a_closed_standard_output_and_a_file_in_its_place(tmp_path: Path) -> None:
    done = python(CLOSED, str(tmp_path / "data"))
    assert done.returncode == 0, done.stderr
    assert "good" in done.stderr
    assert (tmp_path / "data").read_bytes() == b"mine"


THREADS = """
import ctypes, os, threading, time
from amm_opt.io.output import native, silent, unasked

c = ctypes.CDLL(None)


def work(k):
    for i in range(200):
        with native:
            c.printf(b"noise %d\\n", k)
            with unasked():
                c.printf(b"unasked\\n")


threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
for t in threads:
    t.start()
for t in threads:
    t.join()
with native, silent():
    c.puts(b"banner")
with native, native:
    os.write(1, b"inside\\n")
try:
    with native:
        raise ValueError
except ValueError:
    os.write(1, b"outside\\n")
before = os.dup(1)
os.close(before)
began = time.perf_counter()
for _ in range(1000):
    with native:
        pass
assert (time.perf_counter() - began) / 1000 < 1e-4, "slow"
with unasked():
    c.puts(b"nowhere")
after = os.dup(1)
assert before == after, "descriptors leak"
print("end")
"""


def test_overlapping_uses_share_one_redirection() -> None:
    done = python(THREADS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["outside", "end"]
    assert done.stderr.count("noise") == 800
    assert "inside" in done.stderr
    assert "banner" not in done.stderr + done.stdout
    assert "nowhere" not in done.stderr + done.stdout
