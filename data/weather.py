"""A year of weather from a seed, and what it makes of wind, sun, load and plants: the profiles of ``national``.

Everything is made up. The shapes are plain formulas, so that a reader can change one; data/README.md has them in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import lfilter

SEED, START, STEPS, STEP_H = 2030, "2030-01-01", 17520, 0.5
Array = NDArray[np.float64]

WIND = {
    # name: mean speed at the hub in m/s, share of the country's common weather in the region's, installed offshore
    "onshore_north": (8.4, 0.45, False),
    "onshore_middle": (7.6, 0.6, False),
    "onshore_south": (7.0, 0.55, False),
    "offshore_north": (10.0, 0.5, True),
    "offshore_east": (9.6, 0.65, True),
    "offshore_west": (9.5, 0.6, True),
}
SUN = {"sun_north": 54.0, "sun_middle": 52.5, "sun_south": 51.0}
"""Latitude, degrees."""


def correlated(rng: np.random.Generator, hours: float) -> Array:
    """A stationary Gaussian series of variance 1, AR(1) with this time constant."""
    keep = float(np.exp(-STEP_H / hours))
    noise = rng.standard_normal(STEPS) * np.sqrt(1.0 - keep**2)
    noise[0] = rng.standard_normal()
    return np.asarray(lfilter([1.0], [1.0, -keep], noise))


def smooth(series: Array, steps: int) -> Array:
    """The mean over so many half-hours around each."""
    wrapped = np.concatenate([series[-steps:], series, series[:steps]])
    return np.asarray(np.convolve(wrapped, np.ones(steps) / steps, "same")[steps:-steps])


@dataclass(frozen=True, eq=False)
class Year:
    """Clock, temperature and the country's common wind of a year.

    Attributes:
        hour, day: of the day, and of the year.
        winter: 1 in mid-January, -1 in mid-July.
        temperature: degrees C, of the country's middle.
        calm: the common part of all winds, a Gaussian series of variance 1.
    """

    rng: np.random.Generator
    hour: Array
    day: Array
    weekend: NDArray[np.bool_]
    winter: Array
    temperature: Array
    wind: Array

    @classmethod
    def made(cls, seed: int = SEED) -> Year:
        """The year of a seed. Cold spells in winter are calm: both come from one series."""
        rng = np.random.default_rng(seed)
        step = np.arange(STEPS)
        hour, day = (step % 48) * STEP_H, step / 48.0
        weekday = (step // 48 + pd.Timestamp(START).weekday()) % 7
        winter = np.cos(2.0 * np.pi * (day - 15.0) / 365.0)
        mild = correlated(rng, 96.0)
        temperature = 10.0 - 6.0 * winter + 2.5 * np.cos(2.0 * np.pi * (hour - 15.0) / 24.0) + 2.8 * mild
        share = 0.5 * np.maximum(winter, 0.0)
        wind = share * mild + np.sqrt(1.0 - share**2) * correlated(rng, 30.0)
        return cls(rng, hour, day, weekday >= 5, winter, temperature, wind)

    def wind_output(self, mean: float, common: float, offshore: bool) -> Array:
        """Of installed power: Rayleigh-distributed speeds around a seasonal mean, through a power curve."""
        own = correlated(self.rng, 14.0)
        latent = np.sqrt(common) * self.wind + np.sqrt(1.0 - common) * own
        season = 1.0 + (0.14 if offshore else 0.17) * self.winter
        upper_tail = 0.5 * (1.0 - np.tanh(0.79788456 * (latent + 0.044715 * latent**3)))
        speed = mean * season * np.sqrt(-4.0 / np.pi * np.log(np.maximum(upper_tail, 1e-12)))
        speed = smooth(speed, 5)
        rising = np.clip((speed**3 - 3.5**3) / (12.5**3 - 3.5**3), 0.0, 1.0)
        storm = np.clip((31.0 - speed) / 6.0, 0.0, 1.0)
        return (0.94 if offshore else 0.96) * rising * storm

    def sun_output(self, latitude: float) -> Array:
        """Of installed power: the sun's height, and clouds that last for half a day."""
        lat, tilt = np.radians(latitude), np.radians(-23.44) * np.cos(2.0 * np.pi * (self.day + 10.0) / 365.0)
        turn = np.radians(15.0 * (self.hour + 0.25 - 12.0))
        height = np.maximum(np.sin(lat) * np.sin(tilt) + np.cos(lat) * np.cos(tilt) * np.cos(turn), 0.0)
        clear = 1.0 / (1.0 + np.exp(-(0.1 + 1.3 * correlated(self.rng, 12.0))))
        return 0.95 * height**1.15 * (0.15 + 0.85 * clear)

    def peak(self, at: float, width: float) -> Array:
        """1 at an hour of the day, falling to both sides."""
        away = np.abs(self.hour + 0.25 - at)
        return np.asarray(np.exp(-((np.minimum(away, 24.0 - away) / width) ** 2)))

    def households(self, colder: float) -> Array:
        """Of the nominal power: morning and evening peaks, light in winter, and heat below 15 degrees."""
        shape = 0.30 + 0.13 * self.peak(8.0, 1.8) + (0.22 + 0.07 * self.winter) * self.peak(18.6, 2.4)
        shape += 0.06 * self.peak(13.0, 3.5) * (1.0 + self.weekend)
        heat = np.maximum(15.0 - (self.temperature - colder), 0.0) * (0.7 + 0.6 * self.peak(18.0, 4.0))
        return shape + 0.016 * heat + 0.006 * correlated(self.rng, 3.0)

    def business(self) -> Array:
        """Of the nominal power: working hours, less at weekends, some heat and some cooling."""
        open_ = 1.0 / (1.0 + np.exp(-(self.hour - 7.0) / 0.8)) - 1.0 / (1.0 + np.exp(-(self.hour - 18.3) / 0.9))
        shape = 0.52 + 0.36 * open_ * np.where(self.weekend, 0.45, 1.0)
        weather = 0.004 * np.maximum(15.0 - self.temperature, 0.0) + 0.006 * np.maximum(self.temperature - 20.0, 0.0)
        return shape + weather + 0.006 * correlated(self.rng, 3.0)

    def charging(self) -> Array:
        """Of the nominal power: at night by tariff, and in the evening on arrival; more energy in the cold."""
        shape = 0.08 + 0.75 * self.peak(1.5, 2.2) + 0.35 * self.peak(19.0, 2.5) + 0.15 * self.peak(12.0, 4.0)
        return shape * (1.0 + 0.12 * self.winter) * (0.97 + 0.03 * correlated(self.rng, 3.0))

    def outages(self, units: int, mean_up_days: float, mean_down_days: float, weeks_out: float) -> Array:
        """Share of a plant's units that can run: each fails by chance and is overhauled once a summer."""
        running = np.zeros(STEPS)
        for _ in range(units):
            up = np.ones(STEPS)
            time = -self.rng.exponential(mean_down_days)
            while time < 365.0:
                down = time + self.rng.exponential(mean_up_days)
                time = down + self.rng.exponential(mean_down_days)
                up[(self.day >= down) & (self.day < time)] = 0.0
            start = self.rng.uniform(95.0, 295.0 - 7.0 * weeks_out)
            up[(self.day >= start) & (self.day < start + 7.0 * weeks_out)] = 0.0
            running += up
        return running / units

    def abroad(self) -> Array:
        """Share of a link that neighbours can fill: less where it is cold, as it is cold there too."""
        cold = np.maximum(4.0 - self.temperature, 0.0)
        return np.asarray(np.clip(0.95 - 0.045 * cold + 0.05 * correlated(self.rng, 48.0), 0.35, 1.0))


def profiles(nuclear: Sequence[str], gas: Sequence[tuple[str, int]], seed: int = SEED) -> pd.DataFrame:
    """All profiles of the case, one row per half-hour.

    Args:
        nuclear: names of nuclear plants, two units each.
        gas: names of gas plants and their numbers of units.
        seed: of the weather.
    """
    year = Year.made(seed)
    made = {name: year.wind_output(*how) for name, how in WIND.items()}
    made |= {name: year.sun_output(latitude) for name, latitude in SUN.items()}
    made |= {"households_north": year.households(2.0), "households_south": year.households(0.0)}
    made |= {"business": year.business(), "charging": year.charging()}
    made |= {name: 0.97 * year.outages(2, 150.0, 6.0, 5.0) for name in nuclear}
    made |= {name: year.outages(units, 60.0, 3.0, 3.0) for name, units in gas}
    made["water"] = np.clip(0.5 + 0.2 * year.winter + 0.1 * correlated(year.rng, 200.0), 0.15, 0.95)
    made["biomass"] = 0.95 * year.outages(4, 60.0, 3.0, 3.0)
    made |= {f"abroad_{side}": year.abroad() for side in ("north", "east", "west")}
    columns = {name: np.maximum(series, 0.0).round(3).astype(np.float32) for name, series in made.items()}
    return pd.DataFrame({"time": pd.date_range(START, periods=STEPS, freq="30min"), **columns})
