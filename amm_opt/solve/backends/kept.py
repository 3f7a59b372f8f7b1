"""Backends that keep their models from solve to solve: HiGHS for linear, Clarabel for quadratic and conic problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import clarabel
import highspy
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from amm_opt.arrays import FloatArray
from amm_opt.io.output import native, silent
from amm_opt.solve.answer import FAILED
from amm_opt.solve.backends.known import SETTINGS, status_of
from amm_opt.solve.backends.reduced import Alike, Point, Reduced, failed
from amm_opt.solve.compile import Rows

Int32Array = NDArray[np.int32]
OPTIMAL = highspy.HighsModelStatus.kOptimal

HIGHS_QP_STEPS = 5000
"""HiGHS' active-set method for quadratic programs can cycle without end on degenerate ones."""

HIGHS_STEPS, HIGHS_STEPS_PER_ROW = 1000, 10
"""More steps than dual simplex needs; on degenerate problems it can cycle without end as well (HiGHS 1.16)."""
PRIMAL_SIMPLEX = 4

SMALL_ROW = 1e-4
"""Rows whose entries are all smaller are multiplied up for HiGHS."""

REGULARISATIONS = (1e-8, 1e-10)
"""Clarabel's own, and a smaller one for what it almost solves: multipliers of 1e9 need it."""


class HighsBackend:
    """HiGHS: simplex for linear, active set for quadratic problems.

    While the rows of one linear problem only grow, as they do in the rounds of one interval, they are added to the
    model and dual simplex goes on from the last basis; where that does not converge, the problem is passed anew.
    Another interval's numbers are passed as a new model: its moving variables are others, and changing all variables in
    place takes longer.
    """

    name = "HIGHS"
    lp = qp = True

    def __init__(self) -> None:
        self._highs: highspy.Highs | None = None
        self._last: Reduced | None = None

    def forget(self) -> None:
        """Start the next solve from nothing."""
        self._highs = self._last = None

    @native
    def solve(self, problem: Reduced, start: FloatArray) -> Point:
        """See ``Backend``."""
        added = self._last is not None and _grown(self._last, problem)
        if added:
            self._add(problem)
        else:
            self._pass(problem)
        status = self._run(problem.time_limit_s)
        if added and status != OPTIMAL and status_of(status) == FAILED:
            self._pass(problem)
            status = self._run(problem.time_limit_s)
        assert self._highs is not None
        if status != OPTIMAL:
            said = self._highs.modelStatusToString(status)
            self.forget()
            return failed(str(said), status_of(status))
        self._last = problem
        solution = self._highs.getSolution()
        info = self._highs.getInfo()
        counts = (info.simplex_iteration_count, info.ipm_iteration_count, info.qp_iteration_count)
        steps = sum(max(0, count) for count in counts)
        dual = np.array(solution.row_dual) / _row_units(problem.all_rows)
        return problem.point(np.array(solution.col_value), dual, steps)

    def _run(self, time_limit_s: float) -> Any:
        """HiGHS' status."""
        highs = self._highs
        assert highs is not None
        highs.setOptionValue("time_limit", highs.getRunTime() + time_limit_s)  # its clock counts all runs
        highs.setOptionValue("simplex_iteration_limit", HIGHS_STEPS + HIGHS_STEPS_PER_ROW * highs.getNumRow())
        highs.run()
        status = highs.getModelStatus()
        if status == highspy.HighsModelStatus.kIterationLimit:
            status = self._run_primal()
        if status == highspy.HighsModelStatus.kUnboundedOrInfeasible:
            highs.setOptionValue("presolve", "off")
            highs.run()
            status = highs.getModelStatus()
        return status

    def _run_primal(self) -> Any:
        """HiGHS' status after primal simplex from nothing, where dual simplex cycles."""
        highs = self._highs
        assert highs is not None
        usual = {name: highs.getOptionValue(name)[1] for name in ("simplex_strategy", "simplex_iteration_limit")}
        for name, value in {"simplex_strategy": PRIMAL_SIMPLEX, "simplex_iteration_limit": highspy.kHighsIInf}.items():
            highs.setOptionValue(name, value)
        highs.clearSolver()
        highs.run()
        for name, value in usual.items():
            highs.setOptionValue(name, value)
        return highs.getModelStatus()

    def _add(self, problem: Reduced) -> None:
        """The rows that the last problem did not have."""
        assert self._highs is not None
        assert self._last is not None
        rows, first = problem.all_rows, len(self._last.row_lower)
        begin, count = rows.start[first], len(rows) - first
        start, col = (rows.start[first:-1] - begin).astype(np.int32), rows.col[begin:].astype(np.int32)
        unit = _row_units(rows)
        limits = problem.row_lower[first:] / unit[first:], problem.row_upper[first:] / unit[first:]
        if count:
            self._highs.addRows(count, *limits, len(col), start, col, (rows.data / unit[rows.row])[begin:])

    def _pass(self, problem: Reduced) -> None:
        n, rows = len(problem.q), problem.all_rows
        start, row, curved = _lower_triangle(problem)
        unit = _row_units(rows)
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
            *(0.0, problem.q, problem.lower, problem.upper, problem.row_lower / unit, problem.row_upper / unit),
            *(rows.start.astype(np.int32), rows.col.astype(np.int32), rows.data / unit[rows.row]),
            *(start, row, curved, np.zeros(n, dtype=np.int32)),
        )


def _row_units(rows: Rows) -> FloatArray:
    """(m,) what rows are counted in for HiGHS, powers of two: 1 but for rows of small entries.

    A limit of a large system is a share of its rating per kW, 1e-7, and HiGHS ignores entries below 1e-9.
    """
    largest = np.zeros(len(rows))
    np.maximum.at(largest, rows.row, np.abs(rows.data))
    small = (largest > 0) & (largest < SMALL_ROW)
    return np.where(small, 2.0 ** np.round(np.log2(np.where(small, largest, 1.0))), 1.0)


def _lower_triangle(problem: Reduced) -> tuple[Int32Array, Int32Array, FloatArray]:
    """Starts of columns, rows and values of the Hessian's, as HiGHS takes it; no values where the problem is linear."""
    place, given = np.arange(len(problem.q), dtype=np.int32), problem.hessian
    if given is None or isinstance(given, np.ndarray):
        return place, place, np.zeros(0) if given is None else given
    lower = sp.csc_array(sp.tril(given))
    return lower.indptr[:-1].astype(np.int32), lower.indices.astype(np.int32), lower.data


def _grown(last: Reduced, problem: Reduced) -> bool:
    """Whether a linear problem is the last one with network rows added at the end."""
    return (
        problem.numbers is last.numbers
        and _same(problem.alike, last.alike)
        and problem.hessian is None
        and last.hessian is None
        and len(problem.live) >= len(last.live)
        and np.array_equal(problem.live[: len(last.live)], last.live)
        and np.array_equal(problem.network.start[: len(last.live) + 1], last.network.start)
    )


def _same(one: Alike | None, other: Alike | None) -> bool:
    """Whether the same variables are one."""
    if one is None or other is None:
        return one is other
    return np.array_equal(one.group, other.group)


class ClarabelModel:
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


class ClarabelBackend:
    """Clarabel for linear and quadratic problems."""

    name = "CLARABEL"
    lp = qp = True

    def __init__(self) -> None:
        self._model = ClarabelModel()

    def solve(self, problem: Reduced, start: FloatArray) -> Point:
        """See ``Backend``."""
        n = len(problem.q)
        if problem.hessian is None:
            p = sp.csc_matrix((n, n))
        elif isinstance(problem.hessian, np.ndarray):
            p = sp.csc_matrix((problem.hessian, np.arange(n), np.arange(n + 1)), shape=(n, n))
        else:
            p = sp.csc_matrix(sp.triu(problem.hessian))
        rows = problem.one_sided
        cones = [(clarabel.ZeroConeT, rows.n_equal), (clarabel.NonnegativeConeT, len(rows.rhs) - rows.n_equal)]
        given = (p, problem.q, rows.matrix, rows.rhs, cones, SETTINGS["CLARABEL"])
        answer = self._model.solve(*given, time_limit_s=problem.time_limit_s)
        if answer.status != clarabel.SolverStatus.Solved:
            return failed(str(answer.status), status_of(answer.status))
        return problem.point(np.array(answer.x), rows.row_dual(np.array(answer.z)), int(answer.iterations))
