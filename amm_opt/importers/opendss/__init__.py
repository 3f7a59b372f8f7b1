"""OpenDSS files as networks: reading (``text``, ``script``), meaning (``elements`` and its parts), network, report."""

from amm_opt.importers.opendss.network import LV_BAND_PU, MV_BAND_PU, from_opendss

__all__ = ["LV_BAND_PU", "MV_BAND_PU", "from_opendss"]
