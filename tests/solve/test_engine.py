"""The compiled engine with lazy network rows against the program as declared, other solvers, and failures."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from small import grid_of, one_transformer

import amm_opt as ao
from amm_opt.cases import Case, Requests
from amm_opt.grid import Grid
from amm_opt.market import FairnessState, Mechanism
from amm_opt.program import Leximin, Program, Solution
from amm_opt.solve.answer import NoAnswerError
from amm_opt.solve.backends.known import solvers
from amm_opt.solve.route import Task
from amm_opt.solve.routes import declared as declared_module
from amm_opt.solve.routes.checks import check_program
from amm_opt.solve.routes.declared import DeclaredProgram
from amm_opt.solve.routes.leximin import solve_stages, stage_program
from amm_opt.solve.solver import ProgramSolver
from formulations import AMM, EqualDOE, GreedyDOE

AUTOMATIC = (None,)
EXACT = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-11}
"""GreedyDOE's objective is so flat that its optimum takes this to be exact to 1e-5."""
INSTALLED = [name for name, info in solvers().items() if info.installed]


@lru_cache
def scarce(seed: int, buses: int = 130) -> Case:
    case = ao.load_case(f"synthetic:buses={buses},days=1,seed={seed}")
    return case.with_scenario(import_scale=2.5, export_scale=1.6)


class Reference:
    """One program as declared, with every network row, by Clarabel; Leximin by its stages."""

    def __init__(self, program: Program, grid: Grid) -> None:
        self._levels = program.objective.level.size if isinstance(program.objective, Leximin) else 0
        program = stage_program(program) if self._levels else program
        self._declared = DeclaredProgram(program, grid, check_program(program, grid))

    def solve(self, values: Mapping[str, Any], *interval: Any) -> Solution:
        def stage(more: Mapping[str, Any]) -> Solution:
            """Thin feasible sets stop some solvers at "inaccurate"."""
            for solver in ("CLARABEL", "PIQP", "QOCO"):
                with suppress(NoAnswerError):
                    return self._declared.solve(solver, Task({**values, **more}, *interval))
            raise NoAnswerError("all failed")

        return solve_stages(stage, self._levels) if self._levels else stage({})


def random_state(n: int, seed: int) -> FairnessState:
    rng = np.random.default_rng(seed)
    asked = rng.uniform(1, 9, (2, n))
    return FairnessState(rng.random((2, n)), asked * rng.uniform(0.3, 1, (2, n)), asked, asked)


@pytest.mark.parametrize("seed", [1, 5, 8])
@pytest.mark.parametrize(
    "mechanism",
    [
        AMM(),
        AMM(rho=0.1, priority="inverse_ratio"),
        AMM(rho=0),
        GreedyDOE(),
        GreedyDOE(enrolled="requesting"),
        EqualDOE(),
        EqualDOE(enrolled="requesting", per="system"),
    ],
    ids=str,
)
def test_engine_equals_the_declared_program(
    mechanism: Mechanism[Any], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = scarce(seed)
    grid = grid_of(case)
    declared = mechanism.program(grid)
    assert declared is not None
    named = {"": declared} if isinstance(declared, Program) else declared
    fast = {name: ProgramSolver(p, grid, AUTOMATIC) for name, p in named.items()}
    slow = {name: Reference(p, grid) for name, p in named.items()}
    state = random_state(grid.n, seed) if isinstance(mechanism, AMM) else mechanism.initial_state(case)
    monkeypatch.setitem(declared_module.SETTINGS, "CLARABEL", EXACT)
    compared = binding = 0
    for k in (18, 25, 32, 44):
        requests = case.requests(k, k + 1).interval(0)
        limits = grid.limits(requests)

        def solve(values: Any, name: str = "", requests: Requests = requests, limits: Any = limits) -> Solution:
            nonlocal compared, binding
            a = fast[name].solve(values, requests, *limits)
            b = slow[name].solve(values, requests, *limits)
            compared += 1
            if not isinstance(named[name].objective, Leximin):
                assert a.objective == pytest.approx(b.objective, rel=1e-6, abs=1e-6)
            for key in named[name].values:
                size = np.maximum(1.0, np.abs(b[key]))
                assert np.max(np.abs(a[key] - b[key]) / size) < (1e-4 if mechanism == AMM(rho=0) else 1e-5), key
            for injection in named[name].injections:
                p, q = grid.bus_power(injection)
                u = grid.network.evaluate(p.value, q.value)  # at the reference's solution
                binding += bool(np.any((u > limits[1] - 1e-6) | (u < limits[0] + 1e-6)))
            return a

        mechanism.clear(grid, solve, state, requests)
    assert compared >= 4
    assert binding >= 3
    assert all(p.reason == "" for p in fast.values())


def shared_level(grid: Grid) -> Program:
    """max t with x_i = a_i t for everybody: its multipliers are a_i-weighted shares of one binding limit."""
    x, t = cp.Variable(grid.n, name="x"), cp.Variable(name="t")
    equal = x == cp.multiply(cp.Parameter(grid.n, nonneg=True, name="a"), t)
    hosted = grid.injection(import_kw=x)
    return Program(cp.Maximize(t), [equal, x >= 0], [hosted], {"x": x, "t": t}, {"equal": equal})


@pytest.mark.parametrize("solver", [None, "HIGHS", "CLARABEL"])
def test_a_program_that_only_the_network_bounds(solver: str | None) -> None:
    """8 kW of headroom for two, and a program that nothing bounds is said to be so."""
    grid = grid_of(one_transformer(10, [1.5, 0.5], [1.0, 1.0], [0.0, 0.0]))
    requests, a = grid.case.requests(0, 1).interval(0), {"a": np.array([1.0, 3.0])}
    found = ProgramSolver(shared_level(grid), grid, [solver]).solve(a, requests, *grid.limits(requests))
    np.testing.assert_allclose(found["x"], [2, 6], atol=1e-4)
    free = cp.Variable(name="free")
    endless = Program(cp.Maximize(free), [free >= 0], [grid.injection(import_kw=0 * free * np.ones(2))], {"free": free})
    with pytest.raises(ao.SolveError):
        ProgramSolver(endless, grid, [solver]).solve({}, requests, *grid.limits(requests))


@pytest.mark.parametrize("solver", [None, "HIGHS", "CLARABEL"])
def test_multipliers_agree_with_the_declared_program(solver: str | None) -> None:
    case = scarce(1)
    grid, requests = grid_of(case), case.requests(36, 37).interval(0)
    limits, a = grid.limits(requests), {"a": np.random.default_rng(0).uniform(0.5, 2, grid.n)}
    found = ProgramSolver(shared_level(grid), grid, [solver]).solve(a, requests, *limits)
    other = shared_level(grid)
    expected = DeclaredProgram(other, grid, check_program(other, grid)).solve("CLARABEL", Task(a, requests, *limits))
    assert found["t"] == pytest.approx(float(expected["t"]), rel=1e-6)
    # d t = sum dual_i d(rhs_i): a finite difference says how large, and with which sign
    assert abs(np.sum(expected.duals["equal"] * a["a"])) == pytest.approx(1.0, rel=1e-5)
    np.testing.assert_allclose(found.duals["equal"], expected.duals["equal"], rtol=1e-4, atol=1e-6)


FLAT = {str(AMM(rho=0)): 3e-4, str(GreedyDOE()): 1e-3}
"""Objectives so flat that answers within a solver's tolerance are this far apart."""


@pytest.mark.parametrize(
    "mechanism", [AMM(), AMM(rho=1), AMM(rho=0), GreedyDOE(), EqualDOE(), EqualDOE(per="system")], ids=str
)
@pytest.mark.parametrize("solver", INSTALLED)
def test_every_solver_gives_the_same_allocation(solver: str, mechanism: Mechanism[Any]) -> None:
    """Every installed solver that can, by its own answers: a program that needs more is refused by name."""
    few = solver == "SCS" and mechanism == AMM(rho=0)  # a first-order method on a thin feasible set: slow
    case, steps = scarce(3, 70), slice(24, 26) if few else slice(22, 46)
    usual = ao.simulate(case, mechanism, steps=steps)
    linear, info = isinstance(mechanism, EqualDOE), solvers()[solver]
    if not (info.lp if linear else info.qp):
        with pytest.raises(ao.InputError, match=f"solver '{solver.lower()}' cannot solve"):
            ao.simulate(case, mechanism, steps=steps, solver=solver.lower())
        return
    named = ao.simulate(case, mechanism, steps=steps, solver=solver.lower())
    assert not named.failed_steps
    assert not usual.failed_steps
    assert not usual.fallback_steps
    assert usual.summary["unserved_mwh"] + usual.summary["curtailed_mwh"] > 0.01
    own = np.setdiff1d(np.arange(steps.start, steps.stop), named.fallback_steps) - steps.start
    if solver == "HIGHS" and str(mechanism) in FLAT:  # its method for quadratic programs cycles on them
        assert all("highs: " in reason for reason in named.fallback_reasons.values())
    else:
        assert len(own) >= len(usual.times) - 1
        assert solver.lower() in named.solver.split("+")
    for d in ("import_kw", "export_kw"):
        off = np.abs(getattr(usual.allocation, d) - getattr(named.allocation, d))[own]
        nearly = 2e-5 if mechanism != AMM() else 2e-2 if solver == "HIGHS" else 1e-4
        assert np.max(off, initial=0.0) < FLAT.get(str(mechanism), nearly)


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_squares_with_parameters_keep_their_value(shift: float) -> None:
    """cvxpy lifts them to new variables; the engine puts them back, constants included."""
    case = one_transformer(12, [1.0, 1.0], [10.0, 20.0], [0.0, 0.0])
    grid, requests = grid_of(case), case.requests(0, 1).interval(0)
    x = cp.Variable(2)
    root, gain = cp.Parameter(2, nonneg=True, name="root"), cp.Parameter(2, name="gain")
    value = gain @ x - 0.5 * cp.sum_squares(cp.multiply(root, x) - shift * gain) + 7.0
    program = Program(cp.Maximize(value), [x >= 0], [grid.injection(import_kw=x)], {"x": x})
    numbers = {"root": np.array([0.5, 1.5]), "gain": np.array([2.0, 3.0])}
    solver = ProgramSolver(program, grid, AUTOMATIC)
    found = solver.solve(numbers, requests, *grid.limits(requests))
    assert solver.reason == ""
    assert found.solver == "DUAL_NEWTON"
    expected = Reference(program, grid).solve(numbers, requests, *grid.limits(requests))
    np.testing.assert_allclose(found["x"], expected["x"], atol=1e-6)
    assert found.objective == pytest.approx(expected.objective, rel=1e-7)
    by_hand = numbers["gain"] @ found["x"] - 0.5 * np.sum((numbers["root"] * found["x"] - shift * numbers["gain"]) ** 2)
    assert found.objective == pytest.approx(by_hand + 7.0, rel=1e-9)


def tiny_grid() -> Grid:
    return grid_of(one_transformer(12, [1.0, 1.0], [10.0, 20.0], [0.0, 0.0]))


def test_programs_that_are_not_dpp_are_refused() -> None:
    grid = tiny_grid()
    x, p, q = cp.Variable(2), cp.Parameter(2, name="p"), cp.Parameter(2, nonneg=True, name="q")
    hosted, values = [grid.injection(import_kw=x)], {"import": x}
    bad: list[tuple[Program, str]] = [
        (Program(cp.Maximize(cp.multiply(p, q) @ x), [], hosted, values), "objective maximize .*p.*q"),
        (Program(cp.Maximize(cp.sum_squares(x)), [], hosted, values), "objective"),
        (Program(cp.Maximize(cp.sum(x)), [cp.multiply(p, q) @ x <= 1], hosted, values), "constraint .*p.*q"),
        (Program(cp.Maximize(cp.sum(x)), [], [grid.injection(import_kw=cp.square(x))], values), "is not affine"),
        (Program(cp.Maximize(cp.sum(x)), [], [grid.injection(import_kw=x[:1])], values), r"shape \(1,\), not \(2,\)"),
    ]
    for program, said in bad:
        with pytest.raises(ao.InputError, match=said):
            ProgramSolver(program, grid, AUTOMATIC)
    twice = [x <= cp.Parameter(2, name="cap"), x >= cp.Parameter(2, name="cap")]
    with pytest.raises(ao.InputError, match="two parameters of the program are named 'cap'"):
        ProgramSolver(Program(cp.Maximize(cp.sum(x)), twice, hosted, values), grid, AUTOMATIC)


BAD_VALUES: list[tuple[dict[str, Any], str]] = [
    ({}, "no value for parameter cap"),
    ({"cap": [1.0, 2.0], "cup": 1.0}, "unknown parameter cup; the program has cap"),
    ({"cap": 1.0}, r"'cap' has shape \(\), not \(2,\)"),
    ({"cap": [1.0, 2.0, 3.0]}, r"'cap' has shape \(3,\), not \(2,\)"),
    ({"cap": [1.0, np.nan]}, "'cap' has a value that is not finite"),
    ({"cap": [1.0, np.inf]}, "'cap' has a value that is not finite"),
    ({"cap": [1.0, -2.0]}, "'cap' must not be negative, its value goes down to -2"),
]


@pytest.mark.parametrize(("values", "said"), BAD_VALUES)
def test_bad_parameter_values_are_named(values: dict[str, Any], said: str) -> None:
    grid = tiny_grid()
    x = cp.Variable(2)
    cap = cp.Parameter(2, nonneg=True, name="cap")
    solver = ProgramSolver(
        Program(cp.Maximize(cp.sum(x)), [x <= cap], [grid.injection(import_kw=x)], {"x": x}), grid, AUTOMATIC
    )
    requests = grid.case.requests(0, 1).interval(0)
    with pytest.raises(ao.InputError, match=said):
        solver.solve(values, requests, *grid.limits(requests))
    found = solver.solve({"cap": np.array([3.0, 4.0])}, requests, *grid.limits(requests))
    np.testing.assert_allclose(found["x"], [3, 4], atol=1e-6)


def test_a_parameter_that_only_a_value_has() -> None:
    grid = tiny_grid()
    x, paid = cp.Variable(2), cp.Parameter(name="paid")
    program = Program(
        cp.Maximize(cp.sum(x)), [x <= 3], [grid.injection(import_kw=x)], {"x": x, "twice": 2 * x, "more": x + paid}
    )
    requests = grid.case.requests(0, 1).interval(0)
    found = ProgramSolver(program, grid, AUTOMATIC).solve({"paid": 5.0}, requests, *grid.limits(requests))
    np.testing.assert_allclose([found["twice"], found["more"]], [[6, 6], [8, 8]], atol=1e-6)
