"""Orders of power at the head, shared out in real time inside certified boxes: no program, one power flow per step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from amm_opt.arrays import BoolArray, FloatArray
from amm_opt.errors import InputError, counted
from amm_opt.simulation.certified.boxes import Boxes, head_kw
from amm_opt.simulation.results.run import Run

HALVINGS = 40
BLOCK = 96
BAND_KW = 1e-3
"""An order may be outside the band by this much; the end of the band is then carried out."""
WAYS = ("fraction", "priority")


@dataclass(frozen=True, eq=False)
class Disaggregation:
    """What everybody does under orders at the head, and what came of it; T intervals, n participants.

    Attributes:
        import_kw, export_kw: (T, n) flexible powers.
        ordered_kw, head_kw: (T,) power at the head, as ordered and on AC power flow, positive where it imports.
        admissible: (T,) whether that power flow keeps every limit.
    """

    import_kw: FloatArray
    export_kw: FloatArray
    ordered_kw: FloatArray
    head_kw: FloatArray
    admissible: BoolArray


def disaggregate(
    run: Run,
    head_kw: ArrayLike,
    *,
    steps: int | str | slice | None = None,
    by: str = "fraction",
    priority: ArrayLike | None = None,
    network: Any = None,
) -> Disaggregation:
    """Share orders of power at the head out among the participants of a run on ``network="certified"``.

    From all import and no export down to all export and no import, first export is let in and then import is taken
    away, so that nobody loses both. Where the head has the ordered power on that way is found by bisection on AC power
    flow. Every point of the way lies in the box that is certified, so nothing has to be checked or solved; the AC power
    flow at the end says so all the same. After N. Nazir and M. Almassalkhi, "Grid-aware aggregation and realtime
    disaggregation of distributed energy resources in radial networks", IEEE Trans. Power Systems 37(3), 2022; the ways
    are our reading.

    Args:
        head_kw: (T,) or one for all; within the band of ``certificates``.
        steps: which of the run's intervals, as for ``Run.voltages``.
        by: ``fraction``: the same fraction of everybody's export, or of everybody's import; ``priority``: one after the
            other, so that those of high priority export first and lose their import last.
        priority: (n,) for ``priority``; of equals who stands first counts as higher.
        network: as for ``verify``.

    Raises:
        InputError: where an order is outside the band, an argument does not fit, or the run has no certified boxes.
    """
    boxes = Boxes(run, network)
    start, stop = (k - run.first for k in run.chosen(steps))
    count, n = stop - start, run.case.n_participants
    orders = np.asarray(head_kw, dtype=float)
    problems = [] if by in WAYS else [f"by = {by!r}; valid choices: {', '.join(WAYS)}"]
    if orders.shape not in ((), (count,)) or not np.all(np.isfinite(orders)):
        problems.append(f"head_kw must be one finite number or {count} of them, one for each interval")
    if (by == "priority") != (priority is not None):
        problems.append("priority goes with by='priority'")
    rank = np.arange(n) if priority is None else np.asarray(priority, dtype=float)
    if rank.shape != (n,) or not np.all(np.isfinite(rank)):
        problems.append(f"priority must be {n} finite numbers, one for each participant")
    if problems:
        raise InputError(problems, subject="disaggregate")
    first = np.argsort(-rank, kind="stable") if by == "priority" else None
    orders = np.broadcast_to(orders, count)
    parts = [
        _shared_out(boxes, slice(start + k, min(start + k + BLOCK, stop)), orders[k : k + BLOCK], first)
        for k in range(0, count, BLOCK)
    ]
    return Disaggregation(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Disaggregation)))


def _shared_out(boxes: Boxes, steps: slice, orders: FloatArray, first: Any) -> Disaggregation:
    """A block of intervals, bisected together."""
    x, y = boxes.import_kw[steps], boxes.export_kw[steps]
    at = _way(x, y, first)

    def head(along: FloatArray) -> FloatArray:
        return head_kw(boxes.flow(steps, *at(along)), boxes.model)

    low, high = np.zeros(len(orders)), np.ones(len(orders))
    most, least = head(low), head(high)
    _within_band(boxes.run.times[steps], orders, least, most)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        above = head(middle) > orders
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    along = np.where(orders >= most, 0.0, np.where(orders <= least, 1.0, 0.5 * (low + high)))
    powers = at(along)
    state = boxes.flow(steps, *powers)
    return Disaggregation(*powers, orders.copy(), head_kw(state, boxes.model), boxes.keeps(state))


def _way(x: FloatArray, y: FloatArray, first: Any) -> Callable[[FloatArray], tuple[FloatArray, FloatArray]]:
    """Flexible powers (T, n) at places (T,) on the way: at 0 import alone, at 1/2 both, at 1 export alone.

    Args:
        first: participants in the order of their priority; None where all move by the same fraction.
    """
    if first is None:
        return lambda s: (np.clip(2.0 - 2.0 * s, 0.0, 1.0)[:, None] * x, np.clip(2.0 * s, 0.0, 1.0)[:, None] * y)
    before = [np.zeros_like(power) for power in (x, y)]
    for ahead, power in zip(before, (x, y), strict=True):
        ahead[:, first] = np.cumsum(power[:, first], axis=1) - power[:, first]

    def at(s: FloatArray) -> tuple[FloatArray, FloatArray]:
        shares = (np.clip(2.0 - 2.0 * s, 0.0, 1.0), np.clip(2.0 * s, 0.0, 1.0))
        given = [
            np.clip((share * power.sum(axis=1))[:, None] - ahead, 0.0, power)
            for share, power, ahead in zip(shares, (x, y), before, strict=True)
        ]
        return given[0], given[1]

    return at


def _within_band(times: pd.DatetimeIndex, orders: FloatArray, least: FloatArray, most: FloatArray) -> None:
    """Refuse orders outside the band.

    Raises:
        InputError: with every such interval.
    """
    outside = np.flatnonzero(~((orders >= least - BAND_KW) & (orders <= most + BAND_KW)))
    if len(outside):
        said = [
            f"{times[k]:%Y-%m-%d %H:%M}: {orders[k]:g} kW is outside the band of {least[k]:.3f} to {most[k]:.3f} kW"
            for k in outside[:5]
        ]
        more = (
            [f"{counted(len(outside) - 5, 'more order is', 'more orders are')} outside the band"]
            if len(outside) > 5
            else []
        )
        raise InputError([*said, *more], subject="disaggregate")
