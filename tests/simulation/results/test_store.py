"""Allocations that are too large for memory."""

import gc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import amm_opt as ao
from amm_opt.market import Allocation
from amm_opt.simulation.results import run as run_module
from amm_opt.simulation.results import store as store_module
from amm_opt.simulation.results.store import Block, RunStore

CASE = ao.load_case("synthetic:buses=40,days=1,seed=1")
N, F = CASE.n_participants, len(CASE.feeder.lv_feeders)


def test_on_disk_as_in_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    case = ao.load_case("synthetic:buses=60,days=2,seed=3")
    plain = ao.simulate(case, "amm")
    monkeypatch.setattr(store_module, "IN_MEMORY", 10)
    monkeypatch.setattr(store_module, "PIECE", 50)
    monkeypatch.setattr(run_module, "BLOCK", 7 * case.n_participants)
    stored = ao.simulate(case, "amm")
    assert isinstance(stored.allocation.import_kw, np.memmap)
    for name in store_module.FIELDS:
        np.testing.assert_array_equal(getattr(stored.allocation, name), getattr(plain.allocation, name))
    pd.testing.assert_frame_equal(stored.intervals(), plain.intervals())
    np.testing.assert_allclose(stored.feeder_energy(), plain.feeder_energy())
    stored.save(tmp_path / "a")
    monkeypatch.undo()
    plain.save(tmp_path / "b")
    tables = [pd.read_parquet(tmp_path / x / "import_price.parquet") for x in "ab"]
    pd.testing.assert_frame_equal(*tables)
    assert list(tables[0].columns) == ["time", *case.participant_names]
    np.testing.assert_array_equal(tables[0].iloc[:, 1:], plain.allocation.import_price)


def block(start: int, steps: int, *, price: float | None = None) -> Block:
    power = np.ones((steps, N))
    prices = (None, None) if price is None else (price * power, 2 * price * power)
    return Block(
        start, Allocation(power, power, *prices), np.zeros((2, 2, steps, F)), np.zeros((2, 2, steps)), power[:, 0]
    )


def test_files_disappear_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "IN_MEMORY", 0)
    store = RunStore(CASE, 3, 6)
    store.write(block(4, 2))
    path = Path(store.allocation().import_kw.filename)  # type: ignore[attr-defined]
    assert path.is_file()
    np.testing.assert_array_equal(store.allocation().import_kw, [[np.nan] * N, [1] * N, [1] * N])
    del store
    gc.collect()
    assert not path.exists()


def test_prices_that_start_late_are_nan_before() -> None:
    store = RunStore(CASE, 0, 3)
    for start, price in enumerate((None, 2.0, None)):
        store.write(block(start, 1, price=price))
    a = store.allocation()
    assert a.import_price is not None
    assert a.export_price is not None
    np.testing.assert_array_equal(a.import_price[:, 0], [np.nan, 2, np.nan])
    np.testing.assert_array_equal(a.export_price[:, -1], [np.nan, 4, np.nan])
