"""Readings that are not what they should be: load and requests with noise, bias, gaps and delays.

A reading is what the mechanism knows of a participant in an interval: its inflexible load, its import request and its
export request. Each kind turns the readings that it is given into others, so that they can be put one after the other:
``noise+drop`` repeats the last noisy reading that came.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.cases import Case
from amm_opt.cases.folder.magnitudes import LARGEST as LARGEST_KW
from amm_opt.cases.scenario import MAX_SCALE
from amm_opt.simulation.measurement import draws
from amm_opt.simulation.measurement.base import Fault, negative, no_interval, no_rate, too_large

QUANTITIES = ("load", "import", "export")
Of = Literal["all", "load", "requests"]
_ROWS = {"all": (0, 1, 2), "load": (0,), "requests": (1, 2)}
LOOK_BACK = 32
"""Intervals that are looked back at first for a reading that came; twice as many each time that this was not enough."""

Source = Callable[[int, int], FloatArray]
"""``source(start, stop)``: readings of intervals ``start .. stop - 1``, (3, T, n) kW: load, import, export."""


@dataclass(frozen=True)
class Reading(Fault):
    """Base of every kind that concerns readings."""

    @abstractmethod
    def seen(self, source: Source, names: Sequence[str], start: int, stop: int) -> FloatArray:
        """The readings of intervals ``start .. stop - 1``, (3, T, n), from those without this error.

        Args:
            names: of the participants.
        """


def _only(of: Of, seen: FloatArray, source: FloatArray) -> FloatArray:
    """Some of the quantities as they are seen, the others as they were; requests are never negative."""
    out = source.copy()
    for row in _ROWS[of]:
        out[row] = seen[row] if row == 0 else np.maximum(seen[row], 0.0)
    return out


@dataclass(frozen=True)
class Noise(Reading):
    """Each reading times 1 + sigma e (at least 0) and kw e' more, e and e' standard normal, anew in each interval.

    Where nothing is asked for no request is sent, so that there is none to be wrong.

    Args:
        sigma: relative; ``kw`` is absolute.
        of: ``all`` readings, those of the inflexible ``load``, or ``requests``.
    """

    kind: ClassVar[str] = "noise"

    sigma: float = 0.0
    kw: float = 0.0
    of: Of = "all"
    seed: int = 0

    def __post_init__(self) -> None:
        sizes = [*too_large(self, MAX_SCALE, "sigma"), *too_large(self, LARGEST_KW, "kw")]
        self.refuse(*negative(self, "sigma", "kw", "seed"), *sizes)

    def seen(self, source: Source, names: Sequence[str], start: int, stop: int) -> FloatArray:
        """Relative noise first."""
        before = source(start, stop)
        seen = before.copy()
        for row in _ROWS[self.of]:
            what = QUANTITIES[row]
            if self.sigma:
                e = draws.normal(self.seed, f"noise of {what}", names, start, stop)
                seen[row] *= np.maximum(0.0, 1.0 + self.sigma * e)
            if self.kw:
                more = self.kw * draws.normal(self.seed, f"noise of {what} in kW", names, start, stop)
                seen[row] += more if row == 0 else np.where(before[row] > 0, more, 0.0)
        return _only(self.of, seen, before)


@dataclass(frozen=True)
class Bias(Reading):
    """Each reading times 1 + share and kw more; where nothing is asked for no request is sent.

    Args:
        share: such as -0.05 for readings that are 5 % too small; at least -1.
        of: ``all`` readings, those of the inflexible ``load``, or ``requests``.
    """

    kind: ClassVar[str] = "bias"

    share: float = 0.0
    kw: float = 0.0
    of: Of = "all"

    def __post_init__(self) -> None:
        least = f"share = {self.share} must be at least -1" if self.share < -1 else ""
        low = f"kw = {self.kw:g} must be at least {-LARGEST_KW:g}" if self.kw < -LARGEST_KW else ""
        self.refuse(least, low, *too_large(self, MAX_SCALE, "share"), *too_large(self, LARGEST_KW, "kw"))

    def seen(self, source: Source, names: Sequence[str], start: int, stop: int) -> FloatArray:
        """The share first."""
        before = source(start, stop)
        seen = before * (1.0 + self.share) + self.kw * ((before > 0) | (np.arange(3) == 0)[:, None, None])
        return _only(self.of, seen, before)


@dataclass(frozen=True)
class Drop(Reading):
    """Some readings are lost, and the last one that came is used; those of the case's first interval always come.

    Args:
        rate: share of a participant's intervals in which its readings are lost, each by itself.
        of: ``all`` readings, which are lost together, those of the inflexible ``load``, or ``requests``.
    """

    kind: ClassVar[str] = "drop"

    rate: float = 0.0
    of: Of = "all"
    seed: int = 0

    def __post_init__(self) -> None:
        self.refuse(no_rate(self.rate), *negative(self, "seed"))

    def seen(self, source: Source, names: Sequence[str], start: int, stop: int) -> FloatArray:
        """What came last, with the errors that it had when it was made."""
        came = self._came(names, start, stop)
        first = int(came.min(initial=start))
        before = source(first, stop)
        last = np.take_along_axis(before, (came - first)[None], axis=1)
        return _only(self.of, last, before[:, start - first :])

    def _came(self, names: Sequence[str], start: int, stop: int) -> IntArray:
        """(T, n) in which interval the reading was made that is the last one at each of the intervals."""
        back = LOOK_BACK
        while True:
            first = max(0, start - back)
            lost = draws.uniform(self.seed, "drop", names, first, stop) < self.rate
            lost[:1] &= first > 0
            came = np.where(lost, -1, np.arange(first, stop)[:, None])
            came = np.maximum.accumulate(came, axis=0)[start - first :]
            if came.min(initial=0) >= 0:
                return np.asarray(came, dtype=np.intp)
            back *= 2


@dataclass(frozen=True)
class Delay(Reading):
    """Each reading is that of some intervals before; in the first intervals of a case, that of its first one.

    Args:
        steps: how many intervals.
        of: ``all`` readings, those of the inflexible ``load``, or ``requests``.
    """

    kind: ClassVar[str] = "delay"

    steps: int = 1
    of: Of = "all"

    def __post_init__(self) -> None:
        self.refuse(*negative(self, "steps"))

    def beyond(self, case: Case) -> str:
        """As late as the case is long, nothing is read but its first interval."""
        return no_interval("steps", self.steps, case, last=case.n_steps - 1)

    def seen(self, source: Source, names: Sequence[str], start: int, stop: int) -> FloatArray:
        """What was read ``steps`` intervals before."""
        return _only(self.of, _at(source, np.arange(start, stop) - self.steps), source(start, stop))


@dataclass(frozen=True)
class Stale(Reading):
    """Requests are renewed only now and then: in between the one before still counts.

    Args:
        steps: every so many intervals, counted from the first of the case.
    """

    kind: ClassVar[str] = "stale"

    steps: int = 1

    def __post_init__(self) -> None:
        self.refuse(f"steps = {self.steps} must be at least 1" if self.steps < 1 else "")

    def beyond(self, case: Case) -> str:
        """Renewed once in the whole case is as seldom as it can be."""
        return no_interval("steps", self.steps, case, last=case.n_steps)

    def seen(self, source: Source, names: Sequence[str], start: int, stop: int) -> FloatArray:
        """Load as it is, requests as they were renewed last."""
        at = np.arange(start, stop)
        return _only("requests", _at(source, at - at % self.steps), source(start, stop))


def _at(source: Source, intervals: IntArray) -> FloatArray:
    """Readings of other intervals, none before the first of the case."""
    at = np.maximum(intervals, 0)
    first = int(at.min())
    return source(first, int(at.max()) + 1)[:, at - first]
