"""A case: a feeder, its participants, their profiles and a scenario."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pandas as pd
import scipy.sparse as sp

from amm_opt.arrays import DIRECTIONS, BoolArray, FloatArray, IntArray
from amm_opt.cases.batteries import Batteries
from amm_opt.cases.edits.editable import Editable
from amm_opt.cases.fingerprint import fingerprint
from amm_opt.cases.groups import PER, Groups
from amm_opt.cases.profiles import Profiles, requested
from amm_opt.cases.requests import Requests, asked_for
from amm_opt.cases.scenario import SCALES, Scenario
from amm_opt.cases.times import span
from amm_opt.errors import InputError, counted, unknown
from amm_opt.fields import is_whole, shortened
from amm_opt.io.html import facts
from amm_opt.network import Feeder, Layers, LayerTable
from amm_opt.plugins import Accessor
from amm_opt.tolerances import CONNECTION_SLACK


class Report(Protocol):
    """What is said of how a case was made: lists of sentences, and as text all of them."""

    read: list[str]
    assumed: list[str]
    left_out: list[str]


@dataclass(frozen=True, eq=False)
class Case(Editable):
    """Feeder + participants + profiles + scenario; build one with ``load_case`` or ``from_tables``.

    ``participants`` has one row per connection point with the columns of the folder schema, defaults filled in.
    ``source`` is what ``load_case`` read it from, empty for a case made in memory; ``report`` what an importer did;
    ``own_layers`` the layers that the case names itself.
    """

    name: str
    feeder: Feeder
    participants: pd.DataFrame
    profiles: Profiles
    scenario: Scenario = field(default_factory=Scenario)
    title: str = ""
    licence: str = ""
    attribution: str = ""
    timezone: str = ""
    source: str = ""
    report: Report | None = None
    own_layers: LayerTable = field(default_factory=dict)

    plot = Accessor("Case")
    """``case.plot()``: a picture of the network, see ``CasePictures``."""

    @property
    def n_participants(self) -> int:
        """Number of participants n."""
        return len(self.participants)

    @property
    def n_steps(self) -> int:
        """Number of intervals with profiles."""
        return len(self.profiles.times)

    @property
    def times(self) -> pd.DatetimeIndex:
        """Start of every interval, in the case's standard time."""
        return self.profiles.times

    @property
    def dt_h(self) -> float:
        """Length of an interval in hours."""
        return self.profiles.dt_h

    @cached_property
    def participant_names(self) -> tuple[str, ...]:
        """Names in the order of every participant array."""
        return tuple(self.participants["name"])

    @cached_property
    def bus(self) -> IntArray:
        """(n,) bus index of each participant in the feeder."""
        return np.array([self.feeder.bus_index[b] for b in self.participants["bus"]], dtype=np.intp)

    @cached_property
    def phases(self) -> tuple[str, ...]:
        """Phases that each participant is connected to, such as ``"a"`` or ``"abc"``."""
        return tuple(self.participants["phases"])

    @cached_property
    def lv_feeder(self) -> IntArray:
        """(n,) index of each participant's LV feeder, -1 on the upper tier."""
        return np.asarray(self.feeder.lv_feeder[self.bus])

    @cached_property
    def incidence(self) -> sp.csr_array:
        """(n_buses, n) sparse matrix that adds participants up at their bus."""
        n = self.n_participants
        return sp.csr_array((np.ones(n), (self.bus, np.arange(n))), shape=(self.feeder.n_buses, n))

    def groups(self, per: str) -> Groups:
        """Participants in groups.

        Args:
            per: ``system`` (one group), ``feeder`` (one of each LV feeder, and last one of the customers of the upper
                tier), ``own_feeder`` (one of each LV feeder that has customers, then one for each customer of the
                upper tier) or ``participant``.

        Raises:
            InputError: for anything else.
        """
        if per not in PER:
            raise InputError(f"per = {shortened(per)}; valid choices: {', '.join(PER)}")
        return self._groups[per]

    @cached_property
    def _groups(self) -> dict[str, Groups]:
        n, feeders = self.n_participants, len(self.feeder.lv_feeders)
        used, own = np.unique(
            np.where(self.lv_feeder >= 0, self.lv_feeder, feeders + np.arange(n)), return_inverse=True
        )
        return {
            "system": Groups(np.zeros(n, dtype=np.intp), 1),
            "feeder": Groups(np.where(self.lv_feeder >= 0, self.lv_feeder, feeders), feeders + 1),
            "own_feeder": Groups(own, len(used)),
            "participant": Groups(np.arange(n), n),
        }

    @cached_property
    def layers(self) -> Layers:
        """Nested areas of the network, from a bus to the whole system: the case's own ones, or those derived from it.

        Raises:
            InputError: where the case's own ones do not nest, or name a bus that is no more.
        """
        return Layers.of(self.feeder, self.own_layers)

    @cached_property
    def kvar_per_kw(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(n,) each: reactive per active power of inflexible load, flexible import and export."""
        columns = ("power_factor", "power_factor_import", "power_factor_export")
        pf = self.participants[list(columns)].to_numpy(dtype=float).T
        ratio = kvar_ratio(pf)
        return ratio[0], ratio[1], ratio[2]

    @cached_property
    def inflexible_kvar(self) -> FloatArray:
        """(n,) constant reactive power that participants draw beside what goes with their active power.

        Where there are series of it (``profiles.has_kvar``), all of it is in ``Requests.inflexible_kvar``.
        """
        return np.asarray(self.participants["inflexible_kvar"], dtype=float)

    @cached_property
    def batteries(self) -> Batteries:
        """The batteries of participants; none where the case has none."""
        return Batteries.of(self.participants)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of everything that a run depends on; numbers count to single precision, names to the letter."""
        return fingerprint(self.feeder, self.participants, self.profiles, self.scenario, self.dt_h, self.own_layers)

    @cached_property
    def own_prices(self) -> tuple[FloatArray, FloatArray]:
        """(2, n) each, import first: what a kWh is worth to a participant or what it asks for one, and slopes per kW.

        Currency per kWh; NaN where a participant says nothing. A worth falls by its slope with every kW that is served,
        an offer rises with every kW that is accepted.
        """
        columns = ("import_value", "export_offer")
        own = [self.participants[list(c)].to_numpy(float).T for c in (columns, [f"{c}_slope" for c in columns])]
        return own[0], own[1]

    def connection_kw(self, direction: str) -> FloatArray:
        """(n,) connection limit in ``"import"`` or ``"export"`` direction.

        A scenario that scales requests or load up scales the connections with them.

        Raises:
            InputError: for another direction.
        """
        _known_direction(direction)
        limit = np.asarray(self.participants[f"connection_{direction}_kw"], dtype=float)
        return limit * self.scenario.connection_scale(direction)

    def owns(self, direction: str) -> BoolArray:
        """(n,) who owns a flexible device of a direction: a series or a session that ever asks for something in it.

        Ever is in the whole case, not only in the intervals of a run; nobody who asks for something is left out. For
        ``"import"`` these are requests to draw power, such as charging sessions; for ``"export"``, generation that is
        offered. Batteries count in neither: what they do is not asked for. In the upper one of two tiers an LV feeder
        owns what one of its customers owns.

        Raises:
            InputError: for another direction.
        """
        _known_direction(direction)
        return self._owners[direction]

    @cached_property
    def _owners(self) -> dict[str, BoolArray]:
        scale = {"import": self.scenario.import_scale, "export": self.scenario.export_scale}
        return {d: requested(scale[d] * self.profiles.largest_kw(d, self.n_participants)) for d in DIRECTIONS}

    def bus_injections(
        self,
        inflexible_kw: Any,
        import_kw: Any,
        export_kw: Any,
        incidence: sp.csr_array | None = None,
        inflexible_kvar: FloatArray | None = None,
    ) -> tuple[FloatArray, FloatArray]:
        """Net injections of buses for (..., n) participant powers; see :meth:`injections`.

        Args:
            incidence: (nodes, n) matrix of a network model, for injections of its nodes instead of buses.

        Returns:
            ``(p_kw, q_kvar)``, each (..., n_buses), positive into the network.
        """
        spread = self.incidence if incidence is None else incidence
        p, q = self.injections(inflexible_kw, import_kw, export_kw, inflexible_kvar)
        return np.asarray((spread @ p.T).T), np.asarray((spread @ q.T).T)

    def injections(
        self, inflexible_kw: Any, import_kw: Any, export_kw: Any, inflexible_kvar: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Net injections of participants, ``(p_kw, q_kvar)``, (..., n) each, positive into the network.

        Args:
            inflexible_kvar: ``Requests.inflexible_kvar`` of these intervals; None where it is the constant column.

        Raises:
            InputError: where it is None and the case has series of it.
        """
        if inflexible_kvar is None:
            if self.profiles.has_kvar:
                raise InputError(
                    f"case {self.name}: reactive power varies; give inflexible_kvar of the requests as well"
                )
            inflexible_kvar = self.inflexible_kvar
        k_load, k_import, k_export = self.kvar_per_kw
        p = export_kw - import_kw - inflexible_kw
        q = export_kw * k_export - import_kw * k_import - inflexible_kw * k_load - inflexible_kvar
        return p, q

    def with_scenario(self, **changes: Any) -> Case:
        """The same case with some scale factors of its scenario, or its ``limits``, replaced.

        Raises:
            InputError: for an unknown factor or branch, or a value out of range.
        """
        known = [*SCALES, "limits"]
        for name in changes:
            if name not in known:
                raise unknown("scenario factor", name, known)
        scenario = replace(self.scenario, **changes)
        feeder = self.feeder if scenario.changes == self.scenario.changes else scenario.applied(self.feeder)
        return replace(self, scenario=scenario, feeder=feeder)

    def requests(self, start: int, stop: int, *, waits: bool = False) -> Requests:
        """Requests of intervals ``start`` to ``stop - 1``.

        Args:
            waits: whether sessions can wait, so that they may ask for more than a connection has room for.

        Raises:
            InputError: where net load or generation with everything requested exceeds a connection limit.
        """
        if not (is_whole(start) and is_whole(stop)):
            raise InputError(f"start = {shortened(start)} and stop = {shortened(stop)} must be whole numbers")
        if not 0 <= start < stop <= self.n_steps:
            raise InputError(
                f"intervals {start} to {stop} are outside case {self.name!r}: {counted(self.n_steps, 'interval')}"
            )
        requests = asked_for(self.profiles, self.scenario, start, stop, self.inflexible_kvar)
        self._check_connections(self.without_sessions.requests(start, stop) if waits else requests)
        return requests

    def window(self, start: int, stop: int, *, waits: bool = False) -> Requests:
        """The earlier name of :meth:`requests`."""
        return self.requests(start, stop, waits=waits)

    @cached_property
    def without_sessions(self) -> Case:
        """The same case without its charging sessions."""
        return replace(self, profiles=replace(self.profiles, sessions=self.profiles.sessions.iloc[:0]))

    def _check_connections(self, requests: Requests) -> None:
        problems = []
        for direction in DIRECTIONS:
            power = requests.at_connection_kw(direction)
            limit = self.connection_kw(direction)
            excess = power - limit * (1 + CONNECTION_SLACK)
            for i in np.flatnonzero((excess > 0).any(axis=0)):
                k = int(np.argmax(excess[:, i]))
                problems.append(
                    f"participant {self.participant_names[i]!r} asks for {power[k, i]:.3f} kW of {direction} at"
                    f" {requests.times[k]}, above its connection_{direction}_kw = {limit[i]:g}"
                )
        if problems:
            raise InputError(problems, subject=f"case {self.name}")

    def span(self, steps: int | str | slice | None) -> tuple[int, int]:
        """First interval and one past the last of a selection: None (all), a count, a period, or a slice.

        A period is a date such as ``"2016-05-23"`` or ``"2016-05"``; slices are of dates or of numbers. Date slices
        include both ends, as in pandas; number slices are half-open.

        Raises:
            InputError: where the selection is empty, no selection, or begins or ends outside the case; dates that are
                ambiguous or have a time zone.
        """
        return span(self.times, steps, self.name)

    def __repr__(self) -> str:
        people, steps = counted(self.n_participants, "participant"), counted(self.n_steps, "interval")
        return f"Case({self.name!r}, {people}, {steps}, {self.feeder!r})"

    def _repr_html_(self) -> str:
        about = {
            "title": self.title,
            "times": f"{self.times[0]} to {self.times[-1]}",
            "interval, h": f"{self.dt_h:g}",
            "participants": self.n_participants,
            "buses": self.feeder.n_buses,
            "LV feeders": len(self.feeder.lv_feeders),
            "scenario": self.scenario,
            "licence": self.licence,
        }
        return facts(f"Case {self.name}", about)


def _known_direction(direction: str) -> None:
    if not isinstance(direction, str) or direction not in DIRECTIONS:
        raise InputError(f"direction = {shortened(direction)}; valid choices: {', '.join(DIRECTIONS)}")


def kvar_ratio(pf: FloatArray | float) -> FloatArray:
    """kvar per kW of power factors as tables have them; the inverse of :func:`power_factors`."""
    return np.asarray(np.sign(pf) * np.sqrt(1.0 / np.square(pf) - 1.0))


def power_factors(kvar_per_kw: FloatArray) -> FloatArray:
    """Power factors as tables have them, negative for kvar below 0; what ``Case.kvar_per_kw`` turns back."""
    return np.asarray(np.where(kvar_per_kw < 0, -1.0, 1.0) / np.sqrt(1.0 + kvar_per_kw**2))
