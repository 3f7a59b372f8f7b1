"""Studies: comparisons of mechanisms, and their pictures."""

from amm_opt.study.compare import Comparison, compare, load_comparison

__all__ = ["Comparison", "compare", "load_comparison"]
