"""A linear or quadratic program on a network model of boxes, without its cones: by tangents of its limits.

What a box makes of every limited quantity is convex (of lower limits: concave) in the box's corners. A tangent that is
added to the program cuts nothing feasible off, and the point where it touches is no longer thought better than it is:
Kelley's cutting planes (J. E. Kelley, "The cutting-plane method for solving convex programs", J. SIAM 8(4), 1960, doi
10.1137/0108053). Limits that are not near stay out (``lazy``); every answer is swept, and the last keeps all limits,
so that it is the optimum of the whole program. A few limits bind and their curvature, of losses, is small: mostly two
to five rounds. Where that does not come to an end, the cones are solved instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from amm_opt.arrays import FloatArray, largest_of_each
from amm_opt.grid import Grid
from amm_opt.network.models.conic import TangentModel
from amm_opt.program import Program, Solution
from amm_opt.solve.answer import NoAnswerError
from amm_opt.solve.backends.dispatch import Backends
from amm_opt.solve.backends.known import Choice
from amm_opt.solve.backends.reduced import Point
from amm_opt.solve.compile import CompiledProgram, Rows, stacked
from amm_opt.solve.route import Route, Task
from amm_opt.solve.routes.lazy import audited, solve_with_lazy_rows
from amm_opt.tolerances import ROW_SLACK, TANGENT_SLACK

PATIENCE, GROWTH = 3, 1.4
"""Rounds in which one tangent of each group is added, and how many times more every later round adds than the last."""
STALE_AFTER = 12
"""Solves without a multiplier after which a tangent leaves."""
SLOW, ROUNDS = 0.05, 3
"""Where the worst excess is still more than this share of that so many rounds ago, tangents end: with the answer where
no limit is broken by more than the slack of linear models' rows; else the cones are quicker. An objective that is
nearly flat where losses are curved, as of ``greedy_doe``, is met by tangents in hundreds of rounds."""
HALVINGS = 40
"""From a point without bounds, on the way to one that has."""


@dataclass(eq=False)
class Tangent:
    """Of a limit of injection j, in the corners: base + active @ p + reactive @ q; and what was known of it last.

    ``upper``: whether it is held against the upper limit. Against the other one it proves nothing.
    """

    j: int
    limit: int
    upper: bool
    base: float
    active: FloatArray
    reactive: FloatArray
    idle: int = 0
    dual: float = 0.0


@dataclass(eq=False)
class Kept:
    """What goes on from solve to solve."""

    tangents: list[Tangent] = field(default_factory=list)
    own_dual: FloatArray = field(default_factory=lambda: np.zeros(0))


class TangentRoute:
    """One program on one network model of boxes.

    Args:
        cones: makes the route that is taken where a solver is named, or tangents give no answer.
        default: the solver of every round; None for the one that suits.

    Raises:
        NotCompilableError: see ``CompiledProgram``.
    """

    needs = frozenset({"socp"})

    def __init__(self, program: Program, grid: Grid, cones: Callable[[], Route], default: Choice = None) -> None:
        self.reason = f"network model {grid.network.name} is conic"
        self.grid, self.compiled = grid, CompiledProgram(program, grid)
        self._make, self._default = cones, default
        self.kept, self._backends = Kept(), Backends()

    @cached_property
    def _cones(self) -> Route:
        return self._make()

    def reset(self) -> None:
        """Forget tangents and multipliers."""
        self.kept = Kept()
        self._backends.forget()
        if "_cones" in self.__dict__:
            self._cones.reset()

    def solve(self, solver: Choice, task: Task) -> Solution:
        """See ``Route``: a solver that is named gets the cones."""
        if solver is None:
            try:
                return self.by_tangents(task, self._default)
            except NoAnswerError:
                self.kept = Kept()
        return self._cones.solve(solver, task)

    def by_tangents(self, task: Task, solver: Choice = None) -> Solution:
        """The solution without the cones.

        Args:
            solver: of every round; None for the one that suits.

        Raises:
            NoAnswerError: where there is none.
        """
        theta = self.compiled.theta(task.values, task.requests).copy()
        numbers, rows = self.compiled.numbers(theta), _Rows(self, task, theta)
        point = solve_with_lazy_rows(numbers, rows, self._backends, solver, task.time_limit_s, watch=task.watch)
        checked = audited(numbers, rows, point)
        rows.age(point)
        values, duals = self.compiled.values(point.v, theta), self.compiled.duals(point.row_dual)
        gap = np.zeros(self.grid.case.feeder.n_buses)
        return Solution(values, duals, self.compiled.objective(numbers, point.v), point.solver, checked, gap=gap)


class _Rows:
    """Tangents in one solve, see ``LazyRows``."""

    def __init__(self, route: TangentRoute, task: Task, theta: FloatArray) -> None:
        self._route, self._task, self._theta = route, task, theta
        grid, self._kept = route.grid, route.kept
        assert isinstance(grid.network, TangentModel)
        self._network = grid.network
        self._room = TANGENT_SLACK * grid.network.quantities.tolerance
        powers = route.compiled.powers
        self._gains = [grid.placed_gains(*(power.gain.at(theta) for power in both)) for both in powers]
        self._base = [grid.injected(task.requests, *(power.base.vector(theta) for power in both)) for both in powers]
        self._idle = grid.injected(task.requests, 0.0, 0.0)
        self._rows, self._at_nothing = self._in_variables(self._kept.tangents)
        self._worst: list[float] = []

    def in_use(self) -> tuple[Rows, FloatArray, FloatArray]:
        index = np.array([t.limit for t in self._kept.tangents], dtype=np.intp)
        upper = np.array([t.upper for t in self._kept.tangents], dtype=bool)
        lower_limit = np.where(upper, -np.inf, self._task.lower[index] - self._at_nothing)
        return self._rows, lower_limit, np.where(upper, self._task.upper[index] - self._at_nothing, np.inf)

    def start(self) -> FloatArray:
        own = self._kept.own_dual if len(self._kept.own_dual) else np.zeros(self._route.compiled.n_rows)
        return np.concatenate([own, [t.dual for t in self._kept.tangents]])

    def solved(self, point: Point) -> None:
        self._kept.own_dual = point.row_dual
        for tangent, dual in zip(self._kept.tangents, point.network_dual.tolist(), strict=True):
            tangent.dual = dual

    def add_violated(self, v: FloatArray, round_number: int) -> bool:
        """Tangents of the most violated limits of each group, from the round ``PATIENCE`` on of more of them."""
        count = int(GROWTH ** max(0, round_number - PATIENCE))
        self._worst.append(0.0)
        new = [t for j in range(len(self._gains)) for t in self._violated(j, v, count)]
        if len(self._worst) > ROUNDS and self._worst[-1] > SLOW * self._worst[-1 - ROUNDS]:
            if self._worst[-1] <= ROW_SLACK:
                return False
            raise NoAnswerError("tangents come nearer too slowly")
        if new:
            rows, at_nothing = self._in_variables(new)
            self._kept.tangents += new
            self._rows = stacked(self._rows, rows)
            self._at_nothing = np.concatenate([self._at_nothing, at_nothing])
        return bool(new)

    def age(self, point: Point) -> None:
        """Tangents without a multiplier for long leave."""
        for tangent, dual in zip(self._kept.tangents, point.network_dual.tolist(), strict=True):
            tangent.idle = 0 if abs(dual) > 1e-9 else tangent.idle + 1
        self._kept.tangents = [t for t in self._kept.tangents if t.idle <= STALE_AFTER]

    def _in_variables(self, tangents: Sequence[Tangent]) -> tuple[Rows, FloatArray]:
        """Rows (K, N) and their values where all variables are zero."""
        rows = np.zeros((len(tangents), self._route.compiled.size))
        base = np.zeros(len(tangents))
        for j, ((gain_p, gain_q), (p, q)) in enumerate(zip(self._gains, self._base, strict=True)):
            mine = [i for i, t in enumerate(tangents) if t.j == j]
            if mine:
                active, reactive = (np.stack([getattr(tangents[i], of) for i in mine]) for of in ("active", "reactive"))
                rows[mine] = active @ gain_p + reactive @ gain_q
                base[mine] = [tangents[i].base for i in mine] + active @ p + reactive @ q
        return Rows.from_dense(rows), base

    def _violated(self, j: int, v: FloatArray, count: int) -> list[Tangent]:
        (gain_p, gain_q), (base_p, base_q) = self._gains[j], self._base[j]
        p, q, excess = self._with_bounds(base_p + gain_p @ v, base_q + gain_q @ v)
        self._worst[-1] = max(self._worst[-1], float(excess.max(initial=0.0)))
        violated = np.flatnonzero(excess > 0)
        if not len(violated):
            return []
        group = self._route.grid.limit_groups[violated]
        chosen = violated[largest_of_each(excess[violated], group, count)]
        found = self._network.tangents(p, q, chosen)
        base = found.value - found.active @ p - found.reactive @ q
        upper = found.value > self._task.upper[chosen]
        parts = zip(chosen.tolist(), upper.tolist(), base.tolist(), found.active, found.reactive, strict=True)
        return [Tangent(j, *part) for part in parts]

    def _with_bounds(self, p: FloatArray, q: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The corners and by how many tolerances they break each limit (0 where not by more than the slack).

        Where they have no bounds, corners on the way to those without any flexible power that have bounds and break
        a limit: limits are convex, so that their tangents there cut the first ones off.
        """
        if len(excess := self._excess(p, q)):
            return p, q, excess
        low, high, (p0, q0) = 0.0, 1.0, self._idle
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            p_now, q_now = p0 + middle * (p - p0), q0 + middle * (q - q0)
            excess = self._excess(p_now, q_now)
            if excess.any():
                return p_now, q_now, excess
            low, high = (middle, high) if len(excess) else (low, middle)
        raise NoAnswerError("bounds end before any limit")

    def _excess(self, p: FloatArray, q: FloatArray) -> FloatArray:
        """(m,), or nothing where there are no bounds."""
        u = self._network.evaluate(p, q)
        if np.isnan(u).any():
            return np.zeros(0)
        beyond = np.maximum(u - self._task.upper, self._task.lower - u)
        return np.asarray(np.where(beyond > self._room, beyond / self._network.quantities.tolerance, 0.0))
