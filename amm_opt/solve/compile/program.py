"""A program compiled once to numbers that are affine in its parameters.

Three steps: cvxpy canonicalises it (``canonical``), variables that no solver needs to see are eliminated
(``eliminate``), and what is left are sparse maps from the parameter vector to the problem's numbers (``affine``), so
that an interval costs a few sparse matrix-vector products. Time and memory are linear in the size of the program.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import cvxpy as cp
import numpy as np
from cvxpy.atoms.affine.add_expr import AddExpression
from cvxpy.atoms.affine.binary_operators import DivExpression, multiply
from cvxpy.atoms.affine.unary_operators import NegExpression

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.cases import Requests
from amm_opt.grid import Grid
from amm_opt.program import Leximin, Program
from amm_opt.solve.compile.affine import AffineMap, Terms
from amm_opt.solve.compile.canonical import Canonical, NotCompilableError, canonicalise
from amm_opt.solve.compile.eliminate import eliminate, put_back_products
from amm_opt.solve.compile.numbers import Numbers
from amm_opt.solve.compile.products import without_products

Powers = tuple[AffineMap, AffineMap]
"""Flexible import and export of one injection, as maps of a program's variables."""


class CompiledProgram:
    """The numbers of one program (convex, DPP) as a function of its parameters.

    Attributes:
        powers: of each injection.

    Raises:
        NotCompilableError: where the program needs cones beyond linear constraints, or a value or dual that the
            compiled form cannot give.
    """

    def __init__(self, program: Program, grid: Grid) -> None:
        self.program = program
        for name, expression in program.values.items():
            if not (expression.is_affine() and expression.is_dcp(dpp=True)):
                raise NotCompilableError(f"the value {name!r} is not affine in the variables")
        powers = [e for injection in program.injections for e in (injection.import_kw, injection.export_kw)]
        distinct = {id(e): e for e in (*powers, *program.values.values())}
        form = _canonical(program, list(distinct.values()))
        named = _rows_of_duals(program, form)
        self._compact = eliminate(form, list(named.values()))
        self.dual_rows: dict[str, tuple[IntArray, tuple[int, ...]]] = {}
        for name, rows in named.items():
            number = self._compact.row_number[rows]
            if np.any(number < 0):
                raise NotCompilableError(f"the constraint whose dual is {name!r} became a bound")
            self.dual_rows[name] = (number, program.duals[name].shape)
        self._sign = -1.0 if isinstance(program.objective, cp.Maximize) else 1.0
        self.quadratic = len(form.quadratic.row) > 0
        maps = dict(zip(distinct, self._compact.maps, strict=True))
        self.powers = [(maps[id(i.import_kw)], maps[id(i.export_kw)]) for i in program.injections]
        self._values = {name: maps[id(e)] for name, e in program.values.items()}
        self._places = form.parameters
        self._given = {parameter.id: parameter.name() for parameter in grid.parameters}
        self._own = {p.name(): p.id for p in parameters_of(program) if p.id not in self._given}
        self._theta = np.zeros(form.rows.shape[2])
        self._theta[-1] = 1.0

    @property
    def size(self) -> int:
        """Number of variables N."""
        return self._compact.size

    @property
    def separable(self) -> bool:
        """Whether its squares are of single variables only."""
        return self._compact.diagonal

    @property
    def n_rows(self) -> int:
        """Number of general rows."""
        return len(self._compact.equality)

    def theta(self, values: Mapping[str, Any], requests: Requests) -> FloatArray:
        """The parameter vector: the mechanism's values by name and the interval's requests."""
        given = {i: getattr(requests, name) for i, name in self._given.items()}
        given |= {i: values[name] for name, i in self._own.items()}
        for i, place in self._places.items():
            self._theta[place] = np.asarray(given[i], dtype=float).ravel(order="F")
        return self._theta

    def numbers(self, theta: FloatArray) -> Numbers:
        """Everything but the network at these parameters."""
        form, size = self._compact, self.size
        lower, upper = form.bounds.at(theta, size)
        q = np.zeros(size)
        q[form.cost.gain.col] = form.cost.gain.data(theta)
        offset = float(form.cost.base.vector(theta)[0])
        hessian, matrix = None, None
        if form.diagonal:
            hessian = np.zeros(size)
            hessian[form.quadratic.row] = form.quadratic.data(theta)
        else:
            matrix = form.quadratic.at(theta)
        if form.squares is not None:
            assert hessian is not None
            offset += form.squares.add(theta, q, hessian)
        base = -form.rows.base.vector(theta)
        return Numbers(
            q=q,
            offset=offset,
            hessian=hessian,
            matrix=matrix,
            lower=lower,
            upper=upper,
            rows=form.rows.gain.rows(theta),
            row_lower=base,
            row_upper=np.where(form.equality, base, np.inf),
        )

    def value_map(self, name: str) -> AffineMap:
        """A named value as a map of the variables."""
        return self._values[name]

    def values(self, v: FloatArray, theta: FloatArray) -> dict[str, FloatArray]:
        """The program's named values at variables ``v``."""
        return {
            name: m.at(theta, v).reshape(self.program.values[name].shape, order="F") for name, m in self._values.items()
        }

    def objective(self, numbers: Numbers, v: FloatArray) -> float:
        """The program's own, which may be to be maximised, where ``numbers`` are minimised."""
        return self._sign * numbers.objective(v)

    def duals(self, row_dual: FloatArray) -> dict[str, FloatArray]:
        """The program's named multipliers, given those of its general rows."""
        return {name: row_dual[rows].reshape(shape, order="F") for name, (rows, shape) in self.dual_rows.items()}


def parameters_of(program: Program) -> list[cp.Parameter]:
    """Every parameter of a program, once."""
    parts: list[Any] = [*program.constraints, *program.values.values()]
    if not isinstance(program.objective, Leximin):
        parts.append(program.objective)
    parts += [e for i in program.injections for e in (i.import_kw, i.export_kw)]
    return list({p.id: p for part in parts for p in part.parameters()}.values())


def _canonical(program: Program, expressions: Sequence[cp.Expression]) -> Canonical:
    """The canonical form of a program, and maps of these expressions; products are put back into both."""
    curved, affine = _split(program.objective)
    cut = without_products(curved, program.constraints, [*expressions, affine])
    named = [curved == 0, *program.constraints, *(e == 0 for e in (*expressions, affine))]
    order = cp.Problem(cp.Minimize(cut.objective), named).variables()
    factors, operands = [p.factor for p in cut.products], [p.operand for p in cut.products]
    form = canonicalise(cut.objective, cut.constraints, [*cut.expressions, *factors, *operands], order)
    if cut.products:
        first, second = len(cut.expressions), len(cut.expressions) + len(factors)
        columns = [form.column_of[p.variable.id] + np.arange(p.variable.size) for p in cut.products]
        sides = (Terms.stacked(form.maps[first:second]), Terms.stacked(form.maps[second:]))
        form = put_back_products(replace(form, maps=form.maps[:first]), np.concatenate(columns), *sides)
    return replace(form, maps=form.maps[:-1], cost=form.cost.plus(form.maps[-1]))


def _rows_of_duals(program: Program, form: Canonical) -> dict[str, IntArray]:
    """The canonical rows of every constraint whose multipliers are asked for."""
    for name, constraint in program.duals.items():
        if constraint.id not in form.row_of:
            raise NotCompilableError(f"the constraint whose dual is {name!r} was transformed")
    return {name: form.row_of[constraint.id] for name, constraint in program.duals.items()}


def _split(objective: cp.Minimize | cp.Maximize) -> tuple[cp.Expression, cp.Expression]:
    """What is to be minimised, as curved and affine terms.

    The affine ones are carried as a row, because cvxpy extracts the coefficients of quadratic objectives with a dense
    array of variables times parameters.
    """
    terms = list(_terms(objective.args[0], 1.0 if isinstance(objective, cp.Minimize) else -1.0))
    zero = cp.Constant(0.0)
    curved, affine = ([f * e for f, e in terms if e.is_affine() == kind] for kind in (False, True))
    return sum(curved, zero), sum(affine, zero)


def _terms(expression: cp.Expression, factor: float) -> Iterator[tuple[float, cp.Expression]]:
    """Scalar expressions and factors whose products add up to it."""
    args = expression.args
    if isinstance(expression, AddExpression) and all(e.is_scalar() for e in args):
        for e in args:
            yield from _terms(e, factor)
    elif isinstance(expression, NegExpression):
        yield from _terms(args[0], -factor)
    elif isinstance(expression, multiply) and _number(args[0]):
        yield from _terms(args[1], factor * float(args[0].value))
    elif isinstance(expression, DivExpression) and _number(args[1]):
        yield from _terms(args[0], factor / float(args[1].value))
    else:
        yield factor, expression


def _number(expression: cp.Expression) -> bool:
    return bool(expression.is_scalar() and expression.is_constant() and not expression.parameters())
