"""The one door for tables from Python and from files: pandas data frames of plain numbers, texts and times."""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.errors import InputError, as_path, reason, shorten
from amm_opt.fields import is_text, shortened

FLAGS = ("closed",)
"""Columns that hold true and false; elsewhere these are no values."""
_PLAIN = {str, float, int, type(None)}
_SHOWN = 5
LARGEST = 1e300


def read_table(path: object, what: str, *, texts: Collection[str] | None = ()) -> pd.DataFrame:
    """A table from a file: .parquet, or else CSV, packed or not; only empty cells have no value.

    Args:
        what: it is, for messages.
        texts: columns that are read as text; None for all.

    Raises:
        InputError: where it cannot be read, a name of a column is repeated, or rows are longer than the header.
    """
    file = as_path(path, what)
    how: dict[str, Any] = {"keep_default_na": False, "encoding": "utf-8-sig"}
    kind: Any = str if texts is None else dict.fromkeys(texts, str)
    try:
        if file.suffix == ".parquet":
            with file.open("rb") as opened:  # by its path a folder such as a=1 would become a column
                table = pd.read_parquet(opened)
            whole = [c for c in texts or () if c in table and pd.api.types.is_integer_dtype(table[c])]
            return table.astype(dict.fromkeys(whole, str))
        header = pd.read_csv(file, header=None, nrows=1, dtype=str, **how).iloc[0]
        table = pd.read_csv(file, dtype=kind, na_values=[""], low_memory=False, **how)
    except Exception as error:  # pandas and pyarrow raise errors of many kinds
        raise InputError(f"{file} cannot be read as a {what}: {reason(error)}") from error
    if not isinstance(table.index, pd.RangeIndex):
        raise InputError(f"{file}: rows have more cells than the header has names")
    if (twice := header[header.duplicated() & header.ne("")].unique()).size:
        raise InputError([f"{file}: repeated column {c!r}" for c in twice])
    return table


def as_table(table: object, what: str, *, times: Collection[str] = ()) -> pd.DataFrame:
    """The same table with plain columns: numpy numbers and times, or objects that are str, int, float, bool or None.

    An index, or a level of one, that has a name becomes a column.

    Args:
        times: columns that may hold times; where none of them is there, a DatetimeIndex is the first of them, whatever
            its name.

    Raises:
        InputError: where it is no data frame, a cell is neither a number, a text nor a time, or an index differs from
            the column of its name; all at once.
    """
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"{what} must be a pandas DataFrame, not {shortened(table)}")
    plain = _with_index(table, what, tuple(times))
    if isinstance(plain.columns, pd.MultiIndex) or not all(isinstance(c, str) for c in plain.columns):
        odd = [c for c in plain.columns if not isinstance(c, str)]
        raise InputError(f"{what}: the names of columns must be texts, not {shorten(map(repr, odd))}")
    if not plain.columns.is_unique:
        raise InputError([f"{what}: repeated column {c!r}" for c in plain.columns[plain.columns.duplicated()].unique()])
    problems: list[str] = []
    columns: dict[str, Any] = {}
    for place, name in enumerate(plain.columns):
        columns[name], said = _plain(plain.iloc[:, place], name in FLAGS)
        problems += [f"{what}: column {name!r} {sentence}" for sentence in said]
    if problems:
        raise InputError(problems)
    return pd.DataFrame(columns, index=pd.RangeIndex(len(plain)))


def _with_index(table: pd.DataFrame, what: str, times: tuple[str, ...]) -> pd.DataFrame:
    """The table with its named index as columns."""
    levels = [(name, table.index.get_level_values(i)) for i, name in enumerate(table.index.names)]
    if times and isinstance(table.index, pd.DatetimeIndex) and not set(times) & {*table.columns, table.index.name}:
        levels = [(times[0], table.index)]
    named, problems = table.reset_index(drop=True), []
    for name, values in reversed(levels):
        if name is None:
            continue
        if name not in table.columns:
            named.insert(0, name, values)
        elif not _same(table[name], values):
            problems.append(f"{what}: the index is named {name!r} and differs from the column {name!r}")
    if problems:
        raise InputError(problems)
    return named


def _same(column: Any, index: pd.Index[Any]) -> bool:
    """Whether a column, which is a table where its name is repeated, holds what an index does."""
    return isinstance(column, pd.Series) and pd.Index(column).equals(index)


def _plain(column: pd.Series[Any], flag: bool) -> tuple[Any, list[str]]:
    kind = column.dtype
    if isinstance(kind, np.dtype) and kind.kind in "iufM":
        values = column.to_numpy()
        return (values.astype(float) if kind.kind == "f" else values), []
    if isinstance(kind, pd.DatetimeTZDtype):
        return column.array, []
    if isinstance(kind, np.dtype) and kind.kind == "b":
        return column.to_numpy(), [] if flag else ["holds true and false, not numbers or texts"]
    try:
        cells = column.to_numpy(dtype=object)
    except (ValueError, TypeError) as error:
        return None, [f"cannot be read: {error}"]
    if set(map(type, cells)) <= _PLAIN:
        cells = cells.copy()
    else:
        cells = np.fromiter((_cell(value) for value in cells), dtype=object, count=len(cells))
    return cells, list(_bad_cells(cells, column, flag))


def _cell(value: Any) -> Any:
    """One cell in plain Python; what is none of that stays as it is."""
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, np.generic) and not isinstance(value, np.datetime64):
        value = value.item()
    if isinstance(value, decimal.Decimal | fractions.Fraction):
        try:
            return float(value)
        except (ValueError, OverflowError):
            return np.nan
    return str(value) if isinstance(value, str) else value


def _bad_cells(cells: np.ndarray, column: pd.Series[Any], flag: bool) -> Iterator[str]:
    count = 0
    for i, cell in enumerate(cells):
        if isinstance(cell, float) or cell is None:
            continue
        if reason := _reason(cell, flag):
            count += 1
            if count <= _SHOWN:
                yield f"row {i + 1}: {shortened(column.iloc[i])} {reason}"
    if count > _SHOWN:
        yield f"has {count - _SHOWN} more such cells"


def _reason(cell: Any, flag: bool) -> str:
    if isinstance(cell, str):
        return "" if is_text(cell) else "holds letters that no text has"
    if isinstance(cell, bool):
        return "" if flag else "is neither a number nor a text"
    if isinstance(cell, int):
        return "" if abs(cell) < LARGEST else "is too large"
    return "" if isinstance(cell, dt.date | np.datetime64) else "is neither a number, a text nor a time"
