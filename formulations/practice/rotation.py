r"""Rotation: who was cut least so far is cut first; the cut energy of each participant is remembered.

Limit by limit from the leaves to the root (``formulations/parts/by_limit.py``). With K_i the energy that participant i
was cut in a direction so far, in earlier intervals and at limits further down, everyone behind a limit is cut up to
the same level of it:

    cut_i = clip((level - K_i) / dt, 0, p_i),    level such that sum s_ci cut_i = excess_c.

Turns in the limit of ever shorter ones: the least cut is cut until it has been cut as much as the next, then both, and
so on. Ties need no order, and the result does not jump where two are nearly even. After Andoni and others (arXiv
1908.10313, fractional round robin) and the rotation of Japan's network operators; levels instead of whole
turns are our reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.cases import Case, Requests
from amm_opt.grid import Grid
from amm_opt.market import Allocation, State
from formulations.parts.by_limit import ByLimit, Rule


@dataclass(frozen=True, eq=False)
class CutState(State):
    """Energy that was asked for and not served so far, (2, n): row 0 import, row 1 export."""

    summed: ClassVar[tuple[str, ...]] = ("cut_kwh",)

    cut_kwh: FloatArray

    @classmethod
    def fresh(cls, n: int) -> Self:
        """Nobody was cut yet."""
        return cls(np.zeros((2, n)))


@dataclass(frozen=True)
class Rotation(ByLimit[CutState]):
    """Who was cut least so far is cut first."""

    name: ClassVar[str] = "rotation"

    def initial_state(self, case: Case) -> CutState:
        return CutState.fresh(case.n_participants)

    def rule(self, grid: Grid, state: CutState, requests: Requests) -> Rule:
        before, asked, dt = state.cut_kwh.ravel(), requests.both_kw.ravel(), requests.dt_h

        def least_cut_first(who: IntArray, power_kw: FloatArray, use: FloatArray, excess: float) -> FloatArray:
            done = before[who] / dt + asked[who] - power_kw
            level = _level(done, power_kw, use, min(excess, float(use @ power_kw)))
            return np.asarray(power_kw - np.clip(level - done, 0.0, power_kw))

        return least_cut_first

    def advance(self, state: CutState, allocation: Allocation, requests: Requests) -> CutState:
        cut = np.maximum(requests.both_kw - allocation.both_kw, 0.0)
        return CutState(state.cut_kwh + cut * requests.dt_h)


def _level(done: FloatArray, power: FloatArray, use: FloatArray, wanted: float) -> float:
    """The level at which ``sum use clip(level - done, 0, power)`` is what is wanted; that sum is piecewise linear."""
    bend = np.concatenate([done, done + power])
    slope = np.concatenate([use, -use])
    order = np.argsort(bend, kind="stable")
    bend, slope = bend[order], np.cumsum(slope[order])
    reached = np.concatenate([[0.0], np.cumsum(slope[:-1] * np.diff(bend))])
    return float(np.interp(wanted, reached, bend))
