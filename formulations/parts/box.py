"""Envelopes inside which everybody may be anywhere, not only at its limit.

Inside its limits a participant draws x of X, or injects y of Y. Limited quantities are affine in both, so that the
largest that any combination inside the box makes of quantity u_k has a closed form,

    u_k(inflexible) + sum_i max(S_ki, 0) X_i + max(T_ki, 0) Y_i  <=  upper_k,        likewise min and >= for lower_k,

with S and T the change of u_k per kW of import and of export: A u <= b holds for all l <= u <= h where
A+ h + A- l <= b. On one phase that is everybody at its limit. On several, use of one phase relieves others, so that
what is feasible with everybody at its limit need not be when somebody uses nothing (B. Liu, J. H. Braslavsky, "Robust
dynamic operating envelopes", doi 10.1109/ACCESS.2022.3203062).

Ours: of import and export envelopes that are feasible at their corner everybody in an LV feeder keeps the same share t,
both directions at once, and the shares of feeders are lexicographically max-min. They are found by filling: all rise
until a limit is reached, and those who load it stop.
"""

from __future__ import annotations

from collections.abc import Mapping
from weakref import WeakKeyDictionary

import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import DIRECTIONS, FloatArray
from amm_opt.cases import Requests
from amm_opt.grid import ROWS_AT_ONCE, Grid
from amm_opt.tolerances import SEARCH_SLACK

Sides = tuple[sp.csr_array, sp.csr_array]
FULL = 1.0 - 1e-12


class Box:
    """What boxes use of each limit on one grid."""

    def __init__(self, grid: Grid) -> None:
        m = len(grid.network.quantities.lower)
        both: list[tuple[list[sp.csr_array], list[sp.csr_array]]] = [([], []) for _ in DIRECTIONS]
        for first in range(0, m, ROWS_AT_ONCE):
            change = grid.sensitivity(np.arange(first, min(first + ROWS_AT_ONCE, m)))
            for (up, down), rows in zip(both, change, strict=True):
                up.append(sp.csr_array(np.maximum(rows, 0.0)))
                down.append(sp.csr_array(np.maximum(-rows, 0.0)))
        self._sides: list[Sides] = [(sp.csr_array(sp.vstack(up)), sp.csr_array(sp.vstack(down))) for up, down in both]
        self._groups = grid.case.groups("own_feeder")

    def shares(self, grid: Grid, envelope: Mapping[str, FloatArray], requests: Requests) -> FloatArray:
        """(n,) the share of its envelopes that everybody keeps; (n,) powers by direction, none where left out."""
        lower, upper = grid.limits(requests)
        inflexible, _ = grid.usage(requests)
        slack = SEARCH_SLACK * grid.network.quantities.tolerance
        use: list[FloatArray] = []
        for side in range(2):
            of_group = np.zeros((len(lower), self._groups.count))
            for direction, x in envelope.items():
                mine = sp.csr_array(sp.diags_array(x) @ self._groups.spread)
                of_group += (self._sides[DIRECTIONS.index(direction)][side] @ mine).toarray()
            use.append(of_group)
        rows = np.concatenate(use)
        room = np.concatenate([upper - inflexible, inflexible - lower]) + np.tile(slack, 2)
        return np.asarray(filled(rows, np.maximum(room, 0.0))[self._groups.of])


def filled(use: FloatArray, room: FloatArray) -> FloatArray:
    """(G,) lexicographically max-min shares t <= 1 with use @ t <= room, use (K, G) and room (K,) not negative."""
    share, rising = np.zeros(use.shape[1]), np.ones(use.shape[1], dtype=bool)
    while rising.any():
        speed = use[:, rising].sum(axis=1)
        left = room - use @ share
        steps = np.divide(left, speed, out=np.full(len(room), np.inf), where=speed > 0)
        step = min(max(0.0, float(steps.min(initial=np.inf))), 1.0 - float(share[rising].max()))
        share[rising] += step
        if float(share[rising].max()) >= FULL:
            break
        tight = steps <= step * (1.0 + 1e-12)
        stopped = rising & (use[tight] > 0).any(axis=0)
        rising &= ~stopped
    return np.minimum(share, 1.0)


_KNOWN: WeakKeyDictionary[Grid, Box] = WeakKeyDictionary()
"""A box must not refer to its grid, which would then live for ever."""


def box_of(grid: Grid) -> Box:
    """The box of a grid, built once."""
    if grid not in _KNOWN:
        _KNOWN[grid] = Box(grid)
    return _KNOWN[grid]
