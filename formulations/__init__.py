"""One short file per mechanism."""

from formulations.alpha_fair import AlphaFair
from formulations.amm import AMM
from formulations.dnp import DNP
from formulations.doe import EqualDOE
from formulations.fair_over_time import FairEachTime, FairOverTime, FairUsingHistory
from formulations.greedy_doe import GreedyDOE
from formulations.leximin import Leximin
from formulations.markets.dispatch import Dispatch
from formulations.markets.fp_amm import FPAMM
from formulations.markets.lmp import LMP
from formulations.markets.lmp_ahead import LMPAhead
from formulations.no_control import NoControl
from formulations.practice.curtailment_cap import CurtailmentCap
from formulations.practice.dimming import Dimming14a
from formulations.practice.floored import Floored
from formulations.practice.lifo import LastInFirstOff
from formulations.practice.pro_rata import ProRata
from formulations.practice.rotation import Rotation
from formulations.practice.static import StaticLimit
from formulations.storage import FairOverTimeStorage

__all__ = [
    "AMM",
    "DNP",
    "FPAMM",
    "LMP",
    "AlphaFair",
    "CurtailmentCap",
    "Dimming14a",
    "Dispatch",
    "EqualDOE",
    "FairEachTime",
    "FairOverTime",
    "FairOverTimeStorage",
    "FairUsingHistory",
    "Floored",
    "GreedyDOE",
    "LMPAhead",
    "LastInFirstOff",
    "Leximin",
    "NoControl",
    "ProRata",
    "Rotation",
    "StaticLimit",
]


def __dir__() -> list[str]:
    """The public names; the rooms behind them are there for whoever imports them by name."""
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
