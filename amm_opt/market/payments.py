"""What is paid for beside served import and accepted export: charging of batteries, and power in reserve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case
from amm_opt.market.bids import offered_prices


@dataclass(frozen=True)
class Payments:
    """How a mechanism pays for batteries and reserve.

    What a battery discharges always earns the export price of its participant.

    Attributes:
        charging: at which price of its participant a battery pays for what charges it: ``import``, ``export``, or
            ``free``.
        reserve: power that is needed in reserve, as a share of served import.
        reserve_price: currency per kW and hour for reserve, up to what is needed.
        offers: what own offers say that a kWh of export or discharge costs: nothing (``none``), or the column
            ``export_offer``, rising by its slope with every kW (``rising``).
        offer: of those without an ``export_offer``, see ``offered_prices``.
    """

    charging: Literal["import", "export", "free"] = "import"
    reserve: float = 0.0
    reserve_price: float = 0.0
    offers: Literal["none", "rising"] = "none"
    offer: float | None = None

    def offered(self, case: Case, export_kw: FloatArray, discharged_kw: FloatArray) -> FloatArray:
        """What export and discharge cost at own offers, currency per hour, (..., n)."""
        if self.offers == "none":
            return np.zeros(np.shape(export_kw))
        own, slope = offered_prices(case, self.offer), case.own_prices[1][1]
        given = export_kw + discharged_kw
        return np.asarray(own * given + 0.5 * slope * given**2)

    def charging_price(self, import_price: FloatArray | None, export_price: FloatArray | None) -> FloatArray | None:
        """What a kWh that charges costs its participant; None where it is free, or has no price."""
        return {"import": import_price, "export": export_price, "free": None}[self.charging]

    def reserve_kw(
        self,
        case: Case,
        available_kw: FloatArray,
        import_kw: FloatArray,
        export_kw: FloatArray,
        battery_kw: FloatArray | None,
    ) -> FloatArray:
        """What of everybody's power left over counts as reserve, (..., n): what is needed, in proportion to it.

        Left over is what a plant could give and does not, and the power of a battery less what it discharges, or with
        what it charges, which it could stop: g - y + P + c - b. Where less is left over than needed, all of it counts.

        Args:
            available_kw: (..., n) what could be exported, g.
            import_kw, export_kw: (..., n) served import, accepted export.
            battery_kw: (..., n) at the terminals of batteries, positive where they discharge; None where they idle.
        """
        left = available_kw - export_kw - (0.0 if battery_kw is None else battery_kw)
        left[..., case.batteries.participant] += case.batteries.power_kw
        left = np.maximum(left, 0.0)
        needed, there = self.reserve * import_kw.sum(axis=-1), left.sum(axis=-1)
        share = np.divide(needed, there, out=np.zeros_like(there), where=there > 0)
        return np.asarray(left * np.minimum(share, 1.0)[..., None])


AS_TRADED = Payments()
"""What charges a battery is import, what it discharges export, and nothing is paid for reserve."""
