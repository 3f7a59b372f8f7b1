"""``amm-opt`` in this process: quicker than one of its own, which only tests of processes need."""

from __future__ import annotations

from dataclasses import dataclass

from click.testing import CliRunner

from amm_opt.study.cli import main


@dataclass(frozen=True)
class Done:
    """What a command returned and printed."""

    returncode: int
    stdout: str
    stderr: str


def amm_opt(*words: object, columns: int = 160) -> Done:
    """Run a command; an exception that it does not turn into a sentence is raised."""
    result = CliRunner(env={"COLUMNS": str(columns)}).invoke(main, [*map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)
