"""The network model of a feeder for which none is named."""

from __future__ import annotations

from amm_opt.network.feeder.feeder import Feeder
from amm_opt.network.meshed.dc import DCFlow
from amm_opt.network.models.lindist3flow import LinDist3Flow
from amm_opt.network.models.lindistflow import LinDistFlow


def default_model(feeder: Feeder) -> type[LinDistFlow | LinDist3Flow | DCFlow]:
    """LinDistFlow where every bus is balanced, LinDist3Flow elsewhere; DCFlow where branches close cycles."""
    if feeder.meshed:
        return DCFlow
    return LinDistFlow if feeder.balanced else LinDist3Flow
