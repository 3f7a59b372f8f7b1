"""Small made-up data: households at five minutes with appliances that could wait, and a supply of wind and sun."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray
from amm_opt.errors import InputError
from amm_opt.fields import Checked
from amm_opt.request_market.loads import HouseholdLoads
from amm_opt.request_market.problem import RequestProblem, request_problem
from amm_opt.request_market.requests import FLEXIBILITIES_H, TOP_PRICE

PER_DAY, PER_SLOT = 288, 6
START = "2030-01-07"
APPLIANCES = ((1.25, 6, 15), (2.0, 6, 18), (3.0, 7, 30), (7.0, 18, 60))
"""Power in kW and the shortest and longest run in five-minute intervals."""


@dataclass(frozen=True)
class GeneratedHouseholds(Checked):
    """Seeded households: a small base load, a noisy essential part, and up to four appliances.

    Args:
        count: households.
        days: from Monday, 7 January 2030.
        supply_share: energy of supply over that of all loads.
        premium_share: share of households with the premium product, the first of them.
        seed: of everything.
    """

    count: int = 30
    days: int = 30
    supply_share: float = 0.7
    premium_share: float = 1 / 3
    seed: int = 0

    def __post_init__(self) -> None:
        problems = [
            f"{name} = {getattr(self, name)} must be at least 1"
            for name in ("count", "days")
            if getattr(self, name) < 1
        ]
        if self.supply_share < 0:
            problems.append(f"supply_share = {self.supply_share} must not be negative")
        if not 0 <= self.premium_share <= 1:
            problems.append(f"premium_share = {self.premium_share} must be in [0, 1]")
        if self.seed < 0:
            problems.append(f"seed = {self.seed} must not be negative")
        if problems:
            raise InputError(problems, subject="generated households")

    def loads(self) -> HouseholdLoads:
        """Five-minute loads."""
        rng, n = np.random.default_rng([self.seed, 1]), self.days * PER_DAY
        names = tuple(f"h{k + 1:03d}" for k in range(self.count))
        times = pd.date_range(START, periods=n, freq="5min")
        return HouseholdLoads(times, names, np.stack([_household(rng, self.days) for _ in names], axis=1))

    def terms(self) -> pd.DataFrame:
        """Product, flexibility and highest price of every household: the ``households`` of ``request_problem``."""
        rng = np.random.default_rng([self.seed, 2])
        premium = np.arange(self.count) < round(self.premium_share * self.count)
        return pd.DataFrame(
            {
                "household": [f"h{k + 1:03d}" for k in range(self.count)],
                "product": np.where(premium, "premium", "basic"),
                "flexibility_h": rng.choice(FLEXIBILITIES_H, self.count),
                "max_price": np.round(rng.uniform(0.4, 1.0, self.count) * TOP_PRICE, 2),
            }
        )

    def supply_kw(self, loads: HouseholdLoads) -> FloatArray:
        """(N,) half-hours: half of the energy from a slow wind, half from the sun."""
        rng, n = np.random.default_rng([self.seed, 3]), loads.n_slots
        wind = np.empty(n)
        wind[0] = rng.normal()
        for k in range(1, n):
            wind[k] = 0.98 * wind[k - 1] + np.sqrt(1 - 0.98**2) * rng.normal()
        hour = np.arange(n) % 48 / 2
        clear = np.repeat(rng.uniform(0.3, 1.0, -(-n // 48)), 48)[:n]
        parts = [np.exp(0.6 * wind), clear * np.maximum(np.sin((hour - 6) / 12 * np.pi), 0.0)]
        shape = sum(part / part.mean() for part in parts) / 2
        return np.asarray(shape * self.supply_share * loads.load_kw.sum(axis=1).mean())


def generated_problem(
    count: int = 30, days: int = 30, supply_share: float = 0.7, premium_share: float = 1 / 3, seed: int = 0
) -> RequestProblem:
    """A made-up request problem: see ``GeneratedHouseholds`` for the parameters.

    Raises:
        InputError: parameters outside their range, all at once.
    """
    made = GeneratedHouseholds(count, days, supply_share, premium_share, seed)
    loads = made.loads()
    return request_problem(loads, made.supply_kw(loads), made.terms())


def _household(rng: np.random.Generator, days: int) -> FloatArray:
    """Five-minute power of one household."""
    n = days * PER_DAY
    load = np.full(n, 0.25 * rng.integers(1, 3)) + rng.exponential(0.06, n)
    for k in range(days):
        cooking = k * PER_DAY + int(rng.normal(18.5, 0.7) * 12)
        load[cooking : cooking + 5] += 2.0
        for power_kw, shortest, longest in APPLIANCES:
            if rng.random() < 0.35:
                begin = k * PER_DAY + int(rng.choice([rng.normal(9, 2), rng.normal(19, 2)]) * 12) % PER_DAY
                load[begin : begin + int(rng.integers(shortest, longest + 1))] += power_kw
    return np.asarray(load)
