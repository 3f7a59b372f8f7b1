"""Pictures of a study: columns of its table over a parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from amm_opt.errors import InputError
from amm_opt.pictures.style import COLOURS, DASHES, MARKERS, in_style, picture
from amm_opt.simulation.results.columns import COLUMNS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN, HEIGHT_IN = 5.5, 4.0
MOST_LINES = 12
FEW = 12
"""A parameter with at most so many values gets a line of means."""


@in_style()
def drawn(table: pd.DataFrame, values: Sequence[str], x: str, by: str | None, title: str) -> Figure:
    """One panel for each of the ``values``.

    Raises:
        InputError: where matplotlib is not installed, or there are too many lines.
    """
    if by is not None and table[by].nunique(dropna=False) > MOST_LINES:
        raise InputError(
            f"by = {by!r} has {table[by].nunique(dropna=False)} values, a picture has room for {MOST_LINES}"
        )
    figure = picture(WIDTH_IN * len(values), HEIGHT_IN)
    for axes, value in zip(figure.subplots(1, len(values), squeeze=False)[0], values, strict=True):
        _panel(axes, table, value, x, by)
    if title:
        figure.suptitle(title)
    return figure


def _panel(axes: Axes, table: pd.DataFrame, value: str, x: str, by: str | None) -> None:
    column = COLUMNS.get(value)
    groups = (
        [("", table)]
        if by is None
        else [(f"{by} = {key}", part) for key, part in table.groupby(by, sort=True, dropna=False)]
    )
    for k, (label, part) in enumerate(groups):
        colour, marker = COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)]
        axes.scatter(
            part[x], part[value].astype(float), s=14, alpha=0.6, lw=0, color=colour, marker=marker, label=label or None
        )
        mean = part.assign(**{value: part[value].astype(float)}).groupby(x)[value].mean()
        if len(mean) <= FEW:
            axes.plot(mean.index, mean, color=colour, ls=DASHES[k % len(DASHES)])
    axes.set_xlabel(x)
    axes.set_ylabel(f"{value} ({column.unit})" if column is not None and column.unit else value)
    if by is not None:
        axes.legend()
