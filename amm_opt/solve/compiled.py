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
from cvxpy.atoms.affine.add_expr import AddExpression
from cvxpy.constraints import SOC, ExpCone, NonNeg, Zero
from numpy.typing import NDArray

from amm_opt.cases import Requests
from amm_opt.grid import Grid
from amm_opt.program import Program
from amm_opt.solve.affine import AffineMap, AffineMatrix
from amm_opt.solve.numbers import Numbers

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]


class NotCompilableError(Exception):
    """The program has no linear or quadratic form; the message names the reason.

    ``needs`` names the cones that a solver must have instead (``socp``, ``exp``).
    """

    def __init__(self, message: str, needs: frozenset[str] = frozenset()) -> None:
        super().__init__(message)
        self.needs = needs


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


class _PutBack:
    """Replaces 1/2 p t^2 by 1/2 p (a x + b)^2 for every lifted variable t = a x + b."""

    def __init__(self, lifted: _Lifted, rows: AffineMatrix, base: AffineMatrix) -> None:
        self._variable = lifted.variable
        self._own = rows.entries(lifted.entry)[:, [-1]].toarray().ravel()
        self._with_x = np.flatnonzero(lifted.partner >= 0)
        partner = lifted.partner[self._with_x]
        self._factor, self._x = rows.entries(partner), rows.col[partner]
        chosen = np.zeros(rows.shape[0], dtype=bool)
        chosen[lifted.row] = True
        self._base, self._order = base.part(chosen), np.argsort(np.argsort(lifted.row))

    def __call__(self, theta: FloatArray, q: FloatArray, hessian: FloatArray) -> float:
        """Change ``q`` and ``hessian``; returns the constant."""
        bent = hessian[self._variable]
        hessian[self._variable] = 0.0
        a = -(self._factor @ theta) / self._own[self._with_x]
        pull = bent[self._with_x] * a
        hessian += np.bincount(self._x, pull * a, len(hessian))
        if self._base.empty:
            return 0.0
        b = -self._base.vector(theta)[self._order] / self._own
        q += np.bincount(self._x, pull * b[self._with_x], len(q))
        return float(0.5 * np.sum(bent * b**2))


class CompiledProgram:
    """The numbers of one program as a function of its parameters.

    Raises:
        NotCompilableError: where the program needs cones beyond linear constraints, or a value or dual that the
            compiled form cannot give.
    """

    def __init__(self, program: Program, grid: Grid) -> None:
        self.program = program
        powers = [e for injection in program.injections for e in (injection.import_kw, injection.export_kw)]
        wanted = [cp.vec(e, order="F") for e in (*powers, *program.values.values())]
        for name, expression in program.values.items():
            if not (expression.is_affine() and expression.is_dcp(dpp=True)):
                raise NotCompilableError(f"the value {name!r} is not affine in the variables")
        curved, affine = _split_objective(program.objective)
        wanted.append(cp.vec(affine, order="F"))
        carriers = [cp.Variable(e.size) for e in wanted]
        links = [z == e for z, e in zip(carriers, wanted, strict=True)]
        problem = cp.Problem(cp.Minimize(curved), [*program.constraints, *links])
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
        self._rows: AffineMatrix
        self._row_base: AffineMatrix
        self._equality: NDArray[np.bool_]
        self._objective(form)
        maps = self._constraints(form, program, links)
        self.powers = maps[: len(powers)]
        self._values = dict(zip(program.values, maps[len(powers) : -1], strict=True))
        self._cost = maps[-1]
        self._lifted = self._find_lifted(maps)
        if self._lifted is not None:
            kept = self._lifted.other_rows(len(self._general))
            number = np.cumsum(kept) - 1
            self.dual_rows = {name: (number[rows], shape) for name, (rows, shape) in self.dual_rows.items()}
            self._put_back = _PutBack(self._lifted, self._rows, self._row_base)
            self._rows, self._row_base = self._rows.part(kept), self._row_base.part(kept)
            self._equality = self._equality[kept]

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
        return len(self._equality)

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
        high = self._bound_factor < 0
        self._sides = (np.flatnonzero(~high), np.flatnonzero(high))
        self._bound_once = all(len(np.unique(v)) == len(v) for v in (self._bound_variable[s] for s in self._sides))
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

    def theta(self, grid: Grid, own: Mapping[str, Any], values: Mapping[str, Any], requests: Requests) -> FloatArray:
        """The parameter vector: the mechanism's values and the interval's requests."""
        given = {
            grid.inflexible_kw.id: requests.inflexible_kw,
            grid.import_request_kw.id: requests.import_request_kw,
            grid.export_request_kw.id: requests.export_request_kw,
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
        (low, high), once = self._sides, self._bound_once
        if once:
            lower[self._bound_variable[low]] = limit[low]
            upper[self._bound_variable[high]] = limit[high]
        else:
            np.maximum.at(lower, self._bound_variable[low], limit[low])
            np.minimum.at(upper, self._bound_variable[high], limit[high])
        q = np.asarray(self._q @ theta) if self._q.nnz else np.zeros(self.size)
        q[self._cost.gain.col] += self._cost.gain.data(theta)
        offset = float((self._offset @ theta)[0] + self._cost.base.vector(theta)[0])
        hessian, matrix = None, None
        if self._matrix is None:
            hessian = np.zeros(self.size)
        elif np.array_equal(self._matrix.row, self._matrix.col):
            hessian = np.zeros(self.size)
            hessian[self._matrix.row] = self._matrix.data(theta)
        else:
            matrix = self._matrix.at(theta)
        if self._lifted is not None:
            assert hessian is not None
            offset += self._put_back(theta, q, hessian)
            lower[self._lifted.variable] = upper[self._lifted.variable] = 0.0
        base = -self._row_base.vector(theta)
        return Numbers(
            q=q,
            offset=offset,
            hessian=hessian,
            matrix=matrix,
            lower=lower,
            upper=upper,
            rows=self._rows.rows(theta),
            row_lower=base,
            row_upper=np.where(self._equality, base, np.inf),
        )

    def value_map(self, name: str) -> AffineMap:
        """A named value as a map of the variables."""
        return self._values[name]

    def values(self, v: FloatArray, theta: FloatArray) -> dict[str, FloatArray]:
        """The program's named values at variables ``v``."""
        return {
            name: m.at(theta, v).reshape(self.program.values[name].shape, order="F") for name, m in self._values.items()
        }


def _split_objective(objective: cp.Minimize | cp.Maximize) -> tuple[cp.Expression, cp.Expression]:
    """What is to be minimised, as curved and affine terms.

    The affine ones are carried as a row, because cvxpy extracts the coefficients of quadratic objectives with a dense
    array of variables times parameters.
    """
    total = objective.args[0] if isinstance(objective, cp.Minimize) else -objective.args[0]
    expression = objective.args[0]
    sign = 1.0 if isinstance(objective, cp.Minimize) else -1.0
    terms = expression.args if isinstance(expression, AddExpression) else [expression]
    if any(not t.is_scalar() for t in terms):
        return total, cp.Constant(0.0)
    affine = [sign * t for t in terms if t.is_affine()]
    curved = [sign * t for t in terms if not t.is_affine()]
    zero = cp.Constant(0.0)
    return sum(curved[1:], curved[0]) if curved else zero, sum(affine[1:], affine[0]) if affine else zero


def _entries(tensor: Any) -> tuple[IntArray, sp.csr_array]:
    """Positions of the structurally non-zero entries of a problem tensor, and their rows."""
    full = sp.coo_array(tensor)
    used = full.data != 0
    entries, place = np.unique(full.row[used], return_inverse=True)
    shape = (len(entries), full.shape[1])
    return entries.astype(np.intp), sp.csr_array((full.data[used], (place, full.col[used])), shape=shape)
