"""MATPOWER cases: reading (``tokens``, ``expressions``, ``values``, ``text``), meaning (``tables``), network."""

from amm_opt.importers.matpower.case import from_matpower

__all__ = ["from_matpower"]
