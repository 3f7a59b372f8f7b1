"""Shapley values of a network game in many intervals, one after the other or spread over processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.cases import Case
from amm_opt.errors import InputError, counted
from amm_opt.fields import is_whole, shortened
from amm_opt.market.shapley.clustering import Clusters
from amm_opt.market.shapley.network_game import NetworkGame
from amm_opt.market.shapley.processes import spread
from amm_opt.market.shapley.values import ShapleyValues, shapley
from amm_opt.network import NetworkModel

CHUNK = 24
"""So many intervals, one after the other, are looked at by one process."""


@dataclass(frozen=True, eq=False)
class ShapleySpan:
    """What each player, or each generator of a cluster, is worth in every interval of a span.

    Attributes:
        names: of the players; of the generators, where the players are clusters. N of them.
        intervals: (T,) their numbers in the case.
        times: (T,) when they begin.
        value: (T, N) kW.
        low, high: (T, N) as for ``ShapleyValues``, of every interval by itself.
        total: (T,) v(all) - v(none), kW, the sum of the values.
    """

    names: tuple[str, ...]
    intervals: IntArray
    times: pd.DatetimeIndex
    value: FloatArray
    low: FloatArray
    high: FloatArray
    total: FloatArray

    @property
    def share(self) -> FloatArray:
        """(T, N) max(0, phi) over its sum in each interval; 0 where nobody adds anything."""
        positive = np.maximum(self.value, 0.0)
        together = positive.sum(axis=1, keepdims=True)
        return np.asarray(positive / np.where(together > 0, together, 1.0))

    @property
    def table(self) -> pd.DataFrame:
        """A row per interval and name: these with ``time``, ``value_kw``, ``low_kw``, ``high_kw`` and ``share``."""
        count, n = self.value.shape
        return pd.DataFrame(
            {
                "interval": np.repeat(self.intervals, n),
                "time": np.repeat(self.times, n),
                "name": pd.Categorical.from_codes(np.tile(np.arange(n), count), list(self.names)),
                "value_kw": self.value.ravel(),
                "low_kw": self.low.ravel(),
                "high_kw": self.high.ravel(),
                "share": self.share.ravel(),
            }
        )

    def __repr__(self) -> str:
        return f"ShapleySpan({counted(len(self.names), 'name')}, {counted(len(self.intervals), 'interval')})"


def shapley_span(
    case: Case,
    players: Mapping[str, Sequence[str]] | Clusters,
    *,
    network: NetworkModel | str,
    steps: int | str | slice | None = None,
    every: int = 1,
    direction: str = "export",
    counts: str = "import",
    source: bool = False,
    available_kw: ArrayLike | None = None,
    rounds: int | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> ShapleySpan:
    """Shapley values of a network game in every interval of a span.

    An interval goes on with the limits of the network that those before it have met. What is found does not depend on
    ``workers``: intervals are looked at in blocks of a day of hours, each by one process from its beginning.

    Args:
        case, players, network, direction, counts, source: as for ``NetworkGame``. Values of ``Clusters`` are divided
            among their generators by what each has available in the interval.
        steps: the span, as for :meth:`Case.span`; of it one interval in ``every`` is looked at, the first and so on.
        available_kw: (T, n), for the whole span, what participants could give in ``direction``, in place of what they
            ask for or offer: such as the power of batteries, which offer nothing by themselves.
        rounds, seed, confidence: as for ``shapley``.
        workers: processes over which blocks of intervals are spread.
        progress: called with (intervals done, all).

    Raises:
        InputError: as for ``NetworkGame`` and ``shapley``; ``every`` below 1; an availability of another shape,
            negative or not finite.
    """
    if not (is_whole(every) and every > 0):
        raise InputError(f"every = {shortened(every)} must be a whole number above 0", subject="shapley span")
    start, stop = case.span(steps)
    looked = range(start, stop, every)
    available = None if available_kw is None else _checked(available_kw, stop - start, case.n_participants)
    members = players.players if isinstance(players, Clusters) else players
    first = None if available is None else available[0]
    game = NetworkGame(
        *(case, start, members), network=network, direction=direction, counts=counts, source=source, available_kw=first
    )
    values = partial(shapley, players=game.players, rounds=rounds, seed=seed, confidence=confidence)
    blocks = [looked[k : k + CHUNK] for k in range(0, len(looked), CHUNK)]
    work, found = partial(_of_block, game, values, available, start), []
    for block in spread(work, blocks, workers):
        found += block
        if progress:
            progress(len(found), len(looked))
    names, parts = game.players, [np.stack([getattr(f, what) for f in found]) for what in ("value", "low", "high")]
    if isinstance(players, Clusters):
        at = [case.participant_names.index(name) for name in players.generators]
        offered = case.requests(start, stop).request_kw(direction) if available is None else available
        names, parts = players.generators, [players.split(part, offered[::every][:, at]) for part in parts]
    total = np.array([f.total for f in found])
    value, low, high = parts
    return ShapleySpan(names, np.array(looked), case.times[start:stop:every], value, low, high, total)


def _checked(available_kw: ArrayLike, steps: int, n: int) -> FloatArray:
    available = np.asarray(available_kw, dtype=float)
    if available.shape != (steps, n):
        said = (
            f"available_kw has the shape {available.shape}; {counted(steps, 'interval')} of"
            f" {counted(n, 'participant')} are needed"
        )
        raise InputError(said, subject="shapley span")
    return available


def _of_block(
    game: NetworkGame,
    values: Callable[[NetworkGame], ShapleyValues],
    available_kw: FloatArray | None,
    start: int,
    block: range,
) -> list[ShapleyValues]:
    found = []
    for interval in block:
        game = game.at(interval, None if available_kw is None else available_kw[interval - start])
        found.append(values(game))
    return found
