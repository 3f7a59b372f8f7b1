"""How equally energy was served: Jain's index and the lowest served ratio, of LV feeders and of participants."""

from __future__ import annotations

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case
from amm_opt.market.state import served_ratio

COMPARED = {"feeder": 2, "participant": 1}
"""So many must have asked for there to be something to compare."""


def served_ratios(requested: FloatArray, served: FloatArray, per: str) -> FloatArray:
    """Served over requested energy of those who asked; nobody where too few did.

    Args:
        requested, served: (n,) energies.
        per: what they are of, ``feeder`` or ``participant``.
    """
    asked = requested > 0
    ratios = served_ratio(served, requested)[asked]
    return ratios if len(ratios) >= COMPARED[per] else ratios[:0]


def jain(ratios: FloatArray) -> float:
    """Jain's fairness index (sum a)^2 / (n sum a^2) in [1/n, 1]; NaN for no values, or where all are zero.

    Source: R. Jain, D. Chiu, W. Hawe, DEC-TR-301 (1984).
    """
    square = float(np.sum(ratios**2))
    return np.nan if square == 0 else float(np.sum(ratios) ** 2 / (len(ratios) * square))


def lowest(ratios: FloatArray) -> float:
    """The lowest of the ratios; NaN for no values."""
    return float(ratios.min()) if len(ratios) else np.nan


def by_feeder(case: Case, per_participant: FloatArray) -> FloatArray:
    """Sum a (..., n) array over the participants of each LV feeder: (..., feeders)."""
    member = case.groups("feeder").members[:-1]
    return np.asarray((member @ per_participant.reshape(-1, per_participant.shape[-1]).T).T).reshape(
        *per_participant.shape[:-1], member.shape[0]
    )
