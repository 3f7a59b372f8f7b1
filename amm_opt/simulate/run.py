"""The result of one simulation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amm_opt.cases import Case, Window
from amm_opt.market import Allocation, Mechanism, State
from amm_opt.market.state import served_ratio
from amm_opt.simulate.metrics import by_feeder
from amm_opt.solve import Audit

FloatArray = NDArray[np.float64]


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

    def __repr__(self) -> str:
        span = f"{self.times[0]} to {self.times[-1]}"
        return f"Run({str(self.mechanism)!r} on {self.case.name!r}, {span}, {len(self.failed_steps)} failed)"

    @property
    def window(self) -> Window:
        """What was requested in the run's intervals."""
        return self.case.window(self.first, self.first + len(self.times))

    def feeder_ratios(self) -> tuple[FloatArray, FloatArray]:
        """Served ratio of each LV feeder over the run so far, for import and export: two (T, feeders) arrays."""
        w, a = self.window, self.allocation
        pairs = ((a.import_kw, w.import_request_kw), (a.export_kw, w.export_request_kw))
        ratios = [
            served_ratio(np.cumsum(by_feeder(self.case, s), axis=0), np.cumsum(by_feeder(self.case, r), axis=0))
            for s, r in pairs
        ]
        return ratios[0], ratios[1]

    def intervals(self) -> pd.DataFrame:
        """Per-interval totals over all participants, in kW, with mean prices where there are any."""
        w, a = self.window, self.allocation
        table = pd.DataFrame(
            {
                "requested_import_kw": w.import_request_kw.sum(axis=1),
                "served_import_kw": a.import_kw.sum(axis=1),
                "requested_export_kw": w.export_request_kw.sum(axis=1),
                "accepted_export_kw": a.export_kw.sum(axis=1),
                "inflexible_kw": w.inflexible_kw.sum(axis=1),
            },
            index=pd.Index(self.times, name="time"),
        )
        for name in ("import_price", "export_price"):
            price = getattr(a, name)
            if price is not None:
                table[f"mean_{name}"] = price.mean(axis=1)
        return table

    def save(self, folder: Path) -> None:
        """Write ``intervals.csv`` and one Parquet table per (T, n) array into ``folder``, which is created."""
        folder.mkdir(parents=True, exist_ok=True)
        self.intervals().to_csv(folder / "intervals.csv", float_format="%.6g")
        names = {"import_kw": "served_import_kw", "export_kw": "accepted_export_kw"}
        for attribute in ("import_kw", "export_kw", "import_price", "export_price"):
            values = getattr(self.allocation, attribute)
            if values is not None:
                table = pd.DataFrame(values, columns=list(self.case.participant_names))
                table.insert(0, "time", self.times)
                table.to_parquet(folder / f"{names.get(attribute, attribute)}.parquet", index=False)
