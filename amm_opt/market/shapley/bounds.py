"""What is known of a set before anything is solved for it: from other sets, and from their multipliers."""

from __future__ import annotations

import numpy as np

from amm_opt.arrays import FloatArray

KEPT = 2048
"""So many sets are remembered; then it begins anew."""
EQUAL = 1e-10
"""Bounds that are this near to each other, relative to the largest value met, are one number."""


class Bounds:
    """Bounds of a game in which players only ever add something: v(S) = max {c x: A x in [l, u], 0 <= x <= b(S)}.

    From below, a set reaches what any of its subsets does. From above, the multipliers of one set's answer are feasible
    for every other: with r the reduced costs of its columns, v(T) <= v(S) + sum over T - S of d_p - sum over S - T of
    d_p, where d_p = sum over the columns j of player p of max(0, r_j) b_j (duality of linear programs; our reading).

    Args:
        n: number of players.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._forget()

    def _forget(self) -> None:
        self._sets, self._values = np.zeros((KEPT, self._n)), np.zeros(KEPT)
        self._slopes, self._bases = np.zeros((KEPT, self._n)), np.zeros(KEPT)
        self._count = 0

    def value(self, here: FloatArray) -> float | None:
        """What a set reaches, where both bounds are one number.

        Args:
            here: (n,) 1 where a player is in the set, else 0.
        """
        known = slice(0, self._count)
        values = self._values[known]
        below = self._sets[known] @ (1.0 - here) < 0.5
        lower = float(np.max(values, where=below, initial=-np.inf))
        upper = float(np.min(self._bases[known] + self._slopes[known] @ here, initial=np.inf))
        return lower if upper <= lower + EQUAL * np.max(values, initial=1.0) else None

    def learn(self, here: FloatArray, value: float, adds: FloatArray) -> None:
        """Take note of an answer.

        Args:
            here: (n,) as for :meth:`value`.
            value: what the set reaches.
            adds: (n,) d_p of every player.
        """
        if self._count == KEPT:
            self._forget()
        self._sets[self._count], self._values[self._count] = here, value
        self._slopes[self._count], self._bases[self._count] = adds, value - adds @ here
        self._count += 1
