"""The run loop: what is asked for, planned, matched, guarded, carried out and accounted for.

A run is cut into blocks, in which solvers start afresh, and a block into windows of one interval or more. In each
of them

    requests -> plan (clear, guard) -> carry out (guard again where it was planned on less) -> account,

each step by a strategy object: ``demand`` says what is asked for, ``planning`` what is looked at together, ``matching``
how it is cleared, ``guard`` what of it keeps every limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from amm_opt.cases import Requests
from amm_opt.errors import SolveError
from amm_opt.grid import Grid
from amm_opt.market import Allocation, Mechanism, State
from amm_opt.simulation.forecast import Forecast, believed
from amm_opt.simulation.loop.demand import Demand, demand_of
from amm_opt.simulation.loop.guard import Guard
from amm_opt.simulation.loop.matching import Matching
from amm_opt.simulation.loop.planning import Outlook, Planner, Windows, nothing
from amm_opt.simulation.loop.result import BlockResult, Notes
from amm_opt.simulation.loop.waiting import Backlog, Sessions
from amm_opt.simulation.measurement.world import World
from amm_opt.simulation.results.totals import Totals
from amm_opt.simulation.stored.block import Block

ENOUGH = 24
"""So many intervals fail at the beginning before a run is given up; all of a shorter run."""
BLOCK_STEPS = 96
"""A block has at most so many intervals, or one commitment. Solvers start afresh in each, so that results do not depend
on how blocks are spread over processes, or on where a run was ended and taken up again."""


class Inputs(Protocol):
    """A grid, and what is asked for on it."""

    @property
    def grid(self) -> Grid:
        """The case on a network model."""

    def requests(self, start: int, stop: int, *, waits: bool) -> Requests:
        """Requests of intervals ``start .. stop - 1``, see ``Case.requests``."""


@dataclass(frozen=True, eq=False)
class Loop:
    """Runs one mechanism on one grid from interval ``first`` to ``stop - 1``.

    Attributes:
        on: what it runs on, as the mechanism believes it to be.
        true_grid: what judges it, with all buses; programs may run on one without those that follow from others.
        forecast: what windows are planned on; None where everything is known beforehand.
        sessions: the case's sessions where their energy can wait; None where every request is instantaneous.
        start: state and backlog before the first interval; None where nothing has been before.
        world: what there is beside what the mechanism sees; None where it sees everything as it is.
    """

    on: Inputs
    mechanism: Mechanism[Any]
    matching: Matching
    guard: Guard
    planner: Planner
    windows: Windows
    first: int
    stop: int
    true_grid: Grid
    forecast: Forecast | None = None
    sessions: Sessions | None = None
    start: tuple[State, Backlog | None] | None = None
    world: World | None = None

    @property
    def grid(self) -> Grid:
        """What it runs on."""
        return self.on.grid

    @property
    def block_steps(self) -> int:
        """Intervals of a block but the last, which may be shorter: a number of whole commitments."""
        return self.windows.commit * max(1, self._swept // self.windows.commit)

    @property
    def _swept(self) -> int:
        """At most so many intervals are accounted for at once."""
        return min(BLOCK_STEPS, self.grid.block_steps)

    def blocks(self) -> list[tuple[int, int]]:
        """First and last interval + 1 of every block."""
        length = self.block_steps
        return [(first, min(first + length, self.stop)) for first in range(self.first, self.stop, length)]

    def begin(self) -> tuple[State, Backlog | None]:
        """State and backlog before the first interval."""
        if self.start is not None:
            return self.start
        backlog = None if self.sessions is None else self.sessions.at_start(self.first)
        return self.mechanism.initial_state(self.grid.case), backlog

    def run_block(
        self, start: int, stop: int, state: State, backlog: Backlog | None, held: State | None = None
    ) -> tuple[BlockResult, Block]:
        """Intervals ``start .. stop - 1``, with solvers that remember nothing from before.

        Args:
            state, backlog, held: before ``start``; ``held`` is a copy of the memory that is restored later.

        Raises:
            SolveError: where none of the first intervals of the run has an answer.
        """
        self.matching.reset()
        self.guard.reset()
        result = BlockResult(str(self.mechanism), state, Totals.empty(self.grid.n), backlog, held=held)
        if start == self.first:
            result.patience = self.patience
        commit, horizon = self.windows.commit, self.windows.length
        ahead_of_all = min(stop + horizon - commit, self.stop)
        source = self.on if self.world is None else self.world.on
        recorded = source.requests(start, ahead_of_all, waits=self.sessions is not None)
        demand = demand_of(recorded, self.sessions)
        seen = demand.recorded if self.world is None else self.world.seen(start, ahead_of_all)
        known = self.planner.outlook(seen) if demand.known and self.forecast is None else None
        planned: list[Allocation] = []
        happened: list[Allocation] = []
        while (now := start + len(happened)) < stop:
            begin = now - (now - start) % commit
            ahead = slice(now - start, min(begin + horizon, self.stop) - start)
            for plan, served in self._run_window(result, demand, known, ahead, min(begin + commit, stop) - now):
                planned.append(plan)
                happened.append(served)
        whole = Allocation.stacked(happened)
        hoped = None if self.forecast is None and self.world is None else Allocation.stacked(planned)
        requests = _part(demand.recorded, 0, stop - start)
        for k in range(0, stop - start, self._swept):
            end = min(k + self._swept, stop - start)
            result.totals.add(self.true_grid, _part(requests, k, end), whole.select(slice(k, end)))
        return result, Block.of(self.true_grid.case, requests, whole, hoped)

    @property
    def patience(self) -> int:
        """The run is given up where all of so many intervals at its beginning, which had to be solved, fail."""
        return min(ENOUGH, self.stop - self.first)

    def _run_window(
        self, result: BlockResult, demand: Demand, known: Outlook | None, ahead: slice, count: int
    ) -> Iterator[tuple[Allocation, Allocation]]:
        """Plan a window and carry out its first ``count`` intervals: what was planned and what happened in each.

        It ends after an interval that leaves some energy waiting: the rest is to be planned again.
        """
        outlook, window, at = known, ahead, ahead.start
        first = demand.recorded.start + at
        self._recall(result, first)
        if outlook is None:
            outlook, window = self._expected(demand, ahead, result.backlog), slice(0, ahead.stop - at)
        for k, plan in enumerate(outlook.plan(result, window, count)):
            if k:
                self._recall(result, first + k)
            asked = outlook.interval(window.start + k) if self.forecast is None else demand.recorded.interval(at + k)
            notes = Notes()
            happened = self._carried_out(result, plan, asked, notes)
            lived, served = demand.settle(result, at + k, asked, happened, self.guard, notes)
            result.record(notes, asked.start)
            served = self.mechanism.posted(result.state, served)
            result.state = self.mechanism.advance(result.state, served, lived)
            if self.world is None:
                yield plan, served
            else:
                really = demand.recorded.interval(at + k)
                happened = self.mechanism.carry_out(self.grid, served, really)
                yield served, self.world.received(happened, really) if self.matching.clears else happened
            if demand.leaves_some(at + k, asked, happened):
                for later in range(k + 1, count):
                    result.failed.pop(asked.start - k + later, None)
                return

    def _recall(self, result: BlockResult, interval: int) -> None:
        """What is remembered before an interval, where some of it may be lost."""
        if self.world is not None:

            def fresh() -> State:
                return self.mechanism.initial_state(self.grid.case)  # type: ignore[no-any-return]

            result.state, result.held = self.world.remembered(result.state, result.held, interval, fresh)

    def _expected(self, demand: Demand, ahead: slice, backlog: Backlog | None) -> Outlook:
        """A window as it is expected just before it."""
        if self.forecast is None:
            return self.planner.outlook(demand.asked(ahead, backlog))
        start = demand.recorded.start
        expected = believed(self.forecast, self.grid.case, start + ahead.start, start + ahead.stop)
        return self.planner.outlook(expected)

    def _carried_out(self, result: BlockResult, plan: Allocation, interval: Requests, notes: Notes) -> Allocation:
        """What happens in an interval for which this was planned."""
        happened = plan
        if self.forecast is not None:
            happened = self.mechanism.carry_out(self.grid, plan, interval)
        elif self.planner.secures or self.guard.security is None:
            return plan
        try:
            return self.guard.carried_out(happened, interval, notes)
        except SolveError as error:
            result.fail([interval.start], str(error))
            return nothing(self.grid.n)


def _part(requests: Requests, first: int, stop: int) -> Requests:
    """Some intervals; the requests themselves, of which much may be known, where they are all."""
    return requests if (first, stop) == (0, requests.n_steps) else requests.select(slice(first, stop))
