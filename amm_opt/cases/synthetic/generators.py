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
LATITUDE_DEG = -33.9
"""Where the sun is taken from unless another place is named: Sydney."""
PV_KW = (3.0, 8.0)
EV_KW, STAY = 7.4, pd.Timedelta(hours=9)
EVENING_SHARE, TIMER_SHARE = 0.75, 0.5
TIMER_STEP = 44
"""Half-hour of the day at which timers start to charge."""


def clear_sky(times: pd.DatetimeIndex, latitude_deg: float) -> FloatArray:
    """Output of a roof under a clear sky in the middle of intervals, per unit of the highest half-hour of a year.

    The sun's elevation follows from declination (P. I. Cooper, Solar Energy 12(3), 1969, eq. (1)) and hour angle; the
    clock is taken as solar time.
    """
    day, hour = times.day_of_year.to_numpy(dtype=float), _hour(times) + 0.5 * _length_h(times)
    a_year = _output(np.arange(1.0, 366.0)[:, None], np.arange(0.0, 24.0, 0.5) + 0.25, latitude_deg)
    return np.asarray(_output(day, hour, latitude_deg) / a_year.max())


def _output(day: FloatArray, hour: FloatArray, latitude_deg: float) -> FloatArray:
    declination = np.radians(23.45) * np.sin(2 * np.pi * (284 + day) / 365)
    latitude, angle = np.radians(latitude_deg), np.radians(15.0 * (hour - 12.0))
    elevation = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(angle)
    return np.asarray(np.maximum(elevation, 0.0) ** TILT)


def sun_profile(times: pd.DatetimeIndex, latitude_deg: float, rng: np.random.Generator) -> FloatArray:
    """Output of a roof, per unit of its clear-sky maximum: a clear sky, one clearness per day, scatter around it."""
    clearness = (0.25 + 0.75 * rng.beta(2.5, 1.2, _days(times)))[_day(times)]
    passing = np.clip(rng.normal(1.0, 0.08, len(times)), 0.5, 1.0)
    return clear_sky(times, latitude_deg) * clearness * passing


def heat_pump_profile(times: pd.DatetimeIndex, latitude_deg: float, rng: np.random.Generator) -> FloatArray:
    """What a heat pump draws, per unit of its power at 0 degrees outside in the morning; no more than that.

    The draw is in proportion to how far the outdoor temperature is below 16 degrees, and a quarter less far from 7:00
    and 19:00. The temperature is 12 degrees on average, 8 above and below it over a year (coldest in the middle of
    January, or of July in the south), 4 over a day (warmest at 15:00), and every day has an offset of its own.
    """
    coldest, hour = 197 if latitude_deg < 0 else 15, _hour(times) + 0.5 * _length_h(times)
    year = -8.0 * np.cos(2 * np.pi * (times.day_of_year.to_numpy(dtype=float) - coldest) / 365)
    outdoor = (
        12.0 + year + 4.0 * np.cos(2 * np.pi * (hour - 15.0) / 24) + rng.normal(0.0, 2.0, _days(times))[_day(times)]
    )
    habit = 0.75 + 0.25 * np.maximum(_bump(hour, 7.0, 2.0), _bump(hour, 19.0, 3.0))
    return np.asarray(np.clip((16.0 - outdoor) / 16.0, 0.0, 1.0) * habit)


def year_profiles(
    times: pd.DatetimeIndex, latitude_deg: float, households: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Profile columns ``pv`` and ``home0``, ``home1``, ...: per unit of rated power, and of a mean of 1 over the year.

    A household has its own hours of peak, more load in winter and summer than between, and bursts.
    """
    table = {"time": times, "pv": sun_profile(times, latitude_deg, rng)}
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
    timer_share: float = TIMER_SHARE,
) -> pd.DataFrame:
    """Charging sessions of 7.4 kW of every owner on three evenings of four, as far as they begin within the times.

    A session starts around 18:30 (13:00 to 22:00) or, for a share of them, when a timer does at 22:00; energy is gamma
    of shape 4 and mean 8.8 kWh within 2 to 30 kWh. The car stays for nine hours.
    """
    days, midnight = _days(times), times[0].normalize()
    who, day = (a.ravel() for a in np.meshgrid(np.arange(len(owners)), np.arange(days), indexing="ij"))
    keep = rng.random(len(who)) < EVENING_SHARE
    who, day = who[keep], day[keep]
    start = np.clip(np.round(rng.normal(37, 3.5, len(who))), 26, 44).astype(int)
    start = np.where(rng.random(len(who)) < timer_share, TIMER_STEP, start)
    energy = np.clip(rng.gamma(4.0, 2.2, len(who)), 2.0, 30.0).round(2)
    arrival = midnight + (DAY * day + start) * pd.Timedelta(minutes=30)
    sessions = pd.DataFrame(
        {
            "participant": owners[who],
            "arrival": arrival,
            "departure": arrival + STAY,
            "power_kw": EV_KW,
            "energy_kwh": energy,
        }
    )
    inside = (arrival >= times[0]) & (arrival < times[-1] + (times[1] - times[0]))
    return sessions[inside].reset_index(drop=True)


def _length_h(times: pd.DatetimeIndex) -> float:
    return float((times[1] - times[0]) / pd.Timedelta(hours=1))


def _day(times: pd.DatetimeIndex) -> IntArray:
    """Number of the calendar day of every time, from 0."""
    return np.asarray((times.normalize() - times[0].normalize()) // pd.Timedelta(days=1), dtype=np.intp)


def _days(times: pd.DatetimeIndex) -> int:
    return int(_day(times[-1:].insert(0, times[0]))[-1]) + 1


def _hour(times: pd.DatetimeIndex) -> FloatArray:
    return np.asarray(times.hour + times.minute / 60.0, dtype=float)


def _bump(hour: FloatArray, at: FloatArray | float, width: float) -> FloatArray:
    return np.asarray(np.exp(-(((hour - at) / width) ** 2)))
