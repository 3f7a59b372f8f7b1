"""What everybody asks for a kWh of export where a mechanism takes offers, and a cap of the prices that follow."""

from __future__ import annotations

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case
from amm_opt.errors import InputError


def offered_prices(case: Case, default: float | None) -> FloatArray:
    """(n,) the column ``export_offer``; those who have none ask the default, 0 where that is None."""
    own = case.own_prices[0][1]
    return np.where(np.isnan(own), 0.0 if default is None else default, own)


def export_offers(case: Case, default: float | None, mechanism: str, *, stores: bool = True) -> FloatArray:
    """(n,) the column ``export_offer``, and what those ask who have none; currency per kWh.

    Args:
        default: see :func:`offered_prices`; None where some have an offer means that everybody with generation or a
            battery needs one.
        mechanism: its name, for the message.
        stores: whether it schedules batteries, which need an offer then.

    Raises:
        InputError: one sentence for everybody whose offer is missing.
    """
    missing = np.isnan(case.own_prices[0][1])
    can = case.owns("export").copy()
    can[case.batteries.participant] |= stores
    if default is None and not missing.all() and (without := np.flatnonzero(missing & can)).size:
        raise InputError(
            [
                f"participant {case.participant_names[i]!r}: no export_offer, and others have one; give it one, or"
                f" {mechanism}:offer=NUMBER for all without"
                for i in without
            ],
            subject=f"{mechanism} on {case.name}",
        )
    return offered_prices(case, default)


def capped(price: FloatArray, cap: float | None) -> FloatArray:
    """Prices, none above the cap."""
    return price if cap is None else np.minimum(price, cap)


def wrong_cap(cap: float | None) -> list[str]:
    """Why a number is no cap of prices."""
    return [] if cap is None or 0 < cap < np.inf else [f"price_cap = {cap:g} must be a number above 0, or none"]
