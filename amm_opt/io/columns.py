"""Checks of the columns of a table: what is missing, what is no number, and which rows break a rule."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.errors import shown

HUGE = 1 << 1023
"""Whole numbers from here on may be no float."""


def check_columns(table: pd.DataFrame, required: Iterable[str], optional: Iterable[str], what: str) -> list[str]:
    """Problems with missing, unknown or repeated columns of ``table``."""
    needed, known = list(required), [*required, *optional]
    problems = [f"{what}: missing column {c!r}" for c in needed if c not in table.columns]
    problems += [
        f"{what}: unknown column {c!r}; valid columns: {', '.join(known)}" for c in table.columns if c not in known
    ]
    if not table.columns.is_unique:
        problems.append(f"{what}: repeated column {table.columns[table.columns.duplicated()][0]!r}")
    return problems


def floats(column: pd.Series[Any]) -> pd.Series[float]:
    """Any column as floats: NaN where it is no number, infinite where it is larger than any."""
    try:
        return pd.to_numeric(column, errors="coerce").astype(float)
    except OverflowError:  # whole numbers of Python have no largest one
        huge = [isinstance(v, int) and abs(v) >= HUGE for v in column]
        ends = [(np.inf if v > 0 else -np.inf) if h else v for h, v in zip(huge, column, strict=True)]
        return floats(pd.Series(ends, index=column.index, dtype=object))


def numbers(table: pd.DataFrame, column: str, what: str, problems: list[str]) -> pd.Series[float]:
    """The column as floats; text that is no number becomes NaN and a problem that names the element."""
    values = floats(table[column])
    for name, raw in zip(table["name"][values.isna()], table[column][values.isna()], strict=True):
        if not (raw is None or raw is pd.NA or (isinstance(raw, float) and np.isnan(raw))):
            problems.append(f"{what} {name!r}: {column} = {shown(raw)} is not a number")
    return values


def flag(
    table: pd.DataFrame, bad: pd.Series[bool], what: str, say: Callable[[pd.Series[object]], str]
) -> Iterator[str]:
    """One problem per row where ``bad`` holds."""
    for _, row in table[bad].iterrows():
        yield f"{what} {row['name']!r}: {say(row)}"


def text(value: object) -> str | None:
    """A table cell as text; None where it is empty."""
    return None if value is None or value is pd.NA or value != value or value == "" else str(value)


def unique_names(names: Iterable[str], taken: Collection[str] = ()) -> list[str]:
    """The names, later ones of a name with a number that no other name has."""
    given = list(names)
    used = {*taken, *given}
    seen, out = set(taken), []
    for name in given:
        made, number = name, 2
        while made in (seen if made == name else used):
            made, number = f"{name} ({number})", number + 1
        seen.add(made)
        used.add(made)
        out.append(made)
    return out
