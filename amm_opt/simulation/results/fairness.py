"""How equally energy was served, of LV feeders and of participants: Jain's index, low served ratios, who is starved."""

from __future__ import annotations

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case
from amm_opt.market.state import served_ratio

COMPARED = {"feeder": 2, "participant": 1}
"""So many must have asked for there to be something to compare."""


STARVED = 0.1
"""Below this fraction of the median served ratio somebody is starved (ours)."""


def served_ratios(requested: FloatArray, served: FloatArray, per: str) -> FloatArray:
    """Served over requested energy of those who asked; nobody where too few did.

    Args:
        requested, served: (n,) energies.
        per: what they are of, ``feeder`` or ``participant``.
    """
    asked = requested > 0
    ratios = served_ratio(served, requested)[asked]
    return ratios if len(ratios) >= COMPARED[per] else ratios[:0]


def jain(ratios: FloatArray, weights: FloatArray | float = 1.0) -> float:
    """Jain's fairness index (sum w a)^2 / (sum w sum w a^2), at most 1; NaN for no values, or where all are zero.

    With equal weights that is (sum a)^2 / (n sum a^2) in [1/n, 1], as in R. Jain, D. Chiu, W. Hawe, DEC-TR-301 (1984);
    weights are ours: whoever weighs twice as much counts like two.
    """
    w = np.broadcast_to(np.asarray(weights, dtype=float), ratios.shape)
    square = float(np.sum(w * ratios**2))
    return np.nan if square == 0 else float(np.sum(w * ratios) ** 2 / (np.sum(w) * square))


def lowest(ratios: FloatArray) -> float:
    """The lowest of the ratios; NaN for no values."""
    return float(ratios.min()) if len(ratios) else np.nan


def tenth_percentile(ratios: FloatArray) -> float:
    """The tenth percentile of the ratios, linear between neighbours; NaN for no values."""
    return float(np.percentile(ratios, 10.0)) if len(ratios) else np.nan


def starved(ratios: FloatArray) -> float:
    """How many are below a tenth of the median; NaN for no values, or where the median is zero."""
    median = float(np.median(ratios)) if len(ratios) else 0.0
    return float(np.sum(ratios < STARVED * median)) if median > 0 else np.nan


def by_feeder(case: Case, per_participant: FloatArray) -> FloatArray:
    """Sum a (..., n) array over the participants of each LV feeder: (..., feeders)."""
    member = case.groups("feeder").members[:-1]
    return np.asarray((member @ per_participant.reshape(-1, per_participant.shape[-1]).T).T).reshape(
        *per_participant.shape[:-1], member.shape[0]
    )
