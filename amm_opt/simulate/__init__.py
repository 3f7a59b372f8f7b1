"""The rolling driver, runs and metrics."""

from amm_opt.simulate.driver import simulate
from amm_opt.simulate.run import Run

__all__ = ["Run", "simulate"]
