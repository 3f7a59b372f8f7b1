"""Several processes, and chunks that start afresh."""

from __future__ import annotations

import numpy as np
import pytest

import amm_opt as ao
from amm_opt.simulate import driver
from amm_opt.simulate.metrics import Metrics
from formulations import AMM, DNP, AlphaFair, EqualDOE, GreedyDOE, Leximin

MEMORYLESS = [EqualDOE(), GreedyDOE(enrolled="requesting"), AlphaFair(), Leximin(), DNP()]


@pytest.mark.parametrize("mechanism", MEMORYLESS, ids=str)
def test_processes_give_the_same_to_the_bit(mechanism: ao.Mechanism, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "CHUNK_STEPS", 40)
    case = ao.load_case("synthetic:buses=130,days=2,seed=3")
    one, two = (ao.simulate(case, mechanism, workers=n) for n in (1, 2))
    for name in ("import_kw", "export_kw"):
        assert np.array_equal(getattr(one.allocation, name), getattr(two.allocation, name))
    timing = ["seconds", "ms_per_step"]
    assert one.summary.drop(timing).equals(two.summary.drop(timing))
    assert one.summary["unserved_mwh"] + one.summary["curtailed_mwh"] > 0.01
    assert one.solver == two.solver
    assert one.audit == two.audit


def test_memory_needs_one_process() -> None:
    with pytest.raises(ao.InputError, match="amm carries a state from interval to interval: workers must be 1"):
        ao.simulate("synthetic:buses=70,days=1", AMM(), workers=2)
    with pytest.raises(ao.InputError, match="workers = 0 must be"):
        ao.simulate("synthetic:buses=70,days=1", EqualDOE(), workers=0)


def test_a_comparison_uses_processes_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "CHUNK_STEPS", 24)
    case = ao.load_case("synthetic:buses=70,days=1,seed=3")
    mechanisms = [EqualDOE(), AMM()]
    one, two = (ao.compare(case, mechanisms, workers=n).table for n in (1, 2))
    assert one.drop(columns=["seconds", "ms_per_step"]).equals(two.drop(columns=["seconds", "ms_per_step"]))


def test_prices_of_later_chunks_count() -> None:
    """Revenue is known as soon as one chunk has prices."""
    total, later = Metrics.empty(1), Metrics.empty(1)
    later.priced, later.revenue = True, 2.0
    total.merge(later)
    assert total.priced
    assert total.revenue == 2.0
