"""Ground floor: the feeder and the network models."""

from amm_opt.network.ac import ACNetwork, ACState
from amm_opt.network.branch_flow import BranchFlowSOCP
from amm_opt.network.feeder import POSITIVE_SEQUENCE, Feeder
from amm_opt.network.limits import NetworkState, Quantities
from amm_opt.network.lindist3flow import LinDist3Flow
from amm_opt.network.lindistflow import LinDistFlow
from amm_opt.network.model import LinearModel

__all__ = [
    "POSITIVE_SEQUENCE",
    "ACNetwork",
    "ACState",
    "BranchFlowSOCP",
    "Feeder",
    "LinDist3Flow",
    "LinDistFlow",
    "LinearModel",
    "NetworkState",
    "Quantities",
]
