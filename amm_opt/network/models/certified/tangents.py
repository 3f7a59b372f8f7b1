"""Tangents of a box's bounds: every limited quantity is convex in the corners of the box, and these lie below it.

The squared currents that bounds need at least are the least fixed point of a map that is monotone, and convex in
corners and currents together: so is every upper bound of a flow and minus every lower bound of a voltage. A tangent is
the derivative of that fixed point, by the adjoint equations: one backward/forward sweep as often as it takes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import FloatArray
from amm_opt.network.models.certified.certificate import Branches, Certificate

SWEEPS = 200
TOLERANCE = 1e-13


@dataclass(frozen=True, eq=False)
class Weights:
    """How K quantities depend on the bounds themselves, (K, n_buses) each; see ``Certificate``."""

    p_high: FloatArray
    p_low: FloatArray
    q_high: FloatArray
    q_low: FloatArray
    w_low: FloatArray
    w_high: FloatArray
    current: FloatArray

    @classmethod
    def none(cls, count: int, n_buses: int) -> Weights:
        """Zeros, to be filled in."""
        return cls(*(np.zeros((count, n_buses)) for _ in fields(cls)))


def gradients(c: Certificate, of: Weights) -> tuple[FloatArray, FloatArray]:
    """Derivatives of quantities in the corners of one box, (K, 2 n_buses) per kW and per kvar.

    Args:
        c: bounds of one box, which must have been found.
        of: the quantities.
    """
    f = c.of
    along, below, shunts = f.tree.along, f.tree.below, bool(np.any(f.p_shunt) or np.any(f.q_shunt))
    at_parent = _at_parent(f)
    slope = f.tap**2 / c.w_low[f.up]
    by_p, by_q, by_w = 2.0 * c.p_most * slope, 2.0 * c.q_most * slope, -c.current / c.w_low[f.up]
    upper_p, upper_q = c.p_high >= -c.p_low, c.q_high >= -c.q_low
    current, w_low, w_high = of.current, of.w_low, of.w_high
    flows = [np.zeros_like(current)] * 4
    for _ in range(SWEEPS):
        lower, higher = below(f.gain * w_low) / f.gain, below(f.gain * w_high) / f.gain
        pushed_p, pushed_q = by_p * current, by_q * current
        before, flows = (
            flows,
            [
                along(of.p_high + np.where(upper_p, pushed_p, 0.0) - 2.0 * f.r * lower),
                along(of.p_low - np.where(upper_p, 0.0, pushed_p) - 2.0 * f.r * higher),
                along(of.q_high + np.where(upper_q, pushed_q, 0.0) - 2.0 * f.x * lower),
                along(of.q_low - np.where(upper_q, 0.0, pushed_q) - 2.0 * f.x * higher),
            ],
        )
        most_p, least_p, most_q, least_q = flows
        w_low = of.w_low + (by_w * current) @ at_parent
        if shunts:
            give, take = ([np.maximum(s * each, 0.0) for each in (f.p_shunt, f.q_shunt)] for s in (1.0, -1.0))
            w_low += take[0] * least_p - give[0] * most_p + take[1] * least_q - give[1] * most_q
            w_high = of.w_high + take[0] * most_p - give[0] * least_p + take[1] * most_q - give[1] * least_q
        current = of.current + f.r * most_p + f.x * most_q + f.square * lower
        size = max(float(np.abs(flow).max(initial=0.0)) for flow in flows)
        if all(np.abs(a - b).max(initial=0.0) <= TOLERANCE * size for a, b in zip(before, flows, strict=True)):
            break
    return -np.concatenate([most_p, least_p], axis=1), -np.concatenate([most_q, least_q], axis=1)


def _at_parent(f: Branches) -> sp.csr_array:
    """(n, n) that takes what stands at buses to the buses above them; the source's own to nowhere."""
    n = len(f.up)
    return sp.csr_array((np.ones(n - 1), (np.arange(1, n), f.up[1:])), shape=(n, n))
