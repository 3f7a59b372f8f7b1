"""What makes a window smaller and its equations cheaper changes no answer; the truth is Clarabel on the whole."""

from __future__ import annotations

from typing import Any

import cvxpy as cp
import numpy as np
import pytest

from amm_opt.arrays import FloatArray
from amm_opt.solve.backends import Reduced
from amm_opt.solve.backends.dual_newton import SeparableQP
from amm_opt.solve.backends.interior_point import DualNewtonBackend, interior_point
from amm_opt.solve.backends.kept import HighsBackend
from amm_opt.solve.backends.reduced import reduced
from amm_opt.solve.compile import Numbers, Rows
from amm_opt.solve.routes.window import alike

NONE = Rows.from_dense(np.zeros((0, 60)))


def numbers(seed: int, curved: bool) -> Numbers:
    """60 variables of which five at a time have the same column; 8 rows that bind."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.normal(size=(8, 12)), 5, axis=1)
    lower = rng.uniform(-1, 0, 60) * (rng.random(60) < 0.5)
    width = rng.uniform(0.5, 2, 60)
    slope, rise = np.repeat(rng.normal(size=12), 5), np.repeat(rng.uniform(0.1, 1, 12), 5)
    hessian = rise / width if curved else np.zeros(60)
    use = rows @ (lower + 0.4 * width)
    limits = use - rng.uniform(0, 0.3, 8), use + rng.uniform(0, 0.3, 8)
    return Numbers(slope - hessian * lower, 0.0, hessian, None, lower, lower + width, Rows.from_dense(rows), *limits)


def by_clarabel(p: Any, rows: FloatArray) -> float:
    """The optimal value of what is given, as one cvxpy problem."""
    x = cp.Variable(len(p.q))
    limits = [x >= p.lower, x <= p.upper, rows @ x >= p.row_lower, rows @ x <= p.row_upper]
    worth = cp.Minimize(0.5 * cp.sum(cp.multiply(p.hessian, cp.square(x))) + p.q @ x)
    return float(cp.Problem(worth, limits).solve(solver="CLARABEL"))


@pytest.mark.parametrize("curved", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_alike_variables_are_one(seed: int, curved: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alike, "LARGE", 0)
    n = numbers(seed, curved)
    whole = reduced(n, NONE, np.zeros(0), np.zeros(0))
    few = alike.merged(whole)
    assert len(few.q) == 12
    backend = DualNewtonBackend() if curved else HighsBackend()
    point = backend.solve(few, np.zeros(8))
    assert not point.problem
    assert np.all((point.v >= n.lower - 1e-9) & (point.v <= n.upper + 1e-9))
    use = n.rows @ point.v
    assert np.all((use >= n.row_lower - 1e-7) & (use <= n.row_upper + 1e-7))
    assert n.objective(point.v) == pytest.approx(by_clarabel(n, n.rows.dense()), abs=1e-6)
    assert alike.merged(few) is few


def test_what_differs_stays_apart() -> None:
    """Another slope, another rise, no upper bound, another column."""
    n = numbers(0, True)
    for array, value in ((n.q, 9.0), (n.hessian, 9.0), (n.upper, np.inf), (n.rows.data, 9.0)):
        assert array is not None
        before, array[7] = array[7], value
        problem: Reduced = alike.merged(reduced(n, NONE, np.zeros(0), np.zeros(0)))
        assert len(problem.q) == 13
        array[7] = before


@pytest.mark.parametrize("seed", range(4))
def test_blocks_with_a_border(seed: int) -> None:
    """Six blocks of 5 rows and 15 variables, coupled by two rows; one block is empty of rows."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((32, 105))
    rows[:2] = rng.normal(size=(2, 105))
    for k in range(6):
        rows[2 + 5 * k : 7 + 5 * k, 15 * k : 15 * k + 15] = rng.normal(size=(5, 15))
    inside = rng.uniform(-1, 1, 105)
    use = rows @ inside
    limits = use - rng.exponential(0.1, 32), np.where(rng.random(32) < 0.5, use + 0.1, np.inf)
    bounds = inside - rng.exponential(0.5, 105), inside + rng.exponential(0.5, 105)
    q, hessian = 3 * rng.normal(size=105), rng.uniform(0.5, 2, 105)
    for given in (Rows.from_dense(rows), rows):
        p = SeparableQP(hessian, q, given, *limits, *bounds, border=2)
        outcome = interior_point(p)
        assert not outcome.reason
        x = outcome[0]
        assert float((0.5 * hessian * x + q) @ x) == pytest.approx(by_clarabel(p, rows), rel=1e-7)
