"""One attempt of one solver: whatever it does, there is an answer of the right form, or a reason for having none."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import cvxpy as cp
import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.errors import one_line
from amm_opt.io.output import native, unasked
from amm_opt.solve.backends.reduced import FAILED, INFEASIBLE, UNBOUNDED, Point, Reduced, failed

logger = logging.getLogger("amm_opt")

LONGEST = 200
"""A reason has at most so many characters."""
TIME_OPTIONS: Mapping[str, str] = {
    "CLARABEL": "time_limit",
    "HIGHS": "time_limit",
    "OSQP": "time_limit",
    "SCS": "time_limit_secs",
    "GUROBI": "TimeLimit",
    "COPT": "TimeLimit",
    "PDLP": "time_limit_sec",
    "GLOP": "time_limit_sec",
}
"""What cvxpy's solvers call a limit on their time; the others stop after a number of iterations alone."""
_STATUS = {
    cp.INFEASIBLE: INFEASIBLE,
    cp.INFEASIBLE_INACCURATE: INFEASIBLE,
    cp.UNBOUNDED: UNBOUNDED,
    cp.UNBOUNDED_INACCURATE: UNBOUNDED,
}


class Reason(str):
    """Why a program has no solution; ``status`` is ``infeasible`` or ``unbounded`` where that is proved."""

    status: str = FAILED

    @classmethod
    def of(cls, text: str, status: str = FAILED) -> Reason:
        """A reason with its status."""
        reason = cls(text)
        reason.status = status
        return reason


@contextmanager
def caught(problems: list[str]) -> Iterator[None]:
    """Put what is raised, but for an interrupt by the user, into ``problems``.

    Solvers in Rust panic with exceptions that are no ``Exception``, and some libraries leave by ``SystemExit``.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        problems.append(one_line(error, LONGEST))


def attempted(problem: Reduced, solver: str, solve: Callable[[], Any]) -> Point:
    """A solver's answer, labelled with who was called; anything but a complete and finite answer is a failure."""
    try:
        answer = solve()
        if not isinstance(answer, Point):
            return failed(f"it returned {type(answer).__name__} instead of a Point")
        if answer.problem or answer.status:
            return failed(str(answer.problem)[:LONGEST], _known(answer.status))
        return _complete(problem, answer, solver)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # panics of Rust libraries, and SystemExit, are no Exception
        return failed(one_line(error, LONGEST))


def _known(status: object) -> str:
    return status if isinstance(status, str) and status in (INFEASIBLE, UNBOUNDED) else FAILED


def _complete(problem: Reduced, point: Point, solver: str) -> Point:
    """The point with arrays of its own."""
    v, row_dual, network_dual = (np.array(a, dtype=float) for a in (point.v, point.row_dual, point.network_dual))
    for name, array, size in (
        ("v", v, len(problem.base)),
        ("row_dual", row_dual, problem.n_own),
        ("network_dual", network_dual, problem.n_network),
    ):
        if array.shape != (size,):
            return failed(f"its {name} has shape {array.shape}, not ({size},)")
        if not np.isfinite(array).all():
            return failed(f"its {name} has values that are not finite")
    return Point(v, row_dual, network_dual, solver)


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


def by_plugin(problem: Reduced, solver: Any, label: str, start: FloatArray) -> Point:
    """The answer of a user's own solver, which gets a copy of the problem.

    It cannot be stopped from outside: that it took longer than it may is only noted.
    """
    began = time.perf_counter()
    with native, undisturbed():
        point = attempted(problem, label, lambda: solver.solve(problem.sealed(), start.copy()))
    if (took := time.perf_counter() - began) > problem.time_limit_s:
        logger.warning("solver %s took %.1f s for one solve, its limit is %g s", label, took, problem.time_limit_s)
    return point


def by_cvxpy(
    model: cp.Problem, solver: str, settings: Mapping[str, Any], time_limit_s: float, inaccurate: bool = False
) -> Reason | None:
    """Let a solver of cvxpy's solve a problem; says why it has no solution where it has none.

    Args:
        inaccurate: whether answers are taken that the solver calls inaccurate.
    """
    problems: list[str] = []
    options = dict(settings)
    if np.isfinite(time_limit_s) and solver in TIME_OPTIONS:
        options[TIME_OPTIONS[solver]] = float(time_limit_s)
    with caught(problems), unasked(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.solve(solver=solver, **options)
    if problems:
        return Reason(problems[0])
    if model.status == cp.OPTIMAL or (inaccurate and model.status == cp.OPTIMAL_INACCURATE):
        return None
    return Reason.of(str(model.status).replace("_", " "), _STATUS.get(model.status, FAILED))
