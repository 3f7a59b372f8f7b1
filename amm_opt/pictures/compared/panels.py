"""The picture of a comparison: two days, what was not served, and how equal the feeders are so far."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from amm_opt.arrays import DIRECTIONS, FloatArray, IntArray
from amm_opt.cases import Case
from amm_opt.io.text import number
from amm_opt.pictures.readings import scarcest, unlimited
from amm_opt.pictures.style import (
    caption,
    held,
    in_style,
    legend_below,
    lines,
    picture,
    power_unit,
    said,
    save,
    styles,
)
from amm_opt.simulation import Run
from amm_opt.simulation.results.columns import ENERGIES
from amm_opt.simulation.results.fairness import jain, served_ratios

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


POINTS = 500
"""A curve over time has so many points at most, as many as can be told apart."""


NO_INDEX = "no index of feeders: fewer than two asked, or none was served"


class Compared(Protocol):
    """Runs of several mechanisms on the same case and intervals; a ``Comparison`` is one."""

    @property
    def case(self) -> Case:
        """That all runs are of."""

    @property
    def runs(self) -> dict[str, Run]:
        """By label."""

    @property
    def table(self) -> pd.DataFrame:
        """One row per mechanism with the summary columns."""


def save_picture(comparison: Compared, path: Path) -> bool:
    """Draw the comparison into a PNG; False where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        return False
    save(draw_comparison(comparison), path)
    return True


@in_style()
def draw_comparison(comparison: Compared) -> Figure:
    """Four panels: the scarcest evening's import, the scarcest noon's export, energy not served, fairness so far."""
    runs = comparison.runs
    beside = unlimited(runs)
    drawn = styles(label for label in runs if label not in beside)
    figure = picture(11, 7)
    axes = figure.subplots(2, 2)
    intervals = {label: run.intervals() for label, run in runs.items()}
    dt = pd.Timedelta(hours=comparison.case.dt_h)
    _day(axes[0, 0], intervals, drawn, ("requested_import_kw", "served_import_kw"), "Flexible import", 12, dt)
    _day(axes[0, 1], intervals, drawn, ("requested_export_kw", "accepted_export_kw"), "Export", 0, dt)
    _energy(axes[1, 0], comparison, drawn)
    _fairness(axes[1, 1], comparison, drawn, dt)
    legend_below(figure, axes[0, 0])
    times = next(iter(runs.values())).times
    span = f"{times[0]:%d %b %Y %H:%M} to {times[-1] + dt:%d %b %Y %H:%M}"
    figure.suptitle(f"{caption(comparison.case.name)}, {span}")
    return figure


def _day(
    axes: Axes,
    intervals: dict[str, pd.DataFrame],
    drawn: dict[str, dict[str, Any]],
    columns: tuple[str, str],
    title: str,
    first_hour: int,
    dt: pd.Timedelta,
) -> None:
    """Requested and served power over the 24 hours in which most is cut, summed over mechanisms."""
    from matplotlib.dates import DateFormatter

    asked, given = columns
    tables = {label: intervals[label] for label in drawn} or intervals
    base = next(iter(tables.values()))
    cut = sum((t[asked] - t[given] for t in tables.values()), start=0.0 * base[asked])
    key = (base.index - pd.Timedelta(hours=first_hour)).normalize()
    day = scarcest(cut, base[asked], key)
    shown = key == day
    per, unit = power_unit(base[asked][shown].max())
    x = base.index[shown].append(pd.DatetimeIndex([base.index[shown][-1] + dt]))
    requested = held(base[asked][shown] / per)
    axes.fill_between(x, requested, step="post", color="0.85", label="requested")
    lines(axes, {label: (x, held(tables[label][given][shown] / per)) for label in drawn}, drawn, step=True)
    axes.set(title=f"{title}, {unit}, from {x[0]:%a %d %b, %H:%M}", ylim=(0, None))
    if not requested.any():
        said(axes, "nothing was asked for")
    axes.margins(x=0)
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M", tz=x.tz))


def _energy(axes: Axes, comparison: Compared, drawn: dict[str, dict[str, Any]]) -> None:
    """Share of the requested energy that was not served; what breaks limits is said in words."""
    table, labels = comparison.table, list(comparison.runs)
    for direction, (asked, lost), shift in zip(DIRECTIONS, ENERGIES, (-0.2, 0.2), strict=True):
        share = 100.0 * table[lost] / table[asked].where(table[asked] > 0)
        bars = axes.barh(
            np.arange(len(labels)) + shift,
            share.fillna(0.0),
            0.36,
            color=[drawn[x]["color"] if x in drawn else "0.6" for x in labels],
            alpha=1.0 if shift < 0 else 0.55,
        )
        words = [
            f"no {direction} was asked for" if np.isnan(v) else f"{number(v, '.1f')} % of {direction}" for v in share
        ]
        axes.bar_label(bars, words, padding=3, fontsize=8)
    violations = (table["thermal_violations"] + table["voltage_violations"]).astype(int)
    names = [f"{caption(x)}\n{v:,} violations" if v else caption(x) for x, v in violations.items()]
    axes.set_yticks(np.arange(len(labels)), names)
    axes.invert_yaxis()
    axes.margins(x=0.32)
    axes.set(title="Energy not served, % of what was requested", xlim=(0, None))


def _fairness(axes: Axes, comparison: Compared, drawn: dict[str, dict[str, Any]], dt: pd.Timedelta) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    axes.set(title="Jain so far: feeders (lines), participants (diamonds)")
    if not drawn:
        axes.set_axis_off()
        return
    steps = len(next(iter(comparison.runs.values())).times)
    at = np.unique(np.linspace(0, steps - 1, min(steps, POINTS)).round().astype(int))
    curves = {x: (comparison.runs[x].times[at] + dt, _jain_so_far(comparison.runs[x], at)) for x in drawn}
    if all(np.isnan(y).all() for _, y in curves.values()):
        axes.text(0.5, 0.02, NO_INDEX, transform=axes.transAxes, ha="center")
    else:
        lines(axes, curves, drawn, note=(0.01, 0.4))
    for label in drawn:
        run = comparison.runs[label]
        end, index = run.times[-1] + dt, run.summary["jain_participant"]
        axes.plot([end], [index], marker="D", ms=5, color=drawn[label]["color"], clip_on=False, zorder=3)
    times = next(iter(comparison.runs.values())).times
    axes.set_xlim(times[0], times[-1] + dt)
    axes.set_ylim(top=1.005)
    locator = AutoDateLocator(minticks=3, maxticks=8, tz=times.tz)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=times.tz))


def _jain_so_far(run: Run, at: IntArray) -> FloatArray:
    """The summary's ``jain_feeder`` after some intervals; NaN while fewer than two feeders have asked."""
    index = [
        [jain(served_ratios(asked, given, "feeder")) for asked, given in zip(requested[at], served[at], strict=True)]
        for requested, served in zip(*run.feeder_energy(), strict=True)
    ]
    return np.asarray(np.fmin(index[0], index[1]))
