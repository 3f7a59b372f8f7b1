"""Cases: a feeder with participants, profiles and a scenario."""

from amm_opt.cases.batteries import Batteries
from amm_opt.cases.case import Case
from amm_opt.cases.folder.folder import as_case, from_tables, load_case, save_case, shipped_cases
from amm_opt.cases.requests import Requests
from amm_opt.cases.scenario import Scenario

__all__ = [
    "Batteries",
    "Case",
    "Requests",
    "Scenario",
    "as_case",
    "from_tables",
    "load_case",
    "save_case",
    "shipped_cases",
]
