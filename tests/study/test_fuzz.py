"""Thousands of mutations of each loader: the only outcomes are success and InputError."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

import pytest
from fuzz import attempt, targets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SECONDS = 5.0
"""Of each target; what is not tried by then is left to ``python -m tests.helpers.fuzz``."""
TARGETS = ("tables", "folder", "run", "opendss", "matpower", "ausgrid", "arguments", "edits", "mechanisms")

CHECKS = list(HealthCheck)


@pytest.fixture(scope="module")
def known() -> dict[str, Callable[[Random], None]]:
    return targets()


@pytest.mark.parametrize("name", TARGETS)
def test_mutations(name: str, known: dict[str, Callable[[Random], None]]) -> None:
    tried, began, failed = 0, time.monotonic(), set[int]()

    @settings(
        max_examples=2000, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.integers(0, 2**32 - 1))
    def run(seed: int) -> None:
        nonlocal tried
        if time.monotonic() - began < SECONDS or seed in failed:
            tried += 1
            failed.add(seed)
            attempt(known[name], seed)
            failed.discard(seed)

    run()
    assert tried >= 10


def test_every_target_is_here(known: dict[str, Callable[[Random], None]]) -> None:
    assert set(known) == set(TARGETS)
