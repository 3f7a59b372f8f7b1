"""Costs of generators in MATPOWER cases (``mpc.gencost``) as pieces of output at a price each."""

from __future__ import annotations

import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray
from amm_opt.errors import counted
from amm_opt.importers.costs import Piece, piecewise, polynomial
from amm_opt.importers.report import ImportReport

PIECEWISE, POLYNOMIAL = 1, 2
MODEL, STARTUP, SHUTDOWN, COUNT, FIRST = range(5)
"""Columns of ``gencost`` by the names of MATPOWER's manual: MODEL, STARTUP, SHUTDOWN, NCOST, COST."""


class GeneratorCosts:
    """Costs of the generators in service.

    Attributes:
        problems: what cannot be said of them, by generator.
    """

    def __init__(self, cost: FloatArray | None, gen: pd.DataFrame, count: int, report: ImportReport) -> None:
        """Args: ``gen`` those in service by row from 1; ``count`` rows of the matrix ``gen``."""
        self.problems: list[str] = []
        self._row: dict[int, FloatArray] = {}
        if cost is None or not cost.size:
            return
        if len(cost) not in (count, 2 * count) or cost.shape[1] < FIRST:
            size = " x ".join(map(str, cost.shape))
            self.problems.append(f"mpc.gencost is {size}; a row for each of {count} generators, or two, are needed")
            return
        if len(cost) > count:
            report.left_out.append("costs of reactive power")
        self._row = {int(k): cost[int(k) - 1] for k in gen.index}
        for k, row in self._row.items():
            terms = {PIECEWISE: 2, POLYNOMIAL: 1}.get(int(row[MODEL]) if np.isfinite(row[MODEL]) else 0, 0)
            whole = np.isfinite(row[COUNT]) and row[COUNT] >= 1 and row[COUNT] == round(row[COUNT])
            if not terms or not whole or FIRST + terms * row[COUNT] > len(row):
                self.problems.append(
                    f"generator {k}: gencost MODEL = {row[MODEL]:g}, NCOST = {row[COUNT]:g} with"
                    f" {len(row) - FIRST} numbers; 1 takes NCOST points, 2 takes NCOST coefficients"
                )
        started = [k for k, row in self._row.items() if row[STARTUP] or row[SHUTDOWN]]
        if started:
            report.left_out.append(f"costs of starting and stopping {counted(len(started), 'generator')}")

    def __bool__(self) -> bool:
        return bool(self._row)

    def pieces(self, k: int, low_mw: float, high_mw: float) -> list[Piece]:
        """Output of generator k between two powers of one sign; what cannot be said goes to ``problems``."""
        row = self._row[k]
        count = int(row[COUNT])
        if row[MODEL] == PIECEWISE:
            points = row[FIRST : FIRST + 2 * count]
            made, why = piecewise(points[::2].tolist(), points[1::2].tolist(), low_mw, high_mw)
        else:
            made, why = polynomial(row[FIRST : FIRST + count][::-1].tolist(), low_mw, high_mw)
        if why:
            self.problems.append(f"generator {k}: {why}")
        return made or [Piece(low_mw, high_mw, 0.0)]
