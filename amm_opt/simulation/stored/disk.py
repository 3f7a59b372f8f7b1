"""The blocks of a run in a folder: arrays in the Zarr format, totals as Parquet, and a record for every block.

A block is there when its record is: it is written last, and holds the digests of the block's other files. Whatever is
cut, lost or half written, the blocks before it are whole, and are known to be.
"""

from __future__ import annotations

import json
import shutil
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pyarrow as pa

from amm_opt.arrays import DIRECTIONS, FloatArray
from amm_opt.cases import Case
from amm_opt.errors import InputError
from amm_opt.io.chunks import ChunkedArray, make_group, write_coordinate
from amm_opt.io.files import replace_bytes
from amm_opt.market import State
from amm_opt.simulation.loop.result import BlockResult
from amm_opt.simulation.stored.block import HELD_IN, TOTALS, VARIABLES, Block, fill_of
from amm_opt.simulation.stored.digest import damaged, of_bytes, opened, sealed
from amm_opt.simulation.stored.record import StoredState, decoded, encoded
from amm_opt.simulation.stored.store import MemoryStore, RunStore, Values

ARRAYS, INTERVALS, RECORDS = "arrays.zarr", "intervals", "blocks"
PLACES = (ARRAYS, INTERVALS, RECORDS)
IN_MEMORY = 100_000_000
"""Runs of at most this many participants times intervals need no folder."""
READ_WHOLE = 20_000_000
"""Arrays of at most this many are read as a whole, others as far as they are looked at."""
StateOf = Callable[[dict[str, FloatArray]], State]


class DiskStore(RunStore):
    """Keeps blocks in a folder.

    Attributes:
        digests: of every file but those that describe the arrays, by its path in the folder.
    """

    def __init__(self, folder: Path, case: Case, first: int, stop: int, length: int) -> None:
        super().__init__(case, first, stop, min(length, stop - first))
        self.folder = folder
        self.digests: dict[str, str] = {}
        self._label = ""
        self._state_of: StateOf = StoredState
        self._arrays: dict[str, ChunkedArray] = {}
        self._described: set[str] = set()
        self._whole: dict[str, FloatArray] = {}
        self._totals_of = -1
        self._totals_read: dict[str, FloatArray] = {}

    def prepare(self) -> None:
        """Make the folder's parts and the coordinates of the arrays."""
        for place in PLACES:
            (self.folder / place).mkdir(exist_ok=True)
        arrays, case = self.folder / ARRAYS, self.case
        make_group(arrays, {"title": f"run on {case.name}"})
        since = case.times[self.first : self.first + self.steps].to_numpy("datetime64[s]").astype(np.int64)
        about = {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian", "long_name": "interval start"}
        write_coordinate(arrays / "time", since, "time", about)
        write_coordinate(arrays / "direction", DIRECTIONS, "direction", {"long_name": "seen from the participant"})
        write_coordinate(arrays / "participant", case.participant_names, "participant", {"long_name": "participant"})
        write_coordinate(arrays / "feeder", case.feeder.lv_feeders, "feeder", {"long_name": "LV feeder"})

    def write(self, block: Block, result: BlockResult, elapsed_s: float = 0.0) -> None:
        """See ``RunStore``.

        Raises:
            OSError: where the folder takes nothing any more.
        """
        k, files = self.number(block), {}
        self._describe(block.arrays)
        for name, values in block.arrays.items():
            array = self._array(name)
            if (content := array.write(k, values)) is not None:
                files[array.chunk(k).relative_to(self.folder).as_posix()] = of_bytes(content)
        files[f"{INTERVALS}/{k:06}.parquet"] = of_bytes(self._write_totals(k, block))
        document = {"block": k, "fields": sorted(block.fields), "elapsed_s": elapsed_s, "files": files}
        record = sealed({**document, "result": encoded(result)}).encode()
        replace_bytes(self._record(k), record)
        self._known(k, document, of_bytes(record))

    def describe(self) -> None:
        """Write the descriptions of all arrays that are there, which a power cut may have torn."""
        self._described.clear()
        self._describe(self.names() if self.digests else ())

    def _describe(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._described:
                variable = VARIABLES[name]
                self._array(name).make(variable.dims, {"units": variable.unit, "long_name": variable.meaning})
                self._described.add(name)

    def _write_totals(self, k: int, block: Block) -> bytes:
        from pyarrow import parquet

        start = block.start - self.first
        times = self.case.times[block.start : block.start + block.steps]
        table = pa.table({"time": pa.array(times), **{name: pa.array(kw) for name, kw in block.totals.items()}})
        file = pa.BufferOutputStream()
        parquet.write_table(table, file)
        content = file.getvalue().to_pybytes()
        assert start == k * self.length
        replace_bytes(self.folder / INTERVALS / f"{k:06}.parquet", content)
        return bytes(content)

    def _known(self, k: int, document: dict[str, Any], digest: str) -> None:
        self.fields |= set(document["fields"])
        self.digests |= {**document["files"], f"{RECORDS}/{k:06}.json": digest}
        self.elapsed_s.append(document["elapsed_s"])

    def load(self, label: str, state_of: StateOf, *, check: bool = True) -> Iterator[BlockResult]:
        """What is there already, block by block from the first on.

        Args:
            label, state_of: see ``decoded``.
            check: whether the digests of a block's files are compared.

        Raises:
            InputError: at the first block that is not there, or whose files are damaged, with a sentence for each.
        """
        self._label, self._state_of = label, state_of
        for k in range(self.count):
            path = self._record(k)
            if not path.is_file():
                raise InputError(f"{path} not found")
            document = opened(path)
            try:
                if document["block"] != k or not set(document["fields"]) <= set(HELD_IN):
                    raise InputError(f"{path} is not the record of block {k}")
                result = decoded(document["result"], label, state_of)
                if check and (problems := damaged(self.folder, document["files"])):
                    raise InputError(problems)
                self._known(k, document, of_bytes(path.read_bytes()))
            except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(f"{path} is damaged: {type(error).__name__}: {error}") from error
            yield result

    @property
    def count(self) -> int:
        """Number of blocks of the whole run."""
        return -(-self.steps // self.length)

    def _record(self, k: int) -> Path:
        return self.folder / RECORDS / f"{k:06}.json"

    def _array(self, name: str) -> ChunkedArray:
        if name not in self._arrays:
            variable, shape = VARIABLES[name], VARIABLES[name].shape(self.case, self.steps)
            self._arrays[name] = ChunkedArray(self.folder / ARRAYS / name, shape, self.length, variable.fill)
        return self._arrays[name]

    def read(self, name: str, start: int, stop: int) -> FloatArray:
        """See ``RunStore``."""
        return self._array(name).read(start, stop)

    def values(self, field: str) -> Values:
        """See ``RunStore``; large ones are read when they are looked at."""
        if self.steps * self.case.n_participants > READ_WHOLE:
            return StoredArray(self, field)
        name, direction = HELD_IN[field]
        if name not in self._whole:
            self._whole[name] = self.read(name, 0, self.steps)
        return self._whole[name] if direction is None else self._whole[name][:, direction]

    def totals(self) -> dict[str, FloatArray]:
        """See ``RunStore``; they are kept once they are read."""
        if len(self.elapsed_s) != self._totals_of:
            self._totals_of, self._totals_read = len(self.elapsed_s), self._read_totals()
        return dict(self._totals_read)

    def _read_totals(self) -> dict[str, FloatArray]:
        from pyarrow import parquet

        files = (self.folder / INTERVALS / f"{k:06}.parquet" for k in range(self.count))
        parts = [parquet.ParquetFile(pa.BufferReader(f.read_bytes())).read(use_threads=False) for f in files]
        table = pa.concat_tables(parts, promote_options="default").to_pandas()
        own = [name for name in table if name not in (*TOTALS, "time")]
        return {name: table[name].fillna(fill_of(name)).to_numpy() for name in (*TOTALS, *own)}

    def results(self) -> Iterator[BlockResult]:
        """See ``RunStore``."""
        for k in range(self.count):
            document = json.loads(self._record(k).read_text(encoding="utf-8"))
            yield decoded(document["result"], self._label, self._state_of)


class StoredArray(np.lib.mixins.NDArrayOperatorsMixin):
    """(T, n) numbers in a folder, read as far as they are looked at: a slice of intervals is an array in memory."""

    def __init__(self, store: DiskStore, field: str) -> None:
        self._store, self._field = store, field
        self.shape = (store.steps, store.case.n_participants)
        self.dtype, self.ndim = np.dtype(float), 2

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, which: Any) -> Any:
        rows, rest = (which[0], which[1:]) if isinstance(which, tuple) else (which, ())
        if isinstance(rows, int | np.integer):
            row = range(len(self))[rows]
            return self._rows(row, row + 1)[(0, *rest)]
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return self._rows(start, max(start, stop))[(slice(None), *rest)]
        return np.asarray(self)[which]

    def __iter__(self) -> Iterator[FloatArray]:
        return (self[k] for k in range(len(self)))

    def _rows(self, start: int, stop: int) -> FloatArray:
        name, direction = HELD_IN[self._field]
        values = self._store.read(name, start, stop)
        return values if direction is None else values[:, direction]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> FloatArray:
        return self._rows(0, len(self)).astype(dtype or float)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        given = [np.asarray(item) if isinstance(item, StoredArray) else item for item in inputs]
        return getattr(ufunc, method)(*given, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(np.asarray(self), name)


def new_store(case: Case, first: int, stop: int, length: int) -> RunStore:
    """In memory, or in a temporary folder that disappears with the store, where allocations are large."""
    if (stop - first) * case.n_participants <= IN_MEMORY:
        return MemoryStore(case, first, stop, length)
    folder = Path(mkdtemp(prefix="amm-opt-"))
    store = DiskStore(folder, case, first, stop, length)
    weakref.finalize(store, shutil.rmtree, folder, ignore_errors=True)
    store.prepare()
    return store
