"""What a run keeps of every interval, written block by block; allocations are on disk where they are large."""

from __future__ import annotations

import os
import shutil
import weakref
from dataclasses import dataclass
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from numpy.lib.format import open_memmap

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case, Requests
from amm_opt.errors import OutputError
from amm_opt.market import Allocation
from amm_opt.simulation.results.fairness import by_feeder

IN_MEMORY = 100_000_000
"""Allocations of at most this many participants times intervals stay in memory."""
FIELDS = ("import_kw", "export_kw", "import_price", "export_price", "battery_kw")
IDLE = {"battery_kw": 0.0}
"""What a field is where it is missing; NaN otherwise."""
PLANNED = ("planned_import_kw", "planned_export_kw")
PIECE = 1_000_000


@dataclass(frozen=True, eq=False)
class Block:
    """A few consecutive intervals from number ``start`` of the case on.

    ``feeder_kw`` is (2, 2, T, feeders): requested and served, import and export; ``inflexible_kw`` and those of
    ``outside_kw`` (participants on no LV feeder) are sums over participants.
    """

    start: int
    allocation: Allocation
    feeder_kw: FloatArray
    outside_kw: FloatArray
    inflexible_kw: FloatArray
    planned: Allocation | None = None

    @classmethod
    def of(cls, case: Case, requests: Requests, allocation: Allocation, planned: Allocation | None = None) -> Block:
        """From what was requested and what was allocated."""
        requested = (requests.import_request_kw, requests.export_request_kw)
        powers = np.array([requested, (allocation.import_kw, allocation.export_kw)])
        feeders = by_feeder(case, powers)
        outside = powers.sum(axis=-1) - feeders.sum(axis=-1)
        return cls(requests.start, allocation, feeders, outside, requests.inflexible_kw.sum(axis=-1), planned)


class RunStore:
    """(T, n) arrays of one run from interval ``first`` on, and its totals; grows by :meth:`write`.

    Large arrays are files in a temporary folder that disappears with the store; keep the store as long as the arrays.
    """

    def __init__(self, case: Case, first: int, stop: int) -> None:
        steps, n = stop - first, case.n_participants
        self._first = first
        self._shape = (steps, n)
        self.feeder_kw = np.full((2, 2, steps, len(case.feeder.lv_feeders)), np.nan)
        self.outside_kw = np.full((2, 2, steps), np.nan)
        self.inflexible_kw = np.full(steps, np.nan)
        self._arrays: dict[str, FloatArray | Path] = {}
        self._folder: Path | None = None
        if steps * n > IN_MEMORY:
            self._folder = Path(mkdtemp(prefix="amm-opt-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def write(self, block: Block) -> None:
        """Put a block in place; prices that some intervals lack are NaN there, battery powers 0."""
        start = block.start - self._first
        stop = start + len(block.inflexible_kw)
        self.feeder_kw[:, :, start:stop] = block.feeder_kw
        self.outside_kw[:, :, start:stop] = block.outside_kw
        self.inflexible_kw[start:stop] = block.inflexible_kw
        given = {name: getattr(block.allocation, name) for name in FIELDS}
        if block.planned is not None:
            given |= dict(zip(PLANNED, (block.planned.import_kw, block.planned.export_kw), strict=True))
        for name, values in given.items():
            if values is not None and name not in self._arrays:
                self._arrays[name] = self._new(name)
            if name in self._arrays:
                self._place(name)[start:stop] = IDLE.get(name, np.nan) if values is None else values

    def allocation(self) -> Allocation:
        """All of it; arrays on disk are mapped into memory."""
        return Allocation(*(self._place(name, "r") if name in self._arrays else None for name in FIELDS))  # type: ignore[arg-type]

    def arrays(self) -> dict[str, FloatArray]:
        """Every (T, n) array by name; those on disk are mapped into memory."""
        return {name: self._place(name, "r") for name in self._arrays}

    def planned(self) -> Allocation | None:
        """What was planned on forecasts, powers only; None where nothing was."""
        if PLANNED[0] not in self._arrays:
            return None
        return Allocation(self._place(PLANNED[0], "r"), self._place(PLANNED[1], "r"))

    def _new(self, name: str) -> FloatArray | Path:
        missing = IDLE.get(name, np.nan)
        if self._folder is None:
            return np.full(self._shape, missing)
        path = self._folder / f"{name}.npy"
        open_memmap(path, "w+", float, self._shape)
        _reserve(path)
        rows = max(1, PIECE // self._shape[1])
        for first in range(0, self._shape[0], rows):
            open_memmap(path, "r+")[first : first + rows] = missing
        return path

    def _place(self, name: str, mode: str = "r+") -> FloatArray:
        held = self._arrays[name]
        if isinstance(held, Path):
            return open_memmap(held, "r" if mode == "r" else "r+")
        return held


def _reserve(path: Path) -> None:
    """Have the system set a file's room aside, because a mapped file on a full disk ends the process.

    Raises:
        OutputError: where there is no room.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            if error.errno in (ENOSPC, EDQUOT, EFBIG):
                size = path.stat().st_size / 1e9
                raise OutputError(
                    f"no room for {size:.1f} GB of allocations in {path.parent}; TMPDIR says where they go"
                ) from error
