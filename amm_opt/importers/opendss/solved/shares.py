"""Power that loads between phases draw from each phase, at the voltages that they meet.

A load of power s between phases i and k draws s u_i / (u_i - u_k) from the first and the rest from the second; a
balanced delta load is three of these (W. H. Kersting, "Distribution System Modeling and Analysis", section 9.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from amm_opt.arrays import ComplexArray
from amm_opt.errors import SolveError
from amm_opt.network.feeder.feeder import Feeder
from amm_opt.network.models.lindist3flow import LinDist3Flow

ROUNDS, TOLERANCE = 50, 1e-8
"""At most so many power flows; shares of the load's own power have settled."""


@dataclass(frozen=True)
class Between:
    """A load between phases.

    Attributes:
        key: by which its shares are looked up.
        bus: its bus.
        phases: two, or three of a delta load.
        power: kW + j kvar in all.
        ring: whether three phases have a part between the last and the first one as well; an open delta has not.
    """

    key: int
    bus: str
    phases: str
    power: complex
    ring: bool = True

    def nominal(self) -> ComplexArray:
        """Shares of its power by phase at nominal, balanced voltages."""
        return self.drawn(np.exp(-2j * np.pi / 3 * np.array(["abc".index(p) for p in self.phases])))

    def drawn(self, u: ComplexArray) -> ComplexArray:
        """Shares of its power by phase, in the order of ``phases``, at the voltages of its phases."""
        pairs = list(pairwise(range(len(u)))) + ([(2, 0)] if len(u) == 3 and self.ring else [])
        shares: ComplexArray = np.zeros(len(u), dtype=complex)
        for i, k in pairs:
            across = u[i] - u[k]
            shares[i] += u[i] / across / len(pairs)
            shares[k] -= u[k] / across / len(pairs)
        return shares


def solved_shares(feeder: Feeder, others: pd.DataFrame, between: Sequence[Between]) -> Mapping[int, ComplexArray]:
    """Shares of the power of each load between phases, by its key.

    Args:
        feeder: the network, with taps and switches as they are.
        others: customers of all other loads: ``bus``, ``phases``, ``kw``, ``kvar``.

    Raises:
        SolveError: where the loads are beyond what the network can carry, or shares do not settle.
    """
    model = LinDist3Flow(feeder)
    phase = np.zeros(0, dtype=np.intp) if model.phase is None else model.phase
    at = model.incidence(np.array([feeder.bus_index[b] for b in others["bus"]], dtype=np.intp), tuple(others["phases"]))
    rest = at @ (others["kw"].to_numpy(float) + 1j * others["kvar"].to_numpy(float))
    node = {(feeder.bus_names[b], int(p)): i for i, (b, p) in enumerate(zip(model.bus, phase, strict=True))}
    where = [[node[x.bus, "abc".index(p)] for p in x.phases] for x in between]
    shares = [x.nominal() for x in between]
    for _ in range(ROUNDS):
        power = rest.astype(complex)
        for x, i, share in zip(between, where, shares, strict=True):
            power[i] += x.power * share
        u = model.power_flow(-power.real, -power.imag)
        before, shares = shares, [x.drawn(u[i]) for x, i in zip(between, where, strict=True)]
        if max(np.abs(a - b).max() for a, b in zip(before, shares, strict=True)) < TOLERANCE:
            return {x.key: share for x, share in zip(between, shares, strict=True)}
    raise SolveError("the shares of loads between phases do not settle")
