"""What repeats carry and say: the mechanism contract, fairness states, scarcity and prices."""

from amm_opt.market.mechanism import Allocation, Mechanism, NoState
from amm_opt.market.scarcity import PriceCurve, deficits
from amm_opt.market.state import FairnessState, ServedState, State

__all__ = ["Allocation", "FairnessState", "Mechanism", "NoState", "PriceCurve", "ServedState", "State", "deficits"]
