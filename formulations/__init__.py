"""One short file per mechanism."""

from formulations.alpha_fair import AlphaFair
from formulations.amm import AMM
from formulations.doe import EqualDOE, GreedyDOE
from formulations.leximin import Leximin
from formulations.no_control import NoControl

__all__ = ["AMM", "AlphaFair", "EqualDOE", "GreedyDOE", "Leximin", "NoControl"]
