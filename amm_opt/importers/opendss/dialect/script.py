"""What OpenDSS scripts say: commands, elements and their properties in order, without their meaning."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

OPEN, CLOSE = "#open", "#close"
"""Properties that stand for the commands; the value is the terminal."""
LIKE = "#like"
"""Property of some classes that stands after what ``like`` copied; the value is the name of the other one."""


class Where(NamedTuple):
    """File and line of a statement."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass
class Element:
    """One element: its assignments (property, value) in the order in which they were made."""

    kind: str
    name: str
    where: Where
    given: list[tuple[str, str]] = field(default_factory=list)
    enabled: bool = True
    last: int = -1

    def __str__(self) -> str:
        return f"{self.where}: {self.kind} {self.name!r}"


class Edit(NamedTuple):
    """One statement that changes an element: its assignments, in order, and where files beside it are."""

    element: Element
    given: list[tuple[str, str]]
    where: Where
    folder: Path = Path()


class Command(NamedTuple):
    """A ``set``, ``solve`` or ``reset``: its parameters."""

    verb: str
    given: list[tuple[str, str]]
    where: Where


@dataclass
class Script:
    """What the files say, in order.

    Attributes:
        events: every edit and command, in the order of the files.
        elements: by (class, name).
        options: ``set`` options, the last value of each.
        left_out: statements and elements without meaning for a network, by name, with how often they occur.
        problems: everything that could not be read, with file and line.
        remarks: what a user should know although it is no error.
        commented: names of commented-out elements, by class.
        files: every file read.
        circuit: the circuit's name.
        base_frequency: ``set defaultbasefrequency`` when the circuit was made, as text.
        unknown_buses: buses of elements of unsupported classes, in lower case.
    """

    events: list[Edit | Command] = field(default_factory=list)
    elements: dict[tuple[str, str], Element] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    commented: dict[str, list[str]] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    circuit: str = ""
    base_frequency: str = ""
    unknown_buses: set[str] = field(default_factory=set)

    def of(self, kind: str) -> list[Element]:
        """Enabled elements of a class."""
        return [e for (k, _), e in self.elements.items() if k == kind and e.enabled]

    def option(self, *names: str, default: str = "") -> str:
        """Value of the first of these options that was set."""
        return next((self.options[name] for name in names if name in self.options), default)
