r"""Essential and flexible parts of a household's load, from its series of power alone.

Source: arXiv 2407.20814. Power is quantised to 250 W. Base_t = min(mode of the levels that are not zero, P_t); what is
above it, PotFlex_t = P_t - Base_t, is one flexible request where it stays at 1000 W or more for 30 minutes or more. The
power of the request is the mode of PotFlex over that run (the paper's algorithm says the maximum: ``power="max"``).
Essential_t = Base_t + max(0, PotFlex_t - request_t).

Our reading: levels are rounded to the nearest 250 W, halves up; the mode is that of the whole series, and of equally
frequent levels the lowest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.errors import InputError
from amm_opt.fields import is_number

QUANTUM_W = 250
LEAST_W, LEAST_MINUTES = 1000, 30
POWERS = ("mode", "max")


@dataclass(frozen=True, eq=False)
class HouseholdSplit:
    """A household's load in two parts.

    Attributes:
        essential_kw: (T,) what is not flexible.
        start, stop: (R,) first interval of each flexible run, and the one after its last.
        power_kw: (R,) power of each.
    """

    essential_kw: FloatArray
    start: IntArray
    stop: IntArray
    power_kw: FloatArray


def split_household(load_kw: FloatArray, step_minutes: float = 5.0, power: str = "mode") -> HouseholdSplit:
    """Split a series of power, shape (T,), in kW.

    Args:
        step_minutes: length of an interval; 30 minutes are a whole number of them.
        power: of a request, the ``mode`` of its run or the ``max``.

    Raises:
        InputError: negative or missing values, a step that does not divide 30 minutes, an unknown ``power``.
    """
    load, problems = np.asarray(load_kw, dtype=float), []
    if power not in POWERS:
        problems.append(f"power = {power!r}; valid choices: {', '.join(POWERS)}")
    if not is_number(step_minutes) or step_minutes <= 0 or LEAST_MINUTES % step_minutes:
        problems.append(f"step_minutes = {step_minutes} must divide {LEAST_MINUTES}")
    if load.ndim != 1 or not np.isfinite(load).all():
        problems.append("load_kw must be a series of finite numbers")
    elif (load < 0).any():
        problems.append(f"load_kw has {int((load < 0).sum())} negative values, the first at {int(np.argmax(load < 0))}")
    if problems:
        raise InputError(problems, subject="split_household")
    level = np.floor(load * 1000 / QUANTUM_W + 0.5).astype(np.intp) * QUANTUM_W
    base = np.minimum(_mode(level[level > 0]), level)
    above = level - base
    high = np.concatenate([[False], above >= LEAST_W, [False]])
    start, stop = (np.flatnonzero(high[1:] & ~high[:-1]), np.flatnonzero(high[:-1] & ~high[1:]))
    long = (stop - start) * step_minutes >= LEAST_MINUTES
    start, stop = start[long], stop[long]
    asked, powers = np.zeros_like(level), np.zeros(len(start), dtype=np.intp)
    for k, (a, b) in enumerate(zip(start, stop, strict=True)):
        powers[k] = _mode(above[a:b]) if power == "mode" else above[a:b].max()
        asked[a:b] = powers[k]
    essential = base + np.maximum(0, above - asked)
    return HouseholdSplit(essential / 1000.0, start, stop, powers / 1000.0)


def _mode(levels: IntArray) -> int:
    """The most frequent level, the lowest of equals; 0 of none."""
    values, counts = np.unique(levels, return_counts=True)
    return int(values[np.argmax(counts)]) if len(values) else 0
