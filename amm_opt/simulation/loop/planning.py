"""Planning: what is to be served, interval by interval or in windows that are planned together.

A plan is a cap on what happens: a participant gets the smaller of its plan and its real request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from amm_opt.cases import Requests
from amm_opt.errors import InputError, SolveError
from amm_opt.grid import Grid
from amm_opt.market import Allocation, Mechanism
from amm_opt.network import ACState
from amm_opt.simulation.forecast import intervals
from amm_opt.simulation.loop.guard import Guard, Limits
from amm_opt.simulation.loop.matching import Cleared, Matching
from amm_opt.simulation.loop.result import BlockResult, Notes


@dataclass(frozen=True)
class Windows:
    """How a run is planned: ``length`` intervals together, of which the first ``commit`` are carried out."""

    length: int
    commit: int

    @classmethod
    def of(cls, mechanism: Mechanism[Any], dt_h: float, steps: int) -> Windows:
        """From a mechanism's ``horizon`` and ``commit`` in a run of so many intervals.

        Raises:
            InputError: where they are no numbers of intervals, or the horizon is shorter than what is committed.
        """
        horizon = intervals(mechanism.horizon, dt_h, steps, f"{mechanism}: horizon")
        commit = intervals(mechanism.commit, dt_h, steps, f"{mechanism}: commit")
        if commit > horizon:
            raise InputError(f"{mechanism}: horizon = {horizon} intervals is shorter than commit = {commit}")
        return cls(horizon, commit)


class Outlook(Protocol):
    """Intervals as they are expected, of which windows are planned."""

    def interval(self, k: int) -> Requests:
        """Interval k, (n,) arrays."""

    def plan(self, result: BlockResult, ahead: slice, count: int) -> list[Allocation]:
        """The first ``count`` intervals of a window; nothing where it has no answer, which is marked."""


class Planner(Protocol):
    """Plans windows of one mechanism."""

    @property
    def secures(self) -> bool:
        """Whether plans keep every limit on AC already, where allocations are to be secured."""

    def outlook(self, requests: Requests) -> Outlook:
        """Look at intervals: sweeps say in which of them every request can be served."""


@dataclass(frozen=True, eq=False)
class IntervalPlanner:
    """Clears each interval by itself."""

    grid: Grid
    mechanism: Mechanism[Any]
    matching: Matching
    guard: Guard

    @property
    def secures(self) -> bool:
        """Where anything is cleared."""
        return self.matching.clears

    def outlook(self, requests: Requests) -> Outlook:
        """Full service proved for the whole block, and prepared what can be for the rest of it."""
        return _Intervals(self, requests)


class _Intervals:
    """Intervals that are cleared one by one."""

    def __init__(self, planner: IntervalPlanner, requests: Requests) -> None:
        self._by = planner
        self._full = np.ones(requests.n_steps, dtype=bool)
        self._inflexible: dict[int, ACState] = {}
        if not planner.matching.clears:
            self._intervals = [requests.interval(k) for k in range(requests.n_steps)]
            return
        self._intervals = list(planner.grid.intervals(requests))
        self._full = planner.mechanism.served_in_full(planner.grid, requests)
        if planner.guard.security is not None:
            self._full, self._inflexible = planner.guard.security.screened(requests, self._full)
        planner.matching.prepare(requests, np.flatnonzero(~self._full))

    def interval(self, k: int) -> Requests:
        return self._intervals[k]

    def plan(self, result: BlockResult, ahead: slice, count: int) -> list[Allocation]:
        return [self._planned(result, ahead.start + k) for k in range(count)]

    def _planned(self, result: BlockResult, k: int) -> Allocation:
        by, interval, notes = self._by, self._intervals[k], Notes()
        if self._full[k]:
            return by.mechanism.full_service(by.grid, interval)

        def clear(limits: Limits) -> Allocation:
            cleared: Cleared = by.matching.clear(interval, limits, result.state, notes)
            return by.mechanism.settle(by.grid, cleared, interval)

        result.attempted += 1
        try:
            allocation = by.guard.allocation(interval, clear, notes, self._inflexible.get(k))
        except SolveError as error:
            result.fail([interval.start], str(error))
            return nothing(by.grid.n)
        result.record(notes, interval.start)
        return allocation


@dataclass(frozen=True, eq=False)
class WindowPlanner:
    """Clears a window at once by programs over a horizon; on AC its intervals are secured when they are carried out."""

    grid: Grid
    mechanism: Mechanism[Any]
    matching: Matching
    guard: Guard
    secures: ClassVar[bool] = False

    def outlook(self, requests: Requests) -> Outlook:
        """Full service proved for all windows at once."""
        return _Ahead(self, requests)


@dataclass(frozen=True, eq=False)
class _Ahead:
    """Intervals that are cleared in windows."""

    by: WindowPlanner
    requests: Requests

    def __post_init__(self) -> None:
        self.by.grid.scarce(self.requests)

    def interval(self, k: int) -> Requests:
        return self.requests.interval(k)

    def plan(self, result: BlockResult, ahead: slice, count: int) -> list[Allocation]:
        window, notes = self.by.grid.select(self.requests, ahead), Notes()
        result.attempted += count
        try:
            plan = self._cleared(result, window, notes)
        except SolveError as error:
            result.fail(range(window.start, window.start + count), str(error))
            return [nothing(self.by.grid.n)] * count
        result.record(notes, window.start)
        return [plan.select(k) for k in range(count)]

    def _cleared(self, result: BlockResult, window: Requests, notes: Notes) -> Allocation:
        by = self.by
        if by.mechanism.full_service_optimal and not by.grid.scarce(window).any():
            return by.mechanism.full_service(by.grid, window)
        cleared = by.matching.clear(window, None, result.state, notes)
        return by.guard.plan(by.mechanism.settle(by.grid, cleared, window), window, notes)


def nothing(n: int) -> Allocation:
    """Nobody is served."""
    return Allocation(np.zeros(n), np.zeros(n))
