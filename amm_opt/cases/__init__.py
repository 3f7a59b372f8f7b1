"""Cases: a feeder with participants, profiles and a scenario; importers make them from files of other tools."""

from amm_opt.cases.batteries import Batteries
from amm_opt.cases.case import Case, Scenario, Window
from amm_opt.cases.folder import as_case, from_tables, load_case, save_case, shipped_cases
from amm_opt.cases.importers import (
    Households,
    ImportedNetwork,
    ImportReport,
    YearScenario,
    from_matpower,
    from_opendss,
    from_pandapower,
    from_simbench,
    read_ausgrid,
    year_case,
)

__all__ = [
    "Batteries",
    "Case",
    "Households",
    "ImportReport",
    "ImportedNetwork",
    "Scenario",
    "Window",
    "YearScenario",
    "as_case",
    "from_matpower",
    "from_opendss",
    "from_pandapower",
    "from_simbench",
    "from_tables",
    "load_case",
    "read_ausgrid",
    "save_case",
    "shipped_cases",
    "year_case",
]
