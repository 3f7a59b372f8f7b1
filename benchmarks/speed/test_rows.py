"""Lazy network rows against all of them from the start, on congested intervals of synthetic feeders of growing size.

The answer that the engine never needs all rows (docs/decisions/0023) rests on this.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import amm_opt as ao
from amm_opt.grid import Grid
from amm_opt.network import LinDistFlow
from amm_opt.solve.routes import interval as route
from benchmarks.helpers.subjects import SUBJECTS, Clearing, congested

SIZES = (12, 25, 50, 100, 200)


class AllRows(route.IntervalRoute):
    """Every row is in use from the start, and none leaves."""

    def reset(self) -> None:
        super().reset()
        for pool in self.pools:
            pool.idle = dict.fromkeys(range(len(self.group)), 0)


@pytest.mark.parametrize("buses", SIZES)
@pytest.mark.parametrize("subject", ["lp", "qp"])
@pytest.mark.parametrize("rows", ["lazy", "all"])
@pytest.mark.benchmark(group="rows")
def test_rows(benchmark: Any, monkeypatch: pytest.MonkeyPatch, rows: str, subject: str, buses: int) -> None:
    """Hot solves, after going through the sample once."""
    case = ao.load_case(f"synthetic:buses={buses},days=60,seed=1")
    grid = Grid(case, LinDistFlow(case.feeder))
    sample = congested(grid, 12)
    if rows == "all":
        monkeypatch.setattr(route, "STALE_AFTER", np.inf)
        monkeypatch.setattr("amm_opt.solve.solver.IntervalRoute", AllRows)
    clearing, turn = Clearing(SUBJECTS[subject](), grid), itertools.cycle(sample)
    for program in clearing._programs.values():
        program.reset()
    for interval in sample:
        clearing.clear(interval)
    benchmark.extra_info.update(buses=buses, limits=len(grid.network.quantities.kind))
    benchmark.pedantic(clearing.clear, setup=lambda: ((next(turn),), {}), rounds=4 * len(sample))
