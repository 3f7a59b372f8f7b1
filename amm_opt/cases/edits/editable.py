"""The edits of a case. Each gives a new case and leaves the old one as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import pandas as pd

from amm_opt.cases.folder.parts import checked_parts, tables_of
from amm_opt.cases.profiles import Profiles
from amm_opt.cases.scenario import Scenario
from amm_opt.network import Feeder


class Editable:
    """What a case has in order to be edited; names, scenario, title and licence stay what they are."""

    name: str
    feeder: Feeder
    participants: pd.DataFrame
    profiles: Profiles
    scenario: Scenario
    title: str
    licence: str
    attribution: str
    timezone: str

    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables that make this case, columns as in the case folder (docs/case-folder.md), defaults filled in.

        ``ao.from_tables(name=case.name, scenario=case.scenario, **case.tables())`` gives the same case. What a
        scenario scales is as it was before; changing a table changes no case.

        Returns:
            ``buses``, ``branches``, ``participants``, ``profiles``, ``series`` and ``sessions``, which may be empty.
        """
        return tables_of(self.feeder, self.participants, self.profiles)

    def with_tables(
        self,
        *,
        buses: pd.DataFrame | None = None,
        branches: pd.DataFrame | None = None,
        participants: pd.DataFrame | None = None,
        profiles: pd.DataFrame | None = None,
        series: pd.DataFrame | None = None,
        sessions: pd.DataFrame | None = None,
    ) -> Self:
        """This case with other tables in place of its own, as ``from_tables`` takes them; those not given stay.

        An empty table of sessions takes them out. Connections, once filled in from ratings, stay as they are.

        Raises:
            InputError: every problem of the feeder, or every problem of the other tables, at once; also where the
                tables do not fit each other, or the scenario names a branch that is no more.
        """
        given = {
            "buses": buses,
            "branches": branches,
            "participants": participants,
            "profiles": profiles,
            "series": series,
            "sessions": sessions,
        }
        return self._with_tables({name: table for name, table in given.items() if table is not None})

    def _with_tables(self, changed: dict[str, pd.DataFrame]) -> Self:
        texts = {key: getattr(self, key) for key in ("name", "title", "licence", "attribution")}
        tables = {**self.tables(), **changed}
        parts = checked_parts(tables, self.scenario, texts, timezone=self.timezone or None)
        return self._with(feeder=parts.feeder, participants=parts.participants, profiles=parts.profiles)

    def _with(self, **changes: Any) -> Self:
        """Another case, which no source holds."""
        return replace(self, source="", **changes)  # type: ignore[type-var]
