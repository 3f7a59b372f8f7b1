"""Times: reading them without guessing, and selecting intervals by them."""

from __future__ import annotations

import datetime as dt
import re
import warnings
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from amm_opt.arrays import BoolArray
from amm_opt.errors import InputError, counted, shown
from amm_opt.fields import is_number, is_whole, shortened

UNITS = {"time_s": "s", "time_min": "min", "time_h": "h"}
"""Columns of numbers: times since 1970-01-01 00:00 in a unit."""
SHORTEST, LONGEST = pd.Timedelta(seconds=1), pd.Timedelta(days=31)
YEARS = 1678, 2261
"""Whole years that times in nanoseconds can tell."""
ISO = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,9})?)?( ?(Z|[+-]\d\d:?\d\d))?)?")
PERIOD = re.compile(r"(\d{4})(-\d\d)?(-\d\d)?([ T]\d\d)?(:\d\d)?(:\d\d(\.\d{1,9})?)?")
_ORDERED = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4}|\d\d)(?!\d)(.*)")
_YEAR_FIRST = re.compile(r"(\d{4})[/.-](\d{1,2})[/.-](\d{1,2})(?!\d)(.*)")
_PARTS = {1: "Y", 2: "M", 3: "D", 4: "h", 5: "m", 6: "s"}
_SHOWN = 20


def as_iso(text: str) -> str:
    """What a text that is no ISO date could mean, for a message; empty where that is unclear."""
    given = _ORDERED.fullmatch(text.strip()) or _YEAR_FIRST.fullmatch(text.strip())
    if given is None:
        return ""
    a, b, c = (int(part) for part in given.groups()[:3])
    orders = [(c, b, a), (c, a, b)] if given.re is _ORDERED else []
    orders += [(a, b, c)] if len(given[1]) == 4 or len(given[3]) == 2 else []
    dates = {(y + 2000 if y < 100 else y, month, day) for y, month, day in orders}
    found = [
        f"{y:04d}-{month:02d}-{day:02d}{given[4]}"
        for y, month, day in sorted(dates, reverse=True)
        if _is_day(y, month, day)
    ]
    return " or ".join(found)


def _is_day(year: int, month: int, day: int) -> bool:
    try:
        return bool(dt.date(year, month, day))
    except ValueError:
        return False


def not_a_time(value: object) -> str:
    """Why a value is no time, as the end of a sentence that begins with its place."""
    if isinstance(value, str) and ISO.fullmatch(value.strip()) and as_iso(value):
        if not YEARS[0] <= int(value.strip()[:4]) <= YEARS[1]:
            return f"{shown(value)} is outside the years {YEARS[0]} to {YEARS[1]}"
        return f"{shown(value)} is no time that exists: hours are 00 to 23, minutes and seconds 00 to 59"
    if isinstance(value, str) and (meant := as_iso(value)):
        ambiguous = " or " in meant
        return f"{shown(value)} is {'ambiguous: it can be' if ambiguous else 'no ISO date: write'} {meant}"
    if isinstance(value, bool | int | float | np.number) and value == value:
        return f"{shown(value)} is a number, not a time"
    return f"{shown(value)} is not a time such as 2030-06-01 12:30"


def read_times(column: pd.Series[object], what: str) -> tuple[pd.DatetimeIndex, list[str]]:
    """A column of times: ISO texts or time stamps, all with one offset from UTC or all without; NaT where unclear.

    Args:
        what: the column, for messages, such as ``"profiles: column 'time'"``.
    """
    values = pd.Series(column).reset_index(drop=True)
    if isinstance(values.dtype, pd.DatetimeTZDtype) or values.dtype.kind == "M":
        times = _nanoseconds(pd.DatetimeIndex(values))
        return times, list(_refused(values, np.asarray(times.isna()), what))
    cells = values.to_numpy(dtype=object)
    clear = [cell.strip() if isinstance(cell, str) else cell if _is_clear(cell) else None for cell in cells]
    clear = [cell if _is_clear(cell) else None for cell in clear]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)  # what pandas 2 says of offsets that are mixed
            times = pd.DatetimeIndex(pd.to_datetime(pd.Series(clear, dtype=object), format="ISO8601"))
    except (ValueError, TypeError, OverflowError, FutureWarning):
        stamps = [_stamp(cell) for cell in clear]
        offsets = {_offset(stamp) for stamp in stamps if stamp is not pd.NaT}
        if len(offsets) > 1:
            return pd.DatetimeIndex([pd.NaT] * len(cells)), [
                f"{what}: {' and '.join(sorted(offsets))} are mixed; give one standard time all year"
            ]
        times = pd.DatetimeIndex(stamps)
    times = _nanoseconds(times)
    return times, list(_refused(values, np.asarray(times.isna()), what))


def _is_clear(cell: object) -> bool:
    if isinstance(cell, str):
        return ISO.fullmatch(cell.strip()) is not None
    return isinstance(cell, dt.date | np.datetime64) and cell is not pd.NaT


def _stamp(cell: object) -> pd.Timestamp:
    try:
        return pd.Timestamp(cell)
    except (ValueError, TypeError, OverflowError):
        return pd.NaT


def _offset(stamp: pd.Timestamp) -> str:
    return "times without a zone" if stamp.tz is None else f"offset {stamp.isoformat()[-6:]}"


def _nanoseconds(times: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """In one resolution; what it cannot hold is no time."""
    inside = (times.year >= 1678) & (times.year <= 2261)
    return times.where(inside).as_unit("ns")


def _refused(values: pd.Series[object], bad: BoolArray, what: str) -> Iterator[str]:
    at = np.flatnonzero(bad)
    cells = [values.iloc[i] for i in at]
    if cells and all(map(_is_number_like, cells)):
        units = f"; or name it {', '.join(UNITS)}: numbers of a unit since 1970" if what.startswith("profiles") else ""
        yield f"{what} holds numbers ({shown(cells[0])}): write dates such as 2030-06-01 12:30{units}"
        return
    for i, cell in zip(at[:_SHOWN], cells, strict=False):
        yield f"{what} row {i + 1}: {not_a_time(cell)}"
    if len(at) > _SHOWN:
        yield f"{what}: {counted(len(at) - _SHOWN, 'more row is not a time', 'more rows are not times')}"


def _is_number_like(cell: object) -> bool:
    if isinstance(cell, str):
        return re.fullmatch(r"\s*-?\d+(\.\d*)?(e[+-]?\d+)?\s*", cell) is not None
    return isinstance(cell, int | float | np.number) and cell == cell


def time_column(table: pd.DataFrame) -> str | None:
    """Which column of profiles holds times: ``time``, or numbers with a unit; None where there is not exactly one."""
    found = [c for c in ("time", *UNITS) if c in table.columns]
    return found[0] if len(found) == 1 else None


def _counted(column: pd.Series[object], unit: str, timezone: str | None) -> tuple[pd.DatetimeIndex, list[str]]:
    """Times from numbers of a unit since 1970-01-01 00:00: in UTC where the case has a time zone."""
    what = f"profiles: column {column.name!r}"
    number = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    seconds = number * {"s": 1.0, "min": 60.0, "h": 3600.0}[unit]
    with np.errstate(invalid="ignore"):
        bad = ~(np.abs(seconds) <= 7.0e9)
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        return pd.DatetimeIndex([]), [
            f"{what} row {at + 1}: {shown(column.iloc[at])} is no number of {unit} since 1970"
        ]
    times = pd.DatetimeIndex((seconds * 1000.0).round().astype("int64").astype("datetime64[ms]")).as_unit("ns")
    return (
        times if timezone is None else times.tz_localize("UTC").tz_convert(ZoneInfo(timezone)).tz_localize(None)
    ), []


def checked_times(
    column: pd.Series[object], step_minutes: float | None, timezone: str | None, steps: int | None
) -> tuple[pd.DatetimeIndex, list[str]]:
    """The time column of profiles as naive, regular time stamps in the case's standard time."""
    problems: list[str] = []
    longest = LONGEST.total_seconds() / 60
    if step_minutes is not None and not (is_number(step_minutes) and 1 / 60 <= step_minutes <= longest):
        problems.append(
            f"step_minutes = {shortened(step_minutes)} must be a positive number: at least 1/60, at most {longest:g}"
        )
        step_minutes = None
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int | np.integer)):
        problems.append(f"steps = {steps!r} must be a whole number")
        steps = None
    if problem := unknown_zone(timezone):
        return pd.DatetimeIndex([]), [*problems, problem]
    if str(column.name) in UNITS:
        parsed, said = _counted(column, UNITS[str(column.name)], timezone)
    else:
        parsed, said = read_times(column, "profiles: column 'time'")
    problems += said
    if not said:
        problems += _zone_problems(parsed, timezone)
    if len(parsed) < 2 and not said:
        problems.append(f"profiles: column {column.name!r} has {counted(len(parsed), 'row')}; at least 2 are needed")
    if parsed.tz is not None:
        parsed = parsed.tz_localize(None)
    return parsed, problems or _irregular(parsed, step_minutes, steps, str(column.name))


def _irregular(times: pd.DatetimeIndex, step_minutes: float | None, steps: int | None, name: str) -> list[str]:
    what = f"profiles: column {name!r}"
    step = pd.Timedelta(minutes=step_minutes).round("ms") if step_minutes else times[1] - times[0]
    if step <= pd.Timedelta(0):
        return [f"{what} row 2: {times[1]} does not come after {times[0]}"]
    if not SHORTEST <= step <= LONGEST:
        numbers = ": were numbers read as nanoseconds?" if step < SHORTEST else ""
        return [f"{what} row 2: an interval of {step.total_seconds():g} s is not within 1 s to 31 days{numbers}"]
    minutes = step / pd.Timedelta(minutes=1)
    away = np.diff(times.to_numpy()) - step.to_timedelta64()
    gap = np.flatnonzero(away != np.timedelta64(0, "ns"))
    hour = np.timedelta64(1, "h")
    problems = [
        f"{what} row {i + 2}: step from {times[i]} to {times[i + 1]} is not {minutes:g} minutes"
        + (" (the clock is changed there? give standard time all year)" if abs(away[i]) == hour else "")
        for i in gap[:_SHOWN]
    ]
    if steps is not None and len(times) != steps:
        problems.append(
            f"profiles: wrong length: column {name!r} has {counted(len(times), 'row')}, the case says"
            f" {counted(steps, 'step')}"
        )
    return problems


def unknown_zone(timezone: str | None) -> str:
    """Why a text is no zone of a case's times; empty where it is one, or None."""
    try:
        zone = None if timezone is None else ZoneInfo(timezone)
    except (KeyError, ValueError, TypeError, OSError):
        return f"unknown timezone {timezone!r}; give an IANA name such as Etc/GMT-10"
    if zone is None:
        return ""
    now = {dt.datetime(2039, month, 15, tzinfo=zone).utcoffset() for month in range(1, 13)}
    if len(now) == 1:
        return ""
    hours = min(o for o in now if o is not None) / dt.timedelta(hours=1)
    standard = (
        f": give that of its standard time, Etc/GMT{-hours:+g}" if hours == round(hours) else ": give one without"
    )
    return f"timezone {timezone!r} has daylight saving time{standard}; times are in standard time all year"


def _zone_problems(times: pd.DatetimeIndex, timezone: str | None) -> list[str]:
    """What is wrong with the zone of times: another one, or a clock that was changed meanwhile."""
    if times.tz is None:
        if timezone is None or len(times) < 2:
            return []
        zone = ZoneInfo(timezone)
        days = pd.date_range(times.min().normalize(), times.max().normalize() + pd.Timedelta(days=1), freq="D")
        offsets = {day.to_pydatetime().replace(tzinfo=zone).utcoffset() for day in days[:4000]}
        if len(offsets) == 1:
            return []
        return [f"timezone {timezone!r} changed its clock between {times.min()} and {times.max()}: give one without"]
    if timezone is None:
        return ["profiles: column 'time' row 1 has a time zone but the case gives none (timezone in case.toml)"]
    given, asked = (
        (t.tz_localize(None) - times.tz_convert("UTC").tz_localize(None)).to_numpy()
        for t in (times, times.tz_convert(ZoneInfo(timezone)))
    )
    if not np.any(given != asked):
        return []
    at = int(np.flatnonzero(given != asked)[0])
    return [f"profiles: column 'time' row {at + 1}: time zone {times.tz} is not the case's {timezone} at {times[at]}"]


def span(times: pd.DatetimeIndex, steps: object, case: str) -> tuple[int, int]:
    """First interval and one past the last of a selection; see ``Case.span``.

    Raises:
        InputError: where it is not one, is empty, or begins or ends outside the case.
    """
    if steps is None:
        return 0, len(times)
    inside = f"case {case!r} has {counted(len(times), 'interval')} from {times[0]} to {times[-1]}"
    if isinstance(steps, str | dt.date | np.datetime64):
        steps = slice(steps, steps)
    elif not isinstance(steps, slice):
        if not is_whole(steps) or steps < 1:  # type: ignore[operator]
            raise InputError(f"steps = {shortened(steps)} must be a count of at least 1, a date or a slice; {inside}")
        steps = slice(0, steps)
    if steps.step is not None and not (is_whole(steps.step) and steps.step == 1):
        raise InputError(f"steps must be consecutive, not every {shortened(steps.step)}")
    first, stop = _position(times, steps.start, 0, inside, last=False), len(times)
    if steps.stop is not None:
        stop = _position(times, steps.stop, stop, inside, last=True)
    if not 0 <= first <= len(times) or not 0 <= stop <= len(times):
        raise InputError(f"steps from {shortened(first)} to {shortened(stop)} are not inside the case; {inside}")
    if first >= stop:
        given = f"steps from {steps.start if steps.start is not None else 'the first'} to {steps.stop or 'the end'}"
        raise InputError(f"{given} select no interval: the end is not after the start; {inside}")
    return first, stop


def _position(times: pd.DatetimeIndex, at: object, default: int, inside: str, *, last: bool) -> int:
    if at is None:
        return default
    if is_whole(at):
        return int(at)  # type: ignore[call-overload, no-any-return]
    start, stop = _period(at)
    end = times[-1] + (times[1] - times[0])
    if stop <= times[0] or start >= end:
        at = at.strip() if isinstance(at, str) else at
        raise InputError(f"{at} is {'before' if stop <= times[0] else 'after'} the case; {inside}")
    return int(times.searchsorted(stop if last else start))


def _period(at: object) -> tuple[pd.Timestamp, pd.Timestamp]:
    """What a date such as ``2016``, ``2016-05`` or ``2016-05-23 14:30`` covers: from its start to the next one's."""
    if isinstance(at, dt.date | np.datetime64) and not pd.isna(at):
        at = str(at).replace("T", " ")
    if not isinstance(at, str):
        raise InputError(f"{at!r} is not a date such as 2016-01-04")
    text = at.strip()
    given = PERIOD.fullmatch(text)
    parts = [] if given is None else [part is not None for part in given.groups()[:6]]
    known = sum(parts)
    if given is None or not all(parts[:known]):
        if ISO.fullmatch(text):
            raise InputError(f"{at} has a time zone: the times of a case are in its standard time, without one")
        raise InputError(not_a_time(at) if as_iso(text) else f"{at!r} is not a date such as 2016-01-04")
    unit: Any = "ns" if given[7] else _PARTS[known]
    try:
        start = np.datetime64(text.replace(" ", "T"), unit)
        return pd.Timestamp(start), pd.Timestamp(start + np.timedelta64(1, unit))
    except (ValueError, OverflowError) as error:
        raise InputError(f"{at!r} is not a date such as 2016-01-04: {error}") from None


def is_length(value: int | str) -> bool:
    """Whether a value is a horizon: a number of intervals, a length of time such as ``1D``, or ``all``."""
    text = str(value).strip()
    if value == "all" or (re.fullmatch("[0-9]{1,9}", text) and int(text) > 0):
        return True
    return length_h(text) is not None


def length_h(text: str) -> float | None:
    """Hours of a length of time such as ``1D`` or ``30min``; None where a text is none."""
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)? ?[A-Za-z]+", text):
        return None
    try:
        hours = pd.Timedelta(text) / pd.Timedelta(hours=1)
    except (ValueError, OverflowError):
        return None
    return float(hours) if hours > 0 else None
