"""What stands behind ``case.plot``, ``run.plot`` and ``comparison.plot``: every picture that can be made of them.

Each gives a figure of matplotlib, or of plotly where ``interactive`` is asked for; ``figure.savefig(path)`` writes it.
All raise ``InputError`` where what draws is not installed.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd

from amm_opt.cases import Case
from amm_opt.errors import InputError
from amm_opt.pictures.compared.panels import Compared, draw_comparison
from amm_opt.pictures.compared.served import draw_served
from amm_opt.pictures.compared.trade_off import draw_trade_off
from amm_opt.pictures.network.interactive import draw_interactive
from amm_opt.pictures.network.maps import draw_case, draw_map
from amm_opt.pictures.network.values import values_of
from amm_opt.pictures.over_time.days import draw_day
from amm_opt.pictures.over_time.duration import draw_loading, draw_prices_sorted
from amm_opt.pictures.over_time.months import draw_months
from amm_opt.pictures.over_time.prices import draw_prices
from amm_opt.pictures.readings import Energies, energies, network_use, unlimited
from amm_opt.simulation import Run
from amm_opt.simulation.explanation.price_layers import has_layers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OF_DURATION = ("loading", "price")


class CasePictures:
    """Pictures of a case."""

    def __init__(self, case: Case) -> None:
        self._case = case

    def __call__(self, *, layout: str | None = None, interactive: bool = False) -> Any:
        """The network: tiers, transformers, the source, and the buses with participants.

        Args:
            layout: ``coordinates`` or ``tree``; by default coordinates where more than half of the buses have some.
            interactive: a map of plotly to move about in, which tells about what is pointed at.
        """
        if interactive:
            return draw_interactive(self._case, None, self._case.name, layout)
        return draw_case(self._case, layout)


class RunPictures:
    """Pictures of a run; ``steps`` and ``network`` are as for ``Run.voltages``."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __call__(self) -> Figure:
        """:meth:`day`: the scarcest one."""
        return self.day()

    def day(self, date: str | pd.Timestamp | None = None) -> Figure:
        """Who gets what over a day: power, and the served ratio of every LV feeder (or participant) in every interval.

        Args:
            date: by default the day on which most energy is not served.
        """
        return draw_day(self._run, date)

    def map(
        self,
        what: str = "served",
        *,
        direction: str = "import",
        steps: int | str | slice | None = None,
        layout: str | None = None,
        interactive: bool = False,
        network: Any = None,
    ) -> Any:
        """The network, coloured by what the run made of it.

        Args:
            what: ``served`` (energy served over requested, of the participants of each bus), ``loading`` (the highest
                of each branch, % of its rating, or of its limit of active power where that is closer), ``voltage``
                (the one closest to a limit of the band), ``price`` (mean over intervals and participants) or
                ``deficit`` (what limits cannot carry of what is asked for, see ``ao.deficits``; mean over the
                intervals in which something is scarce).
            direction: of served ratios, prices and deficits.
            layout, interactive: as for ``case.plot``.
        """
        values = values_of(self._run, what, direction, steps, network)
        title = f"{self._run.mechanism} on {self._run.case.name}, {self._span(steps)}"
        if interactive:
            return draw_interactive(self._run.case, values, title, layout)
        return draw_map(self._run.case, values, title, layout)

    def months(self, per: str | None = None) -> Figure:
        """1 - Jain's index and 1 - the lowest served ratio of every month, on a logarithmic axis."""
        return draw_months({str(self._run.mechanism): self._energies}, per)

    def served(self, per: str = "participant") -> Figure:
        """Distribution of served ratios over participants or LV feeders."""
        return draw_served({str(self._run.mechanism): self._energies}, per)

    def duration(self, what: str = "loading", *, steps: int | str | slice | None = None, network: Any = None) -> Figure:
        """The most loaded branch (``loading``) or the mean price (``price``) of every interval, sorted."""
        return _duration({str(self._run.mechanism): self._run}, what, steps, network)

    def prices(self, *, network: Any = None) -> Figure:
        """The mean price by hour and month, and, where prices follow from deficits, which layers set them when."""
        run = self._run
        known = has_layers(run.known_mechanism) and run.keeps_requests
        return draw_prices(run, run.price_layers(network=network) if known else None)

    @cached_property
    def _energies(self) -> Energies:
        return energies({"": self._run})[""]

    def _span(self, steps: int | str | slice | None) -> str:
        start, stop = self._run.chosen(steps)
        times, dt = self._run.case.times, pd.Timedelta(hours=self._run.case.dt_h)
        return f"{times[start]:%d %b %Y %H:%M} to {times[stop - 1] + dt:%d %b %Y %H:%M}"


class ComparisonPictures:
    """Pictures of several mechanisms side by side."""

    def __init__(self, comparison: Compared) -> None:
        self._comparison = comparison

    def __call__(self) -> Figure:
        """Four panels: the scarcest evening and noon, energy not served, fairness so far."""
        return draw_comparison(self._comparison)

    def months(self, per: str | None = None) -> Figure:
        """As :meth:`RunPictures.months`, a curve for each mechanism."""
        return draw_months(self.energies, per, unlimited(self._comparison.runs))

    def served(self, per: str = "participant") -> Figure:
        """Distribution of served ratios over participants or LV feeders, a curve for each mechanism."""
        return draw_served(self.energies, per, unlimited(self._comparison.runs))

    def trade_off(self, per: str = "participant") -> Figure:
        """Energy not served against the lowest served ratio; mechanisms that differ in one number are joined."""
        return draw_trade_off(self._comparison, per)

    def duration(self, what: str = "loading", *, steps: int | str | slice | None = None, network: Any = None) -> Figure:
        """As :meth:`RunPictures.duration`, a curve for each mechanism."""
        return _duration(self._comparison.runs, what, steps, network)

    @cached_property
    def energies(self) -> dict[str, Energies]:
        """By label: requested and served energy of everybody by month."""
        return energies(self._comparison.runs)


def _duration(runs: dict[str, Run], what: str, steps: int | str | slice | None, network: Any) -> Figure:
    if what not in OF_DURATION:
        raise InputError(f"what = {what!r}; valid choices: {', '.join(OF_DURATION)}")
    if what == "price":
        if steps is not None:
            raise InputError("prices are sorted over the whole run: leave steps out")
        return draw_prices_sorted(runs)
    loading = {}
    for label, run in runs.items():
        start, stop = run.chosen(steps)
        loading[label] = network_use(run, [(start - run.first, stop - run.first)], network).loading
    return draw_loading(loading, beside=unlimited(runs))
