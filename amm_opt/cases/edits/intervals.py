"""Other intervals: a part of a case over and over, and intervals of another length that keep all energy."""

from __future__ import annotations

import numpy as np
import pandas as pd

from amm_opt.cases.times import LONGEST, SHORTEST
from amm_opt.errors import InputError
from amm_opt.fields import is_number, is_whole, shortened
from amm_opt.io.columns import unique_names

Tables = dict[str, pd.DataFrame]
MAX_INTERVALS = 10_000_000
"""More than a century of half-hours."""
LAST_YEAR = 2261


def repeated(tables: Tables, count: int, start: int, stop: int) -> Tables:
    """Intervals ``start`` to ``stop - 1`` of a case ``count`` times, with the sessions that arrive in them.

    Raises:
        InputError: see ``Case.repeat``.
    """
    times = pd.DatetimeIndex(tables["profiles"]["time"])
    step, length = times[1] - times[0], stop - start
    _check_count(count, length, times[start], step)
    whole = start == 0 and stop == len(times)
    moved = tables if whole else _shifted(tables, len(times))
    part = moved["profiles"].iloc[start:stop]
    profiles = pd.concat([part] * count, ignore_index=True)
    profiles["time"] = times[start] + step * np.arange(count * length)
    series = moved["series"] if whole else moved["series"].assign(shift_steps=0)
    sessions = tables["sessions"]
    arrival = sessions["arrival"]
    own = sessions[(arrival >= times[start]) & (arrival < times[start] + length * step)]
    every = [
        own.assign(arrival=own["arrival"] + k * length * step, departure=own["departure"] + k * length * step)
        for k in range(count)
    ]
    return {"profiles": profiles, "series": series, "sessions": pd.concat(every, ignore_index=True)}


def _check_count(count: int, length: int, start: pd.Timestamp, step: pd.Timedelta) -> None:
    if not is_whole(count) or count < 1:
        raise InputError(f"count = {shortened(count)} must be a whole number of at least 1", subject="repeat")
    total = count * length
    if total < 2:
        raise InputError("one interval once is no case: at least 2 intervals are needed", subject="repeat")
    if total > MAX_INTERVALS:
        most = MAX_INTERVALS // length
        raise InputError(
            f"count = {shortened(count)} must be at most {most}: {length} intervals each, {MAX_INTERVALS} in all",
            subject="repeat",
        )
    if start.year + total * (step / pd.Timedelta(days=365)) >= LAST_YEAR:
        raise InputError(f"count = {shortened(count)}: the case would not end before {LAST_YEAR}", subject="repeat")


def resampled(tables: Tables, minutes: float) -> Tables:
    """Profiles and series for intervals of another length, of the same mean power.

    Raises:
        InputError: see ``Case.resample``.
    """
    times = pd.DatetimeIndex(tables["profiles"]["time"])
    now, new = times[1] - times[0], _checked_length(minutes)
    if new == now:
        return {}
    if new < now:
        return _finer(tables, _ratio(now, new, now), now)
    ratio = _ratio(new, now, now)
    if len(times) % ratio or len(times) == ratio:
        raise InputError(
            f"{len(times)} intervals of {_minutes(now)} cannot be put together in {ratio}s to at least two of"
            f" {_minutes(new)}; case.repeat(1, steps=...) takes a part",
            subject="resample",
        )
    moved = _shifted(tables, ratio)
    values = moved["profiles"].drop(columns="time")
    means = values.to_numpy(float).reshape(len(times) // ratio, ratio, -1).mean(axis=1)
    profiles = pd.DataFrame(means, columns=values.columns)
    profiles.insert(0, "time", times[::ratio])
    series = moved["series"]
    return {"profiles": profiles, "series": series.assign(shift_steps=series["shift_steps"] // ratio)}


def _finer(tables: Tables, ratio: int, step: pd.Timedelta) -> Tables:
    profiles = tables["profiles"]
    times, series = pd.DatetimeIndex(profiles["time"]), tables["series"]
    if len(times) * ratio > MAX_INTERVALS:
        raise InputError(f"{len(times) * ratio} intervals are more than {MAX_INTERVALS}", subject="resample")
    finer = profiles.loc[profiles.index.repeat(ratio)].reset_index(drop=True)
    finer["time"] = times[0] + (step // ratio) * np.arange(len(finer))
    shift = np.fmod(series["shift_steps"].to_numpy(np.int64), len(times)) * ratio
    return {"profiles": finer, "series": series.assign(shift_steps=shift)}


def _checked_length(minutes: float) -> pd.Timedelta:
    low, high = (limit / pd.Timedelta(minutes=1) for limit in (SHORTEST, LONGEST))
    if not is_number(minutes) or not low <= minutes <= high:
        raise InputError(
            f"minutes = {shortened(minutes)} must be a number, at least 1/60 and at most {high:g}, such as 5, 15, 30"
            " or 60",
            subject="resample",
        )
    return pd.Timedelta(round(float(minutes) * 60_000), unit="ms")


def _ratio(long: pd.Timedelta, short: pd.Timedelta, now: pd.Timedelta) -> int:
    if long % short != pd.Timedelta(0):
        new = short if long == now else long
        raise InputError(
            f"minutes = {new / pd.Timedelta(minutes=1):g} neither divides the {_minutes(now)} of the case's intervals"
            " nor is a multiple of them",
            subject="resample",
        )
    return int(long // short)


def _minutes(step: pd.Timedelta) -> str:
    return f"{step / pd.Timedelta(minutes=1):g} minutes"


def _shifted(tables: Tables, unit: int) -> Tables:
    """The same profiles and series where shifts are multiples of ``unit``: other terms get columns of their own."""
    profiles, series = tables["profiles"], tables["series"]
    rest = series["shift_steps"].to_numpy(np.int64) % unit
    odd = pd.DataFrame({"profile": series["profile"], "rest": rest})[rest != 0].drop_duplicates()
    wanted = [f"{name}, {by} later" for name, by in odd.itertuples(index=False)]
    names = unique_names(wanted, set(profiles.columns))
    keys = list(odd.itertuples(index=False, name=None))
    rolled = {new: np.roll(profiles[name].to_numpy(), by) for new, (name, by) in zip(names, keys, strict=True)}
    place = dict(zip(keys, names, strict=True))
    own = [place.get(key, key[0]) for key in zip(series["profile"], rest, strict=True)]
    moved = series.assign(profile=own, shift_steps=series["shift_steps"] - rest)
    return {"profiles": pd.concat([profiles, pd.DataFrame(rolled, index=profiles.index)], axis=1), "series": moved}
