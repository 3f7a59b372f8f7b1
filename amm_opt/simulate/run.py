"""The result of one simulation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from amm_opt.cases import Case, Window
from amm_opt.market import Allocation, Mechanism, State
from amm_opt.simulate.store import FIELDS, RunStore
from amm_opt.solve import Audit

FloatArray = NDArray[np.float64]

BLOCK = 4_000_000
"""Participants times intervals that are looked at together."""


@dataclass(frozen=True, eq=False)
class Run:
    """What one mechanism did on one case.

    Attributes:
        times: T interval starts; ``first`` is the number of the first within the case.
        allocation: (T, n) served import, accepted export and prices.
        state: the mechanism's state after the last interval.
        summary: the summary columns.
        solver: the solvers that really solved, most used first, joined by ``+``; ``-`` where none was needed.
        failed_steps: intervals in which nobody was served because no answer passed, with the reason.
        fallback_steps: intervals solved by another solver than the first choice.
        audit: the worst residuals and duality gap of all solves; None where nothing was solved.
        store: what holds the allocations, in memory or on disk.
    """

    case: Case
    mechanism: Mechanism[Any]
    network: str
    solver: str
    times: pd.DatetimeIndex
    first: int
    allocation: Allocation
    state: State
    summary: pd.Series[float]
    failed_steps: dict[int, str]
    fallback_steps: tuple[int, ...]
    audit: Audit | None
    store: RunStore

    def __repr__(self) -> str:
        span = f"{self.times[0]} to {self.times[-1]}"
        return f"Run({str(self.mechanism)!r} on {self.case.name!r}, {span}, {len(self.failed_steps)} failed)"

    @property
    def window(self) -> Window:
        """What was requested in the run's intervals, all at once; for long runs of large cases use ``case.window``."""
        return self.case.window(self.first, self.first + len(self.times))

    def blocks(self) -> Iterator[tuple[slice, Allocation]]:
        """The allocation in blocks that fit into memory, each with its place in the run."""
        rows = max(1, BLOCK // self.case.n_participants)
        for start in range(0, len(self.times), rows):
            part = slice(start, min(start + rows, len(self.times)))
            given = (getattr(self.allocation, name) for name in FIELDS)
            yield part, Allocation(*(None if a is None else np.asarray(a[part]) for a in given))  # type: ignore[arg-type]

    def feeder_energy(self) -> tuple[FloatArray, FloatArray]:
        """Energy requested and served at each LV feeder so far, kWh: (2, T, feeders) each, import first."""
        requested, served = np.cumsum(self.store.feeder_kw, axis=2) * self.case.dt_h
        return requested, served

    def intervals(self) -> pd.DataFrame:
        """Per-interval totals over all participants, in kW, with mean prices where there are any."""
        requested, served = self.store.feeder_kw.sum(axis=-1) + self.store.outside_kw
        columns = {
            "requested_import_kw": requested[0],
            "served_import_kw": served[0],
            "requested_export_kw": requested[1],
            "accepted_export_kw": served[1],
            "inflexible_kw": self.store.inflexible_kw,
        }
        for name in ("import_price", "export_price"):
            price = getattr(self.allocation, name)
            if price is not None:
                columns[f"mean_{name}"] = price.mean(axis=1)
        return pd.DataFrame(columns, index=pd.Index(self.times, name="time"))

    def save(self, folder: Path) -> None:
        """Write ``intervals.csv`` and one Parquet table per (T, n) array into ``folder``, which is created."""
        folder.mkdir(parents=True, exist_ok=True)
        self.intervals().to_csv(folder / "intervals.csv", float_format="%.6g")
        files = {"import_kw": "served_import_kw", "export_kw": "accepted_export_kw"}
        names = list(self.case.participant_names)
        with ExitStack() as stack:
            writers: dict[str, pq.ParquetWriter] = {}
            for part, a in self.blocks():
                for name in FIELDS:
                    values = getattr(a, name)
                    if values is None:
                        continue
                    table = pa.table([pa.array(self.times[part]), *map(pa.array, values.T)], ["time", *names])
                    if name not in writers:
                        path = folder / f"{files.get(name, name)}.parquet"
                        writers[name] = stack.enter_context(pq.ParquetWriter(path, table.schema))
                    writers[name].write_table(table)
