"""Dynamic operating envelopes, and the equal ones (EqualDOE); without memory.

An envelope limits a participant's net power, -I_i <= p_i <= E_i, so self-consumption is never limited. Import and
export envelopes are two separate programs, each hosted with every enrolled participant at its limit at once (Petrou
et al. 2021, doi 10.1109/TSG.2021.3069225; Liu and Ochoa 2022). Both are written in the flexible power x on top of
inflexible load d that takes a participant to its limit: x = I - d for import and x = E + d for export.

Outcome: everyone asks for all it wants, x = r and y = g; net power beyond the limit is cut.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import cvxpy as cp
import numpy as np

from amm_opt.arrays import DIRECTIONS, FloatArray, IntArray
from amm_opt.cases import Requests
from amm_opt.errors import InputError, SolveError
from amm_opt.grid import Grid
from amm_opt.market import Allocation, Mechanism, NoState
from amm_opt.market.mechanism import Solve
from amm_opt.market.state import requested
from amm_opt.program import Injection, Leximin, Program, Solution
from formulations.parts.level_search import levels_by_sweeps
from formulations.parts.sequential import Limits

ENROLLED = ("all", "requesting")
PER = ("feeder", "system")
MAX_NEWTON_STEPS = 100
EDGE_KW = 1e-6


@dataclass(frozen=True)
class Envelope(Mechanism[NoState], ABC):
    """What all kinds share: who is enrolled, two programs, and the cut of what exceeds a limit."""

    enrolled: str = "all"

    def __post_init__(self) -> None:
        if self.enrolled not in ENROLLED:
            raise InputError(f"{self.name}: enrolled = {self.enrolled!r}; valid choices: {', '.join(ENROLLED)}")

    feasible_at_limits_only: ClassVar[bool] = True

    def program(self, grid: Grid) -> Mapping[str, Program] | None:
        return {direction: self._program(grid, direction) for direction in DIRECTIONS}

    @abstractmethod
    def _program(self, grid: Grid, direction: str) -> Program:
        """The program of one direction's envelopes."""

    @abstractmethod
    def _envelope(self, grid: Grid, solve: Solve, direction: str, requests: Requests) -> Solution:
        """The envelopes of one direction, as the program's value ``envelope``."""

    def clear(self, grid: Grid, solve: Solve, state: NoState, requests: Requests) -> Mapping[str, Solution]:
        """Both envelopes; a direction in which nobody asks for anything needs none."""
        return {
            direction: self._envelope(grid, partial(solve, name=direction), direction, requests)
            for direction in DIRECTIONS
            if np.any(requested(requests.request_kw(direction)))
        }

    def settle(self, grid: Grid, solution: Mapping[str, Solution], requests: Requests) -> Allocation:
        headroom = {d: s["envelope"] for d, s in solution.items()}
        x, y = requests.import_request_kw, requests.export_request_kw
        return Allocation(
            np.minimum(x, headroom["import"] + y) if "import" in headroom else x,
            np.minimum(y, headroom["export"] + x) if "export" in headroom else y,
        )

    def _reach(self, grid: Grid, direction: str, requests: Requests) -> tuple[FloatArray, FloatArray]:
        """(base, most): x = limit + base reaches a limit, and ``most`` the connection limit (0 if not enrolled)."""
        base = requests.inflexible_kw if direction == "export" else -requests.inflexible_kw
        connection = grid.case.connection_kw(direction)
        unlimited = np.flatnonzero(np.isinf(connection))
        if len(unlimited):
            who = grid.case.participant_names[unlimited[0]]
            raise InputError(f"{self.name}: participant {who!r} has no connection_{direction}_kw and no branch rating")
        most = np.maximum(connection + base, 0.0)
        if self.enrolled == "requesting":
            most = np.where(requested(requests.request_kw(direction)), most, 0.0)
        return base, most


def hosted_at(grid: Grid, direction: str, x: cp.Expression) -> Injection:
    """Everyone at its limit in one direction."""
    return grid.injection(import_kw=x) if direction == "import" else grid.injection(export_kw=x)


@dataclass(frozen=True)
class EqualDOE(Envelope):
    """Everyone gets the same limit: the largest level L that is hosted with all enrolled at L at once.

    A participant's limit is L, at least what its inflexible load needs and at most its connection limit, so
    x_i = clip(L + base_i, 0, most_i). With ``per="feeder"`` each LV feeder has its own level, and the levels are
    lexicographically max-min. Customers on the upper tier form one more group.

    Args:
        enrolled: ``all`` (network practice) or ``requesting``: who is assumed to be at its limit.
        per: ``feeder`` or ``system``: whose level is equal.
    """

    name: ClassVar[str] = "equal_doe"

    per: str = "feeder"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.per not in PER:
            raise InputError(f"{self.name}: per = {self.per!r}; valid choices: {', '.join(PER)}")

    def _groups(self, grid: Grid) -> tuple[IntArray, int]:
        if self.per == "system":
            return np.zeros(grid.n, dtype=np.intp), 1
        count = len(grid.case.feeder.lv_feeders) + 1
        return np.where(grid.case.lv_feeder >= 0, grid.case.lv_feeder, count - 1), count

    def _program(self, grid: Grid, direction: str) -> Program:
        """Leximin of the levels L, with x = offset + slope * L of one's group hosted."""
        group, count = self._groups(grid)
        level = cp.Variable(count, name="level")
        slope, offset = cp.Parameter(grid.n, name="slope"), cp.Parameter(grid.n, name="offset")
        x = offset + cp.multiply(slope, level[group])
        limits = [level <= cp.Parameter(name="top")]
        return Program(Leximin(level), limits, [hosted_at(grid, direction, x)], {"envelope": x, "level": level})

    def _envelope(self, grid: Grid, solve: Solve, direction: str, requests: Requests) -> Solution:
        """Newton's iteration on who is at 0 (floored), at the connection limit (capped), or moves with the level.

        With the capped set fixed, use is convex in the levels and Newton's method on the floored set ends; capping more
        participants only ever raises levels, so the capped set grows. Where use of one relieves another, use is not
        convex and limits are not monotone: should the sets come round again, or no level of those who move be hosted,
        the levels are found by sweeps. No level need exceed ``top``, where nobody would be cut any more.
        """
        base, most = self._reach(grid, direction, requests)
        group, count = self._groups(grid)
        opposite = "export" if direction == "import" else "import"
        wanted = np.minimum(requests.request_kw(direction) - requests.request_kw(opposite), most)
        asked = requested(requests.request_kw(direction))
        top = float(np.max(wanted - base, where=asked, initial=0.0))
        capped, floored = np.zeros((2, grid.n), dtype=bool)
        seen: set[bytes] = set()
        while (sets := np.packbits([capped, floored]).tobytes()) not in seen and len(seen) < MAX_NEWTON_STEPS:
            seen.add(sets)
            moving = ~capped & ~floored & (most > 0)
            offset = np.where(moving, base, np.where(capped, most, 0.0))
            try:
                solution = solve({"slope": moving.astype(float), "offset": offset, "top": top})
            except SolveError:
                if not moving.any():
                    raise
                break
            x = solution["level"][group] + base
            below, above = ~capped & (x < -EDGE_KW), ~capped & (most > 0) & (x > most + EDGE_KW)
            if not np.array_equal(below, floored):
                floored = below
            elif above.any():
                capped, floored = capped | above, floored & ~above
            else:
                return solution
        level = levels_by_sweeps(Limits(grid.linear, direction, requests, most), base, group, count, top)
        return Solution({"envelope": np.clip(level[group] + base, 0.0, most), "level": level}, {}, float("nan"), "-")
