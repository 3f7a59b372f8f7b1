"""Cases: a feeder with participants, profiles and a scenario."""

from amm_opt.cases.batteries import Batteries
from amm_opt.cases.case import Case, Scenario, Window
from amm_opt.cases.folder import as_case, from_tables, load_case, save_case, shipped_cases

__all__ = [
    "Batteries",
    "Case",
    "Scenario",
    "Window",
    "as_case",
    "from_tables",
    "load_case",
    "save_case",
    "shipped_cases",
]
