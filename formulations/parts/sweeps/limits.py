"""What rules that search by sweeps ask of the network. No solver is needed.

Limited quantities are affine in what people use, so a few exact rows say how far somebody can rise, and sweeps of the
whole network say whether those rows were enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from amm_opt.arrays import DIRECTIONS, BoolArray, FloatArray, IntArray, largest_of_each
from amm_opt.cases import Requests
from amm_opt.grid import Grid
from amm_opt.tolerances import SEARCH_SLACK

NEAR, V_SLACK = 0.98, 1e-9
"""A flow below this share of its rating is inside the polygon that stands for it; rounding of voltages, pu."""


@dataclass(frozen=True, eq=False)
class Limits:
    """The limits of one interval, with everyone's flexible power in one direction.

    Attributes:
        max_kw: (n,) the power of everyone at its connection limit.
    """

    grid: Grid
    direction: str
    requests: Requests
    max_kw: FloatArray

    @cached_property
    def bounds(self) -> tuple[FloatArray, FloatArray]:
        return self.grid.limits(self.requests)

    @property
    def slack(self) -> FloatArray:
        return np.asarray(SEARCH_SLACK * self.grid.network.quantities.tolerance)

    @property
    def monotone(self) -> bool:
        """Whether nobody relieves what another loads: one phase, one power factor."""
        kvar = self.grid.case.kvar_per_kw[1 + DIRECTIONS.index(self.direction)][self.max_kw > 0]
        return self.grid.case.feeder.balanced and bool(np.all(kvar == kvar[:1]))

    @cached_property
    def band(self) -> tuple[FloatArray, FloatArray]:
        """Voltages (nodes,) that inflexible load only keeps, in pu."""
        network = self.grid.network
        inflexible = network.state(*self.injections(0.0 * self.max_kw)).v_pu
        return np.minimum(network.v_min_pu, inflexible), np.maximum(network.v_max_pu, inflexible)

    def injections(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        power = (x, 0.0) if self.direction == "import" else (0.0, x)
        return self.grid.injected(self.requests, *power)

    def near(self, x: FloatArray) -> BoolArray:
        """(S,) which of these states (S, n) come so near to a limit that every quantity has to be looked at."""
        if self.grid.margin is not None:  # limits are elsewhere than ratings and bands
            return np.ones(x.shape[:-1], dtype=bool)
        network, (lower, upper) = self.grid.network, self.band
        state = network.state(*self.injections(x))
        beyond = ((state.v_pu > upper + V_SLACK) | (state.v_pu < lower - V_SLACK)).any(axis=-1)
        full = (state.loading_kva[..., self.rated] > NEAR * network.rating_kva[self.rated]).any(axis=-1)
        metered = (network.metered.loading(state.p_flow_kw) > NEAR).any(axis=-1) if len(network.metered) else False
        return np.asarray(beyond | full | metered)

    @cached_property
    def rated(self) -> IntArray:
        return np.flatnonzero(np.isfinite(self.grid.network.rating_kva))

    def excess(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(..., m) how far every quantity is beyond its limit with everyone at x (..., n), and on which side."""
        u = self.grid.network.evaluate(*self.injections(x))
        above, below = u - self.bounds[1], self.bounds[0] - u
        return np.maximum(above, below), np.where(above >= below, 1.0, -1.0)

    def sensitivity(self, rows: IntArray, side: FloatArray) -> FloatArray:
        """(K, n) how much more each of these limits is used when someone rises from 0 to ``max_kw``."""
        per_kw = self.grid.kept_sensitivity(rows)[DIRECTIONS.index(self.direction)]
        return np.asarray(side[:, None] * per_kw * self.max_kw)


class Known:
    """Limits that matter as exact rows.

    Attributes:
        sensitivity: (K, n) use per share of ``max_kw``.
        room: (K,) what inflexible load leaves of each.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits, self._home = limits, limits.grid.limit_groups
        self._seen: set[tuple[int, ...]] = set()
        self.sensitivity, self.room = np.zeros((0, len(limits.max_kw))), np.zeros(0)

    def add(self, excess: FloatArray, side: FloatArray) -> bool:
        """The largest excess of each group of broken limits, (m,) each, joins; whether any of them is new."""
        limits = self._limits
        rows = np.flatnonzero(excess > limits.slack)
        rows = rows[largest_of_each((excess / limits.grid.network.quantities.tolerance)[rows], self._home[rows])]
        new = np.column_stack([rows, side[rows].astype(np.intp)])
        new = new[[tuple(pair) not in self._seen for pair in new.tolist()]]
        if len(new) == 0:
            return False
        limit = np.where(new[:, 1] > 0, limits.bounds[1][new[:, 0]], limits.bounds[0][new[:, 0]])
        inflexible = limits.grid.network.evaluate(*limits.injections(0.0 * limits.max_kw))[new[:, 0]]
        self.room = np.append(self.room, np.maximum(new[:, 1] * (limit - inflexible), 0.0))
        of_new = limits.sensitivity(new[:, 0], new[:, 1].astype(float))
        self.sensitivity = np.concatenate([self.sensitivity, of_new])
        self._seen.update(tuple(pair) for pair in new.tolist())
        return True
