"""A first look at a comparison that takes minutes: the busiest day before all of it, and whether to go on."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Any

import click
import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case
from amm_opt.pictures.readings import blocks
from amm_opt.study.compare import compare
from amm_opt.study.show import print_table
from amm_opt.study.terminal import complain, progress

FEWEST_DAYS = 2


def busiest_day(case: Case, span: tuple[int, int]) -> tuple[int, int] | None:
    """The whole day of a span on which most import is asked for, or export where no import is.

    Returns:
        Its first interval and one past its last; None where the span has not two whole days.
    """
    first, stop = span
    days = case.times[first:stop].normalize()
    counts = pd.Series(np.arange(first, stop)).groupby(days).agg(["min", "max", "count"])
    whole = counts[counts["count"] == round(24 / case.dt_h)]
    if len(whole) < FEWEST_DAYS:
        return None
    asked = pd.DataFrame(_asked_kw(case, span), index=days).groupby(level=0).sum().loc[whole.index]
    direction = 0 if asked[0].any() else 1
    day = asked[direction].idxmax()
    return int(whole.loc[day, "min"]), int(whole.loc[day, "max"]) + 1


def _asked_kw(case: Case, span: tuple[int, int]) -> FloatArray:
    """(T, 2) flexible import and export that all ask for together."""
    return np.concatenate([case.requests(a, b).both_kw.sum(axis=2).T for a, b in blocks(case, *span)])


def look(case: Case, mechanisms: list[Any], span: tuple[int, int], network: str, options: dict[str, Any]) -> bool:
    """Compare on the busiest day, print it on standard error, and ask whether to go on; without a terminal it goes on.

    Args:
        options: of ``compare``, but for its intervals.
    """
    day = busiest_day(case, span)
    if day is None:
        return True
    labels = [str(mechanism) for mechanism in mechanisms]
    with progress(False, labels) as report:
        result = compare(case, mechanisms, progress=report, **{**options, "steps": slice(*day)})
    complain(f"First the day on which most is asked for, {case.times[day[0]]:%Y-%m-%d}:")
    with redirect_stdout(sys.stderr):
        print_table(result, day, network)
    minutes = max(1, round(result.table["ms_per_step"].sum() * (span[1] - span[0]) / 60_000))
    pace = f"{minutes} minute{'s' if minutes > 1 else ''} at most"
    rest = f"all {span[1] - span[0]:,} intervals, at this pace {pace}"
    if sys.stdin is None or not sys.stdin.isatty() or not sys.stderr.isatty():
        complain(f"Now {rest}.")
        return True
    return click.confirm(f"Go on with {rest}?", default=True, err=True)
