"""Ground floor: the feeder and the network models."""

from amm_opt.network.ac.power_flow import ACNetwork, ACState
from amm_opt.network.feeder.feeder import Feeder
from amm_opt.network.feeder.layers import Layers, LayerTable
from amm_opt.network.feeder.phases import POSITIVE_SEQUENCE
from amm_opt.network.losses.lossy import Lossy
from amm_opt.network.losses.marginal import marginal_losses
from amm_opt.network.meshed.dc import DCFlow
from amm_opt.network.models.base import NetworkModel
from amm_opt.network.models.branch_flow import BranchFlowSOCP
from amm_opt.network.models.certified.model import Certified
from amm_opt.network.models.conic import ConicNetworkModel
from amm_opt.network.models.limits import NetworkState, Quantities
from amm_opt.network.models.lindist3flow import LinDist3Flow
from amm_opt.network.models.lindistflow import LinDistFlow
from amm_opt.network.series.merged import Merged

__all__ = [
    "POSITIVE_SEQUENCE",
    "ACNetwork",
    "ACState",
    "BranchFlowSOCP",
    "Certified",
    "ConicNetworkModel",
    "DCFlow",
    "Feeder",
    "LayerTable",
    "Layers",
    "LinDist3Flow",
    "LinDistFlow",
    "Lossy",
    "Merged",
    "NetworkModel",
    "NetworkState",
    "Quantities",
    "marginal_losses",
]
