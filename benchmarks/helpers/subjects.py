"""What is timed: mechanisms, and a fixed sample of congested intervals of a case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import cvxpy as cp
import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case, Requests
from amm_opt.grid import Grid
from amm_opt.market import FairnessState, Mechanism, NoState
from amm_opt.network import LinDistFlow
from amm_opt.program import Program, Solution
from amm_opt.solve.solver import ProgramSolver
from formulations import AMM, EqualDOE, GreedyDOE

SEED = 7


@dataclass(frozen=True)
class Throughput(Mechanism[NoState]):
    """A linear mechanism that is nothing but its program: weighted service, weights of 1 to 1.6 drawn once."""

    name: ClassVar[str] = "throughput"

    def program(self, grid: Grid) -> Program:
        """Max weighted service within requests."""
        imports, exports = cp.Variable(grid.n), cp.Variable(grid.n)
        weight = 1.0 + 0.6 * np.random.default_rng(SEED).random((2, grid.n))
        limits = [imports >= 0, imports <= grid.import_request_kw, exports >= 0, exports <= grid.export_request_kw]
        hosted = grid.injection(import_kw=imports, export_kw=exports)
        best = cp.Maximize(weight[0] @ imports + weight[1] @ exports)
        return Program(best, limits, [hosted], {"import": imports, "export": exports})


SUBJECTS: dict[str, Callable[[], Mechanism[Any]]] = {
    "lp": Throughput,
    "qp": AMM,
    "equal_doe": EqualDOE,
    "greedy_doe": GreedyDOE,
}
RACED = ("lp", "qp")


@dataclass(frozen=True, eq=False)
class Interval:
    """One congested interval as the driver hands it to the engine."""

    requests: Requests
    lower: FloatArray
    upper: FloatArray


def congested(grid: Grid, count: int, *, days: int | None = None) -> list[Interval]:
    """``count`` congested intervals, evenly spread over those of ``days`` days that are spread over the case.

    Congested: serving every request would break a limit.
    """
    case, per_day = grid.case, round(24 / grid.case.dt_h)
    all_days = case.n_steps // per_day
    chosen = np.unique(np.linspace(0, all_days - 1, min(days or all_days, all_days)).astype(int))
    found: list[Interval] = []
    for day in chosen:
        requests = case.requests(int(day) * per_day, (int(day) + 1) * per_day)
        for one in grid.intervals(requests):
            lower, upper = grid.limits(one)
            asked = grid.usage(one)[1]
            if np.any((asked < lower) | (asked > upper)):
                found.append(Interval(one, lower, upper))
    if not found:
        raise RuntimeError(f"{case.name} has no congested interval")
    return [found[i] for i in np.unique(np.linspace(0, len(found) - 1, count).astype(int))]


def fresh_step(case: Case, network: LinDistFlow) -> Grid:
    """A step with parameters of its own."""
    return Grid(case, network)


def state_of(mechanism: Mechanism[Any], case: Case) -> Any:
    """A state in which, for the AMM, everybody remembers some shortage."""
    state = mechanism.initial_state(case)
    if isinstance(state, FairnessState):
        return replace(state, shortage=0.3 * np.random.default_rng(SEED).random((2, case.n_participants)))
    return state


class Clearing:
    """A mechanism on a network with its programs compiled: clears one interval at a time, as the driver does."""

    def __init__(self, mechanism: Mechanism[Any], grid: Grid) -> None:
        self.mechanism, self.grid = mechanism, grid
        self.state = state_of(mechanism, grid.case)
        declared = mechanism.program(grid)
        if declared is None:
            raise ValueError(f"{mechanism} has no program")
        named = {"": declared} if isinstance(declared, Program) else declared
        self._programs = {name: ProgramSolver(program, grid, (None,)) for name, program in named.items()}

    def clear(self, interval: Interval) -> Any:
        """Everything the mechanism solves in one interval."""

        def solve(values: Any, name: str = "") -> Solution:
            return self._programs[name].solve(values, interval.requests, interval.lower, interval.upper)

        return self.mechanism.clear(self.grid, solve, self.state, interval.requests)
