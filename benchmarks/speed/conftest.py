"""Shared cases and samples of the speed benchmarks; numpy's linear algebra is kept to one thread, as in the driver."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits

import amm_opt as ao
from amm_opt.grid import Grid
from amm_opt.network import LinDistFlow
from benchmarks.helpers.subjects import Interval, congested

CASE = "mv33lv"
SAMPLE, DAYS = 24, 26


def pytest_configure(config: pytest.Config) -> None:
    """Register markers; peers' warnings are not ours to fix."""
    config.addinivalue_line("markers", "year: a whole year for each mechanism, minutes")
    config.addinivalue_line("filterwarnings", "ignore")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    with threadpool_limits(limits=1, user_api="blas"):
        yield


@pytest.fixture(scope="session")
def case() -> ao.Case:
    """The default case."""
    return ao.load_case(CASE)


@pytest.fixture(scope="session")
def network(case: ao.Case) -> LinDistFlow:
    """Its linear model."""
    return LinDistFlow(case.feeder)


@pytest.fixture(scope="session")
def sample(case: ao.Case, network: LinDistFlow) -> list[Interval]:
    """The congested intervals that everything per interval is timed on."""
    return congested(Grid(case, network), SAMPLE, days=DAYS)
