"""Errors that the toolkit raises for its users, and what it warns of."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")
RELEASE = re.compile(r"\d+\.\d+(\.\d+)?")


class AmmOptError(Exception):
    """Base class of every error that amm_opt raises on purpose."""


class InputError(AmmOptError, ValueError):
    """Something a user gave is wrong; the command line exits with code 2.

    ``problems`` holds one sentence per problem, all of them found at once.
    """

    def __init__(self, problems: str | Iterable[str], *, subject: str = "") -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        self.subject = subject
        super().__init__(self._message())

    def _message(self) -> str:
        head = f"{self.subject}: " if self.subject else ""
        if len(self.problems) == 1:
            return head + self.problems[0]
        listing = "".join(f"\n  - {problem}" for problem in self.problems)
        return f"{head}{len(self.problems)} problems{listing}"


class Problems:
    """Collects what several checks find, so that everything that is wrong with a call is said at once."""

    def __init__(self) -> None:
        self._found: list[InputError] = []

    def __len__(self) -> int:
        return len(self._found)

    def of(self, make: Callable[[], T]) -> T | None:
        """What ``make`` returns; None where it raises an ``InputError``, which is kept."""
        try:
            return make()
        except InputError as error:
            self._found.append(error)
            return None

    def say(self, *sentences: str) -> None:
        """Keep sentences; empty ones are no problem."""
        self._found += [InputError(sentence) for sentence in sentences if sentence]

    def report(self) -> None:
        """Raise all that was found as one error.

        Raises:
            InputError: where anything was found; a sentence that was found twice is said once.
        """
        if len(self._found) == 1:
            raise self._found[0]
        if self._found:
            raise InputError(
                dict.fromkeys(
                    f"{error.subject}: {problem}" if error.subject else problem
                    for error in self._found
                    for problem in error.problems
                )
            )


class SolveError(AmmOptError):
    """No solver found an allocation that passes the audit."""


class OutputError(AmmOptError):
    """What was computed cannot be written or printed."""


class LostError(AmmOptError):
    """The cluster that ran the variants of a study is gone."""


class InexactWarning(UserWarning):
    """A relaxed network model was not exact: its solution has losses that no network has."""


class UnavoidableWarning(UserWarning):
    """Nothing was served, and a limit is broken with nobody connected: the network's data or limits may be wrong."""


def unknown(kind: str, name: str, valid: Sequence[str]) -> InputError:
    """One sentence that names the unknown thing and the valid choices."""
    return InputError(f"unknown {kind} {name!r}; valid choices: {', '.join(sorted(valid))}")


def one_line(error: BaseException, limit: int = 200) -> str:
    """Another library's exception in one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = ""
    name = type(error).__name__
    return (f"{name}: {text}" if text else name)[:limit]


def shorten(names: Iterable[object], limit: int = 8) -> str:
    """Join names for a message, saying how many more there are beyond ``limit``."""
    listed = [str(name) for name in names]
    text = ", ".join(listed[:limit])
    return text if len(listed) <= limit else f"{text} and {len(listed) - limit} more"


def counted(count: int, one: str, many: str | None = None) -> str:
    """So many of something: ``1 interval``, ``2 intervals``; of words that take no s, ``many`` is given."""
    return f"{count} {one}" if count == 1 else f"{count} {many or f'{one}s'}"


def shown(value: object) -> str:
    """A table cell for a message: plain Python notation, whatever scalar type it has."""
    try:
        return repr(value.item() if hasattr(value, "item") else value)
    except Exception:  # such as numbers with too many digits to be written, or arrays
        return f"<{type(value).__name__}>"


def as_path(value: object, what: str) -> Path:
    """A path from what a user gave; ``~`` is the home folder, and ``./~`` a folder of this name.

    Raises:
        InputError: where it is no text or path, or can be none.
    """
    if not isinstance(value, str | os.PathLike) or not str(value) or "\0" in str(value):
        raise InputError(f"{value!r} is not the path of a {what}")
    try:
        path = Path(os.path.expanduser(os.fsdecode(os.fsencode(value))))
        path.exists()
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{value!r} is not the path of a {what}: {error}") from error
    return Path.cwd() / path if path.parts[:1] and path.parts[0].startswith("~") else path


def reason(error: Exception) -> str:
    """Why something failed: the words of the system with its file, or the kind of the error and its message."""
    if not isinstance(error, OSError):
        return f"{type(error).__name__}: {error}"
    why = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {why}" if error.filename is not None else why


def release(text: str) -> tuple[int, ...]:
    """A release such as ``0.3`` as numbers that compare.

    Raises:
        ValueError: where it is none.
    """
    if not RELEASE.fullmatch(text):
        raise ValueError(f"{text!r} is no release such as 0.3")
    return tuple(int(part) for part in text.split("."))


def deprecated(instead: str, *, since: str, removal: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Mark a function or method that goes (docs/versions.md): a call works, and warns where it stands.

    Of a property, the getter is marked, below ``@property``.

    Args:
        instead: what to use, in words of a caller, such as ``"ao.open_run"``.
        since: the first release that warns.
        removal: the release that has it no more; later than ``since``.

    Raises:
        ValueError: where the releases are none, or ``removal`` is not later.
    """
    if release(removal) <= release(since):
        raise ValueError(f"removal {removal} is not later than {since}")

    def mark(function: Callable[P, T]) -> Callable[P, T]:
        sentence = f"{function.__qualname__} is deprecated since {since} and goes with {removal}: use {instead}"

        @wraps(function)
        def calling(*args: P.args, **kwargs: P.kwargs) -> T:
            warnings.warn(sentence, DeprecationWarning, stacklevel=2)
            return function(*args, **kwargs)

        calling.__deprecated__ = sentence  # type: ignore[attr-defined]  # as PEP 702 has it
        return calling

    return mark
