"""Runs: how they are made, what they leave behind, and their check by AC power flow."""

from amm_opt.simulation.certified.boxes import certificates
from amm_opt.simulation.certified.orders import Disaggregation, disaggregate
from amm_opt.simulation.costs.recovery import cost_recovery
from amm_opt.simulation.costs.worth import generator_worth
from amm_opt.simulation.driver import simulate
from amm_opt.simulation.explanation.prices import PriceParts, price_parts
from amm_opt.simulation.measurement import Measurement
from amm_opt.simulation.replay import replayed, verify
from amm_opt.simulation.results.column import Column
from amm_opt.simulation.results.run import Run
from amm_opt.simulation.sensitivity.sensitivity import Sensitivity
from amm_opt.simulation.stored.opened import load_run, open_run

__all__ = [
    "Column",
    "Disaggregation",
    "Measurement",
    "PriceParts",
    "Run",
    "Sensitivity",
    "certificates",
    "cost_recovery",
    "disaggregate",
    "generator_worth",
    "load_run",
    "open_run",
    "price_parts",
    "replayed",
    "simulate",
    "verify",
]
