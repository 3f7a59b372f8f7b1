"""The sequential rules of greedy envelopes: filling in turn, and cutting at the worst bus. No solver is needed.

Limited quantities are affine in what people use, so a few exact rows say how far somebody can rise, and sweeps of the
whole network say whether those rows were enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from amm_opt.arrays import DIRECTIONS, BoolArray, FloatArray, IntArray
from amm_opt.cases import Requests
from amm_opt.grid import Grid, largest_of_each
from amm_opt.tolerances import ROUNDING, SEARCH_SLACK

CUT = 0.02
"""Grid of ``worst_bus_first``, as a fraction of the connection limit."""
SPACING, STATES_AT_ONCE = 16, 8
NEAR, V_SLACK = 0.98, 1e-9
"""A flow below this share of its rating is inside the polygon that stands for it; rounding of voltages, pu."""


@dataclass(frozen=True, eq=False)
class Limits:
    """What the sequential rules ask of the network, with everyone's flexible power in one direction."""

    grid: Grid
    direction: str
    requests: Requests
    most: FloatArray

    @cached_property
    def bounds(self) -> tuple[FloatArray, FloatArray]:
        return self.grid.limits(self.requests)

    @property
    def slack(self) -> FloatArray:
        return np.asarray(SEARCH_SLACK * self.grid.network.quantities.tolerance)

    @property
    def monotone(self) -> bool:
        """Whether nobody relieves what another presses on: one phase, one power factor."""
        kvar = self.grid.case.kvar_per_kw[1 + DIRECTIONS.index(self.direction)][self.most > 0]
        return self.grid.case.feeder.balanced and bool(np.all(kvar == kvar[:1]))

    @cached_property
    def band(self) -> tuple[FloatArray, FloatArray]:
        """Voltages (nodes,) that inflexible load alone keeps, in pu."""
        network = self.grid.network
        alone = network.state(*self.injections(0.0 * self.most)).v_pu
        return np.minimum(network.v_min_pu, alone), np.maximum(network.v_max_pu, alone)

    def injections(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        inflexible, none = self.requests.inflexible_kw, 0.0
        if self.direction == "import":
            return self.grid.node_injections(inflexible, x, none)
        return self.grid.node_injections(inflexible, none, x)

    def near(self, x: FloatArray) -> BoolArray:
        """(S,) which of these states (S, n) come so near to a limit that every quantity has to be looked at."""
        network, (lowest, highest) = self.grid.network, self.band
        state = network.state(*self.injections(x))
        beyond = ((state.v_pu > highest + V_SLACK) | (state.v_pu < lowest - V_SLACK)).any(axis=-1)
        full = (state.loading_kva[..., self.rated] > NEAR * network.rating_kva[self.rated]).any(axis=-1)
        return np.asarray(beyond | full)

    @cached_property
    def rated(self) -> IntArray:
        return np.flatnonzero(np.isfinite(self.grid.network.rating_kva))

    def excess(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(..., m) how far every quantity is beyond its limit with everyone at x (..., n), and on which side."""
        u = self.grid.network.evaluate(*self.injections(x))
        above, below = u - self.bounds[1], self.bounds[0] - u
        return np.maximum(above, below), np.where(above >= below, 1.0, -1.0)

    def slopes(self, rows: IntArray, side: FloatArray) -> FloatArray:
        """(K, n) how much more each of these limits is used when someone rises from 0 to ``most``."""
        slope = self.grid.kept_sensitivity(rows)[DIRECTIONS.index(self.direction)]
        return np.asarray(side[:, None] * slope * self.most)


class Known:
    """Limits that matter as exact rows: slopes (K, n) per share of ``most``, room (K,) beside inflexible load."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._home = limits, limits.grid.limit_groups
        self._seen: set[tuple[int, ...]] = set()
        self.slopes, self.room = np.zeros((0, len(limits.most))), np.zeros(0)

    def add(self, excess: FloatArray, side: FloatArray) -> bool:
        """The worst of each group of those that are broken, (m,) each, join; whether any of them is new."""
        limits = self._limits
        rows = np.flatnonzero(excess > limits.slack)
        rows = rows[largest_of_each((excess / limits.grid.network.quantities.tolerance)[rows], self._home[rows])]
        new = np.column_stack([rows, side[rows].astype(np.intp)])
        new = new[[tuple(pair) not in self._seen for pair in new.tolist()]]
        if len(new) == 0:
            return False
        limit = np.where(new[:, 1] > 0, limits.bounds[1][new[:, 0]], limits.bounds[0][new[:, 0]])
        alone = limits.grid.network.evaluate(*limits.injections(0.0 * limits.most))[new[:, 0]]
        self.room = np.append(self.room, np.maximum(new[:, 1] * (limit - alone), 0.0))
        self.slopes = np.concatenate([self.slopes, limits.slopes(new[:, 0], new[:, 1].astype(float))])
        self._seen.update(tuple(pair) for pair in new.tolist())
        return True


def largest_request_first(limits: Limits) -> FloatArray:
    """Sequential filling with those limits that matter: a limit that is broken on the way joins them, from anew."""
    request = limits.requests.request_kw(limits.direction)
    ask = np.flatnonzero(limits.most > 0)
    order = ask[np.argsort(-request[ask], kind="stable")]
    same = np.diff(request[order]) > -1e-9 * max(float(request.max()), 1e-12)
    turns = np.split(order, np.flatnonzero(~same) + 1)
    known = Known(limits)
    while True:
        path = limits.most * _in_turn(known.slopes, known.room, turns, limits.monotone)
        found = next(filter(None, (_broken(limits, path[::-apart]) for apart in (len(path), SPACING, 1))), None)
        if found is None or not known.add(*found):
            return np.asarray(path[-1])


def _broken(limits: Limits, path: FloatArray) -> tuple[FloatArray, FloatArray] | None:
    """Excess and side (m,) where one of these states (S, n) breaks a limit."""
    for start in range(0, len(path), STATES_AT_ONCE):
        states = path[start : start + STATES_AT_ONCE]
        near = limits.near(states)
        if not near.any():
            continue
        excess, side = limits.excess(states[near])
        broken = np.flatnonzero((excess > limits.slack).any(axis=1))
        if len(broken):
            return excess[broken[0]], side[broken[0]]
    return None


def _in_turn(slopes: FloatArray, room: FloatArray, turns: Sequence[IntArray], end: bool) -> FloatArray:
    """(states, n) shares in [0, 1] on the way, or only at its end, where every turn rises until it meets a limit.

    Whoever presses on a limit that its turn meets stops; the others of the turn go on.
    """
    share, path, room = np.zeros(slopes.shape[1]), [], room.copy()
    done, one_way = np.zeros(len(share), dtype=bool), np.all(slopes >= -ROUNDING, axis=1)
    by_participant = np.ascontiguousarray(slopes.T)
    for turn in turns:
        group, level = turn[~done[turn]], 0.0
        while len(group) and level < 1.0:
            press = by_participant[group].sum(axis=0)
            meets = press > ROUNDING
            reach = room[meets] / press[meets]
            rise = min(1.0 - level, float(reach.min(initial=1.0)))
            level += rise
            share[group] = level
            room = np.maximum(room - rise * press, 0.0)
            path += [] if end or rise <= 0.0 else [share.copy()]
            if level >= 1.0:
                break
            tight = np.flatnonzero(meets)[reach <= rise + ROUNDING]
            group = group[~(by_participant[np.ix_(group, tight)] > ROUNDING).any(axis=1)]
            done |= (slopes[tight[one_way[tight]]] > ROUNDING).any(axis=0)
    return np.array(path or [share])


def worst_bus_first(limits: Limits) -> FloatArray:
    """Cuts in steps until every limit is kept, which no flexible use at all does."""
    grid, feeder, q = limits.grid, limits.grid.case.feeder, limits.grid.network.quantities
    home, bus_home = (np.where(f >= 0, f, len(feeder.lv_feeders)) for f in (grid.case.lv_feeder, feeder.lv_feeder))
    voltage, place = q.kind == "voltage", bus_home[q.element]
    known: dict[tuple[int, float], BoolArray] = {}

    def pressing(rows: IntArray, side: FloatArray) -> BoolArray:
        """(K, n) who presses on which of these limits."""
        keys = list(zip(rows.tolist(), side.tolist(), strict=True))
        new = [key for key in keys if key not in known]
        if new:
            slopes = limits.slopes(np.array([k for k, _ in new], dtype=np.intp), np.array([s for _, s in new]))
            known.update(zip(new, slopes > ROUNDING, strict=True))
        return np.array([known[key] for key in keys], dtype=bool).reshape(len(keys), grid.n)

    x = limits.most.copy()
    while True:
        excess, side = limits.excess(x)
        beyond = excess > limits.slack
        if not beyond.any():
            return x
        hot = np.flatnonzero(beyond & ~voltage)
        cut = pressing(hot, side[hot]).any(axis=0) & (x > 0)
        low = np.flatnonzero(beyond & voltage)
        low = low[largest_of_each(excess[low], place[low])]
        presses = pressing(low, side[low]) & (x > 0)
        affected = _own_excess(limits, x) if len(low) else x
        for row, who in zip(low, presses, strict=True):
            here = who & (home == place[row])
            if here.any() and not cut[here].any():
                cut |= here & (affected >= affected[here].max() - ROUNDING)
        x = np.maximum(x - CUT * limits.most * (cut if cut.any() else presses.any(axis=0)), 0.0)


def _own_excess(limits: Limits, x: FloatArray) -> FloatArray:
    """(n,) how far the voltage where each participant connects is beyond its band, on the worst of its phases (pu)."""
    nodes, (lowest, highest) = limits.grid.incidence.tocsc(), limits.band
    v = limits.grid.network.state(*limits.injections(x)).v_pu
    excess = np.maximum(v - highest, lowest - v)
    return np.asarray(np.maximum.reduceat(excess[nodes.indices], nodes.indptr[:-1]))
