"""Checking charging sessions: in which intervals each is, and all problems found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from amm_opt.arrays import IntArray
from amm_opt.cases.folder.magnitudes import SUSPECT_SESSION_KW
from amm_opt.cases.times import read_times
from amm_opt.errors import shown
from amm_opt.io.columns import check_columns

SESSION_COLUMNS = {"participant": None, "arrival": None, "departure": None, "power_kw": None, "energy_kwh": None}
REPORTED = 20
"""At most so many rows are named for each rule."""


def checked_sessions(
    table: pd.DataFrame, participants: Sequence[str], times: pd.DatetimeIndex
) -> tuple[pd.DataFrame, list[str]]:
    """Charging sessions with integer participant and first/last interval, and how much of those they miss."""
    problems = check_columns(table, SESSION_COLUMNS, (), "sessions")
    if problems:
        return table, problems
    table = table.reset_index(drop=True)
    who = _places(table["participant"], participants)
    problems += [
        f"sessions: row {i + 1}: unknown participant {shown(table['participant'].iloc[i])}"
        for i in np.flatnonzero(who < 0)[:REPORTED]
    ]
    arrival, departure, said = _stays(table)
    problems += said
    if arrival.dt.tz is not None or departure.dt.tz is not None:
        return table, problems
    power, energy = (pd.to_numeric(table[c], errors="coerce").astype(float) for c in ("power_kw", "energy_kwh"))
    step = times[1] - times[0]
    problems += _broken_rules(table, arrival, departure, power, energy, times)
    if problems or times.hasnans or step <= pd.Timedelta(0):
        return table, problems
    first, last = (arrival - times[0]) // step, -((times[0] - departure) // step) - 1
    return pd.DataFrame(
        {
            "participant": who,
            "first": first.astype(np.intp),
            "last": last.astype(np.intp),
            "late": ((arrival - times[0]) % step / step).astype(float),
            "early": ((times[0] - departure) % step / step).astype(float),
            "power_kw": power,
            "energy_kwh": energy,
        }
    ), problems


def _places(column: pd.Series[object], participants: Sequence[str]) -> IntArray:
    """Number of the participant of each session; -1 where there is none of this name."""
    place = {name: i for i, name in enumerate(participants)}
    code, seen = pd.factorize(column)
    known = np.array([place.get(str(name), -1) for name in seen] + [-1], dtype=np.intp)
    return np.asarray(known[code])


def _stays(table: pd.DataFrame) -> tuple[pd.Series[pd.Timestamp], pd.Series[pd.Timestamp], list[str]]:
    """Arrivals, departures and what is wrong with them; of those with a time zone nothing else is said."""
    read = {c: read_times(table[c], f"sessions: column {c!r}") for c in ("arrival", "departure")}
    arrival, departure = (pd.Series(times, index=table.index) for times, _ in read.values())
    zoned = [c for c, (times, _) in read.items() if times.tz is not None]
    said = [sentence for _, sentences in read.values() for sentence in sentences]
    if zoned:
        said = [f"sessions: {' and '.join(zoned)} must be in the case's standard time, without a time zone"]
    return arrival, departure, said


def _broken_rules(
    table: pd.DataFrame,
    arrival: pd.Series[pd.Timestamp],
    departure: pd.Series[pd.Timestamp],
    power: pd.Series[float],
    energy: pd.Series[float],
    times: pd.DatetimeIndex,
) -> Iterator[str]:
    """One sentence per session that breaks a rule."""
    capacity = power * ((departure - arrival) / pd.Timedelta(hours=1))
    outside = (arrival < times[0]) | (arrival >= times[-1] + (times[1] - times[0]))
    rules = (
        (departure <= arrival, "departure {departure} is not after arrival {arrival}"),
        (outside, "arrival {arrival} is outside the profiles"),
        (~(np.isfinite(power) & (power > 0)), "power_kw = {power_kw} must be positive"),
        (power > SUSPECT_SESSION_KW, f"power_kw = {{power_kw}} must be at most {SUSPECT_SESSION_KW:g}: is it in W?"),
        (~(np.isfinite(energy) & (energy >= 0)), "energy_kwh = {energy_kwh} must not be negative"),
        (
            energy > capacity * (1 + 1e-9),
            "{energy_kwh} kWh cannot fit between {arrival} and {departure} at {power_kw} kW: at most {capacity:g} kWh"
            " do",
        ),
    )
    for bad, message in rules:
        for i in np.flatnonzero(bad)[:REPORTED]:
            given = {**table.iloc[i].to_dict(), "capacity": capacity.iloc[i]}
            yield f"sessions: row {i + 1}: " + message.format(**given)
