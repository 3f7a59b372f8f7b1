"""Checking profiles and the series that scale them: what they hold, in codes, and all problems found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from amm_opt.cases.folder.magnitudes import LARGEST
from amm_opt.cases.profiles import QUANTITIES, REQUESTS
from amm_opt.cases.times import UNITS
from amm_opt.errors import shorten, shown
from amm_opt.io.columns import check_columns

SERIES_COLUMNS = {"participant": None, "quantity": None, "profile": None, "scale_kw": None}
SERIES_OPTIONAL = {"shift_steps": 0}
MAX_SHIFT = 1e9


def checked_profiles(table: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """Profile columns (all but the times) as a (T, P) float32 array."""
    problems: list[str] = []
    names = [c for c in table.columns if c not in ("time", *UNITS)]
    values = np.empty((len(table), len(names)), dtype=np.float32)
    for j, name in enumerate(names):
        column = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
        problems += [
            f"profiles: column {name!r} row {i + 1}: {shown(table[name].iloc[i])} is not a finite number"
            for i in np.flatnonzero(~(np.abs(column) < LARGEST))[:5]
        ]
        with np.errstate(over="ignore"):
            values[:, j] = column
    return values, problems


def checked_series(
    table: pd.DataFrame, participants: Sequence[str], columns: Sequence[str], values: np.ndarray
) -> tuple[pd.DataFrame, list[str]]:
    """Series with integer codes for participant, quantity and profile."""
    problems = check_columns(table, SERIES_COLUMNS, SERIES_OPTIONAL, "series")
    if problems:
        return table, problems
    table = table.reset_index(drop=True)
    coded = pd.DataFrame(index=table.index)
    for column, choices in (("participant", participants), ("quantity", QUANTITIES), ("profile", columns)):
        place = {name: i for i, name in enumerate(choices)}
        coded[column] = table[column].astype(str).map(place)
        for i in np.flatnonzero(coded[column].isna()):
            problems.append(
                f"series: column {column!r} row {i + 1}: unknown {column} {shown(table[column].iloc[i])}"
                + ("" if column == "participant" else f"; valid choices: {shorten(choices, 40)}")
            )
    coded["scale_kw"] = pd.to_numeric(table["scale_kw"], errors="coerce").astype(float)
    shift = pd.to_numeric(table.get("shift_steps", pd.Series(0, index=table.index)), errors="coerce").astype(float)
    shift = shift.where(table["shift_steps"].notna(), 0.0) if "shift_steps" in table else shift.fillna(0.0)
    coded["shift_steps"] = shift
    whole = (np.abs(shift) < MAX_SHIFT) & (shift == shift.round())
    for column, bad, kind in (
        ("scale_kw", ~np.isfinite(coded["scale_kw"]), "a finite number"),
        ("shift_steps", ~whole, f"a whole number within +-{MAX_SHIFT:g}"),
    ):
        problems += [
            f"series: column {column!r} row {i + 1}: {shown(table[column].iloc[i])} is not {kind}"
            for i in np.flatnonzero(bad)
        ]
    if problems:
        return coded, problems
    coded = coded.astype({"participant": np.intp, "quantity": np.intp, "profile": np.intp, "shift_steps": np.intp})
    problems += _negative_requests(coded, table, columns, values)
    return coded, problems


def _negative_requests(
    coded: pd.DataFrame, table: pd.DataFrame, columns: Sequence[str], values: np.ndarray
) -> list[str]:
    request = coded["quantity"].isin([QUANTITIES.index(q) for q in REQUESTS])
    problems = [
        f"series: column 'scale_kw' row {i + 1}: negative request {coded['scale_kw'].iloc[i]:g} of"
        f" {table['quantity'].iloc[i]} of participant {shown(table['participant'].iloc[i])}"
        for i in np.flatnonzero(request & (coded["scale_kw"] < 0))
    ]
    for j in coded["profile"][request].unique():
        for row in np.flatnonzero(values[:, j] < 0)[:5]:
            user = table["participant"][request & (coded["profile"] == j)].iloc[0]
            problems.append(
                f"profiles: column {columns[j]!r} row {row + 1}: negative request {values[row, j]:g}"
                f" (used by participant {user!r})"
            )
    return problems
