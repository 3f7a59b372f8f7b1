"""Growth with the number of buses: building the feeder and its model, and one congested interval."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import pandas as pd
import pytest

from amm_opt.cases import Case, from_tables
from amm_opt.cases.synthetic import synthetic_tables
from amm_opt.grid import Grid
from amm_opt.network import Feeder, LinDistFlow
from benchmarks.helpers.subjects import RACED, SUBJECTS, Clearing, Interval, congested

BUSES = (500, 2000, 8000, 32000)
SAMPLE = 8


@functools.cache
def _tables(buses: int) -> dict[str, Any]:
    return synthetic_tables(buses=buses, days=2)


@functools.cache
def _case(buses: int) -> Case:
    return from_tables(**_tables(buses))


@functools.cache
def _sample(buses: int) -> list[Interval]:
    case = _case(buses)
    return congested(Grid(case, LinDistFlow(case.feeder)), SAMPLE)


def _copies(buses: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    return _tables(buses)["buses"].copy(), _tables(buses)["branches"].copy()


@pytest.mark.parametrize("buses", BUSES)
@pytest.mark.benchmark(group="growth: feeder")
def test_feeder(benchmark: Any, buses: int) -> None:
    """Feeder.from_tables, validation included."""
    benchmark.pedantic(Feeder.from_tables, setup=lambda: (_copies(buses), {}), rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("buses", BUSES)
@pytest.mark.benchmark(group="growth: linear model")
def test_linear_model(benchmark: Any, buses: int) -> None:
    benchmark.pedantic(LinDistFlow, args=(_case(buses).feeder,), rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("buses", BUSES)
@pytest.mark.parametrize("subject", RACED)
def test_hot_solve(benchmark: Any, subject: str, buses: int) -> None:
    benchmark.group = f"growth: hot solve {subject}"
    case = _case(buses)
    try:
        clearing = Clearing(SUBJECTS[subject](), Grid(case, LinDistFlow(case.feeder)))
    except MemoryError as error:
        pytest.skip(f"cannot be compiled: {error}")
    sample = _sample(buses)
    for interval in sample:
        clearing.clear(interval)
    turn = itertools.cycle(sample)
    benchmark.extra_info.update(buses=case.feeder.n_buses, participants=case.n_participants, congested=len(sample))
    benchmark.pedantic(clearing.clear, setup=lambda: ((next(turn),), {}), rounds=2 * len(sample))
