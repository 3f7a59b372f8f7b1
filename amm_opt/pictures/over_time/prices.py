"""Prices by hour and month, and which layers and limits set them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from amm_opt.arrays import DIRECTIONS, FloatArray
from amm_opt.errors import InputError, counted
from amm_opt.pictures.style import COLOURS, SCALE, UNKNOWN, brief, caption, in_style, picture, save
from amm_opt.simulation import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

HOURS, MONTHS = 24, "JFMAMJJASOND"


def calendar(table: pd.DataFrame, direction: str) -> FloatArray:
    """(24, 12) the mean over a run's intervals of ``mean_DIRECTION_price`` by hour of day and month; NaN for none.

    Args:
        table: as of ``Run.intervals``.
    """
    name = f"mean_{direction}_price"
    found = np.full((HOURS, len(MONTHS)), np.nan)
    if name in table:
        index = pd.DatetimeIndex(table.index)
        for (hour, month), price in table[name].groupby([index.hour, index.month]).mean().items():
            found[hour, month - 1] = price
    return found


def save_price_layers(prices: pd.DataFrame, title: str, intervals: int, path: Path) -> None:
    """Draw ``Run.price_layers`` into a PNG.

    Raises:
        InputError: where matplotlib is not installed.
    """
    save(draw_price_layers(prices, title, intervals), path)


@in_style()
def draw_prices(run: Run, layers: pd.DataFrame | None = None) -> Figure:
    """The mean price by hour and month, and, of all prices of an hour and a month, the share that each layer set.

    Args:
        layers: as of ``Run.price_layers``; without them only the prices.

    Raises:
        InputError: without prices.
    """
    if not run.priced:
        raise InputError(f"{run.mechanism} sets no prices")
    table = run.intervals()
    width = 4.0 if layers is None else 11.0
    figure = picture(width, 6.0)
    ratios = (1.0,) if layers is None else (1.0, 1.1, 0.8)
    axes = figure.subplots(2, len(ratios), width_ratios=ratios, squeeze=False)
    found = [calendar(table, direction) for direction in DIRECTIONS]
    for row, direction in enumerate(DIRECTIONS):
        mesh = _calendar(axes[row, 0], found[row])
        axes[row, 0].set_title(f"Mean price of {direction}")
        figure.colorbar(mesh, ax=axes[row, 0], label="currency/kWh")
    if layers is not None:
        colour = layer_colours(layers)
        for row, direction in enumerate(DIRECTIONS):
            shares(axes[row, 1:], layers[layers["direction"] == direction], colour, direction)
        _legend(figure, colour)
    figure.suptitle(f"{caption(str(run.mechanism))} on {caption(run.case.name)}: prices by hour and month")
    return figure


def _calendar(axes: Axes, prices: FloatArray) -> QuadMesh:
    import matplotlib as mpl

    colours = mpl.colormaps[SCALE].with_extremes(bad=UNKNOWN)
    values = np.ma.masked_invalid(prices)
    edges = (np.arange(len(MONTHS) + 1) - 0.5, np.arange(HOURS + 1) - 0.5)
    mesh = axes.pcolormesh(*edges, values, cmap=colours, rasterized=True)
    axes.set_xticks(range(len(MONTHS)), list(MONTHS))
    axes.set_yticks(range(0, HOURS, 6))
    axes.set(xlabel="month", ylabel="hour of day")
    axes.invert_yaxis()
    return mesh


@in_style()
def draw_price_layers(prices: pd.DataFrame, title: str, intervals: int) -> Figure:
    """For each direction: of all prices of an hour of day, and of a month, the share that each layer set; and limits.

    Args:
        prices: as of ``Run.price_layers``.
        intervals: of the run.
    """
    figure = picture(11, 5.5)
    axes = figure.subplots(2, 3, width_ratios=(1.1, 0.8, 1.0))
    colour = layer_colours(prices)
    for row, direction in enumerate(DIRECTIONS):
        mine = prices[prices["direction"] == direction]
        shares(axes[row, :2], mine, colour, direction)
        _limits(axes[row, 2], mine[mine["layer"] != ""].nlargest(8, "share_pct"), colour, direction)
    _legend(figure, colour)
    figure.suptitle(f"{caption(title)}: which layers set prices, {counted(intervals, 'interval')}")
    return figure


def layer_colours(prices: pd.DataFrame) -> dict[str, str]:
    """A colour for each layer that set a price."""
    names = [name for name in prices["layer"].unique() if name]
    return dict(zip(names, COLOURS * (1 + len(names) // len(COLOURS)), strict=False))


def shares(axes: np.ndarray, mine: pd.DataFrame, colour: Mapping[str, str], direction: str) -> None:
    """Bars by hour and by month, into two axes: of all prices of a direction, % that each layer set."""
    for ax, column, first, apart in ((axes[0], "by_hour", 0, 3), (axes[1], "by_month", 1, 2)):
        table = np.stack(mine[column].to_list())
        every, base = np.maximum(table.sum(axis=0), 1), np.zeros(table.shape[1])
        for name in colour:
            share = 100.0 * table[(mine["layer"] == name).to_numpy()].sum(axis=0) / every
            ax.bar(np.arange(len(share)) + first, share, 0.85, bottom=base, color=colour[name], label=name)
            base += share
        ax.set(title=f"Prices of {direction} set, % by {column[3:]}", xmargin=0.02)
        ax.set(xlabel="hour of day" if column == "by_hour" else "month")
        ax.set_xticks(np.arange(first, first + table.shape[1], apart))


def _legend(figure: Figure, colour: Mapping[str, str]) -> None:
    from matplotlib.patches import Patch

    if colour:
        handles = [Patch(color=shade, label=f"layer {name}") for name, shade in colour.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=6)


def _limits(axes: Axes, most: pd.DataFrame, colour: Mapping[str, str], direction: str) -> None:
    """Bars of the limits that set the most prices."""
    axes.barh(np.arange(len(most)), most["share_pct"], 0.8, color=[colour[x] for x in most["layer"]])
    axes.set_yticks(np.arange(len(most)), [brief(x) for x in most["limit"]], fontsize=7)
    axes.invert_yaxis()
    axes.set(title=f"Limits, % of all prices of {direction}")
