"""Energy that can wait: what charging sessions have not got is asked for again until they depart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.cases import Case, Requests
from amm_opt.cases.profiles import draws, requested
from amm_opt.market import State
from amm_opt.tolerances import CONNECTION_SLACK


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

    An open session asks for the smaller of its power and what it lacks, in every interval from that of its arrival to
    that of its departure. In these two it is there for a part of them: what it asks for and is served is its power
    while it is there, and energy and mean power are that part of it. All sessions of a participant get at most what
    its import connection leaves beside inflexible load and series; the rest of them queues. What a participant is
    served goes to its series first, which cannot wait, then to its sessions: the earliest departure first, then the
    earliest arrival, the lowest power, the lowest energy.
    """

    def __init__(self, case: Case) -> None:
        table, scale = case.profiles.sessions, case.scenario.import_scale
        self.participant, self.first, self.last = (
            table[name].to_numpy(np.intp) for name in ("participant", "first", "last")
        )
        self.late, self.early = (table[name].to_numpy(float) for name in ("late", "early"))
        self.power_kw, self.energy_kwh = (scale * table[name].to_numpy(float) for name in ("power_kw", "energy_kwh"))
        self._dt_h = case.dt_h
        self._limit_kw = case.connection_kw("import")
        self._by_arrival = np.argsort(self.first, kind="stable")
        self._arrivals = self.first[self._by_arrival]
        arrival, departure = self.first + self.late, self.last + 1 - self.early
        order = np.lexsort((self.energy_kwh, self.power_kw, arrival, departure))
        self._turn = np.empty(len(order), dtype=np.intp)
        self._turn[order] = np.arange(len(order))
        self._firm_case = case.without_sessions

    def at_start(self, now: int) -> Backlog:
        """What is open just before interval ``now`` if all was served until then: where a run starts."""
        here = np.flatnonzero((self.first < now) & (self.last >= now))
        return self._lacking(here, self._due_kwh(here, now))

    def firm(self, requests: Requests) -> Requests:
        """The same intervals without any session."""
        return self._firm_case.requests(requests.start, requests.start + requests.n_steps)

    def asked(self, backlog: Backlog, firm: Requests) -> Requests:
        """What is asked for in T intervals from ``firm.start`` on, if from now on everything is served.

        Args:
            backlog: just before the first of them.
            firm: the intervals without sessions, (T, n) arrays.
        """
        known = self._with_arrivals(backlog, firm.start, firm.start + firm.n_steps)
        request = self._unhindered(known, firm)
        room = np.maximum(self._limit_kw * (1 + CONNECTION_SLACK) - firm.inflexible_kw - firm.import_request_kw, 0.0)
        crowded = np.asarray((request > room).any(axis=0))
        if firm.n_steps > 1 and crowded.any():
            of = crowded[self.participant[known.session]]
            queue = Backlog(known.session[of], known.left_kwh[of])
            request[:, crowded] = self._queued(queue, firm.start, room)[:, crowded]
        return replace(firm, import_request_kw=firm.import_request_kw + np.minimum(np.maximum(request, 0.0), room))

    def _unhindered(self, known: Backlog, firm: Requests) -> FloatArray:
        """(T, n) what sessions draw at full power from now on."""
        now, steps, dt = firm.start, firm.n_steps, self._dt_h
        i = known.session
        start, stop = np.maximum(self.first[i], now), np.minimum(self.last[i], now + steps - 1)
        late = np.where(start == self.first[i], self.late[i], 0.0)
        there = stop - start + 1 - late - np.where(stop == self.last[i], self.early[i], 0.0)
        left = np.minimum(known.left_kwh, self.power_kw[i] * dt * there)
        which, k, kw = draws(start - now, late, self.power_kw[i], left, dt)
        request = np.zeros_like(firm.import_request_kw)
        np.add.at(request, (k, self.participant[i[which]]), kw / self._there(i[which], now + k))
        return request

    def _queued(self, known: Backlog, now: int, room: FloatArray) -> FloatArray:
        """(T, n) the same where what a participant's sessions get is at most ``room``, one interval after the other."""
        i, left = known.session, known.left_kwh.copy()
        request = np.zeros_like(room)
        for k in range(len(room)):
            given = self._shared(i, self._max_kw(i, left, now + k), room[k])
            left -= given * self._there(i, now + k) * self._dt_h
            np.add.at(request[k], self.participant[i], given)
        return request

    def _max_kw(self, session: IntArray, left_kwh: FloatArray, k: int) -> FloatArray:
        """(B,) the power that sessions which lack this can draw in interval ``k``, while they are there."""
        here = (k >= self.first[session]) & (k <= self.last[session])
        return np.where(
            here, np.minimum(self.power_kw[session], left_kwh / (self._there(session, k) * self._dt_h)), 0.0
        )

    def _there(self, session: IntArray, k: IntArray | int) -> FloatArray:
        """(B,) the part of interval ``k`` that sessions are there, of those it is one of."""
        late, early = self.late[session] * (k == self.first[session]), self.early[session] * (k == self.last[session])
        return np.asarray(1.0 - late - early)

    def mean_kw(self, backlog: Backlog, firm: Requests, power_kw: FloatArray) -> FloatArray:
        """(n,) the mean over an interval of import at this power while sessions are there; the same array where equal.

        Args:
            backlog: just before the interval.
            firm: the interval without sessions, (n,) arrays.
        """
        known = self._with_arrivals(backlog, firm.start, firm.start + 1)
        absent = 1.0 - self._there(known.session, firm.start)
        if not absent.any():
            return power_kw
        less = np.zeros_like(power_kw)
        np.add.at(less, self.participant[known.session], absent * self._given(known, firm, power_kw))
        return power_kw - less

    def _given(self, known: Backlog, firm: Requests, served_kw: FloatArray) -> FloatArray:
        """(B,) the power of every session where participants are served this in one interval."""
        rest = np.maximum(served_kw - firm.import_request_kw, 0.0)
        return self._shared(known.session, self._max_kw(known.session, known.left_kwh, firm.start), rest)

    def after(self, backlog: Backlog, firm: Requests, served_kw: FloatArray) -> tuple[Backlog, Backlog]:
        """Share out what participants were served in one interval.

        Args:
            backlog: just before the interval.
            firm: the interval without sessions, (n,) arrays.
            served_kw: (n,) served import, while sessions are there.

        Returns:
            the backlog after the interval, and the sessions that depart with it and did not get all.
        """
        known = self._with_arrivals(backlog, firm.start, firm.start + 1)
        i = known.session
        drawn = self._given(known, firm, served_kw) * self._there(i, firm.start) * self._dt_h
        left = np.maximum(known.left_kwh - drawn, 0.0)
        stays = self.last[i] > firm.start
        return self._lacking(i[stays], left[stays]), self._lacking(i[~stays], left[~stays])

    def waiting_kwh(self, backlog: Backlog, now: int) -> FloatArray:
        """(B,) what open sessions lack of what they could have had before interval ``now``."""
        return np.asarray(np.maximum(backlog.left_kwh - self._due_kwh(backlog.session, now), 0.0))

    def _due_kwh(self, session: IntArray, now: int) -> FloatArray:
        """What is left before interval ``now`` of sessions that were always served."""
        could = self.power_kw[session] * self._dt_h * np.maximum(now - self.first[session] - self.late[session], 0.0)
        return np.asarray(np.maximum(self.energy_kwh[session] - could, 0.0))

    def _lacking(self, session: IntArray, left_kwh: FloatArray) -> Backlog:
        some = requested(left_kwh / self._dt_h)
        return Backlog(session[some], left_kwh[some])

    def _with_arrivals(self, backlog: Backlog, now: int, stop: int) -> Backlog:
        new = self._by_arrival[slice(*np.searchsorted(self._arrivals, (now, stop)))]
        arrived = self._lacking(new, self.energy_kwh[new])
        return Backlog.joined([backlog, arrived])

    def _shared(self, session: IntArray, ask_kw: FloatArray, power_kw: FloatArray) -> FloatArray:
        """(B,) power of each session, where participants have ``power_kw`` (n,) for all of theirs."""
        rest = power_kw.copy()
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
