"""Checks of a solver backend: a fixed set of small programs whose answers were worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from amm_opt.arrays import FloatArray
from amm_opt.errors import InputError
from amm_opt.solve.answer import FAILED, INFEASIBLE, UNBOUNDED, NoAnswerError
from amm_opt.solve.audit import audit
from amm_opt.solve.backends.dispatch import Backends
from amm_opt.solve.backends.known import label, solver_order, solvers
from amm_opt.solve.backends.reduced import reduced
from amm_opt.solve.compile import Numbers, Rows
from amm_opt.testing.checks import Check, claim, run_all

ACCURACY = 1e-4
"""How far an answer may be from the one worked out by hand, relative to its size or 1."""
INF = np.inf


@dataclass(frozen=True)
class Example:
    """min 1/2 v'Pv + q'v over lower <= v <= upper, own rows and network rows within their limits.

    ``quadratic`` is the diagonal of P or P itself; a row is its coefficients, lower and upper limit. ``answer`` holds
    the optimal variables and the multiplier of each network row (None: not unique); None where there is no optimum and
    ``status`` says why.
    """

    name: str
    q: Sequence[float]
    lower: Sequence[float]
    upper: Sequence[float]
    own: Sequence[tuple[Sequence[float], float, float]] = ()
    network: Sequence[tuple[Sequence[float], float, float]] = ()
    quadratic: ArrayLike | None = None
    answer: tuple[Sequence[float], Sequence[float] | None] | None = None

    status: str = ""

    @property
    def need(self) -> str:
        """What a solver must be able to do."""
        return "lp" if self.quadratic is None else "qp"

    @property
    def numbers(self) -> Numbers:
        """The program without its network rows."""
        n, given = len(self.q), np.zeros(len(self.q)) if self.quadratic is None else np.asarray(self.quadratic, float)
        rows, low, high = _rows(self.own, n)
        diagonal = given if given.ndim == 1 else None
        matrix = None if given.ndim == 1 else sp.csr_array(given)
        bounds = np.array(self.lower, dtype=float), np.array(self.upper, dtype=float)
        return Numbers(np.array(self.q, dtype=float), 0.0, diagonal, matrix, *bounds, rows, low, high)

    @property
    def limits(self) -> tuple[Rows, FloatArray, FloatArray]:
        """Network rows and their limits."""
        return _rows(self.network, len(self.q))


def _rows(given: Sequence[tuple[Sequence[float], float, float]], n: int) -> tuple[Rows, FloatArray, FloatArray]:
    matrix = np.array([row for row, _, _ in given], dtype=float).reshape(len(given), n)
    low, high = (np.array([row[k] for row in given], dtype=float) for k in (1, 2))
    return Rows.from_dense(matrix), low, high


EXAMPLES = (
    # the dearer variable fills the network row: 3 per unit of it
    Example(
        "a linear program",
        [-3, -2],
        [0, 0],
        [10, 10],
        [([1, 3], -INF, 6)],
        [([1, 1], -INF, 4)],
        answer=([4, 0], [-3]),
    ),
    # on x = 1 - y the objective is 1 + y, and x - y <= 3 means y >= -1
    Example(
        "an equality and free variables",
        [1, 2],
        [-INF, -INF],
        [INF, INF],
        [([1, 1], 1, 1)],
        [([1, -1], -INF, 3)],
        answer=([2, -1], [-0.5]),
    ),
    # x goes to its bound, y pays for what is missing of the lower limit
    Example("a lower limit", [1, 1], [0, 0], [1.5, INF], (), [([2, 1], 4, INF)], answer=([1.5, 1], [1])),
    # the same row twice: multipliers add up to those of one
    Example(
        "rows that are there twice",
        [-3, -2],
        [0, 0],
        [10, 10],
        (),
        [([1, 1], -INF, 4), ([1, 1], -INF, 4)],
        answer=([4, 0], None),
    ),
    # y is worth 20 per unit of the row and ends at its bound, half of the row; x, worth 10, takes the rest
    Example(
        "sizes of many orders",
        [-1e-3, -2e3],
        [0, 0],
        [8e3, 5e-3],
        (),
        [([1e-4, 1e2], -INF, 1)],
        answer=([5e3, 5e-3], [-10]),
    ),
    Example(
        "variables that cannot move",
        [-3, -2, 1],
        [0, 1, 2],
        [10, 1, 2],
        (),
        [([1, 1, 1], -INF, 5)],
        answer=([2, 1, 2], [-3]),
    ),
    # x - 4 = z and 4 y - 8 = z on x + y = 3
    Example(
        "a separable quadratic program",
        [-4, -8],
        [0, 0],
        [10, 10],
        (),
        [([1, 1], -INF, 3)],
        [1, 4],
        answer=([1.6, 1.4], [-2.4]),
    ),
    Example(
        "a quadratic program with an idle row",
        [-4, -8],
        [0, 0],
        [10, 10],
        (),
        [([1, 1], -50, 50)],
        [1, 4],
        answer=([4, 2], [0]),
    ),
    # 2 x + y - 5 = x + 2 y - 4 on x + y = 2, the network row at its limit; the other is far
    Example(
        "a quadratic program that is not separable",
        [-5, -4],
        [-9, -9],
        [9, 9],
        [([1, -1], -9, 9)],
        [([1, 1], -INF, 2)],
        [[2, 1], [1, 2]],
        answer=([1.5, 0.5], [-1.5]),
    ),
    # only x has a curvature: x = 1, and y fills the row
    Example(
        "a quadratic program with a linear variable",
        [-1, -1],
        [0, 0],
        [5, 5],
        (),
        [([0, 1], -INF, 2)],
        [1, 0],
        answer=([1, 2], [-1]),
    ),
    Example("nothing feasible", [1, 1], [0, 0], [9, 9], [([1, 1], 2, INF)], [([1, 1], -INF, 1)], status=INFEASIBLE),
    Example(
        "nothing feasible, quadratic",
        [1, 1],
        [0, 0],
        [9, 9],
        [([1, 1], 2, INF)],
        [([1, 1], -INF, 1)],
        [1, 1],
        status=INFEASIBLE,
    ),
    Example("no bound", [-1, 0], [0, 0], [INF, 1], (), [([0, 1], -INF, 0.5)], status=UNBOUNDED),
)


def check_backend(backend: Any) -> None:
    """Hold a solver to a fixed set of small programs: primal, multipliers, signs, gap, infeasible, unbounded.

    Args:
        backend: an object or class with ``name``, ``lp``, ``qp`` and ``solve``, see
            ``amm_opt.solve.backends.Backend``, or the name of an installed solver.

    Raises:
        CheckError: an AssertionError that names everything that does not hold.
        InputError: where the solver is unknown or says that it can solve nothing.
    """
    run_all(label(solver_order(backend).choices[0]), backend_checks(backend))


def backend_checks(backend: Any) -> Iterator[Check]:
    """The checks of :func:`check_backend` one by one, for ``pytest.mark.parametrize``."""
    made = solver_order(backend).choices[0]
    can = solvers()[made] if isinstance(made, str) else made
    if can is None or not (can.lp or can.qp):
        raise InputError(f"solver {backend!r} says that it solves neither linear (lp) nor quadratic (qp) programs")
    for example in EXAMPLES:
        if getattr(can, example.need) and not (made == "DUAL_NEWTON" and not _strict(example)):
            check = _no_answer if example.answer is None else _answer
            yield Check(example.name, partial(check, made, example))


def _strict(example: Example) -> bool:
    """What our own method for separable programs is for."""
    diagonal = np.asarray(example.quadratic, dtype=float)
    return diagonal.ndim == 1 and bool(np.all(diagonal > 0))


def _answer(backend: Any, example: Example) -> None:
    assert example.answer is not None
    v, dual = np.array(example.answer[0], dtype=float), example.answer[1]
    numbers, (network, low, high) = example.numbers, example.limits
    count = len(numbers.row_lower) + len(low)
    for what, start in (("from nothing", np.zeros(count)), ("from a bad start", np.full(count, 0.7))):
        problem = reduced(numbers, network, low, high)
        try:
            point = Backends().solve(problem, backend, start)
        except NoAnswerError as error:
            raise AssertionError(f"{what}: no solution: {error.reason}") from error
        claim(point.v.shape == v.shape, f"{what}: variables have shape {point.v.shape}, not {v.shape}")
        off = np.abs(point.v - v) / np.maximum(1.0, np.abs(v))
        claim(off.max() <= ACCURACY, f"{what}: variables {point.v.tolist()}, right: {v.tolist()}")
        if dual is not None:
            off = np.abs(point.network_dual - np.array(dual)) / np.maximum(1.0, np.abs(dual))
            claim(
                off.max() <= ACCURACY,
                f"{what}: multipliers of network rows {point.network_dual.tolist()}, right: {list(dual)}"
                " (P v + q = rows' y + network' z + multipliers of bounds)",
            )
        checked = audit(numbers, point.v, point.row_dual, network, low, high, point.network_dual)
        claim(checked.passed, f"{what}: the audit fails: {checked}")


def _no_answer(backend: Any, example: Example) -> None:
    problem = reduced(example.numbers, *example.limits)
    try:
        point = Backends().solve(problem, backend, np.zeros(len(problem.row_lower)))
    except NoAnswerError as error:
        claim(error.status in (FAILED, example.status), f"it says {error.status}, right: {example.status}")
    else:
        claim(False, f"it answers {point.v.tolist()} where there is no optimum")
