"""Checking the tables of a case; every function returns the completed table and all problems found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.cases.folder.magnitudes import LARGEST, SUSPECT_SESSION_KW, odd_participants
from amm_opt.cases.profiles import QUANTITIES
from amm_opt.cases.times import UNITS, read_times
from amm_opt.errors import shorten, shown
from amm_opt.network import Feeder
from amm_opt.network.feeder.tables import check_columns, flag, numbers, text

PARTICIPANT_COLUMNS = {"name": None, "bus": None}
PARTICIPANT_OPTIONAL = {
    "power_factor": 1.0,
    "power_factor_import": 1.0,
    "power_factor_export": 1.0,
    "connection_import_kw": np.nan,
    "connection_export_kw": np.nan,
    "battery_kwh": 0.0,
    "battery_kw": 0.0,
    "battery_efficiency": 0.95,
    "battery_initial": 0.5,
    "inflexible_kvar": 0.0,
}
SERIES_COLUMNS = {"participant": None, "quantity": None, "profile": None, "scale_kw": None}
MOST_SHIFT = 1e9
SERIES_OPTIONAL = {"shift_steps": 0}
SESSION_COLUMNS = {"participant": None, "arrival": None, "departure": None, "power_kw": None, "energy_kwh": None}


def _finite_or_fill(table: pd.DataFrame, columns: Mapping[str, object], what: str, problems: list[str]) -> pd.DataFrame:
    for column, default in columns.items():
        if column not in table:
            table[column] = default
        table[column] = numbers(table, column, what, problems)
        if default is not None:
            table[column] = table[column].fillna(default)
    return table


def checked_participants(table: pd.DataFrame, feeder: Feeder) -> tuple[pd.DataFrame, list[str]]:
    """Participants with defaults: unity power factors; connection limits from the branch that feeds their bus.

    No battery where none is given.
    """
    problems = check_columns(table, PARTICIPANT_COLUMNS, ["phases", *PARTICIPANT_OPTIONAL], "participants")
    if problems:
        return table, problems
    table = table.reset_index(drop=True)
    if table.empty:
        return table, ["participants: the table is empty"]
    for column in PARTICIPANT_COLUMNS:
        table[column] = [text(value) for value in table[column]]
    names = table["name"]
    problems += [f"participant in row {i + 1}: empty name" for i in np.flatnonzero(names.isna())]
    problems += [f"duplicate participant name {name!r}" for name in names[names.duplicated()].unique()]
    unknown = ~table["bus"].isin(feeder.bus_index)
    problems += flag(table, unknown, "participant", lambda r: f"unknown bus {r['bus']!r}")
    table["phases"], said = _connected_phases(table, feeder)
    problems += said
    table = _finite_or_fill(table, PARTICIPANT_OPTIONAL, "participant", problems)
    problems += odd_participants(table, feeder)
    for column in PARTICIPANT_OPTIONAL:
        if column.startswith("power_factor"):
            bad = ~table[column].abs().between(0.1, 1.0)
            problems += flag(
                table,
                bad,
                "participant",
                lambda r, c=column: f"{c} = {r[c]} must be within 0.1..1 (or -1..-0.1){percent(r[c])}",  # type: ignore[misc]
            )
        elif column.startswith("connection"):
            bus = table["bus"].map(feeder.bus_index).fillna(0).astype(int)
            lines = np.array([len(own) for own in table["phases"]]) if not feeder.balanced else 1
            table[column] = table[column].fillna(pd.Series(feeder.rating_kva[bus] * lines, index=table.index))
            problems += flag(
                table,
                ~(table[column] >= 0),
                "participant",
                lambda r, c=column: f"{c} = {r[c]} must not be negative",  # type: ignore[misc]
            )
    endless = ~np.isfinite(table["inflexible_kvar"])
    problems += flag(
        table, endless, "participant", lambda r: f"inflexible_kvar = {r['inflexible_kvar']} must be finite"
    )
    problems += _bad_batteries(table)
    return table[[*PARTICIPANT_COLUMNS, "phases", *PARTICIPANT_OPTIONAL]], problems


def _connected_phases(table: pd.DataFrame, feeder: Feeder) -> tuple[list[str], list[str]]:
    """Phases of every participant, by default all of its bus."""
    given = [text(v) for v in table["phases"]] if "phases" in table else [None] * len(table)
    phases, problems = [], []
    for name, bus, own in zip(table["name"], table["bus"], given, strict=True):
        at = feeder.bus_index.get(bus)
        there = () if at is None else feeder.phases[at]
        asked = there if own is None or own == "".join(there) else tuple(own)
        if at is not None and not (set(asked) <= set(there) and len(set(asked)) == len(asked)):
            problems.append(
                f"participant {name!r}: phases = {own!r} are not among those of bus {bus!r}: {''.join(there)}"
            )
        phases.append("".join(asked))
    return phases, problems


def percent(value: Any, rule: str = "within 0") -> str:
    """A question after a share that seems to be in percent."""
    return ": is it in %?" if "within 0" in rule and 1.0 < abs(value) <= 100.0 else ""


def _bad_batteries(table: pd.DataFrame) -> list[str]:
    size, power = table["battery_kwh"], table["battery_kw"]
    rules = (
        ("battery_kwh", ~(np.isfinite(size) & (size >= 0)), "must not be negative"),
        ("battery_kw", ~(np.isfinite(power) & (power >= 0)), "must not be negative"),
        ("battery_kwh", (size > 0) & (power == 0), "needs a battery_kw above 0"),
        ("battery_kw", (power > 0) & (size == 0), "needs a battery_kwh above 0"),
        ("battery_efficiency", ~table["battery_efficiency"].between(1e-3, 1.0), "must be within 0.001..1"),
        ("battery_initial", ~table["battery_initial"].between(0.0, 1.0), "must be within 0..1"),
    )
    return [
        said
        for column, bad, rule in rules
        for said in flag(table, bad, "participant", lambda r, c=column, m=rule: f"{c} = {r[c]} {m}{percent(r[c], m)}")  # type: ignore[misc]
    ]


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
    for i in np.flatnonzero(~np.isfinite(coded["scale_kw"])):
        problems.append(
            f"series: column 'scale_kw' row {i + 1}: {shown(table['scale_kw'].iloc[i])} is not a finite number"
        )
    for i in np.flatnonzero(~((np.abs(shift) < MOST_SHIFT) & (shift == shift.round()))):
        problems.append(
            f"series: column 'shift_steps' row {i + 1}: {shown(table['shift_steps'].iloc[i])} is not a whole number"
            f" within +-{MOST_SHIFT:g}"
        )
    if problems:
        return coded, problems
    coded = coded.astype({"participant": np.intp, "quantity": np.intp, "profile": np.intp, "shift_steps": np.intp})
    problems += _negative_requests(coded, table, columns, values)
    return coded, problems


def _negative_requests(
    coded: pd.DataFrame, table: pd.DataFrame, columns: Sequence[str], values: np.ndarray
) -> list[str]:
    request = coded["quantity"] != QUANTITIES.index("inflexible")
    problems = [
        f"series: column 'scale_kw' row {i + 1}: negative request {coded['scale_kw'].iloc[i]:g}"
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


def checked_sessions(
    table: pd.DataFrame, participants: Sequence[str], times: pd.DatetimeIndex
) -> tuple[pd.DataFrame, list[str]]:
    """Charging sessions with integer participant and first/last interval, and how much of those they miss."""
    problems = check_columns(table, SESSION_COLUMNS, (), "sessions")
    if problems:
        return table, problems
    table = table.reset_index(drop=True)
    place = {name: i for i, name in enumerate(participants)}
    code, seen = pd.factorize(table["participant"])
    known = np.array([place.get(str(name), -1) for name in seen] + [-1])
    who = pd.Series(known[code], index=table.index)
    problems += [
        f"sessions: row {i + 1}: unknown participant {shown(table['participant'].iloc[i])}"
        for i in np.flatnonzero(who < 0)[:20]
    ]
    read = [read_times(table[c], f"sessions: column {c!r}") for c in ("arrival", "departure")]
    arrival, departure = (pd.Series(times, index=table.index) for times, _ in read)
    said = [sentence for _, sentences in read for sentence in sentences]
    zoned = [c for c, t in (("arrival", arrival), ("departure", departure)) if t.dt.tz is not None]
    if zoned:
        return table, [
            *problems,
            f"sessions: {' and '.join(zoned)} must be in the case's standard time, without a time zone",
        ]
    problems += said
    power, energy = (pd.to_numeric(table[c], errors="coerce").astype(float) for c in ("power_kw", "energy_kwh"))
    step = times[1] - times[0]
    stay_h = (departure - arrival) / pd.Timedelta(hours=1)
    most = power * stay_h
    rules = (
        (departure <= arrival, "departure {departure} is not after arrival {arrival}"),
        ((arrival < times[0]) | (arrival >= times[-1] + step), "arrival {arrival} is outside the profiles"),
        (~(np.isfinite(power) & (power > 0)), "power_kw = {power_kw} must be positive"),
        (power > SUSPECT_SESSION_KW, f"power_kw = {{power_kw}} must be at most {SUSPECT_SESSION_KW:g}: is it in W?"),
        (~(np.isfinite(energy) & (energy >= 0)), "energy_kwh = {energy_kwh} must not be negative"),
        (
            energy > most * (1 + 1e-9),
            "{energy_kwh} kWh cannot fit between {arrival} and {departure} at {power_kw} kW: at most {most:g} kWh do",
        ),
    )
    for bad, message in rules:
        for i in np.flatnonzero(bad)[:20]:
            problems.append(f"sessions: row {i + 1}: " + message.format(**table.iloc[i].to_dict(), most=most.iloc[i]))
    if problems or times.hasnans or step <= pd.Timedelta(0):
        return table, problems
    first, last = (arrival - times[0]) // step, -((times[0] - departure) // step) - 1
    return pd.DataFrame(
        {
            "participant": who.astype(np.intp),
            "first": first.astype(np.intp),
            "last": last.astype(np.intp),
            "late": ((arrival - times[0]) % step / step).astype(float),
            "early": ((times[0] - departure) % step / step).astype(float),
            "power_kw": power,
            "energy_kwh": energy,
        }
    ), problems
