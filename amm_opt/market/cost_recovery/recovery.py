"""Who gets what of the costs of a system: fuel and reserve as settled, operation and capital as pots that are shared.

    payment_gt = w_t  pot  max(0, phi_gt) / sum of max(0, phi) over those who share,        sum_t w_t = 1,

phi_gt what plant g is worth in interval t, such as its Shapley value. Technologies that keep their own costs (wind and
nuclear in the source) get exactly these, spread over time by the same w. Source: D. Sweeney, arXiv 2512.13871 (2025),
public code; what we read otherwise stands in docs/cost-recovery.md. All money is in whole cents, so that payments of an
interval add up to what is charged in it, and those of all intervals to the pots, exactly.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.errors import InputError, counted, shorten
from amm_opt.fields import is_number, shortened
from amm_opt.io.html import as_html
from amm_opt.market.cost_recovery.cents import in_cents, over_time, split
from amm_opt.market.metrics import atkinson, concentration_ratio, gini, hhi, payback_years, recovered, theil

POTS = ("fuel", "reserve", "operating", "capital", "delta")
WEIGHTS = ("equal", "value")
"""How a pot is spread over time: alike over all intervals in which somebody adds something, or by what all add."""
OWN = ("wind", "nuclear")
"""Technologies that get exactly their own operating and capital cost, in the source."""
PLANTS = ("participant", "technology", "kw", "fuel_cost", "operating", "capital")
"""Columns of the table of plants; money over all intervals together."""


@dataclass(frozen=True, eq=False)
class CostRecovery:
    """What plants are paid, pot by pot and interval by interval.

    Attributes:
        cents: by pot (T, G) whole cents: ``fuel`` and ``reserve`` as they were settled, ``operating`` and ``capital``,
            and ``delta``, which takes the place of what would be shared of these where there is a benchmark.
        plants: the costs that were given, a row each: ``participant``, ``technology``, ``kw``, ``fuel_cost``,
            ``operating`` and ``capital``.
        times: (T,) of the intervals.
        years: how long they are together.
    """

    cents: dict[str, IntArray]
    plants: pd.DataFrame
    times: pd.Index[Any]
    years: float

    @property
    def pots(self) -> pd.Series[float]:
        """What each pot pays, in currency."""
        return pd.Series({pot: paid.sum() / 100.0 for pot, paid in self.cents.items()})

    @property
    def intervals(self) -> pd.DataFrame:
        """What each pot pays in each interval, and ``charged``, their sum, which is what load pays; in currency."""
        paid = {pot: cents.sum(axis=1) for pot, cents in self.cents.items()}
        table = pd.DataFrame({**paid, "charged": sum(paid.values())}, index=self.times)
        return table / 100.0

    @property
    def participants(self) -> pd.DataFrame:
        """A row per plant: what each pot pays it, and how that covers what it costs.

        ``revenue``, the sum of pots; ``cost``, of fuel, operation and capital; ``net_revenue``, revenue less fuel and
        operation, and ``net_per_kw``; ``adequacy``, revenue over cost (NaN without cost); ``recovers`` it; and
        ``payback_years``, capital over net revenue, of which capital is what falls due in these intervals: times the
        years over which it is recovered it is all of it.
        """
        p = self.plants
        table = p[["participant", "technology", "kw"]].assign(
            **{pot: cents.sum(axis=0) / 100.0 for pot, cents in self.cents.items()}
        )
        revenue = sum(table[pot] for pot in self.cents)
        cost = p["fuel_cost"] + p["operating"] + p["capital"]
        net = revenue - p["fuel_cost"] - p["operating"]
        return table.assign(
            revenue=revenue,
            cost=cost,
            net_revenue=net,
            net_per_kw=net / p["kw"].where(p["kw"] > 0),
            adequacy=revenue / cost.where(cost != 0),
            recovers=recovered(revenue, cost),
            payback_years=payback_years(p["investment"], net / self.years) if "investment" in p else np.nan,
        )

    @property
    def technologies(self) -> pd.DataFrame:
        """The same sums by technology, ``adequacy``, and how many of its ``plants`` recover their cost."""
        t = self.participants
        sums = t.groupby("technology", sort=True)[["kw", *self.cents, "revenue", "cost", "net_revenue"]].sum()
        count = t.groupby("technology", sort=True)["recovers"].agg(["sum", "size"])
        adequacy = sums["revenue"] / sums["cost"].where(sums["cost"] != 0)
        return sums.assign(adequacy=adequacy, recover=count["sum"], plants=count["size"])

    @property
    def metrics(self) -> pd.Series[float]:
        """How unequal net revenue per kW is, how many recover their cost, and how concentrated revenue is.

        ``atkinson`` and ``theil`` are NaN where some net revenue is negative (``negative`` of them).
        """
        t = self.participants
        per_kw, cost = t["net_per_kw"].dropna().to_numpy(), float(t["cost"].sum())
        revenue = t["revenue"].to_numpy()
        told = {
            "adequacy": float(revenue.sum()) / cost if cost else np.nan,
            "plants": len(t),
            "recover": int(t["recovers"].sum()),
            "negative": int((per_kw < 0).sum()),
            "gini": gini(per_kw),
            "atkinson_0.5": atkinson(per_kw, 0.5),
            "atkinson_1": atkinson(per_kw, 1.0),
            "theil": theil(per_kw),
            "hhi": hhi(revenue),
            "cr4": concentration_ratio(revenue, 4),
            "cr10": concentration_ratio(revenue, 10),
            "payback_years": float(t["payback_years"].median()),
        }
        return pd.Series(told, dtype=float)

    def _repr_html_(self) -> str:
        return as_html("Cost recovery", self.technologies)


def recover_costs(
    plants: pd.DataFrame,
    fuel: ArrayLike,
    reserve: ArrayLike,
    value: ArrayLike,
    *,
    own: Collection[str] = OWN,
    weights: str = WEIGHTS[0],
    benchmark: float | None = None,
    years: float = 1.0,
    times: pd.Index[Any] | None = None,
) -> CostRecovery:
    """Pay plants for fuel and reserve, and share what it costs to have them.

    Args:
        plants: a row for each of G plants, in currency over all intervals together: ``participant``, ``technology``,
            ``kw``, ``fuel_cost`` (what it spent to generate), ``operating`` and ``capital``, what falls due of them;
            and, for paybacks, ``investment``, all of its capital.
        fuel, reserve: (T, G) what each is paid for energy and reserve in each interval, in currency.
        value: (T, G) by which pots are shared, such as Shapley values; what is negative counts 0.
        own: technologies that get exactly their own operating and capital cost.
        weights: ``equal``, as in the source, or ``value``: an interval weighs what all who share add in it.
        benchmark: what the same plants are paid for energy and reserve in another clearing, such as LMP; then those
            who share get what is left of that (delta pot) in place of their costs (base pot).
        years: length of all intervals, for paybacks.
        times: of the intervals; their numbers where None.

    Raises:
        InputError: for columns, shapes and numbers that are wrong, and where a pot is to be shared and nobody who
            shares adds anything.
    """
    table, arrays = _checked(plants, (fuel, reserve, value), weights, benchmark, years)
    paid, held, worth = arrays
    cents = {name: in_cents(a, over_time(a.sum(axis=1))) for name, a in (("fuel", paid), ("reserve", held))}
    alone = table["technology"].isin(list(own)).to_numpy()
    share = np.where(alone, 0.0, np.maximum(worth, 0.0))
    added = share.sum(axis=1)
    over = added if weights == "value" else (added > 0).astype(float)
    over = over if over.any() else np.ones(len(over))
    for pot in ("operating", "capital"):
        due = table[pot].to_numpy(float)
        kept = np.where(alone, np.rint(100.0 * due), 0.0).astype(np.int64)
        cents[pot] = split(kept, np.broadcast_to(over, (len(kept), len(over)))).T
        if benchmark is None:
            cents[pot] = cents[pot] + _shared(float(due[~alone].sum()), over, share, pot)
    spent = sum(int(c.sum()) for c in cents.values()) / 100.0
    delta = 0.0 if benchmark is None else max(0.0, benchmark - spent)
    cents["delta"] = _shared(delta, over, share, "delta")
    index = pd.RangeIndex(len(over), name="interval") if times is None else times
    return CostRecovery(cents, table, index, years)


def _shared(pot: float, over: FloatArray, share: FloatArray, name: str) -> IntArray:
    """(T, G) whole cents of a pot, by interval and then among those who share."""
    total = int(np.rint(100.0 * pot))
    some = (share > 0).sum(axis=1) > 0
    if total and not np.any(some):
        raise InputError(f"nobody who shares the {name} pot adds anything in any interval", subject="cost recovery")
    of_interval = split(np.int64(total), over)
    return np.asarray(split(of_interval, np.where(some[:, None], share, 1.0)))


def _checked(
    plants: pd.DataFrame, arrays: tuple[ArrayLike, ...], weights: str, benchmark: float | None, years: float
) -> tuple[pd.DataFrame, list[FloatArray]]:
    missing = [name for name in PLANTS if name not in plants]
    said = [f"plants: missing columns {', '.join(missing)}"] if missing else []
    if weights not in WEIGHTS:
        said.append(f"weights = {shortened(weights)}; valid choices: {', '.join(WEIGHTS)}")
    if not (benchmark is None or is_number(benchmark)):
        said.append(f"benchmark = {shortened(benchmark)} must be a number")
    if not (is_number(years) and years > 0):
        said.append(f"years = {shortened(years)} must be above 0")
    given = [np.asarray(a, dtype=float) for a in arrays]
    shape = given[0].shape
    for name, a in zip(("fuel", "reserve", "value"), given, strict=True):
        if a.ndim != 2 or a.shape != shape or a.shape[1] != len(plants) or not a.size:
            said.append(
                f"{name} has shape {a.shape}, and must have a row per interval and {counted(len(plants), 'plant')}"
            )
        elif not np.isfinite(a).all():
            said.append(f"{name} must be finite numbers")
    table = plants.reset_index(drop=True)
    for name in PLANTS[2:] if not missing else ():
        number = pd.to_numeric(table[name], errors="coerce").to_numpy(float)
        bad: Any = ~np.isfinite(number) | (
            (number < 0) & (name != "fuel_cost")
        )  # who asks to be rid of energy spends less
        if np.any(bad):
            said.append(
                f"plants: {name} of {shorten(table['participant'][np.asarray(bad)], 5)} must be a number, not negative"
            )
    if said:
        raise InputError(said, subject="cost recovery")
    return table, given
