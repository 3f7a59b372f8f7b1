"""Greedy operating envelopes: as much as possible in total, or by one of two sequential rules; without memory.

Our reading: no source defines greedy envelopes. ``throughput`` is a program; the sequential rules need only sweeps of
the network. All hand out limits in kW up to the connection limit, feasible with everyone at its limit at once
(``formulations/parts/envelope.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import cvxpy as cp
import numpy as np

from amm_opt.arrays import BoolArray, FloatArray
from amm_opt.cases import Requests
from amm_opt.grid import Grid
from amm_opt.market.cut import cut_program
from amm_opt.market.mechanism import Solve
from amm_opt.program import Program, Solution
from formulations.parts.envelope import CUT, Envelope, at_limits
from formulations.parts.matching import TIE
from formulations.parts.sweeps.limits import Limits
from formulations.parts.sweeps.sequential import largest_request_first, worst_bus_first

RULES = ("throughput", "largest_request_first", "worst_bus_first")


@dataclass(frozen=True)
class GreedyDOE(Envelope):
    """Envelopes that hand out as much as possible, by one of three rules.

    ``throughput``: max sum L_i - tie/2 sum L_i^2 / mean connection limit over the enrolled, subject to the limits
    L_i = x_i - base_i feasible and 0 <= x_i <= max_i. With a small enough tie this is the least-squares choice among
    the optima of the linear program (Mangasarian and Meyer 1979, doi 10.1137/0317052); tie = 1e-3 also levels limits
    whose use of scarce capacity differs by less than about 0.1 %, which makes the result the same for every solver.

    ``largest_request_first``: in the order of their requests, everyone gets as much as is still feasible. Equal
    requests rise together, in proportion to what their connections allow.

    ``worst_bus_first``: everyone starts at its connection limit. While a branch is overloaded, everyone below it is cut
    by a step; while a voltage is beyond its band, those at the most affected bus of each LV feeder.

    Args:
        enrolled: ``active``, ``all`` or ``requesting``: who is assumed to be at its limit, as in ``EqualDOE``.
        robust: whether limits are kept wherever everybody is inside its envelope, as in ``EqualDOE``.
        rule: ``throughput``, ``largest_request_first`` or ``worst_bus_first``.
    """

    name: ClassVar[str] = "greedy_doe"
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"rule": RULES}

    rule: str = "throughput"

    def program(self, grid: Grid) -> Mapping[str, Program] | None:
        if self.rule == "throughput":
            return super().program(grid)
        return {CUT: cut_program(grid)} if grid.boxes else None

    def _program(self, grid: Grid, direction: str) -> Program:
        x = cp.Variable(grid.n, name="envelope_kw")
        gain, max_kw = cp.Parameter(grid.n, name="gain"), cp.Parameter(grid.n, nonneg=True, name="max_kw")
        root = cp.Parameter(nonneg=True, name="root_curvature")
        objective = gain @ x - 0.5 * cp.sum_squares(root * x)
        return Program(cp.Maximize(objective), [x >= 0, x <= max_kw], [at_limits(grid, direction, x)], {"envelope": x})

    def _envelope(self, grid: Grid, solve: Solve, direction: str, requests: Requests) -> Solution:
        """The square of x - base expanded: (1 + c base) x - c x^2 / 2 + constant."""
        base, max_kw = self._reach(grid, direction, requests)
        some = max_kw > 0
        if self.rule == "throughput":
            curvature = TIE / max(float(np.mean((max_kw - base)[some])) if some.any() else 1.0, 1e-3)
            return solve({"gain": 1.0 + curvature * base, "root_curvature": np.sqrt(curvature), "max_kw": max_kw})
        find = largest_request_first if self.rule == "largest_request_first" else worst_bus_first
        x = find(Limits(grid.linear, direction, requests, max_kw))
        return Solution({"envelope": x}, {}, float((x - base)[some].sum()), "-")

    def _uncut(self, grid: Grid, direction: str, requests: Requests) -> tuple[FloatArray, BoolArray]:
        """Everybody at the connection limit, where a kW more is worth something to the last."""
        base, max_kw = self._reach(grid, direction, requests)
        if self.rule == "largest_request_first":
            return super()._uncut(grid, direction, requests)
        enrolled, reach = max_kw > 0, max_kw - base
        mean = np.sum(reach, axis=-1, where=enrolled) / np.maximum(enrolled.sum(axis=-1), 1)
        last = 1.0 - TIE / np.maximum(mean, 1e-3)[..., None] * reach
        return max_kw, np.all((last > 0) | ~enrolled, axis=-1)
