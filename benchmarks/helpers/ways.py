"""Other ways to solve the same intervals: plain cvxpy, and a bare HiGHS loop on cvxpy's matrices."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import highspy
import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import FloatArray
from amm_opt.grid import Grid
from amm_opt.market import Mechanism
from amm_opt.program import Program
from benchmarks.helpers.subjects import Interval, state_of

SETTINGS: dict[str, dict[str, Any]] = {
    "HIGHS": {"time_limit": 10.0},
    "PIQP": {"eps_abs": 1e-8, "eps_rel": 1e-8},
    "OSQP": {"eps_abs": 1e-7, "eps_rel": 1e-7, "max_iter": 100_000},
}
"""HiGHS' method for quadratic programs can cycle; the tolerances of PIQP and OSQP are set so that objectives agree."""


class PlainCvxpy:
    """The program and every network row as one cvxpy problem with parameters (DPP)."""

    def __init__(self, mechanism: Mechanism[Any], grid: Grid) -> None:
        self.mechanism, self.grid = mechanism, grid
        self._state = state_of(mechanism, grid.case)
        program = mechanism.program(grid)
        if not isinstance(program, Program):
            raise ValueError(f"{mechanism} has no single program")
        m = len(grid.network.quantities.lower)
        self._lower, self._upper = cp.Parameter(m), cp.Parameter(m)
        rows = [
            row
            for injection in program.injections
            for row in grid.network.constraints(*grid.bus_power(injection), self._lower, self._upper)
        ]
        self.problem = cp.Problem(program.objective, [*program.constraints, *rows])
        given = {parameter.id for parameter in grid.parameters}
        given |= {self._lower.id, self._upper.id}
        self._own = {p.name(): p for p in self.problem.parameters() if p.id not in given}

    def set(self, interval: Interval) -> None:
        """Give every parameter its numbers."""
        grid, requests = self.grid, interval.requests
        for parameter in grid.parameters:
            parameter.value = getattr(requests, parameter.name())
        self._lower.value, self._upper.value = interval.lower, interval.upper
        values = self.mechanism.parameters(grid, self._state, requests)
        for name, parameter in self._own.items():
            parameter.value = values[name]

    def solve(self, interval: Interval, solver: str | None, *, rebuilt: bool = False) -> float:
        """The objective, or NaN where the solver fails; ``rebuilt`` takes parameters as constants."""
        self.set(interval)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                self.problem.solve(solver=solver, ignore_dpp=rebuilt, **SETTINGS.get(solver or "", {}))
            except cp.error.SolverError:
                return float("nan")
        return float(self.problem.value) if self.problem.status == cp.OPTIMAL else float("nan")

    @property
    def solver_used(self) -> str:
        """Which solver the last solve really used."""
        return str(self.problem.solver_stats.solver_name)


@dataclass(frozen=True, eq=False)
class Matrices:
    """min c'x + offset, row_lower <= A x <= row_upper, lower <= x <= upper; the value is ``sign`` times that."""

    c: FloatArray
    offset: float
    row_lower: FloatArray
    row_upper: FloatArray
    lower: FloatArray
    upper: FloatArray


def matrices(plain: PlainCvxpy, interval: Interval) -> tuple[sp.csr_array, Matrices]:
    """The numbers that cvxpy hands to HiGHS, with constraints on one variable turned into bounds."""
    plain.set(interval)
    data, _, inverse = plain.problem.get_problem_data(cp.HIGHS)
    a, b = sp.csr_array(data["A"]), np.asarray(data["b"], dtype=float)
    n_equal = data["dims"].zero
    equal = np.arange(len(b)) < n_equal
    single = ~equal & (np.diff(a.indptr) == 1)
    n = a.shape[1]
    lower, upper = np.full(n, -np.inf), np.full(n, np.inf)
    rows = np.flatnonzero(single)
    col, factor = a.indices[a.indptr[rows]], a.data[a.indptr[rows]]
    limit, up = b[rows] / factor, factor > 0
    np.minimum.at(upper, col[up], limit[up])
    np.maximum.at(lower, col[~up], limit[~up])
    rest = ~single
    low = np.where(equal, b, -np.inf)[rest]
    offset = float(inverse[-1].get("offset", 0.0)) if isinstance(inverse[-1], dict) else 0.0
    return sp.csr_array(a[rest]), Matrices(np.asarray(data["c"]), offset, low, b[rest], lower, upper)


class Floor:
    """One HiGHS model kept: costs, bounds and right-hand sides are changed in place, simplex starts warm."""

    def __init__(self, a: sp.csr_array, first: Matrices) -> None:
        self._solver = highspy.Highs()
        self._solver.setOptionValue("output_flag", False)
        self._solver.setOptionValue("threads", 1)
        n, m = a.shape[1], a.shape[0]
        self._columns, self._rows = np.arange(n, dtype=np.int32), np.arange(m, dtype=np.int32)
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = n, m
        model.col_cost_, model.col_lower_, model.col_upper_ = first.c, first.lower, first.upper
        model.row_lower_, model.row_upper_ = first.row_lower, first.row_upper
        model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        model.a_matrix_.start_, model.a_matrix_.index_, model.a_matrix_.value_ = a.indptr, a.indices, a.data
        self._solver.passModel(model)

    def solve(self, numbers: Matrices) -> float:
        """The objective of the minimisation."""
        solver, n, m = self._solver, len(self._columns), len(self._rows)
        solver.changeColsCost(n, self._columns, numbers.c)
        solver.changeColsBounds(n, self._columns, numbers.lower, numbers.upper)
        solver.changeRowsBounds(m, self._rows, numbers.row_lower, numbers.row_upper)
        solver.run()
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return float("nan")
        return float(solver.getInfo().objective_function_value) + numbers.offset
