"""How runs fare when the world is not as it was told."""

from amm_opt.robustness.fitted import FitReport, fit_report, replay_on
from amm_opt.robustness.gaming import Gaming, Strategy, gaming
from amm_opt.robustness.privacy import revealed
from amm_opt.robustness.rates import SmallestMargin, ViolationRates, smallest_margin, violation_rates

__all__ = [
    "FitReport",
    "Gaming",
    "SmallestMargin",
    "Strategy",
    "ViolationRates",
    "fit_report",
    "gaming",
    "replay_on",
    "revealed",
    "smallest_margin",
    "violation_rates",
]
