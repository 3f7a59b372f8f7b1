"""One short file per mechanism."""

from formulations.amm import AMM
from formulations.doe import EqualDOE, GreedyDOE
from formulations.no_control import NoControl

__all__ = ["AMM", "EqualDOE", "GreedyDOE", "NoControl"]
