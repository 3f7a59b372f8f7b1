"""Pictures of a comparison (needs matplotlib, the ``plot`` extra)."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from amm_opt.arrays import DIRECTIONS, FloatArray
from amm_opt.simulation import Run
from amm_opt.simulation.results.columns import ENERGIES
from amm_opt.simulation.results.fairness import jain, served_ratios
from amm_opt.study.comparison import Comparison
from amm_opt.study.text import fold, number, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#4d4d4d")
"""Told apart by colour-blind readers too (Okabe and Ito)."""
DASHES = ("-", (0, (5, 2)), (0, (2, 3)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
MARKERS = "osv^D<>pP*X"
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "text.parse_math": False,
    "text.usetex": False,
}
WIDEST, LINES = 30, 3
"""Characters per line and lines of a label."""
NOTE_WIDTH = 80
"""Characters per line of a note in the axes."""
SAME = 2e-3
"""Curves closer than this part of what is drawn lie on each other."""


def styles(labels: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour and dashes of each label's curve: those that lie on each other show through each other's gaps."""
    return {
        label: {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[i % len(DASHES)], "lw": 1.8}
        for i, label in enumerate(labels)
    }


def caption(label: str) -> str:
    """A label as it stands in a picture, over a few lines where it is long."""
    lines = fold(plain(label), WIDEST)
    text = "\n".join([*lines[:LINES], "..."] if len(lines) > LINES else lines)
    return f" {text}" if text.startswith("_") else text


def _brief(label: str) -> str:
    text = plain(label)
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 3]}..."


def save_picture(comparison: Comparison, path: Path) -> bool:
    """Draw the comparison into a PNG; False where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        return False
    from matplotlib import rc_context

    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        draft = path.with_name(f"{path.name}.part")
        draw_comparison(comparison).savefig(draft, dpi=150, format="png")
        draft.replace(path)
    return True


def save_price_layers(prices: pd.DataFrame, title: str, intervals: int, path: Path) -> bool:
    """Draw ``Run.price_layers`` into a PNG; False where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        return False
    from matplotlib import rc_context

    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        draft = path.with_name(f"{path.name}.part")
        draw_price_layers(prices, title, intervals).savefig(draft, dpi=150, format="png")
        draft.replace(path)
    return True


def draw_price_layers(prices: pd.DataFrame, title: str, intervals: int) -> Figure:
    """For each direction: of all prices of an hour of day, and of a month, the share that each layer set; and limits.

    Args:
        prices: as of ``Run.price_layers``.
        intervals: of the run.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5.5), layout="constrained")
    axes = figure.subplots(2, 3, width_ratios=(1.1, 0.8, 1.0))
    names = [name for name in prices["layer"].unique() if name]
    colour = dict(zip(names, COLOURS * (1 + len(names) // len(COLOURS)), strict=False))
    for row, direction in enumerate(DIRECTIONS):
        mine = prices[prices["direction"] == direction]
        for ax, column, first, apart in ((axes[row, 0], "by_hour", 0, 3), (axes[row, 1], "by_month", 1, 2)):
            table = np.stack(mine[column].to_list())
            every, base = np.maximum(table.sum(axis=0), 1), np.zeros(table.shape[1])
            for name in names:
                share = 100.0 * table[(mine["layer"] == name).to_numpy()].sum(axis=0) / every
                ax.bar(np.arange(len(share)) + first, share, 0.85, bottom=base, color=colour[name], label=name)
                base += share
            ax.set(title=f"Prices of {direction} set, % by {column[3:]}", xmargin=0.02)
            ax.set_xticks(np.arange(first, first + table.shape[1], apart))
        _limits(axes[row, 2], mine[mine["layer"] != ""].nlargest(8, "share_pct"), colour, direction)
    if names:
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, [f"layer {x}" for x in labels], loc="outside lower center", ncols=6, frameon=False)
    figure.suptitle(f"{caption(title)}: which layers set prices, {intervals} intervals", fontsize=11)
    return figure


def _limits(axes: Axes, most: pd.DataFrame, colour: Mapping[str, str], direction: str) -> None:
    """Bars of the limits that set the most prices."""
    axes.barh(np.arange(len(most)), most["share_pct"], 0.8, color=[colour[x] for x in most["layer"]])
    axes.set_yticks(np.arange(len(most)), [_brief(x) for x in most["limit"]], fontsize=7)
    axes.invert_yaxis()
    axes.set(title=f"Limits, % of all prices of {direction}")


def draw_comparison(comparison: Comparison) -> Figure:
    """Four panels: the scarcest evening's import, the scarcest noon's export, energy not served, fairness so far."""
    from matplotlib.figure import Figure

    runs = comparison.runs
    drawn = styles(label for label, run in runs.items() if run.mechanism.enforces_limits)
    figure = Figure(figsize=(11, 7), layout="constrained")
    axes = figure.subplots(2, 2)
    intervals = {label: run.intervals() for label, run in runs.items()}
    dt = pd.Timedelta(hours=comparison.case.dt_h)
    _day(axes[0, 0], intervals, drawn, ("requested_import_kw", "served_import_kw"), "Flexible import", 12, dt)
    _day(axes[0, 1], intervals, drawn, ("requested_export_kw", "accepted_export_kw"), "Export", 0, dt)
    _energy(axes[1, 0], comparison, drawn)
    _fairness(axes[1, 1], comparison, drawn, dt)
    handles, names = axes[0, 0].get_legend_handles_labels()
    longest = max(len(line) for name in names for line in name.split("\n"))
    columns = max(1, min(5, 130 // (longest + 8)))
    figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False, handlelength=3.5)
    times = next(iter(runs.values())).times
    span = f"{times[0]:%d %b %Y %H:%M} to {times[-1] + dt:%d %b %Y %H:%M}"
    figure.suptitle(f"{caption(comparison.case.name)}, {span}", fontsize=11)
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
    day = (cut if cut.sum() > 0 else base[asked]).groupby(key).sum().idxmax()
    shown = key == day
    per, unit = (1000.0, "MW") if base[asked][shown].max() >= 1000.0 else (1.0, "kW")
    x = base.index[shown].append(pd.DatetimeIndex([base.index[shown][-1] + dt]))
    requested = held(base[asked][shown] / per)
    axes.fill_between(x, requested, step="post", color="0.85", label="requested")
    lines(axes, {label: (x, held(tables[label][given][shown] / per)) for label in drawn}, drawn, step=True)
    axes.set(title=f"{title}, {unit}, from {day + pd.Timedelta(hours=first_hour):%a %d %b, %H:%M}", ylim=(0, None))
    axes.margins(x=0)
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M", tz=x.tz))


def held(values: ArrayLike) -> FloatArray:
    """Values at the starts of intervals, and the last one again at its end."""
    array = np.asarray(values, dtype=float)
    return np.append(array, array[-1:])


def lines(
    axes: Axes,
    curves: Mapping[str, tuple[Any, ArrayLike]],
    drawn: Mapping[str, dict[str, Any]],
    *,
    step: bool = False,
    note: tuple[float, float] = (0.01, 0.98),
) -> None:
    """Curves by label; those that lie on each other all along are named, at ``note`` of the axes."""
    for label, (x, y) in curves.items():
        axes.plot(x, y, label=caption(label), drawstyle="steps-post" if step else "default", **drawn[label])
    values = {label: np.asarray(y, dtype=float) for label, (_, y) in curves.items()}
    same = _coinciding({label: np.log10(y) if axes.get_yscale() == "log" else y for label, y in values.items()})
    text = "\n".join(fill(" = ".join(map(_brief, group)), NOTE_WIDTH) for group in same)
    place: dict[str, Any] = {"ha": "left" if note[0] < 0.5 else "right", "va": "top" if note[1] > 0.5 else "bottom"}
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1.0}
    if text:
        axes.text(*note, text, transform=axes.transAxes, fontsize=7, in_layout=False, bbox=box, **place)


def _coinciding(curves: Mapping[str, FloatArray]) -> list[list[str]]:
    """Groups of two or more curves that lie on each other."""
    known = [y[~np.isnan(y)] for y in curves.values()]
    drawn = np.concatenate(known) if known else np.zeros(0)
    close = SAME * float(np.ptp(drawn)) + 1e-9 if drawn.size else 0.0
    groups: list[list[str]] = []
    for label, y in curves.items():
        for group in groups:
            other = curves[group[0]]
            if y.shape == other.shape and np.allclose(y, other, rtol=0.0, atol=close, equal_nan=True):
                group.append(label)
                break
        else:
            groups.append([label])
    return [group for group in groups if len(group) > 1]


def _energy(axes: Axes, comparison: Comparison, drawn: dict[str, dict[str, Any]]) -> None:
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
        said = [
            f"no {direction} was asked for" if np.isnan(v) else f"{number(v, '.1f')} % of {direction}" for v in share
        ]
        axes.bar_label(bars, said, padding=3, fontsize=8)
    violations = (table["thermal_violations"] + table["voltage_violations"]).astype(int)
    names = [f"{caption(x)}\n{v:,} violations" if v else caption(x) for x, v in violations.items()]
    axes.set_yticks(np.arange(len(labels)), names)
    axes.invert_yaxis()
    axes.margins(x=0.32)
    axes.set(title="Energy not served, % of what was requested", xlim=(0, None))


def _fairness(axes: Axes, comparison: Comparison, drawn: dict[str, dict[str, Any]], dt: pd.Timedelta) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    axes.set(title="Jain so far: feeders (lines), participants (diamonds)")
    if not drawn:
        axes.set_axis_off()
        return
    curves = {x: (comparison.runs[x].times + dt, _jain_so_far(comparison.runs[x])) for x in drawn}
    if all(np.isnan(y).all() for _, y in curves.values()):
        axes.text(0.5, 0.02, "no index of feeders: fewer than two asked", transform=axes.transAxes, ha="center")
    else:
        lines(axes, curves, drawn, note=(0.01, 0.4))
    for label in drawn:
        run = comparison.runs[label]
        end, index = run.times[-1] + dt, run.summary["jain_participant"]
        axes.plot([end], [index], marker="D", ms=5, color=drawn[label]["color"], clip_on=False, zorder=3)
    times = next(iter(comparison.runs.values())).times
    axes.set_xlim(times[0], times[-1] + dt)
    axes.set_ylim(top=1.005)
    locator = AutoDateLocator(maxticks=8, tz=times.tz)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=times.tz))


def _jain_so_far(run: Run) -> FloatArray:
    """(T,) the summary's ``jain_feeder`` as it develops; NaN while fewer than two feeders have asked."""
    index = [
        [jain(served_ratios(asked, given, "feeder")) for asked, given in zip(requested, served, strict=True)]
        for requested, served in zip(*run.feeder_energy(), strict=True)
    ]
    return np.asarray(np.fmin(index[0], index[1]))
