"""Of the optima of a window the most even one, whichever of them a solver found.

Let v be an optimum of a program with linear rows, y the multipliers of its rows and d = P v + q - rows' y those of its
bounds. Every other optimum keeps the same multipliers' conditions (complementary slackness), and so the optima are what
is feasible and has

    variables with d != 0 where they are in v, at the bound that d points to,
    rows with y != 0 where they are in v, at the limit that y points to,
    variables with a square in the objective (P diagonal) as in v,

a polyhedron that is the same for all v and y (O. L. Mangasarian, "A simple characterization of solution sets of convex
programs", Operations Research Letters 7(1), 1988, doi 10.1016/0167-6377(88)90047-8). The least sum of w v^2 on it with
w > 0 is one point in these variables. It does not depend on which optimum was found, nor on the order of variables, and
treats alike who is alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.program import Audit
from amm_opt.solve.answer import NoAnswerError
from amm_opt.solve.backends.dispatch import Backends
from amm_opt.solve.backends.known import Choice
from amm_opt.solve.backends.reduced import Point, Reduced
from amm_opt.solve.compile import Numbers, Rows, stacked
from amm_opt.solve.route import Task
from amm_opt.solve.routes.lazy import LazyRows, audited, solve_with_lazy_rows
from amm_opt.solve.routes.window.alike import merged
from amm_opt.tolerances import REQUEST_TOLERANCE_KW

HELD = 1e-8
"""Moving what is held costs at least this per unit, relative to the largest cost; solvers' multipliers are off by a
tenth of it."""
ROOMS = (0.0, 1e-8, 1e-7)
"""Bounds and limits are wider than they are by the first of these shares of the bounds' width and of the unit that
gives an answer. Where what holds leaves others a single point, interior points need some room; where not, they are
three times as fast without."""


@dataclass(frozen=True, eq=False)
class Even:
    """The program of the most even optimum.

    Attributes:
        numbers: the program, without network rows that are not in use yet.
        unit: the largest bound of what is to be even, in which solvers count.
    """

    numbers: Numbers
    unit: float

    @classmethod
    def of(
        cls, numbers: Numbers, network: Rows, lower: FloatArray, upper: FloatArray, point: Point, at: IntArray
    ) -> Even:
        """Of the optima of a program the one with the least sum of v^2 / upper bound over the variables ``at``.

        What holds is held where ``point`` is, and no row is narrower than it is there. So there is an answer, though
        ``point`` was solved to a tolerance.

        Args:
            numbers: of a program that was solved, with squares of single variables only.
            network, lower, upper: network rows in use, and their limits.
            point: its optimum, with multipliers.
        """
        assert numbers.hessian is not None
        rows, dual = stacked(numbers.rows, network), np.append(point.row_dual, point.network_dual)
        least = HELD * max(1.0, float(np.max(np.abs(numbers.q), initial=0.0)))
        fixed = (np.abs(numbers.gradient(point.v) - dual @ rows) > least) | (numbers.hessian > 0)
        steepest = np.zeros(len(rows))
        np.maximum.at(steepest, rows.row, np.abs(rows.data))
        held, use = np.abs(dual) * steepest > least, rows @ point.v
        most = numbers.upper[at]
        some = np.isfinite(most) & (most > REQUEST_TOLERANCE_KW)
        weight = np.zeros_like(numbers.q)
        weight[at[some]] = 1.0 / most[some]
        even = Numbers(
            q=np.zeros_like(numbers.q),
            offset=0.0,
            hessian=weight,
            matrix=None,
            lower=np.where(fixed, point.v, numbers.lower),
            upper=np.where(fixed, point.v, numbers.upper),
            rows=rows,
            row_lower=np.where(held, use, np.minimum(np.append(numbers.row_lower, lower), use)),
            row_upper=np.where(held, use, np.maximum(np.append(numbers.row_upper, upper), use)),
        )
        return cls(even, unit_of(numbers, at))

    def solved(
        self, network: Callable[[], LazyRows], backends: Backends, solver: Choice, task: Task
    ) -> tuple[FloatArray, Audit]:
        """Its variables, and the audit of its answer.

        Args:
            network: makes the rows of the network, of which none is in use yet.

        Raises:
            NoAnswerError: where there is none.
        """
        failure = NoAnswerError("")
        for room in ROOMS:
            rows, how = network(), (task.time_limit_s, partial(in_unit, unit=self.unit, room=room), task.watch)
            try:
                point = solve_with_lazy_rows(self.numbers, rows, backends, solver, *how)
                checked = audited(self.numbers, rows, point, self.unit)
                return np.clip(point.v, self.numbers.lower, self.numbers.upper), checked
            except NoAnswerError as error:
                failure = error
        raise NoAnswerError(f"the most even of its optima was not found: {failure.reason}") from failure


def unit_of(numbers: Numbers, at: IntArray) -> float:
    """The largest upper bound of these variables."""
    most = numbers.upper[at]
    return float(np.max(most, initial=1.0, where=np.isfinite(most)))


def in_unit(problem: Reduced, unit: float, room: float = 0.0) -> Reduced:
    """Variables that are alike as one, in a unit, with some room."""
    return merged(problem).in_unit(unit, room)
