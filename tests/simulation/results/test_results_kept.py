"""Results outlive what goes wrong around them: folders, names, full disks, closed outputs, interruptions."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import amm_opt as ao
from amm_opt.errors import OutputError
from amm_opt.io.files import folder_names
from amm_opt.simulation.loop import loop
from amm_opt.simulation.results.run import Run
from amm_opt.simulation.stored import disk
from amm_opt.study.cli import main
from amm_opt.study.result_folder import LIST
from formulations import EqualDOE, NoControl

CASE = "synthetic:buses=20,days=1,seed=1"
START = [sys.executable, "-c", "from amm_opt.study.cli import main; main(prog_name='amm-opt')"]
RUN = [*START, "run", CASE, "--mechanism", "no_control", "--steps", "2"]


def called(kind: type[ao.Mechanism[Any]], name: str) -> ao.Mechanism[Any]:
    return type(kind.__name__, (kind,), {"name": name})()


def test_folder_names_differ_whatever_the_labels() -> None:
    labels = ["a:b", "a_b", "A_B", "a/b", "x" * 300, "x" * 301, "ü" * 200, "", ".", "..", "con", "CON.txt", ".hidden"]
    labels += ["-rf", "a\nb", "a\tb", "summary.csv", "amm:kappa=2,rho=0.5", "end.", "end", "\ud800", "日本"]
    names = folder_names(labels, ["summary.csv"])
    assert list(names) == labels
    assert len({name.casefold() for name in names.values()}) == len(labels)
    for name in names.values():
        assert name.isascii()
        assert 0 < len(name) <= 110
        assert name[0] not in ".-"
        assert name[-1] != "."
        assert not set(name) & set('<>:"/\\|?* \n\t')
        assert name.partition(".")[0].casefold() not in ("con", "prn", "aux", "nul")
    assert names["summary.csv"] != "summary.csv"
    assert names["amm:kappa=2,rho=0.5"] == "amm_kappa=2,rho=0.5"


def test_labels_come_back_from_the_folder(tmp_path: Path) -> None:
    labels = ["a:b", "a_b", "A_B", "long" * 100, "[red]x[/red]", "new\nline", "größe", "comparison.json"]
    kinds = [EqualDOE, NoControl]
    items = [called(kinds[i % 2], label) for i, label in enumerate(labels)]
    result = ao.compare("synthetic:buses=70,days=1,seed=3", items, steps=slice(24, 28), out=tmp_path / "out")
    again = ao.open_comparison(tmp_path / "out")
    assert list(again.runs) == labels
    for label in labels:
        assert again.runs[label].summary["curtailed_mwh"] == result.runs[label].summary["curtailed_mwh"]
    assert len(set(again.table["curtailed_mwh"])) == 2
    with pytest.raises(ao.InputError, match="is no text"):
        ao.compare(CASE, called(NoControl, "\ud800"), steps=2)


def test_a_list_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    out = ao.compare(CASE, "no_control", steps=2).save(tmp_path / "out")
    text = (out / LIST).read_text()
    for bad, said in (
        (text.replace('"no_control"\n', '"../out/no_control"\n'), "is not the name of a folder"),
        (text.replace('"format": 1', '"format": 7'), "format 7 is not known"),
        (text[:20], "is damaged"),
        ('{"format": 1, "runs": {}}', "names no run"),
    ):
        (out / LIST).write_text(bad)
        with pytest.raises(ao.InputError, match=said):
            ao.open_comparison(out)
    (out / LIST).unlink()
    with pytest.raises(ao.InputError, match=r"not finished; finished runs, each to be read alone: .*no_control"):
        ao.open_comparison(out)
    with pytest.raises(ao.InputError, match="neither a run nor a comparison"):
        ao.open_comparison(tmp_path)


@pytest.mark.parametrize("command", ["run", "compare", "import"])
def test_what_cannot_be_written_is_refused_before_the_work(command: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    words = {"run": [CASE, "--mechanism", "no_control"], "compare": [CASE], "import": ["csiro", str(tmp_path)]}[command]
    for out in (tmp_path / "file" / "out", tmp_path / "file", Path("/dev/null/out"), tmp_path / ("y" * 300)):
        done = CliRunner().invoke(main, [command, *words, "--out", str(out)])
        assert done.exit_code == 2, done.output
        assert str(out) in done.stderr
        assert "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]


def test_bad_input_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ao.InputError):
        ao.compare(CASE, "no_control", steps=2, ac="nonsense", out=tmp_path / "a" / "b")  # type: ignore[arg-type]

    class Fails(NoControl):
        name = "fails"

        def full_service(self, *_: Any) -> Any:
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        ao.compare(CASE, Fails(), steps=2, out=tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


def full_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes so many files of blocks."""
    write, left = disk.replace_bytes, [count]

    def writing(path: Path, content: bytes, **options: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, content, **options)

    monkeypatch.setattr(disk, "replace_bytes", writing)


def test_a_full_disk_ends_the_run_and_keeps_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "BLOCK_STEPS", 20)
    plain, out = ao.compare(CASE, ["no_control", "equal_doe"]), tmp_path / "out"
    with monkeypatch.context() as small:
        full_after(8, small)
        with pytest.raises(OutputError, match=r"No space left on device\); 1 of 3 blocks are kept: go on with resume"):
            ao.compare(CASE, ["no_control", "equal_doe"], out=out)
    assert ao.open_run(out / "no_control").summary["steps"] == 48
    with pytest.raises(ao.InputError, match="was not finished, with 1 block: go on with --resume"):
        ao.open_run(out / "equal_doe")
    result = ao.compare(CASE, ["no_control", "equal_doe"], out=out, resume=True)
    for label, run in plain.runs.items():
        np.testing.assert_array_equal(result.runs[label].allocation.import_kw, run.allocation.import_kw)
    with monkeypatch.context() as small:
        full_after(0, small)
        with pytest.raises(OutputError, match="No space left on device"):
            plain.save(tmp_path / "3")
    assert not (tmp_path / "3").exists()


def test_a_folder_that_is_lost_during_the_run(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def lose(label: str, done: int, total: int) -> None:
        if label == "equal_doe" and out.is_dir():
            shutil.rmtree(out)
            out.write_text("somebody else's")

    with pytest.raises(OutputError, match="takes nothing any more"):
        ao.compare(CASE, ["no_control", "equal_doe"], steps=4, out=out, progress=lose)
    assert out.read_text() == "somebody else's"


def test_the_whole_system_is_full(tmp_path: Path) -> None:
    """No file may grow: one sentence, nothing looks complete, exit code 1."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4200, 4200))

    command = [*START, "compare", "synthetic:buses=300,days=1,seed=1", "--mechanisms", "no_control,equal_doe", "--json"]
    command += ["--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 1, done.stderr
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / LIST).exists()


@pytest.mark.parametrize("tail", ["> /dev/full", "--json >&-", "| true"])
def test_results_are_kept_where_nothing_can_be_printed(tail: str, tmp_path: Path) -> None:
    if "/dev/full" in tail and not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    out = tmp_path / "out"
    words = [f"'{w}'" if " " in w else w for w in RUN]
    words[2] = '"' + RUN[2] + '"'
    line = " ".join([*words, "--out", str(out), tail])
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1
    assert "Failed: not everything could be printed on standard output" in done.stderr
    assert ao.open_comparison(out).runs["no_control"].summary["steps"] == 2


def test_interrupted_after_the_first_mechanism(tmp_path: Path) -> None:
    """What is finished is kept and printed; the folder does not look complete."""
    (tmp_path / "slow.py").write_text(
        "import time\nfrom formulations import NoControl\n\n\nclass Slow(NoControl):\n    name = 'slow'\n"
        "    def full_service(self, *given):\n        time.sleep(0.2)\n        return super().full_service(*given)\n"
    )
    out = tmp_path / "out"
    command = [*START, "compare", CASE, "--mechanisms", f"no_control,{tmp_path / 'slow.py'}:Slow", "--out", str(out)]
    run = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not (out / "no_control" / "run.json").is_file() and run.poll() is None:
        time.sleep(0.05)
    time.sleep(0.3)
    run.send_signal(signal.SIGINT)
    printed, said = run.communicate(timeout=60)
    assert run.returncode == 130, said
    assert "Interrupted." in said
    assert f"Finished, kept in {out}: no_control." in said.replace("\n", " ")
    assert "Traceback" not in said
    assert "Go on with: amm-opt compare" in said
    assert "--resume" in said
    assert "no_control" in printed
    assert ao.open_run(out / "no_control").summary["steps"] == 48
    assert not (out / "slow").exists()
    with pytest.raises(ao.InputError, match="was not finished"):
        ao.open_comparison(out)


def test_verify_prints_what_it_cannot_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("power_grid_model")
    out = ao.compare(CASE, "no_control", steps=4).save(tmp_path / "out")
    before = (out / "no_control" / "run.json").read_text()

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Run, "save_summary", refuse)
    done = CliRunner().invoke(main, ["verify", str(out)])
    assert done.exit_code == 1
    assert "losses" in done.stdout
    assert "Failed: the AC columns could not be written: No space left on device" in done.stderr
    assert (out / "no_control" / "run.json").read_text() == before
    assert pd.read_csv(out / "summary.csv")["ac_thermal_violations"].isna().all()
