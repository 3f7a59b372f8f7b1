"""Case folders: reading, checking and writing."""

from amm_opt.cases.folder.folder import as_case, case_tables, from_tables, load_case, save_case, shipped_cases

__all__ = ["as_case", "case_tables", "from_tables", "load_case", "save_case", "shipped_cases"]
