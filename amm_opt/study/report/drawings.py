"""Pictures of a page: drawn once, as SVG that takes the colours of the page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from io import StringIO
from typing import TYPE_CHECKING

import numpy as np

from amm_opt.errors import InputError
from amm_opt.io.text import plain
from amm_opt.pictures.compared.panels import draw_comparison
from amm_opt.pictures.compared.served import draw_served
from amm_opt.pictures.compared.trade_off import draw_trade_off
from amm_opt.pictures.network.maps import draw_map
from amm_opt.pictures.network.values import highest_loading
from amm_opt.pictures.over_time.days import draw_day
from amm_opt.pictures.over_time.duration import draw_loading, draw_prices_sorted
from amm_opt.pictures.over_time.months import draw_months
from amm_opt.pictures.over_time.prices import draw_prices
from amm_opt.pictures.readings import Energies, NetworkUse, unlimited
from amm_opt.simulation import Run
from amm_opt.study.comparison import Comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110
"""Of what is drawn in dots: maps and tables of colours."""
POINTS_PER_INCH = 104
"""How large a picture is on a wide page, so that letters are of one size in all."""
SAME = 5e-4
"""Served ratios closer than this are the same in tables."""
BLACK, WHITE = re.compile("#000000|\\bblack\\b"), re.compile("#ffffff|\\bwhite\\b")


@dataclass(frozen=True)
class Drawing:
    """A picture with its title, what it shows, and the SVG."""

    name: str
    title: str
    about: str
    svg: str


def drawings(
    result: Comparison, energies: dict[str, Energies], use: Mapping[str, NetworkUse], days: str
) -> Iterator[Drawing]:
    """Every picture that can be made of a comparison.

    Args:
        use: by label, what the network carried in some intervals.
        days: which these are, in words.
    """
    runs, beside = result.runs, unlimited(result.runs)
    kept = {label: run for label, run in runs.items() if label not in beside} or runs
    plans: list[tuple[str, str, str, Callable[[], Figure]]] = [
        ("panels", "Side by side", "Scarcest evening and noon, energy not served, and Jain's index of feeders so far",
         lambda: draw_comparison(result)),
        *([] if len(runs) == 1 else [("trade-off", "Energy against the worst-off", "Lower and further right is better",
         lambda: draw_trade_off(result))]),
        ("served", "Who got what", "Which part of the participants was served at most so much of its requests",
         lambda: draw_served(energies, beside=beside)),
        ("months", "Fairness by month", "What is missing to an equal share, and to the full service of the worst-off",
         lambda: draw_months(energies, beside=beside)),
        ("loading", "How loaded the network was", f"The most loaded branch of each interval, sorted; {days}",
         lambda: draw_loading({label: u.loading for label, u in use.items()}, days, beside)),
    ]  # fmt: skip
    which = "that keep limits" if len(kept) < len(runs) else "mechanisms"
    for k, (label, why) in enumerate(_in_focus(kept, which).items()):
        plans += [
            (f"day-{k}", f"A day of {label}", f"The day on which it leaves most unserved{why}",
             partial(draw_day, kept[label])),
            (f"map-{k}", f"Where the network was loaded: {label}", f"The highest loading of each branch; {days}",
             partial(_map, result, label, use[label])),
        ]  # fmt: skip
    priced = {label: run for label, run in runs.items() if run.priced}
    if priced:
        plans.append(("prices", "Prices, sorted", "Mean over all participants in each interval",
                      lambda: draw_prices_sorted(priced)))  # fmt: skip
        label = list(priced)[-1]
        plans.append(("calendar", f"Prices of {label} by hour and month", "Mean over all participants",
                      lambda: draw_prices(priced[label])))  # fmt: skip
    for name, title, about, draw in plans:
        try:
            yield Drawing(name, plain(title), plain(about), svg_of(draw(), name))
        except InputError as error:
            yield Drawing(name, plain(title), plain(f"Not drawn: {error}"), "")


def _in_focus(runs: Mapping[str, Run], which: str) -> dict[str, str]:
    """The mechanisms whose worst-off participant is served worst and best, and why they are looked at.

    Args:
        which: they are, in words.
    """
    level = {
        label: float(np.nan_to_num(run.summary["worst_participant_served"], nan=1.0)) for label, run in runs.items()
    }
    low, high = min(level, key=level.__getitem__), max(level, key=level.__getitem__)
    if len(level) == 1:
        return {high: ""}
    if level[high] - level[low] < SAME:
        return {high: "; the worst-off participants of all are served alike"}
    has = f"; of all {which}, its worst-off participant is served"
    return {high: f"{has} best", low: f"{has} worst"}


def _map(result: Comparison, label: str, use: NetworkUse) -> Figure:
    return draw_map(result.case, highest_loading(use), f"{label} on {result.case.name}")


def svg_of(figure: Figure, name: str) -> str:
    """A figure as a part of a page: names apart from those of other pictures, black and white as those of the page."""
    file = StringIO()
    figure.savefig(file, format="svg", dpi=DPI, transparent=True)
    svg = file.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]*)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(href=")#', rf"\1#{name}-", svg)
    svg = re.sub(r"url\(#", rf"url(#{name}-", svg)
    width = round(POINTS_PER_INCH * figure.get_figwidth())
    start = f'<svg style="max-width: {width}px" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="'
    svg = re.sub(r'^<svg [^>]*?viewBox="', start, svg).replace(' version="1.1"', "", 1)
    parts = re.split(r"(data:image/png;base64,[^\"]*|>[^<]*<)", svg)
    parts[::2] = [WHITE.sub("var(--paper)", BLACK.sub("currentColor", part)) for part in parts[::2]]
    return "".join(parts)
