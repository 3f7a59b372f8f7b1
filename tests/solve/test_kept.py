"""HiGHS and Clarabel kept from solve to solve: the same answers as from nothing, and really kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import clarabel
import highspy
import numpy as np
import pytest
from small import difference

import amm_opt as ao
from amm_opt.arrays import FloatArray
from amm_opt.solve.audit import audit
from amm_opt.solve.backends import kept
from amm_opt.solve.backends.kept import ClarabelBackend, HighsBackend
from amm_opt.solve.backends.reduced import Reduced, reduced
from amm_opt.solve.compile import Numbers, Rows
from amm_opt.solve.routes.interval import IntervalRoute

N = 30
NOTHING = np.zeros(0)
EMPTY = (Rows.from_dense(np.zeros((0, 2))), np.zeros(0), np.zeros(0))


def numbers(seed: int, own: int = 0, curved: bool = False) -> Numbers:
    """Serve as much as possible within bounds, a third of which leave nothing to decide."""
    rng = np.random.default_rng(seed)
    upper = np.where(rng.random(N) < 0.3, 0.0, rng.uniform(1, 8, N))
    rows = Rows.from_dense(rng.uniform(0, 1, (own, N)))
    hessian = rng.uniform(0.1, 1, N) if curved else np.zeros(N)
    limit = rows @ (0.6 * upper)
    return Numbers(-rng.uniform(1, 2, N), 0.0, hessian, None, np.zeros(N), upper, rows, np.full(own, -np.inf), limit)


def network(seed: int, count: int, whole: Numbers) -> tuple[Rows, FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    rows = Rows.from_dense(rng.uniform(0, 1, (count, N)) * (rng.random((count, N)) < 0.5))
    return rows, np.full(count, -np.inf), (rows @ whole.upper) * 0.5


def first(count: int, rows: Rows, lower: FloatArray, upper: FloatArray) -> tuple[Rows, FloatArray, FloatArray]:
    end = rows.start[count]
    return Rows(rows.start[: count + 1], rows.col[:end], rows.data[:end], rows.width), lower[:count], upper[:count]


def objective(problem: Reduced, v: FloatArray) -> float:
    return problem.numbers.objective(v)


@pytest.mark.parametrize("own", [0, 3])
def test_highs_goes_on_when_rows_are_added(own: int, monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[int] = []
    true_pass = HighsBackend._pass
    monkeypatch.setattr(HighsBackend, "_pass", lambda self, problem: (passed.append(1), true_pass(self, problem))[1])
    solver = HighsBackend()
    for seed in range(5):
        whole = numbers(seed, own)
        limits = network(seed, 12, whole)
        for count in (0, 3, 4, 12):
            problem = reduced(whole, *first(count, *limits))
            point, alone = solver.solve(problem, NOTHING), HighsBackend().solve(problem, NOTHING)
            assert point.problem == alone.problem == ""
            assert objective(problem, point.v) == pytest.approx(objective(problem, alone.v), rel=1e-9)
            assert np.all(limits[0].dense()[:count] @ point.v <= limits[2][:count] + 1e-7)
            assert len(point.network_dual) == count
            np.testing.assert_allclose(point.network_dual, alone.network_dual, atol=1e-7)
    assert len(passed) == 5 + 20  # once for each seed, and each time for those that start from nothing


def test_primal_simplex_solves_what_dual_simplex_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """One step is not enough for any of these; rows are added afterwards as ever."""
    whole = numbers(1, 3)
    limits = network(1, 12, whole)
    problems = [reduced(whole, *first(count, *limits)) for count in (0, 3, 12)]
    usual = [ClarabelBackend().solve(problem, NOTHING) for problem in problems]
    primal: list[int] = []
    true_primal = HighsBackend._run_primal
    monkeypatch.setattr(HighsBackend, "_run_primal", lambda self: (primal.append(1), true_primal(self))[1])
    monkeypatch.setattr(kept, "HIGHS_STEPS", 1)
    monkeypatch.setattr(kept, "HIGHS_STEPS_PER_ROW", 0)
    solver = HighsBackend()
    for k, problem in enumerate(problems):
        point = solver.solve(problem, NOTHING)
        assert len(primal) == k + 1
        assert objective(problem, point.v) == pytest.approx(objective(problem, usual[k].v), rel=1e-7)
        np.testing.assert_allclose(point.network_dual, usual[k].network_dual, atol=1e-5)


def test_highs_says_what_is_wrong_and_recovers() -> None:
    solver, whole = HighsBackend(), numbers(1)
    rows, lower, upper = network(1, 4, whole)
    impossible = reduced(whole, rows, upper + 1e3, upper + 2e3)
    assert solver.solve(impossible, NOTHING).status == "infeasible"
    assert solver.solve(reduced(whole, rows, lower, upper), NOTHING).problem == ""


@pytest.mark.parametrize("curved", [False, True])
def test_clarabel_changes_numbers_in_place(curved: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    true_solver = clarabel.DefaultSolver
    monkeypatch.setattr(kept.clarabel, "DefaultSolver", lambda *a: (made.append(1), true_solver(*a))[1])
    solver, whole = ClarabelBackend(), numbers(2, 2, curved)
    rows, lower, upper = network(2, 8, whole)
    for step in range(4):
        changed = replace(whole, q=whole.q * (1 + 0.1 * step), upper=whole.upper * (1 + 0.2 * step))
        problem = reduced(changed, replace(rows, data=rows.data * (1 + 0.05 * step)), lower, upper)
        point = solver.solve(problem, NOTHING)
        assert point.problem == ""
        fresh = ClarabelBackend().solve(problem, NOTHING)
        assert objective(problem, point.v) == pytest.approx(objective(problem, fresh.v), rel=1e-7)
        np.testing.assert_allclose(point.network_dual, fresh.network_dual, atol=1e-5)
    assert len(made) == 1 + 4
    solver.solve(reduced(whole, *first(5, rows, lower, upper)), NOTHING)
    assert len(made) == 6, "other rows need a new solver"
    solver = ClarabelBackend()
    solver.solve(reduced(whole, *first(5, rows, lower, upper)), NOTHING)
    assert len(made) == 7


def test_a_problem_that_fails_in_place_is_set_up_anew() -> None:
    solver, whole = ClarabelBackend(), numbers(3)
    rows, lower, upper = network(3, 5, whole)
    assert solver.solve(reduced(whole, rows, lower, upper), NOTHING).problem == ""
    below = reduced(whole, rows, lower, np.full(5, -1.0))
    assert solver.solve(below, NOTHING).status == "infeasible"
    assert solver.solve(reduced(whole, rows, lower, upper), NOTHING).problem == ""


@pytest.mark.parametrize("solver", [None, "clarabel", "highs"])
def test_runs_do_not_depend_on_what_is_kept(solver: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose solvers forget everything after every interval is the same run."""
    case = ao.load_case("synthetic:buses=130,days=1,seed=3").with_scenario(import_scale=2.5)
    usual = ao.simulate(case, "amm", solver=solver)
    true_solve = IntervalRoute.solve

    def forgetful(program: IntervalRoute, *args: Any) -> Any:
        program.reset()
        return true_solve(program, *args)

    monkeypatch.setattr(IntervalRoute, "solve", forgetful)
    assert usual.summary["unserved_mwh"] > 0.01
    assert difference(usual, ao.simulate(case, "amm", solver=solver)) < 1e-6


def test_highs_is_told_to_be_quiet() -> None:
    solver = HighsBackend()
    solver.solve(reduced(numbers(0), *network(0, 3, numbers(0))), NOTHING)
    assert isinstance(solver._highs, highspy.Highs)
    assert solver._highs.getOptionValue("output_flag")[1] is False


def test_rounding_of_large_multipliers_is_no_dual_residual() -> None:
    """Two opposite rows with multipliers of 1e9: one part in 1e16 of the terms may be left; a millionth may not."""
    rows, large = Rows.from_dense(np.array([[500.0, 0.0], [-500.0, 1.0]])), 3e9
    whole = Numbers(np.array([-1.0, 0.0]), 0.0, np.zeros(2), None, np.full(2, -np.inf), np.full(2, np.inf), *EMPTY)
    limits = np.full(2, -np.inf), np.zeros(2)
    for off, passed in ((1e-8, True), (1e-2, False), (1e3, False)):
        dual = np.array([-large - 1 / 500 - off / 500, -large])
        found = audit(whole, np.zeros(2), np.zeros(0), Rows.from_dense(rows.dense() * [1.0, 0.0]), *limits, dual)
        assert found.passed is passed, off
    assert audit(whole, np.zeros(2), np.zeros(0), rows, *limits, np.array([-large, -large])).dual > 1e3


def test_limits_of_large_ratings_count_though_their_entries_are_tiny() -> None:
    """max 2 x + y within 5e-10 x + 2e-10 y <= 1e-3 and y <= 1e6, by hand: y = 1e6 and x = 1.6e6, 2 / 5e-10 per unit."""
    bounds = np.zeros(2), np.array([1e7, 1e6])
    whole = Numbers(np.array([-2.0, -1.0]), 0.0, np.zeros(2), None, *bounds, EMPTY[0], NOTHING, NOTHING)
    limit = Rows.from_dense(np.array([[5e-10, 2e-10]])), np.array([-np.inf]), np.array([1e-3])
    solver = HighsBackend()
    alone = solver.solve(reduced(whole, *limit), NOTHING)
    solver.solve(reduced(whole, *EMPTY), NOTHING)
    for point in (alone, solver.solve(reduced(whole, *limit), NOTHING)):  # at once, and added
        np.testing.assert_allclose(point.v, [1.6e6, 1e6], rtol=1e-9)
        np.testing.assert_allclose(point.network_dual, [-4e9], rtol=1e-9)
