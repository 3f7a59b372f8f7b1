"""Solving a compiled program with only those network rows that matter, for one interval or many.

A linear network has thousands of limits and a few dozen that bind. The program is solved with the rows seen so far, a
vectorised sweep checks every limit, and violated rows are added until there are none. The answer satisfies every row,
so it is the optimum of the full problem.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.program import Audit
from amm_opt.solve.answer import INFEASIBLE, UNBOUNDED, NoAnswerError
from amm_opt.solve.audit import audit
from amm_opt.solve.backends.dispatch import Backends
from amm_opt.solve.backends.known import Choice
from amm_opt.solve.backends.reduced import Movable, Point, Reduced, reduced
from amm_opt.solve.compile import Numbers, Rows
from amm_opt.solve.watch import Watch

MAX_ROUNDS = 60
BOX, BEYOND = 1e6, 10.0
"""Variables of a program that only the network bounds start inside plus or minus this, or so many times the largest of
its own limits where that is more: of a system of gigawatts it is."""


class LazyRows(Protocol):
    """The network rows of one interval or window: those in use, and how others are found."""

    def in_use(self) -> tuple[Rows, FloatArray, FloatArray]:
        """Rows in use (K, N) and their limits (K,)."""

    def start(self) -> FloatArray:
        """Multipliers to start from, of the program's own rows and of those in use."""

    def solved(self, point: Point) -> None:
        """Take note of a round's answer."""

    def add_violated(self, v: FloatArray, round_number: int) -> bool:
        """Put rows into use that the variables ``v`` violate; whether there were any.

        Raises:
            NoAnswerError: where a row in use is violated.
        """


def solve_with_lazy_rows(
    numbers: Numbers,
    network: LazyRows,
    backends: Backends,
    solver: Choice,
    time_limit_s: float,
    presolve: Callable[[Reduced], Reduced] = lambda problem: problem,
    watch: Watch | None = None,
) -> Point:
    """The optimum of ``numbers`` subject to every network row; not audited.

    Args:
        presolve: makes the problem of every round smaller.
        watch: is told of every call of a solver.

    Raises:
        NoAnswerError: where there is none.
    """
    inside, reach = Movable.of(numbers), 0.0
    for round_number in range(MAX_ROUNDS):
        problem = presolve(reduced(inside, *network.in_use(), time_limit_s))
        try:
            point = backends.solve(problem, solver, network.start(), watch)
        except NoAnswerError as error:
            if reach or error.status == INFEASIBLE or limited(numbers):
                raise
            reach = box(numbers)
            inside = Movable.of(in_box(numbers, reach))
            continue
        network.solved(point)
        if not network.add_violated(point.v, round_number):
            if reach and at_box(point.v, reach):
                raise NoAnswerError("the program is unbounded", UNBOUNDED)
            return point
    raise NoAnswerError(f"network rows still violated after {MAX_ROUNDS} rounds")


def audited(numbers: Numbers, network: LazyRows, point: Point, unit: float = 1.0) -> Audit:
    """The audit of an answer, in the unit in which it was solved.

    Raises:
        NoAnswerError: where it does not pass.
    """
    rows, lower, upper = network.in_use()
    if unit != 1.0:
        numbers, lower, upper = _counted(numbers, unit), lower / unit, upper / unit
    checked = audit(numbers, point.v / unit, point.row_dual, rows, lower, upper, point.network_dual)
    if not checked.passed:
        raise NoAnswerError(f"the audit failed: {checked}")
    return checked


def _counted(numbers: Numbers, unit: float) -> Numbers:
    """The same in a unit, the objective over it."""
    return replace(
        numbers,
        offset=numbers.offset / unit,
        hessian=None if numbers.hessian is None else numbers.hessian * unit,
        matrix=None if numbers.matrix is None else numbers.matrix * unit,
        lower=numbers.lower / unit,
        upper=numbers.upper / unit,
        row_lower=numbers.row_lower / unit,
        row_upper=numbers.row_upper / unit,
    )


def limited(numbers: Numbers) -> bool:
    """Whether every variable has two bounds."""
    return bool(np.all(np.isfinite(numbers.lower)) and np.all(np.isfinite(numbers.upper)))


def box(numbers: Numbers) -> float:
    """How far from 0 a variable without bounds may go as long as no network row bounds it."""
    ends = np.concatenate([numbers.lower, numbers.upper, numbers.row_lower, numbers.row_upper])
    return max(BOX, BEYOND * float(np.max(np.abs(ends), initial=0.0, where=np.isfinite(ends))))


def in_box(numbers: Numbers, reach: float) -> Numbers:
    """The same within plus or minus ``reach``: network rows not in use yet may be all that bounds a program."""
    return replace(numbers, lower=np.maximum(numbers.lower, -reach), upper=np.minimum(numbers.upper, reach))


def at_box(v: FloatArray, reach: float) -> bool:
    """Whether a solution inside the box is at its end: nothing but the box bounds the program."""
    return bool(np.any(np.abs(v) >= reach * (1 - 1e-6)))
