"""The run loop: what is asked for, planned, matched, guarded, carried out and accounted for.

A run is cut into shards (work for a process, with solvers that start afresh), a shard into blocks (memory), a block
into windows of one interval or more. In each of them

    requests -> plan (clear, guard) -> carry out (guard again where it was planned on less) -> account,

each step by a strategy object: ``demand`` says what is asked for, ``planning`` what is looked at together, ``matching``
how it is cleared, ``guard`` what of it keeps every limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from amm_opt.cases import Requests
from amm_opt.errors import SolveError
from amm_opt.grid import Grid
from amm_opt.market import Allocation, Mechanism, State
from amm_opt.simulation.forecast import Forecast, believed
from amm_opt.simulation.loop.demand import Demand, demand_of
from amm_opt.simulation.loop.guard import Guard
from amm_opt.simulation.loop.matching import Matching
from amm_opt.simulation.loop.planning import Outlook, Planner, Windows, nothing
from amm_opt.simulation.loop.result import Notes, ShardResult
from amm_opt.simulation.loop.waiting import Backlog, Sessions
from amm_opt.simulation.results.store import Block
from amm_opt.simulation.results.totals import Totals

ENOUGH = 24
"""So many intervals fail at the beginning before a run is given up; all of a shorter run."""
BLOCK_STEPS = 96
SHARD_STEPS = 1344
"""Solvers start afresh at every shard, so that results do not depend on how shards are spread over processes."""
SHARD_NUMBERS = 4_000_000
"""A shard has at most this many participants times intervals, which bounds memory."""

Done = Callable[[Block], None]


@dataclass(frozen=True, eq=False)
class Loop:
    """Runs one mechanism on one grid from interval ``first`` to ``stop - 1``.

    Attributes:
        forecast: what windows are planned on; None where everything is known beforehand.
        sessions: the case's sessions where their energy can wait; None where every request is instantaneous.
    """

    grid: Grid
    mechanism: Mechanism[Any]
    matching: Matching
    guard: Guard
    planner: Planner
    windows: Windows
    first: int
    stop: int
    forecast: Forecast | None = None
    sessions: Sessions | None = None

    def shards(self) -> list[tuple[int, int]]:
        """First and last interval + 1 of every shard, each a number of whole commitments."""
        commit = self.windows.commit
        longest = min(SHARD_STEPS, SHARD_NUMBERS // max(self.grid.n, 1))
        length = max(1, longest // commit) * commit
        return [(first, min(first + length, self.stop)) for first in range(self.first, self.stop, length)]

    def begin(self) -> tuple[State, Backlog | None]:
        """State and backlog before the first interval."""
        backlog = None if self.sessions is None else self.sessions.at_start(self.first)
        return self.mechanism.initial_state(self.grid.case), backlog

    def run_shard(self, start: int, stop: int, state: State, backlog: Backlog | None, done: Done) -> ShardResult:
        """Intervals ``start .. stop - 1``, with solvers that remember nothing from before.

        Args:
            state, backlog: before ``start``.
            done: called with every finished block.

        Raises:
            SolveError: where none of the first intervals of the run has an answer.
        """
        self.matching.reset()
        self.guard.reset()
        result = ShardResult(str(self.mechanism), state, Totals.empty(self.grid.n), backlog)
        if start == self.first:
            result.patience = min(ENOUGH, self.stop - self.first)
        length = min(BLOCK_STEPS, self.grid.block_steps)
        together = self.windows.commit * max(1, length // self.windows.commit)
        for first in range(start, stop, together):
            self._run_block(result, first, min(first + together, stop), length, done)
        return result

    def _run_block(self, result: ShardResult, first: int, stop: int, length: int, done: Done) -> None:
        """The windows that start in ``first .. stop - 1``; kept in pieces of ``length`` intervals."""
        commit, horizon = self.windows.commit, self.windows.length
        demand = demand_of(self.grid.case, self.sessions, first, min(stop + horizon - commit, self.stop))
        known = self.planner.outlook(demand.recorded) if demand.known and self.forecast is None else None
        planned: list[Allocation] = []
        happened: list[Allocation] = []
        while (now := first + len(happened)) < stop:
            begin = now - (now - first) % commit
            ahead = slice(now - first, min(begin + horizon, self.stop) - first)
            for plan, served in self._run_window(result, demand, known, ahead, min(begin + commit, stop) - now):
                planned.append(plan)
                happened.append(served)
        whole = Allocation.stacked(happened)
        hoped = None if self.forecast is None else Allocation.stacked(planned)
        for k in range(0, stop - first, length):
            piece = slice(k, min(k + length, stop - first))
            requests, allocation = demand.recorded.select(piece), whole.select(piece)
            result.totals.add(self.grid, requests, allocation)
            done(Block.of(self.grid.case, requests, allocation, None if hoped is None else hoped.select(piece)))

    def _run_window(
        self, result: ShardResult, demand: Demand, known: Outlook | None, ahead: slice, count: int
    ) -> Iterator[tuple[Allocation, Allocation]]:
        """Plan a window and carry out its first ``count`` intervals: what was planned and what happened in each.

        It ends after an interval that leaves some energy waiting: the rest is to be planned again.
        """
        outlook, window, at = known, ahead, ahead.start
        if outlook is None:
            outlook, window = self._expected(demand, ahead, result.backlog), slice(0, ahead.stop - at)
        for k, plan in enumerate(outlook.plan(result, window, count)):
            asked = outlook.interval(window.start + k) if self.forecast is None else demand.recorded.interval(at + k)
            notes = Notes()
            happened = self._carried_out(result, plan, asked, notes)
            lived, served = demand.settle(result, at + k, asked, happened, self.guard, notes)
            result.record(notes, asked.start)
            result.state = self.mechanism.advance(result.state, served, lived)
            yield plan, served
            if demand.leaves_some(at + k, asked, happened):
                for later in range(k + 1, count):
                    result.failed.pop(asked.start - k + later, None)
                return

    def _expected(self, demand: Demand, ahead: slice, backlog: Backlog | None) -> Outlook:
        """A window as it is expected just before it."""
        if self.forecast is None:
            return self.planner.outlook(demand.asked(ahead, backlog))
        start = demand.recorded.start
        expected = believed(self.forecast, self.grid.case, start + ahead.start, start + ahead.stop)
        return self.planner.outlook(expected)

    def _carried_out(self, result: ShardResult, plan: Allocation, interval: Requests, notes: Notes) -> Allocation:
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
