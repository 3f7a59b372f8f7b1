"""Limits that an outcome breaks: how many, by how much, and which of them no outcome could keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from amm_opt.arrays import BoolArray, FloatArray, IntArray
from amm_opt.network import NetworkModel
from amm_opt.network.excess import FlowState, Unavoidable, excesses
from amm_opt.tolerances import THERMAL_VIOLATION, VOLTAGE_VIOLATION_PU


@dataclass
class Violations:
    """Counts of (element, interval) pairs beyond their limit.

    Attributes:
        thermal: avoidable pairs above a rating; ``largest_thermal`` is their largest excess, as a fraction of it.
        voltage: avoidable pairs outside a voltage band; ``largest_voltage_pu`` is their largest distance from it.
        unavoidable: pairs that inflexible load only has beyond their limit, by no less; ``elements`` says of which
            elements.
        unsolved: intervals without a power-flow solution (NaN), which have no pairs.
    """

    thermal: int = 0
    voltage: int = 0
    unavoidable: int = 0
    unsolved: int = 0
    largest_thermal: float = 0.0
    largest_voltage_pu: float = 0.0
    elements: Unavoidable | None = None

    def merge(self, other: Violations) -> None:
        """Add the counts of other intervals."""
        for name in ("thermal", "voltage", "unavoidable", "unsolved"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("largest_thermal", "largest_voltage_pu"):
            setattr(self, name, max(getattr(self, name), getattr(other, name)))
        if other.elements is not None:
            self.elements = other.elements.plus(self.elements)

    def add(self, limits: NetworkModel, state: FlowState, inflexible_only: Callable[[IntArray], FlowState]) -> None:
        """Count a block of T intervals.

        Args:
            limits: of the nodes, without limit at the source.
            state: voltages and flows, (T, n_nodes) each.
            inflexible_only: gives the same with inflexible load only, for the intervals of the given numbers.
        """
        self.unsolved += int(np.isnan(state.v_pu).any(axis=1).sum())
        largest = [np.nanmax(e, axis=1, initial=0.0) for e in excesses(limits, state)]
        beyond = np.flatnonzero((largest[0] > THERMAL_VIOLATION) | (largest[1] > VOLTAGE_VIOLATION_PU))
        if len(beyond) == 0:
            return
        without = excesses(limits, inflexible_only(beyond))
        outcome = [e[beyond] for e in excesses(limits, state)]
        pairs = []
        for excess, before, tolerance in zip(outcome, without, (THERMAL_VIOLATION, VOLTAGE_VIOLATION_PU), strict=True):
            over = excess > tolerance
            pairs.append((excess, over, over & (before > 0) & (excess <= before + tolerance)))
        (thermal, voltage), (by, by_pu) = zip(*(_avoidable(*pair) for pair in pairs), strict=True)
        self.thermal += thermal
        self.voltage += voltage
        self.largest_thermal = max(self.largest_thermal, by)
        self.largest_voltage_pu = max(self.largest_voltage_pu, by_pu)
        found = Unavoidable(
            *(unavoidable.sum(axis=0) for _, _, unavoidable in pairs),
            *(np.max(excess, axis=0, where=unavoidable, initial=0.0) for excess, _, unavoidable in pairs),
        )
        if found.count:
            self.unavoidable += found.count
            self.elements = found.plus(self.elements)


def _avoidable(excess: FloatArray, over: BoolArray, unavoidable: BoolArray) -> tuple[int, float]:
    """How many pairs are beyond their limit without having to, and the largest excess among them."""
    avoidable = over & ~unavoidable
    return int(avoidable.sum()), float(np.max(excess, where=avoidable, initial=0.0))
