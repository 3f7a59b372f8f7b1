"""Equal dynamic operating envelopes (EqualDOE); without memory. ``formulations/parts/envelope.py`` says what they are.

Everyone gets the same limit, the largest level L that is feasible with all enrolled at L at once. A participant's limit
is L, at least what its inflexible load needs and at most its connection limit, so that

    x_i = clip(L + base_i, 0, max_i),   base_i = -d_i for import and d_i for export.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import cvxpy as cp
import numpy as np

from amm_opt.arrays import OPPOSITE, BoolArray, FloatArray
from amm_opt.cases import Requests
from amm_opt.errors import SolveError
from amm_opt.grid import Grid
from amm_opt.market.mechanism import Solve
from amm_opt.market.state import requested
from amm_opt.program import Leximin, Program, Solution
from formulations.parts.envelope import Envelope, at_limits
from formulations.parts.sweeps.level_search import levels_by_sweeps
from formulations.parts.sweeps.limits import Limits

MAX_NEWTON_STEPS = 100
EDGE_KW = 1e-6
"""A participant changes sets when its level takes it beyond 0 or its connection limit by more than this."""


@dataclass(frozen=True)
class EqualDOE(Envelope):
    """Everyone gets the same limit.

    With ``per="feeder"`` each LV feeder has its own level, and the levels are lexicographically max-min. Customers on
    the upper tier form one more group.

    Args:
        enrolled: who is assumed to be at its limit: ``active``, those who own a flexible device in the direction;
            ``all``, full enrolment; or ``requesting``, those who ask in the interval, known beforehand.
        robust: whether limits are kept wherever everybody is inside its envelope (``parts/box.py``).
        per: ``feeder`` or ``system``: whose level is equal.
    """

    name: ClassVar[str] = "equal_doe"
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"per": ("feeder", "system")}

    per: str = "feeder"

    def _program(self, grid: Grid, direction: str) -> Program:
        """Leximin of the levels L, with x = offset + slope * L of one's group feasible."""
        groups = grid.case.groups(self.per)
        level = cp.Variable(groups.count, name="level")
        slope, offset = cp.Parameter(grid.n, name="slope"), cp.Parameter(grid.n, name="offset")
        x = offset + cp.multiply(slope, level[groups.of])
        limits = [level <= cp.Parameter(name="top")]
        return Program(Leximin(level), limits, [at_limits(grid, direction, x)], {"envelope": x, "level": level})

    def _envelope(self, grid: Grid, solve: Solve, direction: str, requests: Requests) -> Solution:
        """Newton's iteration on who is at 0 (floored), at the connection limit (capped), or moves with the level.

        With the capped set fixed, use is convex in the levels and Newton's method on the floored set ends; capping more
        participants only ever raises levels, so the capped set grows. Where use of one relieves another, use is not
        convex and limits are not monotone: should the sets come round again, or no level of those who move be feasible,
        the levels are found by sweeps. No level need exceed ``top``, where nobody would be cut any more.
        """
        base, max_kw = self._reach(grid, direction, requests)
        groups = grid.case.groups(self.per)
        top = float(_top(base, max_kw, direction, requests))
        capped, floored = np.zeros((2, grid.n), dtype=bool)
        seen: set[bytes] = set()
        while (sets := np.packbits([capped, floored]).tobytes()) not in seen and len(seen) < MAX_NEWTON_STEPS:
            seen.add(sets)
            moving = ~capped & ~floored & (max_kw > 0)
            offset = np.where(moving, base, np.where(capped, max_kw, 0.0))
            try:
                solution = solve({"slope": moving.astype(float), "offset": offset, "top": top})
            except SolveError:
                if not moving.any():
                    raise
                break
            x = solution["level"][groups.of] + base
            below, above = ~capped & (x < -EDGE_KW), ~capped & (max_kw > 0) & (x > max_kw + EDGE_KW)
            if not np.array_equal(below, floored):
                floored = below
            elif above.any():
                capped, floored = capped | above, floored & ~above
            else:
                return solution
        level = levels_by_sweeps(Limits(grid.linear, direction, requests, max_kw), base, groups, top)
        x = np.clip(level[groups.of] + base, 0.0, max_kw)
        return Solution({"envelope": x, "level": level}, {}, float("nan"), "-")

    def _uncut(self, grid: Grid, direction: str, requests: Requests) -> tuple[FloatArray, BoolArray]:
        """Everybody at ``top``: no level is higher, so that these are the levels wherever they are feasible."""
        base, max_kw = self._reach(grid, direction, requests)
        top = _top(base, max_kw, direction, requests)
        return np.clip(top[..., None] + base, 0.0, max_kw), np.ones(top.shape, dtype=bool)


def _top(base: FloatArray, max_kw: FloatArray, direction: str, requests: Requests) -> FloatArray:
    """(...) the level at which nobody would be cut any more."""
    asked = requests.request_kw(direction)
    wanted = np.minimum(asked - requests.request_kw(OPPOSITE[direction]), max_kw)
    return np.asarray(np.max(wanted - base, axis=-1, where=requested(asked), initial=0.0))
