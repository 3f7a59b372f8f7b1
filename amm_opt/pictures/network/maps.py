"""Maps of a network: how it hangs together, and what a run made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amm_opt.arrays import BoolArray, IntArray
from amm_opt.cases import Case
from amm_opt.errors import counted
from amm_opt.io.text import plain
from amm_opt.network import Feeder
from amm_opt.pictures.network.layout import Layout, laid_out
from amm_opt.pictures.network.values import Values, at_bus
from amm_opt.pictures.style import BEYOND, COLOURS, DIVERGING, SCALE, UNKNOWN, caption, in_style, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure

TIERS = {"MV": COLOURS[7], "LV": COLOURS[5]}
TRANSFORMER = COLOURS[1]
LEAST_WIDTH = 0.35
MANY = 400
"""A network with more buses is drawn with thinner lines."""


@in_style()
def draw_case(case: Case, layout: str | None = None) -> Figure:
    """The network of a case: its tiers, transformers, source, and where how many participants are."""
    feeder, placed = case.feeder, laid_out(case.feeder, layout)
    figure, axes = _empty(placed)
    kind = np.array(kinds(feeder))[placed.branches]
    for name, colour in (*TIERS.items(), ("transformer", TRANSFORMER)):
        mine = kind == name
        if mine.any():
            _branches(axes, placed, mine, colour, _width(feeder) * (2.5 if name != "LV" else 1.0), name)
    people = at_bus(case, np.ones(case.n_participants))
    some = people > 0
    size = 12.0 * np.sqrt(people[some] / people.max()) * (1.0 if feeder.n_buses <= MANY else 0.3)
    axes.scatter(
        placed.xy[some, 0], placed.xy[some, 1], s=size, color=COLOURS[2], label="bus with participants", zorder=3
    )
    _source(axes, placed)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    _framed(axes, placed)
    limited = ", ".join(
        (
            counted(feeder.n_buses, "bus", "buses"),
            counted(case.n_participants, "participant"),
            counted(len(feeder.lv_feeders), "LV feeder"),
        )
    )
    figure.suptitle(f"{caption(case.name)}: {limited}")
    return figure


@in_style()
def draw_map(case: Case, values: Values, title: str, layout: str | None = None) -> Figure:
    """The network, coloured by numbers of its buses or branches."""
    from matplotlib.cm import ScalarMappable

    feeder, placed = case.feeder, laid_out(case.feeder, layout)
    figure, axes = _empty(placed)
    colours, norm = scale(values)
    width = _width(feeder)
    if values.of == "branch":
        chosen = values.values[placed.branches]
        order = np.argsort(np.nan_to_num(chosen, nan=-np.inf), kind="stable")
        shades = colours(norm(np.ma.masked_invalid(chosen[order])))
        widths = np.where(np.isnan(chosen[order]), width, 2.5 * width)
        _branches(axes, placed, order, shades, widths, "")
    else:
        _branches(axes, placed, np.ones(len(placed.branches), dtype=bool), UNKNOWN, width, "")
        known = np.flatnonzero(~np.isnan(values.values))
        order = known[np.argsort(-values.values[known], kind="stable")]
        size = 18.0 if feeder.n_buses <= MANY else 5.0
        x, y = placed.xy[order].T
        axes.scatter(x, y, s=size, c=values.values[order], cmap=colours, norm=norm, lw=0, zorder=3)
    _source(axes, placed)
    beyond = np.any(values.values > values.high), np.any(values.values < values.low)
    extend = {(True, True): "both", (True, False): "max", (False, True): "min"}.get(
        (bool(beyond[0]), bool(beyond[1])), "neither"
    )
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=axes, extend=extend, shrink=0.8)
    bar.set_label(values.label)
    _framed(axes, placed)
    figure.suptitle(plain(title))
    return figure


def kinds(feeder: Feeder) -> list[str]:
    """Of every branch ``transformer``, or the tier of the bus that it feeds; entry 0 is empty."""
    tiers = [feeder.tier[k] for k in feeder.ends[1]]
    found = [
        "transformer" if kind == "transformer" else tier for kind, tier in zip(feeder.branch_kind, tiers, strict=True)
    ]
    return ["", *found[1:]]


def scale(values: Values) -> tuple[Colormap, Normalize]:
    """Colours, and where in them a number is."""
    import matplotlib as mpl
    from matplotlib.colors import Normalize, TwoSlopeNorm

    turns = values.middle is not None
    beyond = COLOURS[7] if turns else BEYOND
    colours = mpl.colormaps[DIVERGING if turns else SCALE].with_extremes(bad=UNKNOWN, over=beyond, under=beyond)
    if values.middle is None:
        return colours, Normalize(values.low, values.high)
    return colours, TwoSlopeNorm(values.middle, values.low, values.high)


def _empty(placed: Layout) -> tuple[Figure, Axes]:
    figure = picture(9.0, 6.0)
    axes = figure.subplots()
    if placed.kind == "coordinates":
        axes.set_aspect("equal", adjustable="datalim")
    return figure, axes


def _width(feeder: Feeder) -> float:
    return 0.9 if feeder.n_buses <= MANY else LEAST_WIDTH


def _branches(axes: Axes, placed: Layout, which: IntArray | BoolArray, colours: Any, widths: Any, label: str) -> None:
    from matplotlib.collections import LineCollection

    drawn = LineCollection(list(placed.courses[which]), colors=colours, linewidths=widths, label=label or None)
    drawn.set_rasterized(len(placed.branches) > MANY)
    axes.add_collection(drawn)


def _source(axes: Axes, placed: Layout) -> None:
    axes.plot(*placed.xy[0], "s", color="black", ms=7, zorder=4)
    axes.annotate("source", placed.xy[0], xytext=(0, 8), textcoords="offset points", ha="center", fontsize=8, zorder=4)


def _framed(axes: Axes, placed: Layout) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.autoscale_view()
    axes.margins(0.03)
    if placed.kind == "tree":
        axes.set(xlabel="branches from the source", yticks=[])
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        axes.set(xlabel="x, as in the table of buses", ylabel="y, as in the table of buses")
