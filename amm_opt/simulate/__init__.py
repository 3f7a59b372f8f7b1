"""The rolling driver, runs, metrics and their check by AC power flow."""

from amm_opt.simulate.ac import verify
from amm_opt.simulate.driver import simulate
from amm_opt.simulate.four_wire import FourWireNetwork
from amm_opt.simulate.run import Run, load_run

__all__ = ["FourWireNetwork", "Run", "load_run", "simulate", "verify"]
