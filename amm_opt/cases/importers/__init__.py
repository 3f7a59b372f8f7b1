"""Reading network files of other tools as cases, one file per format."""

from amm_opt.cases.importers.ausgrid import Households, read_ausgrid
from amm_opt.cases.importers.matpower import from_matpower
from amm_opt.cases.importers.pandapower import from_pandapower, from_simbench
from amm_opt.cases.importers.report import ImportReport

__all__ = ["Households", "ImportReport", "from_matpower", "from_pandapower", "from_simbench", "read_ausgrid"]
