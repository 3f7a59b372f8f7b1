"""What may be said of the limits that a run keeps: the rung of its evidence, and the words that it allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amm_opt.errors import counted

UNKNOWN = "-"
"""The rung of a run that was stored by a version without claims."""


@dataclass(frozen=True)
class Claim:
    """The evidence for what a run says of limits.

    Rungs and words follow a ladder in PowerOptLab.jl (doe_quantification_review, September 2026); the words are ours.
    ``probabilistic`` is a further rung of it that nothing here reaches.

    Attributes:
        holds: of the network model, such as "at the requested point in lindistflow".
        intervals: length of the run.
        broken: in the network model, what is furthest beyond its limit and when: a sentence for each kind of limit.
        points: what was tested, "AC points"; ``tested`` of them, the intervals with a power-flow solution.
        broken_ac: as ``broken``, at the tested points.
        margin: what a margin that was found on a training span left there and here; empty where there is none.
        certified: intervals of which it is proved that every use within what is served keeps every limit, see
            ``Certified``; of the balanced equivalent.
        unavoidable: pairs beyond a limit through inflexible load alone, of which nothing is claimed.
    """

    holds: str
    intervals: int
    broken: tuple[str, ...] = ()
    points: str = "AC points"
    tested: int = 0
    broken_ac: tuple[str, ...] = ()
    unavoidable: int = 0
    certified: int = 0
    margin: str = ""

    @classmethod
    def stored(cls, about: dict[str, Any]) -> Claim:
        """From what ``dataclasses.asdict`` gave, after JSON."""
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in about.items()}
        return cls(**values)

    @property
    def found(self) -> tuple[str, ...]:
        """What was found against it: on AC, and in the network model where AC has not tested every interval."""
        return (*self.broken_ac, *(() if self.tested == self.intervals else self.broken))

    @property
    def rung(self) -> str:
        """``falsified``, ``certified``, ``tested`` or ``point``."""
        if self.found:
            return "falsified"
        if self.intervals and self.certified == self.intervals:
            return "certified"
        return "tested" if self.tested else "point"

    @property
    def words(self) -> str:
        """What may be said."""
        return "; ".join(filter(None, (self._of_limits, self.margin)))

    @property
    def _of_limits(self) -> str:
        if self.found:
            return f"{'; '.join(self.found)}{f' ({self.points})' if self.broken_ac else ''}"
        most = f" of {self.intervals}" if self.tested < self.intervals else ""
        tested = f"no violation at {self.tested}{most} tested {self.points}"
        said = tested if self.tested else f"holds {self.holds}"
        if self.certified:
            some = "" if self.rung == "certified" else f" in {self.certified} of {counted(self.intervals, 'interval')}"
            proved = f"every use within what is served is proved to keep every limit of the balanced equivalent{some}"
            said = f"{proved}; {tested}" if self.tested else proved
        apart = f", apart from {counted(self.unavoidable, 'pair')} that inflexible load alone has beyond a limit"
        return said + (apart if self.unavoidable else "")
