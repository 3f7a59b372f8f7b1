"""Serving requests one after another, each as far as the ray towards it meets the first limit."""

from __future__ import annotations

import numpy as np

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.cases import Requests
from amm_opt.errors import SolveError
from amm_opt.grid import Grid
from amm_opt.tolerances import ROUNDING, SEARCH_SLACK

MAX_ROUNDS = 50


def drawn_kw(grid: Grid, requests: Requests, order: IntArray, supply_kw: FloatArray | None = None) -> FloatArray:
    """(2, n) service where requests are served in an order, each as much as limits admit after those before it.

    Rows that can bind are found as they are broken: those that the draw leaves broken join, and it is repeated. Where
    nobody relieves a limit that others load, the outcome is that of all rows. Elsewhere (export beside import, meshes)
    a row that is exceeded in the middle of the draw and relieved by those drawn later does not count.

    Args:
        order: places among (2 n), imports first.
        supply_kw: (n,) offers that supply what is served, each in proportion to its size; None for the source. Only
            imports may be drawn then.

    Raises:
        SolveError: where a limit is broken after every round.
    """
    asked, n = requests.both_kw.ravel(), grid.n
    lower, upper = grid.limits(requests)
    inflexible, _ = grid.usage(requests)
    slack = SEARCH_SLACK * grid.network.quantities.tolerance
    total = float("inf") if supply_kw is None else float(supply_kw.sum())
    offered = np.zeros(n) if supply_kw is None else supply_kw / max(total, ROUNDING)
    rows = np.zeros(0, dtype=np.intp)
    for _ in range(MAX_ROUNDS):
        slope = np.concatenate(list(grid.kept_sensitivity(rows)), axis=1)
        if supply_kw is not None:
            slope[:, :n] += (slope[:, n:] @ offered)[:, None]
        served = _along_rays(
            order, asked, slope, (lower[rows] - inflexible[rows], upper[rows] - inflexible[rows]), total
        )
        both = served.reshape(2, -1)
        if supply_kw is not None:
            both = np.stack([both[0], offered * both[0].sum()])
        u = grid.quantities(requests, *both)
        broken = np.setdiff1d(np.flatnonzero(np.maximum(u - upper, lower - u) > slack), rows)
        if not len(broken):
            return both
        rows = np.union1d(rows, broken)
    raise SolveError(f"limits are still found broken after {MAX_ROUNDS} rounds of rays")


def _along_rays(
    order: IntArray, asked: FloatArray, slope: FloatArray, room: tuple[FloatArray, FloatArray], total: float
) -> FloatArray:
    """(2 n,) service within ``room`` of (K,) rows, lower and upper, and of a total."""
    served, used = np.zeros(len(asked)), np.zeros(len(slope))
    columns, (lower, upper) = np.ascontiguousarray(slope.T), room
    for i in order.tolist():
        ray = columns[i]
        up, down = ray > ROUNDING * 1e-3, ray < -ROUNDING * 1e-3
        most = min(float(asked[i]), total)
        most = min(most, float(np.min((upper - used)[up] / ray[up], initial=np.inf)))
        most = max(min(most, float(np.min((lower - used)[down] / ray[down], initial=np.inf))), 0.0)
        served[i] = most
        used += most * ray
        total -= most
    return served
