"""Importers: files of other tools as networks or cases, each with a report of what was read, assumed and left out."""

from amm_opt.importers.ausgrid import Households, read_ausgrid
from amm_opt.importers.csiro import csiro_case, csiro_network
from amm_opt.importers.matpower import from_matpower
from amm_opt.importers.opendss import from_opendss
from amm_opt.importers.pandapower import from_pandapower, from_simbench
from amm_opt.importers.report import ImportedNetwork, ImportReport
from amm_opt.importers.year import YearScenario, year_case

__all__ = [
    "Households",
    "ImportReport",
    "ImportedNetwork",
    "YearScenario",
    "csiro_case",
    "csiro_network",
    "from_matpower",
    "from_opendss",
    "from_pandapower",
    "from_simbench",
    "read_ausgrid",
    "year_case",
]
