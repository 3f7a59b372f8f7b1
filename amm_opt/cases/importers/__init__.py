"""Importers: files of other tools as networks, each with a report of what was read, assumed and left out."""

from amm_opt.cases.importers.opendss import from_opendss
from amm_opt.cases.importers.report import ImportedNetwork, ImportReport

__all__ = ["ImportReport", "ImportedNetwork", "from_opendss"]
