"""Tables of a page: cells as they are read and as they are sorted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from amm_opt.io.text import number, plain
from amm_opt.simulation.results.column import Column


@dataclass(frozen=True)
class Cell:
    """What stands in a table.

    Attributes:
        text: as it is read.
        key: a number that it is sorted by; None for a text, and for what is not there.
        number: whether it stands to the right.
    """

    text: str
    key: float | None = None
    number: bool = False


@dataclass(frozen=True)
class Heading:
    """Of a column: what it is called and what it means."""

    text: str
    meaning: str = ""
    number: bool = False


@dataclass(frozen=True)
class Table:
    """A table with a name, one row for each of ``rows``."""

    name: str
    caption: str
    headings: Sequence[Heading]
    rows: Sequence[Sequence[Cell]]


def text(value: object) -> Cell:
    """A text."""
    return Cell(plain(value))


def figure(value: float | None, form: str) -> Cell:
    """A number in a format, a dash where there is none."""
    there = value is not None and math.isfinite(float(value))
    shown = number(value, form)
    if there and form.endswith("f") and abs(float(value or 0.0)) >= 10_000:
        shown = format(float(value or 0.0), f",{form}")
    return Cell(shown, float(value) if there and value is not None else None, True)


def heading(column: Column) -> Heading:
    """Of a summary column: its name in words, its unit, and which way is better."""
    words = column.name.removesuffix("_mwh").replace("_", " ")
    better = {"higher": "higher is better", "lower": "lower is better"}.get(column.better or "", "")
    unit = f", {column.unit}" if column.unit else ""
    return Heading(f"{words}{unit}", "; ".join(filter(None, (column.meaning, better))), True)


def headings(names: Iterable[tuple[str, bool]]) -> list[Heading]:
    """Names of columns, and whether they hold numbers."""
    return [Heading(name, "", number) for name, number in names]
