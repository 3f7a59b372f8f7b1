"""A linear or quadratic program on a conic network model: compiled once, its numbers given to Clarabel directly.

cvxpy canonicalises the program without its network, as for linear network models; the network's matrices are appended.
Compiling thousands of cones together with the program's parameters would take gigabytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import clarabel
import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import BoolArray, FloatArray
from amm_opt.cases import Requests
from amm_opt.grid import Grid
from amm_opt.program import Audit, Program, Solution
from amm_opt.solve.backends.attempt import Reason, caught
from amm_opt.solve.backends.kept import KeptClarabel, status_of
from amm_opt.solve.backends.known import CONIC_SETTINGS
from amm_opt.solve.compile import CompiledProgram, Numbers
from amm_opt.tolerances import CONIC_AUDIT_TOLERANCE, SERVED_SLACK

TAKEN = (clarabel.SolverStatus.Solved, clarabel.SolverStatus.AlmostSolved)


@dataclass(frozen=True, eq=False)
class _Block:
    """Rows ``matrix z + s = rhs`` with s in cones of one kind, as Clarabel wants them."""

    matrix: sp.csr_array
    rhs: FloatArray
    cones: list[tuple[Any, int]]


def relaxation_gap(
    grid: Grid,
    injections: Sequence[tuple[FloatArray, FloatArray]],
    unknowns: Sequence[FloatArray],
    limits: tuple[FloatArray, FloatArray],
) -> FloatArray:
    """(n_buses,) worst gap of the solution's injections at each branch.

    Where the branch flow equations themselves keep every limit under an injection, that flow is a solution with the
    same objective and tight cones: the relaxation is exact there, and its gap 0, whatever currents the solver chose.

    Args:
        injections: net injection of the buses, (p_kw, q_kvar) each.
        unknowns: of the network's conic form, for every injection.
        limits: lower and upper limits of the interval, (m,) each.
    """
    n = grid.case.feeder.n_buses
    worst = np.zeros(n)
    for (p, q), u in zip(injections, unknowns, strict=True):
        if not grid.within(grid.network.evaluate(p, q), limits, SERVED_SLACK):
            worst = np.maximum(worst, grid.conic_network.form.gap(u, n))
    return worst


class ConicProgram:
    """One program on one conic network, solved by Clarabel.

    Args:
        loss_weight: subtracted from the objective per kW of losses, so that among equals the least losses are taken.

    Raises:
        NotCompilableError: see ``CompiledProgram``.
    """

    def __init__(self, program: Program, grid: Grid, own: Mapping[str, Any], loss_weight: float) -> None:
        self._grid, self._own, self._loss_weight = grid, own, loss_weight
        self._compiled = CompiledProgram(program, grid)
        powers = self._compiled.powers
        self._powers = list(zip(powers[::2], powers[1::2], strict=True))
        self._form = grid.conic_network.form
        self._width = self._compiled.size + len(self._powers) * self._form.size
        self._kept = KeptClarabel()

    def reset(self) -> None:
        """Start the solver afresh."""
        self._kept.forget()

    def solve(
        self,
        values: Mapping[str, Any],
        requests: Requests,
        lower: FloatArray,
        upper: FloatArray,
        time_limit_s: float = np.inf,
    ) -> Solution | str:
        """Solve one interval, or say why that failed; arguments as for ``DeclaredProgram.solve``."""
        theta = self._compiled.theta(self._grid, self._own, values, requests)
        numbers = self._compiled.numbers(theta)
        own = self._own_rows(numbers)
        blocks = [self._balance(j, theta, requests) for j in range(len(self._powers))]
        blocks += [own[0], own[1]]
        blocks += [self._limits(j, lower, upper) for j in range(len(self._powers))]
        blocks += [self._cones(j, upper) for j in range(len(self._powers))]
        matrix = sp.csc_array(sp.vstack([b.matrix for b in blocks]))
        rhs, cones = np.concatenate([b.rhs for b in blocks]), [c for b in blocks for c in b.cones]
        hessian, cost = self._objective(numbers)
        upper_half = sp.csc_matrix(sp.triu(hessian))
        problems: list[str] = []
        with caught(problems):
            answer = self._kept.solve(
                upper_half, cost, sp.csc_matrix(matrix), rhs, cones, CONIC_SETTINGS["CLARABEL"], TAKEN, time_limit_s
            )
        if problems:
            self._kept.forget()
            return Reason(problems[0])
        if answer.status not in TAKEN:
            return Reason.of(str(answer.status), status_of(answer))
        z, dual = np.array(answer.x), np.array(answer.z)
        checked = _audit(hessian, cost, matrix, rhs, z, dual, np.array(answer.s))
        if not max(checked.primal, checked.dual, checked.gap) <= CONIC_AUDIT_TOLERANCE:
            return f"the audit failed: {checked}"
        v, unknowns = z[: self._compiled.size], z[self._compiled.size :].reshape(len(self._powers), -1)
        given = [
            self._injection(requests, imports.at(theta, v), exports.at(theta, v)) for imports, exports in self._powers
        ]
        gap = relaxation_gap(self._grid, given, list(unknowns), (lower, upper))
        return self._solution(v, self._row_dual(numbers, dual), numbers, theta, checked, gap)

    def _injection(self, requests: Requests, imports: FloatArray, exports: FloatArray) -> tuple[FloatArray, FloatArray]:
        return self._grid.case.bus_injections(requests.inflexible_kw, imports, exports)

    def _objective(self, numbers: Numbers) -> tuple[sp.csr_array, FloatArray]:
        """The program's, and the losses so that among equals the least are taken."""
        count = len(self._powers)
        own = sp.diags_array(numbers.hessian) if numbers.hessian is not None else numbers.matrix
        loss = self._loss_weight * self._form.loss_kw
        network = sp.csr_array((count * self._form.size, count * self._form.size))
        return sp.csr_array(sp.block_diag([own, network])), np.concatenate([numbers.q, np.tile(loss, count)])

    def _wide(self, own: Any, network: Any = None, j: int = 0) -> sp.csr_array:
        """Rows over the program's variables and those of injection j, placed among all unknowns."""
        rows = own.shape[0] if own is not None else network.shape[0]
        size, k = self._compiled.size, self._form.size
        parts = [sp.csr_array((rows, size)) if own is None else own]
        parts += [sp.csr_array((rows, k)) if i != j or network is None else network for i in range(len(self._powers))]
        return sp.csr_array(sp.hstack(parts))

    def _balance(self, j: int, theta: FloatArray, requests: Requests) -> _Block:
        form, case, (imports, exports) = self._form, self._grid.case, self._powers[j]
        k_import, k_export = (sp.diags_array(k) for k in case.kvar_per_kw[1:])
        x, y = imports.gain.at(theta), exports.gain.at(theta)
        active, reactive = case.incidence @ (y - x), case.incidence @ (k_export @ y - k_import @ x)
        base = self._injection(requests, imports.base.vector(theta), exports.base.vector(theta))
        own = form.active @ active + form.reactive @ reactive
        rhs = form.rhs - form.active @ base[0] - form.reactive @ base[1]
        return _Block(self._wide(own, form.equality, j), rhs, [(clarabel.ZeroConeT, len(rhs))])

    def _own_rows(self, numbers: Numbers) -> tuple[_Block, _Block]:
        """The program's constraints: equalities; then upper sides, lower sides and bounds."""
        equal, above, below = _sides(numbers)
        rows, eye = numbers.rows.sparse(), sp.eye_array(self._compiled.size, format="csr")
        ceiling, floor = np.isfinite(numbers.upper), np.isfinite(numbers.lower)
        rhs = (numbers.row_upper[above], -numbers.row_lower[below], numbers.upper[ceiling], -numbers.lower[floor])
        one_sided = self._wide(sp.vstack([rows[above], -rows[below], eye[ceiling], -eye[floor]]))
        limit = np.concatenate(rhs)
        return (
            _Block(self._wide(rows[equal]), numbers.row_upper[equal], [(clarabel.ZeroConeT, int(equal.sum()))]),
            _Block(one_sided, limit, [(clarabel.NonnegativeConeT, len(limit))]),
        )

    def _limits(self, j: int, lower: FloatArray, upper: FloatArray) -> _Block:
        form, n = self._form, self._grid.case.feeder.n_buses - 1
        eye = sp.eye_array(form.size, format="csr")
        w = eye[form.voltage]
        amperes = upper[n + form.of_amperes] - form.amperes_base
        rhs = np.concatenate([upper[:n], -lower[:n], np.zeros(len(form.branches)), amperes])
        rows = sp.vstack([w, -w, -eye[form.current], form.amperes])
        return _Block(self._wide(None, rows, j), rhs, [(clarabel.NonnegativeConeT, len(rhs))])

    def _cones(self, j: int, upper: FloatArray) -> _Block:
        form, n = self._form, self._grid.case.feeder.n_buses - 1
        rating = form.powers_base.copy()
        rating[::3] += upper[n + form.of_powers]
        rows = self._wide(None, -sp.vstack([form.currents, form.powers]), j)
        cones = [(clarabel.SecondOrderConeT, 4)] * len(form.branches)
        cones += [(clarabel.SecondOrderConeT, 3)] * len(form.of_powers)
        return _Block(rows, np.concatenate([form.currents_base, rating]), cones)

    def _row_dual(self, numbers: Numbers, dual: FloatArray) -> FloatArray:
        """Multipliers of the program's own rows, P v + q = rows' y + ..."""
        equal, above, below = _sides(numbers)
        start = len(self._powers) * len(self._form.rhs)
        cuts = start + np.cumsum([int(equal.sum()), int(above.sum()), int(below.sum())])
        on_equal, on_above, on_below = np.split(dual[start : cuts[2]], cuts[:2] - start)
        out = np.zeros(len(equal))
        out[equal] = -on_equal
        out[above] -= on_above
        out[below] += on_below
        return out

    def _solution(
        self,
        v: FloatArray,
        row_dual: FloatArray,
        numbers: Numbers,
        theta: FloatArray,
        checked: Audit,
        gap: FloatArray,
    ) -> Solution:
        compiled = self._compiled
        duals = {name: row_dual[rows].reshape(shape, order="F") for name, (rows, shape) in compiled.dual_rows.items()}
        objective = (-1.0 if compiled.maximise else 1.0) * numbers.objective(v)
        return Solution(compiled.values(v, theta), duals, objective, "CLARABEL", audit=checked, gap=gap)


def _sides(numbers: Numbers) -> tuple[BoolArray, BoolArray, BoolArray]:
    """Which rows are equalities, and which others have an upper and a lower side."""
    equal = numbers.row_lower == numbers.row_upper
    return equal, ~equal & np.isfinite(numbers.row_upper), ~equal & np.isfinite(numbers.row_lower)


def _audit(
    hessian: sp.csr_array,
    cost: FloatArray,
    matrix: sp.csc_array,
    rhs: FloatArray,
    z: FloatArray,
    dual: FloatArray,
    slack: FloatArray,
) -> Audit:
    """Residuals of min 1/2 z'Pz + c'z s.t. A z + s = b and its dual, each relative to the size of its terms."""
    curved, pull = hessian @ z, matrix.T @ dual
    primal = np.abs(matrix @ z + slack - rhs).max() / max(1.0, np.abs(rhs).max())
    stationarity = np.abs(curved + cost + pull).max() / max(1.0, np.abs(cost).max())
    value = 0.5 * z @ curved + cost @ z
    gap = abs(z @ curved + cost @ z + rhs @ dual) / max(1.0, abs(value))
    return Audit(float(primal), float(stationarity), float(gap))
