"""A program compiled once to numbers that are affine in its parameters.

cvxpy canonicalises the program a single time; what is kept is the sparse map from the parameter vector to the
problem's numbers, so that an interval costs a few sparse matrix-vector products. Injections are carried through as
affine maps of the variables, and constraints on one variable become bounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from cvxpy.constraints import SOC, ExpCone, NonNeg, Zero
from numpy.typing import NDArray

from amm_opt.cases import Window
from amm_opt.solve.numbers import Numbers
from amm_opt.solve.program import Program, Step

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]


class NotCompilableError(Exception):
    """The program has no linear or quadratic form; the message names the reason.

    ``needs`` names the cones that a solver must have instead (``socp``, ``exp``).
    """

    def __init__(self, message: str, needs: frozenset[str] = frozenset()) -> None:
        super().__init__(message)
        self.needs = needs


class AffineMatrix:
    """A sparse matrix (or, with one column, a vector) whose entries are affine in the parameter vector."""

    def __init__(self, row: IntArray, col: IntArray, tensor: sp.csr_array, shape: tuple[int, int]) -> None:
        order = np.lexsort((col, row))
        self.row, self.col, self.shape = row[order], col[order], shape
        self._map = sp.csr_array(tensor[order])
        self.constant = bool(self._map[:, :-1].nnz == 0) if len(row) else True
        self._indptr = np.searchsorted(self.row, np.arange(shape[0] + 1))
        self._fixed = self._map[:, [-1]].toarray().ravel() if self.constant else None

    def data(self, theta: FloatArray) -> FloatArray:
        """Values of the structural entries at ``theta``."""
        return self._fixed if self._fixed is not None else np.asarray(self._map @ theta)

    def fixed(self, entries: IntArray) -> NDArray[np.bool_]:
        """Which of these entries do not depend on the parameters."""
        return np.asarray(np.diff(sp.csr_array(self._map[entries][:, :-1]).indptr) == 0)

    def at(self, theta: FloatArray) -> sp.csr_array:
        """The matrix at ``theta``."""
        return sp.csr_array((self.data(theta), self.col, self._indptr), shape=self.shape)

    def times(self, theta: FloatArray, v: FloatArray) -> FloatArray:
        """The matrix at ``theta`` times ``v``."""
        weights = self.data(theta) * v[self.col]
        return np.bincount(self.row, weights=weights, minlength=self.shape[0]).astype(float, copy=False)

    def vector(self, theta: FloatArray) -> FloatArray:
        """A one-column matrix as a dense vector."""
        out = np.zeros(self.shape[0])
        out[self.row] = self.data(theta)
        return out


@dataclass(frozen=True, eq=False)
class AffineMap:
    """An expression that is affine in the variables: gain @ v + base."""

    gain: AffineMatrix
    base: AffineMatrix

    def at(self, theta: FloatArray, v: FloatArray) -> FloatArray:
        """Its value."""
        return self.gain.times(theta, v) + self.base.vector(theta)


@dataclass(frozen=True, eq=False)
class _Lifted:
    """Variables that one equality defines: their rows, their entries there, and the entry of x (-1: none)."""

    variable: IntArray
    row: IntArray
    entry: IntArray
    partner: IntArray

    def other_rows(self, total: int) -> NDArray[np.bool_]:
        """Rows that define no lifted variable."""
        keep = np.ones(total, dtype=bool)
        keep[self.row] = False
        return keep


class CompiledProgram:
    """The numbers of one program as a function of its parameters.

    Raises:
        NotCompilableError: where the program needs cones beyond linear constraints, or a value or dual that the
            compiled form cannot give.
    """

    def __init__(self, program: Program, step: Step) -> None:
        self.program = program
        powers = [e for injection in program.injections for e in (injection.import_kw, injection.export_kw)]
        wanted = [cp.vec(e, order="F") for e in (*powers, *program.values.values())]
        for name, expression in program.values.items():
            if not (expression.is_affine() and expression.is_dcp(dpp=True)):
                raise NotCompilableError(f"the value {name!r} is not affine in the variables")
        carriers = [cp.Variable(e.size) for e in wanted]
        links = [z == e for z, e in zip(carriers, wanted, strict=True)]
        problem = cp.Problem(program.objective, [*program.constraints, *links])
        form = problem.get_problem_data("CLARABEL")[0]["param_prob"]
        cones = {type(c) for c in form.constraints} - {Zero, NonNeg}
        if cones:
            needs = frozenset({SOC: "socp", ExpCone: "exp"}.get(c, c.__name__) for c in cones)
            raise NotCompilableError("the program has cones beyond linear constraints", needs)
        self.maximise = isinstance(program.objective, cp.Maximize)
        self._parameters = {p.id: p for p in form.parameters}
        self._columns = {i: c for i, c in form.param_id_to_col.items() if i in self._parameters}
        self._theta = np.zeros(form.total_param_size + 1)
        self._theta[-1] = 1.0
        carried = [np.arange(z.size) + form.var_id_to_col[z.id] for z in carriers]
        self.keep = np.setdiff1d(np.arange(form.x.size), np.concatenate(carried))
        self._place = np.full(form.x.size, -1, dtype=np.intp)
        self._place[self.keep] = np.arange(len(self.keep))
        self.dual_rows: dict[str, tuple[IntArray, tuple[int, ...]]] = {}
        self._objective(form)
        maps = self._constraints(form, program, links)
        self.powers = maps[: len(powers)]
        self._values = dict(zip(program.values, maps[len(powers) :], strict=True))
        self._lifted = self._find_lifted(maps)
        if self._lifted is not None:
            number = np.cumsum(self._lifted.other_rows(len(self._general))) - 1
            self.dual_rows = {name: (number[rows], shape) for name, (rows, shape) in self.dual_rows.items()}

    @property
    def size(self) -> int:
        """Number of variables N."""
        return len(self.keep)

    @property
    def quadratic(self) -> bool:
        """Whether the objective has squares."""
        return self._matrix is not None

    @property
    def n_rows(self) -> int:
        """Number of general rows."""
        return len(self._general) - (len(self._lifted.row) if self._lifted is not None else 0)

    def _objective(self, form: Any) -> None:
        q = sp.csr_array(form.q if hasattr(form, "q") else form.c)  # named c up to cvxpy 1.6
        self._q = q[self.keep]
        self._offset = q[[form.x.size]]
        self._matrix: AffineMatrix | None = None
        if form.P is not None and form.P.nnz:
            entries, tensor = _entries(form.P)
            n = form.x.size
            row, col = self._place[entries % n], self._place[entries // n]
            self._matrix = AffineMatrix(row, col, tensor, (self.size, self.size))

    def _constraints(self, form: Any, program: Program, links: Sequence[cp.Constraint]) -> list[AffineMap]:
        total = form.constr_size
        entries, tensor = _entries(form.A)
        row, col = entries % total, entries // total
        offset = np.cumsum([0, *(c.size for c in form.constraints)])
        span = {c.id: np.arange(a, a + c.size) for c, a in zip(form.constraints, offset[:-1], strict=True)}
        missing = [name for name, c in program.duals.items() if c.id not in span]
        if missing:
            raise NotCompilableError(f"the constraint whose dual is {missing[0]!r} was transformed")
        linked = [span[link.id] for link in links]
        own = np.setdiff1d(np.arange(total), np.concatenate(linked))
        equality = np.zeros(total, dtype=bool)
        for c in form.constraints:
            equality[span[c.id]] = isinstance(c, Zero)
        self._split_bounds(row, col, tensor, own, equality, form.x.size)
        general = {r: i for i, r in enumerate(self._general.tolist())}
        for name, c in program.duals.items():
            if not all(r in general for r in span[c.id].tolist()):
                raise NotCompilableError(f"the constraint whose dual is {name!r} became a bound")
            self.dual_rows[name] = (np.array([general[r] for r in span[c.id].tolist()]), c.shape)
        return [self._map(row, col, tensor, s, form.x.size) for s in linked]

    def _map(self, row: IntArray, col: IntArray, tensor: sp.csr_array, rows: IntArray, width: int) -> AffineMap:
        """Read z = gain v + base out of the rows z - gain v - base = 0."""
        n = len(rows)
        inside = np.flatnonzero((row >= rows[0]) & (row <= rows[-1]))
        at, column = row[inside] - rows[0], col[inside]
        place = np.where(column < width, self._place[np.minimum(column, width - 1)], -1)
        sign = np.ones(n)
        carrier = (column < width) & (place < 0)
        sign[at[carrier]] = -tensor[inside[carrier]][:, [-1]].toarray().ravel()
        scaled = sp.csr_array(tensor[inside].multiply((1.0 / sign[at])[:, None]))
        body, base = np.flatnonzero(place >= 0), np.flatnonzero(column == width)
        gain = AffineMatrix(at[body], place[body], scaled[body], (n, self.size))
        return AffineMap(gain, AffineMatrix(at[base], np.zeros(len(base), dtype=np.intp), scaled[base], (n, 1)))

    def _split_bounds(
        self, row: IntArray, col: IntArray, tensor: sp.csr_array, own: IntArray, equality: NDArray[np.bool_], width: int
    ) -> None:
        """Inequalities a v_j + b >= 0 on one variable with a fixed a become bounds; the rest are general rows."""
        total = len(equality)
        body = col < width
        fixed = np.ones(len(row), dtype=bool)
        fixed[sp.csr_array(tensor[:, :-1]).nonzero()[0]] = False
        count = np.bincount(row[body], minlength=total)
        loose = np.bincount(row[body & ~fixed], minlength=total)
        bound = np.zeros(total, dtype=bool)
        bound[own] = (count[own] == 1) & (loose[own] == 0) & ~equality[own]
        self._general = own[~bound[own]]
        self._equality = equality[self._general]
        number = np.full(total, -1, dtype=np.intp)
        number[self._general] = np.arange(len(self._general))
        pick = np.flatnonzero(body & (number[row] >= 0))
        shape = (len(self._general), self.size)
        self._rows = AffineMatrix(number[row[pick]], self._place[col[pick]], tensor[pick], shape)
        self._row_base = self._column(row, col, tensor, number, width, shape[0])
        single = np.flatnonzero(body & bound[row])
        single = single[np.argsort(row[single], kind="stable")]
        self._bound_variable = self._place[col[single]]
        self._bound_factor = tensor[single][:, [-1]].toarray().ravel()
        number = np.full(total, -1, dtype=np.intp)
        number[row[single]] = np.arange(len(single))
        self._bound_base = self._column(row, col, tensor, number, width, len(single))

    @staticmethod
    def _column(
        row: IntArray, col: IntArray, tensor: sp.csr_array, number: IntArray, width: int, size: int
    ) -> AffineMatrix:
        pick = np.flatnonzero((col == width) & (number[row] >= 0))
        return AffineMatrix(number[row[pick]], np.zeros(len(pick), dtype=np.intp), tensor[pick], (size, 1))

    def _find_lifted(self, maps: Sequence[AffineMap]) -> _Lifted | None:
        """Variables t that stand for a(theta) x + b(theta) by one equality and occur only in the squares.

        That is how cvxpy writes sum_squares(multiply(parameter, x)); putting x back keeps the objective separable.
        """
        m, rows = self._matrix, self._rows
        if m is None or not np.array_equal(m.row, m.col) or not m.constant:
            return None
        used = np.zeros(self.size, dtype=bool)
        used[self._bound_variable] = True
        used[sp.csr_array(abs(self._q)).sum(axis=1) > 0] = True
        for item in maps:
            used[item.gain.col] = True
        count = np.bincount(rows.col, minlength=self.size)
        width = np.bincount(rows.row, minlength=rows.shape[0])
        squared = np.zeros(self.size, dtype=bool)
        squared[m.row] = True
        candidate = squared & ~used & (count == 1)
        entry = np.flatnonzero(candidate[rows.col] & self._equality[rows.row] & (width[rows.row] <= 2))
        entry = entry[rows.fixed(entry)]
        row = rows.row[entry]
        if len(np.unique(row)) != len(row):
            return None
        partner = np.full(rows.shape[0], -1, dtype=np.intp)
        others = np.setdiff1d(np.flatnonzero(np.isin(rows.row, row)), entry)
        partner[rows.row[others]] = others
        return _Lifted(rows.col[entry], row, entry, partner[row]) if len(entry) else None

    def theta(self, step: Step, own: Mapping[str, Any], values: Mapping[str, Any], window: Window) -> FloatArray:
        """The parameter vector: the mechanism's values and the interval's requests."""
        given = {
            step.inflexible_kw.id: window.inflexible_kw,
            step.import_request_kw.id: window.import_request_kw,
            step.export_request_kw.id: window.export_request_kw,
            **{parameter.id: values[name] for name, parameter in own.items()},
        }
        for i, column in self._columns.items():
            value = np.asarray(given[i], dtype=float)
            self._theta[column : column + self._parameters[i].size] = value.ravel(order="F")
        return self._theta

    def numbers(self, theta: FloatArray) -> Numbers:
        """Everything but the network at these parameters."""
        lower, upper = np.full(self.size, -np.inf), np.full(self.size, np.inf)
        limit = -self._bound_base.vector(theta) / self._bound_factor
        up = self._bound_factor < 0
        np.maximum.at(lower, self._bound_variable[~up], limit[~up])
        np.minimum.at(upper, self._bound_variable[up], limit[up])
        base = -self._row_base.vector(theta)
        q, offset = np.asarray(self._q @ theta), float((self._offset @ theta)[0])
        hessian, matrix, keep = None, None, np.ones(len(base), dtype=bool)
        if self._matrix is None:
            hessian = np.zeros(self.size)
        elif np.array_equal(self._matrix.row, self._matrix.col):
            hessian = np.zeros(self.size)
            hessian[self._matrix.row] = self._matrix.data(theta)
        else:
            matrix = self._matrix.at(theta)
        rows = self._rows.at(theta)
        if self._lifted is not None:
            offset += self._put_back(theta, base, q, hessian)
            lower[self._lifted.variable] = upper[self._lifted.variable] = 0.0
            keep = self._lifted.other_rows(len(base))
            rows = sp.csr_array(rows[keep])
        return Numbers(
            q=q,
            offset=offset,
            hessian=hessian,
            matrix=matrix,
            lower=lower,
            upper=upper,
            rows=rows,
            row_lower=base[keep],
            row_upper=np.where(self._equality, base, np.inf)[keep],
        )

    def _put_back(self, theta: FloatArray, base: FloatArray, q: FloatArray, hessian: FloatArray | None) -> float:
        """Replace 1/2 p t^2 by 1/2 p (a x + b)^2 in ``q`` and ``hessian``; returns the constant."""
        lifted, data = self._lifted, self._rows.data(theta)
        assert lifted is not None
        assert hessian is not None
        own = data[lifted.entry]
        bent = hessian[lifted.variable].copy()
        hessian[lifted.variable] = 0.0
        b = base[lifted.row] / own
        with_x = lifted.partner >= 0
        a = -data[lifted.partner[with_x]] / own[with_x]
        x = self._rows.col[lifted.partner[with_x]]
        np.add.at(hessian, x, bent[with_x] * a**2)
        np.add.at(q, x, bent[with_x] * a * b[with_x])
        return float(0.5 * np.sum(bent * b**2))

    def values(self, v: FloatArray, theta: FloatArray) -> dict[str, FloatArray]:
        """The program's named values at variables ``v``."""
        return {
            name: m.at(theta, v).reshape(self.program.values[name].shape, order="F") for name, m in self._values.items()
        }


def _entries(tensor: Any) -> tuple[IntArray, sp.csr_array]:
    """Positions of the structurally non-zero entries of a problem tensor, and their rows."""
    full = sp.coo_array(tensor)
    used = full.data != 0
    entries, place = np.unique(full.row[used], return_inverse=True)
    shape = (len(entries), full.shape[1])
    return entries.astype(np.intp), sp.csr_array((full.data[used], (place, full.col[used])), shape=shape)
