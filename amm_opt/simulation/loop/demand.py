"""Demand: what is asked for in a block, whether or not it depends on what was served before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Protocol

import numpy as np

from amm_opt.arrays import BoolArray
from amm_opt.cases import Requests
from amm_opt.cases.profiles import requested
from amm_opt.market import Allocation
from amm_opt.simulation.loop.guard import Guard
from amm_opt.simulation.loop.result import BlockResult, Notes
from amm_opt.simulation.loop.secure import scaled_back
from amm_opt.simulation.loop.waiting import Backlog, Sessions


class Demand(Protocol):
    """Intervals ``first .. stop - 1`` of a run, as far as demand goes."""

    @property
    def recorded(self) -> Requests:
        """What counts as requested, (T, n) arrays."""

    @property
    def known(self) -> bool:
        """Whether that is what is asked for, whatever is served before."""

    def asked(self, ahead: slice, backlog: Backlog | None) -> Requests:
        """What is asked for in some of the intervals if from the first of them on everything is served."""

    def settle(
        self, result: BlockResult, k: int, asked: Requests, served: Allocation, guard: Guard, notes: Notes
    ) -> tuple[Requests, Allocation]:
        """What counts as asked for and as served in interval k; moves the backlog of ``result`` over it."""

    def leaves_some(self, k: int, asked: Requests, served: Allocation) -> bool:
        """Whether interval k leaves energy that is asked for again."""


@dataclass(frozen=True, eq=False)
class KnownDemand:
    """Requests are instantaneous: what is not served is lost."""

    recorded: Requests
    known: ClassVar[bool] = True

    def asked(self, ahead: slice, backlog: Backlog | None) -> Requests:
        """The requests of the case."""
        return self.recorded.select(ahead)

    def settle(
        self, result: BlockResult, k: int, asked: Requests, served: Allocation, guard: Guard, notes: Notes
    ) -> tuple[Requests, Allocation]:
        """Both as they are."""
        return asked, served

    def leaves_some(self, k: int, asked: Requests, served: Allocation) -> bool:
        """Never."""
        return False


@dataclass(frozen=True, eq=False)
class WaitingDemand:
    """What sessions lack is asked for again until they depart; ``firm`` are the intervals without sessions."""

    recorded: Requests
    firm: Requests
    sessions: Sessions
    known: ClassVar[bool] = False

    def asked(self, ahead: slice, backlog: Backlog | None) -> Requests:
        """Firm requests, what waits, and what arrives."""
        assert backlog is not None
        return self.sessions.asked(backlog, self.firm.select(ahead))

    def settle(
        self, result: BlockResult, k: int, asked: Requests, served: Allocation, guard: Guard, notes: Notes
    ) -> tuple[Requests, Allocation]:
        """The means over the interval, where sessions were there for a part of it.

        Others may have counted on their use for relief. Everybody's flexible power is scaled back then as far as the
        mean over the interval needs it.
        """
        assert result.backlog is not None
        firm = self.firm.interval(k)
        mean_kw = partial(self.sessions.mean_kw, result.backlog, firm)
        mean = mean_kw(served.import_kw)
        if mean is not served.import_kw:
            if not guard.keeps(replace(served, import_kw=mean), asked):
                notes.repaired.append(asked.start)
                served = scaled_back(
                    served, lambda part: guard.keeps(replace(part, import_kw=mean_kw(part.import_kw)), asked)
                )
                mean = mean_kw(served.import_kw)
            asked = replace(asked, import_request_kw=mean_kw(asked.import_request_kw))
        result.backlog, departed = self.sessions.after(result.backlog, firm, served.import_kw)
        result.departed += [departed] if len(departed.session) else []
        return asked, replace(served, import_kw=mean)

    def leaves_some(self, k: int, asked: Requests, served: Allocation) -> bool:
        """Whether sessions get less than they asked for."""
        got = np.maximum(served.import_kw, self.firm.import_request_kw[k])
        some: BoolArray = requested(asked.import_request_kw - got)
        return bool(some.any())


def demand_of(recorded: Requests, sessions: Sessions | None) -> Demand:
    """What is asked for in intervals of which this counts as requested."""
    return KnownDemand(recorded) if sessions is None else WaitingDemand(recorded, sessions.firm(recorded), sessions)
