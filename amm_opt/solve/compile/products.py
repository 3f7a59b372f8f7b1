"""Elementwise products of parameters and variables are cut out of a program before cvxpy sees it.

cvxpy writes ``multiply(parameter, expression)`` of n elements with index arrays of n x n numbers. A variable stands in
for each such product instead; what it stands for is put back into cvxpy's sparse result, in linear time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import cvxpy as cp
from cvxpy.atoms.affine.binary_operators import multiply

Node = TypeVar("Node", bound=cp.Expression | cp.constraints.constraint.Constraint)


@dataclass(frozen=True, eq=False)
class Product:
    """``variable`` = ``factor`` * ``operand``, elementwise; the factor has no variables, the operand no parameters."""

    variable: cp.Variable
    factor: cp.Expression
    operand: cp.Expression


@dataclass(frozen=True, eq=False)
class WithoutProducts:
    """A program, further expressions, and the products that variables stand for in both."""

    objective: cp.Expression
    constraints: list[cp.Constraint]
    expressions: list[cp.Expression]
    products: list[Product]


def without_products(
    objective: cp.Expression, constraints: Sequence[cp.Constraint], expressions: Sequence[cp.Expression]
) -> WithoutProducts:
    """The same without products; with them where it is convex only by their signs. Constraints keep their ids."""
    cut = _Cutter()
    problem = cp.Problem(cp.Minimize(cut(objective)), [cut(c) for c in constraints])
    if not problem.is_dcp(dpp=True):
        return WithoutProducts(objective, list(constraints), list(expressions), [])
    return WithoutProducts(problem.objective.expr, problem.constraints, [cut(e) for e in expressions], cut.products)


class _Cutter:
    """Replaces products in expressions and constraints; ``products`` are those found, each once."""

    def __init__(self) -> None:
        self.products: list[Product] = []
        self._known: dict[int, Any] = {}

    def __call__(self, node: Node) -> Node:
        if id(node) not in self._known:
            self._known[id(node)] = self._cut(node)
        found: Node = self._known[id(node)]
        return found

    def _cut(self, node: Any) -> Any:
        if not node.args or not node.parameters():
            return node
        if isinstance(node, multiply) and (product := _product(node)) is not None:
            self.products.append(product)
            return product.variable
        new = [self(arg) for arg in node.args]
        return node if all(a is b for a, b in zip(new, node.args, strict=True)) else node.copy(new)


def _product(node: multiply) -> Product | None:
    for factor, operand in (node.args, node.args[::-1]):
        separate = not factor.variables() and not operand.parameters() and operand.variables()
        if separate and operand.is_affine() and factor.shape == operand.shape == node.shape:
            return Product(cp.Variable(node.shape), factor, operand)
    return None
