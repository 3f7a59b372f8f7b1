"""The outcome of an envelope as a floor under a market: everyone has at least what the envelope gives.

The envelope's programs are solved next to the market's own. Where its outcome is not feasible, it is cut back where it
loads the limits that it breaks (``amm_opt.market.cut``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.cases import Requests
from amm_opt.grid import Grid
from amm_opt.market import Mechanism
from amm_opt.market.cut import cut_program, cut_values
from amm_opt.market.mechanism import Solve
from amm_opt.program import Program

ENVELOPE = "envelope "
"""Before the names of the envelope's programs."""
CUT = "cut"
"""The program that cuts the envelope's outcome back where it is not feasible."""
MARGIN = 1e-4
"""Floors lie this fraction below the envelope's outcome, so that rounding leaves the market's program feasible."""


def floor_programs(envelope: Mechanism[Any], grid: Grid) -> Mapping[str, Program]:
    """The programs that ``floor_kw`` solves, by names of their own."""
    declared: Any = envelope.program(grid)
    named = {"": declared} if isinstance(declared, Program) else declared or {}
    return {CUT: cut_program(grid), **{f"{ENVELOPE}{name}": program for name, program in named.items()}}


def floor_kw(envelope: Mechanism[Any], grid: Grid, solve: Solve, requests: Requests) -> FloatArray:
    """(2, n) what everyone has under the envelope, import and export."""
    memory = envelope.initial_state(grid.case)
    cleared = envelope.clear(grid, lambda values, name="": solve(values, f"{ENVELOPE}{name}"), memory, requests)
    floor = np.clip(envelope.settle(grid, cleared, requests).both_kw, 0.0, requests.both_kw)
    if grid.feasible_share(requests, floor[0], floor[1]) < 1.0:
        cut = solve(cut_values(floor[0], floor[1]), CUT)
        floor = np.clip([cut["import"], cut["export"]], 0.0, floor)
    return np.asarray((1.0 - MARGIN) * floor)


def no_floor(envelope: Any) -> list[str]:
    """Why something cannot be the envelope; empty where it can."""
    if not isinstance(envelope, Mechanism):
        return [f"envelope = {envelope!r} is not a mechanism"]
    if type(envelope).advance is not Mechanism.advance:
        return [f"envelope = {envelope} carries a state from interval to interval; only mechanisms without memory can"]
    return [] if envelope.enforces_limits else [f"envelope = {envelope} does not enforce limits"]
