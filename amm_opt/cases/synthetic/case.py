"""A seeded synthetic case of any size, in the schema of a case folder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from amm_opt.cases.synthetic.generators import DAY, Names, charging_sessions, household_series, roof_series
from amm_opt.errors import InputError, Problems
from amm_opt.fields import is_whole, shortened
from amm_opt.specs import read_options

LV_BUSES = 60
TRANSFORMERS_PER_MV_FEEDER = 12
_START = "2030-01-07"


def synthetic_tables(buses: int = 200, days: int = 7, seed: int = 0) -> dict[str, Any]:
    """Tables of a random MV + LV tree with evening charging and midday export scarcity.

    LV feeders of about 60 buses hang on MV feeders of 12 transformers each, so scarcity per feeder does not depend on
    size. About 80 % of LV buses have a customer, half of those an EV (7.4 kW, half of the sessions started by a timer
    at 22:00), 40 % a PV system of 5 to 15 kW.

    Args:
        buses: total number of buses, at least 5.
        days: number of days of half-hours, at least 1.
        seed: of every random choice.

    Returns:
        keyword arguments of ``from_tables``.
    """
    ranges = (("buses", buses, 5, 1_000_000), ("days", days, 1, 3660), ("seed", seed, 0, 2**63 - 1))
    problems = [
        f"{name} = {shortened(value)} must be a whole number of at least {lower} and at most {upper}"
        for name, value, lower, upper in ranges
        if not is_whole(value) or not lower <= value <= upper
    ]
    if problems:
        raise InputError(problems, subject="synthetic case")
    rng = np.random.default_rng(seed)
    bus_table, branch_table = _network(buses, rng)
    lv = bus_table[bus_table["tier"].eq("LV") & ~bus_table["name"].str.endswith("-0")]
    at = lv["name"][rng.random(len(lv)) < 0.8] if len(lv) > 1 else lv["name"]
    if at.empty:
        at = lv["name"].iloc[:1]
    people = pd.DataFrame({"name": [f"c-{b}" for b in at], "bus": at.to_numpy(), "power_factor": 0.95})
    people["connection_import_kw"], people["connection_export_kw"] = 25.0, 25.0
    people["connected"] = 2000 + 7 * np.arange(len(people)) % 23
    times = pd.date_range(_START, periods=48 * days, freq="30min")
    return {
        "name": f"synthetic-{buses}-{seed}",
        "title": f"Synthetic feeder, {buses} buses, seed {seed}",
        "buses": bus_table,
        "branches": branch_table,
        "participants": people,
        "profiles": _profiles(times, rng),
        "series": _series(people["name"].to_numpy(), days, rng),
        "sessions": _sessions(people["name"].to_numpy(), times, rng),
    }


def _series(names: Names, days: int, rng: np.random.Generator) -> pd.DataFrame:
    homes = household_series(names, 3, float(np.exp(-0.1)), 0.4, DAY * np.arange(days), rng)
    return pd.concat([homes, roof_series(names, 0.4, (5.0, 15.0), rng)], ignore_index=True)


def _sessions(names: Names, times: pd.DatetimeIndex, rng: np.random.Generator) -> pd.DataFrame:
    owners = names[rng.random(len(names)) < 0.5]
    return charging_sessions(owners, times, rng)


def synthetic_from_spec(spec: str) -> dict[str, Any]:
    """``"buses=500,seed=1"`` as tables.

    Raises:
        InputError: unknown option or a value that is no whole number.
    """
    said = Problems()
    options = read_options(spec, dict.fromkeys(("buses", "days", "seed"), int), "synthetic", said)
    said.report()
    return synthetic_tables(**options)


def _network(buses: int, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    n_lv = max(1, round((buses - 1) / (LV_BUSES + 1)))
    sizes = np.full(n_lv, (buses - 1 - n_lv) // n_lv)
    sizes[: (buses - 1 - n_lv) % n_lv] += 1
    rows: list[tuple[str, float, str, str | None]] = [("source", 20.0, "MV", None)]
    lines: list[tuple[str, str, str, float, float, float]] = []
    upstream = "source"
    for f, size in enumerate(sizes):
        upstream = "source" if f % TRANSFORMERS_PER_MV_FEEDER == 0 else upstream
        km = rng.uniform(0.4, 1.0)
        rows.append((f"mv{f}", 20.0, "MV", None))
        lines.append((upstream, f"mv{f}", "line", 0.25 * km, 0.12 * km, 7000.0))
        upstream = f"mv{f}"
        rating = round(1.9 * size)
        z_base = 400.0**2 / (rating * 1000.0)
        rows.append((f"lv{f}-0", 0.4, "LV", f"LV{f}"))
        lines.append((f"mv{f}", f"lv{f}-0", "transformer", 0.012 * z_base, 0.04 * z_base, float(rating)))
        jump = rng.random(size)
        anywhere = rng.random(size)
        for i in range(1, size):
            parent = i - 1 if jump[i] > 0.18 else int(anywhere[i] * i)
            km = 0.02 + 0.02 * anywhere[i]
            rows.append((f"lv{f}-{i}", 0.4, "LV", f"LV{f}"))
            lines.append((f"lv{f}-{parent}", f"lv{f}-{i}", "line", 0.2 * km, 0.08 * km, 187.0))
    table = pd.DataFrame(rows, columns=["name", "vn_kv", "tier", "feeder"])
    table["v_min_pu"], table["v_max_pu"] = 0.9, 1.1
    table["v_source_pu"] = [1.02] + [np.nan] * (len(rows) - 1)
    branches = pd.DataFrame(lines, columns=["from_bus", "to_bus", "kind", "r_ohm", "x_ohm", "rating_kva"])
    branches.insert(0, "name", [f"b-{to}" for to in branches["to_bus"]])
    return table, branches


def _profiles(times: pd.DatetimeIndex, rng: np.random.Generator) -> pd.DataFrame:
    hour = (times.hour + times.minute / 60.0).to_numpy(dtype=float)
    days = len(times) // 48
    clear = np.clip(np.cos((hour - 12.5) / 13.0 * np.pi), 0, None) ** 1.3
    cloud = np.repeat(rng.uniform(0.35, 1.0, days), 48)
    table = {"time": times, "pv": clear * cloud}
    for k in range(3):
        evening = np.exp(-(((hour - 19.0 - 0.5 * k) / 2.2) ** 2))
        morning = np.exp(-(((hour - 7.5) / 1.5) ** 2))
        table[f"home{k}"] = (0.25 + 0.45 * morning + 0.75 * evening) * rng.uniform(0.85, 1.15, len(times))
    return pd.DataFrame(table)
