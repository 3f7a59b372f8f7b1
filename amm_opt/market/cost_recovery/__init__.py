"""Costs of a system and who gets and pays them: pots, shares, products and bills, to the cent."""

from amm_opt.market.cost_recovery.products import PRODUCTS, Product, subscriptions
from amm_opt.market.cost_recovery.recovery import OWN, WEIGHTS, CostRecovery, recover_costs

__all__ = ["OWN", "PRODUCTS", "WEIGHTS", "CostRecovery", "Product", "recover_costs", "subscriptions"]
