"""What all kinds of OpenDSS elements share: properties in order, terminals that are open, buses with nodes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from amm_opt.importers.opendss.dialect.script import Element
from amm_opt.importers.opendss.dialect.text import whole

MOST_KV = 1e4
"""What an element may be rated for at most."""
_NEVER_COPIED = ("element", "base_frequency", "open_terminals", "remarks", "find")
PHASE_NAMES = {1: "a", 2: "b", 3: "c"}


class UnsupportedError(Exception):
    """What is wrong with an element, or cannot be followed."""


@dataclass
class Component:
    """An element that is built up by its properties, one statement after the other.

    Attributes:
        base_frequency: of the circuit, in Hz.
        open_terminals: terminals that commands and controls have opened.
        remarks: what a user should know.
        find: another element by its full name.
        kept: what ``like`` does not copy, besides.
    """

    kept: ClassVar[tuple[str, ...]] = ()
    element: Element
    base_frequency: float = 60.0
    open_terminals: set[int] = field(default_factory=set)
    remarks: list[str] = field(default_factory=list)
    find: Callable[[str], Component] | None = None

    @property
    def closed(self) -> bool:
        """Whether no terminal is open."""
        return not self.open_terminals

    def set(self, name: str, value: str) -> bool:
        """Take a property; whether it was read.

        Raises:
            UnsupportedError, ValueError: where it cannot be.
        """
        raise NotImplementedError

    def refer(self, name: str, found: Sequence[Component]) -> None:
        """Take a property that names other elements, which are these.

        Raises:
            UnsupportedError: where it cannot be.
        """
        raise NotImplementedError

    def alike(self, other: Component) -> None:
        """Take all values of another element as they stand, but for those that OpenDSS's ``like`` leaves alone.

        Of classes in ``STATEMENTS_LIKE`` this follows the other one's statements, for what OpenDSS copies otherwise.
        """
        for name, value in vars(other).items():
            if name not in (*_NEVER_COPIED, *self.kept):
                setattr(self, name, _copied(value))

    def end_of_statement(self) -> None:
        """After all properties of a statement."""

    def finish(self) -> None:
        """After the whole script.

        Raises:
            UnsupportedError: what is missing, or cannot be followed.
        """


@dataclass
class Terminal(Component):
    """What draws or gives power at a bus, from phases to neutral or between them."""

    kept: ClassVar[tuple[str, ...]] = ("bus1",)
    phases: int = 3
    bus1: str = ""
    kv: float = 12.47
    conn: str = "wye"
    bus: str = ""
    nodes: tuple[int, ...] = ()

    @property
    def delta(self) -> bool:
        """Whether it is connected between phases."""
        return is_delta(self.conn)

    @property
    def between_phases(self) -> bool:
        """Whether it has one phase and both its ends are at phases."""
        return self.phases == 1 and set(self.nodes[:2]) <= set(PHASE_NAMES) and len(self.nodes) > 1

    @property
    def phase_nodes(self) -> tuple[int, ...]:
        """Its nodes but for the neutral."""
        return self.nodes[: self.phases + self.between_phases]


def _copied(value: object) -> object:
    """A container with values of its own; other elements stay the same ones."""
    if isinstance(value, list):
        return [copy.copy(x) for x in value]
    return value if isinstance(value, Component) else copy.copy(value)


MAX_PHASES = 99


def bus_and_nodes(text: str, n: int, *, wye: bool = False) -> tuple[str, tuple[int, ...]]:
    """Name and nodes of ``bus.1.2.3``; surplus nodes do not count, missing ones are 1 .. n, neutral to 0.

    Raises:
        ValueError: where a node is no whole number.
        UnsupportedError: where the number of phases is none that an element can have.
    """
    if not 1 <= n <= MAX_PHASES:
        raise UnsupportedError(f"phases = {n} must be between 1 and {MAX_PHASES}")
    name, *nodes = text.strip().split(".")
    given = [whole(x) for x in nodes if x]
    wanted = n + 1 if wye else n
    default = [*range(1, n + 1), 0]
    given += default[len(given) : wanted] if len(given) < n else [0] * (wanted - len(given))
    return name, tuple(given[:wanted])


def is_delta(text: str) -> bool:
    """Whether a connection is delta (``delta``, ``ll``) rather than wye (``wye``, ``y``, ``ln``)."""
    return text.lower()[:1] == "d" or text.lower() == "ll"
