"""Step 1: cvxpy canonicalises a program. All that is known of its private form is known here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from cvxpy.constraints import SOC, ExpCone, NonNeg, Zero

from amm_opt.arrays import BoolArray, IntArray
from amm_opt.solve.compile.affine import Terms, numbered


class NotCompilableError(Exception):
    """The program has no linear or quadratic form; the message names the reason.

    ``needs`` names the cones that a solver must have instead (``socp``, ``exp``).
    """

    def __init__(self, message: str, needs: frozenset[str] = frozenset()) -> None:
        super().__init__(message)
        self.needs = needs


@dataclass(frozen=True, eq=False)
class Canonical:
    """min 1/2 x'Px + c'x, subject to rows that are zero or not negative; N variables x, a further column stands for 1.

    Attributes:
        quadratic: P, (N, N).
        cost: c, (1, N + 1).
        rows: (M, N + 1), of which those with ``equality`` are zero.
        maps: expressions in terms of x, (elements, N + 1) each.
        row_of: the rows of each constraint, by its id.
        column_of: the first column of each variable, by its id.
        parameters: the places of each parameter in theta, by its id.
    """

    quadratic: Terms
    cost: Terms
    rows: Terms
    equality: BoolArray
    maps: list[Terms]
    row_of: Mapping[int, IntArray]
    column_of: Mapping[int, int]
    parameters: Mapping[int, slice]

    @property
    def size(self) -> int:
        """Number of variables N."""
        return self.quadratic.shape[0]


def canonicalise(
    objective: cp.Expression,
    constraints: Sequence[cp.Constraint],
    expressions: Sequence[cp.Expression],
    order: Sequence[cp.Variable],
) -> Canonical:
    """The canonical form of a convex program (DPP), and of expressions that are affine in its variables.

    ``order`` is that of the columns, but for those of variables of other origin, which stay where cvxpy has them.

    Raises:
        NotCompilableError: where the program needs cones beyond linear constraints.
    """
    carrier = cp.Variable(sum(e.size for e in expressions))
    link = carrier == cp.hstack([cp.vec(e, order="F") for e in expressions])
    problem = cp.Problem(cp.Minimize(objective), [*constraints, link])
    form = problem.get_problem_data("CLARABEL")[0]["param_prob"]
    cones = {type(c) for c in form.constraints} - {Zero, NonNeg}
    if cones:
        needs = frozenset({SOC: "socp", ExpCone: "exp"}.get(c, c.__name__) for c in cones)
        raise NotCompilableError("the program has cones beyond linear constraints", needs)
    first = dict(zip((c.id for c in form.constraints), _starts([c.size for c in form.constraints]), strict=True))
    own, linked = np.ones(form.constr_size, dtype=bool), first.pop(link.id) + np.arange(carrier.size)
    own[linked] = False
    number, column = numbered(own), _columns(form, carrier, order)
    size, terms = int(column[-1]), _terms(form.A, form.constr_size)
    maps = _solved_for(terms, linked, form.var_id_to_col[carrier.id]).renumbered(column)
    squares = _terms(form.P, form.x.size) if form.P is not None else Terms.none((size, size, terms.shape[2]))
    return Canonical(
        quadratic=squares.placed(column, column, (size, size)),
        cost=_terms(form.q, 1).renumbered(column),
        rows=terms.renumbered(column, number),
        equality=np.repeat([isinstance(c, Zero) for c in form.constraints], [c.size for c in form.constraints])[own],
        maps=_split(maps, [e.size for e in expressions]),
        row_of={c.id: number[first[c.id] + np.arange(c.size)] for c in form.constraints if c.id in first},
        column_of={i: int(column[c]) for i, c in form.var_id_to_col.items()},
        parameters={p.id: _span(form.param_id_to_col[p.id], p.size) for p in form.parameters},
    )


def _span(start: int, size: int) -> slice:
    return slice(start, start + size)


def _starts(sizes: Sequence[int]) -> IntArray:
    """Where each begins when they follow one another."""
    return np.cumsum([0, *sizes])[:-1]


def _columns(form: Any, carrier: cp.Variable, order: Sequence[cp.Variable]) -> IntArray:
    """The new number of every column: -1 for the carrier's, and the last one stays last."""
    old, size = form.var_id_to_col, {v.id: v.size for v in form.variables}
    present = [i for i in sorted(old, key=old.__getitem__) if i != carrier.id]
    ordered = [v.id for v in order if v.id in size]
    movable, turn = set(ordered), iter(ordered)
    new = [next(turn) if i in movable else i for i in present]
    column = np.full(form.x.size + 1, -1, dtype=np.intp)
    for i, start in zip(new, _starts([size[i] for i in new]), strict=True):
        column[old[i] : old[i] + size[i]] = start + np.arange(size[i])
    column[-1] = form.x.size - carrier.size
    return column


def _terms(tensor: Any, height: int) -> Terms:
    """A problem tensor, (height * columns, length of theta), entry (i, j) of the matrix in row i + height * j."""
    full = sp.coo_array(tensor)
    used = full.data != 0
    place = full.row[used].astype(np.intp)
    shape = (height, full.shape[0] // height, full.shape[1])
    return Terms(place % height, place // height, full.col[used].astype(np.intp), full.data[used], shape)


def _solved_for(terms: Terms, rows: IntArray, first: int) -> Terms:
    """g x + b as rows 0, 1, ..., out of the rows f z - f g x - f b = 0 of z_0, z_1, ..., whose columns begin here."""
    number = np.full(terms.shape[0], -1, dtype=np.intp)
    number[rows] = np.arange(len(rows))
    linked = terms.renumbered(np.arange(terms.shape[1]), number)
    of_z = (linked.col >= first) & (linked.col < first + len(rows))
    factor = np.zeros(len(rows))
    factor[linked.row[of_z]] = linked.value[of_z]
    rest = linked.pick(~of_z)
    return replace(rest, value=-rest.value / factor[rest.row])


def _split(terms: Terms, sizes: Sequence[int]) -> list[Terms]:
    """Matrices that stand one above the other, each with so many rows."""
    every, found = np.arange(terms.shape[1]), []
    for start, size in zip(_starts(sizes), sizes, strict=True):
        inside = np.zeros(terms.shape[0], dtype=bool)
        inside[start : start + size] = True
        found.append(terms.renumbered(every, numbered(inside)))
    return found
