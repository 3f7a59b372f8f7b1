"""Last in, first off: at a limit that binds, who connected last is cut first; without memory.

Limit by limit from the leaves to the root (``formulations/parts/by_limit.py``): behind a limit all of the youngest
connection's power is cut before any of the next one's. Connections of the same rank are cut by one fraction.

Known from curtailable connections in the UK. The rank is the number ``connected`` in the case's participants: any that
grows with the date of connection, such as a place in the queue or a year. There is no default order: that of the table
means nothing, and results would depend on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from amm_opt.arrays import DIRECTIONS, FloatArray, IntArray
from amm_opt.cases import Case, Requests
from amm_opt.errors import InputError, shorten
from amm_opt.grid import Grid
from amm_opt.market import NoState
from formulations.parts.by_limit import ByLimit, Rule


@dataclass(frozen=True)
class LastInFirstOff(ByLimit[NoState]):
    """Who connected last is cut first.

    Args:
        seed: draws an order where the case has none, by names; None: the case must have one.
    """

    name: ClassVar[str] = "lifo"

    seed: int | None = None

    def __post_init__(self) -> None:
        if self.seed is not None and self.seed < 0:
            raise InputError(f"seed = {self.seed} must not be negative", subject=self.name)

    def initial_state(self, case: Case) -> NoState:
        """None; a case without ranks is refused here, before anything is solved."""
        self._rank(case)
        return NoState()

    def _rank(self, case: Case) -> FloatArray:
        """(n,) place in the queue, the last the largest."""
        if self.seed is not None:
            return _drawn(case.participant_names, self.seed)
        rank: FloatArray = case.participants["connected"].to_numpy(float)
        missing = np.isnan(rank) & np.any([case.owns(d) for d in DIRECTIONS], axis=0)
        if missing.any():
            names = shorten([case.participant_names[i] for i in np.flatnonzero(missing)], 5)
            raise InputError(
                f"{self.name}: participants have no number in the column 'connected' (who connected last has the"
                f" largest): {names}; give it, or draw an order with {self.name}:seed=1"
            )
        return rank

    def rule(self, grid: Grid, state: NoState, requests: Requests) -> Rule:
        rank = np.tile(self._rank(grid.case), 2)

        def last_first(who: IntArray, power_kw: FloatArray, use: FloatArray, excess: float) -> FloatArray:
            _, turn = np.unique(-rank[who], return_inverse=True)
            of_turn = np.bincount(turn, weights=use * power_kw)
            before = np.cumsum(of_turn) - of_turn
            return np.asarray(power_kw * (1.0 - np.clip((excess - before) / of_turn, 0.0, 1.0))[turn])

        return last_first


@lru_cache(maxsize=4)
def _drawn(names: tuple[str, ...], seed: int) -> FloatArray:
    """A random order, the same whatever the order of participants."""
    place = np.argsort(np.argsort(np.array(names)))
    return np.asarray(np.random.default_rng(seed).permutation(len(names))[place], dtype=float)
