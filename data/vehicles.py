"""Electric vehicles of the case ``mv33lv``: who has one, when it charges, and its sessions of a year."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

SEED = 20160101
START = "2016-01-01"
STEPS, STEP_MINUTES, DAY = 17568, 30, 48
DAYS = STEPS // DAY - 1
HOUSEHOLD, HOME_CHARGE_POINT = "H0-", "HLS_"
TIMER, AT_HOME, ARRIVAL = 0, 1, 2
DRAWS, ROUNDS = 500, 30


@dataclass(frozen=True)
class Vehicles:
    """What every scenario needs to know of its vehicles; data/README.md says how these figures were found.

    Attributes:
        uptake: share of households with an electric vehicle.
        fast_share: share of vehicles that charge with 11 kW; the others with 7.4 kW.
        timer_share: share of vehicles that start every session by a tariff timer at 23:00, where that is one hour.
        evening_share: probability of a session on a day.
        mean_kwh: mean energy of a session.
    """

    uptake: float
    fast_share: float = 0.25
    timer_share: float = 0.6
    evening_share: float = 0.75
    mean_kwh: float = 9.0


@dataclass(frozen=True)
class Competition:
    """How vehicles differ in time, and LV feeders in their mix.

    Attributes:
        timers: half-hours of the day, from the noon before on, at which retailers' cheap periods begin.
        market: shares of the retailers over all feeders.
        dominance: share of a feeder's timers that are with the one retailer that leads there; retailers lead in equally
            many feeders of every size.
        timer_share, home_share, late_share: lowest and highest share in a feeder: of vehicles on a timer, of those that
            charge by day, and of late ones among those that charge when they arrive.
    """

    timers: tuple[int, ...] = (42, 44, 46, 48, 50, 52)
    market: tuple[float, ...] = (0.18, 0.13, 0.13, 0.20, 0.18, 0.18)
    dominance: float = 0.35
    timer_share: tuple[float, float] = (0.62, 0.80)
    home_share: tuple[float, float] = (0.05, 0.25)
    late_share: tuple[float, float] = (0.2, 0.8)


def generator(*seed: int) -> np.random.Generator:
    """Random numbers of which only uniform ones are drawn: their stream does not depend on numpy's version."""
    return np.random.Generator(np.random.PCG64(seed[0] if len(seed) == 1 else seed))


def owners(loads: pd.DataFrame, setting: Vehicles) -> pd.DataFrame:
    """One row per household with an electric vehicle: participant, charging power, timer at 23:00 or not, departure.

    Households at a bus where SimBench has a home charge point come first; the others follow in random order. A higher
    uptake keeps the vehicles of a lower one, with their habits.
    """
    rng = generator(SEED + 1)
    homes = loads[loads["profile"].str.startswith(HOUSEHOLD)]
    points = set(loads["node"][loads["profile"].str.startswith(HOME_CHARGE_POINT)])
    draw = rng.random((len(homes), 4))
    rank = np.where(homes["node"].isin(points), draw[:, 0] - 1.0, draw[:, 0])
    table = pd.DataFrame({"participant": homes["participant"].to_numpy(), "feeder": homes["feeder"].to_numpy()})
    table["power_kw"] = np.where(draw[:, 1] < setting.fast_share, 11.0, 7.4)
    table["timer"] = draw[:, 2] < setting.timer_share
    table["leave"] = 12 + (6 * draw[:, 3]).astype(int)
    table["vehicle"] = np.arange(len(table))
    first = np.argsort(rank, kind="stable")[: round(setting.uptake * len(homes))]
    table = table.iloc[np.sort(first)].reset_index(drop=True)
    table.attrs["households"] = len(homes)
    return table


def sessions_with_one_timer(cars: pd.DataFrame, setting: Vehicles) -> pd.DataFrame:
    """Charging sessions of every vehicle on its evenings; the last evening of the year is left out.

    Without a timer a session starts on arrival, 16:00 to 21:30 on weekdays and 13:00 to 20:30 at weekends; it ends
    with the habitual departure of the vehicle, 06:00 to 08:30.
    """
    drives, early, late, kwh = _draws(generator(SEED + 2), cars, setting)
    arrival = np.where(_weekend(), 26 + 8 * (early + late), 32 + 6 * (early + late)).astype(int)
    arrival = np.where(cars["timer"].to_numpy(), 46, arrival)
    return _table(cars, drives, arrival, DAY + cars["leave"].to_numpy(), kwh, by_vehicle=False)


def competing_sessions(cars: pd.DataFrame, setting: Vehicles, habits: Competition, seed: int) -> pd.DataFrame:
    """Charging sessions of vehicles that differ in time; the last day of the year is left out.

    A vehicle has one of three habits. On a timer it starts with its retailer's cheap period. At home by day it starts
    between 08:00 and 16:00 and has until 17:00 at least, five hours or more. Others start on arrival: early ones from
    14:00 to 20:00 (at weekends 12:00 to 20:00), late ones from 18:00 to 23:00 (15:00 to 23:00). All but those by day
    end with the habitual departure, 06:00 to 08:30. Nobody asks for more than there is time for.
    """
    rng, count = generator(SEED, seed), len(habits.timers)
    feeders = sorted(set(cars["feeder"]))
    feeder = cars["feeder"].map({name: i for i, name in enumerate(feeders)}).to_numpy()
    size = np.bincount(feeder)
    timer_share, home_share, late_share = (
        low + (high - low) * rng.random(len(feeders))
        for low, high in (habits.timer_share, habits.home_share, habits.late_share)
    )
    mix = _mix(rng, size * timer_share, habits)
    draw = rng.random((cars.attrs["households"], 3))[cars["vehicle"].to_numpy()]
    place = spread(draw[:, 0], feeder)
    habit = np.select(
        [place < timer_share[feeder], place < (timer_share + home_share)[feeder]], [TIMER, AT_HOME], ARRIVAL
    )
    place = spread(draw[:, 1], 2 * feeder + (habit == TIMER))
    retailer = np.minimum((place[:, None] > np.cumsum(mix, axis=1)[feeder]).sum(axis=1), count - 1)
    late = draw[:, 2] < late_share[feeder]

    drives, one, two, kwh = _draws(rng, cars, setting)
    both, weekend = one + two, _weekend()
    on_arrival = np.where(
        late, np.where(weekend, 30 + 8 * both, 36 + 5 * both), np.where(weekend, 24 + 8 * both, 28 + 6 * both)
    )
    start = np.select(
        [habit == TIMER, habit == AT_HOME], [np.array(habits.timers)[retailer], 16 + 8 * both], on_arrival
    ).astype(int)
    end = np.where(habit == AT_HOME, np.maximum(start + 10, 34), DAY + cars["leave"].to_numpy())
    room = np.floor(cars["power_kw"].to_numpy() * (end - start) / 2 * 2) / 2
    return _table(cars, drives, start, end, np.minimum(kwh, room), by_vehicle=True)


def _mix(rng: np.random.Generator, timers: np.ndarray, habits: Competition) -> np.ndarray:
    """(feeders, retailers) shares of a feeder's timers; over all feeders they are those of the market.

    One retailer leads in each feeder. Feeders are taken in the order of their timers, as many at a time as there are
    retailers, and each leads in one; of many such draws that counts which gives leaders the most equal numbers.
    """
    count, market = len(habits.timers), np.array(habits.market)
    order = np.argsort(-timers, kind="stable")
    drawn = np.argsort(rng.random((DRAWS, -(-len(timers) // count), count)), axis=2).reshape(DRAWS, -1)[
        :, : len(timers)
    ]
    led = np.array([np.bincount(leads, timers[order], count) for leads in drawn])
    mix = (1.0 - habits.dominance) * market * (0.5 + rng.random((len(timers), count)))
    mix[order, drawn[np.argmin(led.max(axis=1) - led.min(axis=1))]] += habits.dominance
    for _ in range(ROUNDS):
        mix /= mix.sum(axis=1, keepdims=True)
        mix *= market * timers.sum() / (timers @ mix)
    return np.asarray(mix / mix.sum(axis=1, keepdims=True))


def spread(draw: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Ranks of draws in their group, spread evenly over 0 to 1: shares are met as nearly as numbers allow."""
    order = np.lexsort((draw, group))
    size = np.bincount(group)
    place = np.empty(len(draw))
    place[order] = np.arange(len(draw)) - np.repeat(np.cumsum(size) - size, size) + 0.5
    return np.asarray(place / size[group])


def _weekend() -> np.ndarray:
    """(DAYS, 1) whether a day is one of a weekend; 1 January 2016 is a Friday."""
    return ((np.arange(DAYS) + 4) % 7 >= 5)[:, None]


def _draws(rng: np.random.Generator, cars: pd.DataFrame, setting: Vehicles) -> tuple[np.ndarray, ...]:
    """(DAYS, vehicles) whether each charges, two draws for its arrival, and its energy in kWh.

    Energy: gamma of shape 4, in steps of 0.5 kWh within 1 to 30 kWh. Households without a vehicle have draws too.
    """
    own, shape = cars["vehicle"].to_numpy(), (DAYS, cars.attrs["households"])
    drives, early, late = (rng.random(shape)[:, own] for _ in range(3))
    gamma = -np.log(1.0 - rng.random((4, *shape))).sum(axis=0)[:, own]
    return (
        drives < setting.evening_share,
        early,
        late,
        np.clip(np.round(setting.mean_kwh / 4 * gamma / 0.5) * 0.5, 1.0, 30.0),
    )


def _table(
    cars: pd.DataFrame, drives: np.ndarray, start: np.ndarray, end: np.ndarray, kwh: np.ndarray, by_vehicle: bool
) -> pd.DataFrame:
    """The sessions of a year, by day or by vehicle, from half-hours of the day."""
    day, car = np.nonzero(drives)
    if by_vehicle:
        order = np.argsort(car, kind="stable")
        day, car = day[order], car[order]
    start, end = np.broadcast_to(start, drives.shape), np.broadcast_to(end, drives.shape)
    begin, half_hour = np.datetime64(START, "s"), np.timedelta64(STEP_MINUTES * 60, "s")
    return pd.DataFrame(
        {
            "participant": cars["participant"].to_numpy()[car],
            "arrival": begin + (DAY * day + start[day, car]) * half_hour,
            "departure": begin + (DAY * day + end[day, car]) * half_hour,
            "power_kw": cars["power_kw"].to_numpy()[car],
            "energy_kwh": kwh[day, car],
        }
    )
