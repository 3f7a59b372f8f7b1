"""The sequential rules of greedy envelopes: filling in turn, and cutting at the bus with the largest excess."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from amm_opt.arrays import BoolArray, FloatArray, IntArray, largest_of_each
from amm_opt.tolerances import ROUNDING
from formulations.parts.sweeps.limits import Known, Limits

CUT = 0.02
"""Step of ``worst_bus_first``, as a fraction of the connection limit."""
SPACING, STATES_AT_ONCE = 16, 8


def largest_request_first(limits: Limits) -> FloatArray:
    """Sequential filling with those limits that matter: a limit that is broken on the way joins them, from anew."""
    request = limits.requests.request_kw(limits.direction)
    ask = np.flatnonzero(limits.max_kw > 0)
    order = ask[np.argsort(-request[ask], kind="stable")]
    same = np.diff(request[order]) > -1e-9 * max(float(request.max()), 1e-12)
    turns = np.split(order, np.flatnonzero(~same) + 1)
    known = Known(limits)
    while True:
        path = limits.max_kw * _in_turn(known.sensitivity, known.room, turns, limits.monotone)
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


def _in_turn(sensitivity: FloatArray, room: FloatArray, turns: Sequence[IntArray], last_only: bool) -> FloatArray:
    """(states, n) shares in [0, 1] on the way, or only at its end, where every turn rises until it meets a limit.

    Whoever loads a limit that its turn meets stops; the others of the turn go on.
    """
    share, path, room = np.zeros(sensitivity.shape[1]), [], room.copy()
    done, one_way = np.zeros(len(share), dtype=bool), np.all(sensitivity >= -ROUNDING, axis=1)
    by_participant = np.ascontiguousarray(sensitivity.T)
    for turn in turns:
        group, level = turn[~done[turn]], 0.0
        while len(group) and level < 1.0:
            loading = by_participant[group].sum(axis=0)
            meets = loading > ROUNDING
            reach = room[meets] / loading[meets]
            rise = min(1.0 - level, float(reach.min(initial=1.0)))
            level += rise
            share[group] = level
            room = np.maximum(room - rise * loading, 0.0)
            path += [] if last_only or rise <= 0.0 else [share.copy()]
            if level >= 1.0:
                break
            tight = np.flatnonzero(meets)[reach <= rise + ROUNDING]
            group = group[~(by_participant[np.ix_(group, tight)] > ROUNDING).any(axis=1)]
            done |= (sensitivity[tight[one_way[tight]]] > ROUNDING).any(axis=0)
    return np.array(path or [share])


def worst_bus_first(limits: Limits) -> FloatArray:
    """Cuts in steps until every limit is kept, which no flexible use at all does."""
    grid, q = limits.grid, limits.grid.network.quantities
    feeders = grid.case.groups("feeder")
    place = grid.case.feeder.lv_feeder[grid.network.quantity_bus] % feeders.count
    voltage = q.kind == "voltage"
    known: dict[tuple[int, float], BoolArray] = {}

    def loaded_by(rows: IntArray, side: FloatArray) -> BoolArray:
        """(K, n) who loads which of these limits."""
        keys = list(zip(rows.tolist(), side.tolist(), strict=True))
        new = [key for key in keys if key not in known]
        if new:
            use = limits.sensitivity(np.array([k for k, _ in new], dtype=np.intp), np.array([s for _, s in new]))
            known.update(zip(new, use > ROUNDING, strict=True))
        return np.array([known[key] for key in keys], dtype=bool).reshape(len(keys), grid.n)

    x = limits.max_kw.copy()
    while True:
        excess, side = limits.excess(x)
        beyond = excess > limits.slack
        if not beyond.any():
            return x
        hot = np.flatnonzero(beyond & ~voltage)
        cut = loaded_by(hot, side[hot]).any(axis=0) & (x > 0)
        low = np.flatnonzero(beyond & voltage)
        low = low[largest_of_each(excess[low], place[low])]
        loading = loaded_by(low, side[low]) & (x > 0)
        affected = _own_excess(limits, x) if len(low) else x
        for row, who in zip(low, loading, strict=True):
            here = who & (feeders.of == place[row])
            if here.any() and not cut[here].any():
                cut |= here & (affected >= affected[here].max() - ROUNDING)
        x = np.maximum(x - CUT * limits.max_kw * (cut if cut.any() else loading.any(axis=0)), 0.0)


def _own_excess(limits: Limits, x: FloatArray) -> FloatArray:
    """(n,) how far the voltage where each participant connects is beyond its band, on the worst of its phases (pu)."""
    nodes, (lower, upper) = limits.grid.incidence.tocsc(), limits.band
    v = limits.grid.network.state(*limits.injections(x)).v_pu
    excess = np.maximum(v - upper, lower - v)
    return np.asarray(np.maximum.reduceat(excess[nodes.indices], nodes.indptr[:-1]))
