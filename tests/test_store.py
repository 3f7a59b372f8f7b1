"""Allocations that are too large for memory."""

import gc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import amm_opt as ao
from amm_opt.market import Allocation
from amm_opt.simulate import run as run_module
from amm_opt.simulate import store as store_module
from amm_opt.simulate.store import AllocationStore


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


def test_files_disappear_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "IN_MEMORY", 0)
    store = AllocationStore(3, 2)
    store.write(1, Allocation(np.ones((2, 2)), np.zeros((2, 2))))
    path = Path(store.allocation().import_kw.filename)  # type: ignore[attr-defined]
    assert path.is_file()
    np.testing.assert_array_equal(store.allocation().import_kw, [[np.nan] * 2, [1, 1], [1, 1]])
    del store
    gc.collect()
    assert not path.exists()


def test_prices_that_start_late_are_nan_before() -> None:
    store = AllocationStore(3, 1)
    power = np.ones((1, 1))
    store.write(0, Allocation(power, power))
    store.write(1, Allocation(power, power, 2 * power, 3 * power))
    store.write(2, Allocation(power, power))
    a = store.allocation()
    np.testing.assert_array_equal(a.import_price, [[np.nan], [2], [np.nan]])
    np.testing.assert_array_equal(a.export_price, [[np.nan], [3], [np.nan]])
