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
BOX = 1e6
"""Variables of a program that only the network bounds start inside plus or minus this."""


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
    inside, boxed = Movable.of(numbers), False
    for round_number in range(MAX_ROUNDS):
        problem = presolve(reduced(inside, *network.in_use(), time_limit_s))
        try:
            point = backends.solve(problem, solver, network.start(), watch)
        except NoAnswerError as error:
            if boxed or error.status == INFEASIBLE or limited(numbers):
                raise
            inside, boxed = Movable.of(in_box(numbers)), True
            continue
        network.solved(point)
        if not network.add_violated(point.v, round_number):
            if boxed and at_box(point.v):
                raise NoAnswerError("the program is unbounded", UNBOUNDED)
            return point
    raise NoAnswerError(f"network rows still violated after {MAX_ROUNDS} rounds")


def audited(numbers: Numbers, network: LazyRows, point: Point) -> Audit:
    """The audit of an answer.

    Raises:
        NoAnswerError: where it does not pass.
    """
    rows, lower, upper = network.in_use()
    checked = audit(numbers, point.v, point.row_dual, rows, lower, upper, point.network_dual)
    if not checked.passed:
        raise NoAnswerError(f"the audit failed: {checked}")
    return checked


def limited(numbers: Numbers) -> bool:
    """Whether every variable has two bounds."""
    return bool(np.all(np.isfinite(numbers.lower)) and np.all(np.isfinite(numbers.upper)))


def in_box(numbers: Numbers) -> Numbers:
    """The same within plus or minus BOX: network rows that are not in use yet may be all that bounds a program."""
    return replace(numbers, lower=np.maximum(numbers.lower, -BOX), upper=np.minimum(numbers.upper, BOX))


def at_box(v: FloatArray) -> bool:
    """Whether a solution inside the box is at its end: nothing but the box bounds the program."""
    return bool(np.any(np.abs(v) >= BOX * (1 - 1e-6)))
