"""What repeats carry and say: the mechanism contract, fairness states, scarcity and prices."""

from amm_opt.market.bids import capped, export_offers, wrong_cap
from amm_opt.market.marginal import MarginalPrices
from amm_opt.market.mechanism import Allocation, Mechanism, NoState
from amm_opt.market.payments import Payments
from amm_opt.market.scarcity import PriceCurve, Scarcity, areas_of, deficits, scarcity, zones
from amm_opt.market.settlement import Settlement
from amm_opt.market.state import FairnessState, PostedState, ServedState, State
from amm_opt.market.storage import (
    STORE,
    at_home,
    battery_kw,
    stored_after,
    stored_kw,
    with_batteries,
    within_connections,
    without_burning,
)

__all__ = [
    "STORE",
    "Allocation",
    "FairnessState",
    "MarginalPrices",
    "Mechanism",
    "NoState",
    "Payments",
    "PostedState",
    "PriceCurve",
    "Scarcity",
    "ServedState",
    "Settlement",
    "State",
    "areas_of",
    "at_home",
    "battery_kw",
    "capped",
    "deficits",
    "export_offers",
    "scarcity",
    "stored_after",
    "stored_kw",
    "with_batteries",
    "within_connections",
    "without_burning",
    "wrong_cap",
    "zones",
]
