"""Power that loads draw from each phase, at the voltages that they meet.

A load of power s between phases i and k draws s u_i / (u_i - u_k) from the first and the rest from the second; a
balanced delta load is three of these (W. H. Kersting, "Distribution System Modeling and Analysis", section 9.2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from amm_opt.arrays import ComplexArray
from amm_opt.errors import SolveError
from amm_opt.network.feeder.feeder import Feeder
from amm_opt.network.models.lindist3flow import LinDist3Flow

ROUNDS, TOLERANCE = 200, 1e-7
"""At most so many power flows; what loads draw, in parts of their power, has settled."""


@dataclass(frozen=True)
class Drawn:
    """A load whose power by phase hangs on voltages.

    Attributes:
        key: by which its power is looked up.
        bus: its bus.
        phases: its phases in its own order.
        power: kW + j kvar in all at a voltage in pu of its own.
        rated: its rated voltage over the nominal one of its bus.
        star: whether it is from phases to neutral; else in parts between one phase and the next.
        ring: of three phases between each other, whether there is a part from the last to the first one as well.
    """

    key: int
    bus: str
    phases: str
    power: Callable[[float], complex]
    rated: float = 1.0
    star: bool = False
    ring: bool = True

    def nominal(self) -> ComplexArray:
        """kW + j kvar by phase at nominal, balanced voltages."""
        return self.at(np.exp(-2j * np.pi / 3 * np.array(["abc".index(p) for p in self.phases])))

    def at(self, u: ComplexArray) -> ComplexArray:
        """kW + j kvar by phase, in the order of ``phases``, at the voltages of its phases in pu."""
        if self.star:
            return np.array([self.power(abs(v) / self.rated) / len(u) for v in u], dtype=complex)
        pairs = list(pairwise(range(len(u)))) + ([(2, 0)] if len(u) == 3 and self.ring else [])
        drawn: ComplexArray = np.zeros(len(u), dtype=complex)
        for i, k in pairs:
            across = u[i] - u[k]
            part = self.power(abs(across) / 3**0.5 / self.rated) / len(pairs)
            drawn[i] += part * u[i] / across
            drawn[k] -= part * u[k] / across
        return drawn


def solved_power(feeder: Feeder, others: pd.DataFrame, loads: Sequence[Drawn]) -> Mapping[int, ComplexArray]:
    """kW + j kvar by phase of each load, by its key.

    Args:
        feeder: the network, with taps and switches as they are.
        others: customers of all other loads: ``bus``, ``phases``, ``kw``, ``kvar``.

    Raises:
        SolveError: where the loads are beyond what the network can carry, or what they draw does not settle.
    """
    model = LinDist3Flow(feeder)
    phase = np.zeros(0, dtype=np.intp) if model.phase is None else model.phase
    rest = node_power(model, others)
    node = {(feeder.bus_names[b], int(p)): i for i, (b, p) in enumerate(zip(model.bus, phase, strict=True))}
    where = [[node[x.bus, "abc".index(p)] for p in x.phases] for x in loads]
    drawn = [x.nominal() for x in loads]
    size = [max(float(np.abs(s).sum()), 1e-9) for s in drawn]
    pace, last = 1.0, np.inf
    for _ in range(ROUNDS):
        power = rest.copy()
        for i, s in zip(where, drawn, strict=True):
            power[i] += s
        u = model.power_flow(-power.real, -power.imag)
        met = [x.at(u[i]) for x, i in zip(loads, where, strict=True)]
        change = max(np.abs(a - b).max() / s for a, b, s in zip(drawn, met, size, strict=True))
        if change < TOLERANCE:
            return {x.key: s for x, s in zip(loads, met, strict=True)}
        pace, last = (pace / 2 if change > 0.7 * last else pace), change
        drawn = [a + pace * (b - a) for a, b in zip(drawn, met, strict=True)]
    raise SolveError("what loads draw at the voltages that they meet does not settle")


def node_power(model: LinDist3Flow, customers: pd.DataFrame) -> ComplexArray:
    """kW + j kvar that customers draw at each node."""
    buses = np.array([model.feeder.bus_index[b] for b in customers["bus"]], dtype=np.intp)
    drawn = customers["kw"].to_numpy(float) + 1j * customers["kvar"].to_numpy(float)
    return np.asarray(model.incidence(buses, tuple(customers["phases"])) @ drawn, dtype=np.complex128)
