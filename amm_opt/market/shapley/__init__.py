"""Shapley values: what each player adds, averaged over the orders in which they can come."""

from amm_opt.market.shapley.clustering import Clusters, clusters
from amm_opt.market.shapley.hosting import hosting
from amm_opt.market.shapley.network_game import NetworkGame
from amm_opt.market.shapley.span import ShapleySpan, shapley_span
from amm_opt.market.shapley.values import ShapleyValues, shapley

__all__ = ["Clusters", "NetworkGame", "ShapleySpan", "ShapleyValues", "clusters", "hosting", "shapley", "shapley_span"]
