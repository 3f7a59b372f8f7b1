"""Who gets what over a day."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from amm_opt.arrays import DIRECTIONS, FloatArray
from amm_opt.errors import InputError
from amm_opt.market.state import served_ratio
from amm_opt.pictures.readings import scarcest
from amm_opt.pictures.style import COLOURS, SCALE, UNKNOWN, brief, caption, held, in_style, picture, power_unit, said
from amm_opt.simulation import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

NAMED = 45
"""So many rows are named."""
TITLES = {"import": "Flexible import", "export": "Export"}


def scarcest_day(run: Run) -> pd.Timestamp:
    """The day of a run on which most energy is not served; where all is, that on which most is asked for."""
    table = run.intervals()
    asked = table["requested_import_kw"] + table["requested_export_kw"]
    cut = asked - table["served_import_kw"] - table["accepted_export_kw"]
    return scarcest(cut, asked, table.index.normalize())


@in_style()
def draw_day(run: Run, date: str | pd.Timestamp | None = None) -> Figure:
    """Power requested and served over a day, and below it the served ratio of every LV feeder in every interval.

    Where there are fewer than two LV feeders, of every participant. Rows are in the order of what they were served of
    the day's requests, the worst-off at the top.

    Args:
        date: by default the scarcest day.

    Raises:
        InputError: where the day is outside the run.
    """
    start, stop = _span(run, date)
    asked_kw, served_kw, names, per = _powers(run, start, stop)
    times = run.times[start:stop]
    edges = times.append(pd.DatetimeIndex([times[-1] + pd.Timedelta(hours=run.case.dt_h)]))
    figure = picture(11, 7)
    axes = figure.subplots(2, 2, height_ratios=(1, 2))
    meshes = []
    for d, direction in enumerate(DIRECTIONS):
        asked, served = asked_kw[:, d], served_kw[:, d]
        _total(axes[0, d], edges, asked.sum(axis=1), served.sum(axis=1), TITLES[direction])
        meshes.append(_ratios(axes[1, d], edges, asked, served, names))
        axes[1, d].set_title(f"Served ratio by {per}, worst-off first")
    if shown := [mesh for mesh in meshes if mesh is not None]:
        figure.colorbar(shown[0], ax=axes[1, :], label="served ratio", shrink=0.9)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    figure.suptitle(f"{caption(str(run.mechanism))} on {caption(run.case.name)}, {times[0]:%a %d %b %Y}")
    return figure


def _span(run: Run, date: str | pd.Timestamp | None) -> tuple[int, int]:
    day = scarcest_day(run) if date is None else pd.Timestamp(date)
    mine = np.flatnonzero(run.times.normalize() == day.normalize())
    if not len(mine):
        raise InputError(f"{day:%Y-%m-%d} is outside the run, {run.times[0]} to {run.times[-1]}")
    return int(mine[0]), int(mine[-1]) + 1


def _powers(run: Run, start: int, stop: int) -> tuple[FloatArray, FloatArray, list[str], str]:
    """Requested and served, (T, 2, rows) kW, names of the rows, and what they are."""
    case = run.case
    if len(case.feeder.lv_feeders) >= 2:
        both = [run.store.read(f"feeder_{name}_kw", start, stop) for name in ("requested", "served")]
        return both[0], both[1], list(case.feeder.lv_feeders), "LV feeder"
    asked = case.requests(run.first + start, run.first + stop, waits=run.waits).both_kw.swapaxes(0, 1)
    return asked, run.store.read("served_kw", start, stop), list(case.participant_names), "participant"


def _total(axes: Axes, edges: pd.DatetimeIndex, asked: FloatArray, served: FloatArray, title: str) -> None:
    per, unit = power_unit(float(asked.max()))
    axes.fill_between(edges, held(asked / per), step="post", color="0.85", label="requested")
    axes.plot(edges, held(served / per), drawstyle="steps-post", color=COLOURS[0], lw=1.8, label="served")
    axes.set(title=title, ylabel=unit, ylim=(0, None))
    axes.margins(x=0)
    if not asked.any():
        said(axes, "nothing was asked for")
    _hours(axes, edges)


def _ratios(
    axes: Axes, edges: pd.DatetimeIndex, asked: FloatArray, served: FloatArray, names: list[str]
) -> QuadMesh | None:
    """One row for each that asked for something; None where nobody did."""
    import matplotlib as mpl

    who = np.flatnonzero(asked.sum(axis=0) > 0)
    if not len(who):
        axes.set_axis_off()
        said(axes, "nothing was asked for")
        return None
    order = who[np.argsort(served_ratio(served[:, who].sum(axis=0), asked[:, who].sum(axis=0)), kind="stable")]
    ratio = np.where(asked[:, order] > 0, served_ratio(served[:, order], asked[:, order]), np.nan)
    colours = mpl.colormaps[SCALE].with_extremes(bad=UNKNOWN)
    rows = np.arange(len(order) + 1) - 0.5
    values = np.ma.masked_invalid(ratio.T)
    mesh = axes.pcolormesh(edges, rows, values, vmin=0.0, vmax=1.0, cmap=colours, rasterized=True)
    axes.invert_yaxis()
    if len(order) <= NAMED:
        axes.set_yticks(np.arange(len(order)), [brief(names[k]) for k in order.tolist()], fontsize=6)
    else:
        axes.set_ylabel(f"{len(order)} that asked for something")
    _hours(axes, edges)
    return mesh


def _hours(axes: Axes, edges: pd.DatetimeIndex) -> None:
    from matplotlib.dates import DateFormatter

    axes.xaxis.set_major_formatter(DateFormatter("%H:%M", tz=edges.tz))
