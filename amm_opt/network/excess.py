"""How far voltages and flows are beyond their limits, and which limits no outcome can keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.errors import counted
from amm_opt.network.models.base import NetworkModel
from amm_opt.tolerances import THERMAL_VIOLATION, VOLTAGE_VIOLATION_PU

NAMED = 3
"""Elements that are named; of more, how many there are."""


class FlowState(Protocol):
    """Voltages and flows of a network model or of an AC power flow; (..., n_nodes) each."""

    @property
    def v_pu(self) -> FloatArray: ...  # noqa: D102

    @property
    def loading_kva(self) -> FloatArray: ...  # noqa: D102

    @property
    def p_flow_kw(self) -> FloatArray: ...  # noqa: D102


def excesses(model: NetworkModel, state: FlowState) -> tuple[FloatArray, FloatArray]:
    """By how much each branch is above its limit (as a fraction of it) and each bus outside its band (pu).

    A limit of active power is that of all phases of the branch and stands at the first of them.
    """
    loading = state.loading_kva / model.rating_kva
    if len(metered := model.metered):
        first = metered.flow[metered.first]
        loading[..., first] = np.maximum(loading[..., first], metered.loading(state.p_flow_kw))
    thermal = np.maximum(loading - 1.0, 0.0)
    voltage = np.maximum(np.maximum(state.v_pu - model.v_max_pu, model.v_min_pu - state.v_pu), 0.0)
    return thermal, voltage


def broken_without_injection(model: NetworkModel) -> list[str]:
    """Limits that the network breaks with nobody connected: no outcome keeps them all.

    Causes are the source's voltage, taps, shunts and line charging, against a band or a rating.

    Returns:
        One sentence for each of the buses and branches that are furthest beyond theirs, with value and limit, and one
        that counts the others.
    """
    nothing = np.zeros(model.n_nodes)
    state = model.state(nothing, nothing)
    if np.isnan(state.v_pu).any():
        return ["with nobody connected the network has no power-flow solution"]
    thermal, voltage = excesses(model, state)
    names = Names(model)
    return [
        *_most_severe(
            np.where(voltage > VOLTAGE_VIOLATION_PU, voltage, 0.0),
            lambda i: (
                f"{names.bus(i)} is at {state.v_pu[i]:.4f} pu with nobody connected, {names.band(i, state.v_pu[i])}"
            ),
            names.many("buses are outside their voltage band with nobody connected"),
        ),
        *_most_severe(
            np.where(thermal > THERMAL_VIOLATION, thermal, 0.0),
            lambda i: (
                f"{names.branch(i)} carries {state.loading_kva[i]:.4g} kVA of shunts and line charging with nobody"
                f" connected, above its {names.limit(i)}"
            ),
            names.many("branches are above their limit with nobody connected"),
        ),
    ]


@dataclass(frozen=True, eq=False)
class Unavoidable:
    """In how many intervals each element is beyond its limit under inflexible load only, and how far.

    Attributes:
        thermal_times, voltage_times: (branches,) and (n_nodes,) counts.
        thermal, voltage_pu: largest excess of each, as a fraction of the rating and in pu.
    """

    thermal_times: IntArray
    voltage_times: IntArray
    thermal: FloatArray
    voltage_pu: FloatArray

    @property
    def count(self) -> int:
        """Number of (element, interval) pairs."""
        return int(self.thermal_times.sum() + self.voltage_times.sum())

    def plus(self, other: Unavoidable | None) -> Unavoidable:
        """These intervals and others."""
        if other is None:
            return self
        return Unavoidable(
            self.thermal_times + other.thermal_times,
            self.voltage_times + other.voltage_times,
            np.maximum(self.thermal, other.thermal),
            np.maximum(self.voltage_pu, other.voltage_pu),
        )

    def sentences(self, model: NetworkModel, steps: int) -> list[str]:
        """The elements with the most such intervals of ``steps``, one sentence each, and one that counts the others."""
        names = Names(model)
        through = f"of {counted(steps, 'interval')} through inflexible load alone, by up to"
        return [
            *_most_severe(
                self.voltage_times + self.voltage_pu / (1.0 + self.voltage_pu.max(initial=0.0)),
                lambda i: (
                    f"{names.bus(i)} is outside its band of {model.v_min_pu[i]:g} to {model.v_max_pu[i]:g} pu in"
                    f" {self.voltage_times[i]} {through} {self.voltage_pu[i]:.4f} pu"
                ),
                names.many("buses are outside their voltage band in some intervals"),
            ),
            *_most_severe(
                self.thermal_times + self.thermal / (1.0 + self.thermal.max(initial=0.0)),
                lambda i: (
                    f"{names.branch(i)} is above its {names.limit(i)} in {self.thermal_times[i]}"
                    f" {through} {100 * self.thermal[i]:.1f} %"
                ),
                names.many("branches are above their limit in some intervals"),
            ),
        ]


def _most_severe(score: FloatArray, say: Callable[[int], str], others: str) -> list[str]:
    """What is said of the elements with the highest positive scores, and how many others there are."""
    order = np.argsort(-score.round(9), kind="stable")[: int((score > 0).sum())].tolist()
    said = [say(i) for i in order[:NAMED]]
    return said + ([f"{len(order) - NAMED} more {others}"] if len(order) > NAMED else [])


class Names:
    """How sentences call the nodes and branches of a model, by their places among its voltages and flows."""

    def __init__(self, model: NetworkModel) -> None:
        self._model, self._feeder, self._phase = model, model.feeder, model.phase

    def bus(self, node: int) -> str:
        """A bus, and its phase."""
        return f"bus {self._feeder.bus_names[self._model.bus[node]]!r}{self._on(node)}"

    def branch(self, node: int) -> str:
        """A branch, and its phase."""
        return f"branch {self._feeder.branch_names[self._model.branch[node]]!r}{self._on(node)}"

    def limit(self, node: int) -> str:
        """The limits of a branch by name: the rating of a phase, or active power of all of them."""
        b = self._model.branch[node]
        all_phases = ((column, getattr(self._feeder, column)[b]) for column in ("import_limit_kw", "export_limit_kw"))
        limits = [("rating_kva", self._model.rating_kva[node]), *all_phases]
        return " or ".join(f"{column} = {value:g}" for column, value in limits if np.isfinite(value))

    def band(self, node: int, v_pu: float) -> str:
        """The end of a band that a voltage is beyond."""
        if v_pu > self._model.v_max_pu[node]:
            return f"above its v_max_pu = {self._model.v_max_pu[node]:g}"
        return f"below its v_min_pu = {self._model.v_min_pu[node]:g}"

    def many(self, what: str) -> str:
        """What is said of several elements: each phase counts."""
        return what if self._phase is None else f"phases of {what}"

    def _on(self, node: int) -> str:
        return "" if self._phase is None else f", phase {'abc'[self._phase[node]]},"
