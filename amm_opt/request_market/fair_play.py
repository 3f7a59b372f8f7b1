"""The Fair Play market: 24 hours of half-hours ahead, again every three hours, drawn by fairness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.errors import InputError
from amm_opt.fields import Checked, checked_kind
from amm_opt.request_market.clearing import Book, draw_queue, product_shares, weights
from amm_opt.request_market.outcome import RequestRun
from amm_opt.request_market.problem import RequestProblem

HORIZON_SLOTS = 48
EVERY_SLOTS = 6
PREMIUM_WEIGHT = 2.0


@dataclass(frozen=True)
class FairPlay(Checked):
    """Market of arXiv 2407.20814; see docs/mechanisms/fair_play.md.

    Args:
        products: whether supply is divided between premium and basic; without, all requests are one queue.
        deadband: share of supply that is in no product's share, in [0, 1].
        seed: of every draw.
    """

    name: ClassVar[str] = "fair_play"

    products: bool = True
    deadband: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        problems = [] if 0 <= self.deadband <= 1 else [f"deadband = {self.deadband} must be in [0, 1]"]
        if self.seed < 0:
            problems.append(f"seed = {self.seed} must not be negative")
        if problems:
            raise InputError(problems, subject=self.name)

    def run(self, problem: RequestProblem) -> RequestRun:
        """Hold a market every three hours over all slots of a problem."""
        checked_kind(problem, RequestProblem, "problem")
        book, history = Book(problem), History(problem)
        for now in range(0, problem.n_slots, EVERY_SLOTS):
            windows = {}
            for place, request in enumerate(problem.requests):
                window = range(max(request.earliest, now), min(request.latest, now + HORIZON_SLOTS))
                if place not in book.start and len(window) >= request.slots:
                    windows[place] = window
            if windows:
                self._market(book, windows, history, np.random.default_rng([self.seed, now]))
                history.add(windows, book.start)
        return RequestRun(self.name, problem, book.start, book.charge)

    def _market(self, book: Book, windows: dict[int, range], history: History, rng: np.random.Generator) -> None:
        """One market: premium, basic, and what is left for all who are left."""
        requests = book.problem.requests

        def draw(queue: list[int], room_kw: FloatArray) -> None:
            draw_queue(book, queue, windows, weights(history.fairness(queue)), room_kw, rng)

        if self.products:
            queues = [[p for p in windows if requests[p].product == name] for name in ("premium", "basic")]
            shares = product_shares(len(queues[0]), len(queues[1]), PREMIUM_WEIGHT, self.deadband)
            left = book.left_kw
            for queue, share in zip(queues, shares[:2], strict=True):
                draw(queue, share * left)
        draw([p for p in windows if p not in book.start], book.left_kw)


class History:
    """Delivered and desired energy of households; a request counts once in what is desired."""

    def __init__(self, problem: RequestProblem) -> None:
        self._requests = problem.requests
        self._desired: dict[str, float] = {}
        self._delivered: dict[str, float] = {}
        self._known: set[int] = set()
        self._served: set[int] = set()

    def fairness(self, queue: list[int]) -> FloatArray:
        """F of the household of each request; 1 without history."""
        names = [self._requests[p].household for p in queue]
        return np.array([self._delivered[n] / self._desired[n] if n in self._desired else 1.0 for n in names])

    def add(self, windows: dict[int, range], start: dict[int, int]) -> None:
        """Requests that were in a market, and those of them that were accepted."""
        for place in windows:
            request = self._requests[place]
            name, kwh = request.household, request.energy_kwh
            self._delivered.setdefault(name, 0.0)
            if place not in self._known:
                self._desired[name] = self._desired.get(name, 0.0) + kwh
                self._known.add(place)
            if place in start and place not in self._served:
                self._delivered[name] += kwh
                self._served.add(place)
