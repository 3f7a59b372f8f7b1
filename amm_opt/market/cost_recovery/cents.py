"""Money in whole cents, so that what is paid adds up to what is charged exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from amm_opt.arrays import FloatArray, IntArray


def over_time(amounts: FloatArray) -> IntArray:
    """(T,) whole cents whose running sum is always the rounded running sum of the amounts (T,), in currency."""
    running: IntArray = np.rint(100.0 * np.cumsum(amounts)).astype(np.int64)
    return np.asarray(running - np.concatenate([np.zeros(1, dtype=np.int64), running[:-1]]))


def in_cents(amounts: FloatArray, total: ArrayLike) -> IntArray:
    """(..., n) whole cents that add up to ``total`` (...): amounts (..., n) in currency, by largest remainder.

    Each is rounded down, and a cent more goes to those who lost most by that; to the first of equal ones.
    """
    exact = 100.0 * np.asarray(amounts, dtype=float)
    whole = np.floor(np.round(exact, 6)).astype(np.int64)
    n = whole.shape[-1]
    each, left = np.divmod(np.asarray(total, dtype=np.int64) - whole.sum(axis=-1), n)
    order = np.argsort(-(exact - whole), axis=-1, kind="stable")
    more = np.arange(n) < np.asarray(left)[..., None]
    given = np.zeros_like(whole)
    np.put_along_axis(given, order, np.broadcast_to(more, whole.shape).astype(np.int64), axis=-1)
    return np.asarray(whole + np.asarray(each)[..., None] + given)


def split(total: ArrayLike, weights: FloatArray) -> IntArray:
    """(..., n) whole cents: ``total`` cents (...) in proportion to weights (..., n), of which some are positive."""
    share = weights / weights.sum(axis=-1, keepdims=True)
    cents = np.asarray(total, dtype=np.int64)
    return in_cents(cents[..., None] * share / 100.0, cents)
