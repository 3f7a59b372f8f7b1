"""Which intervals of a long run are swept on its network for a page, and what limits them there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from amm_opt.errors import InputError
from amm_opt.grid import Grid
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
        return [(0, steps)], f"all {steps} intervals" if steps > 1 else "the one interval"
    day = run.times.normalize()
    starts = np.flatnonzero(np.r_[True, day[1:] != day[:-1]])
    stops = np.r_[starts[1:], steps]
    apart = -(-len(starts) // max(1, MOST_STEPS // int((stops - starts).max())))
    chosen = range(0, len(starts), apart + (apart % 7 == 0))
    spans = [(int(starts[k]), int(stops[k])) for k in chosen]
    return spans, f"{len(spans)} of {len(starts)} days, evenly spaced"


def limits_of(runs: Mapping[str, Run], spans: Spans) -> dict[str, pd.DataFrame | str]:
    """As ``Run.explain`` on some of the intervals, without what limits are worth; or why that cannot be told, by label.

    What is asked for is expanded and swept once for all runs that are on the same network with the same margin.
    """
    found: dict[str, pd.DataFrame | str] = {}
    explainers: dict[str, Explainer] = {}
    grids: dict[tuple[str, str], Grid] = {}
    for label, run in runs.items():
        try:
            if run.waits:
                raise InputError("energy could wait, of which a run does not keep what was asked for in each interval")
            key, model = (run.network, repr(run.margin)), run.network_model()
            shared = grids.setdefault(key, Grid(run.case, model, run.known_margin))
            explainers[label] = Explainer(run.case, shared.network, False, run.known_margin, shared)
        except InputError as error:
            found[label] = str(error)
    if not explainers:
        return found
    length = min([BLOCK_STEPS, *(grid.block_steps for grid in grids.values())])
    for a, b in ((k, min(k + length, stop)) for start, stop in spans for k in range(start, stop, length)):
        some = next(iter(runs.values()))
        asked = some.case.requests(some.first + a, some.first + b)
        for label, explainer in explainers.items():
            explainer.add(asked, runs[label].allocation.select(slice(a, b)), runs[label].failed_steps)
    return found | {label: explainer.table() for label, explainer in explainers.items()}
