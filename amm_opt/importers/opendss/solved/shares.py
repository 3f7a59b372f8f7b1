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

ROUNDS, TOLERANCE, SLOWEST = 200, 1e-7, 0.05
"""At most so many power flows; what loads draw, in parts of their power, has settled; smallest step towards it."""


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

    Steps are relaxed by Aitken's method (U. Kuettler, W. A. Wall, "Fixed-point fluid-structure interaction solvers with
    dynamic relaxation", Comput. Mech. 43, 2008, eq. 44).

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
    where = [np.array([node[x.bus, "abc".index(p)] for p in x.phases]) for x in loads]
    ends = np.cumsum([0, *(len(i) for i in where)])
    parts = [slice(a, b) for a, b in pairwise(ends)]
    size = np.concatenate(
        [np.full(len(i), max(np.abs(x.nominal()).sum(), 1e-9)) for x, i in zip(loads, where, strict=True)]
    )
    at = np.concatenate(where)
    drawn: ComplexArray = np.concatenate([x.nominal() for x in loads])
    carried, before, pace = 0.0 * drawn, 0.0 * drawn, 1.0
    for _ in range(ROUNDS):
        power = rest.copy()
        np.add.at(power, at, drawn)
        try:
            u = model.power_flow(-power.real, -power.imag)
        except SolveError:
            # loads that are impedances at low voltages draw less there: halfway back to what could be carried
            if np.abs(drawn - carried).max() < TOLERANCE * size.max():
                raise
            drawn, before = (drawn + carried) / 2, 0.0 * drawn
            continue
        off = np.concatenate([x.at(u[i]) for x, i in zip(loads, where, strict=True)]) - drawn
        if (np.abs(off) / size).max() < TOLERANCE:
            drawn = drawn + off
            return {x.key: drawn[part] for x, part in zip(loads, parts, strict=True)}
        turn = off - before
        if before.any():
            pace = float(np.clip(-pace * np.vdot(turn, before).real / np.vdot(turn, turn).real, SLOWEST, 1.0))
        carried, before = drawn, off
        drawn = drawn + pace * off
    raise SolveError("what loads draw at the voltages that they meet does not settle")


def node_power(model: LinDist3Flow, customers: pd.DataFrame) -> ComplexArray:
    """kW + j kvar that customers draw at each node."""
    buses = np.array([model.feeder.bus_index[b] for b in customers["bus"]], dtype=np.intp)
    drawn = customers["kw"].to_numpy(float) + 1j * customers["kvar"].to_numpy(float)
    return np.asarray(model.incidence(buses, tuple(customers["phases"])) @ drawn, dtype=np.complex128)
