"""Matching: what a mechanism makes of the requests of one interval or window, within given limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from amm_opt.arrays import IntArray
from amm_opt.cases import Requests
from amm_opt.errors import InputError
from amm_opt.grid import Grid
from amm_opt.market import Mechanism, State
from amm_opt.program import HorizonProgram, Program, Solution
from amm_opt.simulation.loop.guard import Limits
from amm_opt.simulation.loop.result import Notes
from amm_opt.solve.solver import ProgramSolver

AnyProgram = Program | HorizonProgram
Cleared = Solution | Mapping[str, Solution]


def programs_of(mechanism: Mechanism[Any], grid: Grid) -> dict[str, AnyProgram]:
    """A mechanism's programs by name.

    Raises:
        InputError: where it declares something else, or programs of an interval next to programs over a horizon.
    """
    declared = mechanism.program(grid)
    named = {"": declared} if isinstance(declared, Program | HorizonProgram) else declared or {}
    for item in named.values() if isinstance(named, Mapping) else (named,):
        if not isinstance(item, Program | HorizonProgram):
            raise InputError(f"{mechanism}: program(grid) must return a Program, not {type(item).__name__}")
    if len({type(item) for item in named.values()}) > 1:
        raise InputError(f"{mechanism}: its programs must be all of one interval or all over a horizon")
    return dict(named)


def matches(mechanism: Mechanism[Any], programs: Mapping[str, Any]) -> bool:
    """Whether a mechanism clears at all; it may do so without a program."""
    return bool(programs) or type(mechanism).clear is not Mechanism.clear


class Matching(Protocol):
    """How intervals are cleared.

    Attributes:
        clears: whether there is anything to clear; every request is served otherwise.
    """

    clears: bool

    def reset(self) -> None:
        """Forget everything that was solved."""

    def prepare(self, requests: Requests, scarce: IntArray) -> None:
        """Work out what can be for a whole block, whose intervals at these positions are cleared one by one."""

    def clear(self, requests: Requests, limits: Limits | None, state: State, notes: Notes) -> Cleared:
        """The mechanism's solution of one interval, or of a window, whose limits are None.

        Raises:
            SolveError: where there is none.
        """


class JointMatching:
    """Everybody at once: the mechanism's programs on the whole grid.

    Args:
        programs: what solves each of them, by name.
    """

    def __init__(self, grid: Grid, mechanism: Mechanism[Any], programs: Mapping[str, ProgramSolver]) -> None:
        self._grid, self._mechanism, self._programs = grid, mechanism, programs
        self.clears = matches(mechanism, programs)

    def reset(self) -> None:
        """Forget everything that was solved."""
        for program in self._programs.values():
            program.reset()

    def prepare(self, requests: Requests, scarce: IntArray) -> None:
        """Nothing."""

    def clear(self, requests: Requests, limits: Limits | None, state: State, notes: Notes) -> Cleared:
        """The mechanism's own clearing; a window may be solved in parts."""

        def solve(values: Mapping[str, Any], name: str = "", of: Requests | None = None) -> Solution:
            solution = self._programs[name].solve(values, of or requests, *(limits or ()))
            notes.solved.append(solution)
            return solution

        return self._mechanism.clear(self._grid, solve, state, requests)
