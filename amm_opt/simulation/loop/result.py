"""What a block of intervals comes to, and what is noted on the way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.errors import SolveError
from amm_opt.market import State
from amm_opt.program import Audit, Solution
from amm_opt.simulation.loop.waiting import Backlog
from amm_opt.simulation.results.reasons import most_common
from amm_opt.simulation.results.totals import Totals
from amm_opt.tolerances import EXACT_GAP


@dataclass
class Notes:
    """What happened on the way to one allocation: solutions found, and the intervals in which it was cut back."""

    solved: list[Solution] = field(default_factory=list)
    repaired: list[int] = field(default_factory=list)


@dataclass
class BlockResult:
    """What one block of intervals, or several, came to, but for its allocations.

    Attributes:
        label: of the mechanism, for messages.
        state: of the mechanism, after the last interval.
        held: a copy of what the mechanism remembered, which is restored later (``measurement``).
        backlog: what still waits at the end, where energy can wait; ``departed`` left without all of its energy.
        failed: the reason by interval; ``fallback`` of those solved at a second try what failed before.
        repaired: the intervals whose allocation was cut back.
        gap: on a conic network model the largest relaxation gap of each branch; ``inexact`` are the intervals with one
            above EXACT_GAP.
        used: how often each solver solved.
        attempted: number of intervals that had to be solved.
        patience: the run is given up where all of so many intervals at its beginning fail; 0 in later blocks.
    """

    label: str
    state: State
    totals: Totals
    backlog: Backlog | None = None
    departed: list[Backlog] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    fallback: dict[int, str] = field(default_factory=dict)
    repaired: list[int] = field(default_factory=list)
    inexact: list[int] = field(default_factory=list)
    gap: FloatArray | None = None
    used: dict[str, int] = field(default_factory=dict)
    audit: Audit | None = None
    attempted: int = 0
    patience: int = 0
    held: State | None = None

    def solver_used(self) -> str:
        """The solvers that really solved, most used first, or a dash where nothing had to be solved."""
        ordered = sorted((s for s in self.used if s != "-"), key=self.used.__getitem__, reverse=True)
        return "+".join(ordered).lower() or "-"

    def record(self, notes: Notes, start: int) -> None:
        """Note which solvers solved interval ``start``, their largest residuals and gaps, and what was cut back."""
        if not notes.solved and not notes.repaired:
            return
        self.repaired += notes.repaired
        for solution in notes.solved:
            self.used[solution.solver] = self.used.get(solution.solver, 0) + 1
            if solution.audit is not None:
                self.audit = solution.audit.worst(self.audit)
            self._widen(solution.gap)
        if any(s.gap is not None and s.gap.max() > EXACT_GAP for s in notes.solved):
            self.inexact.append(start)
        if reasons := [s.fallback for s in notes.solved if s.fallback]:
            before = [self.fallback[start]] if start in self.fallback else []
            self.fallback[start] = "; ".join(dict.fromkeys([*before, *reasons]))

    def fail(self, starts: Iterable[int], reason: str) -> None:
        """Mark intervals in which nobody is served.

        Raises:
            SolveError: with the reason that was given most often, where all intervals at the beginning of a run that
                had to be solved failed.
        """
        for start in starts:
            self.failed[start] = reason
            self.fallback.pop(start, None)
        self.give_up(self.patience)

    def give_up(self, patience: int) -> None:
        """End a run that leads nowhere.

        Raises:
            SolveError: where as many intervals as that had to be solved, all that there are, and all failed.
        """
        if patience and self.attempted >= patience and len(self.failed) >= self.attempted:
            raise SolveError(
                f"{self.label}: the run was stopped, because none of the first {self.attempted} intervals that had to"
                f" be solved has a solution: {most_common(self.failed.values())}"
            )

    def _widen(self, gap: FloatArray | None) -> None:
        """Take the larger of two gaps at every branch."""
        if gap is not None:
            self.gap = gap if self.gap is None else np.maximum(self.gap, gap)

    def merge(self, later: BlockResult) -> None:
        """Add the totals of later intervals."""
        self.state, self.backlog, self.held = later.state, later.backlog, later.held
        self.departed.extend(later.departed)
        self.totals.merge(later.totals)
        self.failed.update(later.failed)
        self.fallback.update(later.fallback)
        self.repaired.extend(later.repaired)
        self.inexact.extend(later.inexact)
        self.attempted += later.attempted
        self._widen(later.gap)
        for solver, count in later.used.items():
            self.used[solver] = self.used.get(solver, 0) + count
        if later.audit is not None:
            self.audit = later.audit.worst(self.audit)
