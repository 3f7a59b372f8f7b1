"""What coalitions reach, in this process or in several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import isfinite

from amm_opt.errors import InputError, shorten
from amm_opt.market.shapley.processes import spread

Game = Callable[[frozenset[str]], float]
"""What a set of players reaches together."""
CHUNK = 256
"""So many coalitions, one after the other, are looked at by one process."""


def evaluate(
    v: Game,
    players: Sequence[str],
    sets: Sequence[int],
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> list[float]:
    """What each set reaches; bit p of a set says whether player p is in it.

    A process gets the game once, so that a game may keep what makes the next set quicker.
    """
    chunks = [sets[k : k + CHUNK] for k in range(0, len(sets), CHUNK)]
    found: list[float] = []
    for chunk in spread(partial(_of, v, tuple(players)), chunks, workers):
        found += chunk
        if progress:
            progress(len(found), len(sets))
    return found


def _of(v: Game, players: Sequence[str], sets: Sequence[int]) -> list[float]:
    values = []
    for bits in sets:
        here = frozenset(name for p, name in enumerate(players) if bits >> p & 1)
        value = float(v(here))
        if not isfinite(value):
            raise InputError(f"shapley: the game gives {value} for {{{shorten(sorted(here), 5)}}}, not a finite number")
        values.append(value)
    return values
