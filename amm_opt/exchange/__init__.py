"""What a run allocated, in the formats of systems that send limits and prices to sites."""

from amm_opt.exchange.envelopes import Envelopes, envelopes
from amm_opt.exchange.export import CSIP_AUS, FORMATS, export_envelopes

__all__ = ["CSIP_AUS", "FORMATS", "Envelopes", "envelopes", "export_envelopes"]
