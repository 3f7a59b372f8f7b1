"""Where the blocks of a run are kept, in memory here; ``disk`` keeps them in a folder. Both are read alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case
from amm_opt.market import Allocation
from amm_opt.simulation.loop.result import BlockResult
from amm_opt.simulation.stored.block import FIELDS, HELD_IN, PLANNED, TOTALS, VARIABLES, Block, fill_of

Values = Any
"""An array, or a ``StoredArray``, which is read as one."""


class RunStore(ABC):
    """The blocks of one run, intervals ``first .. stop - 1`` of a case in blocks of ``length``.

    Attributes:
        fields: what it holds of allocations and plans.
        elapsed_s: wall time of the run at the end of every block.
    """

    def __init__(self, case: Case, first: int, stop: int, length: int) -> None:
        self.case, self.first, self.steps, self.length = case, first, stop - first, length
        self.fields: set[str] = set()
        self.elapsed_s: list[float] = []

    @abstractmethod
    def write(self, block: Block, result: BlockResult, elapsed_s: float = 0.0) -> None:
        """Keep a block and what it came to; blocks come in order."""

    @abstractmethod
    def read(self, name: str, start: int, stop: int) -> FloatArray:
        """Intervals ``start .. stop - 1``, counted within the run, of one of ``VARIABLES``."""

    @abstractmethod
    def values(self, field: str) -> Values:
        """(T, n) one of ``FIELDS`` or ``PLANNED``."""

    @abstractmethod
    def totals(self) -> dict[str, FloatArray]:
        """(T,) sums and mean prices over all participants, by name."""

    @abstractmethod
    def results(self) -> Iterator[BlockResult]:
        """What every block came to, in order."""

    def number(self, block: Block) -> int:
        """The place of a block in the run."""
        return (block.start - self.first) // self.length

    def names(self) -> list[str]:
        """The variables that are there."""
        return [v.name for v in VARIABLES.values() if not v.fields or not self.fields.isdisjoint(v.fields)]

    def blocks(self) -> Iterator[Block]:
        """All blocks, in order."""
        totals = self.totals()
        for start in range(0, self.steps, self.length):
            stop = min(start + self.length, self.steps)
            arrays = {name: self.read(name, start, stop) for name in self.names()}
            sums = {name: values[start:stop] for name, values in totals.items()}
            yield Block(self.first + start, arrays, sums, frozenset(self.fields)).trimmed()

    def allocation(self) -> Allocation:
        """All that was allocated, (T, n) each."""
        held: list[Values] = [self.values(name) if name in self.fields else None for name in FIELDS]
        return Allocation(*held)

    def planned(self) -> Allocation | None:
        """What was planned on forecasts, powers only; None where nothing was."""
        return Allocation(*map(self.values, PLANNED)) if PLANNED[0] in self.fields else None

    @property
    def feeder_kw(self) -> FloatArray:
        """(2, 2, T, feeders) requested and served, import and export."""
        both = [self.read(f"feeder_{name}_kw", 0, self.steps) for name in ("requested", "served")]
        return np.stack(both).swapaxes(1, 2)


class MemoryStore(RunStore):
    """Keeps everything in memory."""

    def __init__(self, case: Case, first: int, stop: int, length: int) -> None:
        super().__init__(case, first, stop, length)
        self._arrays: dict[str, FloatArray] = {}
        self._totals = {name: np.full(self.steps, np.nan) for name in TOTALS}
        self._results: list[BlockResult] = []

    def write(self, block: Block, result: BlockResult, elapsed_s: float = 0.0) -> None:
        """See ``RunStore``."""
        span = slice(block.start - self.first, block.start - self.first + block.steps)
        for name, values in block.arrays.items():
            if name not in self._arrays:
                variable = VARIABLES[name]
                self._arrays[name] = np.full(variable.shape(self.case, self.steps), variable.fill)
            self._arrays[name][span] = values
        for name, values in block.totals.items():
            self._totals.setdefault(name, np.full(self.steps, fill_of(name)))[span] = values
        self.fields |= block.fields
        self._results.append(result)
        self.elapsed_s.append(elapsed_s)

    def read(self, name: str, start: int, stop: int) -> FloatArray:
        """See ``RunStore``."""
        return self._arrays[name][start:stop]

    def values(self, field: str) -> Values:
        """See ``RunStore``."""
        name, direction = HELD_IN[field]
        return self._arrays[name] if direction is None else self._arrays[name][:, direction]

    def totals(self) -> dict[str, FloatArray]:
        """See ``RunStore``."""
        return self._totals

    def results(self) -> Iterator[BlockResult]:
        """See ``RunStore``."""
        return iter(self._results)
