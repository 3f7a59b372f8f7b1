"""Which terminals are open: commands and switch controls in the order of the file, judged by OpenDSS."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from amm_opt.errors import InputError
from amm_opt.importers import from_opendss
from amm_opt.importers.opendss.circuit import Elements
from amm_opt.importers.opendss.dialect.reader import read_script

HEAD = """clear
new circuit.t basekv=0.4 bus1=s model=ideal
new line.tie bus1=s bus2=f phases=3 r1=0.1 x1=0.1 r0=0.1 x0=0.1 c1=0 c0=0 normamps=100
new load.b bus1=f.2 phases=1 kv=0.23 kw=2
"""
SWTCONTROL = "new swtcontrol.s switchedobj=line.tie switchedterm=1"
STEPS = ("state=open", "state=closed", "normal=open", "normal=closed", "action=open", "action=close")
TAILS = ("", "open line.tie 1", "close line.tie 1", "open line.tie 2", "solve", "set mode=snapshot", "reset controls")


def closed_here(folder: Path, text: str) -> bool:
    (folder / "Master.dss").write_text(HEAD + text)
    elements = Elements(read_script(folder / "Master.dss"))
    assert not elements.problems, text
    return elements.lines[0].closed


def closed_in_opendss(text: str) -> bool:
    engine = pytest.importorskip("opendssdirect", reason="pip install 'amm-opt[opendss]'")
    for line in (HEAD + text + "\nset voltagebases=[0.4]\ncalcvoltagebases\nsolve").splitlines():
        engine.Text.Command(line)
    volts = dict(zip(engine.Circuit.AllNodeNames(), engine.Circuit.AllBusMagPu(), strict=True))
    return bool(volts["f.1"] > 0.5)


@pytest.mark.parametrize("more", ["", "enabled=no"])
def test_swtcontrol_in_any_order(tmp_path: Path, more: str) -> None:
    every = list(itertools.product(STEPS, STEPS, TAILS))
    for first, second, tail in random.Random(more).sample(every, 60):
        for text in (
            f"{SWTCONTROL} {first} {second} {more}\n{tail}",
            f"{SWTCONTROL} {more} {first}\n{tail}\nedit swtcontrol.s {second}",
        ):
            assert closed_here(tmp_path, text) == closed_in_opendss(text), text


@pytest.mark.parametrize("kind", ["relay", "recloser"])
def test_protection_holds_its_state(tmp_path: Path, kind: str) -> None:
    """Without acting itself, as ``controlmode=off`` says to OpenDSS."""
    for obj, first, tail, more in itertools.product(
        ("monitoredobj", "switchedobj"), (*STEPS[:2], "action=open", "normal=closed", ""), TAILS[:4], ("", "enabled=no")
    ):
        other = "monitoredobj=line.tie " if obj == "switchedobj" else ""
        text = f"set controlmode=off\nnew {kind}.s {other}{obj}=line.tie {first} {more}\n{tail}"
        assert closed_here(tmp_path, text) == closed_in_opendss(text), text


def test_controlmode_off_leaves_pending_actions(tmp_path: Path) -> None:
    for step in STEPS:
        text = f"{SWTCONTROL} {step}\nset controlmode=off"
        assert closed_here(tmp_path, text) == closed_in_opendss(text), text


def test_fuses_have_a_state_for_each_phase(tmp_path: Path) -> None:
    """By the manual: the engine's arrays of states end some of its processes."""
    assert not closed_here(tmp_path, "new fuse.s monitoredobj=line.tie action=open")
    assert closed_here(tmp_path, "new fuse.s monitoredobj=line.tie action=open\nclose line.tie 1")
    assert not closed_here(
        tmp_path, "new fuse.s monitoredobj=line.tie normal=[open open open] state=[open, open, open]"
    )
    assert closed_here(tmp_path, "new fuse.s monitoredobj=line.tie state=(closed closed closed)")


def test_a_locked_switch_follows_no_later_order(tmp_path: Path) -> None:
    assert not closed_here(tmp_path, f"{SWTCONTROL} action=open lock=y\nedit swtcontrol.s action=close")
    assert closed_here(tmp_path, f"{SWTCONTROL} lock=y action=open")


def test_islands_name_what_is_open(tmp_path: Path) -> None:
    (tmp_path / "Master.dss").write_text(f"{HEAD}{SWTCONTROL} state=open\n")
    with pytest.raises(InputError, match=r"island: .* joins f to the source bus 's'; open there: line 'tie'"):
        from_opendss(tmp_path / "Master.dss")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("new fuse.s monitoredobj=line.tie state=[open closed closed]", "opening single phases is not supported"),
        ("new fuse.s monitoredobj=line.tie state=open", "opens one phase only"),
        ("new relay.s monitoredobj=line.nobody state=open", "unknown element 'line.nobody'"),
        ("new swtcontrol.s state=open", "switchedobj must be given"),
        (f"{SWTCONTROL} state=ajar", "state = 'ajar'; valid choices"),
        ("open line.tie 1 2", "open of single conductors"),
        ("open", "open without an element"),
        ("open line.nobody", "no element matches"),
    ],
)
def test_what_no_switch_can_do(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "Master.dss").write_text(HEAD + text + "\n")
    with pytest.raises(InputError, match=words):
        from_opendss(tmp_path / "Master.dss")


def test_a_mesh_that_a_control_opens_is_radial(tmp_path: Path) -> None:
    text = HEAD + "new line.back bus1=f bus2=g phases=3 r1=0.1 x1=0.1 normamps=50\n"
    text += "new line.ring bus1=g bus2=s phases=3 r1=0.1 x1=0.1 normamps=50\n"
    text += "new relay.r monitoredobj=line.ring monitoredterm=2 action=trip\n"
    (tmp_path / "Master.dss").write_text(text)
    network = from_opendss(tmp_path / "Master.dss")
    assert network.branches.set_index("name")["closed"].to_dict() == {"tie": True, "back": True, "ring": False}
    assert "1 switch control, whose states are followed; held open by r" in str(network.report)
    assert np.isfinite(network.feeder.rating_kva[1:]).all()


READ = """import resource, sys, amm_opt as ao
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
try:
    ao.from_opendss(sys.argv[1])
except ao.InputError as error:
    print(error)
    sys.exit(2)
"""


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    """In a process of its own, as a FIFO would make it wait for ever."""
    import os

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    targets = ["pipe", "/dev/zero", "folder", "gone.dss", "Master.dss", "a\0b", "x" * 5000]
    (tmp_path / "Master.dss").write_text(HEAD + "".join(f"redirect {target}\n" for target in targets))
    run = [sys.executable, "-c", READ]
    done = subprocess.run([*run, str(tmp_path / "Master.dss")], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    for line, words in (
        (5, "pipe' is not a regular file"),
        (6, "/dev/zero' is not a regular file"),
        (7, "folder' is not a regular file"),
        (8, "gone.dss' not found"),
        (9, "Master.dss redirects to itself"),
        (10, "not found"),
        (11, "not found"),
    ):
        assert any(f"Master.dss:{line}: " in said and words in said for said in done.stdout.splitlines()), words
    with pytest.raises(InputError, match="is not a regular file"):
        from_opendss(tmp_path / "pipe")


def test_redirects_in_a_chain_end(tmp_path: Path) -> None:
    for i in range(60):
        (tmp_path / f"f{i}.dss").write_text(f"redirect f{i + 1}.dss\n")
    with pytest.raises(InputError, match="nested more than 50 deep"):
        from_opendss(tmp_path / "f0.dss")


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "Master.dss").write_bytes(b"\xef\xbb\xbf" + HEAD.encode())
    assert from_opendss(tmp_path / "Master.dss").feeder.n_buses == 2
