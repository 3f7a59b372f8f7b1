"""Importers: files of other tools as networks, each with a report of what was read, assumed and left out."""

from amm_opt.cases.importers.csiro import csiro_case, csiro_network
from amm_opt.cases.importers.opendss import from_opendss
from amm_opt.cases.importers.report import ImportedNetwork, ImportReport
from amm_opt.cases.importers.year import YearScenario, year_case

__all__ = [
    "ImportReport",
    "ImportedNetwork",
    "YearScenario",
    "csiro_case",
    "csiro_network",
    "from_opendss",
    "year_case",
]
