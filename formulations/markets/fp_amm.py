r"""FP-AMM: stochastic clearing in two stages, drawn until the network hosts no more.

Source: Sweeney, "A Stateful Stochastic Allocation Mechanism with Fairness Guarantees for Networked Electricity
Systems", arXiv 2606.17217 (2026). Published: stage 1 draws the service tier by priority, stage 2 draws inside the tier
with weights inverse to fairness; feasibility is that of a DC power flow; the shortage memory stays in [0, 1] and
contracts at rate 1 - beta; clearing may be triggered by events. Weights of tiers, exponents, the trigger and how supply
is dispatched are not published (the full text was not available to us): they are our reading, as follows.

Each interval, of the requests that have not been drawn:

1. a tier k is drawn with probability proportional to tier_ratio^-(k - 1) among the tiers that have requests left;
2. in it one request, with probability proportional to w: without replacement, so that everybody is drawn once;
3. it takes as much as the network still hosts: the ray towards its request meets the first row that binds, exactly,
   because rows are affine.

w = min(1/F, 999) (``inverse``, as in arXiv 2407.20814), max(0, F* - F) (``deficit``: whoever has reached the target is
not drawn) or 1 (``equal``, the baseline), with F the delivery ratio so far.

Trigger: an interval is cleared where the request of somebody differs from that of the last clearing by more than
``threshold`` of the larger of both, or where the shares of that clearing are not feasible any more. Otherwise the
shares hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Self

import numpy as np

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.cases import Case, Requests
from amm_opt.errors import InputError
from amm_opt.fields import wrong_choices
from amm_opt.grid import Grid
from amm_opt.market import Allocation, FairnessState, Mechanism, State
from amm_opt.market.mechanism import Solve
from amm_opt.market.state import requested
from amm_opt.program import Program, Solution
from formulations.parts.ray import drawn_kw

WEIGHTS = ("inverse", "deficit", "equal")
SUPPLIES = ("source", "plants")
MAX_INVERSE_RATIO = 999.0


@dataclass(frozen=True, eq=False)
class LotteryState(State):
    """What the mechanism remembers; every array has shape (2, n): row 0 import, row 1 export.

    Attributes:
        shortage, served_kwh, requested_kwh, requested_h: as in ``FairnessState``.
        share, asked_kw: served shares and requests of the last clearing; ``clearings`` counts them (0-dimensional).
    """

    summed: ClassVar[tuple[str, ...]] = (*FairnessState.summed, "asked_kw")

    shortage: FloatArray
    served_kwh: FloatArray
    requested_kwh: FloatArray
    requested_h: FloatArray
    share: FloatArray
    asked_kw: FloatArray
    clearings: FloatArray

    @classmethod
    def fresh(cls, n: int) -> Self:
        """Nothing requested and nothing cleared yet."""
        nothing = np.zeros((2, n))
        return cls(nothing, nothing, nothing, nothing, nothing, nothing, np.zeros(()))

    @property
    def fairness(self) -> FairnessState:
        """The shortage memory and delivery ratios."""
        return FairnessState(self.shortage, self.served_kwh, self.requested_kwh, self.requested_h)


@dataclass(frozen=True)
class FPAMM(Mechanism[LotteryState]):
    """Draws who is served next, by tier and then by fairness, until nothing more is hosted.

    Args:
        weights: ``inverse``, ``deficit`` or ``equal``.
        target: delivery ratio F* of the ``deficit`` weights, in (0, 1].
        tier_ratio: weight of a service tier over that of the next one, >= 1.
        beta: share of the newest interval in the shortage memory, in (0, 1].
        threshold: change of a request, as a share of it, up to which the last clearing holds; 0 clears every interval.
        supply: ``source`` (what is served comes from the source, and export is drawn like import) or ``plants`` (from
            export, in proportion to what is offered).
        seed: of every draw; it depends on the time of the interval, so that a part of a run repeats the whole.
    """

    name: ClassVar[str] = "fp_amm"
    feasible_at_limits_only: ClassVar[bool] = True
    draws_lots: ClassVar[bool] = True

    weights: str = "inverse"
    target: float = 1.0
    tier_ratio: float = 2.0
    beta: float = 0.05
    threshold: float = 0.0
    supply: str = "source"
    seed: int = 0

    def __post_init__(self) -> None:
        problems = wrong_choices(self, weights=WEIGHTS, supply=SUPPLIES)
        for name, low in (("target", 0.0), ("beta", 0.0)):
            if not low < getattr(self, name) <= 1:
                problems.append(f"{name} = {getattr(self, name)} must be in (0, 1]")
        if not 1 <= self.tier_ratio < np.inf:
            problems.append(f"tier_ratio = {self.tier_ratio} must be at least 1")
        if not 0 <= self.threshold <= 1:
            problems.append(f"threshold = {self.threshold} must be in [0, 1]")
        if self.seed < 0:
            problems.append(f"seed = {self.seed} must not be negative")
        if problems:
            raise InputError(problems, subject=self.name)

    def initial_state(self, case: Case) -> LotteryState:
        return LotteryState.fresh(case.n_participants)

    def program(self, grid: Grid) -> Program | None:
        return None

    def priorities(self, state: LotteryState) -> FloatArray:
        """(2, n) weights in the draw; whoever never asked has what is due to it in full."""
        ratio = state.fairness.delivery_ratio
        if self.weights == "equal":
            return np.ones_like(ratio)
        if self.weights == "inverse":
            return np.asarray(1.0 / np.maximum(ratio, 1.0 / MAX_INVERSE_RATIO))
        return np.maximum(self.target - np.where(state.requested_kwh > 0, ratio, 0.0), 0.0)

    def holds(self, state: LotteryState, requests: Requests) -> bool:
        """Whether no request has changed so much that the interval must be cleared."""
        if not state.clearings or self.threshold == 0:
            return False
        now, then = requests.both_kw, state.asked_kw
        return bool(np.all(np.abs(now - then) <= self.threshold * np.maximum(now, then)))

    def clear(self, grid: Grid, solve: Solve, state: LotteryState, requests: Requests) -> Solution:
        grid = grid.linear
        if self.holds(state, requests):
            held = np.minimum(state.share, 1.0) * requests.both_kw
            if grid.feasible_share(requests, *held) >= 1.0:
                return _solution(held, cleared=False)
        return _solution(self._drawn(grid, state, requests), cleared=True)

    def _drawn(self, grid: Grid, state: LotteryState, requests: Requests) -> FloatArray:
        """(2, n) what is served."""
        weight = np.where(requested(requests.both_kw), self.priorities(state), 0.0)
        supply = None
        if self.supply == "plants":
            if requests.inflexible_kw.any():
                raise InputError(f"{self.name}: supply = plants needs loads that are requests, not inflexible ones")
            supply, weight[1] = requests.export_request_kw, 0.0
        return drawn_kw(grid, requests, self.order(grid.case, weight, requests), supply)

    def order(self, case: Case, weight: FloatArray, requests: Requests) -> IntArray:
        """Places among (2 n), imports first, in the order in which they are drawn; those without a weight are not.

        Drawing without replacement with probabilities proportional to w is sorting by e / w with e exponential (P. S.
        Efraimidis and P. G. Spirakis, Information Processing Letters 97(5), 2006, doi 10.1016/j.ipl.2005.11.003).
        """
        rng, n = np.random.default_rng([self.seed, int(requests.times[0].value // 10**9)]), case.n_participants
        lots = rng.exponential(size=(2, n))[:, _rank(case.participant_names)]
        which = rng.random(2 * n)
        with np.errstate(divide="ignore"):
            key = (lots / weight).ravel()
        tier = np.tile(case.participants["service_tier"].to_numpy(int), 2)
        ranked = np.argsort(key, kind="stable")[: int((weight > 0).sum())]
        queues = {k: ranked[tier[ranked] == k].tolist() for k in np.unique(tier[ranked]).tolist()}
        if len(queues) <= 1:
            return ranked
        out: list[int] = []
        while queues:
            names = list(queues)
            share = np.cumsum([self.tier_ratio ** -(k - 1.0) for k in names])
            k = names[int(np.searchsorted(share, which[len(out)] * share[-1], side="right"))]
            out.append(queues[k].pop(0))
            if not queues[k]:
                del queues[k]
        return np.array(out, dtype=np.intp)

    def settle(self, grid: Grid, solution: Solution, requests: Requests) -> Allocation:
        return Allocation(solution["import"], solution["export"])

    def without_memory(self) -> FPAMM | None:
        """The same lots with equal weights."""
        return (
            None
            if self.weights == "equal"
            else FPAMM("equal", 1.0, self.tier_ratio, self.beta, 0.0, self.supply, self.seed)
        )

    def advance(self, state: LotteryState, allocation: Allocation, requests: Requests) -> LotteryState:
        served, asked = allocation.both_kw, requests.both_kw
        fair = state.fairness.advanced(served, asked, requests.dt_h, self.beta, "hold")
        memory = (fair.shortage, fair.served_kwh, fair.requested_kwh, fair.requested_h)
        some = requested(asked)
        share = np.where(some, served / np.where(some, asked, 1.0), 0.0)
        if self.holds(state, requests) and np.allclose(share, np.where(some, state.share, 0.0), atol=1e-9):
            return LotteryState(*memory, state.share, state.asked_kw, state.clearings)
        return LotteryState(*memory, share, asked, state.clearings + 1.0)


def _solution(service_kw: FloatArray, *, cleared: bool) -> Solution:
    values = {"import": service_kw[0], "export": service_kw[1], "cleared": np.array(float(cleared))}
    return Solution(values, {}, float(service_kw.sum()), "lots")


@lru_cache(maxsize=4)
def _rank(names: tuple[str, ...]) -> IntArray:
    """Place of everyone in alphabetical order, so that lots do not depend on the order of participants."""
    return np.argsort(np.argsort(np.array(names)))
