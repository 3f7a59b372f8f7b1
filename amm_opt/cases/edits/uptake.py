"""Who has a vehicle, a roof, a battery or a heat pump: seeded, and a higher uptake keeps everybody of a lower one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from amm_opt.cases.folder.participants import percent
from amm_opt.cases.synthetic.generators import (
    PV_KW,
    Names,
    charging_sessions,
    heat_pump_profile,
    roof_series,
    sun_profile,
)
from amm_opt.errors import InputError
from amm_opt.fields import is_number, is_whole, shortened
from amm_opt.io.columns import unique_names

Tables = dict[str, pd.DataFrame]
BATTERY_KWH = (5.0, 15.0)
BATTERY_HOURS = 2.0
"""Content of a battery over its power."""
HEAT_PUMP_KW = (2.0, 4.0)
SUN, HEAT = "drawn pv", "drawn heat pump"
"""Names of the profiles that are drawn."""
_DRAWS = ("who roof", "who car", "who pump", "roof", "car", "battery", "pump", "sun", "weather")
"""Each has random numbers of its own: what is given of one technology leaves the draws of the others alone."""


def check_uptake(shares: Mapping[str, float | None], seed: int, latitude_deg: float) -> None:
    """See that shares, seed and latitude are such.

    Raises:
        InputError: one sentence for each that is not, or where no share is given.
    """
    problems = [
        f"{name} = {shortened(share)} must be a share of customers within 0 to 1"
        + (percent(share) if is_number(share) else "")
        for name, share in shares.items()
        if share is not None and not (is_number(share) and 0.0 <= share <= 1.0)
    ]
    if all(share is None for share in shares.values()):
        problems.append(f"nothing is given; there are {', '.join(shares)}")
    if not (is_whole(seed) and 0 <= seed < 2**32):
        problems.append(f"seed = {shortened(seed)} must be a whole number within 0 to {2**32 - 1}")
    if not (is_number(latitude_deg) and -90.0 <= latitude_deg <= 90.0):
        problems.append(f"latitude_deg = {shortened(latitude_deg)} must be a number within -90 to 90")
    if problems:
        raise InputError(problems, subject="with_uptake")


def taken_up(
    tables: Tables, customers: Names, shares: Mapping[str, float | None], seed: int, latitude_deg: float
) -> tuple[Tables, set[str]]:
    """The tables that change, and who has something drawn.

    Args:
        customers: sorted names; everything is drawn for all of them, and kept for those who have it.
    """
    streams = np.random.SeedSequence(seed).spawn(len(_DRAWS))
    draw = {name: np.random.default_rng(stream) for name, stream in zip(_DRAWS, streams, strict=True)}
    times = pd.DatetimeIndex(tables["profiles"]["time"])
    roofs = draw["who roof"].permutation(customers)
    order = {"pv": roofs, "battery": roofs}
    order |= {"ev": draw["who car"].permutation(customers), "heat_pump": draw["who pump"].permutation(customers)}
    owners = {
        name: order[name][: int(share * len(customers) + 0.5)] for name, share in shares.items() if share is not None
    }
    changed: Tables = {}
    if "ev" in owners:
        sessions = charging_sessions(customers, times, draw["car"])
        changed["sessions"] = _exchanged(tables["sessions"], customers, sessions, owners["ev"])
    if "battery" in owners:
        changed["participants"] = _with_batteries(tables["participants"], customers, owners["battery"], draw["battery"])
    series, profiles = tables["series"], tables["profiles"]
    if "pv" in owners:
        roofs_of = roof_series(customers, 1.0, PV_KW, draw["roof"])
        old = series["quantity"].eq("export")
        shape = sun_profile(times, latitude_deg, draw["sun"])
        series, profiles = _followed(series, profiles, customers, old, roofs_of, owners["pv"], SUN, shape)
    if "heat_pump" in owners:
        size = draw["pump"].uniform(*HEAT_PUMP_KW, len(customers)).round(2)
        pumps = pd.DataFrame({"participant": customers, "quantity": "import", "scale_kw": size, "shift_steps": 0})
        old = series["quantity"].eq("import") & series["profile"].eq(HEAT)
        shape = heat_pump_profile(times, latitude_deg, draw["weather"])
        series, profiles = _followed(series, profiles, customers, old, pumps, owners["heat_pump"], HEAT, shape)
    return {**changed, "series": series, "profiles": profiles}, {str(name) for own in owners.values() for name in own}


def _exchanged(table: pd.DataFrame, customers: Names, drawn: pd.DataFrame, owners: Names) -> pd.DataFrame:
    """The table without the rows of customers, and with the drawn rows of owners."""
    kept, own = table[~table["participant"].isin(customers)], drawn[drawn["participant"].isin(owners)]
    parts = [part for part in (kept, own) if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else kept


def _followed(
    series: pd.DataFrame,
    profiles: pd.DataFrame,
    customers: Names,
    old: pd.Series[bool],
    drawn: pd.DataFrame,
    owners: Names,
    name: str,
    shape: np.ndarray,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Series and profiles with the drawn terms of owners in place of old ones, on a profile that nobody else has."""
    rest = series[~(old & series["participant"].isin(customers))]
    (column,) = unique_names([name], set(rest["profile"]))
    own = drawn[drawn["participant"].isin(owners)].assign(profile=column)
    changed = pd.concat([rest, own], ignore_index=True) if len(own) else rest
    return changed, profiles.assign(**{column: shape})


def _with_batteries(
    participants: pd.DataFrame, customers: Names, owners: Names, rng: np.random.Generator
) -> pd.DataFrame:
    size = dict(zip(customers, rng.uniform(*BATTERY_KWH, len(customers)).round(1), strict=True))
    name = participants["name"]
    drawn = name.map(size).where(name.isin(owners), 0.0)
    kept = ~name.isin(customers)
    return participants.assign(
        battery_kwh=participants["battery_kwh"].where(kept, drawn),
        battery_kw=participants["battery_kw"].where(kept, drawn / BATTERY_HOURS),
    )
