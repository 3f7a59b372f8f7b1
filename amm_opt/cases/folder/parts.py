"""The parts of a case from plain tables, with everything that is wrong with them; and back to tables."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, overload

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amm_opt.cases.folder.magnitudes import odd_terms
from amm_opt.cases.folder.offers import in_steps, wrong_offers
from amm_opt.cases.folder.participants import checked_participants, participants_alone
from amm_opt.cases.folder.series import checked_profiles, checked_series
from amm_opt.cases.folder.sessions import SESSION_COLUMNS, checked_sessions
from amm_opt.cases.profiles import QUANTITIES, Profiles
from amm_opt.cases.scenario import Scenario
from amm_opt.cases.times import UNITS, checked_times, time_column
from amm_opt.errors import InputError, Problems
from amm_opt.fields import is_text, shortened
from amm_opt.io.columns import text
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
        tables: the five of the case folder, and where given ``sessions`` and ``offers``.
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
    known = {key: table for key, table in plain.items() if table is not None}
    changed = scenario if isinstance(scenario, Scenario) else Scenario()
    expected = (step_minutes, timezone, steps)
    if made is None and len(known) == len(given):
        buses = said.of(lambda: as_table(tables["buses"], "buses"))
        said.of(lambda: _checked(None, _names(buses), known, changed, expected, str(texts["name"])))
    said.report()
    assert made is not None
    return _checked(made, made.bus_index, known, changed, expected, str(texts["name"]))


def _names(buses: pd.DataFrame | None) -> set[str | None] | None:
    """Names of buses; None where there are none to be read."""
    return {text(name) for name in buses["name"]} if buses is not None and "name" in buses else None


@overload
def _checked(feeder: Feeder, *given: Any) -> Parts: ...
@overload
def _checked(feeder: None, *given: Any) -> None: ...
def _checked(
    feeder: Feeder | None,
    buses: Container[object] | None,
    tables: dict[str, pd.DataFrame],
    scenario: Scenario,
    expected: tuple[float | None, str | None, int | None],
    name: str,
) -> Parts | None:
    """Parts from tables of plain cells; without a sound feeder what is wrong with them by themselves.

    Args:
        buses: names of buses, where they can be read.
        expected: length of an interval, time zone, number of intervals.
    """
    profiles, series, sessions = tables["profiles"], tables["series"], tables.get("sessions")
    if feeder is None:
        people, problems = participants_alone(tables["participants"], buses)
        people = tables["participants"] if people is None else people
    else:
        people, problems = checked_participants(tables["participants"], feeder)
        feeder, said = _under(scenario, feeder)
        problems += said
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
    terms, wrong_terms = checked_series(series, who, columns, values)
    problems += wrong_terms
    if feeder is not None and not problems:
        problems += odd_terms(terms, people, columns, values, feeder)
    charging = pd.DataFrame(columns=["participant", "first", "last", "late", "early", "power_kw", "energy_kwh"])
    if sessions is not None and len(times) > 1:
        charging, said = checked_sessions(sessions, who, times)
        problems += said
    if "offers" in tables and "must_run_kw" in people:
        problems += (said := wrong_offers(tables["offers"], people))
        if not said and not wrong_terms:
            peaks = Profiles(times, columns, values, terms, charging).largest_kw("export", len(people))
            people, terms, said = in_steps(tables["offers"], people, terms, peaks)
            problems += said
    if problems:
        raise InputError(problems, subject=f"case {name}")
    return None if feeder is None else Parts(feeder, people, Profiles(times, columns, values, terms, charging))


def _under(scenario: Scenario, feeder: Feeder) -> tuple[Feeder, list[str]]:
    """The feeder with the limits of a scenario, and what is wrong with these."""
    try:
        return feeder if scenario.changes == Scenario().changes else scenario.applied(feeder), []
    except InputError as error:
        return feeder, list(error.problems)


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
