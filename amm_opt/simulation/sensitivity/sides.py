"""A mechanism on a case, next to the same with one number a little higher or lower."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case, Requests
from amm_opt.cases.requests import asked_for
from amm_opt.errors import InputError
from amm_opt.grid import Grid
from amm_opt.market import Mechanism, State
from amm_opt.program import Leximin, Program, Solution
from amm_opt.registry import network_of
from amm_opt.simulation.loop.matching import programs_of
from amm_opt.simulation.sensitivity.knobs import Knob
from amm_opt.solve.compile import NotCompilableError
from amm_opt.solve.route import Task
from amm_opt.solve.routes.interval import IntervalRoute


class AnotherWayError(Exception):
    """A mechanism clears by other programs, or more or fewer of them, than it did."""


class _ReachedError(Exception):
    """The call of a solver that was waited for."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.call = call


@dataclass(frozen=True, eq=False)
class Call:
    """One program that is to be solved."""

    name: str
    task: Task


@dataclass(frozen=True, eq=False)
class Side:
    """A mechanism on a grid, and how far a knob is turned.

    Raises:
        InputError: where a program has no derivative by an implicit solve.
    """

    grid: Grid
    mechanism: Mechanism[Any]
    knob: Knob | None = None
    by: float = 0.0

    @classmethod
    def turned(cls, base: Side, knob: Knob, by: float, model: Any) -> Side:
        """The same with a knob turned.

        Args:
            model: name or class of the network model.
        """
        case, mechanism = knob.made(base.grid.case, base.mechanism, by)
        same = case.feeder is base.grid.case.feeder
        return cls(Grid(case, base.grid.network if same else network_of(case, model)), mechanism, knob, by)

    @cached_property
    def routes(self) -> dict[str, IntervalRoute]:
        """The mechanism's programs by name."""
        found = {}
        for name, program in programs_of(self.mechanism, self.grid).items():
            what = f"{self.mechanism}: the program {name!r}" if name else f"{self.mechanism}: its program"
            if not isinstance(program, Program):
                raise InputError(f"{what} is over a horizon: derivatives are of programs of one interval")
            if isinstance(program.objective, Leximin):
                raise InputError(f"{what} is lexicographic: derivatives are of linear and quadratic programs")
            try:
                found[name] = IntervalRoute(program, self.grid)
            except NotCompilableError as error:
                raise InputError(f"{what} is not compiled, so that it has no derivative: {error}") from error
        return found

    def intervals(self, start: int, stop: int, swept: bool = True) -> list[Requests]:
        """Intervals ``start .. stop - 1``; what they use is known from one sweep, where that is wanted."""
        case: Case = self.grid.case
        requests = asked_for(case.profiles, case.scenario, start, stop, case.inflexible_kvar)
        if self.knob is not None:
            requests = self.knob.asked(requests, self.by)
        return list(self.grid.intervals(requests)) if swept else [requests.interval(k) for k in range(stop - start)]

    def call(self, state: State, requests: Requests, given: Sequence[Solution]) -> Call:
        """What the mechanism solves next, given the solutions of what it solved before.

        Raises:
            AnotherWayError: nothing.
        """

        def solve(call: Call) -> Solution:
            if answers:
                return answers.pop(0)
            raise _ReachedError(call)

        answers = list(given)
        try:
            self.served(state, requests, solve)
        except _ReachedError as reached:
            return reached.call
        raise AnotherWayError

    def answered(self, state: State, requests: Requests, given: Sequence[Solution]) -> FloatArray:
        """(2, n) what is served, given the solutions of all programs.

        Raises:
            AnotherWayError: where the mechanism solves more or fewer.
        """

        def solve(call: Call) -> Solution:
            if not answers:
                raise AnotherWayError
            return answers.pop(0)

        answers = list(given)
        served = self.served(state, requests, solve)
        if answers:
            raise AnotherWayError
        return served

    def served(self, state: State, requests: Requests, solve: Callable[[Call], Solution]) -> FloatArray:
        """(2, n) what is served, with this in place of solvers."""

        def called(values: Any, name: str = "", of: Requests | None = None) -> Solution:
            limits = self.grid.limits(requests)
            return solve(Call(name, Task(values, requests if of is None else of, *limits)))

        cleared = self.mechanism.clear(self.grid, called, state, requests)
        return self.mechanism.settle(self.grid, cleared, requests).both_kw

    def full(self, requests: Requests) -> FloatArray:
        """(2, n) what is served where nothing has to be solved."""
        return self.mechanism.full_service(self.grid, requests).both_kw
