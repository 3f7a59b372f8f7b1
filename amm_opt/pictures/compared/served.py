"""How served ratios are distributed over participants."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np

from amm_opt.arrays import DIRECTIONS, FloatArray
from amm_opt.pictures.over_time.months import WORDS
from amm_opt.pictures.readings import Energies
from amm_opt.pictures.style import in_style, legend_below, lines, picture, said, styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def distribution(ratios: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Served ratios from 0 to 1, and which percent of those who asked were served at most that: steps."""
    known = np.sort(ratios[~np.isnan(ratios)])
    share = 100.0 * np.arange(len(known) + 1) / max(len(known), 1)
    return np.concatenate([[0.0], known, [1.0]]), np.concatenate([share, share[-1:]])


@in_style()
def draw_served(energies: Mapping[str, Energies], per: str = "participant", beside: Collection[str] = ()) -> Figure:
    """Which part of those who asked was served at most so much of what it asked for over the run.

    Args:
        energies: by label.
        per: ``participant`` or ``feeder``.
        beside: labels of what keeps no limits, in grey.
    """
    figure = picture(11, 4.8)
    both = figure.subplots(1, 2, sharey=True)
    for d, (axes, direction) in enumerate(zip(both, DIRECTIONS, strict=True)):
        ratios = {label: item.ratios(per)[d] for label, item in energies.items()}
        asked = {label: r for label, r in ratios.items() if not np.isnan(r).all()}
        for label, style in styles(energies, beside).items():
            if label in asked:
                lines(axes, {label: distribution(asked[label])}, {label: style}, step=True)
        if not asked:
            said(axes, f"no {direction} was asked for")
        axes.set(xlim=(0, 1.005), ylim=(0, 101), xlabel="served ratio over the run", title=f"Who got what: {direction}")
        axes.grid(alpha=0.3)
    both[0].set_ylabel(f"% of {WORDS[per]} served at most this")
    legend_below(figure, next((ax for ax in both if ax.get_lines()), both[0]))
    return figure
