"""Solving the small problems that the engine makes: directly where there is a short way, else through cvxpy."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property

import clarabel
import cvxpy as cp
import highspy
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from amm_opt.solve.dual_newton import SeparableQP, newton, solve_separable
from amm_opt.solve.leximin import fill
from amm_opt.solve.numbers import Numbers
from amm_opt.solve.rows import Rows, stacked
from amm_opt.solve.solvers import SETTINGS, Choice

FloatArray = NDArray[np.float64]

FIXED = 1e-12
"""A variable whose bounds are closer than this is taken out of the problem."""
HIGHS_QP_STEPS = 5000
"""HiGHS' active-set method for quadratic programs can cycle without end on degenerate ones."""
POLISH = 1e-2
"""How far from the optimum an answer may be, as a fraction of a variable's range, to be polished."""
QUICK_STEPS = 20
"""Newton steps from the last interval's multipliers before better ones are sought."""
FEW_ROWS = 20_000
"""The dual Newton method is meant for at most this many rows."""


@dataclass(frozen=True, eq=False)
class Point:
    """A solution: variables, multipliers of own rows and of network rows, or why there is none.

    Multipliers follow stationarity P v + q = rows' y + network' z + (bound multipliers).
    """

    v: FloatArray
    row_dual: FloatArray
    network_dual: FloatArray
    solver: str = ""
    problem: str = ""


def failed(reason: str) -> Point:
    """No solution."""
    nothing = np.zeros(0)
    return Point(nothing, nothing, nothing, problem=reason)


@dataclass(frozen=True, eq=False)
class Reduced:
    """The problem over the variables that are free to move."""

    free: NDArray[np.intp]
    base: FloatArray
    q: FloatArray
    hessian: FloatArray | sp.csc_array | None
    own: Rows
    network: Rows
    row_lower: FloatArray
    row_upper: FloatArray
    lower: FloatArray
    upper: FloatArray
    live: NDArray[np.intp]
    n_network: int

    @property
    def separable(self) -> bool:
        """Whether the dual Newton method applies: strictly convex in every variable, few rows."""
        strict = isinstance(self.hessian, np.ndarray) and bool(np.all(self.hessian > 0))
        return strict and len(self.row_lower) <= FEW_ROWS

    @property
    def rows(self) -> sp.csr_array:
        """All rows, sparse."""
        return self.all_rows.sparse()

    @cached_property
    def all_rows(self) -> Rows:
        """All rows, light."""
        return stacked(self.own, self.network)

    def point(self, x: FloatArray, dual: FloatArray, solver: str) -> Point:
        """Back to all variables and rows."""
        v = self.base.copy()
        v[self.free] = np.minimum(np.maximum(x, self.lower), self.upper)
        n_own = len(self.row_lower) - len(self.live)
        network_dual = np.zeros(self.n_network)
        network_dual[self.live] = dual[n_own:]
        return Point(v, dual[:n_own], network_dual, solver)


def reduced(numbers: Numbers, network: Rows, lower: FloatArray, upper: FloatArray) -> Reduced:
    """Take out fixed variables and empty rows; ``network`` holds the network rows (K, N), limits are (K,)."""
    moving = numbers.upper - numbers.lower > FIXED
    free = np.flatnonzero(moving)
    base = np.where(moving, 0.0, numbers.lower)
    inside, live = network.columns(free).filled()
    shift = np.concatenate([numbers.rows @ base, (network @ base)[live]]) if base.any() else 0.0
    hessian: FloatArray | sp.csc_array | None
    q = numbers.q
    if numbers.matrix is not None:
        q = q + numbers.matrix @ base
        hessian = sp.csc_array(numbers.matrix[free][:, free])
    else:
        assert numbers.hessian is not None
        hessian = numbers.hessian[free] if np.any(numbers.hessian[free]) else None
    return Reduced(
        free,
        base,
        q[free],
        hessian,
        numbers.rows.columns(free),
        inside,
        np.concatenate([numbers.row_lower, lower[live]]) - shift,
        np.concatenate([numbers.row_upper, upper[live]]) - shift,
        numbers.lower[free],
        numbers.upper[free],
        live,
        len(network),
    )


def solve_reduced(problem: Reduced, solver: Choice, start: FloatArray) -> Point:
    """Solve by the given solver, or by what suits the problem: dual Newton (separable QP), HiGHS (LP), Clarabel.

    Args:
        start: multipliers of own and network rows to start from.
    """
    if len(problem.free) == 0:
        return problem.point(np.zeros(0), np.zeros(len(problem.row_lower)), "-")
    if solver is None:
        solver = "DUAL_NEWTON" if problem.separable else "HIGHS" if problem.hessian is None else "CLARABEL"
    if solver == "WATER_FILLING":
        return solve_water_filling(problem)
    if solver == "DUAL_NEWTON":
        return solve_dual_newton(problem, start)
    if not isinstance(solver, str):
        point = solver.solve(problem, start)
    elif solver == "CLARABEL":
        point = solve_clarabel(problem)
    else:
        point = solve_highs(problem) if solver == "HIGHS" else solve_cvxpy(problem, solver)
    return polished(problem, point) if problem.separable and not point.problem else point


def solve_dual_newton(problem: Reduced, start: FloatArray) -> Point:
    """Our own method for separable quadratic programs, from ``start`` or else from the linear program's multipliers."""
    if not problem.separable:
        return failed("the problem is not a separable quadratic program with few rows")
    assert isinstance(problem.hessian, np.ndarray)
    n_own = len(problem.own)
    warm = np.concatenate([start[:n_own], start[n_own:][problem.live]])
    limits = (problem.row_lower, problem.row_upper, problem.lower, problem.upper)
    separable = SeparableQP(problem.hessian, problem.q, problem.all_rows.handy(), *limits)
    x, z, trouble = newton(separable, warm, QUICK_STEPS)
    if trouble:
        linear = solve_highs(replace(problem, hessian=None))
        if not linear.problem:
            warm = np.concatenate([linear.row_dual, linear.network_dual[problem.live]])
        x, z, trouble = solve_separable(separable, warm)
    return failed(trouble) if trouble else problem.point(x, z, "DUAL_NEWTON")


def solve_water_filling(problem: Reduced) -> Point:
    """Leximin of all variables of ``problem``, or why its limits do not allow this short way.

    Levels that press on no limit and relieve some are best at their upper bound, whatever the others are.
    """
    if len(problem.own):
        return failed("water filling takes no constraints but bounds")
    rows, limit = _one_sided(problem)
    relieving = ~(rows > 0).any(axis=0) & np.isfinite(problem.upper)
    limit = limit - rows[:, relieving] @ problem.upper[relieving]
    rows = np.where(relieving, 0.0, rows)
    if np.any((rows < 0).any(axis=1) & (rows > 0).any(axis=1)):
        return failed("a limit that some levels press on and others relieve")
    rows, limit = rows[(rows > 0).any(axis=1)], limit[(rows > 0).any(axis=1)]
    level = fill(rows, limit, problem.upper)
    if not np.all(np.isfinite(level)):
        return failed("a level has no limit")
    if np.any(level < problem.lower):
        return failed("a level has a lower bound that is not hosted")
    return problem.point(level, np.zeros(len(problem.row_lower)), "WATER_FILLING")


def _one_sided(problem: Reduced) -> tuple[FloatArray, FloatArray]:
    """Network rows as rows @ x <= limit, without those that hold wherever x is within its bounds."""
    above, below = np.isfinite(problem.row_upper), np.isfinite(problem.row_lower)
    network = problem.network.dense()
    rows = np.concatenate([network[above], -network[below]])
    limit = np.concatenate([problem.row_upper[above], -problem.row_lower[below]])
    bounded = np.isfinite(problem.lower) & np.isfinite(problem.upper)
    most = np.maximum(rows * np.where(bounded, problem.lower, 0.0), rows * np.where(bounded, problem.upper, 0.0))
    can_bind = (most.sum(axis=1) > limit) | (rows[:, ~bounded] != 0).any(axis=1)
    return rows[can_bind], limit[can_bind]


def polished(problem: Reduced, point: Point) -> Point:
    """A solver's answer to a separable program made exact by Newton steps on its own multipliers.

    An answer that is further from the optimum than POLISH of a variable's range is rejected, not repaired.
    """
    exact = solve_dual_newton(problem, np.concatenate([point.row_dual, point.network_dual]))
    if exact.problem:
        return point
    width = np.maximum(1.0, problem.upper - problem.lower)
    off = float(np.max(np.abs(exact.v - point.v)[problem.free] / width, initial=0.0))
    if off > POLISH:
        return failed(f"its answer is off the optimum by {off:.1e} of a variable's range")
    return replace(exact, solver=point.solver)


def _sides(problem: Reduced) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Which rows are equalities, have an upper and have a lower limit."""
    equal = problem.row_lower == problem.row_upper
    return equal, np.isfinite(problem.row_upper) & ~equal, np.isfinite(problem.row_lower) & ~equal


def solve_clarabel(problem: Reduced) -> Point:
    """Interior point, linear or quadratic."""
    n = len(problem.free)
    if problem.hessian is None:
        p = sp.csc_matrix((n, n))
    elif isinstance(problem.hessian, np.ndarray):
        p = sp.csc_matrix(sp.diags_array(problem.hessian))
    else:
        p = sp.csc_matrix(sp.triu(problem.hessian))
    equal, above, below = _sides(problem)
    ceiling, floor = np.isfinite(problem.upper), np.isfinite(problem.lower)
    eye, rows = sp.eye_array(n, format="csr"), problem.rows
    a = sp.vstack([rows[equal], rows[above], -rows[below], eye[ceiling], -eye[floor]], format="csc")
    limits = (problem.row_upper[equal], problem.row_upper[above], -problem.row_lower[below])
    b = np.concatenate([*limits, problem.upper[ceiling], -problem.lower[floor]])
    cones = [clarabel.ZeroConeT(int(equal.sum())), clarabel.NonnegativeConeT(len(b) - int(equal.sum()))]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_threads = 1
    for name, value in SETTINGS["CLARABEL"].items():
        setattr(settings, name, value)
    solution = clarabel.DefaultSolver(p, problem.q, sp.csc_matrix(a), b, cones, settings).solve()
    if solution.status != clarabel.SolverStatus.Solved:
        return failed(str(solution.status))
    cuts = np.cumsum([len(part) for part in limits])
    on_equal, on_above, on_below, _ = np.split(np.array(solution.z), cuts)
    dual = np.zeros(len(equal))
    dual[equal] = -on_equal
    dual[above] -= on_above
    dual[below] += on_below
    return problem.point(np.array(solution.x), dual, "CLARABEL")


def solve_highs(problem: Reduced) -> Point:
    """Simplex for linear, active set for separable quadratic problems."""
    n, rows = len(problem.free), problem.all_rows
    if problem.hessian is not None and not isinstance(problem.hessian, np.ndarray):
        return failed("only separable quadratic objectives")
    solver = highspy.Highs()
    options = {"output_flag": False, "threads": 1, **SETTINGS["HIGHS"]}
    if len(problem.own) == 0 and problem.hessian is None:
        options["presolve"] = "off"
    curved = np.zeros(0) if problem.hessian is None else problem.hessian
    if len(curved):
        options["qp_iteration_limit"] = HIGHS_QP_STEPS
    for name, value in options.items():
        solver.setOptionValue(name, value)
    diagonal = np.arange(n + 1, dtype=np.int32)
    solver.passModel(
        *(n, len(rows), len(rows.data), len(curved)),
        *(int(highspy.MatrixFormat.kRowwise), int(highspy.HessianFormat.kTriangular), int(highspy.ObjSense.kMinimize)),
        *(0.0, problem.q, problem.lower, problem.upper, problem.row_lower, problem.row_upper),
        *(rows.start.astype(np.int32), rows.col.astype(np.int32), rows.data),
        *(diagonal[:-1], diagonal[:-1], curved, np.zeros(n, dtype=np.int32)),
    )
    solver.run()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return failed(solver.modelStatusToString(solver.getModelStatus()))
    solution = solver.getSolution()
    return problem.point(np.array(solution.col_value), np.array(solution.row_dual), "HIGHS")


def solve_cvxpy(problem: Reduced, solver: str) -> Point:
    """Any other solver."""
    x = cp.Variable(len(problem.free))
    objective = problem.q @ x
    if isinstance(problem.hessian, np.ndarray):
        objective += 0.5 * cp.sum_squares(cp.multiply(np.sqrt(problem.hessian), x))
    elif problem.hessian is not None:
        objective += 0.5 * cp.quad_form(x, problem.hessian, assume_PSD=True)
    equal, above, below = _sides(problem)
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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            model.solve(solver=solver, **SETTINGS.get(solver, {}))
    except (cp.error.SolverError, ValueError) as error:
        return failed(str(error))
    if model.status != cp.OPTIMAL:
        return failed(str(model.status))
    dual = np.zeros(len(equal))
    for mask, sign, constraint in limits:
        dual[mask] += sign * np.asarray(constraint.dual_value)
    return problem.point(np.asarray(x.value), dual, solver)
