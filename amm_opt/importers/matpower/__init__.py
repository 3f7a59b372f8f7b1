"""MATPOWER cases: reading (``tokens``, ``expressions``, ``values``, ``text``), meaning (``tables``), network."""

from amm_opt.importers.matpower.network import from_matpower, matpower_network

__all__ = ["from_matpower", "matpower_network"]
