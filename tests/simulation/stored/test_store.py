"""Runs in memory and in a folder are read alike; the folder is one that other tools read."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from small import one_transformer, rebuilt

import amm_opt as ao
from amm_opt.io.chunks import ChunkedArray
from amm_opt.market import Allocation
from amm_opt.simulation.loop import loop
from amm_opt.simulation.loop.result import BlockResult
from amm_opt.simulation.results.totals import Totals
from amm_opt.simulation.stored import disk
from amm_opt.simulation.stored.block import FIELDS, Block
from amm_opt.simulation.stored.disk import DiskStore, StoredArray
from amm_opt.simulation.stored.record import StoredState, decoded, encoded
from amm_opt.simulation.stored.store import MemoryStore, RunStore

CASE = ao.load_case("synthetic:buses=40,days=1,seed=1")
N, F = CASE.n_participants, len(CASE.feeder.lv_feeders)


def same(one: ao.Run, other: ao.Run) -> None:
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(one.allocation, name), getattr(other.allocation, name))
    pd.testing.assert_frame_equal(one.intervals(), other.intervals())
    np.testing.assert_array_equal(one.feeder_energy(), other.feeder_energy())
    for name, values in one.state.arrays().items():
        np.testing.assert_array_equal(other.state.arrays()[name], values)


def test_on_disk_as_in_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    case = ao.load_case("synthetic:buses=60,days=2,seed=3")
    monkeypatch.setattr(loop, "BLOCK_STEPS", 40)
    plain = ao.simulate(case, "amm")
    written = ao.simulate(case, "amm", out=tmp_path / "written")
    plain.save(tmp_path / "saved")
    read = ao.open_run(tmp_path / "written")
    for other in (written, read, ao.open_run(tmp_path / "saved")):
        same(plain, other)
    assert isinstance(written.allocation.import_kw, np.ndarray)
    arrays = [sorted(p for p in (tmp_path / x / "arrays.zarr").rglob("*") if p.is_file()) for x in ("written", "saved")]
    assert [p.read_bytes() for p in arrays[0]] == [p.read_bytes() for p in arrays[1]]
    monkeypatch.setattr(disk, "READ_WHOLE", 0)
    large = ao.open_run(tmp_path / "written")
    assert isinstance(large.allocation.import_kw, StoredArray)
    same(plain, large)
    for which in (3, -1, slice(38, 45), slice(None, None, 7), (slice(2, 50), 1), np.arange(5), np.s_[90, 2]):
        np.testing.assert_array_equal(large.allocation.import_kw[which], plain.allocation.import_kw[which])
    asked = plain.requests.import_request_kw
    np.testing.assert_array_equal(asked - large.allocation.import_kw, asked - plain.allocation.import_kw)
    np.testing.assert_array_equal(large.allocation.import_kw.sum(axis=0), plain.allocation.import_kw.sum(axis=0))
    monkeypatch.setattr(disk, "IN_MEMORY", 0)
    pd.testing.assert_frame_equal(pd.DataFrame(large.allocation.import_kw), pd.DataFrame(plain.allocation.import_kw))
    temporary = ao.simulate(case, "amm")
    same(plain, temporary)
    assert isinstance(temporary.store, DiskStore)
    folder = temporary.store.folder
    assert folder.is_dir()
    del temporary
    gc.collect()
    assert not folder.exists()


def test_xarray_and_pandas_read_the_folder(tmp_path: Path) -> None:
    run = ao.simulate("synthetic:buses=60,days=3,seed=3", "amm", out=tmp_path / "run")
    data = xr.open_zarr(tmp_path / "run" / "arrays.zarr", consolidated=False)
    np.testing.assert_array_equal(data.served_kw.sel(direction="export"), run.allocation.export_kw)
    np.testing.assert_array_equal(data.price_per_kwh.sel(direction="import"), run.allocation.import_price)
    assert list(data.participant.to_numpy()) == list(run.case.participant_names)
    assert list(data.feeder.to_numpy()) == list(run.case.feeder.lv_feeders)
    assert data.indexes["time"].equals(run.times.rename("time"))
    assert data.served_kw.attrs["units"] == "kW"
    own = pd.read_parquet(tmp_path / "run" / "intervals").set_index("time").sort_index()
    pd.testing.assert_frame_equal(own, run.intervals(), check_freq=False, check_index_type=False)


def test_chunks_are_whole_files(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(7, 2, 3))
    array = ChunkedArray(tmp_path / "x", (7, 2, 3), 3, np.nan)
    array.make(("a", "b", "c"), {"units": "kW"})
    for k in (0, 2):
        assert array.write(k, values[3 * k : 3 * k + 3]) == array.chunk(k).read_bytes()
    array.make(("a", "b", "c"), {"units": "kW"})  # once more, as after an interruption
    expected = values.copy()
    expected[3:6] = np.nan
    np.testing.assert_array_equal(array.read(0, 7), expected)
    np.testing.assert_array_equal(array.read(2, 7), expected[2:])
    array.write(1, np.full((3, 2, 3), np.nan))  # nothing but the fill is a file too
    array.chunk(1).write_bytes(array.chunk(0).read_bytes()[:-3])
    with pytest.raises(ValueError, match="is damaged"):
        array.read(4, 5)


def block(start: int, steps: int, *, price: float | None = None) -> Block:
    power = np.ones((steps, N))
    prices = (None, None) if price is None else (price * power, 2 * price * power)
    return Block.of(CASE, CASE.requests(start, start + steps), Allocation(power, power, *prices))


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_prices_that_start_late_are_nan_before(kind: str, tmp_path: Path) -> None:
    store: RunStore = MemoryStore(CASE, 3, 6, 1)
    if kind == "disk":
        store = DiskStore(tmp_path, CASE, 3, 6, 1)
        store.prepare()
    for start, price in ((3, None), (4, 2.0), (5, None)):
        store.write(block(start, 1, price=price), BlockResult("x", StoredState({}), Totals.empty(N)))
    a = store.allocation()
    assert a.import_price is not None
    assert a.export_price is not None
    np.testing.assert_array_equal(a.import_price[:, 0], [np.nan, 2, np.nan])
    np.testing.assert_array_equal(a.export_price[:, -1], [np.nan, 4, np.nan])
    assert a.battery_kw is None
    np.testing.assert_array_equal(store.totals()["mean_export_price"], [np.nan, 4, np.nan])
    np.testing.assert_array_equal(store.totals()["served_import_kw"], [N, N, N])


def charging() -> ao.Case:
    """Two sessions that cannot both have their energy behind one transformer, which others overload at the end."""
    flat = np.zeros((4, 2))
    case = one_transformer(4.0, np.outer([0, 0, 0, 3], [1, 1]), flat, flat)
    rows = [
        (name, case.times[0], case.times[k], 4.0, 4.0) for name, k in zip(case.participant_names, (2, 3), strict=True)
    ]
    columns = ["participant", "arrival", "departure", "power_kw", "energy_kwh"]
    return rebuilt(case, sessions=pd.DataFrame(rows, columns=columns))


def test_a_record_gives_back_every_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "BLOCK_STEPS", 1)
    run = ao.simulate(charging(), "amm", defer=True)

    def flat(item: Any) -> Any:
        if isinstance(item, np.ndarray):
            return item.tobytes(), str(item.dtype), item.shape
        return {k: flat(v) for k, v in vars(item).items()} if hasattr(item, "__dict__") else item

    for result in run.store.results():
        again = decoded(encoded(result), result.label, type(result.state).from_arrays)
        assert encoded(again) == encoded(result)
        assert flat(again.totals.violations) == flat(result.totals.violations)
        assert flat(again.state) == flat(result.state)
        assert flat(again.backlog) == flat(result.backlog)
        assert (again.failed, again.used, again.audit) == (result.failed, result.used, result.audit)
    assert sum(len(result.departed) for result in run.store.results()) > 0
    assert run.totals is not None
    assert run.totals.violations.elements is not None


def test_no_room_for_large_allocations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "IN_MEMORY", 0)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "replace_bytes", refuse)
    with pytest.raises(ao.OutputError, match=r"take no more allocations.*TMPDIR says where they go"):
        ao.simulate(CASE, "no_control", steps=2)
