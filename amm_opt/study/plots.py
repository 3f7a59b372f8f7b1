"""Pictures of a comparison (needs matplotlib, the ``plot`` extra)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from amm_opt.market.state import REQUEST_TOLERANCE_KW, served_ratio
from amm_opt.simulate import Run
from amm_opt.simulate.metrics import jain
from amm_opt.study.compare import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#4d4d4d")
"""Told apart by colour-blind readers too (Okabe and Ito)."""
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.titlelocation": "left"}


def save_picture(comparison: Comparison, path: Path) -> bool:
    """Draw the comparison into a PNG; False where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        return False
    from matplotlib import rc_context

    with rc_context(STYLE):
        draw_comparison(comparison).savefig(path, dpi=150)
    return True


def draw_comparison(comparison: Comparison) -> Figure:
    """Four panels: the scarcest evening's import, the scarcest noon's export, energy not served, fairness so far."""
    from matplotlib.figure import Figure

    runs = comparison.runs
    bound = [label for label, run in runs.items() if run.mechanism.enforces_limits]
    colours = {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(bound)}
    figure = Figure(figsize=(11, 7), layout="constrained")
    axes = figure.subplots(2, 2)
    intervals = {label: run.intervals() for label, run in runs.items()}
    _day(axes[0, 0], intervals, colours, ("requested_import_kw", "served_import_kw"), "Flexible import", 12)
    _day(axes[0, 1], intervals, colours, ("requested_export_kw", "accepted_export_kw"), "Export", 0)
    _energy(axes[1, 0], comparison, colours)
    _fairness(axes[1, 1], comparison, colours)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=5, frameon=False)
    times = next(iter(runs.values())).times
    figure.suptitle(f"{comparison.case.name}, {times[0]:%d %b %Y %H:%M} to {times[-1]:%d %b %Y %H:%M}", fontsize=11)
    return figure


def _day(
    axes: Axes,
    intervals: dict[str, pd.DataFrame],
    colours: dict[str, str],
    columns: tuple[str, str],
    title: str,
    first_hour: int,
) -> None:
    """Requested and served power over the 24 hours in which most is cut, summed over mechanisms; MW."""
    from matplotlib.dates import DateFormatter

    asked, given = columns
    tables = {label: intervals[label] for label in colours} or intervals
    base = next(iter(tables.values()))
    cut = sum((t[asked] - t[given] for t in tables.values()), start=0.0 * base[asked])
    key = (base.index - pd.Timedelta(hours=first_hour)).normalize()
    day = (cut if cut.sum() > 0 else base[asked]).groupby(key).sum().idxmax()
    shown = key == day
    axes.fill_between(base.index[shown], base[asked][shown] / 1000.0, step="post", color="0.85", label="requested")
    _lines(axes, {x: (base.index[shown], tables[x][given][shown] / 1000.0) for x in colours}, colours, step=True)
    axes.set(title=f"{title}, MW, from {day + pd.Timedelta(hours=first_hour):%a %d %b, %H:%M}", ylim=(0, None))
    axes.margins(x=0)
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M"))


def _lines(axes: Axes, curves: dict[str, tuple[pd.Index, pd.Series]], colours: dict[str, str], *, step: bool) -> None:
    """Curves of decreasing width, so that those that coincide can all be seen."""
    for i, (label, (x, y)) in enumerate(curves.items()):
        width = 1.4 + 1.6 * (len(curves) - 1 - i)
        axes.plot(x, y, color=colours[label], lw=width, label=label, drawstyle="steps-post" if step else "default")


def _energy(axes: Axes, comparison: Comparison, colours: dict[str, str]) -> None:
    """Share of the requested energy that was not served; what breaks limits is said in words."""
    table, labels = comparison.table, list(comparison.runs)
    for shift, column, whole in (
        (-0.2, "unserved_mwh", "requested_import_mwh"),
        (0.2, "curtailed_mwh", "requested_export_mwh"),
    ):
        share = 100.0 * table[column].astype(float) / table[whole].astype(float).clip(lower=1e-12)
        bars = axes.barh(
            np.arange(len(labels)) + shift,
            share,
            0.36,
            color=[colours.get(x, "0.6") for x in labels],
            alpha=1.0 if shift < 0 else 0.55,
        )
        kind = "import" if shift < 0 else "export"
        axes.bar_label(bars, [f"{v:.1f} % of {kind}" for v in share], padding=3, fontsize=8)
    violations = (table["thermal_violations"] + table["voltage_violations"]).astype(int)
    names = [f"{x}\n{v:,} violations" if v else x for x, v in violations.items()]
    axes.set_yticks(np.arange(len(labels)), names)
    axes.invert_yaxis()
    axes.margins(x=0.32)
    axes.set(title="Energy not served, % of what was requested", xlim=(0, None))


def _fairness(axes: Axes, comparison: Comparison, colours: dict[str, str]) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    axes.set(title="Jain index of LV feeders so far (lower direction)")
    if not colours:
        axes.set_axis_off()
        return
    curves = {x: (comparison.runs[x].times, _jain_so_far(comparison.runs[x])) for x in colours}
    _lines(axes, curves, colours, step=False)
    locator = AutoDateLocator(maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set_ylim(top=1.005)
    axes.margins(x=0)


def _jain_so_far(run: Run) -> NDArray[np.float64]:
    """(T,) the summary's ``jain_feeder`` as it develops."""
    index = []
    for requested, served in zip(*run.feeder_energy(), strict=True):
        ratios, asked = served_ratio(served, requested), requested > REQUEST_TOLERANCE_KW
        index.append([jain(r[a]) if a.any() else 1.0 for r, a in zip(ratios, asked, strict=True)])
    return np.asarray(np.min(index, axis=0))
