"""The backends of one program, by name. Whatever one does, there is an answer of the right form or a reason."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.io.output import native
from amm_opt.solve.answer import FAILED, INFEASIBLE, LONGEST, UNBOUNDED, NoAnswerError, no_answer_from_errors
from amm_opt.solve.backends.by_cvxpy import CvxpyBackend
from amm_opt.solve.backends.interior_point import DualNewtonBackend
from amm_opt.solve.backends.kept import ClarabelBackend, HighsBackend
from amm_opt.solve.backends.known import Choice, label
from amm_opt.solve.backends.reduced import Backend, Point, Reduced
from amm_opt.solve.backends.water_filling import WaterFillingBackend
from amm_opt.solve.watch import Watch

logger = logging.getLogger("amm_opt")

BUILT_IN: Mapping[str, Callable[[], Backend]] = {
    backend.name: backend for backend in (DualNewtonBackend, WaterFillingBackend, HighsBackend, ClarabelBackend)
}
"""Those that take a problem as it is; every other name is a solver of cvxpy's."""


def by_form(problem: Reduced) -> str:
    """Who suits the problem: dual Newton (separable QP), HiGHS (LP) or Clarabel."""
    if problem.separable:
        return DualNewtonBackend.name
    return HighsBackend.name if problem.hessian is None else ClarabelBackend.name


class Backends:
    """The backends of one program. What they keep from solve to solve is lost when one of them fails."""

    def __init__(self) -> None:
        self._made: dict[str, Backend] = {}

    def forget(self) -> None:
        """What follows depends on nothing solved before."""
        self._made.clear()

    def solve(self, problem: Reduced, solver: Choice, start: FloatArray, watch: Watch | None = None) -> Point:
        """The solver's own answer, labelled with its name; None stands for who suits the problem.

        Args:
            start: multipliers of own and network rows to start from.
            watch: is told how long it took, and what came of it.

        Raises:
            NoAnswerError: where there is no answer, or none that is complete and finite.
        """
        if watch is None:
            return self._answer(problem, solver, start)
        began, point = time.perf_counter(), None
        try:
            point = self._answer(problem, solver, start)
        finally:
            watch.called(problem, solver, point, time.perf_counter() - began)
        return point

    def _answer(self, problem: Reduced, solver: Choice, start: FloatArray) -> Point:
        if problem.contradiction:
            raise NoAnswerError(problem.contradiction, INFEASIBLE)
        if len(problem.q) == 0:
            return replace(problem.point(np.zeros(0), np.zeros(len(problem.row_lower))), solver="-")
        if solver is not None and not isinstance(solver, str):
            return _by_stranger(problem, solver, start)
        name = solver or by_form(problem)
        if name not in self._made:
            self._made[name] = BUILT_IN[name]() if name in BUILT_IN else CvxpyBackend(name)
        try:
            return _attempt(self._made[name], name, problem, start)
        except NoAnswerError:
            self.forget()
            raise


def _attempt(backend: Backend, name: str, problem: Reduced, start: FloatArray) -> Point:
    with no_answer_from_errors():
        answer = backend.solve(problem, start)
        if not isinstance(answer, Point):
            raise NoAnswerError(f"it returned {type(answer).__name__} instead of a Point")
        if answer.problem or answer.status:
            proved = isinstance(answer.status, str) and answer.status in (INFEASIBLE, UNBOUNDED)
            raise NoAnswerError(str(answer.problem)[:LONGEST], answer.status if proved else FAILED)
        return _complete(problem, answer, name)


def _complete(problem: Reduced, point: Point, solver: str) -> Point:
    """The point with arrays of its own."""
    v, row_dual, network_dual = (np.array(a, dtype=float) for a in (point.v, point.row_dual, point.network_dual))
    for name, array, size in (
        ("v", v, len(problem.base)),
        ("row_dual", row_dual, problem.n_own),
        ("network_dual", network_dual, problem.n_network),
    ):
        if array.shape != (size,):
            raise NoAnswerError(f"its {name} has shape {array.shape}, not ({size},)")
        if not np.isfinite(array).all():
            raise NoAnswerError(f"its {name} has values that are not finite")
    return Point(v, row_dual, network_dual, solver, x=point.x, steps=point.steps)


def _by_stranger(problem: Reduced, backend: Backend, start: FloatArray) -> Point:
    """The answer of a user's own solver, which gets a copy of the problem.

    It cannot be stopped from outside: that it took longer than it may is only noted.
    """
    began, name = time.perf_counter(), label(backend)
    try:
        with native, undisturbed():
            return _attempt(backend, name, problem.sealed(), start.copy())
    finally:
        if (took := time.perf_counter() - began) > problem.time_limit_s:
            logger.warning("solver %s took %.1f s for one solve, its limit is %g s", name, took, problem.time_limit_s)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Numpy's error handling, the filters of warnings and the working directory are afterwards as they were before."""
    here = os.getcwd()
    try:
        with np.errstate(), warnings.catch_warnings():
            yield
    finally:
        if os.getcwd() != here:
            os.chdir(here)
