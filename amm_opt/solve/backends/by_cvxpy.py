"""Solvers that are called through cvxpy."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import FloatArray
from amm_opt.io.output import unasked
from amm_opt.solve.answer import NoAnswerError, no_answer_from_errors
from amm_opt.solve.backends.known import SETTINGS, status_of
from amm_opt.solve.backends.reduced import Point, Reduced, failed

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


class CvxpyBackend:
    """A solver of cvxpy's, by its name."""

    lp = qp = True

    def __init__(self, name: str) -> None:
        self.name = name

    def solve(self, problem: Reduced, start: FloatArray) -> Point:
        """See ``Backend``."""
        x, rows = cp.Variable(len(problem.q)), problem.one_sided
        matrix, rhs, count = sp.csr_array(rows.matrix), rows.rhs, rows.n_equal
        limits = [matrix[:count] @ x == rhs[:count]] if count else []
        limits += [matrix[count:] @ x <= rhs[count:]] if count < len(rhs) else []
        model = cp.Problem(cp.Minimize(_cost(problem, x)), limits)
        solve_by_cvxpy(model, self.name, SETTINGS.get(self.name, {}), problem.time_limit_s)
        if any(limit.dual_value is None for limit in limits):
            return failed("it gives no multipliers, without which its answer cannot be checked")
        multipliers = np.concatenate([np.zeros(0), *(limit.dual_value for limit in limits)])
        return problem.point(x.value, rows.row_dual(multipliers), model.solver_stats.num_iters)


def _cost(problem: Reduced, x: cp.Variable) -> cp.Expression:
    if isinstance(problem.hessian, np.ndarray):
        return problem.q @ x + 0.5 * cp.sum_squares(cp.multiply(np.sqrt(problem.hessian), x))
    if problem.hessian is not None:
        return problem.q @ x + 0.5 * cp.quad_form(x, problem.hessian, assume_PSD=True)
    return problem.q @ x


def solve_by_cvxpy(
    model: cp.Problem, solver: str, settings: Mapping[str, Any], time_limit_s: float, inaccurate: bool = False
) -> None:
    """Let a solver of cvxpy's solve a problem, whose variables and constraints then have values and multipliers.

    Args:
        inaccurate: whether answers are taken that the solver calls inaccurate.

    Raises:
        NoAnswerError: where it has no solution.
    """
    options = dict(settings)
    if np.isfinite(time_limit_s) and solver in TIME_OPTIONS:
        options[TIME_OPTIONS[solver]] = float(time_limit_s)
    with no_answer_from_errors(), unasked(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.solve(solver=solver, **options)
    taken = (cp.OPTIMAL, cp.OPTIMAL_INACCURATE) if inaccurate else (cp.OPTIMAL,)
    if model.status not in taken:
        raise NoAnswerError(str(model.status).replace("_", " "), status_of(model.status))
