"""Solvers that are kept from solve to solve: HiGHS for linear, Clarabel for quadratic and conic problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import clarabel
import highspy
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from amm_opt.arrays import BoolArray, FloatArray, IntArray
from amm_opt.io.output import native, silent
from amm_opt.solve.backends.known import SETTINGS
from amm_opt.solve.backends.reduced import FAILED, INFEASIBLE, UNBOUNDED, Point, Reduced, failed

Int32Array = NDArray[np.int32]

HIGHS_QP_STEPS = 5000
"""HiGHS' active-set method for quadratic programs can cycle without end on degenerate ones."""

REGULARISATIONS = (1e-8, 1e-10)
"""Clarabel's own, and a smaller one for what it almost solves: multipliers of 1e9 need it."""


_STATUS = {
    highspy.HighsModelStatus.kInfeasible: INFEASIBLE,
    highspy.HighsModelStatus.kUnbounded: UNBOUNDED,
    clarabel.SolverStatus.PrimalInfeasible: INFEASIBLE,
    clarabel.SolverStatus.AlmostPrimalInfeasible: INFEASIBLE,
    clarabel.SolverStatus.DualInfeasible: UNBOUNDED,
    clarabel.SolverStatus.AlmostDualInfeasible: UNBOUNDED,
}


def status_of(answer: Any) -> str:
    """What Clarabel has proved where it has no solution."""
    return _STATUS.get(answer.status, FAILED)


class Kept:
    """The two solvers of one program."""

    def __init__(self) -> None:
        self.highs, self.clarabel = KeptHighs(), KeptClarabel()

    def forget(self) -> None:
        """What follows depends on nothing solved before."""
        self.highs.forget()
        self.clarabel.forget()


class KeptHighs:
    """HiGHS: simplex for linear, active set for quadratic problems.

    While the rows of one linear problem only grow, as they do in the rounds of one interval, they are added to the
    model and dual simplex goes on from the last basis; should that come to no end, the problem is passed anew. Another
    interval's numbers are passed as a new model: its moving variables are others, and changing all variables in place
    takes longer.
    """

    def __init__(self) -> None:
        self._highs: highspy.Highs | None = None
        self._last: Reduced | None = None

    def forget(self) -> None:
        """Start the next solve from nothing."""
        self._highs = self._last = None

    @native
    def solve(self, problem: Reduced) -> Point:
        """The solution, or why there is none."""
        added = self._last is not None and _grown(self._last, problem)
        if added:
            self._add(problem)
        else:
            self._pass(problem)
        trouble = self._run(problem.time_limit_s)
        if trouble and added and trouble[1] == FAILED:
            self._pass(problem)
            trouble = self._run(problem.time_limit_s)
        if trouble:
            self.forget()
            return failed(*trouble)
        self._last = problem
        assert self._highs is not None
        solution = self._highs.getSolution()
        return problem.point(np.array(solution.col_value), np.array(solution.row_dual), "HIGHS")

    def _run(self, time_limit_s: float) -> tuple[str, str] | None:
        """None, or in words and as a status why there is no optimum."""
        highs = self._highs
        assert highs is not None
        highs.setOptionValue("time_limit", highs.getRunTime() + time_limit_s)  # its clock counts all runs
        highs.run()
        status = highs.getModelStatus()
        if status == highspy.HighsModelStatus.kUnboundedOrInfeasible:
            highs.setOptionValue("presolve", "off")
            highs.run()
            status = highs.getModelStatus()
        if status == highspy.HighsModelStatus.kOptimal:
            return None
        return str(highs.modelStatusToString(status)), _STATUS.get(status, FAILED)

    def _add(self, problem: Reduced) -> None:
        """The rows that the last problem did not have."""
        assert self._highs is not None
        assert self._last is not None
        rows, first = problem.all_rows, len(self._last.row_lower)
        begin, count = rows.start[first], len(rows) - first
        start, col = (rows.start[first:-1] - begin).astype(np.int32), rows.col[begin:].astype(np.int32)
        limits = problem.row_lower[first:], problem.row_upper[first:]
        if count:
            self._highs.addRows(count, *limits, len(col), start, col, rows.data[begin:])

    def _pass(self, problem: Reduced) -> None:
        n, rows = len(problem.free), problem.all_rows
        start, row, curved = _lower_triangle(problem)
        if self._highs is None:
            with silent():
                self._highs = highspy.Highs()
            for name, value in {"output_flag": False, "threads": 1, **SETTINGS["HIGHS"]}.items():
                self._highs.setOptionValue(name, value)
            self._highs.setOptionValue("qp_iteration_limit", HIGHS_QP_STEPS)
        quick = problem.n_own == 0 and problem.hessian is None
        self._highs.setOptionValue("presolve", "off" if quick else "choose")
        self._highs.passModel(
            *(n, len(rows), len(rows.data), len(curved)),
            *(int(highspy.MatrixFormat.kRowwise), int(highspy.HessianFormat.kTriangular)),
            int(highspy.ObjSense.kMinimize),
            *(0.0, problem.q, problem.lower, problem.upper, problem.row_lower, problem.row_upper),
            *(rows.start.astype(np.int32), rows.col.astype(np.int32), rows.data),
            *(start, row, curved, np.zeros(n, dtype=np.int32)),
        )


def _lower_triangle(problem: Reduced) -> tuple[Int32Array, Int32Array, FloatArray]:
    """Starts of columns, rows and values of the Hessian's, as HiGHS takes it; no values where the problem is linear."""
    place, given = np.arange(len(problem.free), dtype=np.int32), problem.hessian
    if given is None or isinstance(given, np.ndarray):
        return place, place, np.zeros(0) if given is None else given
    lower = sp.csc_array(sp.tril(given))
    return lower.indptr[:-1].astype(np.int32), lower.indices.astype(np.int32), lower.data


def _grown(last: Reduced, problem: Reduced) -> bool:
    """Whether a linear problem is the last one with network rows added at the end."""
    return (
        problem.numbers is last.numbers
        and problem.hessian is None
        and last.hessian is None
        and len(problem.live) >= len(last.live)
        and np.array_equal(problem.live[: len(last.live)], last.live)
        and np.array_equal(problem.network.start[: len(last.live) + 1], last.network.start)
    )


class KeptClarabel:
    """Clarabel's interior point: min 1/2 x'Px + q'x subject to b - Ax in cones.

    As long as the entries of P and A are in the same places and the cones are the same, numbers are changed in place,
    which spares setting up and ordering the equations anew.
    """

    def __init__(self) -> None:
        self._solver: Any = None
        self._pattern: tuple[Any, ...] = ()
        self._cones: list[tuple[Any, int]] = []

    def forget(self) -> None:
        """Start the next solve from nothing."""
        self._solver = None

    @native
    def solve(
        self,
        p: sp.csc_matrix,
        q: FloatArray,
        a: sp.csc_matrix,
        b: FloatArray,
        cones: Sequence[tuple[Any, int]],
        settings: Mapping[str, Any],
        taken: Sequence[Any] = (clarabel.SolverStatus.Solved,),
        time_limit_s: float = np.inf,
    ) -> Any:
        """Clarabel's answer; a problem that it does not solve with numbers changed in place is set up anew.

        Args:
            p: upper triangle; cones: kind and size of each.
            taken: statuses with which an answer is taken.
        """
        pattern = (p.indptr, p.indices, a.indptr, a.indices)
        if self._solver is not None and cones == self._cones and all(map(np.array_equal, pattern, self._pattern)):
            self._solver.update(P=p.data, q=q, A=a.data, b=b)
            answer = self._solver.solve()
            if answer.status in taken:
                return answer
        self._pattern, self._cones = pattern, list(cones)
        for regularisation in REGULARISATIONS:
            regularised = {"static_regularization_constant": regularisation}
            chosen = clarabel.DefaultSettings()
            chosen.verbose, chosen.max_threads, chosen.presolve_enable = False, 1, False
            for name, value in {**settings, "time_limit": time_limit_s, **regularised}.items():
                setattr(chosen, name, value)
            self._solver = clarabel.DefaultSolver(p, q, a, b, [kind(size) for kind, size in cones], chosen)
            answer = self._solver.solve()
            if answer.status in taken or answer.status != clarabel.SolverStatus.AlmostSolved:
                break
        return answer

    def solve_reduced(self, problem: Reduced) -> Point:
        """Linear and quadratic problems."""
        n = len(problem.free)
        if problem.hessian is None:
            p = sp.csc_matrix((n, n))
        elif isinstance(problem.hessian, np.ndarray):
            p = sp.csc_matrix((problem.hessian, np.arange(n), np.arange(n + 1)), shape=(n, n))
        else:
            p = sp.csc_matrix(sp.triu(problem.hessian))
        equal, above, below = problem.sides
        a, b = _one_sided(problem, (equal, above, below))
        count = [int(side.sum()) for side in (equal, above, below)]
        cones = [(clarabel.ZeroConeT, count[0]), (clarabel.NonnegativeConeT, len(b) - count[0])]
        answer = self.solve(p, problem.q, a, b, cones, SETTINGS["CLARABEL"], time_limit_s=problem.time_limit_s)
        if answer.status != clarabel.SolverStatus.Solved:
            return failed(str(answer.status), status_of(answer))
        on_equal, on_above, on_below, _ = np.split(np.array(answer.z), np.cumsum(count))
        dual = np.zeros(len(equal))
        dual[equal] = -on_equal
        dual[above] -= on_above
        dual[below] += on_below
        return problem.point(np.array(answer.x), dual, "CLARABEL")


def _one_sided(problem: Reduced, sides: Sequence[BoolArray]) -> tuple[sp.csc_matrix, FloatArray]:
    """A and b: equalities, upper sides, lower sides, upper bounds, lower bounds."""
    rows, equal, above, below = problem.all_rows, *sides
    parts: list[tuple[IntArray, IntArray, FloatArray]] = []
    first = 0
    for mask, sign in ((equal, 1.0), (above, 1.0), (below, -1.0)):
        number = np.cumsum(mask) - 1
        inside = np.flatnonzero(mask[rows.row]) if not mask.all() else slice(None)
        parts.append((number[rows.row[inside]] + first, rows.col[inside], sign * rows.data[inside]))
        first += int(mask.sum())
    bounds = []
    for limit, sign in ((problem.upper, 1.0), (problem.lower, -1.0)):
        at = np.flatnonzero(np.isfinite(limit))
        parts.append((np.arange(len(at)) + first, at, np.full(len(at), sign)))
        bounds.append(sign * limit[at])
        first += len(at)
    row, col, data = (np.concatenate(part) for part in zip(*parts, strict=True))
    a = sp.csc_matrix(sp.coo_matrix((data, (row, col)), shape=(first, len(problem.free))))
    return a, np.concatenate([problem.row_upper[equal], problem.row_upper[above], -problem.row_lower[below], *bounds])
