"""Pictures of a comparison (needs matplotlib, the ``plot`` extra)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from amm_opt.market.state import REQUEST_TOLERANCE_KW
from amm_opt.simulate import Run
from amm_opt.simulate.metrics import by_feeder, jain
from amm_opt.study.compare import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def save_picture(comparison: Comparison, path: Path) -> bool:
    """Draw the comparison into a PNG; False where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        return False
    figure = draw_comparison(comparison)
    figure.savefig(path, dpi=150)
    return True


def draw_comparison(comparison: Comparison) -> Figure:
    """Four panels: a scarce day's import, energy not served, fairness as it builds up, and served ratio by feeder."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.5), layout="constrained")
    axes = figure.subplots(2, 2)
    colours = {label: f"C{i}" for i, label in enumerate(comparison.runs)}
    _worst_day(axes[0, 0], comparison, colours)
    _energy(axes[0, 1], comparison, colours)
    _fairness(axes[1, 0], comparison, colours)
    _feeders(axes[1, 1], comparison, colours)
    run = next(iter(comparison.runs.values()))
    figure.suptitle(f"{comparison.case.title or comparison.case.name}\n{run.times[0]} to {run.times[-1]}")
    return figure


def _worst_day(axes: Axes, comparison: Comparison, colours: dict[str, str]) -> None:
    """Flexible import, requested and served, around the most unserved day."""
    runs = {label: run.intervals() for label, run in comparison.runs.items()}
    short: Any = sum(t["requested_import_kw"] - t["served_import_kw"] for t in runs.values())
    day = short.groupby(short.index.date).sum().idxmax()
    first = next(iter(runs.values()))
    noon = np.datetime64(day) + np.timedelta64(12, "h")
    shown = (first.index >= noon) & (first.index < noon + np.timedelta64(24, "h"))
    if not shown.any():
        shown = np.asarray(first.index.date == day)
    axes.plot(first.index[shown], first["requested_import_kw"][shown], color="0.6", lw=4, label="requested")
    for label, table in runs.items():
        if comparison.runs[label].mechanism.enforces_limits:
            axes.plot(table.index[shown], table["served_import_kw"][shown], color=colours[label], label=label)
    axes.set(title=f"Flexible import from noon on {day}", ylabel="kW")
    axes.xaxis.set_major_formatter(_hours())
    axes.legend(fontsize="small")


def _hours() -> Any:
    from matplotlib.dates import DateFormatter

    return DateFormatter("%H:%M")


def _energy(axes: Axes, comparison: Comparison, colours: dict[str, str]) -> None:
    table, labels = comparison.table, list(comparison.runs)
    for shift, (column, whole, name) in enumerate(
        (
            ("unserved_mwh", "requested_import_mwh", "import unserved"),
            ("curtailed_mwh", "requested_export_mwh", "export curtailed"),
        )
    ):
        share = [100 * float(table[column][x]) / max(float(table[whole][x]), 1e-12) for x in labels]
        place = np.arange(len(labels)) + 0.4 * shift
        bars = axes.bar(place, share, 0.38, color=[colours[x] for x in labels], alpha=1.0 - 0.5 * shift)
        axes.bar_label(bars, fmt="%.1f", fontsize="small")
        axes.bar([0], [0], color="k", alpha=1.0 - 0.5 * shift, label=name)
    violations = table["thermal_violations"].astype(int) + table["voltage_violations"].astype(int)
    names = [f"{x}\n{violations[x]} violations" for x in labels]
    axes.set_xticks(np.arange(len(labels)) + 0.2, names, fontsize="small")
    axes.set(title="Energy not served", ylabel="% of what was requested")
    axes.margins(y=0.15)
    axes.legend(fontsize="small")


def _fairness(axes: Axes, comparison: Comparison, colours: dict[str, str]) -> None:
    for label, run in comparison.runs.items():
        if run.mechanism.enforces_limits:
            for ratios, asked, style in zip(run.feeder_ratios(), _feeder_requests(run), ("-", ":"), strict=True):
                index = [jain(r[a]) if a.any() else np.nan for r, a in zip(ratios, asked, strict=True)]
                name = f"{label} {'import' if style == '-' else 'export'}"
                axes.plot(run.times, index, style, color=colours[label], label=name)
    axes.set(title="Jain index of the feeders' served ratio so far")
    axes.tick_params(axis="x", rotation=30)
    axes.legend(fontsize="x-small", ncols=2)


def _feeder_requests(run: Run) -> list[np.ndarray]:
    w = run.window
    requests = (w.import_request_kw, w.export_request_kw)
    return [np.cumsum(by_feeder(run.case, r), axis=0) > REQUEST_TOLERANCE_KW for r in requests]


def _feeders(axes: Axes, comparison: Comparison, colours: dict[str, str]) -> None:
    for label, run in comparison.runs.items():
        if run.mechanism.enforces_limits:
            for ratios, asked, style in zip(run.feeder_ratios(), _feeder_requests(run), ("-", ":"), strict=True):
                axes.plot(np.sort(ratios[-1][asked[-1]]), style, color=colours[label], marker=".")
    axes.set(title="Served ratio of each LV feeder, sorted (— import, ··· export)", ylim=(None, 1.02))
