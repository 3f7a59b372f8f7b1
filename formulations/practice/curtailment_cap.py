r"""A cap on everyone's cumulative curtailment index, as low as can be; then most energy. Interval by interval.

After Quessongo, Gebbran and Unsihuay-Vila, arXiv 2608.23444 (abstract only): with the energy that participant i had
available and was accepted so far, this interval included,

    chi_i = (available_i - accepted_i) / available_i,      min Gamma  s.t.  chi_i <= Gamma  for every i,

then the most energy with that Gamma. 1 - chi_i is the served ratio with history, so this is FUH (``fair_over_time``)
with participants as groups, windows of one interval and nothing given up: one formula, one place. Imports have a cap of
their own, by analogy.

A participant whose past is worse than anything that this interval can mend sets Gamma by itself: all others are then
bound by the second stage only. That is the min-max rule.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from formulations.fair_over_time import FairUsingHistory


@dataclass(frozen=True)
class CurtailmentCap(FairUsingHistory):
    """The largest cumulative share that anybody is cut is as small as can be."""

    name: ClassVar[str] = "curtailment_cap"

    per: str = field(default="participant", init=False)
    inside: str = field(default="free", init=False)
    give: float = field(default=0.0, init=False)
    window: int | str = field(default=1, init=False)
