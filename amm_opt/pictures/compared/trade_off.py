"""Energy against the worst-off: what serving the worst-off better costs everybody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from amm_opt.errors import InputError, unknown
from amm_opt.io.text import energy_unit
from amm_opt.pictures.compared.panels import Compared
from amm_opt.pictures.readings import PER, unlimited
from amm_opt.pictures.style import MARKERS, brief, caption, in_style, legend_below, picture, styles
from amm_opt.simulation import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLOSE = 0.01
"""Points closer than this part of what is drawn have their numbers together."""
RATIOS = (-0.05, 1.05)
"""Served ratios go from 0 to 1, with room for marks."""
LEAST = 1e-3
"""What an axis spans at least, as a served ratio or as a part of the energy: less is no difference to be seen."""


@in_style()
def draw_trade_off(comparison: Compared, per: str = "participant") -> Figure:
    """Energy not served over the lowest served ratio of either direction; lower and further right is better.

    Mechanisms that differ in one number only, such as ``fot`` in ``give``, are joined in its order, and the number
    stands beside each. Hollow marks broke limits.

    Args:
        per: the worst ``participant`` or ``feeder``.

    Raises:
        InputError: for anything else, or where nobody is compared.
    """
    if per not in PER:
        raise unknown("choice of per", str(per), PER)
    table = comparison.table
    level = table[f"worst_{per}_served"].astype(float)
    if level.isna().all():
        raise InputError(f"there is no worst {per}: nobody is compared")
    lost = (table["unserved_mwh"] + table["curtailed_mwh"]).astype(float)
    size, unit = energy_unit(lost)
    broken = (table["thermal_violations"] + table["voltage_violations"]) > 0
    figure = picture(8, 5)
    axes = figure.subplots()
    spread = max(LEAST, float(np.ptp(level.dropna()))), max(LEAST * lost.max(), float(np.ptp(lost))) / size
    joined = curves(comparison.runs)
    alone = [label for label in table.index if not any(label in numbers for _, _, numbers in joined)]
    colour = {label: style["color"] for label, style in styles(table.index, unlimited(comparison.runs)).items()}
    for k, (name, number, numbers) in enumerate(joined):
        members = sorted(numbers, key=numbers.__getitem__)
        points = pd.DataFrame({"x": level[members], "y": lost[members] / size})
        _marks(axes, points, broken[members], colour[members[0]], k, f"{name}, by {number}", line="-")
        _numbered(axes, points, numbers, spread)
    same = _alike(pd.DataFrame({"x": level, "y": lost / size}).loc[alone], spread)
    if same:
        axes.text(0.99, 0.98, same, transform=axes.transAxes, fontsize=7, ha="right", va="top", in_layout=False)
    for k, label in enumerate(alone, start=len(joined)):
        points = pd.DataFrame({"x": level[[label]], "y": lost[[label]] / size})
        _marks(axes, points, broken[[label]], colour[label], k, label, line="")
    axes.set(
        xlabel=f"served ratio of the worst {'LV feeder' if per == 'feeder' else per}", ylabel=f"not served, {unit}"
    )
    axes.grid(alpha=0.3)
    axes.margins(0.08)
    low, high = _wide(axes.get_xlim(), LEAST)
    axes.set_xlim(max(low, RATIOS[0]), min(high, RATIOS[1]))
    axes.set_ylim(_wide(axes.get_ylim(), LEAST * float(lost.max()) / size))
    legend_below(figure, axes)
    note = "; hollow: limits were broken" if broken.any() else ""
    figure.suptitle(f"{caption(comparison.case.name)}: energy against the worst-off{note}")
    return figure


def _alike(points: pd.DataFrame, spread: tuple[float, float]) -> str:
    """The labels of points that lie on each other, a line for each place."""
    near = (points / np.multiply(LEAST, spread)).round().dropna()
    groups = [list(map(brief, rows.index)) for _, rows in near.groupby(["x", "y"], sort=False)]
    return "\n".join(" = ".join(group) for group in groups if len(group) > 1)


def _wide(ends: tuple[float, float], least: float) -> tuple[float, float]:
    """The ends of an axis, further apart where they are closer than ``least``."""
    more = max(0.0, least - (ends[1] - ends[0])) / 2
    return ends[0] - more, ends[1] + more


def _numbered(axes: Axes, points: pd.DataFrame, numbers: Mapping[str, float], spread: tuple[float, float]) -> None:
    """The numbers beside their points, those of points that lie on each other together.

    Args:
        spread: of all points that are drawn, in both directions.
    """
    width, height = spread
    groups: list[tuple[float, float, list[str]]] = []
    for label, (x, y) in points.iterrows():
        text = f"{numbers[str(label)]:g}"
        near = [g for g in groups if abs(g[0] - x) <= CLOSE * width and abs(g[1] - y) <= CLOSE * height]
        if not near:
            groups.append((x, y, [text]))
        elif text not in near[0][2]:
            near[0][2].append(text)
    for k, (x, y, texts) in enumerate(groups):
        beside = (5, -11 if k % 2 else 5)
        axes.annotate(", ".join(texts), (x, y), xytext=beside, textcoords="offset points", fontsize=7)


def _marks(
    axes: Axes, points: pd.DataFrame, broken: pd.Series[bool], colour: str, k: int, label: str, line: str
) -> None:
    marker = MARKERS[k % len(MARKERS)]
    style: dict[str, Any] = {"color": colour, "lw": 1.2, "marker": marker, "ls": line, "ms": 7, "clip_on": False}
    axes.plot(points["x"], points["y"], label=caption(label), **style)
    hollow = points[broken.to_numpy()]
    if len(hollow):
        axes.plot(hollow["x"], hollow["y"], **{**style, "mfc": "white", "ls": "", "zorder": 3})


def curves(runs: dict[str, Run]) -> list[tuple[str, str, dict[str, float]]]:
    """Groups of mechanisms that differ in one number only: (name and the other parameters, parameter, by label)."""
    apart = {label: _parts(run) for label, run in runs.items()}
    found: list[tuple[str, str, dict[str, float]]] = []
    for parameter in dict.fromkeys(p for _, given in apart.values() for p in given):
        groups: dict[str, dict[str, float]] = {}
        for label, (name, given) in apart.items():
            number = _number(given.get(parameter, getattr(runs[label].known_mechanism, parameter, None)))
            if number is not None:
                groups.setdefault(_joined(name, (f"{k}={v}" for k, v in given.items() if k != parameter)), {})[
                    label
                ] = number
        taken = {label for _, _, numbers in found for label in numbers}
        found += [
            (name, parameter, numbers)
            for name, numbers in groups.items()
            if len(set(numbers.values())) > 1 and taken.isdisjoint(numbers)
        ]
    return found


def _joined(name: str, given: Iterable[str]) -> str:
    return ":".join(filter(None, (name, ",".join(given))))


def _parts(run: Run) -> tuple[str, dict[str, str]]:
    """Name (with how tiers are matched) and given parameters of a mechanism."""
    name, _, text = str(run.mechanism).partition(":")
    pairs = (piece.partition("=") for piece in text.split(",") if "=" in piece)
    return name if run.tiers == "joint" else f"{name}@{run.tiers}", {key: value for key, _, value in pairs}


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None
