"""Standard output belongs to the user: what native code and plug-ins print goes elsewhere.

Solvers written in C, C++ or Rust print on file descriptor 1 behind Python's back (HiGHS a banner when it is made, PIQP
warnings while it solves), into the middle of JSON, CSV or a notebook's cell. Everything here guards that descriptor.

- ``native``: around native solvers and power flows. Nested and concurrent uses share one redirection. Standard error
  gets what they print; nothing is lost, neither theirs nor what another thread prints meanwhile.
- ``silent``: around the making of a solver that prints a banner. What it prints is dropped.
- ``unasked``: around solvers through cvxpy, which make themselves anew for every solve: the one or the other.
- ``foreign``: around the import of other packages' plug-ins: Python's own ``print`` goes to standard error as well.
- ``reserved``: standard output for one machine-readable document, which ``emit`` prints, for a whole command with its
  worker processes.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ContextDecorator, contextmanager, redirect_stdout, suppress
from errno import EBADF
from functools import cache
from threading import RLock, active_count
from typing import Any, TextIO

from amm_opt.errors import OutputError, reason

STDOUT, STDERR = 1, 2


def _flusher() -> Callable[[], Any]:
    """Flushes C's standard output, whose buffer holds what was printed until the redirection is over."""
    try:
        library = ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None)
    except (OSError, TypeError):
        return lambda: None
    for name in ("stdout", "__stdoutp"):
        with suppress(ValueError):
            stream = ctypes.c_void_p.in_dll(library, name)
            return lambda: library.fflush(stream)
    return lambda: library.fflush(None)


_flush = _flusher()


_lock = RLock()


def _own() -> TextIO | None:
    """Python's standard output where nobody has replaced it by something else."""
    return sys.__stdout__ if sys.stdout is sys.__stdout__ else None


class _Redirection:
    """Descriptor 1 pointed at standard error, or at nothing."""

    _saved: int | None = None

    def begin(self, nowhere: bool = False) -> None:
        if (stdout := _own()) is not None:
            with suppress(OSError, ValueError):
                stdout.flush()
        _flush()
        try:
            self._saved = os.dup(STDOUT)
        except OSError:  # closed: it gets a place to print to, and is closed again
            self._saved = None
        try:
            os.dup2(_nothing() if nowhere else STDERR, STDOUT)
        except OSError:
            os.dup2(_nothing(), STDOUT)

    def end(self) -> None:
        _flush()
        if self._saved is not None:
            os.dup2(self._saved, STDOUT)
            os.close(self._saved)
        else:
            os.close(STDOUT)


@cache
def _nothing() -> int:
    """The null device, not on a standard descriptor that happens to be closed."""
    opened = [os.open(os.devnull, os.O_WRONLY)]
    while opened[-1] <= STDERR:
        opened.append(os.dup(opened[-1]))
    for descriptor in opened[:-1]:
        os.close(descriptor)
    return opened[-1]


class _Native(ContextDecorator, AbstractContextManager[None]):
    """One redirection for all uses that overlap."""

    def __init__(self) -> None:
        self._depth, self._redirection = 0, _Redirection()

    def __enter__(self) -> None:
        with _lock:
            self._depth += 1
            if self._depth == 1:
                self._redirection.begin()

    def __exit__(self, *error: object) -> None:
        with _lock:
            self._depth -= 1
            if self._depth == 0:
                self._redirection.end()


native = _Native()
"""``with native:`` or, of a function, ``@native``: what is printed on descriptor 1 goes to standard error.

It costs some microseconds."""


@contextmanager
def silent() -> Iterator[None]:
    """What is printed on descriptor 1 is dropped: for moments only, because other threads' output is as well."""
    with _lock:
        redirection = _Redirection()
        redirection.begin(nowhere=True)
        try:
            yield
        finally:
            redirection.end()


def unasked() -> AbstractContextManager[None]:
    """What is printed on descriptor 1 is dropped where no other thread can print meanwhile, else as for ``native``."""
    return silent() if active_count() == 1 else native


@contextmanager
def foreign() -> Iterator[None]:
    """Everything that is printed, by Python as well, goes to standard error."""
    with native, redirect_stdout(sys.stderr):
        yield


_document: list[TextIO | None] = []


@contextmanager
def reserved() -> Iterator[None]:
    """Standard output is for ``emit`` alone; everything else that is printed goes to standard error."""
    copy: TextIO | None = None
    if (stdout := _own()) is not None:
        with suppress(OSError, ValueError):
            stdout.flush()
            copy = os.fdopen(os.dup(stdout.fileno()), "w", encoding=stdout.encoding, errors=stdout.errors)
    _document.append(copy or sys.stdout)
    try:
        with foreign():
            yield
    finally:
        _document.pop()
        if copy is not None:
            with suppress(OSError):
                copy.close()


def emit(text: str) -> None:
    """Print a line on standard output, also where it is reserved; what its encoding lacks stands as an escape code.

    Raises:
        OutputError: where standard output is closed or takes nothing any more.
    """
    stream = _document[-1] if _document else sys.stdout
    try:
        if stream is None or stream.closed:
            raise OSError(EBADF, "it is closed")
        code = stream.encoding or "utf-8"
        print(text.encode(code, "backslashreplace").decode(code), file=stream, flush=True)
    except OSError as error:
        discard_output()
        raise OutputError(f"not everything could be printed on standard output: {reason(error)}") from error


def discard_output() -> None:
    """Nothing more goes to standard output, and nothing is tried again when Python ends."""
    if (stdout := _own()) is not None:
        with suppress(OSError, ValueError):
            os.dup2(_nothing(), stdout.fileno())
