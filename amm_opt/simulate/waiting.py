"""Energy that can wait: what charging sessions have not got is asked for again until they depart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from amm_opt.cases import Case, Window
from amm_opt.cases.profiles import draws, requested
from amm_opt.market import State

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Backlog(State):
    """Sessions that still lack energy; (B,) each.

    Attributes:
        session: numbers of the sessions, their rows in ``case.profiles.sessions``.
        left_kwh: what each of them still lacks.
    """

    session: IntArray
    left_kwh: FloatArray

    def __post_init__(self) -> None:
        super().__post_init__()
        number = self.session.astype(np.intp)
        number.setflags(write=False)
        object.__setattr__(self, "session", number)

    @classmethod
    def joined(cls, parts: Sequence[Backlog]) -> Self:
        """One after the other."""
        return cls(*(np.concatenate([[], *(getattr(p, name) for p in parts)]) for name in ("session", "left_kwh")))


class Sessions:
    """The charging sessions of a case, when their energy can wait; (S,) arrays, with the scenario's scale.

    An open session asks for the smaller of its power and what it lacks, every interval from the one of its arrival to
    the one before its departure, as far as the participant's import connection has room. What a participant is served
    goes to its series first, which cannot wait, then to its sessions: the earliest departure first, then the earliest
    arrival, the lowest power, the lowest energy.
    """

    def __init__(self, case: Case) -> None:
        table, scale = case.profiles.sessions, case.scenario.import_scale
        self.participant, self.first, self.last = (
            table[name].to_numpy(np.intp) for name in ("participant", "first", "last")
        )
        self.power_kw, self.energy_kwh = (scale * table[name].to_numpy(float) for name in ("power_kw", "energy_kwh"))
        self._dt_h = case.dt_h
        self._limit_kw = case.connection_kw("import")
        self._by_arrival = np.argsort(self.first, kind="stable")
        self._arrivals = self.first[self._by_arrival]
        order = np.lexsort((self.energy_kwh, self.power_kw, self.first, self.last))
        self._turn = np.empty(len(order), dtype=np.intp)
        self._turn[order] = np.arange(len(order))
        self._firm_case = replace(case, profiles=replace(case.profiles, sessions=table.iloc[:0]))

    def at_start(self, now: int) -> Backlog:
        """What is open just before interval ``now`` if all was served until then: where a run starts."""
        here = np.flatnonzero((self.first < now) & (self.last >= now))
        return self._lacking(here, self._due_kwh(here, now))

    def firm(self, window: Window) -> Window:
        """The same intervals without any session."""
        return self._firm_case.window(window.start, window.start + window.n_steps)

    def asked(self, backlog: Backlog, firm: Window) -> Window:
        """What is asked for in T intervals from ``firm.start`` on, if from now on everything is served.

        Args:
            backlog: just before the first of them.
            firm: the intervals without sessions, (T, n) arrays.
        """
        now, steps, dt = firm.start, firm.n_steps, self._dt_h
        known = self._with_arrivals(backlog, now, now + steps)
        i = known.session
        start = np.maximum(self.first[i], now)
        fits = self.power_kw[i] * dt * (np.minimum(self.last[i], now + steps - 1) - start + 1)
        which, k, kw = draws(start - now, self.power_kw[i], np.minimum(known.left_kwh, fits), dt)
        request = np.zeros_like(firm.import_request_kw)
        np.add.at(request, (k, self.participant[i[which]]), kw)
        room = self._limit_kw * (1 + 1e-6) - firm.inflexible_kw - firm.import_request_kw
        return replace(firm, import_request_kw=firm.import_request_kw + np.clip(request, 0.0, np.maximum(room, 0.0)))

    def after(self, backlog: Backlog, firm: Window, served_kw: FloatArray) -> tuple[Backlog, Backlog]:
        """Share out what participants were served in one interval.

        Args:
            backlog: just before the interval.
            firm: the interval without sessions, (n,) arrays.
            served_kw: (n,) served import.

        Returns:
            the backlog after the interval, and the sessions that depart with it and did not get all.
        """
        known = self._with_arrivals(backlog, firm.start, firm.start + 1)
        i = known.session
        given = self._shared(i, np.minimum(self.power_kw[i], known.left_kwh / self._dt_h), firm, served_kw)
        left = np.maximum(known.left_kwh - given * self._dt_h, 0.0)
        stays = self.last[i] > firm.start
        return self._lacking(i[stays], left[stays]), self._lacking(i[~stays], left[~stays])

    def waiting_kwh(self, backlog: Backlog, now: int) -> FloatArray:
        """(B,) what open sessions lack of what they could have had before interval ``now``."""
        return np.asarray(np.maximum(backlog.left_kwh - self._due_kwh(backlog.session, now), 0.0))

    def _due_kwh(self, session: IntArray, now: int) -> FloatArray:
        """What is left before interval ``now`` of sessions that were always served."""
        could = self.power_kw[session] * self._dt_h * (now - self.first[session])
        return np.asarray(np.maximum(self.energy_kwh[session] - could, 0.0))

    def _lacking(self, session: IntArray, left_kwh: FloatArray) -> Backlog:
        some = requested(left_kwh / self._dt_h)
        return Backlog(session[some], left_kwh[some])

    def _with_arrivals(self, backlog: Backlog, now: int, stop: int) -> Backlog:
        new = self._by_arrival[slice(*np.searchsorted(self._arrivals, (now, stop)))]
        arrived = self._lacking(new, self.energy_kwh[new])
        return Backlog.joined([backlog, arrived])

    def _shared(self, session: IntArray, ask_kw: FloatArray, firm: Window, served_kw: FloatArray) -> FloatArray:
        """(B,) power of each session."""
        rest = np.maximum(served_kw - firm.import_request_kw, 0.0)
        order = np.lexsort((self._turn[session], self.participant[session]))
        who = self.participant[session][order]
        place = np.arange(len(who)) - np.searchsorted(who, who)
        given = np.zeros(len(session))
        for turn in range(int(np.max(place, initial=-1)) + 1):
            now = order[place == turn]
            owner = self.participant[session[now]]
            given[now] = np.minimum(ask_kw[now], rest[owner])
            rest[owner] -= given[now]
        return given
