"""Names of phases, and the (bus, phase) pairs that exist."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.errors import shown

POSITIVE_SEQUENCE = ("pos",)
"""The one phase of a balanced element."""
PHASES = ("a", "b", "c")
PHASE_TAPS = "phase_taps"
"""Optional column of the branches."""


def phase_nodes(fed: Sequence[tuple[str, ...]]) -> tuple[IntArray, IntArray]:
    """Number of the phase and bus of every (bus, phase) pair: phase a first, each in the order of the buses.

    Args:
        fed: the phases that arrive at each bus.
    """
    phase, bus = np.nonzero([[p in phases for phases in fed] for p in PHASES])
    return phase, bus


def phase_taps(branches: pd.DataFrame) -> tuple[FloatArray, list[str]]:
    """Factors on the taps of single phases, and what is wrong with them.

    Args:
        branches: with ``name``, ``phases``, ``vector_group`` and, where phases differ, ``phase_taps``: a text with one
            positive number for each phase, or 1.

    Returns:
        (rows, 3): phases a, b, c; 1 where nothing is stated.
    """
    factors, problems = np.ones((len(branches), 3)), list[str]()
    if PHASE_TAPS not in branches:
        return factors, problems
    columns = (branches[c] for c in (PHASE_TAPS, "name", "phases", "vector_group"))
    for i, (raw, name, phases, group) in enumerate(zip(*columns, strict=True)):
        if pd.isna(raw) or (isinstance(raw, float | int) and raw == 1):
            continue
        found = _factors(raw)
        if len(phases) < 2 or group != "YNyn0":
            problems.append(f"branch {name!r}: phase_taps needs a YNyn0 branch on several phases; here use tap")
        elif len(found) != len(phases) or not all(math.isfinite(x) and x > 0 for x in found):
            problems.append(
                f"branch {name!r}: phase_taps = {shown(raw)} must be a text with one positive number per phase"
                f" ({' '.join(phases)})"
            )
        else:
            factors[i, [PHASES.index(p) for p in phases]] = found
    return factors, problems


def _factors(raw: object) -> list[float]:
    """The numbers of a text; none where it holds anything else."""
    try:
        return [float(word) for word in raw.split()] if isinstance(raw, str) else []
    except ValueError:
        return []
