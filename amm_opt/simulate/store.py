"""Allocations of a run, written block by block; on disk where they are too large for memory."""

from __future__ import annotations

import shutil
import weakref
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from amm_opt.market import Allocation

FloatArray = NDArray[np.float64]

IN_MEMORY = 100_000_000
"""Allocations of at most this many participants times intervals stay in memory."""
FIELDS = ("import_kw", "export_kw", "import_price", "export_price")
PIECE = 1_000_000


class AllocationStore:
    """(T, n) arrays of one run, which grow by :meth:`write`.

    Large ones are files in a temporary folder that disappears with the store; keep the store as long as the arrays.
    """

    def __init__(self, steps: int, n: int) -> None:
        self._shape = (steps, n)
        self._arrays: dict[str, FloatArray | Path] = {}
        self._folder: Path | None = None
        if steps * n > IN_MEMORY:
            self._folder = Path(mkdtemp(prefix="amm-opt-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def write(self, start: int, part: Allocation) -> None:
        """Put the intervals ``start, start + 1, ...`` in place; prices that some intervals lack are NaN there."""
        stop = start + len(part.import_kw)
        for name in FIELDS:
            values = getattr(part, name)
            if values is not None and name not in self._arrays:
                self._arrays[name] = self._new(name)
            if name in self._arrays:
                self._place(name)[start:stop] = np.nan if values is None else values

    def allocation(self) -> Allocation:
        """All of it; arrays on disk are mapped into memory."""
        return Allocation(*(self._place(name, "r") if name in self._arrays else None for name in FIELDS))  # type: ignore[arg-type]

    def _new(self, name: str) -> FloatArray | Path:
        if self._folder is None:
            return np.full(self._shape, np.nan)
        path = self._folder / f"{name}.npy"
        open_memmap(path, "w+", float, self._shape)
        rows = max(1, PIECE // self._shape[1])
        for first in range(0, self._shape[0], rows):
            open_memmap(path, "r+")[first : first + rows] = np.nan
        return path

    def _place(self, name: str, mode: str = "r+") -> FloatArray:
        held = self._arrays[name]
        if isinstance(held, Path):
            return open_memmap(held, "r" if mode == "r" else "r+")
        return held
