"""Cases and customers that no data set holds, from a seed."""

from amm_opt.cases.synthetic.case import synthetic_from_spec, synthetic_tables

__all__ = ["synthetic_from_spec", "synthetic_tables"]
