"""Studies: comparisons of mechanisms, and their pictures."""

from amm_opt.study.compare import compare
from amm_opt.study.comparison import Comparison, load_comparison, open_comparison

__all__ = ["Comparison", "compare", "load_comparison", "open_comparison"]
