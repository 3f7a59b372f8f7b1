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

from amm_opt.arrays import FloatArray
from amm_opt.cases import Requests
from amm_opt.grid import Grid
from amm_opt.program import Audit, Program, Solution
from amm_opt.solve.answer import NoAnswerError, no_answer_from_errors
from amm_opt.solve.backends.kept import ClarabelBackend, ClarabelModel
from amm_opt.solve.backends.known import CONIC_SETTINGS, Choice, status_of
from amm_opt.solve.backends.reduced import OneSided
from amm_opt.solve.compile import CompiledProgram, Numbers
from amm_opt.solve.route import Task
from amm_opt.solve.routes.declared import DeclaredRoute, relaxation_gap
from amm_opt.tolerances import CONIC_AUDIT_TOLERANCE

TAKEN = (clarabel.SolverStatus.Solved, clarabel.SolverStatus.AlmostSolved)


@dataclass(frozen=True, eq=False)
class _Block:
    """Rows ``matrix z + s = rhs`` with s in cones of one kind, as Clarabel wants them."""

    matrix: sp.csr_array
    rhs: FloatArray
    cones: list[tuple[Any, int]]


class ConicRoute:
    """One program on one conic network, solved by Clarabel, or by another solver that is named as declared.

    Args:
        loss_weight: subtracted from the objective per kW of losses, so that among equals the least losses are taken.

    Raises:
        NotCompilableError: see ``CompiledProgram``.
    """

    needs = frozenset({"socp"})

    def __init__(self, program: Program, grid: Grid, own: Mapping[str, Any], loss_weight: float) -> None:
        self.reason = f"network model {grid.network.name} is conic"
        self._grid, self._loss_weight = grid, loss_weight
        self.compiled = CompiledProgram(program, grid)
        self._powers = self.compiled.powers
        self._form = grid.conic_network.form
        self._width = self.compiled.size + len(self._powers) * self._form.size
        self._model = ClarabelModel()
        self._declared = DeclaredRoute(program, grid, own, loss_weight, self.reason, self.needs)

    def reset(self) -> None:
        """Start the solvers afresh."""
        self._model.forget()
        self._declared.reset()

    def solve(self, solver: Choice, task: Task) -> Solution:
        """See ``Route``."""
        if solver is not None and solver != ClarabelBackend.name:
            return self._declared.solve(solver, task)
        requests, limits = task.requests, (task.lower, task.upper)
        theta = self.compiled.theta(task.values, requests)
        numbers = self.compiled.numbers(theta)
        injections = range(len(self._powers))
        own = OneSided.of(numbers.rows, numbers.row_lower, numbers.row_upper, numbers.lower, numbers.upper)
        blocks = [self._balance(j, theta, requests) for j in injections]
        first = sum(len(block.rhs) for block in blocks)
        blocks += [
            self._own_block(own),
            *(self._limits(j, *limits) for j in injections),
            *(self._cones(j, task.upper) for j in injections),
        ]
        z, dual, checked = self._optimum(numbers, blocks, task.time_limit_s)
        v, unknowns = z[: self.compiled.size], z[self.compiled.size :].reshape(len(injections), -1)
        given = [self._injection(requests, *(power.at(theta, v) for power in powers)) for powers in self._powers]
        return Solution(
            self.compiled.values(v, theta),
            self.compiled.duals(own.row_dual(dual[first : first + len(own.rhs)])),
            self.compiled.objective(numbers, v),
            ClarabelBackend.name,
            audit=checked,
            gap=relaxation_gap(self._grid, given, list(unknowns), limits),
        )

    def _optimum(
        self, numbers: Numbers, blocks: Sequence[_Block], time_limit_s: float
    ) -> tuple[FloatArray, FloatArray, Audit]:
        """All unknowns, the multipliers of all rows, and the audit.

        Raises:
            NoAnswerError: where there is no answer that passes the audit.
        """
        matrix = sp.csc_array(sp.vstack([b.matrix for b in blocks]))
        rhs, cones = np.concatenate([b.rhs for b in blocks]), [c for b in blocks for c in b.cones]
        hessian, cost = self._objective(numbers)
        given = (sp.csc_matrix(sp.triu(hessian)), cost, sp.csc_matrix(matrix), rhs, cones, CONIC_SETTINGS["CLARABEL"])
        try:
            with no_answer_from_errors():
                answer = self._model.solve(*given, TAKEN, time_limit_s)
        except NoAnswerError:
            self._model.forget()
            raise
        if answer.status not in TAKEN:
            raise NoAnswerError(str(answer.status), status_of(answer.status))
        z, dual = np.array(answer.x), np.array(answer.z)
        checked = _audit(hessian, cost, matrix, rhs, z, dual, np.array(answer.s))
        if not max(checked.primal, checked.dual, checked.gap) <= CONIC_AUDIT_TOLERANCE:
            raise NoAnswerError(f"the audit failed: {checked}")
        return z, dual, checked

    def _injection(self, requests: Requests, imports: FloatArray, exports: FloatArray) -> tuple[FloatArray, FloatArray]:
        return self._grid.injected(requests, imports, exports)

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
        size, k = self.compiled.size, self._form.size
        parts = [sp.csr_array((rows, size)) if own is None else own]
        parts += [sp.csr_array((rows, k)) if i != j or network is None else network for i in range(len(self._powers))]
        return sp.csr_array(sp.hstack(parts))

    def _balance(self, j: int, theta: FloatArray, requests: Requests) -> _Block:
        form, (imports, exports) = self._form, self._powers[j]
        active, reactive = self._grid.placed_gains(imports.gain.at(theta), exports.gain.at(theta))
        base = self._injection(requests, imports.base.vector(theta), exports.base.vector(theta))
        own = form.active @ active + form.reactive @ reactive
        rhs = form.rhs - form.active @ base[0] - form.reactive @ base[1]
        return _Block(self._wide(own, form.equality, j), rhs, [(clarabel.ZeroConeT, len(rhs))])

    def _own_block(self, own: OneSided) -> _Block:
        """The program's constraints and bounds."""
        cones = [(clarabel.ZeroConeT, own.n_equal), (clarabel.NonnegativeConeT, len(own.rhs) - own.n_equal)]
        return _Block(self._wide(own.matrix), own.rhs, cones)

    def _limits(self, j: int, lower: FloatArray, upper: FloatArray) -> _Block:
        rows, rhs = self._form.inequalities(lower, upper)
        return _Block(self._wide(None, rows, j), rhs, [(clarabel.NonnegativeConeT, len(rhs))])

    def _cones(self, j: int, upper: FloatArray) -> _Block:
        form = self._form
        rating = form.powers_base.copy()
        rating[::3] += upper[form.rated_from + form.of_powers]
        rows = self._wide(None, -sp.vstack([form.currents, form.powers]), j)
        cones = [(clarabel.SecondOrderConeT, 4)] * len(form.branches)
        cones += [(clarabel.SecondOrderConeT, 3)] * len(form.of_powers)
        return _Block(rows, np.concatenate([form.currents_base, rating]), cones)


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
