"""Duration curves: for which part of the time at least so much."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np

from amm_opt.arrays import DIRECTIONS, FloatArray
from amm_opt.errors import InputError
from amm_opt.pictures.style import held, in_style, legend_below, lines, picture, said, styles
from amm_opt.simulation import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def duration(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Percent of the time (of that with a value), and the value that is reached or exceeded in more of it than that.

    The highest value comes first, at 0 %; the last one stands again at 100 %. Nothing of nothing.
    """
    known = np.sort(values[~np.isnan(values)])[::-1]
    return np.linspace(0.0, 100.0, len(known) + 1)[: len(known) + 1 if len(known) else 0], held(known)


@in_style()
def draw_loading(loading: Mapping[str, FloatArray], note: str = "", beside: Collection[str] = ()) -> Figure:
    """The most loaded branch of every interval, sorted.

    Args:
        loading: by label, (T,) as of ``NetworkUse.loading``.
        note: which intervals, for the title.
        beside: labels of what keeps no limits, in grey.
    """
    figure = picture(8, 4.5)
    axes = figure.subplots()
    curves = {label: duration(100.0 * values) for label, values in loading.items()}
    _drawn(axes, {label: curve for label, curve in curves.items() if len(curve[0])}, "no branch has a limit", beside)
    axes.axhline(100.0, color="0.5", lw=1.0, ls=":", zorder=0)
    axes.set(ylabel="most loaded branch, % of its limit", ylim=(0, None))
    axes.set_title("Loading of the most loaded branch" + (f": {note}" if note else ""))
    legend_below(figure, axes)
    return figure


@in_style()
def draw_prices_sorted(runs: Mapping[str, Run]) -> Figure:
    """The mean price over all participants in every interval, sorted, for import and export.

    Raises:
        InputError: where no run has prices.
    """
    tables = {label: run.intervals() for label, run in runs.items() if run.priced}
    if not tables:
        raise InputError("none of these mechanisms sets prices")
    figure = picture(11, 4.5)
    both = figure.subplots(1, 2, sharey=True)
    for axes, direction in zip(both, DIRECTIONS, strict=True):
        name = f"mean_{direction}_price"
        curves = {label: duration(table[name].to_numpy()) for label, table in tables.items() if name in table}
        _drawn(axes, curves, f"no prices of {direction}")
        axes.set_title(f"Mean price of {direction}")
    both[0].set_ylabel("currency/kWh")
    legend_below(figure, next((ax for ax in both if ax.get_lines()), both[0]))
    return figure


def _drawn(
    axes: Axes, curves: Mapping[str, tuple[FloatArray, FloatArray]], nothing: str, beside: Collection[str] = ()
) -> None:
    if not curves:
        said(axes, nothing)
    lines(axes, curves, styles(curves, beside), step=True, note=(0.99, 0.98))
    axes.set(xlabel="% of the intervals in which it is at least this", xlim=(0, 100))
