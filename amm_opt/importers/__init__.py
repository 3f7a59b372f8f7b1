"""Importers: files of other tools as networks, each with a report of what was read, assumed and left out.

Every format ends in one ``ImportedNetwork`` with one ``ImportReport``; ``import_network`` finds it by name.
"""

from amm_opt.importers.ausgrid import Households, read_ausgrid
from amm_opt.importers.csiro import csiro_network
from amm_opt.importers.formats import import_network, importers
from amm_opt.importers.imported import Demand, ImportedNetwork
from amm_opt.importers.matpower import from_matpower, matpower_network
from amm_opt.importers.opendss import from_opendss
from amm_opt.importers.pandapower import from_pandapower, from_simbench, pandapower_network, simbench_network
from amm_opt.importers.report import ImportReport
from amm_opt.importers.rts_gmlc import from_rts_gmlc, rts_gmlc_network
from amm_opt.importers.year import YearScenario, year_case

__all__ = [
    "Demand",
    "Households",
    "ImportReport",
    "ImportedNetwork",
    "YearScenario",
    "csiro_network",
    "from_matpower",
    "from_opendss",
    "from_pandapower",
    "from_rts_gmlc",
    "from_simbench",
    "import_network",
    "importers",
    "matpower_network",
    "pandapower_network",
    "read_ausgrid",
    "rts_gmlc_network",
    "simbench_network",
    "year_case",
]
