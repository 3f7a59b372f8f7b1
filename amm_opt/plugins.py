"""Plug-ins of other packages, found by entry points: a broken one is reported and left out.

And attributes such as ``case.plot``, which rooms further up provide: the package itself says which ones.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from amm_opt.errors import InputError, one_line
from amm_opt.io.output import foreign

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

logger = logging.getLogger("amm_opt")

OURS = "amm-opt"
_reported: set[str] = set()


def entries(group: str) -> dict[str, EntryPoint]:
    """Entry points by name; of two with one name ours is taken, or else the first."""
    from importlib.metadata import entry_points

    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        other = found.setdefault(entry.name, entry)
        if entry.value != other.value:
            kept, out = (entry, other) if _package(entry) == OURS else (other, entry)
            found[entry.name] = kept
            _report(f"{_named(out, group)} is left out: the name is taken")
    return found


def load(entry: EntryPoint, group: str, wrong: Callable[[Any], str]) -> Any:
    """What an entry point stands for.

    Args:
        wrong: what is wrong with it; an empty text where it will do.

    Raises:
        InputError: where it cannot be loaded or is of the wrong kind.
    """
    try:
        with foreign():
            item = entry.load()
            reason = wrong(item)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise InputError(f"{_named(entry, group)} cannot be loaded: {one_line(error)}") from error
    if reason:
        raise InputError(f"{_named(entry, group)} cannot be used: {reason}")
    return item


def loaded(group: str, wrong: Callable[[Any], str]) -> dict[str, Any]:
    """All that can be loaded, by name."""
    found = {}
    for name, entry in sorted(entries(group).items()):
        try:
            found[name] = load(entry, group, wrong)
        except InputError as error:
            _report(f"{error}; it is left out")
    return found


def _report(sentence: str) -> None:
    if sentence not in _reported:
        _reported.add(sentence)
        logger.warning("%s", sentence)


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else ""


def _named(entry: EntryPoint, group: str) -> str:
    package = _package(entry)
    return f"plug-in {entry.name!r} ({group}{f', package {package}' if package else ''})"


HOMES: dict[str, str] = {}
"""Module and class, as ``module:Class``, of what stands behind an attribute, by the owner's name."""


class Accessor:
    """An attribute that is made when it is first asked for, and kept with its owner.

    Args:
        owner: its name in ``HOMES``.
    """

    def __init__(self, owner: str) -> None:
        self.owner, self.name = owner, ""

    def __set_name__(self, kind: type, name: str) -> None:
        self.name = name

    def __get__(self, item: Any, kind: type | None = None) -> Any:
        if item is None:
            return self
        module, _, name = HOMES[self.owner].partition(":")
        made = item.__dict__[self.name] = getattr(import_module(module), name)(item)
        return made
