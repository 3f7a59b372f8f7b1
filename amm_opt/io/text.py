"""Names and numbers as text on a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len

NARROW, WIDE, GAP = 12, 20, 2
"""Smallest width of a column that may be folded, the same where it has long words, and spaces between columns."""
ENERGY = ((1e-3, "kWh"), (1.0, "MWh"), (1e3, "GWh"))
"""Units of energy in MWh."""


def plain(text: object, keep: str = "") -> str:
    """Text of others as it may be printed: what a terminal would obey or hide is written as an escape code.

    Control characters, marks of direction and of zero width stand as ``\\x1b`` or ``\\u202e``; not those in ``keep``.
    """
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode("ascii") for c in str(text))


def energy_unit(values: Iterable[float]) -> tuple[float, str]:
    """The unit in which the largest of these energies in MWh reads best, and how many MWh it is."""
    finite = [abs(v) for v in map(float, values) if math.isfinite(v)]
    largest = max(finite, default=0.0)
    return ENERGY[0] if 0.0 < largest < 1.0 else ENERGY[2] if largest >= 1e5 else ENERGY[1]


def number(value: Any, form: str) -> str:
    """A number in a format such as ``.2f``, without the sign of a zero; a dash where there is none."""
    if value is None or not math.isfinite(float(value)):
        return "-"
    text = format(float(value), form)
    return text.removeprefix("-") if float(text) == 0 else text


@dataclass(frozen=True)
class TableColumn:
    """One column of a table as it is printed.

    ``folds``: text that may go over several lines; numbers never do. ``rank``: 0 is always shown; of the others the
    highest goes first where there is no room.
    """

    header: str
    cells: Sequence[str]
    folds: bool = False
    rank: int = 0

    @property
    def name(self) -> str:
        """The header on one line."""
        return self.header.replace("-\n", "").replace("\n", " ")

    @property
    def natural(self) -> int:
        """The width that it has where nothing is folded."""
        return max(cell_len(line) for line in (*self.header.split("\n"), *self.cells))

    @property
    def narrowest(self) -> int:
        """The width that it needs: words and numbers stay whole, unless they are very long."""
        if not self.folds:
            return self.natural
        longest = max((cell_len(p.rstrip()) for cell in self.cells for p in _pieces(cell)), default=0)
        return min(self.natural, max(NARROW, min(longest + 1, WIDE)))


def table(title: str, columns: Sequence[TableColumn], width: int) -> list[str]:
    """Lines of a table that is at most so wide, and a last one that says which columns had no room.

    Where even the columns of rank 0 have no room, there is one line per number instead, and nothing is missing.
    """
    shown, no_room = list(columns), []
    while _needs(shown) > width and any(c.rank for c in shown):
        first = max(shown, key=lambda c: c.rank)
        shown.remove(first)
        no_room.append(first.name)
    lines = [line for part in title.split("\n") for line in fold(part, width)]
    if _needs(shown) > width:
        return [*lines, *_records(columns, width)]
    lines += _grid(shown, width)
    if no_room:
        lines += fold(f"No room for {', '.join(reversed(no_room))}: --json has all.", width)
    return lines


def fold(text: str, width: int) -> list[str]:
    """Text over lines that are at most so wide: broken after spaces and the marks : , = where it can be."""
    lines, line = [], ""
    for piece in _pieces(text):
        if line and cell_len(line + piece.rstrip()) > width:
            lines.append(line.rstrip())
            line = " "
        line += piece
        while cell_len(line.rstrip()) > width:
            head = _head(line, width)
            lines.append(head)
            line = " " + line[len(head) :]
    return [*lines, line.rstrip()] if line.strip() or not lines else lines


def _pieces(text: str) -> list[str]:
    """Parts between which text may be broken; the mark at which it is broken stays before the break."""
    pieces, piece = [], ""
    for i, c in enumerate(text):
        piece += c
        after = text[i + 1 : i + 2]
        if c == " " or c == "=" or (c in ":," and after and not after.isdigit() and after != " "):
            pieces.append(piece)
            piece = ""
    return [*pieces, piece] if piece else pieces


def _head(text: str, width: int) -> str:
    """The longest beginning that is at most so wide, one character at least."""
    used = 0
    for i, c in enumerate(text):
        used += cell_len(c)
        if used > width:
            return text[: max(i, 1)]
    return text


def _needs(columns: Sequence[TableColumn]) -> int:
    return sum(c.narrowest for c in columns) + GAP * (len(columns) - 1)


def _grid(columns: Sequence[TableColumn], width: int) -> list[str]:
    widths = [c.narrowest for c in columns]
    room = width - _needs(columns)
    wanting = sorted(range(len(columns)), key=lambda i: columns[i].natural - widths[i])
    for k, i in enumerate(wanting):
        more = min(room // (len(wanting) - k), columns[i].natural - widths[i])
        widths[i] += more
        room -= more
    rows = [[column.header.split("\n") for column in columns]]
    rows += [
        [fold(c.cells[k], w) if c.folds else [c.cells[k]] for c, w in zip(columns, widths, strict=True)]
        for k in range(len(columns[0].cells))
    ]
    lines = []
    for row in rows:
        high = max(map(len, row))
        for k in range(high):
            cells = []
            for column, w, cell in zip(columns, widths, row, strict=True):
                top = high - len(cell) if row is rows[0] else 0
                text = cell[k - top] if 0 <= k - top < len(cell) else ""
                space = " " * (w - cell_len(text))
                cells.append(text + space if column.folds else space + text)
            lines.append((" " * GAP).join(cells).rstrip())
        if row is rows[0]:
            lines.append((" " * GAP).join("-" * w for w in widths))
    return lines


def _records(columns: Sequence[TableColumn], width: int) -> list[str]:
    """One line per number, below the text of the first column."""
    lines = []
    names = max((cell_len(c.name) for c in columns[1:]), default=0)
    for k, first in enumerate(columns[0].cells):
        lines += fold(first, width)
        for column in columns[1:]:
            cell = column.cells[k]
            if not cell:
                continue
            line = f"  {column.name}{' ' * (names - cell_len(column.name))}  {cell}"
            if cell_len(line) <= width:
                lines.append(line)
            else:
                lines += [f"  {part}" for part in fold(column.name, width - 2)]
                lines += [f"    {part}" for part in (fold(cell, width - 4) if column.folds else [cell])]
    return lines
