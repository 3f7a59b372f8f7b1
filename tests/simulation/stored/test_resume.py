"""Runs that were ended are gone on with, and what comes out is what an undisturbed run gives, to the bit."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from killed import content, kill_often, run_into, with_batteries

import amm_opt as ao
from amm_opt.cases import Requests
from amm_opt.io.lock import FolderLock
from amm_opt.market import Allocation
from amm_opt.simulation.loop import loop
from amm_opt.study.cli import main
from formulations import AMM

CASE = ao.load_case("synthetic:buses=60,days=2,seed=3").with_scenario(capacity_scale=0.6)
COMMAND = [sys.executable, "-c", "from amm_opt.study.cli import main; main(prog_name='amm-opt')"]
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "memory": ("amm", {}),
    "horizon": ("fuh:window=6", {"steps": 36}),
    "batteries": ("fot_storage:window=2", {"steps": slice(30, 54)}),
    "waiting": ("amm", {"defer": True}),
    "two tiers": ("amm", {"tiers": "two"}),
    "secure": ("equal_doe", {"ac": "secure"}),
    "forecast": ("amm", {"forecast": "noisy:sigma=0.3"}),
    "measured": (
        "amm",
        {"measurement": "noise:sigma=0.1+drop:rate=0.2+memory:at=10,steps=20,older=3+message:rate=0.1,import_kw=1"},
    ),
    "declared": ("alpha_fair:alpha=3", {"steps": 30}),
}


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "BLOCK_STEPS", 8)


def ended_after(blocks: int, monkeypatch: pytest.MonkeyPatch, error: type[BaseException] = KeyboardInterrupt) -> Any:
    """A progress that ends a run."""
    left = [blocks]

    def report(done: int, total: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise error

    return report


@pytest.mark.parametrize("way", WAYS)
def test_what_every_mechanism_carries_is_stored(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mechanism, options = WAYS[way]
    case = with_batteries(CASE) if way == "batteries" else CASE
    ao.simulate(case, mechanism, out=tmp_path / "plain", **options)
    with pytest.raises(KeyboardInterrupt, match=r"blocks are kept: go on with resume=True \(--resume\)"):
        ao.simulate(case, mechanism, out=tmp_path / "two", progress=ended_after(2, monkeypatch), **options)
    resumed = ao.simulate(case, mechanism, out=tmp_path / "two", resume=True, **options)
    assert content(tmp_path / "plain") == content(tmp_path / "two")
    again = ao.simulate(case, mechanism, out=tmp_path / "two", resume=True, **options)
    np.testing.assert_array_equal(again.allocation.import_kw, resumed.allocation.import_kw)
    assert again.summary.equals(resumed.summary)


def test_killed_at_random(tmp_path: Path) -> None:
    go = run_into(CASE, "amm", defer=True)
    go(tmp_path / "plain", False)
    assert kill_often(go, tmp_path / "killed", 12, 0.35, seed=4) > 0
    assert content(tmp_path / "plain") == content(tmp_path / "killed")


def test_processes_are_killed_with_their_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command itself, SIGTERM and SIGKILL; without workers gone on with what workers have begun."""
    words = ["run", "synthetic:buses=60,days=8,seed=3", "--mechanism", "equal_doe:enrolled=requesting"]
    monkeypatch.setattr(loop, "BLOCK_STEPS", 96)
    random.seed(2)
    for number, workers in ((signal.SIGKILL, "2"), (signal.SIGTERM, "1")):
        command = [*COMMAND, *words, "--workers", workers, "--out", str(tmp_path / "killed"), "--resume"]
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = len(list(tmp_path.glob("killed/*/blocks/*.json")))
        while run.poll() is None and len(list(tmp_path.glob("killed/*/blocks/*.json"))) <= before:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.05))
        run.send_signal(number)
        run.wait()
    done = CliRunner().invoke(main, [*words, "--workers", "1", "--out", str(tmp_path / "killed"), "--resume"])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(main, [*words, "--workers", "1", "--out", str(tmp_path / "plain")])
    assert done.exit_code == 0, done.output
    (one,), (two,) = (list((tmp_path / x).glob("equal*")) for x in ("plain", "killed"))
    assert content(one) == content(two)
    assert (tmp_path / "plain" / "summary.csv").is_file()


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five of twelve blocks."""
    folder = tmp_path_factory.mktemp("unfinished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "BLOCK_STEPS", 8)
        with pytest.raises(KeyboardInterrupt, match="5 of 12 blocks are kept"):
            ao.simulate(CASE, "amm", out=folder, progress=ended_after(5, patch))
    return folder


@pytest.fixture
def copy(unfinished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(unfinished, tmp_path / "run"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "BLOCK_STEPS", 8)
        ao.simulate(CASE, "amm", out=folder)
    return folder


DAMAGE = (
    "arrays.zarr/served_kw/c/2/0/0",
    "intervals/000002.parquet",
    "blocks/000002.json",
    "arrays.zarr/time/c/0",
    "arrays.zarr/price_per_kwh/zarr.json",
)


@pytest.mark.parametrize("file", DAMAGE)
@pytest.mark.parametrize("how", ["cut", "empty", "lost", "half written"])
def test_power_loss_at_any_byte(file: str, how: str, copy: Path, plain: Path) -> None:
    path = copy / file
    text = path.read_bytes()
    if how == "lost":
        path.unlink()
    elif how == "half written":
        draft = "0123.partial" if "zarr" in file else "part"
        path.with_name(f"{path.name}.{draft}").write_bytes(text[: len(text) // 2])
        path.write_bytes(b"\0" * len(text))
    else:
        path.write_bytes(text[: len(text) // 3] if how == "cut" else b"")
    counted: list[int] = []
    ao.simulate(CASE, "amm", out=copy, resume=True, progress=lambda done, _: counted.append(done))
    assert counted[0] == (16 if "2" in file else 40)
    assert content(copy) == content(plain)


def test_still_no_room(copy: Path, plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("amm_opt.io.chunks._created", refuse)
        with pytest.raises(ao.OutputError, match=r"No space left on device\); 5 of 12 blocks are kept: go on with"):
            ao.simulate(CASE, "amm", out=copy, resume=True)
    ao.simulate(CASE, "amm", out=copy, resume=True)
    assert content(copy) == content(plain)


def test_a_damaged_manifest(copy: Path) -> None:
    (copy / "manifest.json").write_text("")
    with pytest.raises(ao.InputError, match="is damaged"):
        ao.simulate(CASE, "amm", out=copy, resume=True)
    assert ao.simulate(CASE, "amm", out=copy, force=True, steps=8).summary["steps"] == 8


@dataclass(frozen=True)
class Doubling:
    factor: float = 2.0

    def __call__(self, case: ao.Case, now: int, stop: int) -> Requests:
        return case.requests(now, stop)


OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "mechanism: amm:kappa=3 is asked for, amm is in the folder": ("amm:kappa=3", {}),
    "tiers: two is asked for, joint is in the folder": ("amm", {"tiers": "two"}),
    "waiting: True is asked for": ("amm", {"defer": True}),
    "last interval: .* 03:30:00 is asked for": ("amm", {"steps": 8}),
    r"solvers: \['highs'": ("amm", {"solver": "highs"}),
    "time limit: 5": ("amm", {"time_limit_s": 5.0}),
    r"forecast: Noisy\(sigma=0.1, seed=2\) is asked for": ("amm", {"forecast": "noisy:seed=2"}),
    "forecast: .*Doubling": ("amm", {"forecast": Doubling()}),
    "network model: socp is asked for": ("amm", {"network": "socp"}),
}


@pytest.mark.parametrize("said", OTHERS)
def test_other_inputs_are_refused_and_named(said: str, unfinished: Path) -> None:
    mechanism, options = OTHERS[said]
    before = sorted(unfinished.rglob("*"))
    with pytest.raises(ao.InputError, match=f"holds another run: {said}"):
        ao.simulate(CASE, mechanism, out=unfinished, resume=True, **options)
    assert sorted(unfinished.rglob("*")) == before


def test_other_cases_code_and_releases_are_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ao.InputError, match="the data of the case differs"):
        ao.simulate(ao.load_case("synthetic:buses=60,days=2,seed=4"), "amm", out=copy, resume=True)
    with pytest.raises(ao.InputError, match=r"scenario: .*capacity_scale=0.7.* is asked for"):
        ao.simulate(CASE.with_scenario(capacity_scale=0.7), "amm", out=copy, resume=True)

    class Other(AMM):
        def advance(self, state: Any, allocation: Allocation, requests: Requests) -> Any:
            return state

    with pytest.raises(ao.InputError, match="the code of the mechanism differs"):
        ao.simulate(CASE, Other(), out=copy, resume=True)
    state = ao.simulate(CASE, "amm", steps=1).state
    with pytest.raises(ao.InputError, match="the state at the start differs"):
        ao.simulate(CASE, "amm", out=copy, resume=True, state=state)
    monkeypatch.setattr("amm_opt.simulation.stored.inputs.releases", lambda: (("numpy", "0.0"),))
    with pytest.raises(ao.InputError, match=r"releases: numpy is 0\.0 now, and was"):
        ao.simulate(CASE, "amm", out=copy, resume=True)


def test_folders_that_hold_something(copy: Path, plain: Path, tmp_path: Path) -> None:
    with pytest.raises(ao.InputError, match="it holds an unfinished run, with 5 blocks; go on with resume=True"):
        ao.simulate(CASE, "amm", out=copy)
    with pytest.raises(ao.InputError, match="it holds a finished run, which force=True"):
        ao.simulate(CASE, "amm", out=plain)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    for options in ({}, {"resume": True}, {"force": True}):
        with pytest.raises(ao.InputError, match="exists and is not an empty folder"):
            ao.simulate(CASE, "amm", out=tmp_path / "mine", **options)
    (copy / "letter.txt").write_text("dear")
    with pytest.raises(ao.InputError, match="exists and is not an empty folder"):
        ao.simulate(CASE, "amm", out=copy, force=True)
    assert (copy / "blocks").is_dir()
    for options, said in (
        ({"resume": True}, "resume needs the folder of a run"),
        ({"force": True}, "force needs the folder"),
        ({"resume": True, "force": True, "out": copy}, "give one of them"),
        ({"resume": "yes", "out": copy}, "resume = 'yes' must be True or False"),
    ):
        with pytest.raises(ao.InputError, match=said):
            ao.simulate(CASE, "amm", **options)


def test_one_process_at_a_time(copy: Path) -> None:
    lock = FolderLock(copy)
    with pytest.raises(ao.InputError, match=rf"is being written by another run \(process {os.getpid()}\)"):
        ao.simulate(CASE, "amm", out=copy, resume=True)
    lock.release()
    lock.release()
    assert not (copy / "lock").exists()
    code = (
        "import fcntl, os, sys, time; file = os.open(sys.argv[1] + '/lock', os.O_RDWR | os.O_CREAT)\n"
        "fcntl.flock(file, fcntl.LOCK_EX); os.write(file, str(os.getpid()).encode())\n"
        "print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(copy)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(ao.InputError, match=rf"another run \(process {holder.pid}\)"):
        ao.simulate(CASE, "amm", out=copy, resume=True)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert (copy / "lock").exists()
    assert ao.simulate(CASE, "amm", out=copy, resume=True).summary["steps"] == 96


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_can_only_be_read(copy: Path) -> None:
    copy.chmod(0o500)
    with pytest.raises(ao.InputError, match="nothing can be written to"):
        ao.simulate(CASE, "amm", out=copy, resume=True)
    copy.chmod(0o700)


def test_a_comparison_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["no_control", "amm"]
    result = ao.compare(CASE, names, out=tmp_path / "plain", tiers="both", steps=24)
    ended, out = ended_after(5, monkeypatch), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt, match="what was done is kept in"):
        ao.compare(CASE, names, out=out, tiers="both", steps=24, progress=lambda _, done, total: ended(done, total))
    with pytest.raises(ao.InputError, match="it holds a comparison that was not finished; go on with resume=True"):
        ao.compare(CASE, names, out=out, tiers="both")
    with pytest.raises(ao.InputError, match="holds another comparison"):
        ao.compare(CASE, ["equal_doe"], out=out, steps=1, resume=True)
    with pytest.raises(ao.InputError, match="holds another comparison: of no_control, amm, amm@two"):
        ao.compare(CASE, names[:1], out=out, tiers="both", resume=True)
    with pytest.raises(ao.InputError, match="last interval"):
        ao.compare(CASE, names, out=out, tiers="both", steps=5, resume=True)
    seen: list[str] = []
    again = ao.compare(
        CASE, names, out=out, tiers="both", steps=24, resume=True, progress=lambda label, *_: seen.append(label)
    )
    assert "no_control" not in seen
    for label in result.runs:
        place = label.replace(":", "_")
        assert content(out / place) == content(tmp_path / "plain" / place)
    times = ["seconds", "ms_per_step"]
    assert again.table.drop(columns=times).equals(result.table.drop(columns=times))
    assert ao.open_comparison(out).table.drop(columns=times).equals(result.table.drop(columns=times))
    with pytest.raises(ao.InputError, match="it holds a finished comparison, which force=True"):
        ao.compare(CASE, names, out=out)
    (out / "letter.txt").write_text("dear")
    with pytest.raises(ao.InputError, match=r"holds other files than a comparison: letter.txt"):
        ao.compare(CASE, ["amm"], out=out, steps=4, force=True)
    assert list(ao.open_comparison(out)) == list(result)
    (out / "letter.txt").unlink()
    short = ao.compare(CASE, ["amm"], out=out, steps=4, force=True)
    assert sorted(p.name for p in out.iterdir()) == ["amm", "comparison.json", "summary.csv"]
    assert short.table["steps"].to_list() == [4]


def test_columns_may_change(tmp_path: Path) -> None:
    def column(name: str, value: float) -> ao.Column:
        return ao.Column(name, lambda run: value * run.summary["steps"])

    ao.simulate(CASE, "amm", steps=4, out=tmp_path / "run", columns=[column("mine", 1.0)])
    run = ao.simulate(CASE, "amm", steps=4, out=tmp_path / "run", resume=True, columns=[column("yours", 2.0)])
    for item in (run, ao.open_run(tmp_path / "run")):
        assert item.summary["yours"] == 8.0
        assert "mine" not in item.summary
        assert item.summary["unserved_mwh"] >= 0


def test_from_a_stored_state(tmp_path: Path) -> None:
    whole = ao.simulate(CASE, "amm", defer=True)
    ao.simulate(CASE, "amm", defer=True, steps=slice(0, 40), out=tmp_path / "first")
    first = ao.open_run(tmp_path / "first")
    assert first.backlog is not None
    second = ao.simulate(CASE, "amm", defer=True, steps=slice(40, None), state=first)
    np.testing.assert_array_equal(second.allocation.import_kw, whole.allocation.import_kw[40:])
    np.testing.assert_array_equal(second.state.shortage, whole.state.shortage)  # type: ignore[attr-defined]
    plain = ao.simulate(CASE, "amm", steps=slice(40, None), state=ao.simulate(CASE, "amm", steps=40).state)
    np.testing.assert_array_equal(plain.allocation.import_kw, ao.simulate(CASE, "amm").allocation.import_kw[40:])


def test_states_that_do_not_fit() -> None:
    run = ao.simulate(CASE, "amm", steps=8)
    for mechanism, state, said in (
        ("amm", 3, "state = 3 is neither a State nor a Run"),
        ("fuh", run.state, r"fuh remembers served_kwh \(2, .*\), requested_kwh"),
        ("no_control", run.state, "no_control remembers nothing"),
        ("amm", run, "the run ends before .* 04:00:00, and this one starts at .* 00:00:00"),
    ):
        with pytest.raises(ao.InputError, match=said):
            ao.simulate(CASE, mechanism, state=state, steps=8)  # type: ignore[arg-type]
    with pytest.raises(ao.InputError, match="on another case"):
        ao.simulate(CASE.with_scenario(load_scale=2.0), "amm", steps=slice(8, 9), state=run)
    with pytest.raises(ao.InputError, match="energy that waits"):
        ao.simulate(CASE, "amm", steps=slice(8, 9), state=run, defer=True)


def test_a_manifest_says_what_was_run(unfinished: Path) -> None:
    manifest = json.loads((unfinished / "manifest.json").read_text())
    assert manifest["inputs"]["mechanism"] == "amm"
    assert manifest["inputs"]["releases"]["numpy"] == np.__version__
    assert {"command", "started", "python", "system"} <= set(manifest)
