"""Limits that an outcome breaks: how many, by how much, and which of them no outcome could keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from amm_opt.arrays import BoolArray, FloatArray, IntArray
from amm_opt.network import NetworkModel
from amm_opt.network.excess import FlowState, Names, Unavoidable, excesses
from amm_opt.tolerances import THERMAL_VIOLATION, VOLTAGE_VIOLATION_PU

COUNTS = ("thermal", "voltage", "unavoidable", "intervals", "unsolved")


@dataclass(frozen=True)
class Worst:
    """The worst avoidable pair of one kind: its place among the model's voltages or flows, its interval, its excess.

    Nothing is beyond its limit where the excess is 0.
    """

    place: int = 0
    step: int = 0
    excess: float = 0.0


@dataclass
class Violations:
    """Counts of (element, interval) pairs beyond their limit.

    Attributes:
        thermal: avoidable pairs above a rating; ``worst_thermal`` has their largest excess, as a fraction of it.
        voltage: avoidable pairs outside a voltage band; ``worst_voltage`` has their largest distance from it, in pu.
        unavoidable: pairs that inflexible load only has beyond their limit, by no less; ``elements`` says of which
            elements.
        intervals: intervals with an avoidable pair.
        unsolved: intervals without a power-flow solution (NaN), which have no pairs.
    """

    thermal: int = 0
    voltage: int = 0
    unavoidable: int = 0
    intervals: int = 0
    unsolved: int = 0
    worst_thermal: Worst = Worst()
    worst_voltage: Worst = Worst()
    elements: Unavoidable | None = None

    @property
    def broken_intervals(self) -> int:
        """Intervals in which not every limit is shown to be kept: with an avoidable pair, or without a solution."""
        return self.intervals + self.unsolved

    def merge(self, other: Violations) -> None:
        """Add the counts of other intervals."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self._take(other.worst_thermal, other.worst_voltage)
        if other.elements is not None:
            self.elements = other.elements.plus(self.elements)

    def _take(self, thermal: Worst, voltage: Worst) -> None:
        """The worse ones; of equals the earlier."""
        self.worst_thermal = max(self.worst_thermal, thermal, key=_severity)
        self.worst_voltage = max(self.worst_voltage, voltage, key=_severity)

    def sentences(self, limits: NetworkModel, times: pd.DatetimeIndex) -> tuple[str, ...]:
        """The worst branch and the worst bus beyond their limits, by how much and when.

        Args:
            limits: as in :meth:`add`.
            times: of all intervals of the case.
        """
        names, said = Names(limits), []
        if (worst := self.worst_thermal).excess > 0:
            said.append(
                f"{names.branch(worst.place)} is {100 * worst.excess:.2f} % above its {names.limit(worst.place)}"
                f" at {times[worst.step]:%Y-%m-%d %H:%M}"
            )
        if (worst := self.worst_voltage).excess > 0:
            low, high = limits.v_min_pu[worst.place], limits.v_max_pu[worst.place]
            said.append(
                f"{names.bus(worst.place)} is {worst.excess:.5f} pu outside its band of {low:g} to {high:g} pu"
                f" at {times[worst.step]:%Y-%m-%d %H:%M}"
            )
        return tuple(said)

    def add(
        self, limits: NetworkModel, state: FlowState, inflexible_only: Callable[[IntArray], FlowState], steps: IntArray
    ) -> None:
        """Count a block of T intervals.

        Args:
            limits: of the nodes, without limit at the source.
            state: voltages and flows, (T, n_nodes) each.
            inflexible_only: gives the same with inflexible load only, for the intervals at the given places.
            steps: (T,) numbers of the intervals within the case.
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
        (thermal, voltage), worst = zip(*(_avoidable(*pair, steps[beyond]) for pair in pairs), strict=True)
        self.thermal += int(thermal.sum())
        self.voltage += int(voltage.sum())
        self.intervals += int(np.count_nonzero(thermal + voltage))
        self._take(*worst)
        found = Unavoidable(
            *(unavoidable.sum(axis=0) for _, _, unavoidable in pairs),
            *(np.max(excess, axis=0, where=unavoidable, initial=0.0) for excess, _, unavoidable in pairs),
        )
        if found.count:
            self.unavoidable += found.count
            self.elements = found.plus(self.elements)


def _severity(worst: Worst) -> tuple[float, int]:
    return worst.excess, -worst.step


def _avoidable(excess: FloatArray, over: BoolArray, unavoidable: BoolArray, steps: IntArray) -> tuple[IntArray, Worst]:
    """(T,) how many pairs are beyond their limit without having to, and the worst of all."""
    avoidable = over & ~unavoidable
    beyond = np.where(avoidable, excess, 0.0)
    row, place = np.unravel_index(np.argmax(beyond), beyond.shape)
    return avoidable.sum(axis=1), Worst(int(place), int(steps[row]), float(beyond[row, place]))
