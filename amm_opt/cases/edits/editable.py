"""The edits of a case. Each gives a new case and leaves the old one as it is."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any, Self

import numpy as np
import pandas as pd

from amm_opt.arrays import DIRECTIONS
from amm_opt.cases.edits.intervals import repeated, resampled
from amm_opt.cases.edits.measured import with_columns
from amm_opt.cases.edits.ratings import rated
from amm_opt.cases.edits.uptake import check_uptake, taken_up
from amm_opt.cases.folder.parts import checked_parts, feeder_tables, tables_of
from amm_opt.cases.profiles import Profiles
from amm_opt.cases.requests import asked_for
from amm_opt.cases.scenario import Scenario
from amm_opt.cases.synthetic.generators import LATITUDE_DEG, Names
from amm_opt.cases.times import span
from amm_opt.errors import InputError
from amm_opt.network import Feeder

BLOCK = 1000
"""Intervals that are expanded at once."""


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

        ``ao.from_tables(name=case.name, scenario=case.scenario, **case.tables())`` gives the same case (with
        ``meshed=True`` where it is meshed, and ``layers=case.own_layers`` where it names its own). What a scenario
        scales is as it was before; changing a table changes no case.

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
        offers: pd.DataFrame | None = None,
    ) -> Self:
        """This case with other tables in place of its own, as ``from_tables`` takes them; those not given stay.

        An empty table of sessions takes them out; ``offers`` makes a participant of every step of a plant's offer.
        Connections, once filled in from ratings, stay as they are.

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
            "offers": offers,
        }
        return self._with_tables({name: table for name, table in given.items() if table is not None})

    def with_ratings(
        self,
        *,
        factor: float,
        kind: str | None = None,
        tier: str | None = None,
        names: Collection[str] | None = None,
    ) -> Self:
        """This case with the apparent-power ratings of some branches multiplied: another network, not a scenario.

        What is multiplied is ``rating_kva`` of the table ``branches``, and of the scenario's ``limits`` where these
        give a branch another one. Factors of the scenario (``capacity_scale``) come on top, as before; limits of active
        power and connections stay. A branch without a rating remains without.

        Args:
            factor: above 0; 1.5 is half as much again.
            kind: ``line``, ``transformer`` or ``switch``; all by default.
            tier: ``MV`` or ``LV``: that of the bus that a branch feeds, so a distribution transformer is LV.
            names: of branches; what else is given must hold too.

        Raises:
            InputError: for a kind, tier, name or factor that is none, and where no branch with a rating is chosen.
        """
        buses, branches = feeder_tables(self.feeder)
        branches, limits = rated(self.feeder, self.scenario, branches, kind, tier, names, factor)
        scenario = replace(self.scenario, limits=limits)
        made = Feeder.from_tables(buses, branches, meshed=self.feeder.tables.meshed)
        return self._with(feeder=scenario.applied(made), scenario=scenario)

    def with_uptake(
        self,
        *,
        ev: float | None = None,
        pv: float | None = None,
        battery: float | None = None,
        heat_pump: float | None = None,
        seed: int = 0,
        latitude_deg: float = LATITUDE_DEG,
    ) -> Self:
        """This case with a share of its customers owning a technology, in place of what they had of it.

        Customers are the participants at low voltage, but for those that only draw constant reactive power. Vehicles
        (7.4 kW, three evenings of four, 8.8 kWh on average) and roofs (3 to 8 kW) are drawn as ``ao.year_case`` draws
        them: what is drawn is a scenario, not a forecast. With the same seed a higher share keeps all owners of a lower
        one with their sizes and sessions, and one technology leaves the others alone; batteries go to those who are
        first to have a roof. The order of participants does not matter. Connections that are too small for the request
        that they get grow as far as needed.

        Args:
            ev: share with a vehicle; replaces all charging sessions of customers.
            pv: share with a roof; replaces all ``export`` terms of customers.
            battery: share with a battery of 5 to 15 kWh that is full or empty in two hours; replaces their batteries.
            heat_pump: share with a heat pump of 2 to 4 kW, a flexible ``import`` request that follows the weather;
                replaces heat pumps drawn before, and no other request.
            seed: of every random choice.
            latitude_deg: where the sun of roofs and the seasons of heat pumps are taken from.

        Raises:
            InputError: for a share outside 0 to 1, a seed or latitude that is none, no share, and no customers.
        """
        shares = {"ev": ev, "pv": pv, "battery": battery, "heat_pump": heat_pump}
        check_uptake(shares, seed, latitude_deg)
        customers = self._customers()
        if not len(customers):
            raise InputError("no participant is at low voltage: nobody can have a vehicle or a roof", subject=self.name)
        changed, owners = taken_up(self.tables(), customers, shares, seed, latitude_deg)
        return self._with_tables(changed)._with_room(owners)

    def with_profiles(self, profiles: pd.DataFrame, quantity: str | None = None) -> Self:
        """This case with other profiles, in its own intervals; other times are given by :meth:`with_tables`.

        Args:
            profiles: T rows. Without ``quantity`` one column per profile, in place of that of the same name, or beside
                the others. With it one column per participant: its kW, in place of all its terms of this quantity.
                Times, as a column or as index, must be the case's where they are given.
            quantity: ``inflexible``, ``import`` (beside charging sessions, which stay), ``export`` or
                ``inflexible_kvar``, whose columns are kvar.

        Raises:
            InputError: for other times, strangers among the participants, values that are no finite numbers, and
                negative requests.
        """
        return self._with_tables(with_columns(self.tables(), profiles, quantity, self.timezone))

    def repeat(self, count: int, steps: int | str | slice | None = None) -> Self:
        """A part of this case over and over: ``case.repeat(7, "2016-05-23")`` is a week of one day.

        It begins when the part does. A charging session belongs to the part in which it arrives and may stay beyond
        its end.

        Args:
            count: how often, at least 1.
            steps: the part, as for :meth:`Case.span`; all by default.

        Raises:
            InputError: for a count that is none, a part outside the case, and cases that would be endless.
        """
        start, stop = span(self.profiles.times, steps, self.name)
        return self._with_tables(repeated(self.tables(), count, start, stop))

    def resample(self, minutes: float) -> Self:
        """This case in intervals of another length, such as 5, 15, 30 or 60 minutes; energy stays the same.

        Profiles are means over intervals: longer ones get the mean of those that they replace, shorter ones the value
        of the interval that they are in. Charging sessions keep arrival, departure, power and energy; batteries and
        constant reactive power do not depend on intervals.

        Args:
            minutes: must divide the length of the case's intervals, or be a multiple of it that its T intervals fill.

        Raises:
            InputError: for other lengths.
        """
        return self._with_tables(resampled(self.tables(), minutes))

    def _with_tables(self, changed: dict[str, pd.DataFrame]) -> Self:
        texts = {key: getattr(self, key) for key in ("name", "title", "licence", "attribution")}
        tables = {**self.tables(), **changed}
        meshed = self.feeder.tables.meshed
        parts = checked_parts(tables, self.scenario, texts, timezone=self.timezone or None, meshed=meshed)
        return self._with(feeder=parts.feeder, participants=parts.participants, profiles=parts.profiles)

    def _customers(self) -> Names:
        """Sorted names of the participants at low voltage that do more than draw constant reactive power."""
        people = self.participants
        low = np.array([self.feeder.tier[self.feeder.bus_index[bus]] == "LV" for bus in people["bus"]], dtype=bool)
        does = np.zeros(len(people), dtype=bool)
        for table in (self.profiles.series, self.profiles.sessions):
            does[table["participant"].to_numpy(np.intp)] = True
        only_reactive = people["inflexible_kvar"].ne(0).to_numpy() & ~does
        return np.array(sorted(people["name"][low & ~only_reactive]), dtype=object)

    def _with_room(self, owners: Collection[str]) -> Self:
        """Connections of these participants as large as what they ask for, to the watt, where that is more."""
        people, steps = self.participants, len(self.profiles.times)
        kvar = people["inflexible_kvar"].to_numpy(float)
        own = people["name"].isin(owners).to_numpy()
        for direction in DIRECTIONS:
            asked = np.zeros(len(people))
            for start in range(0, steps, BLOCK):
                requests = asked_for(self.profiles, self.scenario, start, min(start + BLOCK, steps), kvar)
                asked = np.maximum(asked, requests.at_connection_kw(direction).max(axis=0))
            need_kw = np.ceil(1000.0 * asked / self.scenario.connection_scale(direction)) / 1000.0
            column = f"connection_{direction}_kw"
            people = people.assign(**{column: people[column].where(~own | (people[column] >= need_kw), need_kw)})
        return self._with(participants=people)

    def _with(self, **changes: Any) -> Self:
        """Another case, which no source holds."""
        return replace(self, source="", **changes)  # type: ignore[type-var]
