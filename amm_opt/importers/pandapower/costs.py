"""Costs of a pandapower net (``poly_cost``, ``pwl_cost``) as what its plants ask and its loads give for a kWh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.cases.folder.offers import step_name
from amm_opt.errors import counted
from amm_opt.importers.costs import Piece, piecewise, polynomial
from amm_opt.importers.pandapower.net import NetTables

TABLES = ("poly_cost", "pwl_cost")
POLYNOMIAL = ("cp0_eur", "cp1_eur_per_mw", "cp2_eur_per_mw2")
REACTIVE = ("cq0_eur", "cq1_eur_per_mvar", "cq2_eur_per_mvar2")
PLANTS = ("gen", "sgen")
Pieces = Callable[[float, float], tuple[list[Piece], str]]
"""Pieces of a cost between two powers in MW, and why it cannot be said."""


class Costs:
    """Costs by element; what cannot be said of them is a problem of the net."""

    def __init__(self, tables: NetTables) -> None:
        self._tables = tables
        self._of: dict[tuple[str, int], Pieces] = {}
        for kind in TABLES:
            for _, row in tables.raw(kind).iterrows():
                self._read(kind, row)

    def __bool__(self) -> bool:
        return bool(self._of)

    def _read(self, kind: str, row: pd.Series[Any]) -> None:
        et, index = str(row.get("et")), row.get("element")
        known = self._tables.raw(et)
        if not isinstance(index, int | float | np.number) or index not in known.index:
            self._tables.problems.append(f"{kind}: there is no {et} element {index}")
            return
        key = (et, int(index))
        name = self._tables.names(known.loc[[key[1]]], et)[0]
        if key in self._of:
            self._tables.problems.append(f"{et} {name!r}: has two costs")
        reactive = kind == "pwl_cost" and row.get("power_type") == "q"
        if reactive or any(row.get(c, 0.0) for c in REACTIVE if row.get(c, 0.0) == row.get(c, 0.0)):
            self._tables.report.left_out.append(f"the cost of reactive power of {et} {name!r}")
        if not reactive:
            self._of[key] = _polynomial(row) if kind == "poly_cost" else _points(row.get("points"))

    def priced(self, kind: str, table: pd.DataFrame, part: pd.DataFrame) -> pd.DataFrame:
        """Elements of a kind, where the net has costs each plant a participant of its own, or one for every step.

        Args:
            table: the elements in service.
            part: what they are, by the same index.
        """
        if not self._of or kind not in (*PLANTS, "load"):
            return part
        low, high = self._range(kind, table, part)
        rows: list[dict[str, Any]] = []
        free = 0
        for (index, element), least, most in zip(part.iterrows(), low, high, strict=True):
            found = self._of.get((kind, int(str(index))))
            own = {**element, "own": element["name"]}
            if element["quantity"] == "inflexible" or (found is None and kind == "load"):
                rows.append(dict(element))
                continue
            free += found is None
            pieces, why = found(least, most) if found else ([Piece(least, most, 0.0)], "")
            if why:
                self._tables.problems.append(f"{kind} {element['name']!r}: {why}")
            if least > 0:
                rows.append({**own, "quantity": "inflexible", "p_kw": -1e3 * least, "q_kvar": 0.0})
            for k, piece in enumerate(pieces):
                share = piece.kw / (1e3 * (most - least)) if most > least else 1.0
                kvar = share * element["q_kvar"]
                rows.append(
                    {**own, "own": step_name(element["name"], k), "p_kw": piece.kw, "q_kvar": kvar, **piece.prices}
                )
        if free:
            self._tables.report.assumed.append(
                f"an offer of 0, as in pandapower, of {counted(free, f'{kind} element')} without a cost"
            )
        return pd.DataFrame(rows)

    def _range(self, kind: str, table: pd.DataFrame, part: pd.DataFrame) -> tuple[pd.Series[float], pd.Series[float]]:
        """Powers in MW between which each may be, negative for what is drawn; of plants their limits where given."""
        p = part["p_kw"] / 1e3
        if kind == "load":
            return -p, 0.0 * p
        t = self._tables
        given = t.texts(table, "controllable")
        free = given.isin(["True", "1", "1.0"]) | ((given == "") & (kind == "gen"))
        free &= part["profile"].eq("")
        least = t.numbers(table, kind, "min_p_mw", 0.0).clip(lower=0.0).where(free, 0.0)
        most = t.numbers(table, kind, "max_p_mw", np.nan).where(free).fillna(p)
        for name in t.names(table[least > most], kind):
            t.problems.append(f"{kind} {name!r}: min_p_mw is above max_p_mw")
        return least, most

    def say_source(self) -> None:
        """What a kWh of the external grid costs: that is a parameter of mechanisms."""
        grid = self._tables.table("ext_grid")
        for index, name in zip(grid.index, self._tables.names(grid, "ext_grid"), strict=True):
            if found := self._of.get(("ext_grid", int(index))):
                pieces, why = found(0.0, 1.0)
                price = "; ".join(f"{p.prices['export_offer']:g} per kWh" for p in pieces)
                self._tables.report.left_out.append(f"cost of ext_grid {name!r}, {why or price}: see source_price")
        others = sorted({kind for kind, _ in self._of} - {*PLANTS, "load", "ext_grid"})
        if others:
            self._tables.report.left_out.append(f"costs of {', '.join(others)} elements")


def _polynomial(row: pd.Series[Any]) -> Pieces:
    numbers = [float(row.get(c, 0.0) or 0.0) for c in POLYNOMIAL]
    if str(row["et"]) == "load":
        numbers[1] = -numbers[1]  # a load's cost is of what it draws
    return lambda low, high: polynomial(numbers, low, high)


def _points(points: Any) -> Pieces:
    """Of rows ``from, to, cost per MWh``."""
    try:
        table = np.asarray(points, dtype=float).reshape(-1, 3)
    except (TypeError, ValueError):
        table = np.zeros((0, 3))
    x = np.append(table[:1, 0], table[:, 1])
    if not np.array_equal(table[1:, 0], table[:-1, 1]):
        x = x[:0]
    cost = np.append(0.0, np.cumsum(table[:, 2] * (table[:, 1] - table[:, 0])))[: len(x)]
    return lambda low, high: piecewise(x.tolist(), cost.tolist(), low, high)
