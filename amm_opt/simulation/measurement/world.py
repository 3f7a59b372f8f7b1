"""What there is, beside what a mechanism sees of it: how a measured run reads, remembers and is carried out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from amm_opt.cases import Requests
from amm_opt.grid import Grid
from amm_opt.market import Allocation, State
from amm_opt.simulation.measurement.interruptions import Memory, Message
from amm_opt.simulation.measurement.measurement import Measurement


class Truth(Protocol):
    """The grid as it is, and what is really asked for on it."""

    @property
    def grid(self) -> Grid:
        """The case on a network model."""

    def requests(self, start: int, stop: int, *, waits: bool) -> Requests:
        """Requests of intervals ``start .. stop - 1``, see ``Case.requests``."""


@dataclass(frozen=True, eq=False)
class World:
    """A grid as it is, of which a mechanism sees what a measurement leaves.

    Attributes:
        on: the true grid.
    """

    measurement: Measurement
    on: Truth

    def seen(self, start: int, stop: int) -> Requests:
        """Intervals ``start .. stop - 1`` as they are read."""
        return self.measurement.requests(self.on.grid.case, start, stop)

    def received(self, served: Allocation, interval: Requests) -> Allocation:
        """What happens in an interval where messages may be lost, (n,), from what would happen if all arrived."""
        for message in self._messages:
            served = message.happens(served, interval, self.on.grid.case.participant_names)
        return served

    def remembered(
        self, state: State, held: State | None, interval: int, fresh: Callable[[], State]
    ) -> tuple[State, State | None]:
        """What is remembered before an interval, and the copy that is held for later.

        Args:
            fresh: makes the state of a mechanism that has seen nothing.
        """
        for loss in self._losses:
            if interval == loss.restored_at and loss.back and held is not None:
                state, held = held, None
            if interval == loss.copied_at and loss.back and state.arrays():
                held = state
            if interval == loss.at:
                state = fresh()
        return state, held

    @cached_property
    def _losses(self) -> tuple[Memory, ...]:
        return tuple(sorted(self.measurement.of(Memory), key=lambda m: m.at))

    @cached_property
    def _messages(self) -> tuple[Message, ...]:
        return self.measurement.of(Message)
