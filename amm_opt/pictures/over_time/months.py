"""How unequal months are: Jain's index and the worst-off, as what is missing to 1, on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from amm_opt.arrays import DIRECTIONS, FloatArray
from amm_opt.errors import unknown
from amm_opt.pictures.readings import PER, Energies
from amm_opt.pictures.style import MARKERS, in_style, legend_below, lines, picture, plain_log, said, styles
from amm_opt.simulation.results.fairness import jain, lowest, served_ratios

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST = (1e-6, 1e-3)
"""Of either row, what is less is drawn here: the logarithm of 0 has no place."""
NOBODY = ("no index: fewer than two asked for {}, or none was served", "nobody asked for {}")
WORDS = {"feeder": "LV feeders", "participant": "participants"}


def by_month(energies: Energies, per: str) -> tuple[FloatArray, FloatArray]:
    """1 - Jain's index, and 1 - the lowest served ratio, of every month by itself: (months, 2) each, import, export.

    NaN where a month compares nobody.
    """
    requested, served = energies.of(per)
    found = [
        [(1.0 - jain(r), 1.0 - lowest(r)) for r in (served_ratios(*pair, per) for pair in zip(*both, strict=True))]
        for both in zip(requested, served, strict=True)
    ]
    table = np.array(found, dtype=float).reshape(len(energies.months), 2, 2)
    return table[..., 0], table[..., 1]


def per_of(energies: Mapping[str, Energies], per: str | None) -> str:
    """LV feeders where there are two or more, else participants; or what is given.

    Raises:
        InputError: for anything else.
    """
    if per is None:
        return "feeder" if len(next(iter(energies.values())).case.feeder.lv_feeders) >= 2 else "participant"
    if per not in PER:
        raise unknown("choice of per", str(per), PER)
    return per


@in_style()
def draw_months(energies: Mapping[str, Energies], per: str | None = None, beside: Collection[str] = ()) -> Figure:
    """1 - Jain's index, and what the worst-off lacked, in every month by itself, on a logarithmic axis.

    Args:
        energies: by label.
        per: ``feeder`` or ``participant``; by default LV feeders where there are two or more.
        beside: labels of what keeps no limits, which are left out where there is something else.
    """
    energies = {label: item for label, item in energies.items() if label not in beside} or energies
    per = per_of(energies, per)
    drawn = {
        label: {**style, "lw": 1.3, "marker": MARKERS[i % len(MARKERS)], "ms": 4.5}
        for i, (label, style) in enumerate(styles(energies, beside).items())
    }
    found = {label: by_month(item, per) for label, item in energies.items()}
    figure = picture(11, 7)
    axes = figure.subplots(2, 2, sharex=True, sharey="row")
    worst = WORDS[per].removesuffix("s")
    titles = (f"1 - Jain's index of {WORDS[per]}", f"1 - served ratio of the worst {worst}")
    months = next(iter(energies.values())).months
    for row, title in enumerate(titles):
        for d, direction in enumerate(DIRECTIONS):
            ax = axes[row, d]
            ax.set_yscale("log")
            plain_log(ax.yaxis)
            ax.grid(alpha=0.3)
            curves = {label: (months, np.maximum(both[row][:, d], LEAST[row])) for label, both in found.items()}
            lines(ax, curves, drawn, note=(0.99, 0.02))
            if all(np.isnan(values).all() for _, values in curves.values()):
                said(ax, NOBODY[row].format(direction))
            ax.set_title(f"{title}, {direction}")
        axes[row, 0].set_ylabel("0 is equal; lower is fairer" if row == 0 else "lower is better off")
    for ax in axes[1]:
        _months(ax, months)
    legend_below(figure, axes[0, 0])
    figure.suptitle(f"Every month by itself; {LEAST[0]:g} above and {LEAST[1]:g} below stand for that and less")
    return figure


def _months(axes: object, months: pd.DatetimeIndex) -> None:
    years = len(set(months.year)) > 1
    axes.set_xticks(months, [f"{m:%b %y}" if years else f"{m:%b}" for m in months])  # type: ignore[attr-defined]
    axes.tick_params(axis="x", rotation=60)  # type: ignore[attr-defined]
