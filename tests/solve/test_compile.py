"""Compiled programs against cvxpy's own solution of what was declared, and the sparse arrays that they are made of."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small import first_interval, grid_of, one_transformer

import amm_opt as ao
from amm_opt.arrays import FloatArray
from amm_opt.solve.compile import AffineMatrix, CompiledProgram, Known, NotCompilableError, Numbers
from amm_opt.solve.compile.affine import AffineMap, Terms
from amm_opt.solve.route import Task
from amm_opt.solve.routes.checks import check_program
from amm_opt.solve.routes.declared import DeclaredProgram
from amm_opt.solve.solver import ProgramSolver
from formulations.parts.matching import matching, matching_values

EXACT = {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}
SEEDS = st.integers(0, 10**6)
SIZES = st.integers(1, 5)


def random_terms(rng: np.random.Generator, m: int, n: int, length: int, *, fixed: bool = False) -> Terms:
    count = int(rng.integers(0, 2 * m * n + 1))
    row, col, parameter = (rng.integers(0, size, count) for size in (m, n, length))
    return Terms(row, col, np.full(count, length - 1) if fixed else parameter, rng.normal(size=count), (m, n, length))


def dense(terms: Terms, theta: FloatArray) -> FloatArray:
    """The matrix, term by term."""
    out = np.zeros(terms.shape[:2])
    for i, j, k, value in zip(terms.row, terms.col, terms.parameter, terms.value, strict=True):
        out[i, j] += value * theta[k]
    return out


def random_theta(rng: np.random.Generator, length: int) -> FloatArray:
    return np.append(rng.normal(size=length - 1), 1.0)


@given(SEEDS, SIZES, SIZES, SIZES)
@settings(deadline=None, max_examples=60)
def test_affine_matrices_and_maps(seed: int, m: int, n: int, length: int) -> None:
    """Terms in any order, several at one place."""
    rng = np.random.default_rng(seed)
    terms, theta, v = random_terms(rng, m, n, length), random_theta(rng, length), rng.normal(size=n)
    matrix, expected = AffineMatrix(terms), dense(terms, theta)
    np.testing.assert_allclose(matrix.at(theta).toarray(), expected, atol=1e-12)
    np.testing.assert_allclose(matrix.rows(theta).dense(), expected, atol=1e-12)
    np.testing.assert_allclose(matrix.times(theta, v), expected @ v, atol=1e-12)
    places = zip(matrix.row, matrix.col, strict=True)
    moves = [np.unique(terms.parameter[(terms.row == i) & (terms.col == j)]) for i, j in places]
    assert matrix.fixed.tolist() == [set(k) == {length - 1} for k in moves]
    assert matrix.constant == bool(matrix.fixed.all())
    if n == 1:
        np.testing.assert_allclose(matrix.vector(theta), expected[:, 0], atol=1e-12)
    np.testing.assert_allclose(AffineMap(terms).at(theta, v[:-1]), expected @ [*v[:-1], 1.0], atol=1e-12)


@given(SEEDS, SIZES, SIZES, SIZES, SIZES)
@settings(deadline=None, max_examples=60)
def test_terms_are_multiplied_and_substituted(seed: int, m: int, n: int, length: int, count: int) -> None:
    """Rows times numbers, and columns replaced by rows, are what they are for dense matrices."""
    rng = np.random.default_rng(seed)
    theta = random_theta(rng, length)
    factor, operand = random_terms(rng, count, 1, length), random_terms(rng, count, n, length, fixed=True)
    product = operand.times(factor)
    np.testing.assert_allclose(dense(product, theta), dense(factor, theta) * dense(operand, theta), atol=1e-12)
    terms = random_terms(rng, m, n, length, fixed=True)
    number = np.where(rng.random(n) < 0.5, rng.integers(0, count, n), -1)
    matrix, replaced = dense(terms, theta), number >= 0
    expected = matrix * ~replaced + matrix[:, replaced] @ dense(product, theta)[number[replaced]]
    np.testing.assert_allclose(dense(terms.substituted(number, product), theta), expected, atol=1e-10)
    rows = np.where(rng.random(m) < 0.7, rng.permutation(m), -1)
    moved = np.zeros((m, n))
    moved[rows[rows >= 0]] = matrix[rows >= 0]
    np.testing.assert_allclose(dense(terms.placed(rows, np.arange(n), (m, n)), theta), moved, atol=1e-12)


def solved(numbers: Numbers) -> FloatArray:
    """The optimum of a program's numbers, by a cvxpy model of its own."""
    v = cp.Variable(len(numbers.q))
    curvature = np.diag(numbers.hessian) if numbers.hessian is not None else numbers.matrix.toarray()
    cost = 0.5 * cp.quad_form(v, cp.psd_wrap(curvature)) + numbers.q @ v
    rows, limits = numbers.rows.dense(), []
    sides = (
        (v, numbers.lower, numbers.upper),
        (rows @ v if len(rows) else v[:0], numbers.row_lower, numbers.row_upper),
    )
    for expression, low, high in sides:
        above, below = np.isfinite(low), np.isfinite(high)
        limits += [expression[above] >= low[above], expression[below] <= high[below]]
    cp.Problem(cp.Minimize(cost), [limit for limit in limits if limit.size]).solve(solver=cp.CLARABEL, **EXACT)
    return np.asarray(v.value)


def random_program(rng: np.random.Generator, grid: ao.Grid) -> tuple[ao.Program, dict[str, FloatArray]]:
    """Products of parameters and expressions in an objective, in constraints, injections and values."""
    x, y = cp.Variable(4, name="x"), cp.Variable(2, name="y")
    p, root = cp.Parameter(4, name="p"), cp.Parameter(4, nonneg=True, name="root")
    s, square = cp.Parameter(name="s"), cp.Parameter((2, 2), name="square")
    spread, index = rng.normal(size=(4, 2)).round(2), rng.integers(0, 2, 4)
    pieces: list[Callable[[], cp.Expression]] = [
        lambda: x,
        lambda: cp.multiply(p, x),
        lambda: s * x,
        lambda: -cp.multiply(p, y[index]) / 2,
        lambda: cp.multiply(spread @ p[:2], 3.0 - x),
        lambda: cp.multiply(x, root) + p,
        lambda: cp.hstack([cp.multiply(root[2:], y), y]),
        lambda: spread @ cp.multiply(p[1:3], y + 1.0),
        lambda: cp.vec(cp.multiply(square, cp.reshape(x, (2, 2), order="F")) + square.T, order="F"),
        lambda: cp.multiply(root, cp.multiply(spread[:, 0], x) + cp.sum(y)),
        lambda: x - grid.import_request_kw,
        lambda: cp.multiply(grid.import_request_kw, spread @ y),
        lambda: (square @ y)[index],
    ]

    def affine() -> cp.Expression:
        chosen = rng.choice(len(pieces), 3, replace=False)
        return sum(pieces[i]() for i in chosen[: int(rng.integers(1, 4))])

    squares: list[Callable[[], cp.Expression]] = [
        lambda: cp.sum_squares(cp.multiply(root, x)),
        lambda: cp.sum_squares(cp.multiply(root, x) - 3.0 * p),
        lambda: cp.sum_squares(root[0] * y),
        lambda: cp.sum_squares(affine()),
        lambda: cp.sum(cp.square(cp.multiply(p, x))) + cp.sum(affine()),
        lambda: cp.abs(cp.sum(affine()) - s),
    ]
    cost = cp.sum_squares(x) / 4 + (cp.sum_squares(y - 1.0) + p @ x) * 0.5 + cp.sum(affine()) + s
    for i in rng.choice(len(squares), int(rng.integers(0, 4)), replace=False):
        cost += 0.5 * squares[i]()
    limits = [x >= -2, affine() <= 4 + p, y <= root[:2], cp.sum(cp.multiply(p, x)) + y[0] == s]
    limits.append(cp.sum(square @ y) <= 20.0)
    objective = cp.Minimize(cost) if rng.random() < 0.5 else cp.Maximize(-cost)
    values = {"x": x, "y": y, "one": affine(), "other": cp.multiply(square, cp.reshape(x, (2, 2), order="F"))}
    program = ao.Program(objective, limits, [grid.injection(import_kw=affine(), export_kw=affine())], values)
    drawn: dict[str, FloatArray] = {"p": rng.normal(size=4), "root": rng.uniform(0, 2, 4), "s": rng.normal(size=())}
    return program, {**drawn, "square": rng.normal(size=(2, 2))}


@given(SEEDS)
@settings(deadline=None, max_examples=25)
def test_numbers_are_those_of_the_declared_program(seed: int) -> None:
    """cvxpy solves the declared program with its parameters' values; the compiled numbers have the same optimum."""
    rng = np.random.default_rng(seed)
    grid = grid_of(one_transformer(50, [1.0] * 4, [1.0, 2.0, 0.5, 3.0], [0.0] * 4))
    requests = first_interval(grid.case)
    program, given_values = random_program(rng, grid)
    own = check_program(program, grid)
    compiled = CompiledProgram(program, grid)
    for parameter, value in [
        *((own[name], given_values[name]) for name in own),
        (grid.import_request_kw, requests.import_request_kw),
    ]:
        parameter.value = value
    declared = cp.Problem(program.objective, program.constraints)
    declared.solve(solver=cp.CLARABEL, ignore_dpp=True, **EXACT)
    assume(declared.status != cp.INFEASIBLE)
    theta = compiled.theta(given_values, requests)
    numbers = compiled.numbers(theta)
    v = solved(numbers)
    assert compiled.objective(numbers, v) == pytest.approx(declared.value, rel=1e-6, abs=1e-6)
    for name, value in compiled.values(v, theta).items():
        np.testing.assert_allclose(value, program.values[name].value, atol=2e-4, err_msg=name)
    powers = (program.injections[0].import_kw, program.injections[0].export_kw)
    for power, expression in zip(compiled.powers[0], powers, strict=True):
        np.testing.assert_allclose(power.at(theta, v), expression.value, atol=2e-3)


def small_grid() -> ao.Grid:
    return grid_of(one_transformer(12, [1.0, 1.0], [10.0, 20.0], [0.0, 0.0]))


def both(build: Callable[[ao.Grid], ao.Program], values: Mapping[str, Any]) -> tuple[ao.Solution, ao.Solution]:
    """The answers of the compiled and of the declared program."""
    grid = small_grid()
    interval = first_interval(grid.case)
    limits = grid.limits(interval)
    solver = ProgramSolver(build(grid), grid, (None,))
    assert solver.reason == ""
    program = build(grid)
    expected = DeclaredProgram(program, grid, check_program(program, grid)).solve(
        "CLARABEL", Task(values, interval, *limits)
    )
    return solver.solve(values, interval, *limits), expected


def test_an_equality_whose_multiplier_is_asked_for_is_kept() -> None:
    """t = multiply(root, x) occurs only in squares and could be eliminated, and its multiplier with it."""

    def build(grid: ao.Grid) -> ao.Program:
        x, t = cp.Variable(2), cp.Variable(2)
        equal = t == cp.multiply(cp.Parameter(2, nonneg=True, name="root"), x)
        best = cp.Maximize(cp.sum(x) - 0.5 * cp.sum_squares(t))
        return ao.Program(best, [equal, x >= 0], [grid.injection(import_kw=x)], {"x": x}, {"equal": equal})

    found, expected = both(build, {"root": np.array([0.5, 1.5])})
    np.testing.assert_allclose(found["x"], expected["x"], atol=1e-5)
    np.testing.assert_allclose(np.abs(found.duals["equal"]), np.abs(expected.duals["equal"]), atol=1e-5)
    np.testing.assert_allclose(np.abs(found.duals["equal"]), [0.5, 1.5] * found["x"], atol=1e-5)


def test_a_curvature_that_depends_on_the_sign_of_a_product() -> None:
    """| |x - 5| + multiply(p, y) | is convex because y and p are not negative."""

    def build(grid: ao.Grid) -> ao.Program:
        x, y = cp.Variable(2), cp.Variable(2, nonneg=True)
        p = cp.Parameter(2, nonneg=True, name="p")
        cost = cp.sum(cp.abs(cp.abs(x - 5.0) + cp.multiply(p, y))) + cp.sum_squares(y - 1.0) + 0.1 * cp.sum_squares(x)
        return ao.Program(cp.Minimize(cost), [x >= 0], [grid.injection(import_kw=x)], {"x": x, "y": y})

    found, expected = both(build, {"p": np.array([0.5, 3.0])})
    for name in ("x", "y"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-4)


def test_what_cannot_be_compiled_is_said() -> None:
    grid, x = small_grid(), cp.Variable(2)
    at_least, hosted = x >= 0, [grid.injection(import_kw=x)]
    bad: list[tuple[ao.Program, str, set[str]]] = [
        (ao.Program(cp.Maximize(cp.sum(x)), [cp.norm(x) <= 1], hosted, {}), "cones beyond linear", {"socp"}),
        (ao.Program(cp.Maximize(cp.sum(cp.log(x))), [], hosted, {}), "cones beyond linear", {"exp"}),
        (ao.Program(cp.Maximize(cp.sum(x)), [], hosted, {"x": cp.square(x)}), "value 'x' is not affine", set()),
        (ao.Program(cp.Maximize(cp.sum(x)), [at_least], hosted, {}, {"a": at_least}), "'a' became a bound", set()),
    ]
    for program, said, needs in bad:
        with pytest.raises(NotCompilableError, match=said) as caught:
            CompiledProgram(program, grid)
        assert caught.value.needs == needs


def peak_mb(n: int) -> float:
    """Memory that compiling the program of quadratic matchings takes at most."""
    grid = grid_of(one_transformer(50, np.ones(n), np.ones(n), np.ones(n)))
    program = matching(grid)
    tracemalloc.start()
    compiled = CompiledProgram(program, grid)
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    assert compiled.size == 2 * n
    return peak


def test_memory_is_linear_in_participants() -> None:
    """An index array of n x n numbers would be 128 MB at 4,000 participants."""
    small, large = peak_mb(1_000), peak_mb(4_000)
    assert large < 5.0 * small
    assert large < 40.0


def test_networks_of_one_form_share_a_compiled_program() -> None:
    """Two feeders of four customers, of other ratings and requests, share one; one more row is another form."""
    known: Known = {}
    cases = [
        one_transformer(20, [1.0] * 4, [9.0, 9.0, 9.0, 4.0], [0.0] * 4),
        one_transformer(12, [0.5] * 4, [2.0, 8.0, 3.0, 5.0], [0.0] * 4),
    ]
    for case in cases:
        grid, requests = grid_of(case), first_interval(case)
        program = matching(grid)
        values = matching_values(np.ones((2, 4)), np.full((2, 4), 0.01))
        solvers = [ProgramSolver(program, grid, [None], kept) for kept in (known, None)]
        served = [solver.solve(values, requests, *grid.limits(requests))["import"] for solver in solvers]
        np.testing.assert_array_equal(*served)
        assert served[0].sum() == pytest.approx(case.feeder.rating_kva[1] - requests.inflexible_kw.sum(), rel=1e-6)
    assert len(known) == 1
    other = replace(program, constraints=[*program.constraints, program.values["import"] <= 3.0])
    ProgramSolver(other, grid, [None], known)
    assert len(known) == 2
