"""Columns of how equally energy was served: each of both directions, the worse one, and of each by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from amm_opt.arrays import DIRECTIONS, FloatArray
from amm_opt.simulation.results.column import Column, Kind
from amm_opt.simulation.results.fairness import by_feeder, jain, lowest, served_ratios, starved, tenth_percentile


@dataclass(frozen=True)
class Measure:
    """A number of the served ratios of LV feeders or of participants.

    Attributes:
        of: gives it, from the ratios and requested energies of those who asked.
        per: whose ratios, ``feeder`` or ``participant``.
    """

    name: str
    of: Callable[[FloatArray, FloatArray], float]
    per: str
    kind: Kind
    meaning: str
    header: str = ""
    unit: str = ""
    better: Literal["higher", "lower"] = "higher"

    def columns(self, directions: bool) -> Iterator[Column]:
        """Of both directions, the worse one; or of each direction by itself."""
        if not directions:
            worse = "lower" if self.better == "higher" else "larger"
            meaning = f"{self.meaning}; the {worse} of the two directions"
            yield Column(self.name, self._over(0, 1), self.unit, self.kind, self.better, meaning, self.header)
            return
        for d, direction in enumerate(DIRECTIONS):
            meaning = f"{self.meaning}; {direction} only"
            yield Column(f"{self.name}_{direction}", self._over(d), self.unit, self.kind, self.better, meaning)

    def _over(self, *directions: int) -> Callable[[Any], float | None]:
        """The worse one of these directions; NaN where none compares anybody."""
        worse = np.fmin if self.better == "higher" else np.fmax

        def compute(run: Any) -> float | None:
            if run.totals is None:
                return None
            energies = (run.totals.requested_kwh, run.totals.served_kwh)
            asked, served = (by_feeder(run.case, e) for e in energies) if self.per == "feeder" else energies
            return float(worse.reduce([self._one(asked[d], served[d]) for d in directions]))

        return compute

    def _one(self, asked: FloatArray, served: FloatArray) -> float:
        ratios = served_ratios(asked, served, self.per)
        return self.of(ratios, asked[asked > 0][: len(ratios)])


def columns(measures: Sequence[Measure], *, directions: bool = False) -> tuple[Column, ...]:
    """The columns of these measures, one each, or one for each direction."""
    return tuple(column for measure in measures for column in measure.columns(directions))


FAIRNESS = (
    Measure(
        "jain_feeder",
        lambda a, _: jain(a),
        "feeder",
        "index",
        "Jain's index of the served ratios of LV feeders",
        "Jain\nfeed-\ners",
    ),
    Measure(
        "jain_participant",
        lambda a, _: jain(a),
        "participant",
        "index",
        "Jain's index of the served ratios of participants",
        "Jain\npartic-\nipants",
    ),
    Measure(
        "worst_feeder_served",
        lambda a, _: lowest(a),
        "feeder",
        "ratio",
        "lowest served ratio of an LV feeder",
        "worst\nfeed-\ner",
    ),
    Measure(
        "worst_participant_served",
        lambda a, _: lowest(a),
        "participant",
        "ratio",
        "lowest served ratio of a participant",
        "worst\npar-\ntici-\npant",
    ),
)
SPREAD = (
    Measure(
        "p10_participant_served",
        lambda a, _: tenth_percentile(a),
        "participant",
        "ratio",
        "tenth percentile of the served ratios of participants",
        "tenth\nper-\ncen-\ntile",
    ),
    Measure(
        "starved_participants",
        lambda a, _: starved(a),
        "participant",
        "count",
        "participants whose served ratio is below a tenth of the median one",
        "star-\nved",
        "participants",
        "lower",
    ),
    Measure(
        "jain_feeder_by_energy",
        jain,
        "feeder",
        "index",
        "Jain's index of the served ratios of LV feeders, weighted by requested energy",
    ),
    Measure(
        "jain_participant_by_energy",
        jain,
        "participant",
        "index",
        "Jain's index of the served ratios of participants, weighted by requested energy",
    ),
)
