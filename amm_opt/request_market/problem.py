"""What a request market is given: requests, supply, essential load and a prediction of demand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray
from amm_opt.errors import InputError, counted, shorten
from amm_opt.fields import is_number
from amm_opt.request_market.loads import HouseholdLoads
from amm_opt.request_market.requests import FLEXIBILITIES_H, MOST_SLOTS, PRODUCTS, TOP_PRICE, FlexibleRequest
from amm_opt.request_market.split import split_household

SERIES = ("supply_kw", "essential_kw", "predicted_kw")
COLUMNS = ("household", "product", "flexibility_h", "max_price")


@dataclass(frozen=True, eq=False)
class RequestProblem:
    """Requests that compete for what supply leaves after essential load.

    Args:
        requests: in any order; they are sorted.
        supply_kw: (N,) supply in each half-hour.
        essential_kw: (N,) load that is served first; None for none.
        predicted_kw: (N,) predicted demand of the price; None for that of the requests, each spread evenly over its
            window.

    Raises:
        InputError: negative or missing values, lengths that differ, windows beyond the last slot; all at once.
    """

    requests: tuple[FlexibleRequest, ...]
    supply_kw: FloatArray
    essential_kw: FloatArray
    predicted_kw: FloatArray

    def __init__(
        self,
        requests: Sequence[FlexibleRequest],
        supply_kw: FloatArray,
        essential_kw: FloatArray | None = None,
        predicted_kw: FloatArray | None = None,
    ) -> None:
        items = list(requests)
        problems: list[str] = []
        if odd := [type(r).__name__ for r in items if not isinstance(r, FlexibleRequest)]:
            raise InputError(f"requests must be FlexibleRequests, not {shorten(odd)}")
        supply = _series(supply_kw, "supply_kw", problems)
        n = len(supply)
        essential = np.zeros(n) if essential_kw is None else _series(essential_kw, "essential_kw", problems)
        predicted = spread(items, n) if predicted_kw is None else _series(predicted_kw, "predicted_kw", problems)
        for name, values in zip(SERIES[1:], (essential, predicted), strict=True):
            if len(values) != n:
                problems.append(f"{name} has {counted(len(values), 'slot')}, supply_kw has {n}")
        if late := [r.household for r in items if r.latest > n]:
            problems.append(
                f"windows end after the last of {counted(n, 'slot')}: requests of {shorten(sorted(set(late)))}"
            )
        if problems:
            raise InputError(problems, subject="request problem")
        object.__setattr__(self, "requests", tuple(sorted(items, key=lambda r: r.sort_key)))
        for name, values in zip(SERIES, (supply, essential, predicted), strict=True):
            object.__setattr__(self, name, values)

    @cached_property
    def available_kw(self) -> FloatArray:
        """(N,) what is there for requests."""
        return np.maximum(self.supply_kw - self.essential_kw, 0.0)

    @property
    def n_slots(self) -> int:
        """Half-hours."""
        return len(self.supply_kw)


def request_problem(
    loads: HouseholdLoads,
    supply_kw: FloatArray,
    households: pd.DataFrame | None = None,
    power: str = "mode",
) -> RequestProblem:
    """Split the loads of households into essential load and requests.

    Our reading of what the source leaves open: a request takes the half-hours that its run touches as its window, lasts
    as long as the run rounded up to half-hours, at most 23.5 h, and is widened by half the flexibility on each side,
    rounded up. Predicted demand is that of all requests at the times of their runs.

    Args:
        supply_kw: (N,) in each half-hour of the loads.
        households: columns ``household`` and any of ``product`` (basic), ``flexibility_h`` (0; one of 0, 1, 2, 3, 6, 9,
            12, 24) and ``max_price`` (265 p/kWh); whoever is not in it has these defaults.
        power: see ``split_household``.

    Raises:
        InputError: everything that is wrong at once.
    """
    terms = _terms(loads.names, households)
    n, per = loads.n_slots, loads.per_slot
    essential, predicted, requests = np.zeros(n), np.zeros(n), []
    for j, name in enumerate(loads.names):
        split = split_household(loads.load_kw[:, j], loads.step_minutes, power)
        essential += split.essential_kw.reshape(n, per).mean(axis=1)
        product, flexibility_h, max_price = terms[name]
        for start, stop, kw in zip(split.start, split.stop, split.power_kw, strict=True):
            slots = min(-(-int(stop - start) // per), MOST_SLOTS)
            first, last = int(start) // per, -(-int(stop) // per)
            predicted[first : first + slots] += kw
            wider = int(np.ceil(flexibility_h))  # half of it on each side, in half-hours
            window = max(0, first - wider), min(n, last + wider)
            requests.append(FlexibleRequest(name, *window, float(kw), slots, max_price, product))
    return RequestProblem(requests, supply_kw, essential, predicted)


def spread(requests: Sequence[FlexibleRequest], n: int) -> FloatArray:
    """(n,) power of requests, each spread evenly over its window."""
    out = np.zeros(n)
    for r in requests:
        out[r.earliest : r.latest] += r.power_kw * r.slots / (r.latest - r.earliest)
    return out


def _series(values: Any, what: str, problems: list[str]) -> FloatArray:
    try:
        series = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        series = np.full((), np.nan)
    if series.ndim != 1:
        problems.append(f"{what} must be a series of numbers, one per half-hour")
        return np.zeros(0)
    for bad, word in ((~np.isfinite(series), "no number"), (series < 0, "a negative value")):
        if bad.any():
            problems.append(
                f"{what} has {word} in {counted(int(bad.sum()), 'slot')}, the first is {int(np.argmax(bad))}"
            )
    return series


def _terms(names: Sequence[str], table: pd.DataFrame | None) -> dict[str, tuple[str, float, float]]:
    """Product, flexibility in hours and highest price of every household."""
    terms = dict.fromkeys(names, ("basic", 0.0, TOP_PRICE))
    if table is None:
        return terms
    problems = [f"unknown column {c!r}; valid columns: {', '.join(COLUMNS)}" for c in table if c not in COLUMNS]
    if "household" not in table:
        raise InputError([*problems, "missing column 'household'"], subject="table of households")
    seen: set[str] = set()
    for row in table.to_dict("records"):
        name, product = str(row["household"]), row.get("product", "basic")
        flexibility_h, max_price = row.get("flexibility_h", 0.0), row.get("max_price", TOP_PRICE)
        if name not in terms or name in seen:
            problems.append(f"household {name!r} {'is there twice' if name in seen else 'has no load'}")
        if product not in PRODUCTS:
            problems.append(f"household {name!r}: product = {product!r}; valid choices: {', '.join(PRODUCTS)}")
        if flexibility_h not in FLEXIBILITIES_H:
            choices = ", ".join(map(str, FLEXIBILITIES_H))
            problems.append(f"household {name!r}: flexibility_h = {flexibility_h!r}; valid choices: {choices}")
        if not is_number(max_price) or max_price < 0:
            problems.append(f"household {name!r}: max_price = {max_price!r} must be 0 or more")
        seen.add(name)
        if not problems:
            terms[name] = (str(product), float(flexibility_h), float(max_price))
    if problems:
        raise InputError(problems, subject="table of households")
    return terms
