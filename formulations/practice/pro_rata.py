"""Pro rata: all requests behind a limit that binds are cut by one fraction; without memory.

Limit by limit from the leaves to the root (``formulations/parts/by_limit.py``): with p_i what is left of the requests
behind limit c, each is multiplied by

    1 - excess_c / sum_i s_ci p_i.

Known from the UK, Ireland and Australia. That is the proportional rule where a single limit binds, the largest common
fraction (Matt, Shilov and Bolognani, arXiv 2605.03860: one member of the Kalai-Smorodinsky family); the order from the
leaves, and who is behind a voltage, are our reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from amm_opt.cases import Requests
from amm_opt.grid import Grid
from amm_opt.market import NoState
from formulations.parts.by_limit import ByLimit, Rule, by_one_fraction


@dataclass(frozen=True)
class ProRata(ByLimit[NoState]):
    """Everyone behind a limit keeps the same fraction."""

    name: ClassVar[str] = "pro_rata"

    def rule(self, grid: Grid, state: NoState, requests: Requests) -> Rule:
        return by_one_fraction
