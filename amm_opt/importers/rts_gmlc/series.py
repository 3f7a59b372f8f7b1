"""The time series of an RTS-GMLC folder, in MW."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from amm_opt.errors import InputError, counted, shorten, shown
from amm_opt.importers.rts_gmlc.files import Tables
from amm_opt.io.tables import read_table

TIME = ("Year", "Month", "Day", "Period")
MINUTES = 24 * 60
LOAD, MOST, LEAST = "MW Load", "PMax MW", "PMin MW"
ALL_LOADS = "Load"
"""Object of earlier versions that stands for the load of every area."""


class Series:
    """Time series of one simulation.

    The values of files are MW. The column ``Scaling Factor`` of pointers is what some readers divide them by; it is not
    used.

    Attributes:
        times: of all of them.
        area: MW of load, a column per area.
        most, least: MW that plants can give and must give, a column per plant.
        unread: parameters of which there are series that are not read, and how many; empty where there are none.
    """

    def __init__(self, tables: Tables, simulation: str) -> None:
        self._tables, self._files = tables, dict[Path, pd.DataFrame]()
        pointers = tables.table("timeseries_pointers")
        known = tables.texts("timeseries_pointers", "Simulation")
        if simulation not in set(known):
            valid = shorten(sorted(set(known)))
            raise InputError(f"simulation = {simulation!r} is not in timeseries_pointers.csv; valid choices: {valid}")
        mine = pointers[known == simulation]
        self.times = pd.DatetimeIndex([])
        found: dict[str, dict[str, pd.Series[float]]] = {LOAD: {}, MOST: {}, LEAST: {}}
        unread: dict[str, int] = {}
        for _, row in mine.iterrows():
            what, item = row["Parameter"].strip(), row["Object"].strip()
            if item == ALL_LOADS:
                file = self._file(row["Data File"])
                for area in file.columns.difference(TIME) if file is not None else ():
                    found[LOAD][str(area)] = self._column(row["Data File"], str(area))
            elif what in found:
                found[what][item] = self._column(row["Data File"], item)
            else:
                unread[what] = unread.get(what, 0) + 1
        self.area, self.most, self.least = (pd.DataFrame(found[what]) for what in (LOAD, MOST, LEAST))
        self.unread = ", ".join(f"{what} ({count})" for what, count in unread.items())
        if not any(found.values()):
            tables.problems.append("timeseries_pointers.csv: no series of load or plants")

    def _file(self, name: str) -> pd.DataFrame | None:
        """A data file with its times checked; None where it cannot be used, which is said once."""
        path = self._tables.folder / name.strip().replace("\\", "/")
        if path in self._files:
            return self._files[path] if len(self._files[path].columns) else None
        self._files[path] = pd.DataFrame()
        try:
            table = read_table(path, "table")
        except InputError as error:
            self._tables.problems += error.problems
            return None
        if missing := [c for c in TIME if c not in table]:
            self._tables.problems.append(f"{path}: missing column {shorten(missing)}")
            return None
        times = self._times(path, table)
        if times is None:
            return None
        if not len(self.times):
            self.times = times
        if not times.equals(self.times):
            self._tables.problems.append(
                f"{path}: its {counted(len(times), 'period is', 'periods are')} not those of the other files"
            )
            return None
        self._files[path] = table
        return table

    def _times(self, path: Path, table: pd.DataFrame) -> pd.DatetimeIndex | None:
        numbers = table[list(TIME)].apply(pd.to_numeric, errors="coerce")
        day = pd.to_datetime(numbers[["Year", "Month", "Day"]].rename(columns=str.lower), errors="coerce")
        bad = day.isna() | numbers["Period"].isna()
        if bad.any() or len(table) < 2:
            at = 1 + (int(np.argmax(bad)) if bad.any() else len(table))
            self._tables.problems.append(f"{path}: row {at}: no Year, Month, Day and Period")
            return None
        step = MINUTES / numbers["Period"].max()
        times = pd.DatetimeIndex(day + pd.to_timedelta((numbers["Period"] - 1) * step, unit="min"))
        if not (np.diff(times.to_numpy()) == np.timedelta64(round(60 * step), "s")).all():
            self._tables.problems.append(f"{path}: periods do not follow each other every {step:g} minutes")
            return None
        return times

    def _column(self, name: str, item: str) -> pd.Series[float]:
        table = self._file(name)
        if table is None:
            return pd.Series(dtype=float)
        if item not in table:
            self._tables.problems.append(f"{name}: no column {item!r}")
            return pd.Series(0.0, index=table.index)
        values = pd.to_numeric(table[item], errors="coerce").astype(float)
        bad = ~(np.isfinite(values) & (values >= 0))
        if bad.any():
            at = int(np.argmax(bad))
            value = shown(table[item].iloc[at])
            self._tables.problems.append(
                f"{name}: {item!r} row {at + 1}: {value} must be a number that is not negative"
            )
        return values.where(~bad, 0.0)
