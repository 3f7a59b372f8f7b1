"""How runs fare when the world is not as it was told."""

from amm_opt.robustness.rates import SmallestMargin, ViolationRates, smallest_margin, violation_rates

__all__ = ["SmallestMargin", "ViolationRates", "smallest_margin", "violation_rates"]
