"""Variables that no row can tell apart, as one.

In a window most participants of a feeder load the same limits in the same way, at least those limits that are in use.
Variables in [l, u] with equal columns, and

- in a linear problem an equal cost q,
- in a separable one an equal slope at the lower bound, q + h l, and an equal rise from there to the upper, h (u - l),

have an optimum in which all are at the same share s of the way from l to u: for what they bring to the rows is s times
the sum of their widths w = u - l, and among all ways to bring that this costs least. They are one variable with the sum
of their bounds, the curvature h w / sum w, and the same slope. The answer is audited as that of the whole problem.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from amm_opt.arrays import BoolArray, FloatArray, IntArray
from amm_opt.solve.backends.reduced import Alike, Reduced

LARGE = 100_000
"""Linear problems with fewer variables stay as they are: HiGHS goes on from its basis when rows are added, and a vertex
breaks fewer of the other limits than a plan that treats all alike."""
DIGITS = 11
"""Slopes that agree in so many digits are equal."""
ODD = np.uint64(0x9E3779B97F4A7C15)
"""For marks of columns and slopes as one number: 2^64 over the golden ratio."""


def merged(problem: Reduced) -> Reduced:
    """The same problem with variables that are alike as one; itself where there are none."""
    if problem.hessian is not None and not isinstance(problem.hessian, np.ndarray):
        return problem
    if problem.hessian is None and len(problem.q) < LARGE:
        return problem
    hessian = np.zeros(len(problem.q)) if problem.hessian is None else problem.hessian
    finite = np.isfinite(problem.lower) & np.isfinite(problem.upper)
    least = np.where(finite, problem.lower, 0.0)
    width = np.where(finite, problem.upper - least, 1.0)
    slope = problem.q + hessian * least
    first, group = _alike(problem, finite, slope, hessian * width)
    count = len(first)
    if count == len(group):
        return problem
    share = width / np.bincount(group, width, count)[group]
    lower, upper = (
        np.where(finite[first], np.bincount(group, np.where(finite, end, 0.0), count), end[first])
        for end in (problem.lower, problem.upper)
    )
    lowest, curvature = np.where(finite[first], lower, 0.0), (hessian * share)[first]
    return replace(
        problem,
        q=slope[first] - curvature * lowest,
        hessian=None if problem.hessian is None else curvature,
        own=problem.own.columns(first),
        network=problem.network.columns(first),
        lower=lower,
        upper=upper,
        alike=Alike(group, share, least - share * lowest[group]),
    )


def _alike(problem: Reduced, finite: BoolArray, slope: FloatArray, rise: FloatArray) -> tuple[IntArray, IntArray]:
    """The first variable of each group, and everybody's group; variables without two bounds are alone."""
    rows, n = problem.all_rows, len(slope)
    weight = np.random.default_rng(0).random((2, len(rows)))
    marks: list[FloatArray] = [np.asarray(np.bincount(rows.col, rows.data * w[rows.row], n), float) for w in weight]
    marks += [_rounded(slope), _rounded(rise), np.where(finite, 0.0, 1.0 + np.arange(n))]
    key = np.zeros(n, dtype=np.uint64)
    for mark in marks:
        key = (key ^ (mark + 0.0).view(np.uint64)) * ODD
        key ^= key >> np.uint64(31)
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    return first, group


def _rounded(values: FloatArray) -> FloatArray:
    largest = float(np.max(np.abs(values), initial=0.0))
    return np.round(values * (10.0**DIGITS / largest)) if largest else values
