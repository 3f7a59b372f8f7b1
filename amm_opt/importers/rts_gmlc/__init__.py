"""RTS-GMLC: tables of a wholesale system with plants, costs and time series."""

from amm_opt.importers.rts_gmlc.network import from_rts_gmlc, rts_gmlc_network

__all__ = ["from_rts_gmlc", "rts_gmlc_network"]
