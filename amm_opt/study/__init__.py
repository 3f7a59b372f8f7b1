"""Studies: comparisons of mechanisms, and their pictures."""

from amm_opt.study.compare import Comparison, compare

__all__ = ["Comparison", "compare"]
