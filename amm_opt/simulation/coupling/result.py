"""What comes of a coupled case: the system's run, the feeder's, and who set its prices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.cases import Case
from amm_opt.errors import counted
from amm_opt.io.html import as_html
from amm_opt.market import Allocation, Settlement
from amm_opt.simulation.results.run import Run

WHOLESALE = "wholesale"
"""The layer above a feeder's own ``system``."""
OF_LIMIT = ["layer", "area", "limit", "kind"]


@dataclass(frozen=True, eq=False)
class Coupled:
    """A feeder's run under what a node of a wholesale system can serve.

    Attributes:
        node: the bus of the system.
        head: the branch that leaves the feeder's source.
        case: the feeder's case.
        system: the run of the wholesale system, with the feeder as one of its participants.
        alone: the run of the feeder without a system.
        runs: those of the feeder under the system, one after the other: a run of its own for every interval in which
            the system leaves it short, under a limit at its head.
        table: a row per interval: ``time``; ``firm_kw``, of what the feeder would draw at its head what the system
            cannot cut, below 0 where it sends out; ``asked_kw`` and ``served_kw``, the rest, which it asks the system
            for, and what the system serves of it; ``deficit``, the share that is not served; ``short``, where that
            limits the feeder; ``drawn_kw``, what it then draws at its head; ``mean_import_price`` and
            ``mean_import_price_alone``, of all participants.
        rounds: how often system and feeder were run in turns.
    """

    node: str
    head: str
    case: Case
    system: Run
    alone: Run
    runs: tuple[Run, ...]
    table: pd.DataFrame
    rounds: int

    @property
    def gap_kw(self) -> float:
        """The largest difference of an interval between what the feeder draws and what the system serves it."""
        t = self.table
        return float((t["drawn_kw"] - t["firm_kw"] - t["served_kw"]).abs().max())

    @cached_property
    def allocation(self) -> Allocation:
        """(T, n) of the feeder's participants."""
        return Allocation.joined([run.allocation for run in self.runs])

    def prices(self) -> pd.DataFrame:
        """As ``Run.prices`` of the feeder; what the system's limit set has the layer ``wholesale`` and its node."""
        parts = []
        for run in self.runs:
            part = run.prices()
            if "layer" in part:
                part[OF_LIMIT] = part[OF_LIMIT].astype(object)
                if run.first in self._short:
                    mine = part["limit"].eq(self.head) & part["kind"].eq("active") & part["direction"].eq("import")
                    part.loc[mine, OF_LIMIT] = [WHOLESALE, self.node, self.node, "supply"]
            parts.append(part)
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def _short(self) -> frozenset[int]:
        return frozenset((self.alone.first + np.flatnonzero(self.table["short"])).tolist())

    def settlement(self, **options: Any) -> Settlement:
        """What the feeder's participants pay; options as of ``Run.settlement``, but for its steps.

        Raises:
            InputError: as ``Run.settlement``.
        """
        bounds = self.alone.known_mechanism.price_bounds
        return Settlement.of(self.case, [self.allocation], bounds, first=self.alone.first, **options)

    def __repr__(self) -> str:
        short = int(self.table["short"].sum())
        return f"Coupled({self.case.name!r} at {self.node!r}, {counted(len(self.table), 'interval')}, {short} short)"

    def _repr_html_(self) -> str:
        return as_html(f"{self.case.name} at {self.node}", self.table)
