"""Programs beyond the compiled engine, solvers that fail or answer wrongly, and limits that inflexible load breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from small import difference, grid_of, one_transformer, small_case

import amm_opt as ao
from amm_opt.arrays import FloatArray
from amm_opt.cases import Case
from amm_opt.grid import Grid
from amm_opt.market import Mechanism
from amm_opt.program import Program
from amm_opt.solve.answer import NoAnswerError
from amm_opt.solve.backends.dispatch import Backends
from amm_opt.solve.routes.interval import IntervalRoute
from amm_opt.solve.solver import ProgramSolver
from formulations import AMM, EqualDOE, GreedyDOE

AUTOMATIC = (None,)


@lru_cache
def scarce(seed: int, buses: int) -> Case:
    case = ao.load_case(f"synthetic:buses={buses},days=1,seed={seed}")
    return case.with_scenario(import_scale=2.5, export_scale=1.6)


@dataclass(frozen=True)
class Round(Mechanism[Any]):
    """As much as is hosted, with all served powers inside a ball: a second-order cone."""

    name = "round"
    radius: float = 9.0

    def program(self, grid: Grid) -> Program:
        x = cp.Variable(grid.n)
        limits = [x >= 0, x <= grid.import_request_kw, cp.norm(x) <= self.radius]
        hosted = grid.injection(import_kw=x)
        return Program(cp.Maximize(cp.sum(x)), limits, [hosted], {"import": x, "export": 0 * x})


def test_a_program_with_a_cone_is_solved_as_declared() -> None:
    case = one_transformer(30, [1.0, 1.0, 0.0, 0.0], [10.0, 20.0, 8.0, 2.0], [0.0] * 4)
    assert "cone" in ProgramSolver(Round().program(grid_of(case)), grid_of(case), AUTOMATIC).reason
    run = ao.simulate(case, Round())
    side = np.sqrt((81 - 4) / 3)  # the last is at its request of 2
    np.testing.assert_allclose(run.allocation.import_kw, [[side, side, side, 2.0]] * 2, atol=1e-4)
    assert run.solver == "clarabel"
    # 12 kVA host 10 kW on top of inflexible load: less than the ball
    run = ao.simulate(one_transformer(12, [1.0, 1.0, 0.0, 0.0], [10.0, 20.0, 8.0, 2.0], [0.0] * 4), Round())
    np.testing.assert_allclose(run.allocation.import_kw.sum(axis=1), 10.0, atol=1e-4)
    assert run.summary["thermal_violations"] == 0


Broken = Callable[..., Any]
true_solve = Backends.solve


def only_first(spoil: Broken) -> Broken:
    """Spoil the answers of the automatic choice, not those of named solvers."""

    def solve(backends: Backends, problem: Any, solver: str | None, start: Any, *rest: Any) -> Any:
        return (spoil if solver is None else true_solve)(backends, problem, solver, start, *rest)

    return solve


def refuse(backends: Backends, problem: Any, solver: str | None, start: Any, *rest: Any) -> Any:
    raise NoAnswerError("out of order")


def times(factor: float) -> Broken:
    def solve(backends: Backends, problem: Any, solver: str | None, start: Any, *rest: Any) -> Any:
        point = true_solve(backends, problem, solver, start, *rest)
        return replace(point, v=point.v * factor)

    return solve


@pytest.mark.parametrize("mechanism", [AMM(), GreedyDOE()], ids=str)
@pytest.mark.parametrize("spoil", [refuse, times(2.0), times(0.5)], ids=["refuse", "double", "half"])
def test_a_failing_solver_is_replaced_and_marked(
    spoil: Broken, mechanism: Mechanism[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = scarce(3, 70)
    usual = ao.simulate(case, mechanism, steps=slice(24, 30))
    monkeypatch.setattr(Backends, "solve", only_first(spoil))
    run = ao.simulate(case, mechanism, steps=slice(24, 30))
    assert run.fallback_steps == tuple(range(24, 30))
    assert run.summary["fallback_steps"] == 6
    assert not run.failed_steps
    assert run.solver == "clarabel"
    assert usual.summary["curtailed_mwh"] > 0.01
    assert difference(usual, run) < 1e-5


def test_an_interval_that_fails_hot_is_solved_cold_and_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The solver breaks down once, in the third interval, and works again when it starts afresh."""
    case, calls = scarce(3, 70), []
    usual = ao.simulate(case, AMM(), steps=slice(24, 30))
    true_reset = IntervalRoute.reset
    broken = False

    def solve(backends: Backends, problem: Any, solver: str | None, start: FloatArray, *rest: Any) -> Any:
        nonlocal broken
        calls.append(solver)
        broken = broken or len(calls) == 5
        if broken:
            raise NoAnswerError("out of order")
        return true_solve(backends, problem, solver, start, *rest)

    def reset(program: IntervalRoute) -> None:
        nonlocal broken
        broken = False
        true_reset(program)

    monkeypatch.setattr(Backends, "solve", solve)
    monkeypatch.setattr(IntervalRoute, "reset", reset)
    run = ao.simulate(case, AMM(), steps=slice(24, 30))
    assert len(run.fallback_steps) == 1
    assert not run.failed_steps
    assert set(calls) == {None}
    assert run.solver == usual.solver
    assert difference(usual, run) < 1e-8


@pytest.mark.parametrize("spoil", [refuse, times(2.0), times(0.5)], ids=["refuse", "double", "half"])
def test_nobody_is_served_where_every_solver_fails(spoil: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    case = scarce(3, 70)
    monkeypatch.setattr(Backends, "solve", spoil)
    with pytest.warns(UserWarning, match="nobody is served"):
        run = ao.simulate(case, AMM(), steps=slice(14, 30))
    failed_at = np.array(sorted(run.failed_steps)) - 14
    assert run.summary["failed_steps"] == len(failed_at) >= 6
    served = np.setdiff1d(np.arange(16), failed_at)
    assert np.all(run.allocation.import_kw[failed_at] == 0)
    assert np.all(run.allocation.export_kw[failed_at] == 0)
    assert np.all(np.isnan(run.allocation.import_price[failed_at]))
    assert len(served) > 0
    np.testing.assert_array_equal(run.allocation.export_kw[served], run.requests.export_request_kw[served])
    assert run.summary["thermal_violations"] == run.summary["voltage_violations"] == 0


@pytest.mark.parametrize("mechanism", [AMM(), GreedyDOE(), EqualDOE(), EqualDOE(per="system")], ids=str)
def test_inflexible_load_comes_first(mechanism: Mechanism[Any]) -> None:
    """14 kW of inflexible load on 10 kVA: import may not add to it, export may relieve it; then a voltage."""
    load, none = [[8.0, 6.0], [8.0, 6.0]], [[0.0, 0.0], [0.0, 0.0]]
    case = one_transformer(10, load, [[5.0, 4.0], [5.0, 4.0]], [[0.0, 0.0], [0.0, 5.0]])
    run = ao.simulate(case, mechanism)
    assert run.summary["unavoidable_violations"] >= 1
    assert run.summary["thermal_violations"] == run.summary["voltage_violations"] == 0
    assert not run.failed_steps
    np.testing.assert_allclose(run.allocation.import_kw[0], 0.0, atol=1e-3)
    np.testing.assert_allclose(run.allocation.export_kw[1], [0, 5], atol=1e-6)
    assert run.allocation.import_kw[1].sum() < 5 + 1e-3
    far = small_case({"lv": ("src", 0.5, 1000.0)}, ["lv", "lv"], [20.0, 15.0], [[5.0, 4.0], [5.0, 4.0]], none)
    run = ao.simulate(far, mechanism)
    assert run.summary["unavoidable_violations"] == 2
    assert run.summary["voltage_violations"] == 0
    np.testing.assert_allclose(run.allocation.import_kw, 0.0, atol=1e-3)
