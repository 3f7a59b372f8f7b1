"""Which intervals of a long run are swept on its network for a page, and what limits them there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from amm_opt.errors import InputError
from amm_opt.registry import model_of
from amm_opt.simulation import Run
from amm_opt.simulation.explanation.explain import BLOCK_STEPS, Explainer

MOST_STEPS = 960
"""So many intervals at most, twenty days of half-hours; a run that is longer is swept on some of its days."""

Spans = Sequence[tuple[int, int]]


def sampled(run: Run) -> tuple[Spans, str]:
    """The whole run, or days of it that are evenly spaced: spans within the run, and which these are in words.

    Days are not whole weeks apart, so that every weekday has its turn.
    """
    steps = len(run.times)
    if steps <= MOST_STEPS:
        return [(0, steps)], f"all {steps} intervals"
    day = run.times.normalize()
    starts = np.flatnonzero(np.r_[True, day[1:] != day[:-1]])
    stops = np.r_[starts[1:], steps]
    apart = -(-len(starts) // max(1, MOST_STEPS // int((stops - starts).max())))
    chosen = range(0, len(starts), apart + (apart % 7 == 0))
    spans = [(int(starts[k]), int(stops[k])) for k in chosen]
    return spans, f"{len(spans)} of {len(starts)} days, evenly spaced"


def limits_of(run: Run, spans: Spans) -> pd.DataFrame:
    """As ``Run.explain`` on some of the intervals, without what limits are worth.

    Raises:
        InputError: where limits cannot be told, see ``Run.explain``.
    """
    if run.waits:
        raise InputError("energy could wait, of which a run does not keep what was asked for in each interval")
    explainer = Explainer(run.case, model_of(run.case, run.network, run.model), False, run.known_margin)
    length = min(BLOCK_STEPS, explainer.grid.block_steps)
    for start, stop in spans:
        for a in range(start, stop, length):
            b = min(a + length, stop)
            asked = run.case.requests(run.first + a, run.first + b)
            explainer.add(asked, run.allocation.select(slice(a, b)), run.failed_steps)
    return explainer.table()
