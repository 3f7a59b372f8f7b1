"""Limits of net power that a mechanism sets itself, such as operating envelopes: found again, as a run keeps what was
served within them and not how far they reach beyond it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from amm_opt.arrays import DIRECTIONS, BoolArray, FloatArray
from amm_opt.cases import Requests
from amm_opt.errors import SolveError
from amm_opt.grid import Grid
from amm_opt.market import Allocation, Mechanism
from amm_opt.program import HorizonProgram
from amm_opt.simulation.loop.matching import JointMatching, programs_of
from amm_opt.simulation.loop.result import Notes
from amm_opt.solve.solver import ProgramSolver

if TYPE_CHECKING:
    from amm_opt.simulation import Run

PLAIN = {"ac": (None, "verify"), "forecast": ("perfect",), "waiting": (False,), "tiers": ("joint",), "margin": (None,)}
"""Options under which what a mechanism decides is what was carried out, without a measurement."""
SAME_KW = 1e-3
"""What is served within limits that were found again may differ by this from what the run holds."""


def own_room(
    run: Run, requests: Requests, allocated: Allocation, progress: Callable[[int, int], None] | None
) -> tuple[FloatArray, BoolArray] | None:
    """(2, T, n) flexible power up to the mechanism's limits, in kW; None where it sets none.

    What was allocated stands instead where nobody asks in a direction, in intervals that failed or were cut back, and
    all over where plans, waiting, two tiers, margins, AC security or a conic network model change what is decided.

    Args:
        requests, allocated: of some of the run's intervals.
        progress: called with (intervals done, all).

    Returns:
        The power, and (2, T) whether it is that of the mechanism's limits.

    Raises:
        SolveError: where an interval has no solution, or one that is not what the run holds.
    """
    mechanism, given = run.known_mechanism, run.manifest["inputs"]
    plain = all(given[name] in values for name, values in PLAIN.items()) and run.measurement is None
    if type(mechanism).room is Mechanism.room or not plain:
        return None
    grid = Grid(run.case, run.network_model())
    if grid.conic:
        return None
    programs = programs_of(mechanism, grid)
    if any(isinstance(program, HorizonProgram) for program in programs.values()):
        return None
    matching = JointMatching(grid, mechanism, {name: ProgramSolver(p, grid, [None]) for name, p in programs.items()})
    state = mechanism.initial_state(run.case)
    room = np.stack([allocated.drawn_kw, allocated.injected_kw])
    sets = np.zeros(room.shape[:2], dtype=bool)
    first = int(run.case.times.get_loc(requests.times[0]))
    for k in range(len(requests.times)):
        if progress is not None:
            progress(k, len(requests.times))
        if first + k in run.failed_steps or first + k in run.repaired_steps:
            continue
        one = requests.interval(k)
        solution = matching.clear(one, grid.limits(one), state, Notes())
        again = mechanism.settle(grid, solution, one).both_kw
        if np.max(np.abs(again - room[:, k]), initial=0.0) > SAME_KW:
            raise SolveError(f"{run.mechanism} at {one.times[0]}: other limits were found than those of the run")
        for d, direction in enumerate(DIRECTIONS):
            if (found := mechanism.room(solution).get(direction)) is not None:
                room[d, k], sets[d, k] = np.maximum(found, 0.0), True
    return room, sets
