"""What coalitions reach, in this process or in several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from math import isfinite
from multiprocessing import get_context

from amm_opt.errors import InputError, shorten

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
    if workers == 1 or len(chunks) == 1:
        return _gathered((_of(v, players, chunk) for chunk in chunks), len(sets), progress)
    count, context = min(workers, len(chunks)), get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(v, tuple(players))) as pool:
        return _gathered(pool.map(_of_this_game, chunks), len(sets), progress)


def _gathered(chunks: Iterable[list[float]], count: int, progress: Callable[[int, int], None] | None) -> list[float]:
    found: list[float] = []
    for chunk in chunks:
        found += chunk
        if progress:
            progress(len(found), count)
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


_this: list[tuple[Game, tuple[str, ...]]] = []


def _begin(v: Game, players: tuple[str, ...]) -> None:
    _this[:] = [(v, players)]


def _of_this_game(sets: Sequence[int]) -> list[float]:
    return _of(*_this[0], sets)
