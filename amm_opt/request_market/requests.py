"""Requests of households: so much power for so long, somewhere in a window."""

from __future__ import annotations

from dataclasses import dataclass

from amm_opt.errors import InputError
from amm_opt.fields import Checked

SLOT_H = 0.5
MOST_SLOTS = 47
"""The longest request: 23.5 h."""
TOP_PRICE = 265.0
"""Of the price curve, in pence per kWh."""
PRODUCTS = ("premium", "basic")
FLEXIBILITIES_H = (0, 1, 2, 3, 6, 9, 12, 24)


@dataclass(frozen=True)
class FlexibleRequest(Checked):
    """One request of arXiv 2407.20814.

    Args:
        household: who asks.
        earliest, latest: first slot in which it may run, and the slot before which it must have ended; slots are half
            hours, counted from the first of the problem.
        power_kw: constant while it runs.
        slots: how long it runs, 1 to 47 (23.5 h).
        max_price: the highest mean price that is paid, in p/kWh; 265 is the top of the curve, so that it never binds.
        product: ``premium`` or ``basic``.

    Raises:
        InputError: everything that is wrong with it at once.
    """

    household: str
    earliest: int
    latest: int
    power_kw: float
    slots: int
    max_price: float = TOP_PRICE
    product: str = "basic"

    def __post_init__(self) -> None:
        problems = []
        if not self.household:
            problems.append("household must not be empty")
        if self.earliest < 0:
            problems.append(f"earliest = {self.earliest} must not be negative")
        if self.latest < self.earliest:
            problems.append(f"the window ends at {self.latest}, before it begins at {self.earliest}")
        elif 1 <= self.slots <= MOST_SLOTS and self.latest - self.earliest < self.slots:
            problems.append(f"{self.slots} slots do not fit into the window from {self.earliest} to {self.latest}")
        if not 1 <= self.slots <= MOST_SLOTS:
            problems.append(f"slots = {self.slots} must be from 1 to {MOST_SLOTS}")
        if self.power_kw <= 0:
            problems.append(f"power_kw = {self.power_kw} must be above 0")
        if self.max_price < 0:
            problems.append(f"max_price = {self.max_price} must not be negative")
        if self.product not in PRODUCTS:
            problems.append(f"product = {self.product!r}; valid choices: {', '.join(PRODUCTS)}")
        if problems:
            raise InputError(problems, subject=f"request of {self.household!r}")

    @property
    def energy_kwh(self) -> float:
        """What it asks for."""
        return self.power_kw * self.slots * SLOT_H

    @property
    def sort_key(self) -> tuple[str, int, int, float, int, float, str]:
        """An order of requests that does not depend on how they were listed."""
        return self.household, self.earliest, self.latest, self.power_kw, self.slots, self.max_price, self.product
