"""Runs of several mechanisms side by side, in memory and on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from amm_opt.cases import Case
from amm_opt.errors import InputError, as_path, shorten
from amm_opt.io.html import as_html
from amm_opt.pictures.accessors import ComparisonPictures
from amm_opt.simulation import Run
from amm_opt.simulation.results.claim import UNKNOWN
from amm_opt.simulation.results.column import Column
from amm_opt.simulation.results.columns import COLUMNS, OF_MEMORY, PRICE_OF_FAIRNESS, in_order
from amm_opt.simulation.results.summary import computed, typed
from amm_opt.simulation.stored.opened import open_runs
from amm_opt.study.result_folder import ResultFolder, replace_summary, stored_folders


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Mapping[str, Run]):
    """Runs of several mechanisms on the same case and intervals, a mapping from label to run."""

    case: Case
    runs: dict[str, Run]

    def __getitem__(self, label: str) -> Run:
        return self.runs[label]

    def __iter__(self) -> Iterator[str]:
        return iter(self.runs)

    def __len__(self) -> int:
        return len(self.runs)

    def __repr__(self) -> str:
        return f"Comparison({shorten(self.runs)} on {self.case.name!r})"

    def _repr_html_(self) -> str:
        return as_html(repr(self), self.table.T)

    @cached_property
    def plot(self) -> ComparisonPictures:
        """``comparison.plot()`` and other pictures, see ``ComparisonPictures``."""
        return ComparisonPictures(self)

    @property
    def columns(self) -> dict[str, Column]:
        """The columns of the table by name, in its order."""
        names = [name for run in self.runs.values() for name in run.summary.index]
        own = {column.name: column for run in self.runs.values() for column in run.columns}
        beside = [PRICE_OF_FAIRNESS.name] if self._bound is not None else []
        beside += [column.name for column in OF_MEMORY] if self.without_memory else []
        known = {**own, **COLUMNS}
        return {name: known.get(name) or Column(name) for name in in_order([*names, *beside])}

    @property
    def table(self) -> pd.DataFrame:
        """One row per mechanism with the summary columns.

        If one of the mechanisms is the throughput bound, such as ``alpha_fair:alpha=0``, there is a column
        ``price_of_fairness``: 1 - energy served / energy that the bound serves, import and export together. It is NaN
        where limits were broken or intervals failed, and everywhere if the bound's own intervals did. If a mechanism
        and the same one without its memory are both there, ``price_of_memory_pct`` and two more columns compare them.
        """
        rows = {label: run.summary for label, run in self.runs.items()}
        table = pd.DataFrame(rows, index=list(self.columns)).T
        table.index.name = "mechanism"
        if self._bound is not None:
            for label, run in self.runs.items():
                table.loc[label, PRICE_OF_FAIRNESS.name] = PRICE_OF_FAIRNESS.of(run, self._bound)
        for label, other in self.without_memory.items():
            for name, value in computed(OF_MEMORY, self.runs[label], self.runs[other]).items():
                table.loc[label, name] = value
        return typed(table, self.columns)

    @property
    def claims(self) -> pd.DataFrame:
        """What may be said of the limits each run keeps: ``claim``, its rung, and ``claim_words``."""
        rows = {
            label: (UNKNOWN, "not known: an earlier version stored the run")
            if run.claim is None
            else (run.claim.rung, run.claim.words)
            for label, run in self.runs.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index", columns=["claim", "claim_words"]).rename_axis("mechanism")

    @property
    def written(self) -> pd.DataFrame:
        """The table and the claims: what ``summary.csv`` holds."""
        return self.table.join(self.claims)

    @property
    def without_memory(self) -> dict[str, str]:
        """By the label of a mechanism with memory, that of the run of the same one without, in the same tiers."""
        labels = {(str(run.mechanism), run.tiers): label for label, run in reversed(self.runs.items())}
        found = {}
        for label, run in self.runs.items():
            without = run.mechanism.without_memory()
            if without is not None and (str(without), run.tiers) in labels:
                found[label] = labels[str(without), run.tiers]
        return found

    @property
    def _bound(self) -> Run | None:
        """The first run of a throughput bound."""
        return next((run for run in self.runs.values() if run.mechanism.throughput_bound), None)

    def save(self, folder: str | Path) -> Path:
        """Write ``summary.csv`` and each run's per-interval results into a new or empty folder.

        Raises:
            InputError: where the folder exists and is not empty, or cannot be written; nothing is written then.
            OutputError: where not everything could be written.
        """
        place = ResultFolder(as_path(folder, "folder"), self.runs)
        try:
            for label, run in self.runs.items():
                run.save(place.place(label))
            place.finish(self.written)
        finally:
            place.close()
        return place.path

    def save_summaries(self, folder: str | Path) -> None:
        """Write ``summary.csv`` and each run's summary again, into the folder that :meth:`save` made."""
        for label, place in stored_folders(Path(folder)).items():
            self.runs[label].save_summary(place)
        replace_summary(Path(folder), self.written)


def open_comparison(folder: str | Path) -> Comparison:
    """Read what ``Comparison.save`` wrote.

    Raises:
        InputError: where the folder holds no finished comparison, or one of its runs cannot be read (see ``open_run``).
    """
    runs = open_runs(stored_folders(as_path(folder, "folder of a comparison")))
    held = {label: str(run.mechanism) for label, run in runs.items()}
    if moved := [label for label, name in held.items() if name != label and held.get(name, name) != name]:
        raise InputError([f"{folder}: the run in the folder of {label!r} is one of {held[label]!r}" for label in moved])
    return Comparison(next(iter(runs.values())).case, runs)


load_comparison = open_comparison
"""The earlier name, which scripts outside the project use."""
