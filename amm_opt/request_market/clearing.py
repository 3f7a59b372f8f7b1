"""One market of Fair Play: queues of requests that are drawn, placed at their cheapest start, and priced anew.

The price curve of arXiv 2407.20814: 265 p/kWh where nothing is left, 0 where everybody can be served.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.request_market.problem import RequestProblem
from amm_opt.request_market.requests import SLOT_H, TOP_PRICE, FlexibleRequest

NEVER_SERVED_WEIGHT = 999.0
ATTEMPTS_PER_REQUEST = 200
ROUNDING_KW = 1e-9


def headroom_percent(left_kw: FloatArray, predicted_kw: FloatArray) -> FloatArray:
    """H = 100 min(1, a), a = what is left of supply over predicted demand.

    Our reading: less than nothing left counts as nothing, so that prices stay in their bounds; no predicted demand is
    H = 100 where something is left, and 0 where nothing is.
    """
    left = np.maximum(left_kw, 0.0)
    ratio = np.divide(left, predicted_kw, out=np.where(left > 0, 1.0, 0.0), where=predicted_kw > 0)
    return np.asarray(100.0 * np.minimum(1.0, ratio))


def buy_price(left_kw: FloatArray, predicted_kw: FloatArray) -> FloatArray:
    """What a kWh costs, 265 - 2.65 H, in pence with two decimals."""
    return np.round(TOP_PRICE - TOP_PRICE / 100.0 * headroom_percent(left_kw, predicted_kw), 2)


def sell_price(left_kw: FloatArray, predicted_kw: FloatArray) -> FloatArray:
    """What whoever sells a kWh pays, -2.65 H: never above zero, as it is published."""
    return np.round(-TOP_PRICE / 100.0 * headroom_percent(left_kw, predicted_kw), 2)


def weights(fairness: FloatArray) -> FloatArray:
    """g(F) = 1/F of delivered over desired energy with two decimals, 999 where that is 0."""
    ratio = np.round(fairness, 2)
    return np.asarray(np.divide(1.0, ratio, out=np.full(len(ratio), NEVER_SERVED_WEIGHT), where=ratio > 0))


def product_shares(n_premium: int, n_basic: int, premium_weight: float, deadband: float) -> tuple[float, float, float]:
    """Shares of supply for premium, basic and the rest.

    S_prem = 2 N_p / (N_b + 2 N_p) (1 - deadband) S, S_basic = N_b / (N_b + 2 N_p) (1 - deadband) S, with the weight 2.
    """
    whole = n_basic + premium_weight * n_premium
    if not whole:
        return 0.0, 0.0, 1.0
    sold = 1.0 - deadband
    return premium_weight * n_premium / whole * sold, n_basic / whole * sold, deadband


@dataclass
class Book:
    """What is booked so far; it changes as requests are accepted.

    Attributes:
        booked_kw, price: (N,) power of what was accepted, and the price that is left.
        start, charge: of every accepted request of the problem, by its place: first slot, and pence.
    """

    problem: RequestProblem
    booked_kw: FloatArray = field(init=False)
    price: FloatArray = field(init=False)
    start: dict[int, int] = field(default_factory=dict)
    charge: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.booked_kw = np.zeros(self.problem.n_slots)
        self.price = buy_price(self.problem.available_kw, self.problem.predicted_kw)

    @property
    def left_kw(self) -> FloatArray:
        """(N,) what can still be booked."""
        return np.maximum(self.problem.available_kw - self.booked_kw, 0.0)

    def accept(self, place: int, start: int) -> None:
        """Book a request at the price as it is, exclusive of the slot in which it has ended; then price anew."""
        request = self.problem.requests[place]
        span = slice(start, start + request.slots)
        self.start[place] = start
        self.charge[place] = float(self.price[span].sum()) * request.power_kw * SLOT_H
        self.booked_kw[span] += request.power_kw
        left = self.problem.available_kw[span] - self.booked_kw[span]
        self.price[span] = buy_price(left, self.problem.predicted_kw[span])


def cheapest_start(request: FlexibleRequest, window: range, room_kw: FloatArray, price: FloatArray) -> int | None:
    """First slot of the cheapest feasible place in a window, the earliest of equals; None where there is none.

    Feasible is a place in which room is there in every slot and whose mean price is at most the highest price of the
    request (our reading).
    """
    n = len(window) - request.slots + 1
    if n < 1:
        return None
    at = slice(window.start, window.stop)
    hosted = np.lib.stride_tricks.sliding_window_view(room_kw[at], request.slots).min(axis=1)
    sums = np.lib.stride_tricks.sliding_window_view(price[at], request.slots).sum(axis=1)
    feasible = hosted >= request.power_kw - ROUNDING_KW
    cost = np.where(feasible & (sums <= request.max_price * request.slots + 1e-9), np.round(sums, 6), np.inf)
    best = int(np.argmin(cost))
    return window.start + best if np.isfinite(cost[best]) else None


def draw_queue(
    book: Book,
    queue: Sequence[int],
    windows: dict[int, range],
    weight: FloatArray,
    room_kw: FloatArray,
    rng: np.random.Generator,
) -> list[int]:
    """Accept requests of a queue until nothing feasible is left or 200 attempts per request were made.

    An attempt draws a request uniformly among those open and takes it with probability pi = g / sum g over the queue,
    which is not renormalised as requests leave. Attempts that come to nothing are not played one by one: their number
    before the next success is geometric with the mean of pi over those open, and who is taken then has a probability
    proportional to pi. That is the same law.

    Args:
        queue: places of requests.
        windows: slots in which each may run.
        weight: g of each, in the order of the queue.
        room_kw: (N,) what this queue may book; it is used up.

    Returns:
        Places that were accepted, in their order.
    """
    accepted: list[int] = []
    if not queue:
        return accepted
    pi = weight / weight.sum()
    still, attempts = np.arange(len(queue)), 0
    while len(still):
        attempts += int(rng.geometric(min(float(pi[still].mean()), 1.0)))
        if attempts > ATTEMPTS_PER_REQUEST * len(queue):
            break
        k = int(rng.choice(len(still), p=pi[still] / pi[still].sum()))
        place = queue[int(still[k])]
        still = np.delete(still, k)
        request = book.problem.requests[place]
        start = cheapest_start(request, windows[place], room_kw, book.price)
        if start is not None:
            room_kw[start : start + request.slots] -= request.power_kw
            book.accept(place, start)
            accepted.append(place)
    return accepted
