"""Pictures of the paper's comparison: who wins what, and how equal feeders are month by month."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from helpers.paper_page import Results
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from amm_opt.pictures import style as plots

PANELS = (
    ("cut_pct", "all customers together"),
    ("worst_feeder_served_import", "worst feeder, import"),
    ("worst_feeder_served_export", "worst feeder, export"),
    ("worst_participant_served_import", "worst participant, import"),
    ("worst_participant_served_export", "worst participant, export"),
)
"""Column and title; what is drawn is the energy not served, %."""
LEAST_PCT = 0.1


def winners(r: Results, groups: Mapping[str, str], path: Path) -> None:
    """One row per mechanism, one panel per measure: mean over the seeds, and their range as a line."""
    labels = [label for label in r.labels if label != "no_control"]
    kinds = list(dict.fromkeys(groups.get(label, "other") for label in labels))
    colour = {kind: plots.COLOURS[i % len(plots.COLOURS)] for i, kind in enumerate(kinds)}
    panels = [p for p in PANELS if p[0] in r.columns]
    y = np.arange(len(labels))[::-1]
    with mpl.rc_context(plots.STYLE):
        size = (3.0 + 2.2 * len(panels), 1.3 + 0.24 * len(labels))
        figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, layout="constrained")
        for axis, (column, title) in zip(axes, panels, strict=True):
            table = r.columns[column].loc[labels]
            cut = (table if column == "cut_pct" else 100.0 * (1.0 - table)).clip(lower=LEAST_PCT)
            mean, low, high = cut.mean(axis=1), cut.min(axis=1), cut.max(axis=1)
            axis.set_xscale("log")
            for k, label in enumerate(labels):
                dye = colour[groups.get(label, "other")]
                axis.plot([low[label], high[label]], [y[k], y[k]], color=dye, lw=1.5)
                won = mean[label] <= 1.005 * mean.min()
                axis.plot(mean[label], y[k], "o", color=dye, ms=9 if won else 5, mec="black" if won else dye, mew=1.2)
            axis.set_title(title, fontsize=9)
            axis.grid(axis="x", alpha=0.3)
            axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.xaxis.set_minor_formatter(NullFormatter())
        axes[0].set_yticks(y, labels, fontsize=8)
        figure.suptitle("Not served of what was asked for, % (further left is better)", fontsize=10)
        handles = [Line2D([], [], marker="o", ls="", color=colour[kind], label=kind) for kind in kinds]
        handles.append(Line2D([], [], marker="o", ls="", color="white", mec="black", mew=1.2, ms=9, label="best"))
        figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
        figure.savefig(path, dpi=150)
        plt.close(figure)


def months(r: Results, path: Path) -> None:
    """How far from equal the LV feeders are, the mean over seeds by month and direction, on a logarithmic scale."""
    mean = {
        label: sum(m[label] for m in r.months.values()) / len(r.months) for label in r.labels if label != "no_control"
    }
    drawn = {
        label: {**style, "lw": 1.2, "marker": plots.MARKERS[i % len(plots.MARKERS)], "ms": 5}
        for i, (label, style) in enumerate(plots.styles(mean).items())
    }
    with mpl.rc_context(plots.STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(11, 6), sharey=True, layout="constrained")
        for axis, direction in zip(axes, ("import", "export"), strict=True):
            away = {label: (m.index, (1.0 - m[direction]).clip(lower=1e-7)) for label, m in mean.items()}
            axis.set_yscale("log")
            axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.yaxis.set_minor_formatter(NullFormatter())
            plots.lines(axis, away, drawn, note=(0.99, 0.02))
            axis.set_title(f"1 - Jain index of LV feeders so far, {direction}")
            axis.tick_params(axis="x", rotation=60)
            axis.grid(alpha=0.3)
        axes[0].set_ylabel("0 is equal; lower is fairer")
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=8, frameon=False, handlelength=3.5)
        figure.savefig(path, dpi=120)
        plt.close(figure)
