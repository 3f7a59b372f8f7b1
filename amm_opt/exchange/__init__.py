"""What a run allocated, in the formats of systems that send limits and prices to sites."""

from amm_opt.exchange.envelopes import Envelopes, envelopes
from amm_opt.exchange.export import FORMATS, export_envelopes

__all__ = ["FORMATS", "Envelopes", "envelopes", "export_envelopes"]
