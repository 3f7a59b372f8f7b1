"""What all operating envelopes share: who is enrolled, two programs, and the cut of what exceeds a limit.

An envelope limits a participant's net power, -I_i <= p_i <= E_i, so self-consumption is never limited. Import and
export envelopes are two separate programs, each feasible with every enrolled participant at its limit at once (Petrou
et al. 2021, doi 10.1109/TSG.2021.3069225; Liu and Ochoa 2022). Both are written in the flexible power x on top of
inflexible load d that takes a participant to its limit: x = I - d for import and x = E + d for export.

On a network model of boxes (docs/certified.md) an envelope is a promise: each may use anything up to its limit.
Both envelopes then hold together: those of export are found first, and those of import on top of them, because what
export loses loads import and not the other way round (our reading). What a rule has found on linear rows, or what is
left of rounding, is cut where it loads a limit that it breaks (``amm_opt.market.cut``).

Outcome: everyone asks for all it wants, x = r and y = g; net power beyond the limit is cut.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import cvxpy as cp
import numpy as np

from amm_opt.arrays import DIRECTIONS, SIGN, BoolArray, FloatArray
from amm_opt.cases import Requests
from amm_opt.errors import InputError
from amm_opt.fields import wrong_choices
from amm_opt.grid import Grid
from amm_opt.market import Allocation, Mechanism, NoState
from amm_opt.market.cut import cut_program, cut_values
from amm_opt.market.mechanism import Solve, Values
from amm_opt.market.state import requested
from amm_opt.program import Injection, Program, Solution
from amm_opt.tolerances import SOLVED_SLACK
from formulations.parts.box import box_of

ENROLLED = ("active", "all", "requesting")
"""Those who own a flexible device in the direction (``Case.owns``); everybody; those who ask in the interval."""

GIVE = 1e-4
"""On boxes, export envelopes stay this fraction below the largest, so that import on top of them has an interior."""
HELD, CUT = "held_kw", "cut"
"""On boxes: the export envelopes that import comes on top of, and the program that cuts both."""


@dataclass(frozen=True)
class Envelope(Mechanism[NoState], ABC):
    """Base of every kind of envelope."""

    feasible_at_limits_only: ClassVar[bool] = True
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    enrolled: str = "active"
    robust: bool = False

    @property
    def promise(self) -> str:
        return "anywhere inside the limits" if self.robust else super().promise

    def __post_init__(self) -> None:
        if problems := wrong_choices(self, enrolled=ENROLLED, **self.choices):
            raise InputError(problems, subject=self.name)

    def program(self, grid: Grid) -> Mapping[str, Program] | None:
        programs = {direction: self._program(grid, direction) for direction in DIRECTIONS}
        return {**programs, CUT: cut_program(grid)} if grid.boxes else programs

    @abstractmethod
    def _program(self, grid: Grid, direction: str) -> Program:
        """The program of one direction's envelopes."""

    @abstractmethod
    def _envelope(self, grid: Grid, solve: Solve, direction: str, requests: Requests) -> Solution:
        """The envelopes of one direction, as the program's value ``envelope``."""

    def clear(self, grid: Grid, solve: Solve, state: NoState, requests: Requests) -> Mapping[str, Solution]:
        """Both envelopes; a direction in which nobody asks for anything needs none."""
        asked = [d for d in DIRECTIONS if np.any(requested(requests.request_kw(d)))]
        if not grid.boxes:
            return self._at_corners(grid, solve, asked, requests)
        found: dict[str, Solution] = {}
        for direction in reversed(asked):
            held = np.maximum(found["export"]["envelope"], 0.0) if found else np.zeros(grid.n)

            def on_top(values: Values, name: str = direction, held: FloatArray = held) -> Solution:
                return solve({**values, HELD: held} if name == "import" else values, name)

            alone = self._envelope(grid, on_top, direction, requests)
            share = 1.0 - GIVE if direction != asked[0] else 1.0
            found[direction] = replace(alone, values={**alone.values, "envelope": share * alone["envelope"]})
        return self._together(grid, solve, found, requests)

    def _at_corners(self, grid: Grid, solve: Solve, asked: list[str], requests: Requests) -> Mapping[str, Solution]:
        """Envelopes that are feasible with everybody at its limit, or where they are robust anywhere inside."""
        found = {d: self._envelope(grid, partial(solve, name=d), d, requests) for d in asked}
        if not self.robust:
            return found
        if grid.conic:
            raise InputError(f"{self.name}: robust envelopes need linear limits, and {grid.network.name} has none")
        share = box_of(grid).shares(grid, {d: s["envelope"] for d, s in found.items()}, requests)
        return {d: replace(s, values={**s.values, "envelope": share * s["envelope"]}) for d, s in found.items()}

    def _together(
        self, grid: Grid, solve: Solve, found: Mapping[str, Solution], requests: Requests
    ) -> Mapping[str, Solution]:
        """Envelopes of which every combination is feasible, cut where one is not."""
        nothing = np.zeros(grid.n)
        x, y = (np.maximum(found[d]["envelope"], 0.0) if d in found else nothing for d in DIRECTIONS)
        if grid.feasible(requests, x, y, slack=SOLVED_SLACK):
            return found
        cut = solve(cut_values(x, y), CUT)
        return {d: replace(s, values={**s.values, "envelope": cut[d]}) for d, s in found.items()}

    def served_in_full(self, grid: Grid, requests: Requests) -> BoolArray:
        """Where everybody may be at a limit that cuts nobody, and all requests are feasible together."""
        proved = np.atleast_1d(~grid.scarce(requests)) & (not grid.conic and not self.robust)
        for direction in DIRECTIONS:
            asked = proved & np.any(requested(requests.request_kw(direction)), axis=-1)
            if not asked.any():
                continue
            some = grid.select(requests, asked)
            x, known = self._uncut(grid, direction, some)
            power = (x, 0.0) if direction == "import" else (0.0, x)
            proved[asked] = known & grid.feasible(some, *power, slack=0.0)
        return proved

    def _uncut(self, grid: Grid, direction: str, requests: Requests) -> tuple[FloatArray, BoolArray]:
        """(..., n) flexible power up to envelopes that cut nobody, and (...) where they are the outcome if feasible."""
        nobody = np.zeros_like(requests.inflexible_kw)
        return nobody, np.zeros(nobody.shape[:-1], dtype=bool)

    def full_service(self, grid: Grid, requests: Requests) -> Allocation:
        """What such envelopes leave: every request, to rounding."""
        room = {}
        for direction in DIRECTIONS:
            if np.any(requested(requests.request_kw(direction))):
                x, known = self._uncut(grid, direction, requests)
                room[direction] = x if known.all() else np.full_like(x, np.inf)
        return cut_to_limits(room, requests)

    def room(self, solution: Mapping[str, Solution]) -> Mapping[str, FloatArray]:
        return {d: s["envelope"] for d, s in solution.items()}

    def settle(self, grid: Grid, solution: Mapping[str, Solution], requests: Requests) -> Allocation:
        return cut_to_limits(self.room(solution), requests)

    def _reach(self, grid: Grid, direction: str, requests: Requests) -> tuple[FloatArray, FloatArray]:
        """(base, max_kw): x = limit + base reaches a limit, max_kw the connection limit (0 for those not enrolled)."""
        base = -SIGN[direction] * requests.inflexible_kw
        connection = grid.case.connection_kw(direction)
        unlimited = np.flatnonzero(np.isinf(connection))
        if len(unlimited):
            who = grid.case.participant_names[unlimited[0]]
            raise InputError(f"{self.name}: participant {who!r} has no connection_{direction}_kw and no branch rating")
        max_kw = np.maximum(connection + base, 0.0)
        if self.enrolled == "active":
            max_kw = np.where(grid.case.owns(direction), max_kw, 0.0)
        elif self.enrolled == "requesting":
            max_kw = np.where(requested(requests.request_kw(direction)), max_kw, 0.0)
        return base, max_kw


def at_limits(grid: Grid, direction: str, x: cp.Expression) -> Injection:
    """Everyone at its limit in one direction; on boxes, import on top of the export envelopes that are held."""
    if grid.boxes and direction == "import":
        return grid.injection(import_kw=x, export_kw=cp.Parameter(grid.n, nonneg=True, name=HELD))
    return grid.injection(import_kw=x) if direction == "import" else grid.injection(export_kw=x)


def cut_to_limits(room: Mapping[str, FloatArray], requests: Requests) -> Allocation:
    """Everyone asks for all it wants; net power beyond a limit is cut.

    Args:
        room: by direction, (n,) flexible power up to the limit; a direction that is left out has none.
    """
    x, y = requests.import_request_kw, requests.export_request_kw
    return Allocation(
        np.minimum(x, room["import"] + y) if "import" in room else x,
        np.minimum(y, room["export"] + x) if "export" in room else y,
    )
