"""A market for flexible requests without a network: the Fair Play market, and two plans beside it.

Source: D. Sweeney, C. King, M. O'Malley, R. Shorten, "Embracing Fairness in Consumer Electricity Markets using an
Automatic Market Maker", arXiv 2407.20814 (2024). What is published and what is our reading: the page
docs/mechanisms/fair_play.md.
"""

from amm_opt.request_market.fair_play import FairPlay
from amm_opt.request_market.generated import generated_problem
from amm_opt.request_market.loads import HouseholdLoads, read_household_loads
from amm_opt.request_market.outcome import RequestRun
from amm_opt.request_market.plans import BookingPlan
from amm_opt.request_market.problem import RequestProblem, request_problem
from amm_opt.request_market.requests import FlexibleRequest
from amm_opt.request_market.split import split_household

__all__ = [
    "BookingPlan",
    "FairPlay",
    "FlexibleRequest",
    "HouseholdLoads",
    "RequestProblem",
    "RequestRun",
    "generated_problem",
    "read_household_loads",
    "request_problem",
    "split_household",
]
