"""The form of a program: two programs of one form differ in the numbers of their parameters only.

So one compiled program serves all mechanisms that declare the same, such as one mechanism at other parameters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from cvxpy.constraints import Equality, Inequality, NonNeg, NonPos, Zero
from cvxpy.constraints.constraint import Constraint
from cvxpy.expressions.leaf import Leaf
from cvxpy.settings import PARAM_PREFIX, VAR_PREFIX

from amm_opt.grid import Grid
from amm_opt.program import HorizonProgram, Injection, Leximin, Program
from amm_opt.solve.compile.program import CompiledProgram

Form = tuple[Hashable, ...]
Known = dict[Form, CompiledProgram]
_OF_ARGS_ONLY = (Equality, Inequality, NonNeg, NonPos, Zero)
"""Constraints that are known by their arguments; what cvxpy says of them beside these is a number of their own."""


class _UnknownError(Exception):
    """Something of which it is not known how to compare it."""


def form_of(program: Program | HorizonProgram, given: Iterable[cp.Parameter]) -> Form | None:
    """What there is to compile, with all its constants; None where something in it cannot be compared.

    Args:
        given: parameters that are known by their place, such as the requests of a grid.
    """
    try:
        return _Reader(given).of(program)
    except _UnknownError:
        return None


def compiled_once(program: Program, grid: Grid, known: Known) -> CompiledProgram:
    """The program compiled, or one of its form that is known; its numbers are those of any grid's intervals.

    Raises:
        NotCompilableError: see ``CompiledProgram``.
    """
    form = form_of(program, grid.parameters)
    if form is None:
        return CompiledProgram(program, grid)
    if form not in known:
        known[form] = CompiledProgram(program, grid)
    return known[form]


class _Reader:
    """Variables, parameters and constraints are numbered in the order in which they are met."""

    def __init__(self, given: Iterable[cp.Parameter]) -> None:
        self._forms: dict[int, Hashable] = {id(p): ("given", k) for k, p in enumerate(given)}
        self._met: list[Any] = []

    def of(self, item: Any) -> Form:
        """The form of a program."""
        if isinstance(item, HorizonProgram):
            parts = (item.interval, item.objective, *self._named(item.totals), list(item.constraints))
            rest = (*self._named(item.values), *sorted(item.stores.items()), *self._named(item.duals))
            return ("horizon", *map(self._item, (*parts, *rest)))
        program: Program = item
        powers = [e for i in program.injections for e in _powers(i)]
        parts = (program.objective, list(program.constraints), powers)
        return ("interval", *map(self._item, (*parts, *self._named(program.values), *self._named(program.duals))))

    @staticmethod
    def _named(items: Any) -> list[Any]:
        return [list(items), *items.values()]

    def _item(self, item: Any) -> Hashable:
        """Of anything that is met in a program or in what cvxpy says of an atom."""
        if isinstance(item, Program):
            return self.of(item)
        if isinstance(item, Leximin):
            return ("leximin", self._item(item.level))
        if item is None or isinstance(item, str | int | float | complex | bool | np.number | np.bool_):
            return (type(item).__name__, repr(item))
        if isinstance(item, slice):
            return ("slice", *map(self._item, (item.start, item.stop, item.step)))
        if isinstance(item, list | tuple):
            return (type(item).__name__, *map(self._item, item))
        if isinstance(item, np.ndarray) or sp.issparse(item):
            return _array(item)
        if isinstance(item, cp.Expression | Constraint | cp.Minimize | cp.Maximize):
            return self._node(item)
        raise _UnknownError

    def _node(self, node: Any) -> Hashable:
        known = self._forms.get(id(node))
        if known is None:
            known = self._anew(node)
            self._forms[id(node)] = ("again", len(self._forms))
            self._met.append(node)
        return known

    def _anew(self, node: Any) -> Hashable:
        kind = type(node)
        if isinstance(node, cp.Constant):
            return ("constant", _array(node.value))
        if isinstance(node, Leaf):
            attributes = [list(item) for item in sorted(node.attributes.items()) if item[1] not in (False, None)]
            return (kind.__qualname__, node.shape, _name(node), self._item(attributes))
        parts = (f"{kind.__module__}.{kind.__qualname__}", *map(self._item, node.args))
        if isinstance(node, Constraint):
            if kind not in _OF_ARGS_ONLY:
                raise _UnknownError
            return parts
        return (*parts, self._item(node.get_data()))


def _powers(injection: Injection) -> tuple[cp.Expression, cp.Expression]:
    return injection.import_kw, injection.export_kw


def _name(leaf: Leaf) -> str:
    """The name that it was given; empty where it has only its number."""
    name = str(leaf.name())
    return "" if name in (f"{VAR_PREFIX}{leaf.id}", f"{PARAM_PREFIX}{leaf.id}") else name


def _array(value: Any) -> Form:
    """An array with every number in it."""
    parts = [value]
    if sp.issparse(value):
        matrix = sp.csc_array(value)
        parts = [matrix.data, matrix.indices, matrix.indptr]
    arrays = [np.asarray(part) for part in parts]
    if any(array.dtype.hasobject for array in arrays):
        raise _UnknownError
    digests = [(str(array.dtype), hashlib.sha256(array.tobytes()).hexdigest()) for array in arrays]
    return (type(value).__name__, tuple(np.shape(value)), *digests)
