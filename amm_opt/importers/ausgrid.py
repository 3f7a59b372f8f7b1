"""Household profiles in the layout of Ausgrid's solar home data: one row per customer, category and day."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.errors import InputError, as_path, counted, shorten, shown
from amm_opt.importers.report import ImportReport
from amm_opt.io.tables import as_table

CATEGORIES = {"GC": "inflexible", "CL": "import", "GG": "export"}
"""General consumption, controlled load and gross generation, and what they are here."""
KEYS = ("Customer", "Consumption Category", "date")
DATE_FORMS = ("%d/%m/%Y", "%d-%b-%y", "%d-%b-%Y", "%d/%m/%y", "%Y-%m-%d")
HALF_HOURS = [*[f"{h}:{m:02d}" for h in range(24) for m in (0, 30)][1:], "0:00"]
"""Column names: the end of each half-hour."""


@dataclass(frozen=True, eq=False)
class Households:
    """Measured half-hours of customers, as profiles of a case.

    Attributes:
        profiles: ``time`` and one column in kW per customer and category, such as ``12-GC``: the table that
            ``from_tables`` takes.
        customers: their numbers, ascending.
    """

    profiles: pd.DataFrame
    customers: tuple[int, ...]
    report: ImportReport = field(default_factory=ImportReport)

    def series(self, participants: Mapping[str, int] | Sequence[str]) -> pd.DataFrame:
        """The ``series`` table that gives participants the profiles of customers.

        Args:
            participants: customer of each participant; or participants, who get the customers in turn.

        Raises:
            InputError: unknown customers.
        """
        if not isinstance(participants, Mapping):
            count = len(self.customers)
            participants = {name: self.customers[i % count] for i, name in enumerate(participants)}
        if unknown := sorted({str(c) for c in participants.values() if c not in self.customers}):
            raise InputError(f"no customer {shorten(unknown)}; there are {shorten(self.customers)}")
        rows = [
            (name, quantity, f"{customer}-{category}", 1.0)
            for name, customer in participants.items()
            for category, quantity in CATEGORIES.items()
            if f"{customer}-{category}" in self.profiles
        ]
        return pd.DataFrame(rows, columns=["participant", "quantity", "profile", "scale_kw"])


def read_ausgrid(path: str | Path, customers: Sequence[int] | None = None) -> Households:
    """Read half-hourly household data in Ausgrid's solar home layout (columns GC, GG, CL; kWh per half-hour).

    The header may stand below a title line. General consumption becomes inflexible load, controlled load a flexible
    import request, gross generation an export request.

    Args:
        path: the CSV file.
        customers: which to keep; all by default.

    Raises:
        InputError: missing columns, unknown categories, customers or dates, values that are no numbers or negative, or
            customers without every day of the file; all at once.
    """
    path = as_path(path, "file")
    if not path.is_file():
        raise InputError(f"{path} not found, or not a file")
    return _households(_table(path), customers, str(path))


def _table(path: Path) -> pd.DataFrame:
    """The rows below the header, which may stand below title lines."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            lines = [line.rstrip("\n") for _, line in zip(range(5), file, strict=False)]
        firsts = [line.split(",")[0].strip(' "') for line in lines]
        if "Customer" not in firsts:
            raise InputError(f"{path}: no header that starts with 'Customer' in the first lines")
        at = firsts.index("Customer")
        table = pd.read_csv(path, skiprows=at, encoding="utf-8-sig", skipinitialspace=True)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from error
    header = [name.strip(' "') for name in lines[at].split(",")]
    table.columns = [str(c).strip() for c in table.columns]
    problems = []
    if missing := [c for c in (*KEYS, *HALF_HOURS) if c not in header or c not in table]:
        problems.append(f"missing columns {shorten(missing)}")
    if twice := sorted({c for c in header if c and header.count(c) > 1}):
        problems.append(f"columns that stand twice: {shorten(twice)}")
    if not problems and [c for c in header if c in HALF_HOURS] != HALF_HOURS:
        problems.append(
            "half-hours must be named by their ends, 0:30, 1:00, ... 23:30, 0:00, in this order; where 0:00 is the"
            " first, they may be named by their starts"
        )
    if problems:
        raise InputError(problems, subject=str(path))
    return as_table(table, str(path))


def _dates(column: pd.Series[object]) -> pd.Series[pd.Timestamp]:
    """Days as the layout writes them: day, month, year; or ISO. NaT for anything else."""
    text = column.astype(str).str.strip()
    days = pd.Series(pd.NaT, index=column.index, dtype="datetime64[s]")
    for form in DATE_FORMS:
        days = days.where(days.notna(), pd.to_datetime(text, format=form, errors="coerce").astype("datetime64[s]"))
    return days


def _numbers(column: pd.Series[object]) -> tuple[pd.Series[float], list[str]]:
    """Customers as whole numbers, and which are none."""
    values = pd.to_numeric(column, errors="coerce").astype(float)
    bad = ~((values.abs() < 1e15) & (values == values.round()))
    return values, [f"customer {shown(c)} is no whole number" for c in dict.fromkeys(column[bad])][:5]


def _wanted(customers: Any, there: set[int]) -> list[str]:
    if not isinstance(customers, Collection) or not all(isinstance(c, int | np.integer) for c in customers):
        return [f"customers = {customers!r}; whole numbers are needed"]
    return [f"no customer {c}" for c in sorted(set(customers) - there)]


def _households(table: pd.DataFrame, customers: Sequence[int] | None, subject: str) -> Households:
    table, kwh, day = _checked(table, customers, subject)
    first = day.min()
    days = int((day.max() - first) / pd.Timedelta(days=1)) + 1
    place = ((day - first) / pd.Timedelta(days=1)).to_numpy().astype(int)
    columns, problems = _columns(table, kwh, place, days)
    if problems:
        raise InputError(problems, subject=subject)
    times = pd.date_range(first, periods=48 * days, freq="30min")
    numbers = tuple(sorted({int(c) for c in table["Customer"]}))
    report = ImportReport(source=subject)
    report.read += [counted(len(numbers), "customer"), counted(len(columns), "profile"), counted(days, "day")]
    report.read.append(f"the highest half-hour is {2.0 * kwh.max():g} kW")
    if unread := [c for c in table if c not in (*KEYS, *HALF_HOURS, "Row Quality") and table[c].notna().any()]:
        report.left_out.append(f"columns that are not read: {shorten(unread)}")
    report.assumed += [
        "values are kWh in half an hour",
        f"dates that are not ISO are day first: the first day is {first:%Y-%m-%d}, the last {day.max():%Y-%m-%d}",
        "a column's time is the end of its half-hour; every day has 48, in standard time",
        "controlled load is flexible; days without a row of it have none",
    ]
    if "Row Quality" in table and table["Row Quality"].notna().any():
        marked = int(table["Row Quality"].notna().sum())
        report.assumed.append(f"{marked} rows with a quality mark are used as they are")
    return Households(pd.DataFrame({"time": times, **columns}), numbers, report)


def _checked(
    table: pd.DataFrame, customers: Sequence[int] | None, subject: str
) -> tuple[pd.DataFrame, FloatArray, pd.Series[pd.Timestamp]]:
    """The rows of the wanted customers, their (rows, 48) kWh, and their days; or everything that is wrong with them."""
    values, problems = _numbers(table["Customer"])
    if problems:
        raise InputError(problems, subject=subject)
    table = table.assign(Customer=values.astype(int))
    if customers is not None:
        problems += _wanted(customers, set(table["Customer"]))
        table = table[table["Customer"].isin(list(customers))] if isinstance(customers, Collection) else table
    known = table["Consumption Category"].isin(list(CATEGORIES))
    problems += [f"unknown category {c!r}" for c in sorted(set(map(str, table["Consumption Category"][~known])))]
    day = _dates(table["date"])
    wrong = sorted(set(map(str, table["date"][day.isna()])))[:5]
    problems += [f"{d!r} is no date such as 1/07/2012, 1-Jul-12 or 2012-07-01 (day first)" for d in wrong]
    kwh = table[HALF_HOURS].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    if bad := int((~np.isfinite(kwh)).sum()):
        problems.append(f"{bad} half-hours are empty or no numbers")
    if negative := int((kwh < 0).sum()):
        problems.append(f"{negative} half-hours are negative")
    if problems or len(table) == 0:
        raise InputError(problems or ["no rows"], subject=subject)
    return table, kwh, day


def _columns(
    table: pd.DataFrame, kwh: FloatArray, place: IntArray, days: int
) -> tuple[dict[str, FloatArray], list[str]]:
    """kW of every customer and category, and what is wrong with their days.

    Args:
        place: day of every row, from the first.
    """
    columns: dict[str, FloatArray] = {}
    problems: list[str] = []
    rows_of = table.reset_index(drop=True).groupby(["Customer", "Consumption Category"]).indices
    for (customer, category), rows in rows_of.items():
        own = place[rows]
        if len(set(own)) != len(own):
            problems.append(f"customer {customer}: two rows of {category} for one day")
        elif len(own) < days and category != "CL":
            problems.append(f"customer {customer}: {category} has {len(own)} of {days} days")
        kw = np.zeros((days, len(HALF_HOURS)))
        kw[own] = 2.0 * kwh[rows]
        columns[f"{customer}-{category}"] = kw.ravel()
    return columns, problems
