"""Runs every command of the pages, the long ones too, and says which fail and how long each takes.

    python -m benchmarks.pages.commands [--within SECONDS] [--only WORD]

The suite runs the Python blocks, the commands of blocks after ``<!-- run -->`` and those whose tables stand in a page;
it only parses the others, because many take minutes. All run in one folder, page after page, with the files that their
page defines, so that one may read what another wrote; what a command is to write is removed first. A command that
needs what no page defines (a data set, a table of the reader's) is listed as such.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from tests.study.test_docs import BLOCK, PAGES, commands, name_of


def outcome(command: str, folder: Path, within_s: float) -> tuple[str, float]:
    """``done``, or what went wrong, and the seconds that a command took."""
    words = shlex.split(command)
    for option, value in pairwise(words):
        if option == "--out":
            shutil.rmtree(folder / value, ignore_errors=True)
            (folder / value).unlink(missing_ok=True)
    start = time.perf_counter()
    code = [sys.executable, "-c", "from amm_opt.study.cli import main; main()", *words[1:]]
    try:
        ended = subprocess.run(code, cwd=folder, capture_output=True, text=True, timeout=within_s, check=False)
    except subprocess.TimeoutExpired:
        return f"longer than {within_s:g} s", within_s
    seconds = time.perf_counter() - start
    said = ended.stderr.strip().splitlines() or [""]
    return {0: "done", 2: f"needs something: {said[-1]}"}.get(ended.returncode, f"failed: {said[-1]}"), seconds


def defined(page: Path, folder: Path) -> None:
    """The files that a page defines."""
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        if block["file"]:
            path = folder / block["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block["text"], encoding="utf-8")


@click.command()
@click.option("--within", "within_s", default=600.0, help="Seconds after which a command is ended.")
@click.option("--only", default="", help="Only commands with this word.")
def main(within_s: float, only: str) -> None:
    """Run them one after the other."""
    failed = 0
    with TemporaryDirectory() as name:
        for page in PAGES:
            defined(page, Path(name))
            for command in commands(page):
                if only in command:
                    said, seconds = outcome(command, Path(name), within_s)
                    failed += said.startswith("failed")
                    click.echo(f"{name_of(page)}: {command}\n    {said}, {seconds:.1f} s")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
