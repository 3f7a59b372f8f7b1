"""What every importer ends in: a network from a file, and who takes part where the file says so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from amm_opt.cases.case import Case
from amm_opt.cases.folder.folder import from_tables
from amm_opt.errors import InputError, counted
from amm_opt.importers.report import ImportReport
from amm_opt.network import Feeder


@dataclass(frozen=True, eq=False)
class Demand:
    """What a file itself says of who takes part and when.

    Attributes:
        participants, profiles, series: tables of the case folder.
    """

    participants: pd.DataFrame
    profiles: pd.DataFrame
    series: pd.DataFrame


@dataclass(frozen=True, eq=False)
class ImportedNetwork:
    """A network from a file: the tables of a feeder, its customers, and the report.

    Attributes:
        name: of the network, and of a case on it.
        buses, branches: tables of the case folder.
        customers: one row per customer: ``name``, ``bus``, ``kw``; optional ``phases`` (default all of the bus),
            ``kvar``, ``power_factor`` (default 1) and ``inflexible_kvar``, constant reactive power drawn beside that.
        report: what was read, assumed and left out.
        demand: participants and profiles that the file has itself; None where a scenario is laid over the network.
        title, licence, attribution, timezone: of a case on this network, where the data set has its own.
        meshed: whether closed branches may form cycles.
    """

    name: str
    buses: pd.DataFrame
    branches: pd.DataFrame
    customers: pd.DataFrame
    report: ImportReport
    demand: Demand | None = None
    title: str = ""
    licence: str = ""
    attribution: str = ""
    timezone: str = ""
    meshed: bool = False

    @cached_property
    def feeder(self) -> Feeder:
        """The validated feeder."""
        if self.demand is not None:
            return self._case.feeder
        return Feeder.from_tables(self.buses, self.branches, meshed=self.meshed)

    def case(self) -> Case:
        """The case of the demand that the file has itself.

        Raises:
            InputError: where it has none, or everything that is wrong with its tables.
        """
        if self.demand is None:
            raise InputError("no participants and no profiles: lay a scenario over it (year_case)", subject=self.name)
        return self._case

    @cached_property
    def _case(self) -> Case:
        assert self.demand is not None
        made = from_tables(
            name=self.name,
            buses=self.buses,
            branches=self.branches,
            participants=self.demand.participants,
            profiles=self.demand.profiles,
            series=self.demand.series,
            timezone=self.timezone or None,
            meshed=self.meshed,
            title=self.title,
            licence=self.licence,
            attribution=self.attribution,
        )
        return replace(made, report=self.report)

    def with_taps(self, factor: float) -> ImportedNetwork:
        """The same network with the taps of every transformer that feeds LV multiplied: 1.025 lowers LV by 2.5 %."""
        tables = self.feeder.tables
        low = tables.branches["kind"].eq("transformer") & tables.branches["to_bus"].isin(
            tables.buses["name"][tables.buses["tier"].eq("LV")]
        )
        tap = tables.branches["tap"].where(~low, tables.branches["tap"] * factor)
        note = f"taps of {counted(int(low.sum()), 'transformer')} multiplied by {factor:g}"
        report = replace(self.report, assumed=[*self.report.assumed, note])
        changed = replace(self, branches=self.branches.assign(tap=tap.to_numpy()), report=report)
        report.check(changed.feeder)
        return changed
