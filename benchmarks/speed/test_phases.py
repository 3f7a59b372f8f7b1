"""Phases of each subject on the default case: build, first solve, hot solve, sweep, driver overhead, year."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import amm_opt as ao
from amm_opt.grid import Grid
from amm_opt.market import Mechanism
from amm_opt.network import LinDistFlow
from amm_opt.simulation.options import Options, settled
from amm_opt.solve.solver import ProgramSolver
from benchmarks.helpers.subjects import SUBJECTS, Clearing, Interval
from formulations import AMM, EqualDOE, GreedyDOE, NoControl

YEAR: dict[str, Callable[[], Mechanism[Any]]] = {
    "no_control": NoControl,
    "equal_doe": EqualDOE,
    "greedy_doe": GreedyDOE,
    "amm": AMM,
}


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.benchmark(group="build")
def test_build(benchmark: Any, subject: str, case: ao.Case, network: LinDistFlow) -> None:
    benchmark.pedantic(lambda: Clearing(SUBJECTS[subject](), Grid(case, network)), rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.benchmark(group="first solve")
def test_first_solve(benchmark: Any, subject: str, case: ao.Case, network: LinDistFlow, sample: list[Interval]) -> None:
    turn = itertools.cycle(sample)

    def fresh() -> tuple[tuple[Clearing, Interval], dict[str, Any]]:
        return (Clearing(SUBJECTS[subject](), Grid(case, network)), next(turn)), {}

    benchmark.pedantic(lambda clearing, interval: clearing.clear(interval), setup=fresh, rounds=5)


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.benchmark(group="hot solve")
def test_hot_solve(benchmark: Any, subject: str, case: ao.Case, network: LinDistFlow, sample: list[Interval]) -> None:
    """Once through the sample to warm up, then three times; a round is one interval."""
    clearing, turn = Clearing(SUBJECTS[subject](), Grid(case, network)), itertools.cycle(sample)
    for interval in sample:
        clearing.clear(interval)
    benchmark.pedantic(clearing.clear, setup=lambda: ((next(turn),), {}), rounds=3 * len(sample))


@pytest.mark.parametrize("intervals", [1, 48])
@pytest.mark.benchmark(group="sweep")
def test_sweep(benchmark: Any, intervals: int, case: ao.Case, network: LinDistFlow) -> None:
    """Every limited quantity of one interval, and of a day at once."""
    requests = case.requests(0, intervals)
    powers = case.bus_injections(requests.inflexible_kw, requests.import_request_kw, requests.export_request_kw)
    p, q = (power[0] if intervals == 1 else power for power in powers)
    benchmark.extra_info["intervals"] = intervals
    benchmark.pedantic(network.evaluate, args=(p, q), rounds=40, warmup_rounds=3)


@dataclass
class _Clock:
    """Time spent inside some methods, counted once where they call each other."""

    seconds: float = 0.0
    _depth: int = field(default=0, repr=False)

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            self._depth += 1
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self.seconds += time.perf_counter() - began

        return wrapper


@contextmanager
def _inside_solver_and_sweeps(patch: pytest.MonkeyPatch) -> Iterator[_Clock]:
    clock = _Clock()
    with patch.context() as p:
        for owner, name in ((ProgramSolver, "solve"), (LinDistFlow, "evaluate"), (LinDistFlow, "state")):
            p.setattr(owner, name, clock.timed(getattr(owner, name)))
        yield clock


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.benchmark(group="driver overhead")
def test_driver_overhead(benchmark: Any, subject: str, case: ao.Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wall time of the driver on a sunny noon, all of it congested, over the time inside solves and sweeps.

    The loop is made beforehand: compiling happens once in a run and is timed as ``build``.
    """
    first, stop = _congested_run(case)
    mechanism = SUBJECTS[subject]()
    loop = settled(case, mechanism, Options(steps=slice(first, stop))).loop()
    ratios = []

    def run() -> None:
        with _inside_solver_and_sweeps(monkeypatch) as clock:
            began = time.perf_counter()
            loop.run_block(first, stop, *loop.begin())
            ratios.append((time.perf_counter() - began) / clock.seconds)

    benchmark.pedantic(run, rounds=9, warmup_rounds=1)
    per_interval = 1000.0 * benchmark.stats.stats.median / (stop - first)
    benchmark.extra_info.update(intervals=stop - first, ratio=float(np.median(ratios[1:])), driver_ms=per_interval)


def _congested_run(case: ao.Case) -> tuple[int, int]:
    """The longest stretch of congested intervals in four months of summer, at least three."""
    grid, per_day = Grid(case, LinDistFlow(case.feeder)), round(24 / case.dt_h)
    best = (0, 0)
    for start in range(120 * per_day, min(240 * per_day, case.n_steps), 2 * per_day):
        requests = case.requests(start, start + 2 * per_day)
        lower, upper = grid.limits(requests)
        asked = grid.usage(requests)[1]
        bad = [*np.any((asked < lower) | (asked > upper), axis=1), False]
        since = None
        for k, hit in enumerate(bad):
            if hit and since is None:
                since = k
            elif not hit and since is not None:
                best = max(best, (start + since, start + k), key=lambda s: s[1] - s[0])
                since = None
    assert best[1] - best[0] >= 3
    return best


@pytest.mark.year
@pytest.mark.parametrize("name", YEAR)
@pytest.mark.benchmark(group="year")
def test_year(benchmark: Any, name: str, case: ao.Case) -> None:
    """Every interval of the case, metrics and audit included, with all processors where a mechanism allows it."""
    mechanism = YEAR[name]()
    workers = os.cpu_count() or 1
    run = benchmark.pedantic(lambda: ao.simulate(case, mechanism, workers=workers), rounds=1)
    benchmark.extra_info.update(
        intervals=len(run.times), solver=run.solver, failed=len(run.failed_steps), fallback=len(run.fallback_steps)
    )
