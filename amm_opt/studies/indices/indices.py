"""Indices of one outcome, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from amm_opt.errors import counted
from amm_opt.io.html import as_html
from amm_opt.pictures.style import COLOURS, in_style, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = {
    "sobol": (("first", "first order, by itself"), ("total", "total, with interactions")),
    "morris": (("mu_star", "mean size of an effect"), ("sigma", "spread of effects")),
    "delta": (("delta", "on the whole distribution"), ("first", "first order, on the variance")),
}
"""Columns that a picture shows, and what they are."""
WIDTH_IN, ROW_IN = 5.5, 0.5


@dataclass(frozen=True, eq=False, repr=False)
class Indices:
    """What an outcome depends on.

    Attributes:
        method: ``sobol``, ``morris`` or ``delta``.
        outcome: its name.
        table: one row per number, with its ``unit``. ``sobol``: shares of the variance that a number explains by
            itself (``first``) and with all its interactions (``total``). ``morris``: mean (``mu``), mean size
            (``mu_star``) and spread (``sigma``) of the change over its whole range, in units of the outcome. ``delta``:
            how far the distribution of the outcome is moved by knowing the number (0 to 1), and ``first``. Columns
            ``..._conf`` are half the width of a 95 % confidence interval.
        runs: how often the outcome was evaluated.
    """

    method: str
    outcome: str
    table: pd.DataFrame
    runs: int

    def __repr__(self) -> str:
        return (
            f"Indices({self.method} of {self.outcome or 'an outcome'}, {counted(len(self.table), 'number')},"
            f" {counted(self.runs, 'run')})"
        )

    def _repr_html_(self) -> str:
        return as_html(repr(self), self.table)

    def plot(self) -> Figure:
        """Bars of the indices with their confidence intervals.

        Raises:
            InputError: where matplotlib is not installed.
        """
        return drawn([self])


@in_style()
def drawn(several: Sequence[Indices], title: str = "") -> Figure:
    """A panel for each outcome.

    Raises:
        InputError: where matplotlib is not installed.
    """
    rows = max(len(one.table) for one in several)
    figure = picture(WIDTH_IN * len(several), 1.4 + ROW_IN * rows)
    for axes, one in zip(figure.subplots(1, len(several), squeeze=False)[0], several, strict=True):
        _panel(axes, one)
    if title:
        figure.suptitle(title)
    return figure


def _panel(axes: Axes, one: Indices) -> None:
    place, shown = np.arange(len(one.table)), SHOWN[one.method]
    for k, (column, label) in enumerate(shown):
        error = one.table.get(f"{column}_conf")
        axes.barh(
            place + (k - 0.5) * 0.38,
            one.table[column],
            0.38,
            xerr=None if error is None else error,
            color=COLOURS[k],
            error_kw={"elinewidth": 1, "capsize": 2},
            label=label,
        )
    units = one.table["unit"]
    names = [f"{name} ({unit})" if unit else str(name) for name, unit in units.items()]
    axes.set_yticks(place, names)
    axes.invert_yaxis()
    axes.axvline(0.0, color="black", linewidth=0.8)
    axes.set_title(one.outcome)
    axes.set_xlabel(f"{one.method} index" if one.method != "morris" else f"effect on {one.outcome or 'the outcome'}")
    axes.legend(loc="lower right")
