"""Names of phases, and the (bus, phase) pairs that exist."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from amm_opt.arrays import IntArray

POSITIVE_SEQUENCE = ("pos",)
"""The one phase of a balanced element."""
PHASES = ("a", "b", "c")


def phase_nodes(fed: Sequence[tuple[str, ...]]) -> tuple[IntArray, IntArray]:
    """Number of the phase and bus of every (bus, phase) pair: phase a first, each in the order of the buses.

    Args:
        fed: the phases that arrive at each bus.
    """
    phase, bus = np.nonzero([[p in phases for phases in fed] for p in PHASES])
    return phase, bus
