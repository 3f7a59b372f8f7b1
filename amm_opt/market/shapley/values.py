r"""The Shapley value of any game, exact or from orders drawn at random.

    phi_p = sum over S without p of |S|! (n - |S| - 1)! / n! (v(S + p) - v(S)),

the share of what all players reach together that follows from four demands: the shares add up to v(all) - v(none),
players who add the same get the same, who adds nothing gets nothing, and shares of a sum of games are sums of shares
(L. S. Shapley, "A value for n-person games", Contributions to the Theory of Games II, 1953, doi
10.1515/9781400881970-018).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import factorial

import numpy as np
import pandas as pd
from scipy.stats import t as student

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.errors import InputError, counted, shorten
from amm_opt.market.shapley.coalitions import Game, evaluate

EXACT = 12
"""Up to so many players every coalition is looked at: 4,096 of them."""
ROUNDS = 32
SAFETY = 2.0
"""Intervals are those of an error that is so many times smaller: spread and skewness are estimates themselves."""


@dataclass(frozen=True, eq=False)
class ShapleyValues:
    """What each player is worth to all of them together.

    Attributes:
        players: their names, n.
        value: (n,) phi, in the units of the game.
        low, high: (n,) ends of intervals that hold all values at once with the confidence asked for; the values
            themselves where they are exact.
        total: v(all) - v(none), the sum of the values.
        evaluations: coalitions that were looked at.
        rounds: of random orders; 0 where the values are exact.
    """

    players: tuple[str, ...]
    value: FloatArray
    low: FloatArray
    high: FloatArray
    total: float
    evaluations: int
    rounds: int

    @property
    def exact(self) -> bool:
        """Whether every coalition was looked at."""
        return self.rounds == 0

    @property
    def share(self) -> FloatArray:
        """(n,) max(0, phi) over its sum: shares of a cost; 0 where nobody adds anything."""
        positive = np.maximum(self.value, 0.0)
        return np.asarray(positive / (positive.sum() or 1.0))

    @property
    def table(self) -> pd.DataFrame:
        """A row per player: ``value``, ``low``, ``high`` and ``share``."""
        columns = {"value": self.value, "low": self.low, "high": self.high, "share": self.share}
        return pd.DataFrame(columns, index=pd.Index(self.players, name="player"))

    def __repr__(self) -> str:
        how = "exact" if self.exact else f"{self.rounds} rounds of random orders"
        return f"ShapleyValues({counted(len(self.players), 'player')}, total {self.total:.6g}, {how})"

    def _repr_html_(self) -> str:
        return str(self.table.to_html(float_format="{:.6g}".format))


def shapley(
    v: Game,
    players: Sequence[str],
    *,
    rounds: int | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> ShapleyValues:
    """The Shapley value of every player.

    Up to 12 players it is exact, over all 2^n coalitions. Above, a round draws one order of the players and looks at
    its n rotations, in which everybody comes once at every place (stratified by place), each forwards and backwards
    (antithetic): 2 n orders. The rounds are independent, so that their spread gives the intervals. Sampled orders: J.
    Castro, D. Gomez, J. Tejada, Computers & Operations Research 36(5), 2009, doi 10.1016/j.cor.2008.04.004; antithetic
    and stratified ones: R. Mitchell, J. Cooper, E. Frank, G. Holmes, JMLR 23(43), 2022; the rotations are our reading.

    Args:
        v: the game, which gives what a set of players reaches together; it is asked once for each set. A
            ``NetworkGame`` is one. It may say ``by_effort`` which players come and go most easily.
        players: names, n of them.
        rounds: of random orders; None: exact up to 12 players, 32 rounds above.
        seed: of the orders; the values do not depend on ``workers``.
        confidence: with which the intervals hold all values at once.
        workers: processes; the game must then be one that can be sent to them.
        progress: called with (coalitions or rounds done, all).

    Raises:
        InputError: where players repeat, a number is out of its range, or the game gives a number that is not finite.
    """
    names = tuple(players)
    _check(names, rounds, seed, confidence, workers)
    if rounds is None and len(names) <= EXACT:
        return _exact(v, names, workers, progress)
    return _sampled(v, names, rounds or ROUNDS, seed, confidence, workers, progress)


def _check(players: tuple[str, ...], rounds: int | None, seed: int, confidence: float, workers: int) -> None:
    twice = sorted({p for p in players if players.count(p) > 1})
    said = [f"players: {shorten(twice, 5)} given more than once"] if twice else []
    said += [] if players else ["players: nobody is given; at least one is needed"]
    if rounds is not None and rounds < 2:
        said.append(f"rounds = {rounds}: at least 2 are needed for an interval")
    if seed < 0:
        said.append(f"seed = {seed} must not be negative")
    if not 0.0 < confidence < 1.0:
        said.append(f"confidence = {confidence:g} is not between 0 and 1")
    if workers < 1:
        said.append(f"workers = {workers}: at least 1 is needed")
    if said:
        raise InputError(said, subject="shapley")


def _exact(
    v: Game, players: tuple[str, ...], workers: int, progress: Callable[[int, int], None] | None
) -> ShapleyValues:
    n = len(players)
    counter = np.arange(2**n)
    first = [p for p in getattr(v, "by_effort", players) if p in players]
    order = first if len(first) == n else players
    near = _spread(counter ^ (counter >> 1), [players.index(p) for p in order])  # one player more or less at a time
    of_set = np.zeros(2**n)
    of_set[near] = evaluate(v, players, near.tolist(), workers, progress)
    size = np.bitwise_count(np.arange(2 ** (n - 1)))
    weight = np.array([factorial(s) * factorial(n - s - 1) / factorial(n) for s in range(n)])[size]
    value = np.zeros(n)
    for p in range(n):
        pairs = of_set.reshape(-1, 2, 2**p)
        value[p] = weight @ (pairs[:, 1] - pairs[:, 0]).ravel()
    return ShapleyValues(players, value, value, value, float(of_set[-1] - of_set[0]), 2**n, 0)


def _spread(sets: IntArray, bit: Sequence[int]) -> IntArray:
    """Sets in which bit k stands for the player number ``bit[k]``: that of bit 0 comes or goes in every other set."""
    return np.asarray(sum(((sets >> k) & 1) << p for k, p in enumerate(bit)))


def _sampled(
    v: Game,
    players: tuple[str, ...],
    rounds: int,
    seed: int,
    confidence: float,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> ShapleyValues:
    n = len(players)
    orders = [_orders(n, seed, k) for k in range(rounds)]
    wanted = list(dict.fromkeys(s for of_round in orders for order in of_round for s in _growing(order)))
    found = dict(zip(wanted, evaluate(v, players, wanted, workers, progress), strict=True))
    of_round = np.zeros((rounds, n))
    for k, here in enumerate(orders):
        for order in here:
            of_round[k, order] += np.diff([found[s] for s in _growing(order)]) / len(here)
    value, half = of_round.mean(axis=0), _half_widths(of_round, confidence)
    total = found[(1 << n) - 1] - found[0]
    return ShapleyValues(players, value, value - half, value + half, float(total), len(wanted), rounds)


def _half_widths(of_round: FloatArray, confidence: float) -> FloatArray:
    """(n,) half widths of intervals around the means of rounds (rounds, n) that hold all at once.

    Student's quantile with Bonferroni's correction over players; to it comes the size of the first term of Edgeworth's
    expansion, because what a few players add in rare orders is skewed (P. Hall, "The Bootstrap and Edgeworth
    Expansion", Springer 1992, section 2.4; that it widens both sides is ours, to be on the safe side).
    """
    rounds, n = of_round.shape
    quantile = student.ppf(1.0 - (1.0 - confidence) / (2 * n * SAFETY), rounds - 1)
    spread = of_round.std(axis=0, ddof=1)
    third = np.mean((of_round - of_round.mean(axis=0)) ** 3, axis=0)
    skewness = np.divide(np.abs(third), spread**3, out=np.zeros(n), where=spread > 0)
    return np.asarray(spread / np.sqrt(rounds) * (quantile + skewness * (2 * quantile**2 + 1) / (6 * np.sqrt(rounds))))


def _orders(n: int, seed: int, number: int) -> list[IntArray]:
    """The orders of one round."""
    drawn = np.random.default_rng([seed, number]).permutation(n)
    rotated = [np.roll(drawn, k) for k in range(n)]
    return [order for one in rotated for order in (one, one[::-1])]


def _growing(order: IntArray) -> list[int]:
    """The sets of an order, as bits, from nobody to everybody."""
    sets = [0]
    for p in order.tolist():
        sets.append(sets[-1] | 1 << p)
    return sets
