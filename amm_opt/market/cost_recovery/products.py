"""What households pay for a system: products that share its costs by the capacity that they may use.

    non-fuel share of product p = w_p C_p / sum w C,        fuel share = C_p / sum C,

C_p the controllable part of what its households are served, w_p the weight of the product; both times the share of
households in all served demand. Reserve and the delta pot count as non-fuel (ours). D. Sweeney, arXiv 2512.13871
(2025), public code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from amm_opt.errors import InputError
from amm_opt.fields import Checked
from amm_opt.market.cost_recovery.cents import split
from amm_opt.market.cost_recovery.recovery import CostRecovery

MONTHS = 12


@dataclass(frozen=True)
class Product(Checked):
    """What households may buy.

    Attributes:
        name: of the product.
        households: how many have it.
        weight: of its capacity in costs other than fuel.
        kwh: what each of them is served in a year; only its proportion to that of other products matters.
        controllable: the part of that which can be moved or shed, 0 to 1; the rest is uncontrollable, and no part of C.
    """

    name: str
    households: int
    weight: float = 1.0
    kwh: float = 1.0
    controllable: float = 1.0

    def __post_init__(self) -> None:
        said = [] if self.households > 0 else [f"households = {self.households} must be above 0"]
        said += [f"{n} = {getattr(self, n):g} must not be negative" for n in ("weight", "kwh") if getattr(self, n) < 0]
        if not 0 <= self.controllable <= 1:
            said.append(f"controllable = {self.controllable:g} must be within 0..1")
        if said:
            raise InputError(said, subject=f"product {self.name}")


PRODUCTS = (
    Product("P1", 19_000_000, 1.0),
    Product("P2", 6_000_000, 2.0),
    Product("P3", 2_500_000, 1.0),
    Product("P4", 1_500_000, 2.0),
)
"""Those of the source, with equal use by every household, which it takes from its own data."""


def subscriptions(
    recovery: CostRecovery, products: Sequence[Product] = PRODUCTS, *, residential: float = 1.0
) -> pd.DataFrame:
    """What each product pays of the costs, and each of its households in a month; a row per product.

    ``households``, ``uncontrollable_kwh`` and ``controllable_kwh`` of each household in a year; ``fuel`` and
    ``non_fuel`` in whole cents, which add up exactly to the residential share of what the pots pay; their sum
    ``bill``; ``subscription`` per household and month, to the cent, and ``rounding``, what bills at that miss.

    Args:
        recovery: the costs.
        products: what households have.
        residential: the share of households in all served demand, 0 to 1.

    Raises:
        InputError: for another share, and where no product has controllable use, or none of any weight.
    """
    c = np.array([p.households * p.kwh * p.controllable for p in products])
    weighted = c * [p.weight for p in products]
    if not 0 <= residential <= 1:
        raise InputError(f"residential = {residential!r} must be within 0..1", subject="subscriptions")
    if not weighted.any():
        raise InputError("no product has controllable use of any weight: nobody pays", subject="subscriptions")
    paid = {pot: int(cents.sum()) for pot, cents in recovery.cents.items()}
    fuel = split(np.int64(np.rint(residential * paid["fuel"])), c)
    other = split(np.int64(np.rint(residential * (sum(paid.values()) - paid["fuel"]))), weighted)
    count = np.array([p.households for p in products])
    bills = count * MONTHS * recovery.years
    month = np.rint((fuel + other) / bills)
    columns = {
        "product": [p.name for p in products],
        "households": count,
        "uncontrollable_kwh": [p.kwh * (1.0 - p.controllable) for p in products],
        "controllable_kwh": [p.kwh * p.controllable for p in products],
        "fuel": fuel / 100.0,
        "non_fuel": other / 100.0,
        "bill": (fuel + other) / 100.0,
        "subscription": month / 100.0,
        "rounding": (fuel + other - month * bills) / 100.0,
    }
    return pd.DataFrame(columns)
