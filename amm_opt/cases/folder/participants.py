"""Checking the participants of a case: the completed table, and all problems found."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.cases.folder.magnitudes import odd_participants
from amm_opt.io.columns import check_columns, flag, numbers, text
from amm_opt.network import Feeder

PARTICIPANT_COLUMNS = {"name": None, "bus": None}
PRICE_COLUMNS = {"import_value": np.nan, "import_value_slope": 0.0, "export_offer": np.nan, "export_offer_slope": 0.0}
"""What a kWh is worth to a participant, and by how much less for every kW; what it asks for one, and how much more."""
POWER_FACTORS = ("power_factor", "power_factor_import", "power_factor_export")
CONNECTIONS = ("connection_import_kw", "connection_export_kw")
PARTICIPANT_OPTIONAL = {
    **dict.fromkeys(POWER_FACTORS, 1.0),
    **dict.fromkeys(CONNECTIONS, np.nan),
    "battery_kwh": 0.0,
    "battery_kw": 0.0,
    "battery_efficiency": 0.95,
    "battery_initial": 0.5,
    "inflexible_kvar": 0.0,
    "connected": np.nan,
    "service_tier": 1.0,
    "must_run_kw": 0.0,
    **PRICE_COLUMNS,
    "capital_per_kw": 0.0,
    "fixed_cost_per_kw_year": 0.0,
    "payback_years": np.nan,
}
COST_COLUMNS = ("technology", "capital_per_kw", "fixed_cost_per_kw_year", "payback_years")
"""What it is and what it costs to have it: read by settlements of runs, and by no run."""


def checked_participants(table: pd.DataFrame, feeder: Feeder) -> tuple[pd.DataFrame, list[str]]:
    """Participants with defaults: unity power factors; connection limits from the branch that feeds their bus.

    No battery where none is given.
    """
    given, problems = participants_alone(table, feeder.bus_index)
    if given is None:
        return table, problems
    table = given
    table["phases"], said = _connected_phases(table, feeder)
    problems += [*said, *odd_participants(table, feeder)]
    for column in CONNECTIONS:
        table[column] = table[column].fillna(_branch_rating(table, feeder))
    return table[[*PARTICIPANT_COLUMNS, "phases", "technology", *PARTICIPANT_OPTIONAL]], problems


def participants_alone(table: pd.DataFrame, buses: Container[object] | None) -> tuple[pd.DataFrame | None, list[str]]:
    """Participants as far as they can be checked without a sound feeder, with defaults but for connections and phases.

    Args:
        buses: names of buses; None where they are not known.

    Returns:
        The table, None where it cannot be used at all, and all problems.
    """
    problems = check_columns(
        table, PARTICIPANT_COLUMNS, ["phases", "technology", *PARTICIPANT_OPTIONAL], "participants"
    )
    if problems:
        return None, problems
    table = table.reset_index(drop=True)
    if table.empty:
        return None, ["participants: the table is empty"]
    for column in PARTICIPANT_COLUMNS:
        table[column] = [text(value) for value in table[column]]
    names = table["name"]
    problems += [f"participant in row {i + 1}: empty name" for i in np.flatnonzero(names.isna())]
    problems += [f"duplicate participant name {name!r}" for name in names[names.duplicated()].unique()]
    if buses is not None:
        unknown = pd.Series([bus not in buses for bus in table["bus"]], index=table.index)
        problems += flag(table, unknown, "participant", lambda r: f"unknown bus {r['bus']!r}")
    table["technology"] = [text(v) or "" for v in table["technology"]] if "technology" in table else ""
    table = _finite_or_fill(table, PARTICIPANT_OPTIONAL, "participant", problems)
    problems += [*_bad_powers(table), *_bad_batteries(table), *_bad_prices(table), *_bad_costs(table)]
    return table, problems


def _bad_powers(table: pd.DataFrame) -> list[str]:
    """Power factors, connections, constant reactive power, tiers of service and must-run power that are none."""
    reactive, tier, must = (table[column] for column in ("inflexible_kvar", "service_tier", "must_run_kw"))
    whole = np.isfinite(tier) & (tier >= 1) & (tier <= 9) & (tier == tier.round())
    rules = [
        *((c, ~table[c].abs().between(0.1, 1.0), "must be within 0.1..1 (or -1..-0.1)") for c in POWER_FACTORS),
        *((c, table[c] < 0, "must not be negative") for c in CONNECTIONS),
        ("inflexible_kvar", ~np.isfinite(reactive), "must be finite"),
        ("service_tier", ~whole, "must be a whole number from 1, the first, to 9"),
        ("must_run_kw", ~(np.isfinite(must) & (must >= 0)), "must be a finite number, not negative"),
    ]
    return [
        f"{said}{percent(value) if column in POWER_FACTORS else ''}"
        for column, bad, rule in rules
        for said, value in zip(
            flag(table, bad, "participant", lambda r, c=column, m=rule: f"{c} = {r[c]} {m}"),  # type: ignore[misc]
            table[column][bad],
            strict=True,
        )
    ]


def _branch_rating(table: pd.DataFrame, feeder: Feeder) -> pd.Series[float]:
    """Rating of the branch that feeds each participant's bus, on all phases of the participant; none in a mesh."""
    if feeder.meshed:
        return pd.Series(np.inf, index=table.index)
    bus = table["bus"].map(feeder.bus_index).fillna(0).astype(int)
    phases = np.array([len(own) for own in table["phases"]]) if not feeder.balanced else 1
    return pd.Series(feeder.rating_kva[bus] * phases, index=table.index)


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


def _bad_prices(table: pd.DataFrame) -> list[str]:
    """Prices that are endless, and slopes that are negative or endless."""
    problems: list[str] = []
    for column in PRICE_COLUMNS:
        slope = column.endswith("_slope")
        bad = ~(np.isfinite(table[column]) & (table[column] >= 0)) if slope else np.isinf(table[column])
        rule = "must be a number that is not negative" if slope else "must be a finite number"
        problems += flag(table, bad, "participant", lambda r, c=column, m=rule: f"{c} = {r[c]} {m}")  # type: ignore[misc]
    return problems


def _bad_costs(table: pd.DataFrame) -> list[str]:
    """Costs that are negative or endless, paybacks that are no time, and capital that has none."""
    capital, fixed, years = (table[name] for name in COST_COLUMNS[1:])
    rules = (
        ("capital_per_kw", ~(np.isfinite(capital) & (capital >= 0)), "must be a finite number, not negative"),
        ("fixed_cost_per_kw_year", ~(np.isfinite(fixed) & (fixed >= 0)), "must be a finite number, not negative"),
        ("payback_years", years.notna() & ~(np.isfinite(years) & (years > 0)), "must be a finite number above 0"),
        ("capital_per_kw", (capital > 0) & years.isna(), "needs its payback_years"),
    )
    return [
        said
        for column, bad, rule in rules
        for said in flag(table, bad, "participant", lambda r, c=column, m=rule: f"{c} = {r[c]} {m}")  # type: ignore[misc]
    ]


def _finite_or_fill(table: pd.DataFrame, columns: Mapping[str, object], what: str, problems: list[str]) -> pd.DataFrame:
    for column, default in columns.items():
        if column not in table:
            table[column] = default
        table[column] = numbers(table, column, what, problems)
        if default is not None:
            table[column] = table[column].fillna(default)
    return table
