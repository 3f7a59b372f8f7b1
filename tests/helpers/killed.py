"""Runs that are killed at random moments and gone on with, against the same run without any interruption."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from small import rebuilt

import amm_opt as ao

TIMES = ("seconds", "ms_per_step")
Go = Callable[[Path, bool], object]


def content(folder: Path) -> dict[str, Any]:
    """All that a finished run has written, without times, processes and how it was started."""
    files: dict[str, Any] = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for part in ("arrays.zarr", "intervals", "case")
        for path in sorted((folder / part).rglob("*"))
        if path.is_file()
    }
    for path in sorted((folder / "blocks").glob("*.json")):
        files[path.name] = json.loads(path.read_text())["result"]
    document = json.loads((folder / "run.json").read_text())
    files["summary"] = {k: v for k, v in document.pop("summary").items() if k not in TIMES}
    files["document"] = {k: v for k, v in document.items() if k not in ("files", "digest")}
    return files


def started(go: Go, folder: Path) -> int:
    """A process of its own that goes on with the run; its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        go(folder, True)
        code = 0
    finally:
        os._exit(code)


def kill_often(go: Go, folder: Path, kills: int, longest_s: float, seed: int) -> int:
    """Kill a run this often, or until it is finished, and let it finish; says how many kills there were.

    Args:
        go: runs into a folder; True where it may hold an unfinished run.
        longest_s: no process lives longer before it is killed.
    """
    random.seed(seed)
    done = 0
    while done < kills:
        child = started(go, folder)
        until = time.monotonic() + random.uniform(0.0, longest_s)
        ended = 0
        while not ended and time.monotonic() < until:
            time.sleep(0.001)
            ended, _ = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        done += 1
    _, status = os.waitpid(started(go, folder), 0)
    assert status == 0
    return done


def run_into(case: ao.Case, mechanism: ao.Mechanism[Any] | str, **options: Any) -> Go:
    """What runs a mechanism into a folder."""

    def go(folder: Path, resume: bool) -> object:
        return ao.simulate(case, mechanism, out=folder, resume=resume, **options)

    return go


def with_batteries(case: ao.Case) -> ao.Case:
    """A case in which every fourth participant has a battery."""
    participants = case.participants.copy()
    every = np.arange(len(participants)) % 4 == 0
    for name, value in (
        ("battery_kwh", 8.0),
        ("battery_kw", 3.0),
        ("battery_efficiency", 0.9),
        ("battery_initial", 0.3),
    ):
        participants[name] = np.where(every, value, participants[name])
    return rebuilt(case, participants=participants)
