"""The tables of an RTS-GMLC folder: cells as texts and numbers, with everything that is wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from amm_opt.errors import InputError, shorten, shown
from amm_opt.io.tables import read_table

SOURCE = "SourceData"
REQUIRED: dict[str, tuple[str, ...]] = {
    "bus": ("Bus ID", "BaseKV", "Bus Type", "MW Load", "MVAR Load", "V Mag", "Area"),
    "branch": ("UID", "From Bus", "To Bus", "R", "X", "B", "Cont Rating", "Tr Ratio"),
    "gen": ("GEN UID", "Bus ID", "Unit Type", "PMax MW", "PMin MW", "Fuel Price $/MMBTU", "Output_pct_0", "HR_avg_0"),
    "timeseries_pointers": ("Simulation", "Object", "Parameter", "Data File"),
}
OPTIONAL = ("storage", "dc_branch", "reserves", "simulation_objects")
EMPTY = ("", "NA", "NaN", "nan")


class Tables:
    """The tables of a folder; problems are collected.

    Attributes:
        folder: where they are, with ``timeseries_pointers.csv``.
        problems: what is wrong, one sentence each.
    """

    def __init__(self, path: Path) -> None:
        """Find and read them.

        Raises:
            InputError: where files or columns are missing, or a file is no table.
        """
        places = [path, path / SOURCE, path / "RTS_Data" / SOURCE]
        found = [place for place in places if (place / "bus.csv").is_file()]
        if not found:
            raise InputError(f"{path}: no bus.csv in it, in {SOURCE} or in RTS_Data/{SOURCE}")
        self.folder, self.problems = found[0], list[str]()
        self._table: dict[str, pd.DataFrame] = {}
        for name in (*REQUIRED, *OPTIONAL):
            file = self.folder / f"{name}.csv"
            if file.is_file():
                self._table[name] = self._read(file)
            elif name in REQUIRED:
                self.problems.append(f"{file} not found")
        for name, columns in REQUIRED.items():
            missing = [c for c in columns if c not in self._table.get(name, pd.DataFrame(columns=list(columns)))]
            self.problems += [f"{name}.csv: missing column {c!r}" for c in missing]
        if self.problems:
            raise InputError(self.problems, subject=str(self.folder))

    def _read(self, file: Path) -> pd.DataFrame:
        try:
            table = read_table(file, "table", texts=None)
        except InputError as error:
            self.problems += error.problems
            return pd.DataFrame()
        return table.fillna("").rename(columns=str.strip)

    def table(self, name: str) -> pd.DataFrame:
        """A table of texts; no rows where the folder has none."""
        return self._table.get(name, pd.DataFrame())

    def texts(self, name: str, column: str) -> pd.Series[str]:
        """A column as texts."""
        return self.table(name)[column].str.strip()

    def numbers(
        self, name: str, label: str, column: str, empty: float | None = None, *, lower: float = -np.inf
    ) -> pd.Series[float]:
        """A column as finite numbers of at least ``lower``; other cells are problems that name the row by ``label``."""
        table = self.table(name)
        if column not in table:
            return pd.Series(0.0 if empty is None else empty, index=table.index)
        raw = table[column].str.strip()
        values = pd.to_numeric(raw, errors="coerce").astype(float)
        none = raw.isin(EMPTY)
        bad = ~(np.isfinite(values) & (values >= lower)) & ~(none & (empty is not None))
        rule = "a finite number" if lower == -np.inf else f"a finite number of at least {lower:g}"
        self.problems += [
            f"{name} {table[label][i]!r}: {column} = {shown(raw[i])} must be {rule}" for i in table.index[bad]
        ]
        return values.where(~none & ~bad, 0.0 if empty is None else empty)

    def known(self, name: str, label: str, column: str, valid: pd.Series[str]) -> pd.Series[bool]:
        """Whether a column names one of what there is; others are problems."""
        given = self.texts(name, column)
        inside = given.isin(valid)
        self.problems += [
            f"{name} {self.table(name)[label][i]!r}: there is no bus {given[i]!r}" for i in given.index[~inside]
        ]
        return inside

    def unique(self, name: str, column: str) -> None:
        """Names that are empty or stand twice are problems."""
        given = self.texts(name, column)
        self.problems += [f"{name} row {i + 1}: no {column}" for i in given.index[given == ""]]
        if len(twice := given[given.duplicated() & (given != "")].unique()):
            self.problems.append(f"{name}: {column} {shorten(twice)} more than once")
