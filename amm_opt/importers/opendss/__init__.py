"""OpenDSS files as networks: reading (``dialect``), meaning (``elements``, ``circuit``), network, report."""

from amm_opt.importers.opendss.circuit import Elements
from amm_opt.importers.opendss.dialect.reader import read_script
from amm_opt.importers.opendss.dialect.script import CLOSE, OPEN, Edit, Script
from amm_opt.importers.opendss.network import from_opendss
from amm_opt.importers.opendss.prepared.sources import BEHIND

__all__ = ["BEHIND", "CLOSE", "OPEN", "Edit", "Elements", "Script", "from_opendss", "read_script"]
