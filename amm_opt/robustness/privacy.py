"""What a participant's price and service tell it about its neighbours."""

from __future__ import annotations

import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.errors import InputError
from amm_opt.simulation import Run

SHUFFLES = 20
KNOWN = 1e-9
"""A signal that varies by less than this says nothing."""


def revealed(run: Run, *, seed: int = 0) -> pd.DataFrame:
    """How much of what a participant's neighbours do can be read from its own price and its own served share.

    The measure (ours): R^2 of a straight line from the signal to the net power of everybody else in the same LV feeder
    (on the upper tier, of everybody else), over the intervals of a run, less the mean of the same R^2 with the days of
    the signal in random order. What the time of day tells anybody is in both and cancels; at least 0. It is a lower
    bound of what can be learnt: a cleverer reader may learn more.

    Columns: ``participant``, ``feeder``, ``price_import``, ``price_export`` and ``share_import``, ``share_export``:
    between 0 and 1, NaN where the signal never varies.

    Raises:
        InputError: for a run of less than two days, or whose energy could wait.
    """
    case, requests = run.case, run.requests
    day = round(24 / case.dt_h)
    days = requests.n_steps // day
    if days < 2 or run.waits:
        why = "its energy could wait" if run.waits else f"it has {requests.n_steps} intervals and not two days"
        raise InputError(f"nothing can be said of neighbours in this run: {why}")
    steps = days * day
    net = (requests.inflexible_kw + run.allocation.drawn_kw - run.allocation.injected_kw)[:steps]
    home = case.lv_feeder
    of_feeder = np.stack([net[:, home == f].sum(axis=1) for f in range(-1, int(home.max(initial=-1)) + 1)], axis=1)
    of_feeder[:, 0] = net.sum(axis=1)
    others = of_feeder[:, home + 1] - net
    rng = np.random.default_rng(seed)
    orders = [np.arange(steps).reshape(days, day)[rng.permutation(days)].ravel() for _ in range(SHUFFLES)]
    names = np.array([*case.feeder.lv_feeders, ""], dtype=object)
    table: dict[str, object] = {"participant": case.participant_names, "feeder": names[home]}
    for d, direction in enumerate(("import", "export")):
        price, asked = getattr(run.allocation, f"{direction}_price"), requests.both_kw[d][:steps]
        served = run.allocation.both_kw[d][:steps]
        share = np.divide(served, asked, out=np.ones_like(asked), where=asked > 0)
        for what, signal in (("price", price), ("share", share)):
            table[f"{what}_{direction}"] = _told(None if signal is None else signal[:steps], others, orders)
    return pd.DataFrame(table)


def _told(signal: FloatArray | None, others: FloatArray, orders: list[IntArray]) -> FloatArray:
    """(n,) R^2 beyond that of days in random order."""
    if signal is None:
        return np.full(others.shape[1], np.nan)
    signal = np.nan_to_num(np.asarray(signal, dtype=float))
    by_chance = np.mean([_r2(signal[order], others) for order in orders], axis=0)
    told = np.maximum(_r2(signal, others) - by_chance, 0.0)
    return np.where(np.ptp(signal, axis=0) > KNOWN, told, np.nan)


def _r2(x: FloatArray, y: FloatArray) -> FloatArray:
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    both = (x**2).sum(axis=0) * (y**2).sum(axis=0)
    return np.asarray(np.divide((x * y).sum(axis=0) ** 2, both, out=np.zeros(x.shape[1]), where=both > 0))
