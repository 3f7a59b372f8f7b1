"""The same congested intervals, solved by the engine, by plain cvxpy in several ways, and by a bare HiGHS loop."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import cvxpy as cp
import numpy as np
import pytest

import amm_opt as ao
from amm_opt.grid import Grid
from amm_opt.network import LinDistFlow
from benchmarks.helpers.subjects import RACED, SUBJECTS, Clearing, Interval
from benchmarks.helpers.ways import Floor, PlainCvxpy, matrices

SAME = 1e-6
SLOW_ROUNDS = 24
DPP = ("default", "CLARABEL", "HIGHS", "PIQP")
TOO_LOOSE = {("qp", "default"), ("qp", "HIGHS")}
"""cvxpy's default for quadratic programs stops early, HiGHS' method for them fails: errors are reported instead."""


@pytest.fixture(scope="module")
def optimum(case: ao.Case, network: LinDistFlow, sample: list[Interval]) -> dict[str, list[float]]:
    """The engine's objective of every interval of the sample; the races assert that the others agree."""
    found = {}
    for subject in RACED:
        clearing = Clearing(SUBJECTS[subject](), Grid(case, network))
        found[subject] = [clearing.clear(interval).objective for interval in sample]
    return found


def _race(
    benchmark: Any, solve: Callable[[int], float], optimum: list[float], *, rounds: int, exact: bool = True
) -> None:
    """Time ``solve(k)`` on interval after interval; objectives must agree, or are reported where not ``exact``."""
    turn, seen = itertools.cycle(range(len(optimum))), []

    def one(k: int) -> None:
        seen.append((k, solve(k)))

    benchmark.pedantic(one, setup=lambda: ((next(turn),), {}), rounds=rounds)
    errors = np.array([abs(value - optimum[k]) / max(1.0, abs(optimum[k])) for k, value in seen])
    solved = ~np.isnan(errors)
    worst = float(errors[solved].max(initial=0.0))
    benchmark.extra_info.update(failed=int((~solved).sum()), of=len(seen), objective_error=worst)
    if exact:
        assert solved.all()
        assert worst <= SAME


@pytest.mark.parametrize("subject", RACED)
def test_engine(
    benchmark: Any, subject: str, case: ao.Case, network: LinDistFlow, sample: list[Interval], optimum: Any
) -> None:
    benchmark.group = f"race {subject}"
    clearing = Clearing(SUBJECTS[subject](), Grid(case, network))
    for interval in sample:
        clearing.clear(interval)
    _race(benchmark, lambda k: clearing.clear(sample[k]).objective, optimum[subject], rounds=3 * len(sample))


@pytest.mark.parametrize("subject", RACED)
def test_rebuilt(
    benchmark: Any, subject: str, case: ao.Case, network: LinDistFlow, sample: list[Interval], optimum: Any
) -> None:
    """What most people write: a cvxpy model per interval, Clarabel."""
    benchmark.group = f"race {subject}"

    def solve(k: int) -> float:
        return PlainCvxpy(SUBJECTS[subject](), Grid(case, network)).solve(sample[k], cp.CLARABEL, rebuilt=True)

    _race(benchmark, solve, optimum[subject], rounds=SLOW_ROUNDS // 2)


@pytest.mark.parametrize("solver", DPP)
@pytest.mark.parametrize("subject", RACED)
def test_dpp(
    benchmark: Any,
    subject: str,
    solver: str,
    case: ao.Case,
    network: LinDistFlow,
    sample: list[Interval],
    optimum: Any,
) -> None:
    """One cvxpy problem with parameters, kept."""
    benchmark.group = f"race {subject}"
    name = None if solver == "default" else solver
    if name is not None and name not in cp.installed_solvers():
        pytest.skip(f"{name} is not installed")
    plain = PlainCvxpy(SUBJECTS[subject](), Grid(case, network))
    plain.solve(sample[0], name)
    exact = (subject, solver) not in TOO_LOOSE
    rounds = SLOW_ROUNDS if exact or solver == "default" else 3
    _race(benchmark, lambda k: plain.solve(sample[k], name), optimum[subject], rounds=rounds, exact=exact)
    benchmark.extra_info["solver"] = name or plain.solver_used


def test_floor(benchmark: Any, case: ao.Case, network: LinDistFlow, sample: list[Interval], optimum: Any) -> None:
    """The matrices that cvxpy hands to HiGHS, one model kept and changed in place; making them is not timed."""
    benchmark.group = "race lp"
    plain = PlainCvxpy(SUBJECTS["lp"](), Grid(case, network))
    prepared = [matrices(plain, interval) for interval in sample]
    a = prepared[0][0]
    assert all((abs(a - other)).max() == 0.0 for other, _ in prepared)
    floor = Floor(a, prepared[0][1])
    for _, numbers in prepared:
        floor.solve(numbers)
    _race(benchmark, lambda k: -floor.solve(prepared[k][1]), optimum["lp"], rounds=3 * len(sample))
