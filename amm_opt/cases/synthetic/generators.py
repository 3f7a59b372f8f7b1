"""Seeded requests for a network's customers: household load, photovoltaics, electric vehicles.

The shapes are ours, not measured ones; a case made from them is a scenario, not a forecast.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amm_opt.arrays import FloatArray, IntArray

Names = NDArray[np.object_]

DAY, WEEK = 48, 336
TILT = 1.15
"""Exponent on the sine of the sun's elevation: what a roof yields under a clear sky."""


def clear_sky(times: pd.DatetimeIndex, latitude_deg: float) -> FloatArray:
    """Output of a roof under a clear sky, per unit of the highest of the year.

    The sun's elevation follows from declination (P. I. Cooper, Solar Energy 12(3), 1969, eq. (1)) and hour angle; the
    clock is taken as solar time.
    """
    day, hour = times.day_of_year.to_numpy(dtype=float), _hour(times) + 0.25
    declination = np.radians(23.45) * np.sin(2 * np.pi * (284 + day) / 365)
    latitude, angle = np.radians(latitude_deg), np.radians(15.0 * (hour - 12.0))
    elevation = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(angle)
    output = np.maximum(elevation, 0.0) ** TILT
    return np.asarray(output / output.max())


def year_profiles(
    times: pd.DatetimeIndex, latitude_deg: float, households: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Profile columns ``pv`` and ``home0``, ``home1``, ...: per unit of rated power, and of a mean of 1 over the year.

    Every day has one clearness, and half-hours scatter around it. A household has its own hours of peak, more load in
    winter and summer than between, and bursts.
    """
    days = -(-len(times) // DAY)
    clearness = np.repeat(0.25 + 0.75 * rng.beta(2.5, 1.2, days), DAY)[: len(times)]
    passing = np.clip(rng.normal(1.0, 0.08, len(times)), 0.5, 1.0)
    table = {"time": times, "pv": clear_sky(times, latitude_deg) * clearness * passing}
    hour, weekend = _hour(times), times.day_of_week.to_numpy() >= 5
    turn = 2 * np.pi * (times.day_of_year.to_numpy() - (15 if latitude_deg < 0 else 197)) / 365
    season = 1.0 + 0.12 * np.cos(2 * turn) - 0.10 * np.cos(turn)
    for k in range(households):
        wake, home = 6.5 + 1.5 * rng.random() + 1.0 * weekend, 17.5 + 2.5 * rng.random()
        shape = 0.35 + 0.5 * _bump(hour, wake, 1.2) + 1.3 * _bump(hour, home, 2.2) + 0.25 * weekend * _bump(hour, 13, 3)
        load = shape * season * rng.gamma(4.0, 0.25, len(times))
        table[f"home{k}"] = load / load.mean()
    return pd.DataFrame(table)


def household_series(
    names: Names, profiles: int, mean_kw: float, spread: float, shifts: IntArray, rng: np.random.Generator
) -> pd.DataFrame:
    """One inflexible term each: a household shape, a lognormal size of median ``mean_kw``, and a shift of its own."""
    n = len(names)
    return pd.DataFrame(
        {
            "participant": names,
            "quantity": "inflexible",
            "profile": [f"home{k}" for k in rng.integers(0, profiles, n)],
            "scale_kw": (mean_kw * rng.lognormal(0.0, spread, n)).round(3),
            "shift_steps": rng.choice(shifts, n),
        }
    )


def roof_series(names: Names, share: float, size_kw: tuple[float, float], rng: np.random.Generator) -> pd.DataFrame:
    """Available export of a share of the participants: profile ``pv`` times a size between two bounds."""
    roof = np.flatnonzero(rng.random(len(names)) < share)
    return pd.DataFrame(
        {
            "participant": names[roof],
            "quantity": "export",
            "profile": "pv",
            "scale_kw": rng.uniform(*size_kw, len(roof)).round(2),
            "shift_steps": 0,
        }
    )


def charging_sessions(
    owners: Names,
    times: pd.DatetimeIndex,
    rng: np.random.Generator,
    *,
    evening_share: float,
    timer_share: float,
    timer_step: int,
    power_kw: float,
    stay_hours: float,
) -> pd.DataFrame:
    """Charging sessions of every owner on a share of the evenings.

    A session starts around 18:30 (13:00 to 22:00) or, for a share of them, when a timer does; energy is gamma of shape
    4 and mean 8.8 kWh within 2 to 30 kWh.

    Args:
        timer_step: half-hour of the day at which timers start.
    """
    days = len(times) // DAY
    who, day = (a.ravel() for a in np.meshgrid(np.arange(len(owners)), np.arange(days), indexing="ij"))
    keep = rng.random(len(who)) < evening_share
    who, day = who[keep], day[keep]
    start = np.clip(np.round(rng.normal(37, 3.5, len(who))), 26, 44).astype(int)
    start = np.where(rng.random(len(who)) < timer_share, timer_step, start)
    energy = np.clip(rng.gamma(4.0, 2.2, len(who)), 2.0, 30.0).round(2)
    arrival = times[0] + (DAY * day + start) * pd.Timedelta(minutes=30)
    return pd.DataFrame(
        {
            "participant": owners[who],
            "arrival": arrival,
            "departure": arrival + pd.Timedelta(hours=stay_hours),
            "power_kw": power_kw,
            "energy_kwh": energy,
        }
    )


def _hour(times: pd.DatetimeIndex) -> FloatArray:
    return np.asarray(times.hour + times.minute / 60.0, dtype=float)


def _bump(hour: FloatArray, at: FloatArray | float, width: float) -> FloatArray:
    return np.asarray(np.exp(-(((hour - at) / width) ** 2)))
