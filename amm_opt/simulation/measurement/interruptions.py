"""Interruptions: the mechanism's memory is lost and restored late, and limits that do not reach their participants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from amm_opt.cases import Case, Requests
from amm_opt.cases.folder.magnitudes import LARGEST as LARGEST_KW
from amm_opt.market import Allocation
from amm_opt.simulation.measurement import draws
from amm_opt.simulation.measurement.base import Fault, negative, no_interval, no_rate, too_large


@dataclass(frozen=True)
class Memory(Fault):
    """What a mechanism remembers is lost: it starts anew, and gets a copy back later.

    Args:
        at: number of the interval, in the case, before which it is lost.
        steps: so many intervals it goes on from nothing; then the copy takes the place of what was learnt meanwhile.
        older: how many intervals before the loss the copy was made.
        back: False where there is no copy.
    """

    kind: ClassVar[str] = "memory"

    at: int = 0
    steps: int = 1
    older: int = 0
    back: bool = True

    def __post_init__(self) -> None:
        short = f"steps = {self.steps} must be at least 1" if self.steps < 1 else ""
        early = f"older = {self.older} is before the first interval" if self.older > self.at >= 0 else ""
        self.refuse(short, early, *negative(self, "at", "older"))

    def beyond(self, case: Case) -> str:
        """It is lost in an interval of the case."""
        return no_interval("at", self.at, case, last=case.n_steps - 1)

    @property
    def copied_at(self) -> int:
        """Before which interval the copy is made."""
        return self.at - self.older

    @property
    def restored_at(self) -> int:
        """Before which interval the copy is restored."""
        return self.at + self.steps


@dataclass(frozen=True)
class Message(Fault):
    """Some limits do not reach their participants, who then keep a default limit that they know by themselves.

    The mechanism does not hear of it.

    Args:
        rate: share of a participant's intervals in which its limits do not arrive, each by itself.
        import_kw, export_kw: the default limits of flexible power, the same for everybody.
    """

    kind: ClassVar[str] = "message"

    rate: float = 0.0
    import_kw: float = 0.0
    export_kw: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        powers = ("import_kw", "export_kw")
        self.refuse(no_rate(self.rate), *negative(self, *powers, "seed"), *too_large(self, LARGEST_KW, *powers))

    def happens(self, served: Allocation, interval: Requests, names: Sequence[str]) -> Allocation:
        """What everybody does in an interval, (n,), from what they would do if all limits arrived."""
        lost = draws.uniform(self.seed, "message", names, interval.start, interval.start + 1)[0] < self.rate
        powers = (
            (served.import_kw, interval.import_request_kw, self.import_kw),
            (served.export_kw, interval.export_request_kw, self.export_kw),
        )
        imports, exports = (np.where(lost, np.minimum(limit, asked), kw) for kw, asked, limit in powers)
        return replace(served, import_kw=imports, export_kw=exports)
