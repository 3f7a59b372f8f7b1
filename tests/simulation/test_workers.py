"""Several processes, and blocks that start afresh."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import amm_opt as ao
from amm_opt.simulation.loop import loop
from amm_opt.simulation.results.totals import Totals
from amm_opt.simulation.workers import UNGUARDED, _sendable, spread
from amm_opt.study.cli import main
from formulations import AMM, DNP, AlphaFair, EqualDOE, GreedyDOE, Leximin

MEMORYLESS = [GreedyDOE(enrolled="requesting"), AlphaFair(), Leximin(), DNP()]


@pytest.mark.parametrize("mechanism", MEMORYLESS, ids=str)
def test_processes_give_the_same_to_the_bit(mechanism: ao.Mechanism, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "BLOCK_STEPS", 40)
    case = ao.load_case("synthetic:buses=130,days=2,seed=3")
    one, two = (ao.simulate(case, mechanism, workers=n) for n in (1, 2))
    for name in ("import_kw", "export_kw"):
        assert np.array_equal(getattr(one.allocation, name), getattr(two.allocation, name))
    timing = ["seconds", "ms_per_step"]
    assert one.summary.drop(timing).equals(two.summary.drop(timing))
    assert one.summary["unserved_mwh"] + one.summary["curtailed_mwh"] > 0.01
    assert one.solver == two.solver
    assert one.audit == two.audit


def test_memory_takes_one_process_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    case = ao.load_case("synthetic:buses=70,days=1")
    with caplog.at_level(logging.INFO, "amm_opt"):
        for given, defer, reason in (
            (AMM(), False, "amm: one process: a state is carried from interval to interval"),
            (EqualDOE(), True, "equal_doe: one process: what waits is carried from interval to interval"),
        ):
            one, two = (ao.simulate(case, given, workers=n, defer=defer) for n in (1, 2))
            assert two.workers == 1
            assert np.array_equal(one.allocation.import_kw, two.allocation.import_kw)
            assert [record.getMessage() for record in caplog.records].count(reason) == 1
    with pytest.raises(ao.InputError, match="workers = 0 must be"):
        ao.simulate("synthetic:buses=70,days=1", EqualDOE(), workers=0)


def test_a_comparison_uses_processes_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "BLOCK_STEPS", 24)
    case = ao.load_case("synthetic:buses=70,days=1,seed=3")
    mechanisms = [EqualDOE(), AMM()]
    own = [ao.Column("cars", compute=lambda run: run.allocation.import_kw.sum())]
    results = [ao.compare(case, mechanisms, workers=n, columns=own) for n in (1, 2)]
    assert [[run.workers for run in result.runs.values()] for result in results] == [[1, 1], [2, 1]]
    one, two = (result.table for result in results)
    assert one.drop(columns=["seconds", "ms_per_step"]).equals(two.drop(columns=["seconds", "ms_per_step"]))


def test_the_command_line_says_which_use_one_process() -> None:
    command = ["compare", "synthetic:buses=70,days=1,seed=3", "--mechanisms", "no_control,amm,fuh:window=2", "--json"]
    result = CliRunner().invoke(main, [*command, "--steps", "4", "--workers", "2"])
    assert result.exit_code == 0, result.output
    assert "One process for amm, fuh:window=2: a state is carried from interval to interval.\n" in result.stderr
    assert len(json.loads(result.stdout)["rows"]) == 3
    assert "One process" not in CliRunner().invoke(main, [*command, "--steps", "4"]).output


def test_prices_of_later_blocks_count() -> None:
    """Revenue is known as soon as one block has prices."""
    total, later = Totals.empty(1), Totals.empty(1)
    later.priced, later.revenue = True, 2.0
    total.merge(later)
    assert total.priced
    assert total.revenue == 2.0


class _Square:
    """A worker that squares numbers; words tell it how to go wrong."""

    def __call__(self, task: object) -> object:
        if task == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if task == "refuse":
            raise ao.InputError(["one", "two"], subject="it")
        return int(str(task)) ** 2


def test_results_come_in_order_and_reasons_are_named() -> None:
    assert list(spread(_Square, list(range(9)), 3)) == [n * n for n in range(9)]
    for task, error, said in (
        ("kill", ao.SolveError, "ended by SIGKILL, as the system does when memory runs out"),
        ("refuse", ao.InputError, "2 problems"),
    ):
        with pytest.raises(error, match=said):
            list(spread(_Square, [1, task, 2], 1))
    assert not multiprocessing.active_children()
    odd = type("Odd", (Exception,), {})("strange")
    assert str(_sendable(odd)) == "in a worker process: Odd: strange"


SCRIPT = """
import logging
import amm_opt as ao
from amm_opt.simulation.loop import loop
logging.basicConfig(level="INFO")
loop.BLOCK_STEPS = 24
try:
    run = ao.simulate("synthetic:buses=70,days=1,seed=3", "equal_doe", workers=2)
    print("workers:", run.workers)
except ao.InputError as error:
    print("refused:", error)
"""


def test_scripts_that_cannot_start_processes_are_told_so(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True)
    assert done.stdout == f"refused: {UNGUARDED}\n"
    assert UNGUARDED.endswith("if __name__ == '__main__':")
    assert done.stderr == ""
    piped = subprocess.run([sys.executable, "-"], input=SCRIPT, capture_output=True, text=True)
    assert piped.stdout == "workers: 1\n"
    assert "the running script <stdin> cannot be read by other processes" in piped.stderr


FOREVER = """
import sys, time
if __name__ != "__main__" and sys.argv[1] == "starting":
    time.sleep(600)
from amm_opt.simulation.workers import UNGUARDED, _sendable, spread
class Wait:
    def __call__(self, task):
        print(task, flush=True)
        time.sleep(600)
if __name__ == "__main__":
    list(spread(Wait, ["a", "b", "c"], 2))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends them on Linux only while they start")
@pytest.mark.parametrize("when", ["starting", "working"])
def test_workers_end_with_their_parent(when: str, tmp_path: Path) -> None:
    path = tmp_path / "forever.py"
    path.write_text(FOREVER)
    parent = subprocess.Popen(
        [sys.executable, str(path), when], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert parent.stdout is not None
    if when == "working":
        assert {parent.stdout.readline(), parent.stdout.readline()} == {"a\n", "b\n"}
    started = children(parent.pid)
    while len(started) < 2:
        started = children(parent.pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 30
    while alive := [pid for pid in started if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)


BLOCKED = """
import signal
from amm_opt.simulation.workers import spread
class Blocked:
    def __call__(self, task):
        return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
if __name__ == "__main__":
    print(*spread(Blocked, [1], 1), Blocked()(0))
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals cannot be blocked")
def test_workers_do_not_see_ctrl_c(tmp_path: Path) -> None:
    """In a process that has started no other before: the first start of the standard library's tracker is special."""
    path = tmp_path / "blocked.py"
    path.write_text(BLOCKED)
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(entry.read_text().rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(entry.parent.name))
    return found
