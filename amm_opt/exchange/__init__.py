"""What a run allocated, in the formats of systems that send limits and prices to sites."""

from amm_opt.exchange.envelopes import Envelopes, envelopes
from amm_opt.exchange.export import FORMATS, check_export, export_envelopes

__all__ = ["FORMATS", "Envelopes", "check_export", "envelopes", "export_envelopes"]
