"""The command line's way out: standard output that may be closed, full, narrow or not Unicode; exit codes."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import click

from amm_opt.errors import AmmOptError, InputError, as_path, reason
from amm_opt.io.output import discard_output, emit
from amm_opt.io.progress import progress_bars
from amm_opt.io.text import fold, plain

NARROWEST = 20
PIPED = 160
"""Width where standard output is not a terminal and ``COLUMNS`` is not set."""
INTERRUPTED = 130


class Group(click.Group):
    """Turns errors into one sentence and an exit code: 2 bad input, 1 failed, 130 interrupted."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command and exit."""
        _open_descriptors()
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            discard_output()
            complain(f"Failed: {reason(error)}")
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            with _sentences():
                return super().invoke(ctx)
        except InputError as error:
            self._end(ctx, f"Error: {error}", 2)
        except AmmOptError as error:
            self._end(ctx, f"Failed: {error}", 1)
        except OSError as error:
            discard_output()
            self._end(ctx, f"Failed: {reason(error)}", 1)
        except MemoryError:
            self._end(ctx, "Failed: the memory of this machine does not suffice", 1)
        except KeyboardInterrupt:
            self._end(ctx, "Interrupted.", INTERRUPTED)

    @staticmethod
    def _end(ctx: click.Context, sentence: str, code: int) -> NoReturn:
        complain(sentence)
        ctx.exit(code)


def folder_given(_: click.Context, __: click.Parameter, value: str | None) -> Path | None:
    """A path on the command line, as everywhere: see ``as_path``."""
    return None if value is None else as_path(value, "file or folder")


def complain(sentence: str) -> None:
    """Say something on standard error, if there is one."""
    with suppress(OSError, ValueError):
        click.echo(plain(sentence, keep="\n"), err=True)


def say(text: str) -> None:
    """Print a sentence, folded to the terminal."""
    emit("\n".join(fold(printable(text), width())))


def again() -> str:
    """The command that goes on with what this one has begun."""
    words = [word for word in sys.argv[1:] if word != "--force"]
    return shlex.join(["amm-opt", *words, *([] if "--resume" in words else ["--resume"])])


def printable(text: object) -> str:
    """Text of others as standard output can show it; its width is that of what is shown."""
    code = getattr(sys.stdout, "encoding", None) or "utf-8"
    return plain(text).encode(code, "backslashreplace").decode(code)


def width() -> int:
    """Columns to print in: ``COLUMNS``, the terminal's, or the same for every file and pipe."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given) > 0:
        return max(int(given), NARROWEST)
    if sys.stdout is not None and sys.stdout.isatty():
        return max(shutil.get_terminal_size().columns, NARROWEST)
    return PIPED


@contextmanager
def progress(quiet: bool, labels: Any) -> Iterator[Callable[[str, int, int], None] | None]:
    """Bars on standard error where it is a terminal: called with (label, done, all)."""
    if quiet:
        yield None
        return
    with progress_bars(*labels) as report:
        yield report


@contextmanager
def _sentences() -> Iterator[None]:
    """Warnings, and what the logger ``amm_opt`` warns of, become sentences on standard error."""
    logger, spoken = logging.getLogger("amm_opt"), _Spoken(logging.WARNING)
    logger.addHandler(spoken)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: complain(f"Warning: {message}")
            yield
    finally:
        logger.removeHandler(spoken)


class _Spoken(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        complain(f"{record.levelname.capitalize()}: {record.getMessage()}")


def _open_descriptors() -> None:
    """Standard descriptors that are closed lead nowhere, so that no file of results gets their number."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)
