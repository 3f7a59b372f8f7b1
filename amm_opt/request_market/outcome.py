"""What a request market has come to: a row per request, a row per household, and sums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray
from amm_opt.request_market.problem import RequestProblem
from amm_opt.request_market.requests import PRODUCTS, SLOT_H
from amm_opt.simulation.results.fairness import jain


@dataclass(frozen=True, eq=False)
class RequestRun:
    """Which requests were accepted, and when they run.

    Attributes:
        approach: ``fair_play``, ``volume`` or ``revenue``.
        start: first slot of each accepted request, by its place in ``problem.requests``.
        charge: pence that each accepted request pays; empty where the approach has no price.
    """

    approach: str
    problem: RequestProblem
    start: Mapping[int, int]
    charge: Mapping[int, float]

    @property
    def booked_kw(self) -> FloatArray:
        """(N,) power of everything that was accepted."""
        out = np.zeros(self.problem.n_slots)
        for place, first in self.start.items():
            request = self.problem.requests[place]
            out[first : first + request.slots] += request.power_kw
        return out

    @property
    def table(self) -> pd.DataFrame:
        """A row per request: its terms, ``asked_kwh``, ``accepted``, ``start`` (-1 for none), ``charge_pence``."""
        rows = [
            {
                "household": r.household,
                "product": r.product,
                "earliest": r.earliest,
                "latest": r.latest,
                "slots": r.slots,
                "power_kw": r.power_kw,
                "max_price": r.max_price,
                "asked_kwh": r.energy_kwh,
                "accepted": place in self.start,
                "start": self.start.get(place, -1),
                "charge_pence": self.charge.get(place, np.nan),
            }
            for place, r in enumerate(self.problem.requests)
        ]
        columns = ["household", "product", "earliest", "latest", "slots", "power_kw", "max_price", "asked_kwh"]
        return pd.DataFrame(rows, columns=[*columns, "accepted", "start", "charge_pence"])

    @property
    def households(self) -> pd.DataFrame:
        """A row per household with a request: ``asked_kwh``, ``served_kwh``, ``served_ratio``, ``charge_pence``."""
        table = self.table
        table["served_kwh"] = table["asked_kwh"].where(table["accepted"].astype(bool), 0.0)
        out = table.groupby("household")[["asked_kwh", "served_kwh", "charge_pence"]].sum(min_count=0)
        out.insert(2, "served_ratio", out["served_kwh"] / out["asked_kwh"])
        return out.reset_index()

    @property
    def summary(self) -> dict[str, float]:
        """Sums over all requests; shares are of energy, NaN where nothing was asked for.

        ``value_at_caps`` is the energy served times the highest price of each request, in pounds: what the revenue plan
        maximises. ``charged`` is what is paid at market prices, in pounds, NaN for plans. ``essential_unserved_kwh`` is
        essential load beyond supply.
        """
        table, households = self.table, self.households
        served = table["asked_kwh"].where(table["accepted"].astype(bool), 0.0)
        ratio = households["served_ratio"].to_numpy(float)
        short = np.maximum(self.problem.essential_kw - self.problem.supply_kw, 0.0).sum() * SLOT_H
        out = {
            "requests": float(len(table)),
            "accepted": float(len(self.start)),
            "asked_kwh": float(table["asked_kwh"].sum()),
            "served_kwh": float(served.sum()),
            "served_share": _share(served, table["asked_kwh"]),
        }
        for product in PRODUCTS:
            of = table["product"] == product
            out[f"{product}_share"] = _share(served[of], table["asked_kwh"][of])
        return out | {
            "jain_households": jain(ratio),
            "worst_household": float(ratio.min()) if len(ratio) else np.nan,
            "value_at_caps": float((served * table["max_price"]).sum() / 100.0),
            "charged": float(sum(self.charge.values()) / 100.0) if self.charge else np.nan,
            "essential_unserved_kwh": float(short),
        }


def _share(part: pd.Series[float], whole: pd.Series[float]) -> float:
    return float(part.sum() / whole.sum()) if whole.sum() > 0 else np.nan
