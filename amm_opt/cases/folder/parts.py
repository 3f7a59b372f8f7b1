"""The parts of a case from plain tables, with everything that is wrong with them; and back to tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amm_opt.cases.folder.magnitudes import odd_terms
from amm_opt.cases.folder.participants import checked_participants
from amm_opt.cases.folder.series import checked_profiles, checked_series
from amm_opt.cases.folder.sessions import SESSION_COLUMNS, checked_sessions
from amm_opt.cases.profiles import QUANTITIES, Profiles
from amm_opt.cases.scenario import Scenario
from amm_opt.cases.times import UNITS, checked_times, time_column
from amm_opt.errors import InputError, Problems
from amm_opt.fields import is_text, shortened
from amm_opt.io.tables import as_table
from amm_opt.network import Feeder

TIMES = ("time", *UNITS)
"""Columns of profiles that hold times."""


@dataclass(frozen=True, eq=False)
class Parts:
    """What a case is made of: the feeder with the scenario's limits, participants with defaults, profiles."""

    feeder: Feeder
    participants: pd.DataFrame
    profiles: Profiles


def checked_parts(
    tables: Mapping[str, object],
    scenario: object,
    texts: Mapping[str, object],
    *,
    step_minutes: float | None = None,
    steps: int | None = None,
    timezone: str | None = None,
    meshed: bool = False,
) -> Parts:
    """The parts that the tables of a case describe; see ``from_tables`` of amm_opt.cases.

    Args:
        tables: the five of the case folder, or six with ``sessions``.
        scenario: a Scenario, or None.
        texts: ``name`` and whatever else must be text.
        meshed: whether closed branches may form cycles.

    Raises:
        InputError: every problem of the feeder, or every problem of the other tables, at once.
    """
    said = Problems()
    wrong = [f"{key} = {shortened(value)} must be text" for key, value in texts.items() if not is_text(value)]
    said.say(*wrong, "" if wrong or texts["name"] else "name must not be empty")
    said.say("" if isinstance(scenario, Scenario | None) else f"scenario = {shortened(scenario)} must be a Scenario")
    made = said.of(lambda: Feeder.from_tables(tables["buses"], tables["branches"], meshed=meshed))
    given = {key: table for key, table in tables.items() if key not in ("buses", "branches")}
    plain = {
        key: said.of(partial(as_table, table, key, times=TIMES if key == "profiles" else ()))
        for key, table in given.items()
    }
    said.report()
    assert made is not None
    known = {key: table for key, table in plain.items() if table is not None}
    changed = scenario if isinstance(scenario, Scenario) else Scenario()
    return _from_plain(made, known, changed, (step_minutes, timezone, steps), str(texts["name"]))


def _from_plain(
    feeder: Feeder,
    tables: dict[str, pd.DataFrame],
    scenario: Scenario,
    expected: tuple[float | None, str | None, int | None],
    name: str,
) -> Parts:
    """Parts from a feeder and tables of plain cells; ``expected``: length of an interval, time zone, intervals."""
    profiles, series, sessions = tables["profiles"], tables["series"], tables.get("sessions")
    people, problems = checked_participants(tables["participants"], feeder)
    try:
        feeder = feeder if scenario.changes == Scenario().changes else scenario.applied(feeder)
    except InputError as error:
        problems += error.problems
    when = time_column(profiles)
    if when is None:
        given = [c for c in TIMES if c in profiles.columns]
        wrong = f"give one of the columns {', '.join(given)}" if given else "missing column 'time'"
        raise InputError([*problems, f"profiles: {wrong}"], subject=f"case {name}")
    times, said = checked_times(profiles[when], *expected)
    problems += said
    columns = tuple(str(c) for c in profiles.columns if c != when)
    values, said = checked_profiles(profiles)
    problems += said
    who = list(people["name"]) if "name" in people else []
    terms, said = checked_series(series, who, columns, values)
    problems += said
    if not problems:
        problems += odd_terms(terms, people, columns, values, feeder)
    charging = pd.DataFrame(columns=["participant", "first", "last", "late", "early", "power_kw", "energy_kwh"])
    if sessions is not None and len(times) > 1:
        charging, said = checked_sessions(sessions, who, times)
        problems += said
    if problems:
        raise InputError(problems, subject=f"case {name}")
    return Parts(feeder, people, Profiles(times, columns, values, terms, charging))


def feeder_tables(feeder: Feeder) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Buses and branches as ``Feeder.from_tables`` takes them."""
    buses, branches = (
        table.assign(phases=["".join(x) for x in table["phases"]])
        for table in (feeder.tables.buses, feeder.tables.branches)
    )
    return buses, branches.drop(columns="z_ohm")


def tables_of(feeder: Feeder, participants: pd.DataFrame, p: Profiles) -> dict[str, pd.DataFrame]:
    """The six tables that a case is made of; limits of branches without what a scenario changes."""
    buses, branches = feeder_tables(feeder)
    names = participants["name"].to_numpy(dtype=object)
    series = pd.DataFrame(
        {
            "participant": names[p.series["participant"]],
            "quantity": [QUANTITIES[q] for q in p.series["quantity"]],
            "profile": [p.columns[j] for j in p.series["profile"]],
            "scale_kw": p.series["scale_kw"].to_numpy(),
            "shift_steps": p.series["shift_steps"].to_numpy(),
        }
    )
    profiles = pd.DataFrame(p.values, columns=list(p.columns), copy=True)
    profiles.insert(0, "time", p.times)
    return {
        "buses": buses,
        "branches": branches,
        "participants": participants.copy(),
        "profiles": profiles,
        "series": series,
        "sessions": _sessions(names, p),
    }


def _sessions(names: NDArray[np.object_], p: Profiles) -> pd.DataFrame:
    s, step = p.sessions, p.times[1] - p.times[0]

    def at(steps: pd.Series[int], part: pd.Series[float]) -> pd.DatetimeIndex:
        """The time after so many intervals and a part of one, to the nanosecond."""
        inside = np.round(part.to_numpy(float) * (step / pd.Timedelta("1ns"))).astype(np.int64)
        whole = steps.to_numpy(np.int64) * (step // pd.Timedelta("1ns"))
        return p.times[0] + pd.to_timedelta(whole + inside, unit="ns")

    columns = (
        names[s["participant"].to_numpy(np.intp)],
        at(s["first"], s["late"]),
        at(s["last"] + 1, -s["early"]),
        s["power_kw"].to_numpy(float),
        s["energy_kwh"].to_numpy(float),
    )
    return pd.DataFrame(dict(zip(SESSION_COLUMNS, columns, strict=True)))
