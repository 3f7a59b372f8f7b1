"""Allocations replayed by AC power flow: which limits they break, and how far the network model was off."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.cases import Requests
from amm_opt.grid import Grid
from amm_opt.market import Allocation
from amm_opt.network import ACState
from amm_opt.verification.violations import Violations


class PowerFlow(Protocol):
    """AC power flow of a feeder: by power-grid-model (``ACNetwork``) or on all wires (``FourWireNetwork``)."""

    def flow(self, p_kw: FloatArray, q_kvar: FloatArray) -> ACState:
        """Voltages and flows of (T, n_nodes) injections; NaN in intervals without a solution."""


@dataclass
class Difference:
    """Largest size and root mean square of what was added."""

    largest: float = 0.0
    squares: float = 0.0
    count: int = 0

    def add(self, values: FloatArray) -> None:
        """Take more values."""
        self.largest = max(self.largest, float(np.max(np.abs(values), initial=0.0)))
        self.squares += float(np.vdot(values, values))
        self.count += values.size

    @property
    def rms(self) -> float:
        """Root mean square; 0 of nothing."""
        return float(np.sqrt(self.squares / max(self.count, 1)))


@dataclass
class ReplayTotals:
    """What a replay by AC power flow shows, added up over blocks.

    Attributes:
        violations: counted as for the network model, on the AC state.
        voltage_error_pu: of the network model under the same injections, over all nodes but the source.
        flow_error: likewise of the loading of all rated branches, as a fraction of the rating.
        losses_kwh: series losses of all branches.
    """

    violations: Violations = field(default_factory=Violations)
    voltage_error_pu: Difference = field(default_factory=Difference)
    flow_error: Difference = field(default_factory=Difference)
    losses_kwh: float = 0.0

    def add(self, grid: Grid, wires: PowerFlow, requests: Requests, allocation: Allocation) -> None:
        """Replay a block of T intervals, (T, n) each.

        Losses are those of the intervals that have a power-flow solution, errors where the model has one as well.
        """
        model = grid.network

        def inflexible_only(which: IntArray) -> ACState:
            return wires.flow(*grid.at_nodes(requests.select(which), 0.0, 0.0))

        p, q = grid.at_nodes(requests, allocation.drawn_kw, allocation.injected_kw)
        ac = wires.flow(p, q)
        promised = grid.state(requests, allocation.drawn_kw, allocation.injected_kw)
        self.violations.add(model, ac, inflexible_only, requests.start + np.arange(requests.n_steps))
        self.losses_kwh += float(ac.loss_kw[ac.solved].sum()) * requests.dt_h
        both = ac.solved & ~np.isnan(promised.v_pu).any(axis=1)
        self.voltage_error_pu.add((promised.v_pu - ac.v_pu)[both, 1:])
        rated = np.flatnonzero(np.isfinite(model.rating_kva))
        difference = promised.loading_kva[:, rated] - ac.loading_kva[:, rated]
        self.flow_error.add(difference[both] / model.rating_kva[rated])
