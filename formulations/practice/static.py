"""A fixed limit for everyone, as in connection agreements; without a network model, memory or prices.

Net power is limited, -I <= p_i <= E, in every interval and wherever the customer connects (own use of own generation
is not), but never below what inflexible load needs:

    x_i = min(r_i, max(I - d_i, 0) + g_i),   y_i = min(g_i, max(E + d_i, 0) + r_i).

Limits of the network are not kept; what is broken is counted. Source: Australian connection agreements, static export
limits of 1.5 or 5 kW, 10 kW at most where exports are flexible (SA Power Networks); per connection point here, not per
phase (our reading).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from amm_opt.arrays import DIRECTIONS, SIGN, FloatArray
from amm_opt.cases import Requests
from amm_opt.errors import InputError
from amm_opt.grid import Grid
from amm_opt.market import Mechanism, NoState
from amm_opt.market.mechanism import Solve
from amm_opt.program import Solution
from formulations.parts.envelope import cut_to_limits
from formulations.practice.promise import Promise


@dataclass(frozen=True)
class StaticLimit(Mechanism[NoState], Promise):
    """Everyone at the same fixed limit.

    Args:
        import_kw, export_kw: limits of net import and net export; None: none but the connection's own.
    """

    name: ClassVar[str] = "static"
    enforces_limits: ClassVar[bool] = False

    import_kw: float | None = 1.5
    export_kw: float | None = 1.5

    def __post_init__(self) -> None:
        given = {"import_kw": self.import_kw, "export_kw": self.export_kw}
        if problems := [f"{k} = {v} must not be negative" for k, v in given.items() if v is not None and v < 0]:
            raise InputError(problems, subject=self.name)

    def program(self, grid: Grid) -> None:
        return None

    def promised_kw(self, requests: Requests) -> FloatArray:
        """(2, ...) what the limits leave of the requests."""
        return cut_to_limits(self._room(requests), requests).both_kw

    def clear(self, grid: Grid, solve: Solve, state: NoState, requests: Requests) -> Solution:
        served = dict(zip(DIRECTIONS, self.promised_kw(requests), strict=True))
        room = {f"{direction}_room": kw for direction, kw in self._room(requests).items()}
        return Solution({**served, **room}, {}, float("nan"), "-")

    def room(self, solution: Solution) -> Mapping[str, FloatArray]:
        return {d: solution[f"{d}_room"] for d in DIRECTIONS if f"{d}_room" in solution.values}

    def _room(self, requests: Requests) -> Mapping[str, FloatArray]:
        """By direction that has a limit, (..., n) flexible power up to it."""
        limits = zip(DIRECTIONS, (self.import_kw, self.export_kw), strict=True)
        return {
            d: np.maximum(limit - SIGN[d] * requests.inflexible_kw, 0.0) for d, limit in limits if limit is not None
        }
