"""Users' own solvers: what they may answer, what counts as failed and why, and what a run says about it."""

from __future__ import annotations

import json
import logging
import os
import re
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from small import difference, grid_of, one_transformer

import amm_opt as ao
from amm_opt.cases import Case
from amm_opt.grid import Grid
from amm_opt.solve.answer import NoAnswerError
from amm_opt.solve.backends import Point, Reduced, failed, infeasible, unbounded
from amm_opt.solve.backends.dispatch import Backends
from amm_opt.solve.backends.kept import ClarabelBackend, HighsBackend
from amm_opt.solve.backends.known import SolverOrder
from amm_opt.solve.backends.reduced import reduced
from amm_opt.solve.compile import Numbers, Rows
from amm_opt.solve.route import Task
from amm_opt.solve.routes.checks import check_program
from amm_opt.solve.routes.declared import DeclaredProgram
from amm_opt.solve.routes.lazy import box, in_box
from amm_opt.solve.solver import ProgramSolver
from amm_opt.testing import check_backend
from formulations import AMM

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-solver.md"
SPAN = slice(24, 27)


@lru_cache
def scarce() -> Case:
    return ao.load_case("synthetic:buses=70,days=1,seed=3").with_scenario(import_scale=2.5, export_scale=1.6)


@lru_cache
def honest() -> ao.Run:
    return ao.simulate(scarce(), "amm", steps=SPAN)


class Mine:
    """Answers by Clarabel, which ``spoil`` may change."""

    name, lp, qp = "mine", True, True

    def __init__(self, spoil: Callable[[Reduced, Point], Any] = lambda problem, point: point) -> None:
        self.spoil = spoil

    def solve(self, problem: Reduced, start: Any) -> Any:
        return self.spoil(problem, ClarabelBackend().solve(problem, start))


class Panic(BaseException):
    """What libraries in Rust raise is no Exception."""


def raising(error: BaseException) -> Callable[..., Any]:
    def spoil(problem: Reduced, point: Point) -> Any:
        raise error

    return spoil


def empty(problem: Reduced) -> np.ndarray[Any, Any]:
    return np.zeros(len(problem.row_lower))


SPOILT: list[tuple[Callable[[Reduced, Point], Any], str]] = [
    (raising(RuntimeError("licence\nexpired")), "mine: RuntimeError: licence expired"),
    (raising(SystemExit(3)), "mine: SystemExit: 3"),
    (raising(Panic("index out of bounds")), "mine: Panic: index out of bounds"),
    (raising(ao.InputError("not mine")), "mine: InputError: not mine"),
    (lambda problem, point: None, "mine: it returned NoneType instead of a Point"),
    (lambda problem, point: point.v, "mine: it returned ndarray instead of a Point"),
    (lambda problem, point: problem.point(0.0, empty(problem)), "values of shape (), not"),
    (lambda problem, point: problem.point(problem.q, np.zeros(99)), "multipliers of shape (99,), not"),
    (lambda problem, point: replace(point, v=point.v[1:]), "mine: its v has shape"),
    (lambda problem, point: replace(point, v=point.v * np.nan), "mine: its v has values that are not finite"),
    (lambda problem, point: replace(point, network_dual=None), "mine: "),
    (lambda problem, point: replace(point, row_dual="none"), "mine: ValueError"),
    (lambda problem, point: replace(point, v=point.v + 1j), "mine: "),
    (lambda problem, point: problem.point(problem.upper + 1.0, empty(problem)), "mine: the answer is 1 outside"),
    (lambda problem, point: replace(point, v=0.9 * point.v), "mine: the audit failed"),
    (lambda problem, point: replace(point, network_dual=-point.network_dual), "mine: the audit failed"),
    (lambda problem, point: failed("no licence"), "mine: no licence"),
    (lambda problem, point: failed(""), "mine: failed"),
    (lambda problem, point: infeasible(), "mine: infeasible"),
    (lambda problem, point: unbounded("it falls"), "mine: it falls"),
]


@pytest.mark.parametrize(("spoil", "said"), SPOILT, ids=range(len(SPOILT)))
def test_what_a_solver_does_wrong_is_a_failed_attempt_with_a_reason(spoil: Callable[..., Any], said: str) -> None:
    run = ao.simulate(scarce(), "amm", steps=SPAN, solver=Mine(spoil))
    assert run.fallback_steps == (24, 25, 26)
    assert all(said in reason for reason in run.fallback_reasons.values()), run.fallback_reasons
    assert not run.failed_steps
    assert run.solver == "clarabel"
    assert difference(honest(), run) < 1e-6


def test_an_honest_solver_is_taken_and_an_interrupt_by_the_user_passes() -> None:
    run = ao.simulate(scarce(), "amm", steps=SPAN, solver=Mine)
    assert (run.solver, run.fallback_reasons) == ("mine", {})
    assert difference(honest(), run) < 1e-6
    with pytest.raises(KeyboardInterrupt):
        ao.simulate(scarce(), "amm", steps=SPAN, solver=Mine(raising(KeyboardInterrupt())))


@pytest.mark.parametrize("mechanism", ["amm", "equal_doe", "leximin", "fot:window=2h"])
@pytest.mark.parametrize("label", ["WATER_FILLING", "-", "DUAL_NEWTON"])
def test_who_solved_is_who_was_called(label: str, mechanism: str) -> None:
    def zeros(problem: Reduced, point: Point) -> Point:
        return replace(problem.point(np.zeros(len(problem.q)), empty(problem)), solver=label)

    run = ao.simulate(scarce(), mechanism, steps=SPAN, solver=Mine(zeros))
    assert run.fallback_steps == ((24,) if mechanism.startswith("fot") else (24, 25, 26))
    assert "mine" not in run.solver.split("+")
    impostor = Mine()
    impostor.name = label
    taken = ao.simulate(scarce(), mechanism, steps=SPAN, solver=impostor)
    assert taken.solver.lower() == f"{label} (own)".lower()


def test_a_problem_cannot_be_written_to_and_is_a_copy() -> None:
    written: list[str] = []

    def vandal(problem: Reduced, point: Point) -> Point:
        def arrays(item: Any, depth: int = 0) -> None:
            for name in getattr(item, "__dataclass_fields__", ()):
                value = getattr(item, name)
                if isinstance(value, np.ndarray) and value.size:
                    with pytest.raises(ValueError, match="read-only"):
                        value += 1
                    value.flags.writeable = True
                    value[...] = 0
                    written.append(name)
                elif depth < 3:
                    arrays(value, depth + 1)

        arrays(problem)
        return point

    run = ao.simulate(scarce(), "amm", steps=SPAN, solver=Mine(vandal))
    assert {"q", "hessian", "lower", "upper", "row_upper", "data"} <= set(written)
    assert difference(honest(), run) < 1e-6


def test_a_small_error_of_a_named_solver_shows() -> None:
    """Half a percent off with honest multipliers: nothing repairs it, so the audit refuses it."""
    spoilt = Mine(lambda problem, point: replace(point, v=np.minimum(point.v * 1.005, problem.numbers.upper)))
    run = ao.simulate(scarce(), AMM(), steps=SPAN, solver=spoilt)
    assert len(run.fallback_steps) == 3


@pytest.mark.parametrize(("item", "said"), [(3, "3 is no solver"), (AMM(), "is no solver"), (object, "is no solver")])
def test_what_is_no_solver_is_refused(item: Any, said: str) -> None:
    with pytest.raises(ao.InputError, match=said):
        ao.simulate(scarce(), "amm", steps=SPAN, solver=item)


def test_the_example_of_the_page_works() -> None:
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    assert sum(bool(line.strip()) for line in code.group(1).splitlines()) <= 30
    names: dict[str, Any] = {}
    exec(compile(code.group(1), str(PAGE), "exec"), names)
    check_backend(names["MySolver"])
    for mechanism in ("amm", "equal_doe"):
        run = ao.simulate(scarce(), mechanism, steps=SPAN, solver=names["MySolver"])
        assert (run.solver, run.fallback_reasons) == ("mine", {})
        assert difference(ao.simulate(scarce(), mechanism, steps=SPAN), run) < 1e-5
    none = Rows.from_dense(np.zeros((0, 1)))
    free, more = np.full(1, np.inf), Rows.from_dense(np.ones((2, 1)))
    endless = Numbers(-np.ones(1), 0.0, np.zeros(1), None, np.zeros(1), free, none, np.zeros(0), np.zeros(0))
    nothing = reduced(endless, none, np.zeros(0), np.zeros(0))
    with pytest.raises(NoAnswerError) as said:
        Backends().solve(nothing, names["MySolver"](), np.zeros(0))
    assert said.value.status == "unbounded"
    apart = reduced(endless, more, np.array([-np.inf, 3.0]), np.array([2.0, np.inf]))
    with pytest.raises(NoAnswerError) as said:
        Backends().solve(apart, names["MySolver"](), np.zeros(2))
    assert said.value.status == "infeasible"


def program(grid: ao.Grid, *limits: Callable[[Any], Any], cost: Callable[[Any], Any] = cp.sum) -> ao.Program:
    x = cp.Variable(grid.n, name="x")
    return ao.Program(cp.Maximize(cost(x)), [limit(x) for limit in limits], [grid.injection(import_kw=x)], {"x": x})


INFEASIBLE: list[list[Callable[[Any], Any]]] = [
    [lambda x: x >= 5, lambda x: x <= 3],
    [lambda x: x >= 7, lambda x: x <= 50],  # two of 7 kW on 10 kVA
    [lambda x: x == 7],
    [lambda x: x >= 0, lambda x: cp.sum(x) >= 60, lambda x: x <= 20],
    [lambda x: cp.sum(x) >= 30, lambda x: x[0] - x[1] == 0],
    [lambda x: x[0] == 2, lambda x: x[1] == 2, lambda x: cp.sum(x) == 5],
]


@pytest.mark.parametrize("cost", [cp.sum, lambda x: cp.sum(x) - cp.sum_squares(x)], ids=["linear", "quadratic"])
@pytest.mark.parametrize("limits", INFEASIBLE, ids=range(len(INFEASIBLE)))
def test_infeasible_programs_are_called_so(limits: list[Callable[[Any], Any]], cost: Callable[[Any], Any]) -> None:
    grid = grid_of(one_transformer(10, [0.0, 0.0], [9.0, 9.0], [0.0, 0.0]))
    requests = grid.case.requests(0, 1).interval(0)
    for order in ([None, "CLARABEL", "HIGHS"], ["CLARABEL"], ["HIGHS"], ["OSQP"]):
        with pytest.raises(ao.SolveError, match=r"^the program is infeasible"):
            ProgramSolver(program(grid, *limits, cost=cost), grid, order).solve({}, requests, *grid.limits(requests))


def test_what_a_plugin_claims_is_no_proof() -> None:
    grid = grid_of(one_transformer(10, [0.0, 0.0], [9.0, 9.0], [0.0, 0.0]))
    requests = grid.case.requests(0, 1).interval(0)
    claims = [Mine(lambda problem, point: infeasible()), Mine(lambda problem, point: failed("bad day"))]
    claims[1].name = "clarabel"
    solver = ProgramSolver(program(grid, lambda x: x >= 0), grid, claims)
    with pytest.raises(ao.SolveError, match=r"^mine: infeasible; clarabel \(own\): bad day"):
        solver.solve({}, requests, *grid.limits(requests))


def test_unbounded_programs_are_called_so() -> None:
    grid = grid_of(one_transformer(10, [0.0, 0.0], [9.0, 9.0], [0.0, 0.0]))
    requests, free = grid.case.requests(0, 1).interval(0), cp.Variable(name="free")
    endless = ao.Program(cp.Maximize(free), [free >= 0], [grid.injection()], {"free": free})
    for solver in (None, "CLARABEL", "HIGHS"):
        with pytest.raises(ao.SolveError, match=r"^the program is unbounded"):
            ProgramSolver(endless, grid, [solver]).solve({}, requests, *grid.limits(requests))
    ball = ao.Program(
        cp.Maximize(free - cp.norm(free)), [2 * free >= 1, 3 * free <= 1], [grid.injection()], {"f": free}
    )
    with pytest.raises(NoAnswerError) as said:
        DeclaredProgram(ball, grid, check_program(ball, grid)).solve(
            "CLARABEL", Task({}, requests, *grid.limits(requests))
        )
    assert said.value.status == "infeasible"


def test_the_box_of_a_system_of_gigawatts_holds_its_own_bounds() -> None:
    """What only network rows bound starts in a box; 5.6 GW in kW are above the million that feeders have."""
    rows = Rows.from_dense(np.array([[1.0, 1.0]]))
    ends = np.array([5.64e6, -np.inf]), np.array([np.inf, np.inf])
    numbers = Numbers(np.ones(2), 0.0, np.zeros(2), None, *ends, rows, np.array([7e7]), np.array([np.inf]))
    inside = in_box(numbers, box(numbers))
    np.testing.assert_allclose(inside.lower, [5.64e6, -7e8])
    np.testing.assert_allclose(inside.upper, 7e8)


class Impossible(AMM):
    """Wants more than there is in every interval."""

    name = "impossible"
    full_service_optimal = False

    def program(self, grid: ao.Grid) -> ao.Program:
        usual = super().program(grid)
        return replace(usual, constraints=[*usual.constraints, usual.values["import"] >= 1e4])


def test_a_run_without_hope_ends_at_once_and_few_failures_do_not(caplog: pytest.LogCaptureFixture) -> None:
    case = ao.load_case("synthetic:buses=20,days=2,seed=1")
    with pytest.raises(ao.SolveError, match=r"none of the first 24 intervals .* the program is infeasible"):
        ao.simulate(case, Impossible())
    with pytest.raises(ao.SolveError, match="none of the first 2 intervals"):
        ao.simulate(case, Impossible(), steps=2)
    quiet = Impossible()
    object.__setattr__(quiet, "full_service_optimal", True)
    scarce_now = np.zeros(case.n_steps, dtype=bool)
    scarce_now[[3, 5]] = True
    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.DEBUG, "amm_opt"):
        patch.setattr(
            Grid, "scarce", lambda _, requests: scarce_now[requests.start : requests.start + requests.n_steps]
        )
        with pytest.warns(
            UserWarning, match=r"nobody is served in 2 intervals, first at .*: the program is infeasible"
        ):
            run = ao.simulate(case, quiet)
    assert sorted(run.failed_steps) == [3, 5]
    summary = [r.getMessage() for r in caplog.records if r.levelno == logging.INFO]
    assert len(summary) == 1
    assert summary[0].startswith("impossible: nobody is served in 2 intervals, because: the program is infeasible")
    assert sum(r.levelno == logging.DEBUG for r in caplog.records) == 2


def test_reasons_are_stored_with_the_run(tmp_path: Path) -> None:
    run = ao.simulate(scarce(), "amm", steps=SPAN, solver=Mine(raising(RuntimeError("no licence"))))
    run.save(tmp_path / "run")
    stored = json.loads((tmp_path / "run" / "run.json").read_text())
    assert stored["fallback_steps"]["24"] == "mine: RuntimeError: no licence"
    again = ao.open_run(tmp_path / "run")
    assert again.fallback_reasons == run.fallback_reasons
    assert again.fallback_steps == (24, 25, 26)


def large(n: int = 200) -> Reduced:
    rng = np.random.default_rng(0)
    rows = Rows.from_dense(rng.uniform(0, 1, (n, n)))
    ends = np.zeros(n), np.full(n, 10.0), rows, np.full(n, -np.inf), rows.dense().sum(axis=1)
    none = Rows.from_dense(np.zeros((0, n)))
    return reduced(Numbers(-rng.uniform(1, 2, n), 0.0, np.zeros(n), None, *ends), none, np.zeros(0), np.zeros(0))


@pytest.mark.parametrize("solver", ["HIGHS", "CLARABEL", "OSQP", "SCS"])
def test_a_solver_that_takes_too_long_has_failed(solver: str) -> None:
    usual = large()
    assert len(Backends().solve(replace(usual, time_limit_s=60.0), "HIGHS", np.zeros(200)).v) == 200
    with pytest.raises(NoAnswerError) as said:
        Backends().solve(replace(usual, time_limit_s=1e-6), solver, np.zeros(200))
    assert said.value.reason
    assert said.value.status == "failed"


def test_the_clock_of_a_kept_highs_is_that_of_one_solve() -> None:
    solver = HighsBackend()
    for k in range(30):
        problem = replace(large(60), time_limit_s=0.5)
        assert solver.solve(problem, np.zeros(60)).problem == "", k


def test_a_slow_solver_of_ones_own_is_told_and_noted(caplog: pytest.LogCaptureFixture) -> None:
    limits: set[float] = set()

    def slow(problem: Reduced, point: Point) -> Point:
        limits.add(problem.time_limit_s)
        time.sleep(0.02)
        return point

    run = ao.simulate(scarce(), "amm", steps=SPAN, solver=Mine(slow), time_limit_s=0.01)
    assert limits == {0.01}
    assert run.solver == "mine"
    assert "solver mine took" in caplog.text
    assert SolverOrder.of([None]).time_limit_s is None
    for bad in (0, -1, np.nan, np.inf, "1", True):
        with pytest.raises(ao.InputError, match=r"time_limit_s = .* must be a number of seconds above 0"):
            ao.simulate(scarce(), "amm", steps=SPAN, time_limit_s=bad)  # type: ignore[arg-type]


class Disturbing(Mine):
    """Solves, and leaves the process changed."""

    def solve(self, problem: Any, start: Any) -> Any:
        np.seterr(all="raise")
        warnings.simplefilter("error")
        os.chdir("/")
        return super().solve(problem, start)


def test_a_solver_leaves_the_process_as_it_was() -> None:
    """Else a relative ``out`` would end up elsewhere, and 0/0 in a later figure would raise."""
    before = np.geterr(), list(warnings.filters), os.getcwd()
    run = ao.simulate(scarce(), "amm", steps=SPAN, solver=Disturbing())
    assert run.solver == "mine"
    assert not run.failed_steps
    assert (np.geterr(), list(warnings.filters), os.getcwd()) == before
