"""A distribution case that hangs on one node of a wholesale system."""

from amm_opt.simulation.coupling.result import Coupled
from amm_opt.simulation.coupling.turns import coupled

__all__ = ["Coupled", "coupled"]
