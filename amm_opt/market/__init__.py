"""What repeats carry and say: the mechanism contract, fairness states, scarcity and prices."""

from amm_opt.market.marginal import MarginalPrices
from amm_opt.market.mechanism import Allocation, Mechanism, NoState
from amm_opt.market.scarcity import PriceCurve, deficits
from amm_opt.market.state import FairnessState, ServedState, State
from amm_opt.market.storage import battery_kw, stored_after, with_batteries, without_burning

__all__ = [
    "Allocation",
    "FairnessState",
    "MarginalPrices",
    "Mechanism",
    "NoState",
    "PriceCurve",
    "ServedState",
    "State",
    "battery_kw",
    "deficits",
    "stored_after",
    "with_batteries",
    "without_burning",
]
