"""Maps to move about in and point at (needs plotly, the ``interactive`` extra)."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import numpy as np

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.cases import Case
from amm_opt.errors import InputError, counted
from amm_opt.io.text import plain
from amm_opt.network import Feeder
from amm_opt.pictures.network.layout import Layout, laid_out
from amm_opt.pictures.network.maps import TIERS, TRANSFORMER, kinds
from amm_opt.pictures.network.values import Values, at_bus
from amm_opt.pictures.style import BEYOND, DIVERGING, SCALE, UNKNOWN, in_style

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SHADES = 12
"""Branches are coloured in so many steps: a trace each."""


def draw_interactive(case: Case, values: Values | None, title: str, layout: str | None = None) -> Figure:
    """The network; names, limits and numbers are told where it is pointed at.

    Raises:
        InputError: where plotly is not installed.
    """
    try:
        from plotly.graph_objects import Figure
    except ImportError as error:
        raise InputError("interactive maps need plotly: pip install 'amm-opt[interactive]'") from error
    feeder, placed = case.feeder, laid_out(case.feeder, layout)
    figure = Figure()
    if values is not None and values.of == "branch":
        _shaded(figure, placed, values)
    else:
        kind = np.array(kinds(feeder))[placed.branches]
        for name, colour in (*TIERS.items(), ("transformer", TRANSFORMER)):
            _trace(figure, placed, np.flatnonzero(kind == name), colour if values is None else UNKNOWN, name)
    _pointed_at(figure, feeder, placed, values)
    _buses(figure, case, placed, values)
    tree = placed.kind == "tree"
    axis = {"showgrid": False, "zeroline": False}
    figure.update_layout(
        title=_text(title),
        template="plotly_white",
        hovermode="closest",
        xaxis={**axis, "title": "branches from the source" if tree else "x, as in the table of buses"},
        yaxis={**axis, "title": "" if tree else "y, as in the table of buses", "showticklabels": not tree}
        | ({} if tree else {"scaleanchor": "x"}),
        legend={"orientation": "h"},
    )
    return figure


def _text(text: object) -> str:
    return html.escape(plain(text))


@in_style()
def _shaded(figure: Figure, placed: Layout, values: Values) -> None:
    """Branches by steps of the scale, and apart what is beyond it and what has no number."""
    import matplotlib as mpl
    from matplotlib.colors import to_hex

    shades = mpl.colormaps[SCALE]
    mine = values.values[placed.branches]
    step = (mine - values.low) / (values.high - values.low) * SHADES
    _trace(figure, placed, np.flatnonzero(np.isnan(mine)), UNKNOWN, "no limit")
    for k in range(SHADES):
        within = np.flatnonzero((np.minimum(step, SHADES - 1e-9).astype(float) // 1 == k) & (mine <= values.high))
        low, high = (values.low + (values.high - values.low) * e / SHADES for e in (k, k + 1))
        _trace(figure, placed, within, to_hex(shades((k + 0.5) / SHADES)), f"{low:.3g} to {high:.3g} {values.unit}")
    _trace(figure, placed, np.flatnonzero(mine > values.high), BEYOND, f"above {values.high:g} {values.unit}")


def _trace(figure: Figure, placed: Layout, which: IntArray, colour: str, name: str) -> None:
    """Branches as one line with gaps."""
    if not len(which):
        return
    courses = placed.courses[which]
    gaps = np.concatenate([courses, np.full((len(which), 1, 2), np.nan)], axis=1).reshape(-1, 2)
    line = {"color": colour, "width": 1.5}
    figure.add_scatter(x=gaps[:, 0], y=gaps[:, 1], mode="lines", line=line, name=name, hoverinfo="skip")


def _pointed_at(figure: Figure, feeder: Feeder, placed: Layout, values: Values | None) -> None:
    """Branches are told about at their middle."""
    middle = placed.courses[:, -2:].mean(axis=1)
    texts = []
    for b in placed.branches.tolist():
        rating = feeder.rating_kva[b]
        text = f"branch {_text(feeder.branch_names[b])}<br>{'no rating' if np.isinf(rating) else f'{rating:g} kVA'}"
        told = values is not None and values.of == "branch"
        texts.append(f"{text}<br>{_text(values.title)}: {values.text(b)}" if told and values is not None else text)
    marker = {"size": 6, "color": "rgba(0,0,0,0)"}
    _points(figure, middle, texts, marker, "branches")


def _buses(figure: Figure, case: Case, placed: Layout, values: Values | None) -> None:
    feeder, people = case.feeder, at_bus(case, np.ones(case.n_participants))
    own = values if values is not None and values.of == "bus" else None
    texts = [
        f"bus {_text(name)}<br>{counted(int(people[i]), 'participant')}"
        + (f"<br>{_text(own.title)}: {own.text(i)}" if own is not None else "")
        for i, name in enumerate(feeder.bus_names)
    ]
    size, known = np.where(people > 0, 6, 3), np.zeros(feeder.n_buses, dtype=bool)
    if own is not None:
        known = ~np.isnan(own.values)
        scale = {
            "colorscale": SCALE.capitalize() if own.middle is None else DIVERGING,
            "colorbar": {"title": own.label},
        }
        marker = {"size": size[known], "color": own.values[known], "cmin": own.low, "cmax": own.high, **scale}
        _points(figure, placed.xy[known], [texts[i] for i in np.flatnonzero(known).tolist()], marker, "buses")
    marker = {"size": size[~known], "color": "#333333" if own is None else UNKNOWN}
    _points(figure, placed.xy[~known], [texts[i] for i in np.flatnonzero(~known).tolist()], marker, "other buses")
    figure.add_scatter(
        x=placed.xy[:1, 0], y=placed.xy[:1, 1], mode="markers", name="source", hoverinfo="skip",
        marker={"size": 11, "symbol": "square", "color": "black"},
    )  # fmt: skip


def _points(figure: Figure, at: FloatArray, texts: list[str], marker: dict[str, Any], name: str) -> None:
    hover = {"hovertemplate": "%{text}<extra></extra>", "text": texts}
    figure.add_scatter(x=at[:, 0], y=at[:, 1], mode="markers", marker=marker, name=name, showlegend=False, **hover)
