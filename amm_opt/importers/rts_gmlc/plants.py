"""Plants and stores of an RTS-GMLC folder as elements with what they ask for a kWh."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray
from amm_opt.cases.folder.offers import step_name
from amm_opt.errors import counted, shorten
from amm_opt.importers.costs import Piece, envelope, piecewise
from amm_opt.importers.report import ImportReport
from amm_opt.importers.rts_gmlc.files import Tables
from amm_opt.importers.rts_gmlc.series import Series

STORE, SOLAR_STORE = "STORAGE", "CSP"
KWH_PER_GWH = 1e6


class Plants:
    """The rows of ``gen.csv``."""

    def __init__(self, tables: Tables, series: Series, report: ImportReport) -> None:
        self._tables, self._series, self._report = tables, series, report
        t = tables
        gen = pd.DataFrame({"name": t.texts("gen", "GEN UID"), "bus": t.texts("gen", "Bus ID")})
        gen["type"] = t.texts("gen", "Unit Type")
        gen["technology"] = t.texts("gen", "Category") if "Category" in t.table("gen") else gen["type"]
        gen["most"] = t.numbers("gen", "GEN UID", "PMax MW", lower=0.0)
        least = t.numbers("gen", "GEN UID", "PMin MW", 0.0)
        t.problems += [
            f"gen {gen['name'][i]!r}: PMin MW = {least[i]:g} is above PMax MW = {gen['most'][i]:g}"
            for i in gen.index[least > gen["most"]]
        ]
        gen["price"] = t.numbers("gen", "GEN UID", "Fuel Price $/MMBTU", np.nan)
        gen["vom"] = t.numbers("gen", "GEN UID", "VOM", 0.0)
        self._share = self._numbered("Output_pct_", 0)
        self._heat = self._numbered("HR_avg_", 0, only=1).join(self._numbered("HR_incr_", 1))
        for what, table in (("plants", series.most), ("plants that must run", series.least)):
            if len(strange := sorted(set(table) - set(gen["name"]))):
                t.problems.append(f"timeseries_pointers.csv: no generator {shorten(strange)} in gen.csv ({what})")
        self._gen = gen

    def _numbered(self, prefix: str, first: int, only: int = 100) -> pd.DataFrame:
        """Columns PREFIX0, PREFIX1, ...; empty where a plant has no such point."""
        table, out = self._tables.table("gen"), {}
        for k in range(first, first + only):
            if (column := f"{prefix}{k}") not in table:
                break
            out[column] = self._tables.numbers("gen", "GEN UID", column, np.nan)
        return pd.DataFrame(out, index=table.index)

    def elements(self) -> list[dict[str, Any]]:
        """One for each step of each plant, and for each store."""
        gen = self._gen
        idle, solar = gen["most"] <= 0, gen["type"].eq(SOLAR_STORE) & ~gen["name"].isin(self._series.most)
        for which, why in (
            (idle, "units without active power, such as synchronous condensers"),
            (solar, "solar thermal plants with a store"),
        ):
            if which.any():
                self._report.left_out.append(f"{int(which.sum())} {why}: {shorten(gen['name'][which])}")
        rows: list[dict[str, Any]] = []
        changed: list[str] = []
        for i, plant in gen[~idle & ~solar].iterrows():
            if plant["type"] == STORE:
                rows += self._store(plant, int(str(i)))
                continue
            pieces, whole = self._pieces(plant, int(str(i)))
            changed += [] if whole else [plant["name"]]
            rows += self._steps(plant, pieces)
        if changed:
            self._report.assumed.append(
                f"heat rates of {counted(len(changed), 'plant')} fall somewhere below PMax: the cost is the"
                " largest convex one that is nowhere above, which a plant reaches that may run in part:"
                f" {shorten(changed)}"
            )
        must = [name for name in self._series.least if name in set(gen["name"])]
        if must:
            self._report.read.append(f"{counted(len(must), 'plant')} that must run, as far as possible")
        self._report.left_out.append("PMin of other plants, ramps, times and costs of starting: commitment is linear")
        return rows

    def _pieces(self, plant: pd.Series[Any], i: int) -> tuple[list[Piece], bool]:
        """Output and its price, and whether the cost of the file was convex."""
        share, heat = self._share.loc[i].to_numpy(float), self._heat.loc[i].to_numpy(float)
        count = int(min(np.isfinite(share).sum(), np.isfinite(heat).sum()))
        power = plant["most"] * share[:count]
        burns, why = bool((heat[:count] > 0).any()), ""
        if burns and np.isnan(plant["price"]):
            why = "heat rates, and no Fuel Price $/MMBTU"
        elif burns and not (power[0] > 0 and (np.diff(power) > 0).all()):
            why = f"Output_pct {', '.join(f'{v:g}' for v in share[:count])} must rise from above 0"
        if why:
            self._tables.problems.append(f"gen {plant['name']!r}: {why}")
        if why or not burns or plant["price"] == 0.0:
            return [Piece(0.0, plant["most"], plant["vom"])], True
        per_mwh = plant["price"] * heat[:count] / 1e3 + plant["vom"]
        x = np.append(0.0, power)
        cost = np.append(0.0, np.cumsum(per_mwh * np.diff(x)))
        hull_x, hull = envelope(x, cost)
        pieces, why = piecewise(hull_x.tolist(), hull.tolist(), 0.0, plant["most"])
        self._tables.problems += [f"gen {plant['name']!r}: {why}"] if why else []
        return pieces, len(hull_x) == len(x)

    def _steps(self, plant: pd.Series[Any], pieces: list[Piece]) -> Iterator[dict[str, Any]]:
        name, by_hour = plant["name"], plant["name"] in self._series.most
        peak = 1e3 * float(self._series.most[name].max()) if by_hour else 1e3 * plant["most"]
        must = peak if name in self._series.least else 0.0
        for k, piece in enumerate(pieces):
            part = piece.kw / (1e3 * plant["most"])
            row = {"name": name, "bus": plant["bus"], "quantity": "export", "q_kvar": 0.0, "own": step_name(name, k)}
            row |= {"p_kw": 1e3 * part if by_hour else piece.kw, "profile": name if by_hour else ""}
            yield {**row, **piece.prices, "technology": plant["technology"], "must_run_kw": part * must}

    def _store(self, plant: pd.Series[Any], i: int) -> list[dict[str, Any]]:
        """A battery as large as the upper basin."""
        t = self._tables
        stores = t.table("storage")
        mine = stores[stores["GEN UID"].str.strip() == plant["name"]] if "GEN UID" in stores else stores
        if not len(mine) or "Max Volume GWh" not in mine:
            t.problems.append(f"gen {plant['name']!r}: a store, and storage.csv has no volume for it")
            return []
        first = mine.index[0]
        size = float(t.numbers("storage", "GEN UID", "Max Volume GWh", lower=0.0)[first])
        initial = float(t.numbers("storage", "GEN UID", "Initial Volume GWh", 0.0)[first])
        round_trip = float(t.numbers("gen", "GEN UID", "Storage Roundtrip Efficiency", 100.0)[i])
        battery = {"battery_kwh": KWH_PER_GWH * size, "battery_kw": 1e3 * plant["most"]}
        battery |= {
            "battery_efficiency": float(np.sqrt(round_trip / 100.0)),
            "battery_initial": initial / (size or 1.0),
        }
        row = {"name": plant["name"], "bus": plant["bus"], "quantity": "export", "p_kw": 0.0, "q_kvar": 0.0}
        priced = {"export_offer": plant["vom"] / 1e3, "technology": plant["technology"], "must_run_kw": 0.0}
        return [{**row, "profile": "", "own": plant["name"], **battery, **priced}]


def shares(load: FloatArray, area: pd.Series[str]) -> pd.Series[float]:
    """Of each bus in the load of its area."""
    given = pd.Series(load, index=area.index)
    return given / given.groupby(area).transform("sum").replace(0.0, 1.0)
