"""Arrays of numbers that OpenDSS reads from a statement or from a file beside it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.importers.opendss.dialect.paths import found, no_file
from amm_opt.importers.opendss.dialect.text import is_yes, numbers, tokens, whole
from amm_opt.importers.opendss.elements.component import UnsupportedError

_BINARY = {"sngfile": "<f4", "dblfile": "<f8"}
FILES = ("file", *_BINARY)
"""What stands before the name of a file in an array."""


def array_or_file(value: str, folder: Path) -> tuple[FloatArray, bool]:
    """Numbers of ``1 2 3`` or of ``file=x.csv col=2 header=yes``, and whether they are of a file.

    Raises:
        UnsupportedError, ValueError: where they cannot be read.
    """
    if not re.match(rf"\s*({'|'.join(FILES)})\s*=", value, flags=re.IGNORECASE):
        return np.array(numbers(value)), False
    given = dict(tokens(value))
    if strange := given.keys() - {*FILES, "col", "column", "header"}:
        raise UnsupportedError(f"unknown {sorted(strange)[0]!r} beside a file")
    kind = next(name for name in FILES if name in given)
    if kind != "file":
        return binary(given[kind], kind, folder), True
    column = whole(given.get("col", given.get("column", "1")))
    rows = table(given["file"], folder, is_yes(given.get("header", "no")))
    if column < 1 or any(len(row) < column for row in rows):
        raise UnsupportedError(f"{given['file']!r} has no column {column} in every row")
    return np.array([row[column - 1] for row in rows]), True


def binary(name: str, kind: str, folder: Path) -> FloatArray:
    """Numbers of a ``sngfile`` or ``dblfile``.

    Raises:
        UnsupportedError: where it cannot be read.
    """
    path = _path(name, folder)
    values = np.frombuffer(path.read_bytes(), dtype=_BINARY[kind]).astype(float)
    if not np.isfinite(values).all():
        raise UnsupportedError(f"{name!r} has values that are no finite numbers; is it a {kind}?")
    return np.asarray(values)


def table(name: str, folder: Path, header: bool = False) -> list[list[float]]:
    """Rows of a text file, with commas, semicolons, tabs or spaces between numbers; empty lines do not count.

    Raises:
        UnsupportedError: where it cannot be read; with the line that is none.
    """
    rows = []
    lines = _path(name, folder).read_text(encoding="utf-8-sig", errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        words = re.split(r"[,;\s]+", line.strip(" \t,;"))
        if (number == 1 and header) or words == [""]:
            continue
        try:
            rows.append([float(word) for word in words])
        except ValueError:
            raise UnsupportedError(f"{name!r} line {number}: {line.strip()[:40]!r} is not numbers") from None
    return rows


def _path(name: str, folder: Path) -> Path:
    path = found(folder, name)
    if said := no_file(path):
        raise UnsupportedError(f"file {said}")
    return path
