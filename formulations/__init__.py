"""One short file per mechanism."""

from formulations.amm import AMM
from formulations.doe import EqualDOE, GreedyDOE
from formulations.fair_over_time import FairEachTime, FairOverTime, FairUsingHistory
from formulations.no_control import NoControl
from formulations.storage import FairOverTimeStorage

__all__ = [
    "AMM",
    "EqualDOE",
    "FairEachTime",
    "FairOverTime",
    "FairOverTimeStorage",
    "FairUsingHistory",
    "GreedyDOE",
    "NoControl",
]
