"""The dual Newton method: optimality conditions on random and degenerate problems, and Clarabel."""

from __future__ import annotations

from typing import Any

import cvxpy as cp
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from amm_opt.arrays import FloatArray
from amm_opt.solve.backends.dual_newton import Outcome, SeparableQP, newton
from amm_opt.solve.backends.interior_point import interior_point, solve_separable
from amm_opt.solve.compile import Rows

INF = float("inf")


def conditions(p: SeparableQP, x: FloatArray, z: FloatArray) -> dict[str, float]:
    """By how much the Karush-Kuhn-Tucker conditions are broken; all zero means optimal, as the problem is convex."""
    use = p.rows @ x
    size = np.maximum(1.0, np.abs(use))
    gradient = p.hessian * x + p.q - z @ p.rows
    scale = np.maximum(1.0, np.abs(p.q) + np.abs(z) @ np.abs(p.rows))
    return {
        "bounds": float(np.max(np.maximum(p.lower - x, x - p.upper), initial=0.0)),
        "rows": float(np.max(np.maximum(p.row_lower - use, use - p.row_upper) / size, initial=0.0)),
        # the gradient vanishes, or pushes against a bound that holds
        "gradient": float(np.max(np.abs(x - np.clip(x - gradient / scale, p.lower, p.upper)), initial=0.0)),
        # a multiplier above zero stands at the lower limit of its row, one below zero at the upper limit
        "low": float(np.max(np.where(z > 1e-12, np.abs(use - p.row_lower) / size, 0.0), initial=0.0)),
        "high": float(np.max(np.where(z < -1e-12, np.abs(use - p.row_upper) / size, 0.0), initial=0.0)),
    }


def problem(seed: int, n: int, k: int, *, spread: float = 1.0, kinds: str = "random") -> SeparableQP:
    """A feasible problem around a known point, with rows that bind.

    Args:
        kinds: letters of what to add: d duplicate rows, e equality rows, z empty rows, i infinite bounds, s sparse.
    """
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(k, n))
    if "s" in kinds:
        rows *= rng.random((k, n)) < 0.3
    inside = rng.uniform(-1, 1, n)
    lower, upper = inside - rng.exponential(0.5, n), inside + rng.exponential(0.5, n)
    if "i" in kinds:
        lower[rng.random(n) < 0.3] = -INF
        upper[rng.random(n) < 0.3] = INF
    if "z" in kinds and k:
        rows[rng.integers(k)] = 0.0
    if "d" in kinds and k > 1:
        rows[k // 2 :] = rows[: k - k // 2] * (1.0 if seed % 2 else 3.0)
    use = rows @ inside
    row_lower = use - np.where(rng.random(k) < 0.5, rng.exponential(0.2, k), INF)
    row_upper = use + np.where(rng.random(k) < 0.7, rng.exponential(0.2, k), INF)
    if "e" in kinds:
        exact = rng.random(k) < 0.4
        row_lower, row_upper = np.where(exact, use, row_lower), np.where(exact, use, row_upper)
    hessian = np.exp(spread * rng.normal(size=n))
    return SeparableQP(hessian, 4 * rng.normal(size=n), rows, row_lower, row_upper, lower, upper)


def solved(p: SeparableQP, start: FloatArray) -> bool:
    """Whether there is an answer; whatever is claimed to be one is optimal."""
    x, z, reason, _ = solve_separable(p, [start])
    if reason:
        return False
    for name, largest in conditions(p, x, z).items():
        assert largest < 1e-7, name
    return True


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 40),
    st.integers(0, 12),
    st.sets(st.sampled_from("dezis")).map(lambda s: "".join(sorted(s))),
    st.sampled_from(["none", "wrong", "huge", "all"]),
)
def test_solutions_are_optimal(seed: int, n: int, k: int, kinds: str, start: str) -> None:
    p = problem(seed, n, k, kinds=kinds)
    rng = np.random.default_rng(seed + 1)
    z = {"none": np.zeros(k), "wrong": rng.normal(size=k), "huge": 1e4 * rng.normal(size=k), "all": np.ones(k)}[start]
    answered = solved(p, z)
    # rows that leave nothing to decide may have no finite multipliers: then it may give up, and another solver follows
    assert answered or "e" in kinds


@pytest.mark.parametrize("kinds", ["", "s", "i", "z", "d", "e", "de", "dez", "es", "deisz"])
def test_hardly_any_problem_is_given_up(kinds: str) -> None:
    rng = np.random.default_rng(len(kinds))
    count = 0
    for seed in range(100):
        n, k = int(rng.integers(1, 40)), int(rng.integers(0, 12))
        count += solved(problem(seed, n, k, kinds=kinds), rng.normal(size=k))
    assert count >= 99


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("spread", [0.0, 3.0])
def test_agrees_with_clarabel(seed: int, spread: float) -> None:
    p = problem(seed, 60, 15, spread=spread, kinds="es")
    v = cp.Variable(60)
    low, high = np.isfinite(p.row_lower), np.isfinite(p.row_upper)
    limits = [p.rows[low] @ v >= p.row_lower[low], p.rows[high] @ v <= p.row_upper[high], v >= p.lower, v <= p.upper]
    model = cp.Problem(cp.Minimize(0.5 * cp.sum(cp.multiply(p.hessian, cp.square(v))) + p.q @ v), limits)
    model.solve(solver="CLARABEL", tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    x, _, reason, _ = solve_separable(p, [np.zeros(15)])
    assert reason == ""
    assert float(0.5 * (p.hessian * x) @ x + p.q @ x) == pytest.approx(model.value, rel=1e-7, abs=1e-7)
    np.testing.assert_allclose(x, v.value, atol=1e-5)


def by_hand(**changes: Any) -> SeparableQP:
    """min x0^2 + x1^2 - 2 x0 - 2 x1 over [0, 5]^2 with x0 + 2 x1 <= 2."""
    parts: dict[str, Any] = {
        "hessian": np.array([2.0, 2.0]),
        "q": np.array([-2.0, -2.0]),
        "rows": np.array([[1.0, 2.0]]),
        "row_lower": np.array([-INF]),
        "row_upper": np.array([2.0]),
        "lower": np.zeros(2),
        "upper": np.full(2, 5.0),
    }
    return SeparableQP(**{**parts, **changes})


def test_by_hand() -> None:
    """x = (1, 1) + z/2 (1, 2) on the row: 3 + 5 z / 2 = 2, z = -0.4."""
    x, z, reason, _ = solve_separable(by_hand(), [np.zeros(1)])
    assert reason == ""
    np.testing.assert_allclose(x, [0.8, 0.6], atol=1e-9)
    np.testing.assert_allclose(z, [-0.4], atol=1e-9)
    # from below the multiplier is positive: x0 + 2 x1 >= 5, 3 + 5 z / 2 = 5
    x, z, reason, _ = solve_separable(by_hand(row_lower=np.array([5.0]), row_upper=np.array([INF])), [np.array([-7.0])])
    assert reason == ""
    np.testing.assert_allclose(x, [1.4, 1.8], atol=1e-9)
    np.testing.assert_allclose(z, [0.8], atol=1e-9)


def test_two_copies_of_a_row_share_its_multiplier() -> None:
    p = by_hand(rows=np.array([[1.0, 2.0], [1.0, 2.0]]), row_lower=np.full(2, -INF), row_upper=np.array([2.0, 2.0]))
    for start in ([0.0, 0.0], [-3.0, 0.0], [0.0, -9.0], [5.0, -5.0]):
        x, z, reason, _ = solve_separable(p, [np.array(start)])
        assert reason == ""
        np.testing.assert_allclose(x, [0.8, 0.6], atol=1e-8)
        assert z.sum() == pytest.approx(-0.4, abs=1e-8)
        assert np.all(z <= 0)


def test_an_infeasible_problem_says_so() -> None:
    x, z, reason, _ = solve_separable(by_hand(row_upper=np.array([-1.0])), [np.zeros(1)])
    assert reason
    assert np.all(np.isfinite(x))
    assert np.all(np.isfinite(z))


def test_the_start_is_not_changed() -> None:
    start = np.array([-3.0])
    solve_separable(by_hand(), [start])
    assert start[0] == -3.0


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 40),
    st.integers(0, 30),
    st.sets(st.sampled_from("dzis")).map(lambda s: "".join(sorted(s))),
)
def test_the_interior_point_alone_is_close_and_its_multipliers_name_the_limits(
    seed: int, n: int, k: int, kinds: str
) -> None:
    p = problem(seed, n, k, kinds=kinds)
    x, z, reason, _ = interior_point(p)
    assert reason == ""
    for name, largest in conditions(p, x, z).items():
        assert largest < 1e-3, name


def nearly_linear(seed: int, feeders: int = 6, n: int = 25) -> SeparableQP:
    """Equal gains, very little curvature, and a voltage limit for each customer of a few unbalanced feeders."""
    rng = np.random.default_rng(seed)
    size = feeders * n
    depth = np.cumsum(rng.uniform(0.3, 1.0, (feeders, n)), axis=1)
    rise = np.full((size, size), 2.0)
    for i in range(feeders):
        own, phase = slice(i * n, (i + 1) * n), rng.integers(3, size=n)
        rise[own, own] += np.minimum.outer(depth[i], depth[i]) * np.where(phase[:, None] == phase, 1.0, -0.3)
    limit = rng.uniform(0.7, 1.3, size) * (rise @ np.full(size, 2.0)).mean()
    gain = -1.0 - 1e-6 * rng.random(size)
    below = np.full(size, -INF)
    return SeparableQP(np.full(size, 1e-4), gain, rise, below, limit, np.zeros(size), np.full(size, 10.0))


@pytest.mark.parametrize("seed", range(4))
def test_nearly_linear_problems_where_newton_alone_does_not_converge(seed: int) -> None:
    p = nearly_linear(seed)
    assert newton(p, np.zeros(150))[2]
    x, z, reason, _ = solve_separable(p, [np.zeros(150)])
    assert reason == ""
    assert max(conditions(p, x, z).values()) < 1e-7
    assert np.count_nonzero(z) > 10


def test_the_interior_points_answer_stands_where_newton_cannot_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def gives_up(p: SeparableQP, start: FloatArray) -> Outcome:
        return Outcome(np.zeros(len(p.q)), start, "no convergence")

    monkeypatch.setattr("amm_opt.solve.backends.interior_point.newton", gives_up)
    p = nearly_linear(0)
    x, z, reason, _ = solve_separable(p, [np.zeros(150)])
    assert reason == ""
    assert max(conditions(p, x, z).values()) < 1e-5


def test_rows_are_too_many_only_where_they_are_so_in_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two problems side by side are solved as each by itself, by blocks of 150 rows; one of 300 rows is refused."""
    monkeypatch.setattr("amm_opt.solve.backends.interior_point.MANY_ROWS", 200)
    alone = [nearly_linear(seed) for seed in range(2)]
    rows = Rows.from_sparse(sp.csr_array(sp.block_diag([p.rows for p in alone])))
    names = ("hessian", "q", "row_lower", "row_upper", "lower", "upper")
    arrays: Any = {name: np.concatenate([getattr(p, name) for p in alone]) for name in names}
    x, _, reason, _ = solve_separable(SeparableQP(rows=rows, **arrays), [np.zeros(300)])
    assert reason == ""
    each = [solve_separable(p, [np.zeros(150)]).x for p in alone]
    np.testing.assert_allclose(x, np.concatenate(each), atol=1e-4)
    wide = nearly_linear(0, feeders=12)
    assert "300 rows are too many" in solve_separable(wide, [np.zeros(300)]).reason
