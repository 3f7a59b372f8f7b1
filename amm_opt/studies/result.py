"""What a study comes to: a tidy table, and views of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from amm_opt.errors import InputError, as_path, shorten, unknown
from amm_opt.io.html import as_html
from amm_opt.simulation import Run, open_run
from amm_opt.simulation.results.columns import COLUMNS, in_order
from amm_opt.simulation.results.summary import typed
from amm_opt.studies.indices.indices import Indices
from amm_opt.studies.sample import Sample
from amm_opt.studies.store import read_document, read_rows
from amm_opt.studies.variant import RUNS, Row, name_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BESIDE = ("cpu_s", "attempts", "reason", "warnings")
"""What stands behind the columns of runs: what was needed, and why there is no run."""
TIMES = ("seconds", "ms_per_step", "cpu_s", "attempts")
"""Columns that differ from time to time; all others are the same whoever ran the study."""


@dataclass(frozen=True, eq=False, repr=False)
class StudyResult:
    """The table of a study.

    Attributes:
        title: of the study.
        parameters: names of the columns that say what was varied.
        table: one row per variant: parameters, summary columns of its run (docs/results.md), then CPU seconds,
            attempts, the reason why there is no run, and warnings. Variants that were not run are not there.
        count: how many variants the study has.
        folder: where it is stored; None where it is not.
        sample: of which its variants are the points; None where there was none.
    """

    title: str
    parameters: tuple[str, ...]
    table: pd.DataFrame
    count: int
    folder: Path | None = None
    sample: Sample | None = None

    @classmethod
    def of(
        cls,
        title: str,
        parameters: Sequence[str],
        rows: Iterable[Row],
        count: int,
        folder: Path | None = None,
        sample: Sample | None = None,
    ) -> StudyResult:
        """From rows in any order."""
        return cls(title, tuple(parameters), _table(parameters, rows), count, folder, sample)

    @property
    def failed(self) -> pd.Series:
        """Why there is no run, by the numbers of the variants that have none."""
        reasons = self.table["reason"]
        return reasons[reasons != ""]

    @property
    def outcomes(self) -> pd.DataFrame:
        """The table without what differs from time to time: the same to the bit, whoever ran the study."""
        return self.table.drop(columns=[name for name in TIMES if name in self.table])

    def run(self, number: int) -> Run:
        """The whole run of a variant, where runs were kept.

        Raises:
            InputError: where there is none.
        """
        if self.folder is None or not (self.folder / RUNS / name_of(number)).is_dir():
            raise InputError(f"the run of variant {number} was not kept: run the study with keep_runs=True and out=...")
        return open_run(self.folder / RUNS / name_of(number))

    def pivot(self, value: str, index: str, columns: str | None = None, how: str = "mean") -> pd.DataFrame:
        """A column of the table by one or two of its parameters; over all others it is averaged.

        Variants that leave a parameter as in the baseline are under NaN.

        Args:
            value: such as ``"unserved_mwh"``.
            index, columns: parameters, in rows and in columns.
            how: what is made of several: ``mean``, ``min``, ``max``, ``median`` or ``std``.

        Raises:
            InputError: unknown names.
        """
        self._check(value, index, columns)
        if index is None or index == columns:
            raise InputError(f"index = {index!r} and columns = {columns!r} must be two parameters, or index alone")
        if how not in (choices := ("mean", "min", "max", "median", "std")):
            raise unknown("choice of how", str(how), choices)
        return self.table.pivot_table(value, index, columns, aggfunc=how, sort=True, dropna=False)

    def plot(self, value: str, x: str | None = None, by: str | None = None) -> Figure:
        """A picture of a column over one parameter: every variant a point, and the mean of all others as a line.

        Args:
            value: such as ``"unserved_mwh"``.
            x: a parameter with numbers; by default the first that has several.
            by: a parameter; a line for each of its values.

        Raises:
            InputError: unknown names, or no parameter with several numbers.
        """
        from amm_opt.studies.picture import drawn

        x = x or next(iter(self.numeric), None)
        if x is None:
            raise InputError("no parameter of the study has several numbers: give x")
        self._check(value, x, by)
        return drawn(self.table, [value], x, by, self.title)

    def indices(self, value: str, where: Mapping[str, Any] | None = None) -> Indices:
        """What a column of the table depends on: indices of the parameters of its sample (docs/sensitivity.md).

        Those of Sobol' from a sample by ``saltelli``, those of Morris from ``morris``, delta from ``latin_hypercube``.

        Args:
            value: such as ``"unserved_mwh"``.
            where: values of other parameters that the study varies, such as ``{"mechanism": "amm"}``.

        Raises:
            InputError: unknown names, a sample without indices, variants that are missing or have no run, and where
                parameters beside those of the sample are varied and not chosen.
        """
        where = dict(where or {})
        self._check(value, *where)
        design = None if self.sample is None else self.sample.design
        if self.sample is None or design is None:
            raise InputError(
                "no indices follow from this study: they need a sample by saltelli, morris or latin_hypercube"
            )
        table = self.table
        for name, chosen in where.items():
            table = table[table[name] == chosen]
        unit = self.sample.unit
        others = [n for n in self.parameters if n not in self.sample.bounds and len(table[n].astype(str).unique()) > 1]
        if others:
            raise InputError(f"the study also varies {shorten(others)}: choose a value of each with where={{...}}")
        if len(table) != len(unit):
            raise InputError(f"{len(table)} of the sample's {len(unit)} variants are there: indices need all")
        return design.indices(table[value], value, unit)

    @property
    def numeric(self) -> list[str]:
        """Parameters with several numbers."""
        numbers = self.table[list(self.parameters)].select_dtypes("number")
        return [str(name) for name in numbers if len(numbers[name].unique()) > 1]

    def _check(self, value: str, *parameters: str | None) -> None:
        values = [name for name in self.table if name not in (*self.parameters, *BESIDE) or name == "cpu_s"]
        if value not in values:
            raise unknown("column", str(value), values)
        for name in parameters:
            if name is not None and name not in self.parameters:
                raise unknown("parameter of the study", str(name), self.parameters)

    def __repr__(self) -> str:
        lacking = f" of {self.count}" if len(self.table) < self.count else ""
        failed = f", {len(self.failed)} without a run" if len(self.failed) else ""
        varied = shorten(self.parameters) or "nothing"
        return f"StudyResult({len(self.table)}{lacking} variants of {varied}{failed})"

    def _repr_html_(self) -> str:
        return as_html(repr(self), self.table.drop(columns=["warnings"]))


def open_study(folder: str | Path) -> StudyResult:
    """What there is of a study that was run with ``out``, finished or not.

    Raises:
        InputError: where the folder holds none, or is damaged.
    """
    path = as_path(folder, "folder")
    document = read_document(path)
    rows = read_rows(path).values()
    sample = None if document.get("sample") is None else Sample(**document["sample"])
    count = document["inputs"]["variants"]
    return StudyResult.of(document["title"], document["parameters"], rows, count, path, sample)


def _table(parameters: Sequence[str], rows: Iterable[Row]) -> pd.DataFrame:
    ordered = sorted(rows, key=lambda row: row.number)
    names = in_order([name for row in ordered for name in row.summary])
    records: list[dict[str, Any]] = [
        {
            **{name: row.parameters.get(name) for name in parameters},
            **{name: row.summary.get(name, float("nan")) for name in names},
            "cpu_s": row.cpu_s,
            "attempts": row.attempts,
            "reason": row.reason,
            "warnings": "; ".join(row.warnings),
        }
        for row in ordered
    ]
    index = pd.Index([row.number for row in ordered], name="variant", dtype="int64")
    table = pd.DataFrame(records, index=index, columns=[*parameters, *names, *BESIDE])
    return typed(table, COLUMNS)
