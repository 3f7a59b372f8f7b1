"""Totals of a run, added up block by block, from which its summary columns are computed."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Self

import numpy as np

from amm_opt.arrays import DIRECTIONS, SIGN, BoolArray, FloatArray, IntArray
from amm_opt.cases import Requests
from amm_opt.grid import Grid
from amm_opt.market import Allocation
from amm_opt.network.excess import FlowState
from amm_opt.tolerances import SERVED_SLACK
from amm_opt.verification.violations import Violations

NUMBERS_AT_ONCE = 60_000
"""So many voltages of nodes are looked at together, which bounds memory."""


@dataclass
class Totals:
    """Running totals of one run.

    Attributes:
        requested_kwh, served_kwh: (2, n) energies of participants, import and export.
        revenue: import times its price minus export times its price; ``priced`` says whether there are prices.
        battery_kwh: (2,) what charged and what discharged batteries; None where they are idle.
        waiting_kwh: what sessions still wait for at the end; None where energy cannot wait.
        certified: intervals in which every use within what is served is proved to keep every limit; 0 on network
            models that hold no boxes.
        conic: whether the network model is a relaxation, which may be inexact.
        cuts: whether allocations may have been cut back.
        seconds: wall time.
    """

    requested_kwh: FloatArray
    served_kwh: FloatArray
    violations: Violations = field(default_factory=Violations)
    revenue: float = 0.0
    priced: bool = False
    battery_kwh: FloatArray | None = None
    steps: int = 0
    waiting_kwh: float | None = None
    certified: int = 0
    conic: bool = False
    cuts: bool = False
    seconds: float = 0.0

    @classmethod
    def empty(cls, n: int) -> Self:
        """Nothing yet, for n participants."""
        return cls(np.zeros((2, n)), np.zeros((2, n)))

    @property
    def requested_mwh(self) -> FloatArray:
        """(2,) import and export that was asked for."""
        return np.array([(kwh / 1000.0).sum() for kwh in self.requested_kwh])

    @property
    def lost_mwh(self) -> FloatArray:
        """(2,) of it, not served."""
        both = zip(self.requested_kwh, self.served_kwh, strict=True)
        return np.array([(asked / 1000.0 - served / 1000.0).sum() for asked, served in both])

    @property
    def battery_mwh(self) -> FloatArray | None:
        """(2,) what charged and what discharged batteries; None where they are idle."""
        return None if self.battery_kwh is None else self.battery_kwh / 1000.0

    def merge(self, other: Totals) -> None:
        """Add the totals of other intervals."""
        self.requested_kwh += other.requested_kwh
        self.served_kwh += other.served_kwh
        self.violations.merge(other.violations)
        self.revenue += other.revenue
        self.priced |= other.priced
        self._add_battery(other.battery_kwh)
        self.steps += other.steps
        self.certified += other.certified

    def _add_battery(self, kwh: FloatArray | None) -> None:
        if kwh is not None:
            self.battery_kwh = kwh if self.battery_kwh is None else self.battery_kwh + kwh

    def add(self, grid: Grid, requests: Requests, allocation: Allocation) -> None:
        """Account for a block: requests and allocation with (T, n) arrays."""
        self.steps += requests.n_steps
        for d, direction in enumerate(DIRECTIONS):
            served_kw, price = getattr(allocation, f"{direction}_kw"), getattr(allocation, f"{direction}_price")
            self.requested_kwh[d] += requests.request_kw(direction).sum(axis=0) * requests.dt_h
            self.served_kwh[d] += served_kw.sum(axis=0) * requests.dt_h
            if price is not None:
                self.revenue += SIGN[direction] * float(np.nansum(served_kw * price)) * requests.dt_h
                self.priced = True
        if allocation.battery_kw is not None:
            through = (np.maximum(sign * allocation.battery_kw, 0.0) for sign in (-1.0, 1.0))
            self._add_battery(np.array([float(kw.sum()) * requests.dt_h for kw in through]))
        self._count_violations(grid, requests, allocation)
        if grid.boxes:
            u = grid.quantities(requests, allocation.drawn_kw, allocation.injected_kw)
            of = grid.network.quantities
            self.certified += int(grid.within(u, (of.lower, of.upper), SERVED_SLACK).sum())

    def _count_violations(self, grid: Grid, requests: Requests, allocation: Allocation) -> None:
        """Intervals in which everything was served come to the same in every run, and are counted once."""
        full = np.ones(requests.n_steps, dtype=bool)
        for direction in DIRECTIONS:
            full &= np.all(getattr(allocation, f"{direction}_kw") == requests.request_kw(direction), axis=1)
        if allocation.battery_kw is not None:
            full &= ~np.any(allocation.battery_kw, axis=1)
        known: dict[bytes, Violations] = grid.once(requests, "violations where everything is served", dict)
        if (where := full.tobytes()) not in known:
            known.clear()
            known[where] = _counted(grid, requests, None, full)
        self.violations.merge(known[where])
        self.violations.merge(_counted(grid, requests, allocation, ~full))


def _counted(grid: Grid, requests: Requests, allocation: Allocation | None, which: BoolArray) -> Violations:
    """Limits that are broken in some of the intervals; with everything served where there is no allocation."""
    found, network = Violations(), grid.network
    length = max(1, NUMBERS_AT_ONCE // network.n_nodes)
    for steps in np.split(chosen := np.flatnonzero(which), range(length, len(chosen), length)):
        if not len(steps):
            continue
        some = requests.select(steps)
        drawn_kw = requests.import_request_kw if allocation is None else allocation.drawn_kw
        injected_kw = requests.export_request_kw if allocation is None else allocation.injected_kw
        state = grid.state(some, drawn_kw[steps], injected_kw[steps])
        found.add(network, state, partial(_inflexible, grid, some), requests.start + steps)
    return found


def _inflexible(grid: Grid, requests: Requests, which: IntArray) -> FlowState:
    """Voltages and flows under some rows of inflexible load alone."""
    return grid.state(requests.select(which), 0.0, 0.0)  # type: ignore[no-any-return]
