"""At which nodes of a network model participants inject."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import IntArray
from amm_opt.errors import InputError
from amm_opt.network.feeder.feeder import Feeder
from amm_opt.network.feeder.phases import PHASES


def by_bus(feeder: Feeder, bus: IntArray, phases: tuple[str, ...]) -> sp.csr_array:
    """(n_buses, n) matrix that adds n participants up at their bus.

    Raises:
        InputError: where the feeder is on a single phase and a participant on another one.
    """
    n, own = len(bus), "".join(feeder.branch_phases[-1])
    elsewhere = [] if feeder.balanced else [i for i, p in enumerate(phases) if p not in ("", own)]
    if elsewhere:
        raise InputError(
            [
                f"participant {i}: it is on phases {phases[i]}, but only {own} feeds bus {feeder.bus_names[bus[i]]!r}"
                for i in elsewhere
            ]
        )
    return sp.csr_array((np.ones(n), (bus, np.arange(n))), shape=(feeder.n_buses, n))


def by_phase(
    feeder: Feeder, node_bus: IntArray, node_phase: IntArray, bus: IntArray, phases: tuple[str, ...]
) -> sp.csr_array:
    """(nodes, n) share of each node in n participants, who connect to ``phases`` of ``bus``, in equal parts.

    Args:
        node_bus, node_phase: (nodes,) bus of each node and number of its phase.

    Raises:
        InputError: where a participant's phase does not exist at its bus.
    """
    place = np.full((len(PHASES), feeder.n_buses), -1, dtype=np.intp)
    place[node_phase, node_bus] = np.arange(len(node_bus))
    rows, columns, shares, problems = [], [], [], []
    for i, (b, wanted) in enumerate(zip(bus, phases, strict=True)):
        own = wanted or feeder.branch_phases[b]
        for p in own:
            node = place[PHASES.index(p), b]
            if node < 0:
                problems.append(f"participant {i}: no phase {p} feeds bus {feeder.bus_names[b]!r}")
            rows.append(node)
            columns.append(i)
            shares.append(1.0 / len(own))
    if problems:
        raise InputError(problems)
    return sp.csr_array((shares, (rows, columns)), shape=(len(node_bus), len(bus)))
