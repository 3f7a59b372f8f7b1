"""Errors that the toolkit raises for its users."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


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


class SolveError(AmmOptError):
    """No solver found an allocation that passes the audit."""


class InexactWarning(UserWarning):
    """A relaxed network model was not exact: its solution has losses that no network has."""


def unknown(kind: str, name: str, valid: Sequence[str]) -> InputError:
    """One sentence that names the unknown thing and the valid choices."""
    return InputError(f"unknown {kind} {name!r}; valid choices: {', '.join(sorted(valid))}")


def shorten(names: Iterable[object], limit: int = 8) -> str:
    """Join names for a message, saying how many more there are beyond ``limit``."""
    listed = [str(name) for name in names]
    text = ", ".join(listed[:limit])
    return text if len(listed) <= limit else f"{text} and {len(listed) - limit} more"


def shown(value: object) -> str:
    """A table cell for a message: plain Python notation, whatever scalar type it has."""
    return repr(value.item() if hasattr(value, "item") else value)
