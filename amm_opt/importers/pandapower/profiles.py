"""Profiles of a SimBench net: the columns that its elements use, in regular steps."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.cases.times import read_times
from amm_opt.errors import counted, shorten, shown
from amm_opt.importers.pandapower.net import NetTables

TABLES = ("load", "renewables", "powerplants")
_DAY_FIRST = re.compile(r"(\d\d)\.(\d\d)\.(\d{4}) (\d\d:\d\d(?::\d\d)?)")
"""SimBench's dates: day, month and year between full stops."""


def read_profiles(tables: NetTables, elements: pd.DataFrame) -> pd.DataFrame | None:
    """The profiles that the elements use; None, and elements without profiles, where the net has none.

    Elements get the column ``q_profile``, see ``Draft``.
    """
    elements["q_profile"] = ""
    stored = tables.net["profiles"] if "profiles" in tables.net else {}  # noqa: SIM401
    wanted = set(elements["profile"]) - {""}
    found = {k: stored[k] for k in TABLES if k in stored and len(stored[k])} if hasattr(stored, "keys") else {}
    if not wanted or not found:
        if wanted:
            tables.report.left_out.append(
                f"{counted(len(wanted), 'profile')} that elements name: net.profiles has none"
            )
        elements["profile"] = ""
        return None
    known = _columns(tables, found)
    tables.problems += [f"profile {name!r} is not in net.profiles" for name in sorted(wanted - known.keys())]
    if steady := int((elements["profile"] == "").sum()):
        tables.report.assumed.append(f"constant power of {counted(steady, 'element')} without a profile")
    times = _times(tables, found)
    reactive = {_reactive(c) for c in wanted if _reactive(c) in known}
    columns = {c: _numbers(tables, c, known[c]) for c in sorted((wanted & known.keys()) | reactive)}
    if any(len(v) != len(times) for v in columns.values()):
        sizes = ", ".join(f"{k} has {counted(len(t), 'row')}" for k, t in found.items())
        tables.problems.append(f"the tables of net.profiles differ in length: {sizes}")
        return None
    tables.report.assumed.append("profiles are regular steps in standard time")
    _add_reactive(tables, elements, columns)
    columns = {c: columns[c] for c in sorted({*elements["profile"], *elements["q_profile"]} & columns.keys())}
    low = {c for c, v in columns.items() if len(v) and v.min() < 0}
    for c in sorted(low & set(elements["profile"][elements["quantity"] != "inflexible"])):
        tables.report.assumed.append(f"negative values of profile {c!r} count as 0")
        columns[c] = np.maximum(columns[c], 0.0)
    return pd.DataFrame({"time": times, **columns})


def _reactive(profile: str) -> str:
    """Name of the reactive profile beside that of a load's active power."""
    return f"{profile.removesuffix('_pload')}_qload" if profile.endswith("_pload") else ""


def _add_reactive(tables: NetTables, elements: pd.DataFrame, columns: dict[str, np.ndarray]) -> None:
    """Reactive profiles of loads; where they are the active ones, or what is served decides, power factors stay."""
    other = {
        p: float(np.abs(columns[q] - columns[p]).max())
        for p in set(elements["profile"])
        if (q := _reactive(p)) in columns
    }
    off = elements["q_kvar"].abs() * elements["profile"].map(other).fillna(0.0)
    fixed = elements["quantity"].eq("inflexible")
    elements["q_profile"] = elements["profile"].map(_reactive).where(fixed & off.gt(0), "")
    if (moving := off[fixed]).any():
        tables.report.read.append(
            f"reactive profiles of {counted(int(moving.gt(0).sum()), 'load')}: up to {moving.max():.3g} kvar from a"
            " power factor"
        )
    if (served := off[~fixed]).any():
        tables.report.left_out.append(
            f"reactive profiles of {counted(int(served.gt(0).sum()), 'flexible load')}, whose reactive power goes with"
            f" what is served: up to {served.max():.3g} kvar from a power factor"
        )


def _columns(tables: NetTables, found: dict[str, Any]) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for kind, table in found.items():
        for c in table:
            if c == "time":
                continue
            if c in known and not np.array_equal(np.asarray(known[c]), np.asarray(table[c])):
                tables.problems.append(
                    f"net.profiles: column {c!r} of {kind} stands in another table with other values"
                )
            known[c] = table[c]
    return known


def _numbers(tables: NetTables, name: str, column: Any) -> np.ndarray:
    values = pd.to_numeric(pd.Series(column), errors="coerce").to_numpy(dtype=float)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        value = shown(pd.Series(column).iloc[bad[0]])
        tables.problems.append(f"net.profiles: column {name!r} row {bad[0] + 1}: {value} is not a finite number")
    return np.asarray(np.nan_to_num(values))


def _times(tables: NetTables, found: dict[str, Any]) -> pd.DatetimeIndex:
    """Regular times from the first two; clocks may change by an hour on the way, as they do twice a year."""
    without = [k for k, table in found.items() if "time" not in table]
    if without:
        tables.problems.append(f"net.profiles: no column 'time' in {shorten(without)}")
        return pd.DatetimeIndex([])
    first = next(iter(found.values()))["time"].reset_index(drop=True)
    given = pd.Series(
        [_iso(v) if isinstance(v, str) else v for v in first], dtype=object if first.dtype == object else None
    )
    times, said = read_times(given, "net.profiles: column 'time'")
    tables.problems += said
    if said or len(times) < 2:
        tables.problems += [] if said else ["net.profiles: at least 2 rows are needed"]
        return pd.DatetimeIndex([])
    steps = pd.Series(np.diff(times.to_numpy()))
    step = steps.iloc[0]
    odd = steps[steps != step]
    clock = (odd - step).abs() == pd.Timedelta(hours=1)
    if step <= pd.Timedelta(0) or not clock.all() or len(odd) > 2 + len(times) * step / pd.Timedelta(days=150):
        at = int(odd.index[0]) + 2 if len(odd) else 2
        tables.problems.append(f"net.profiles: column 'time' row {at}: the steps are not regular")
        return pd.DatetimeIndex([])
    if len(odd):
        tables.report.assumed.append(
            f"clocks change {counted(len(odd), 'time')} in the profiles: they are taken as regular steps"
        )
    for kind, table in found.items():
        if len(table) == len(first) and not table["time"].reset_index(drop=True).astype(str).equals(first.astype(str)):
            tables.problems.append(f"net.profiles: the times of {kind} are not those of {next(iter(found))}")
    return pd.date_range(times[0], periods=len(times), freq=pd.Timedelta(step))


def _iso(text: str) -> str:
    given = _DAY_FIRST.fullmatch(text.strip())
    return f"{given[3]}-{given[2]}-{given[1]} {given[4]}" if given else text
