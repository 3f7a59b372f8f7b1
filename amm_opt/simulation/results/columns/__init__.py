"""The summary columns, in one table: unit, kind, which way is better, meaning, and how each is computed.

Summaries, the types of tables, the terminal and the pages' tables all follow it.
"""

from collections.abc import Iterable

from amm_opt.simulation.results.columns.kinds import ENERGIES
from amm_opt.simulation.results.columns.of_comparisons import OF_MEMORY, OF_TWO_TIERS, PRICE_OF_FAIRNESS
from amm_opt.simulation.results.columns.of_replays import OF_REPLAYS
from amm_opt.simulation.results.columns.of_runs import CONTRACT, EVERYWHERE, OF_RUNS

__all__ = [
    "COLUMNS",
    "CONTRACT",
    "ENERGIES",
    "EVERYWHERE",
    "OF_MEMORY",
    "OF_REPLAYS",
    "OF_RUNS",
    "OF_TWO_TIERS",
    "PRICE_OF_FAIRNESS",
    "in_order",
]

COLUMNS = {c.name: c for c in (*OF_RUNS, *OF_REPLAYS, *OF_TWO_TIERS, PRICE_OF_FAIRNESS, *OF_MEMORY)}
"""All of them, in the order of tables."""


def in_order(names: Iterable[str]) -> list[str]:
    """Names of columns in the order of tables; a user's own come last."""
    given = dict.fromkeys(names)
    return [*(name for name in COLUMNS if name in given), *(name for name in given if name not in COLUMNS)]
