"""Other profiles: columns of the table, or the kW of single participants."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import pandas as pd

from amm_opt.cases.folder.parts import TIMES
from amm_opt.cases.profiles import QUANTITIES
from amm_opt.cases.times import checked_times, time_column
from amm_opt.errors import InputError, counted, shorten
from amm_opt.fields import shortened
from amm_opt.io.columns import unique_names
from amm_opt.io.tables import as_table


def with_columns(
    tables: dict[str, pd.DataFrame], profiles: object, quantity: object, timezone: str
) -> dict[str, pd.DataFrame]:
    """Tables ``profiles`` and ``series`` with other columns, or with the kW of participants.

    Args:
        timezone: of the case, or empty; times with a zone must be in it.

    Raises:
        InputError: see ``Case.with_profiles``.
    """
    given, times = as_table(profiles, "profiles", times=TIMES), pd.DatetimeIndex(tables["profiles"]["time"])
    problems = list(_other_times(given, times, timezone))
    given = given.drop(columns=[c for c in TIMES if c in given])
    if given.columns.empty:
        problems.append("profiles: no column beside the times")
    if quantity is not None and not (isinstance(quantity, str) and quantity in QUANTITIES):
        problems.append(f"quantity = {shortened(quantity)}; valid choices: {', '.join(QUANTITIES)}, or None")
    elif quantity is not None:
        problems += _strangers(given.columns, list(tables["participants"]["name"]))
    if problems:
        raise InputError(problems, subject="with_profiles")
    series = tables["series"]
    if quantity is not None:
        series = series[~(series["quantity"].eq(quantity) & series["participant"].isin(given.columns))]
        who = list(given.columns)
        given.columns = pd.Index(unique_names([f"{name} {quantity}" for name in who], set(series["profile"])))
        terms = pd.DataFrame({"participant": who, "quantity": quantity, "profile": given.columns, "scale_kw": 1.0})
        series = pd.concat([series, terms.assign(shift_steps=0)], ignore_index=True)
    kept = tables["profiles"]
    added = given[[name for name in given if name not in kept]]
    replaced = kept.assign(**{name: given[name] for name in given if name in kept})
    return {"profiles": pd.concat([replaced, added], axis=1), "series": series}


def _other_times(given: pd.DataFrame, times: pd.DatetimeIndex, timezone: str) -> list[str]:
    """What is wrong with the times of profiles that are to fit a case."""
    has = f"the case has {counted(len(times), 'interval')} from {times[0]} to {times[-1]}"
    hint = "with_tables(profiles=...) gives a case other times"
    if len(given) != len(times):
        return [f"profiles: {counted(len(given), 'row')}; {has}; {hint}"]
    if not any(c in given for c in TIMES):
        return []
    when = time_column(given)
    if when is None:
        return [f"profiles: give one of the columns {', '.join(c for c in TIMES if c in given)}"]
    own, said = checked_times(given[when], None, timezone or None, None)
    if said:
        return said
    different = own != times
    if not different.any():
        return []
    row = int(different.argmax())
    return [f"profiles: column {when!r} row {row + 1}: {own[row]} is not {times[row]}; {has}; {hint}"]


def _strangers(columns: Sequence[str], participants: list[str]) -> list[str]:
    """One sentence for all columns that are named after no participant."""
    unknown = [name for name in columns if name not in set(participants)]
    if not unknown:
        return []
    near = difflib.get_close_matches(unknown[0], participants, n=4, cutoff=0.0)
    return [f"profiles: no participants {shorten(map(repr, unknown))}; there are such as {', '.join(map(repr, near))}"]
