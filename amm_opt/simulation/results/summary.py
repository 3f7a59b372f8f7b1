"""The summary of a run: the values of its columns."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from amm_opt.errors import one_line
from amm_opt.simulation.results.column import Column
from amm_opt.simulation.results.columns import EVERYWHERE, OF_REPLAYS, OF_RUNS, in_order
from amm_opt.simulation.results.run import Run


def summarised(run: Run) -> Run:
    """A run with all columns that apply to it; the user's own ones see the others in ``run.summary``.

    Columns whose values are known but not what they are computed from, as of a run that was read from disk, stay.
    """
    nothing = dict.fromkeys((column.name for column in EVERYWHERE), np.nan)
    run = with_values(run, {**nothing, **run.summary, **computed((*OF_RUNS, *OF_REPLAYS), run)})
    return with_values(run, _own_values(run))


def with_values(run: Run, values: Mapping[str, float]) -> Run:
    """A run with these values in its summary, in the order of tables."""
    known = {**run.summary, **values}
    ordered = {name: known[name] for name in in_order(known)}
    return replace(run, summary=pd.Series(ordered, name=str(run.mechanism), dtype=float))


def computed(columns: Sequence[Column], *runs: Run) -> dict[str, float]:
    """The values of the columns that apply to a run: those that do not, give None."""
    values = {column.name: column.of(*runs) for column in columns}
    return {name: float(value) for name, value in values.items() if value is not None}


def typed(table: pd.DataFrame, columns: Mapping[str, Column]) -> pd.DataFrame:
    """A table whose counts are whole numbers, where they are known in every row."""
    whole = (name for name, column in columns.items() if column.kind == "count")
    return table.astype({name: "Int64" for name in whole if name in table and table[name].notna().all()})


def _own_values(run: Run) -> dict[str, float]:
    """The values of a user's columns: one that fails, or gives no finite number, is NaN with a warning."""
    values = {}
    for column in run.columns:
        if column.compute is None:
            continue
        value, problem = np.nan, ""
        try:
            given = column.compute(run)
            value = float(np.nan if given is None else given)
            problem = f"it gave {given}" if given is None or np.isinf(value) else ""
        except Exception as error:
            problem = one_line(error)
        if problem:
            warnings.warn(f"{run.mechanism}: column {column.name!r} is empty: {problem}", stacklevel=5)
        values[column.name] = np.nan if problem else value
    return values
