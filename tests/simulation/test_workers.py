"""Several processes, and chunks that start afresh."""

from __future__ import annotations

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

import amm_opt as ao
from amm_opt.simulation import driver
from amm_opt.simulation.results.metrics import Metrics
from amm_opt.simulation.workers import UNGUARDED, _sendable, spread
from formulations import AMM, DNP, AlphaFair, EqualDOE, GreedyDOE, Leximin

MEMORYLESS = [EqualDOE(), GreedyDOE(enrolled="requesting"), AlphaFair(), Leximin(), DNP()]


@pytest.mark.parametrize("mechanism", MEMORYLESS, ids=str)
def test_processes_give_the_same_to_the_bit(mechanism: ao.Mechanism, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "CHUNK_STEPS", 40)
    case = ao.load_case("synthetic:buses=130,days=2,seed=3")
    one, two = (ao.simulate(case, mechanism, workers=n) for n in (1, 2))
    for name in ("import_kw", "export_kw"):
        assert np.array_equal(getattr(one.allocation, name), getattr(two.allocation, name))
    timing = ["seconds", "ms_per_step"]
    assert one.summary.drop(timing).equals(two.summary.drop(timing))
    assert one.summary["unserved_mwh"] + one.summary["curtailed_mwh"] > 0.01
    assert one.solver == two.solver
    assert one.audit == two.audit


def test_memory_needs_one_process() -> None:
    with pytest.raises(ao.InputError, match="amm carries a state from interval to interval: workers must be 1"):
        ao.simulate("synthetic:buses=70,days=1", AMM(), workers=2)
    with pytest.raises(ao.InputError, match="workers = 0 must be"):
        ao.simulate("synthetic:buses=70,days=1", EqualDOE(), workers=0)


def test_a_comparison_uses_processes_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "CHUNK_STEPS", 24)
    case = ao.load_case("synthetic:buses=70,days=1,seed=3")
    mechanisms = [EqualDOE(), AMM()]
    one, two = (ao.compare(case, mechanisms, workers=n).table for n in (1, 2))
    assert one.drop(columns=["seconds", "ms_per_step"]).equals(two.drop(columns=["seconds", "ms_per_step"]))


def test_prices_of_later_chunks_count() -> None:
    """Revenue is known as soon as one chunk has prices."""
    total, later = Metrics.empty(1), Metrics.empty(1)
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
import amm_opt as ao
from amm_opt.simulation import driver
driver.CHUNK_STEPS = 24
try:
    ao.simulate("synthetic:buses=70,days=1,seed=3", "equal_doe", workers=2)
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
    assert "the running script <stdin> cannot be read by other processes: workers must be 1" in piped.stdout


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


def children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(entry.read_text().rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(entry.parent.name))
    return found
