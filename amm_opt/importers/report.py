"""What an importer read, assumed and left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import pandas as pd

from amm_opt.network import Feeder
from amm_opt.network.excess import broken_without_injection


@dataclass
class ImportReport:
    """Lists of sentences; print it.

    Attributes:
        source: the file or data set.
        read: what was found.
        assumed: what the data do not say and the importer supplied or interpreted.
        left_out: what the data say and the network does not contain.
        broken: limits that the network breaks with nobody connected, so that no outcome keeps them all.
    """

    source: str = ""
    read: list[str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def check(self, feeder: Feeder) -> None:
        """Note which limits the network breaks with nobody connected."""
        self.broken = broken_without_injection(feeder)

    def __str__(self) -> str:
        parts = [f"Import of {self.source}" if self.source else "Import"]
        for title, lines in (("Read", self.read), ("Assumed", self.assumed), ("Left out", self.left_out)):
            parts += [f"\n{title}:", *(f"  - {line}" for line in lines or ["nothing"])]
        if self.broken:
            parts += ["\nLimits that are broken whatever is served:", *(f"  - {line}" for line in self.broken)]
        return "\n".join(parts)


@dataclass(frozen=True, eq=False)
class ImportedNetwork:
    """A network from a file: the tables of a feeder, its customers, and the report.

    Attributes:
        buses, branches: tables of the case folder.
        customers: one row per load: ``name``, ``bus``, ``phases``, ``kw``, ``power_factor``, and where there is some
            ``inflexible_kvar``, constant reactive power drawn beside that.
    """

    name: str
    buses: pd.DataFrame
    branches: pd.DataFrame
    customers: pd.DataFrame
    report: ImportReport
    attribution: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def feeder(self) -> Feeder:
        """The validated feeder."""
        return Feeder.from_tables(self.buses, self.branches)

    def with_taps(self, factor: float) -> ImportedNetwork:
        """The same network with the taps of every transformer that feeds LV multiplied: 1.025 lowers LV by 2.5 %."""
        low = self.branches["kind"].eq("transformer") & self.branches["to_bus"].isin(
            self.buses["name"][self.buses["tier"].eq("LV")]
        )
        tap = self.branches["tap"].where(~low, self.branches["tap"] * factor)
        note = f"taps of {int(low.sum())} transformers multiplied by {factor:g}"
        report = replace(self.report, assumed=[*self.report.assumed, note])
        changed = replace(self, branches=self.branches.assign(tap=tap), report=report)
        report.check(changed.feeder)
        return changed
