"""Rolling: plan a horizon on a forecast, carry out its first intervals as they really are, go on.

What is planned is a cap on what happens: a participant gets the smaller of its plan and its real request. Where the
real interval does not host that, it is cut back to the closest allocation that is hosted, never enlarged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from amm_opt.cases import Requests
from amm_opt.errors import InputError, SolveError
from amm_opt.grid import Grid
from amm_opt.market import Allocation, Mechanism
from amm_opt.market.state import requested
from amm_opt.program import HorizonProgram, Solution
from amm_opt.simulation.forecast import Forecast, believed, intervals
from amm_opt.simulation.loop.job import AnyProgram, Job, Part
from amm_opt.simulation.loop.waiting import Sessions
from amm_opt.simulation.results.store import Block
from amm_opt.solve.backends.known import SolverOrder

CHECKED = 96
"""Intervals of a plan that are checked together."""


@dataclass(frozen=True)
class Roll:
    """How a run rolls: intervals looked at together, intervals carried out of them, end of the run, and forecast.

    ``forecast`` is None where everything is known beforehand.
    """

    horizon: int
    commit: int
    stop: int
    forecast: Forecast | None

    @classmethod
    def of(cls, mechanism: Any, dt_h: float, first: int, stop: int, forecast: Forecast | None) -> Roll:
        """From a mechanism's ``horizon`` and ``commit``.

        Raises:
            InputError: where they are no numbers of intervals, or the horizon is shorter than what is committed.
        """
        horizon = intervals(mechanism.horizon, dt_h, stop - first, f"{mechanism}: horizon")
        commit = intervals(mechanism.commit, dt_h, stop - first, f"{mechanism}: commit")
        if commit > horizon:
            raise InputError(f"{mechanism}: horizon = {horizon} intervals is shorter than commit = {commit}")
        return cls(horizon, commit, stop, forecast)


def _waits(asked: Requests, firm: Requests, happened: Allocation) -> bool:
    """Whether an interval leaves sessions without energy that they asked for."""
    got = np.maximum(happened.import_kw, firm.import_request_kw)
    return bool(np.any(requested(asked.import_request_kw - got)))


class RollingJob(Job):
    """A job whose mechanism looks ahead, or plans on a forecast."""

    def __init__(
        self,
        grid: Grid,
        mechanism: Mechanism[Any],
        programs: Mapping[str, AnyProgram],
        solvers: SolverOrder,
        roll: Roll,
        sessions: Sessions | None = None,
    ) -> None:
        super().__init__(grid, mechanism, programs, solvers, sessions=sessions)
        self._roll = roll
        self._horizon = any(isinstance(p, HorizonProgram) for p in programs.values())
        self._repairs = roll.forecast is not None and mechanism.enforces_limits

    def run_span(self, part: Part, start: int, stop: int, length: int, done: Callable[[Block], None]) -> None:
        """Intervals ``start .. stop - 1``; ``start`` begins a window."""
        commit = self._roll.commit
        together = commit * max(1, length // commit)
        for first in range(start, stop, together):
            self._run_windows(part, first, min(first + together, stop), length, done)

    def _run_windows(self, part: Part, first: int, stop: int, length: int, done: Callable[[Block], None]) -> None:
        """The windows that start in ``first .. stop - 1``."""
        case, roll = self.grid.case, self._roll
        last = min(stop + roll.horizon - roll.commit, roll.stop)
        actual = firm = case.requests(first, last, waits=self.sessions is not None)
        if self.sessions is not None:
            firm = self.sessions.firm(actual)
        elif roll.forecast is None:
            self.grid.scarce(actual)
        happened: list[Allocation] = []
        planned: list[Allocation] = []
        now = first
        while now < stop:
            requests = now - (now - first) % roll.commit
            ahead = slice(now - first, min(requests + roll.horizon, roll.stop) - first)
            count = min(requests + roll.commit, stop) - now
            for plan, served in self._run_window(part, self.grid.select(actual, ahead), firm.select(ahead), count):
                planned.append(plan)
                happened.append(served)
                now += 1
        whole, hoped = Allocation.stacked(happened), Allocation.stacked(planned)
        for a in range(0, stop - first, length):
            piece = slice(a, min(a + length, stop - first))
            known, block = actual.select(piece), whole.select(piece)
            part.metrics.add(self.grid, known, block)
            done(Block.of(case, known, block, None if roll.forecast is None else hoped.select(piece)))

    def _run_window(
        self, part: Part, actual: Requests, firm: Requests, count: int
    ) -> Iterator[tuple[Allocation, Allocation]]:
        """Plan a window and carry out its first ``count`` intervals: what was planned and what happened in each.

        Where energy can wait, it ends after an interval that leaves some waiting: the rest is to be planned again.
        """
        asked = requests = actual
        if self.sessions is not None and part.backlog is not None:
            asked = requests = self.sessions.asked(part.backlog, firm)
        elif self._roll.forecast is not None:
            stop = actual.start + actual.n_steps
            requests = believed(self._roll.forecast, self.grid.case, actual.start, stop)
        for k, plan in enumerate(self._plan(part, requests, count)):
            interval, alone = asked.interval(k), firm.interval(k)
            happened = self._carried_out(part, plan, interval)
            lived, mean = self.carry_over(part, interval, alone, happened)
            part.state = self.mechanism.advance(part.state, mean, lived)
            yield plan, mean
            if self.sessions is not None and _waits(interval, alone, happened):
                for later in range(k + 1, count):
                    part.failed.pop(requests.start + later, None)
                return

    def _plan(self, part: Part, requests: Requests, count: int) -> list[Allocation]:
        """The plan of a window's first intervals; nothing where it fails, which is marked."""
        if not self._horizon:
            return self._plan_intervals(part, requests, count)
        part.attempted += count
        try:
            plan = self._whole_plan(part, requests)
        except SolveError as error:
            part.failed.update(dict.fromkeys(range(requests.start, requests.start + count), str(error)))
            self.stop_if_hopeless(part)
            nothing = np.zeros(self.grid.n)
            return [Allocation(nothing, nothing)] * count
        return [plan.select(k) for k in range(count)]

    def _plan_intervals(self, part: Part, requests: Requests, count: int) -> list[Allocation]:
        if not self.clears:
            return [self.mechanism.full_service(self.grid, requests.interval(k)) for k in range(count)]
        hosted = self.fully_hosted(requests)
        return [
            self.mechanism.full_service(self.grid, interval) if hosted[k] else self.run_interval(part, interval)
            for k, interval in enumerate(self.grid.intervals(requests, range(count)))
        ]

    def _whole_plan(self, part: Part, requests: Requests) -> Allocation:
        if self.fully_hosted(requests).all():
            return self.mechanism.full_service(self.grid, requests)
        solved: list[Solution] = []

        def solve_program(values: Mapping[str, Any], name: str = "", of: Requests | None = None) -> Solution:
            solution = self.programs[name].solve(values, of or requests)
            solved.append(solution)
            return solution

        cleared = self.mechanism.clear(self.grid, solve_program, part.state, requests)
        allocation = self.mechanism.settle(self.grid, cleared, requests)
        pieces = [slice(a, a + CHECKED) for a in range(0, requests.n_steps, CHECKED)]
        checked = []
        for piece in pieces:
            part_of = requests.select(piece)
            settled = self.inside(allocation.select(piece), part_of)
            checked.append(self.audited(part, settled, part_of, self.grid.limits(part_of)))
        self.record(part, solved, requests.start)
        return Allocation.joined(checked)

    def _carried_out(self, part: Part, plan: Allocation, interval: Requests) -> Allocation:
        """What happens in an interval for which this was planned."""
        happened = plan
        if self._roll.forecast is not None:
            happened = self.mechanism.carry_out(self.grid, plan, interval)
        if self._repairs:
            try:
                happened, cut = self.repair(happened, interval)
                part.repaired += [interval.start] if cut else []
                self.record(part, [cut] if cut else [], interval.start)
            except SolveError as error:
                part.failed[interval.start] = str(error)
                nothing = np.zeros(self.grid.n)
                happened = Allocation(nothing, nothing)
        return happened
