"""Runs every command of the pages, the long ones too, and says which fail and how long each takes.

    python -m benchmarks.pages.commands [--within SECONDS] [--only WORD]

The suite runs the Python blocks, the commands of blocks after ``<!-- run -->`` and those whose tables stand in a page;
it only parses the others, because many take minutes. Each command gets a folder of its own, with the files that its
page defines. A command that needs what a page does not define (a data set, a table of the reader's) is listed as such.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from tests.study.test_docs import BLOCK, PAGES, commands, name_of


def outcome(page: Path, command: str, within_s: float) -> tuple[str, float]:
    """``done``, or what went wrong, and the seconds that a command took."""
    words = shlex.split(command)
    start = time.perf_counter()
    with TemporaryDirectory() as folder:
        for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
            if block["file"]:
                path = Path(folder) / block["file"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block["text"], encoding="utf-8")
        code = [sys.executable, "-c", "from amm_opt.study.cli import main; main()", *words[1:]]
        try:
            ended = subprocess.run(code, cwd=folder, capture_output=True, text=True, timeout=within_s, check=False)
        except subprocess.TimeoutExpired:
            return f"longer than {within_s:g} s", within_s
    seconds = time.perf_counter() - start
    said = ended.stderr.strip().splitlines() or [""]
    return {0: "done", 2: f"needs something: {said[-1]}"}.get(ended.returncode, f"failed: {said[-1]}"), seconds


@click.command()
@click.option("--within", "within_s", default=600.0, help="Seconds after which a command is ended.")
@click.option("--only", default="", help="Only commands with this word.")
def main(within_s: float, only: str) -> None:
    """Run them one after the other."""
    failed = 0
    for page in PAGES:
        for command in commands(page):
            if only in command:
                said, seconds = outcome(page, command, within_s)
                failed += said.startswith("failed")
                click.echo(f"{name_of(page)}: {command}\n    {said}, {seconds:.1f} s")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
