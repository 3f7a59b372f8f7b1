"""Solving the small problems that the engine makes: directly where there is a short way, else through cvxpy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import cvxpy as cp
import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.solve.backends.attempt import attempted, by_cvxpy, by_plugin
from amm_opt.solve.backends.dual_newton import SeparableQP
from amm_opt.solve.backends.interior_point import solve_separable
from amm_opt.solve.backends.kept import Kept
from amm_opt.solve.backends.known import SETTINGS, Choice, label
from amm_opt.solve.backends.reduced import Point, Reduced, failed, infeasible
from amm_opt.solve.backends.water_filling import WATER_FILLING, solve_water_filling

LINEAR_START = 150
"""With more rows the linear program takes longer than the interior point."""

DUAL_NEWTON = "DUAL_NEWTON"


def solve_reduced(problem: Reduced, solver: Choice, start: FloatArray, kept: Kept) -> Point:
    """Solve by the given solver, or by what suits the problem: dual Newton (separable QP), HiGHS (LP), Clarabel.

    The answer is the solver's own, and labelled with its name.

    Args:
        start: multipliers of own and network rows to start from.
        kept: the solvers that are kept for this program.
    """
    if problem.contradiction:
        return infeasible(problem.contradiction)
    if len(problem.free) == 0:
        return problem.point(np.zeros(0), np.zeros(len(problem.row_lower)), "-")
    if solver is None:
        solver = DUAL_NEWTON if problem.separable else "HIGHS" if problem.hessian is None else "CLARABEL"
    if not isinstance(solver, str):
        return by_plugin(problem, solver, label(solver), start)
    point = attempted(problem, solver, partial(_solve, problem, solver, start, kept))
    if point.problem:
        kept.forget()
    return point


def _solve(problem: Reduced, solver: str, start: FloatArray, kept: Kept) -> Point:
    if solver == WATER_FILLING:
        return solve_water_filling(problem)
    if solver == DUAL_NEWTON:
        return solve_dual_newton(problem, start, kept)
    if solver == "CLARABEL":
        return kept.clarabel.solve_reduced(problem)
    return kept.highs.solve(problem) if solver == "HIGHS" else solve_cvxpy(problem, solver)


def solve_dual_newton(problem: Reduced, start: FloatArray, kept: Kept) -> Point:
    """Our own method for separable quadratic programs, from ``start`` or else from the linear program's multipliers."""
    if not problem.separable:
        return failed("the problem is not a separable quadratic program with few rows")
    assert isinstance(problem.hessian, np.ndarray)
    n_own = len(problem.own)
    warm = np.concatenate([start[:n_own], start[n_own:][problem.live]])
    limits = (problem.row_lower, problem.row_upper, problem.lower, problem.upper)
    separable = SeparableQP(problem.hessian, problem.q, problem.all_rows.handy(), *limits)

    def starts() -> Iterator[FloatArray]:
        yield warm
        if len(warm) <= LINEAR_START:
            linear = kept.highs.solve(replace(problem, hessian=None))
            if not linear.problem:
                yield np.concatenate([linear.row_dual, linear.network_dual[problem.live]])

    x, z, reason = solve_separable(separable, starts())
    return failed(reason) if reason else problem.point(x, z, DUAL_NEWTON)


def solve_cvxpy(problem: Reduced, solver: str) -> Point:
    """Any other solver."""
    x = cp.Variable(len(problem.free))
    objective = problem.q @ x
    if isinstance(problem.hessian, np.ndarray):
        objective += 0.5 * cp.sum_squares(cp.multiply(np.sqrt(problem.hessian), x))
    elif problem.hessian is not None:
        objective += 0.5 * cp.quad_form(x, problem.hessian, assume_PSD=True)
    equal, above, below = problem.sides
    ceiling, floor = np.isfinite(problem.upper), np.isfinite(problem.lower)
    rows = problem.rows
    limits = []
    if equal.any():
        limits.append((equal, -1.0, rows[equal] @ x == problem.row_upper[equal]))
    if above.any():
        limits.append((above, -1.0, rows[above] @ x <= problem.row_upper[above]))
    if below.any():
        limits.append((below, 1.0, rows[below] @ x >= problem.row_lower[below]))
    bounds = [x[ceiling] <= problem.upper[ceiling]] if ceiling.any() else []
    bounds += [x[floor] >= problem.lower[floor]] if floor.any() else []
    model = cp.Problem(cp.Minimize(objective), [*(c for _, _, c in limits), *bounds])
    reason = by_cvxpy(model, solver, SETTINGS.get(solver, {}), problem.time_limit_s)
    if reason is not None:
        return failed(reason, reason.status)
    dual = np.zeros(len(equal))
    for mask, sign, constraint in limits:
        if constraint.dual_value is None:
            return failed("it gives no multipliers, without which its answer cannot be checked")
        dual[mask] += sign * np.asarray(constraint.dual_value)
    return problem.point(x.value, dual, solver)
