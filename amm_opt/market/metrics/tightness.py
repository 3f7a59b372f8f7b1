"""How much a node depends on what comes in, when load is short, and how much prices move."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from amm_opt.arrays import BoolArray, FloatArray
from amm_opt.tolerances import REQUEST_TOLERANCE_KW


def node_tightness(demand_kw: ArrayLike, available_kw: ArrayLike, import_capacity_kw: ArrayLike) -> FloatArray:
    """max(0, D - A) / import capacity: the share of its lines that a node needs at least; above 1 load is short.

    Source: D. Sweeney, arXiv 2512.13871 (2025), public code. Import capacity is the sum of the limits of all lines at
    the node. Where there is none, it is 0 for a node that meets its own load, and infinite for another.

    Args:
        demand_kw, available_kw: (..., nodes) load, and what plants there could give.
        import_capacity_kw: (nodes,).
    """
    lacking = np.maximum(np.asarray(demand_kw, dtype=float) - np.asarray(available_kw, dtype=float), 0.0)
    room = np.broadcast_to(np.asarray(import_capacity_kw, dtype=float), lacking.shape)
    return np.asarray(np.divide(lacking, room, out=np.where(lacking > 0, np.inf, 0.0), where=room > 0))


def scarce(unserved_kw: ArrayLike) -> BoolArray:
    """Where load is not served: more than the smallest power that is a request, 1e-6 kW (in the source 1e-6 MW)."""
    return np.asarray(np.asarray(unserved_kw, dtype=float) > REQUEST_TOLERANCE_KW)


def import_share(imported_kw: ArrayLike, served_kw: ArrayLike, when: ArrayLike) -> FloatArray:
    """(nodes,) energy that came in over energy served, in chosen intervals; NaN where nothing was served then.

    Args:
        imported_kw: (T, nodes) what flows into a node on balance; what flows out counts 0.
        served_kw: (T, nodes) load that is served there.
        when: (T, nodes) intervals that count, such as those of positive tightness, or of these only the ones in which
            a line of the node is full.
    """
    counts = np.asarray(when, dtype=bool)
    came = np.where(counts, np.maximum(np.asarray(imported_kw, dtype=float), 0.0), 0.0).sum(axis=0)
    served = np.where(counts, np.asarray(served_kw, dtype=float), 0.0).sum(axis=0)
    return np.asarray(np.divide(came, served, out=np.full(served.shape, np.nan), where=served > 0))


def price_volatility(prices: ArrayLike) -> pd.Series[float]:
    """How much a price moves over T intervals; missing prices are left out.

    ``mean``, ``lowest`` and ``highest``; ``deviation``, the standard deviation (of all T, not of a sample);
    ``variation``, that over the size of the mean, NaN where the mean is 0; ``step``, the mean size of the change from
    one interval to the next.
    """
    p = np.asarray(prices, dtype=float).ravel()
    p = p[~np.isnan(p)]
    if not len(p):
        return pd.Series(np.nan, index=["mean", "lowest", "highest", "deviation", "variation", "step"])
    mean, deviation = float(p.mean()), float(p.std())
    told = {
        "mean": mean,
        "lowest": float(p.min()),
        "highest": float(p.max()),
        "deviation": deviation,
        "variation": deviation / abs(mean) if mean else np.nan,
        "step": float(np.abs(np.diff(p)).mean()) if len(p) > 1 else np.nan,
    }
    return pd.Series(told)
