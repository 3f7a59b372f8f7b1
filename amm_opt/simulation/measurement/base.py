"""What every kind of measurement error is: a few checked numbers, a name, and a text that makes it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, ClassVar

from amm_opt.cases import Case
from amm_opt.errors import InputError
from amm_opt.fields import Checked


@dataclass(frozen=True)
class Fault(Checked):
    """Base of every kind; subclasses are frozen dataclasses.

    Attributes:
        kind: what it is called in a text such as ``noise:sigma=0.05``.
    """

    kind: ClassVar[str] = ""

    def beyond(self, case: Case) -> str:
        """What of it is beyond a case; empty where nothing is."""
        return ""

    def refuse(self, *sentences: str) -> None:
        """Raise the sentences that are not empty.

        Raises:
            InputError: where there is one.
        """
        if said := [sentence for sentence in sentences if sentence]:
            raise InputError(said, subject=self.kind)

    def __str__(self) -> str:
        """The text that makes it: its name and what differs from the defaults, to the last digit."""
        given: Any = self
        values = {f.name: getattr(self, f.name) for f in fields(given) if getattr(self, f.name) != f.default}
        return f"{self.kind}:{','.join(f'{k}={v}' for k, v in values.items())}" if values else self.kind


def negative(fault: Fault, *names: str) -> list[str]:
    """A sentence for each of these that is below 0."""
    return [f"{n} = {getattr(fault, n)} must not be negative" for n in names if getattr(fault, n) < 0]


def too_large(fault: Fault, largest: float, *names: str) -> list[str]:
    """A sentence for each of these that is larger than a case may have it."""
    return [f"{n} = {getattr(fault, n):g} must be at most {largest:g}" for n in names if getattr(fault, n) > largest]


def no_interval(name: str, interval: int, case: Case, *, last: int) -> str:
    """A sentence where a number of intervals is larger than ``last``, the largest that a case has."""
    if interval <= last:
        return ""
    return f"{name} = {interval} is beyond the {case.n_steps} intervals of case {case.name}; at most {last}"


def no_rate(rate: float | None) -> str:
    """A sentence where a share of all is none."""
    return "" if rate is None or 0 <= rate <= 1 else f"rate = {rate} must be within 0 and 1"


def no_name(what: str, name: str, known: Sequence[str]) -> str:
    """A sentence where there is no participant, branch or feeder of this name, with those that are like it."""
    if name in known:
        return ""
    near = get_close_matches(name, known, n=4, cutoff=0.0)
    return f"unknown {what} {name!r}; valid choices are names such as {', '.join(near)}"
