"""What a run says of its prices: what set them, and what everybody pays."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd

from amm_opt.cases import Case
from amm_opt.errors import InputError
from amm_opt.grid import Grid
from amm_opt.margins import Margin
from amm_opt.market import Allocation, Mechanism, Payments, Settlement
from amm_opt.market.settlement import BY
from amm_opt.network import NetworkModel
from amm_opt.registry import mechanism, model_of
from amm_opt.simulation.explanation.price_layers import BLOCK_STEPS, PriceSources, counted, has_layers, prices_of
from amm_opt.simulation.shared import merged_grid, needs_all_buses
from amm_opt.simulation.stored.difference import WIRES
from amm_opt.simulation.stored.record import Recorded

if TYPE_CHECKING:
    from amm_opt.simulation.stored.store import RunStore


class Priced:
    """What a run has in order to speak of its prices."""

    case: Case
    mechanism: Mechanism[Any]
    network: str
    times: pd.DatetimeIndex
    first: int
    store: RunStore
    waits: bool
    model: Any
    margin: Margin | str | None
    manifest: dict[str, Any]
    tiers: str

    @property
    def allocation(self) -> Allocation:
        """(T, n) served import, accepted export, prices and battery powers.

        Of large runs in a folder they are read as far as they are looked at: ``run.allocation.select(slice(0, 48))``.
        """
        return self.store.allocation()

    @property
    def planned(self) -> Allocation | None:
        """What was planned on forecasts or measurements, (T, n) powers; None where everything was known beforehand."""
        return self.store.planned()

    def chosen(self, steps: int | str | slice | None) -> tuple[int, int]:
        """The first of some of the run's intervals within the case, and one past the last."""
        last = self.first + len(self.times)
        if isinstance(steps, int):
            steps = slice(self.first, self.first + steps)
        start, stop = (self.first, last) if steps is None else self.case.span(steps)
        if not self.first <= start < stop <= last:
            raise InputError(f"steps = {steps!r} is not inside the run, {self.times[0]} to {self.times[-1]}")
        return start, stop

    def prices(self, steps: int | str | slice | None = None, *, network: Any = None) -> pd.DataFrame:
        """Everybody's price in every interval and direction, and what set it: a row each.

        Columns: ``time``, ``participant``, ``direction`` and ``price_per_kwh``. Where prices follow from deficits
        (``amm``) also ``deficit``, and the ``layer``, its ``area``, the ``limit`` (bus or branch) and its ``kind`` that
        the price was inherited from, empty without a deficit. They are worked out again from what was asked for.

        Args:
            steps: which of the run's intervals, as for :meth:`voltages`; a year of a large case has many rows.
            network: as for ``verify``.

        Raises:
            InputError: without prices; where energy could wait or plans were made on forecasts, of which a run does not
                keep what its prices were made from.
        """
        start, stop = self.chosen(steps)
        sources = self._price_sources(network) if has_layers(self.known_mechanism) else None
        if not self.priced:
            raise InputError(f"{self.mechanism} sets no prices")
        at = slice(start - self.first, stop - self.first)
        return prices_of(self.case, start, self.times[at], self.allocation.select(at), sources)

    def price_layers(self, *, network: Any = None, progress: Callable[[int, int], None] | None = None) -> pd.DataFrame:
        """Which layer and limit set how many prices: a row for each limit and direction, and for none.

        Columns: ``direction``, ``layer``, ``area``, ``limit``, ``kind``; ``intervals`` in which it set somebody's
        price; ``share_pct`` of all pairs of a participant and an interval; ``inside_pct`` of these, whose participant
        lies in the area itself, and not elsewhere with a share in its voltage; ``mean_price``, ``lowest_price`` and
        ``highest_price``; ``by_hour`` and ``by_month``, 24 and 12 numbers of pairs.

        Args:
            network, progress: as for :meth:`explain`.

        Raises:
            InputError: as :meth:`prices`, and where prices do not follow from deficits of limits.
        """
        if not has_layers(self.known_mechanism):
            raise InputError(f"prices of {self.mechanism} do not follow from deficits; see ao.price_parts")
        sources = self._price_sources(network)
        return counted(self.case, self.first, self.times, self.allocation, sources, progress)

    @property
    def known_margin(self) -> Margin | None:
        """The margin of limits.

        Raises:
            InputError: where it was made of arrays, which a run on disk does not keep.
        """
        if isinstance(self.margin, str):
            raise InputError(f"the arrays of the margin {self.margin} are not kept with the run")
        return self.margin

    def _price_sources(self, network: Any) -> PriceSources:
        if not self.keeps_requests:
            raise InputError("what prices were made from is not kept where energy could wait, or plans were made")
        return PriceSources(self.program_grid(network), self.known_mechanism)

    def network_model(self, network: Any = None) -> NetworkModel:
        """The network model that the run was made with.

        Args:
            network: as for ``verify``.

        Raises:
            InputError: where it is not known any more, or another one is given.
        """
        return model_of(self.case, self.network, self.model if network is None else network)

    def program_grid(self, network: Any = None) -> Grid:
        """The grid that the run's programs were on: without the buses that follow from others, where they had none.

        Args:
            network: as for ``verify``.

        Raises:
            InputError: as :attr:`known_margin`, and where the network model is unknown.
        """
        whole, stop = Grid(self.case, self.network_model(network), self.known_margin), self.first + len(self.times)
        inputs = self.manifest.get("inputs", {})
        secure = inputs.get("ac") == "secure"
        if needs_all_buses(
            all_wires=secure and WIRES in inputs, two_tiers=self.tiers == "two", planned=self.planned is not None
        ):
            return whole
        return merged_grid(whole, self.first, stop, waits=self.waits, secure=secure) or whole

    def settlement(
        self,
        steps: int | str | slice | None = None,
        *,
        recover: float | None = None,
        by: str = BY[0],
        source_price: float | None = None,
    ) -> Settlement:
        """What everybody pays at the run's prices, and what is left to the operator (docs/settlement.md).

        Args:
            steps: which of the run's intervals, as for :meth:`voltages`.
            recover: what the operator is to have left, in currency; what is missing is charged, what is too much is
                given back.
            by: ``participant`` for equal charges, ``energy`` in proportion to served import and export.
            source_price: of a kWh at the source, for what the operator pays there.

        Raises:
            InputError: without prices, for wrong arguments, and where batteries took part in a run from disk whose
                mechanism is not installed.
        """
        start, stop = self.chosen(steps)
        payments, bounds = self.payments, self.known_mechanism.price_bounds
        allocation = self.allocation
        places = range(start - self.first, stop - self.first, BLOCK_STEPS)
        parts = (allocation.select(slice(k, min(k + BLOCK_STEPS, stop - self.first))) for k in places)
        rules: dict[str, Any] = {"payments": payments, "recover": recover, "by": by, "source_price": source_price}
        return Settlement.of(self.case, parts, bounds, first=start, **rules)

    @property
    def payments(self) -> Payments:
        """How the mechanism pays for batteries and reserve.

        Raises:
            InputError: without prices, and where batteries took part in a run from disk whose mechanism is not
                installed.
        """
        if not self.priced:
            raise InputError(f"{self.mechanism} sets no prices: there is nothing to settle")
        known = self.known_mechanism
        if isinstance(known, Recorded) and "battery_kw" in self.store.fields:
            raise InputError(f"{known} is not installed: how it pays for batteries is not known")
        return known.payments

    @property
    def priced(self) -> bool:
        """Whether there are prices."""
        return not self.store.fields.isdisjoint(("import_price", "export_price"))

    @property
    def keeps_requests(self) -> bool:
        """Whether what was asked for in each interval is known: no energy could wait, and no plan was made."""
        return not self.waits and self.planned is None

    @cached_property
    def known_mechanism(self) -> Mechanism[Any]:
        """The mechanism itself, also of a run that was read from disk, as far as it is installed."""
        if not isinstance(self.mechanism, Recorded):
            return self.mechanism
        try:
            return mechanism(str(self.mechanism))
        except InputError:
            return self.mechanism
