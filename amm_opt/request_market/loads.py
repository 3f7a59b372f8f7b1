"""Series of power of households, from a table of the user's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray
from amm_opt.cases.times import read_times
from amm_opt.errors import InputError, counted, shorten
from amm_opt.io.tables import as_table, read_table
from amm_opt.request_market.split import LEAST_MINUTES

SLOT = pd.Timedelta(minutes=30)


@dataclass(frozen=True, eq=False)
class HouseholdLoads:
    """Loads of households at equal steps that divide half an hour.

    Attributes:
        times: (T,) beginnings of the intervals, the first of which begins a half-hour.
        names: of the H households.
        load_kw: (T, H).
    """

    times: pd.DatetimeIndex
    names: tuple[str, ...]
    load_kw: FloatArray

    @classmethod
    def from_table(cls, table: pd.DataFrame, what: str = "households") -> HouseholdLoads:
        """Loads of a table with the column ``time`` and one column in kW per household.

        Args:
            what: the table's name in messages.

        Raises:
            InputError: gaps in time, negative or missing power, no households; all at once.
        """
        plain = as_table(table, what, times=("time",))
        names = [str(c) for c in plain.columns if c != "time"]
        problems = [] if names else [f"{what}: there is no column beside time"]
        times = pd.DatetimeIndex([])
        if "time" not in plain:
            problems.append(f"{what}: missing column 'time'")
        else:
            times, said = read_times(plain["time"], f"{what}: column 'time'")
            problems += said or _problems_of_times(times, what)
        columns = [_column(plain[name], f"{what}: {name!r}", problems) for name in names]
        if problems:
            raise InputError(problems)
        return cls(times, tuple(names), np.stack(columns, axis=1))

    @property
    def step_minutes(self) -> float:
        """Length of an interval."""
        return float((self.times[1] - self.times[0]) / pd.Timedelta(minutes=1))

    @property
    def per_slot(self) -> int:
        """Intervals in a half-hour."""
        return round(LEAST_MINUTES / self.step_minutes)

    @property
    def n_slots(self) -> int:
        """Half-hours."""
        return len(self.times) // self.per_slot


def read_household_loads(path: str | Path) -> HouseholdLoads:
    """The loads of a CSV or Parquet file, see ``HouseholdLoads.from_table``.

    Raises:
        InputError: where it cannot be read, and everything that is wrong with the table.
    """
    return HouseholdLoads.from_table(read_table(path, "household table"))


def _problems_of_times(times: pd.DatetimeIndex, what: str) -> list[str]:
    if len(times) < 2:
        return [f"{what}: there must be two intervals or more"]
    steps = np.diff(times.asi8)
    problems = [f"{what}: time {t} is repeated or out of order" for t in times[1:][steps <= 0][:5]]
    step = pd.Timedelta(int(np.median(steps)), "ns")
    if not problems:
        gaps = np.flatnonzero(steps != step.value)
        problems += [f"{what}: a gap from {times[k]} to {times[k + 1]}, other steps are {step}" for k in gaps[:5]]
        if len(gaps) > 5:
            problems.append(f"{what}: {len(gaps) - 5} more gaps in time")
    if step <= pd.Timedelta(0) or SLOT % step != pd.Timedelta(0):
        problems.append(f"{what}: steps of {step} must divide 30 minutes")
    elif len(times) % round(SLOT / step):
        problems.append(
            f"{what}: {counted(len(times), 'interval')} of {step} must come to a whole number of half-hours"
        )
    if times[0] != times[0].floor(SLOT):
        problems.append(f"{what}: the first time {times[0]} must begin a half-hour")
    return problems


def _column(values: pd.Series[Any], what: str, problems: list[str]) -> FloatArray:
    """A household's power; what is wrong with it joins the problems."""
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(float)
    for bad, word in ((~np.isfinite(numbers), "no number"), (numbers < 0, "negative power")):
        if bad.any():
            rows = shorten((np.flatnonzero(bad) + 1).tolist(), 5)
            problems.append(f"{what} has {word} in row {rows}")
    return np.asarray(numbers)
