"""How unequal incomes are, whether they cover costs, who dominates, how tight a place is and how a price moves."""

from amm_opt.market.metrics.incomes import (
    atkinson,
    concentration_ratio,
    gini,
    hhi,
    payback_years,
    recovered,
    revenue_adequacy,
    theil,
)
from amm_opt.market.metrics.tightness import import_share, node_tightness, price_volatility, scarce

__all__ = [
    "atkinson",
    "concentration_ratio",
    "gini",
    "hhi",
    "import_share",
    "node_tightness",
    "payback_years",
    "price_volatility",
    "recovered",
    "revenue_adequacy",
    "scarce",
    "theil",
]
