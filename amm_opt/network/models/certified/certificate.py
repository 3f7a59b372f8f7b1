"""A box of injections held against a feeder by sweeps: bounds that every AC solution in it keeps, without a solver."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from amm_opt.arrays import BoolArray, FloatArray, IntArray
from amm_opt.network.models.sweeps import Forest

SWEEPS = 100
SWEEP_TOLERANCE = 1e-12
POWER_STEPS, POWER_TOLERANCE = 60, 1e-3
FLOOR = 1e-9
"""What every entry of the power iteration keeps, relative to the largest: Collatz's bound needs positive ones."""
Corner = tuple[FloatArray, FloatArray]


@dataclass(frozen=True, eq=False)
class Branches:
    """What the sweeps need of a balanced radial feeder, per bus the branch that feeds it.

    Attributes:
        r, x: so that 2 (r P + x Q), P in kW and Q in kvar, is a difference of squared voltages in pu^2.
        gain: of the squared voltage between the source and the bus, by the taps on the way.
        p_shunt, q_shunt: kW and kvar that admittances inject at nominal voltage, half the charging of lines included.
        w_source: the source's squared voltage.
    """

    tree: Forest
    up: IntArray
    r: FloatArray
    x: FloatArray
    tap: FloatArray
    gain: FloatArray
    p_shunt: FloatArray
    q_shunt: FloatArray
    w_source: float

    @cached_property
    def square(self) -> FloatArray:
        """(n,) squared impedances."""
        return self.r**2 + self.x**2

    def voltage(self, p: FloatArray, q: FloatArray, current: FloatArray | float) -> FloatArray:
        """(..., n) squared voltages by flows at the upper ends and squared currents."""
        drop = self.tree.along((2.0 * (self.r * p + self.x * q) - self.square * current) / self.gain)
        return np.asarray(self.gain * (self.w_source - drop))


@dataclass(frozen=True, eq=False)
class Certificate:
    """Bounds of all AC solutions of a box, (..., n_buses) each; NaN where none were found.

    Flows are those into the impedance of the branch that feeds each bus, at its upper end. ``w`` are squared voltages
    in pu^2, ``current`` squared currents in (kVA at nominal voltage)^2 below the tap.

    What is bounded exists: from flows and voltages within the bounds the branch flow equations make new ones within
    them, continuously, so that they have a fixed point there (Brouwer), and that is an AC solution.
    """

    of: Branches
    p_high: FloatArray
    p_low: FloatArray
    q_high: FloatArray
    q_low: FloatArray
    w_low: FloatArray
    w_high: FloatArray
    current: FloatArray

    @property
    def found(self) -> BoolArray:
        """(...) whether there are bounds."""
        return np.asarray(~np.isnan(self.w_low[..., 0]))

    @property
    def p_most(self) -> FloatArray:
        """Largest size of the active flow."""
        return np.maximum(self.p_high, -self.p_low)

    @property
    def q_most(self) -> FloatArray:
        """Largest size of the reactive flow."""
        return np.maximum(self.q_high, -self.q_low)

    @cached_property
    def radius(self) -> FloatArray:
        """(...) an upper bound of the spectral radius of the equations' derivative anywhere within the bounds.

        Below 1 the AC solution within the bounds is the only one there, and a backward/forward sweep finds it. The
        bound is Collatz's: max_i (J x)_i / x_i, x > 0 by power iteration.
        """
        f = self.of
        dl, dw = np.ones_like(self.current), np.zeros_like(self.current)
        w_up, tap2 = self.w_low[..., f.up] / f.tap**2, f.tap**2
        bound = np.full(self.current.shape[:-1], np.inf)
        for _ in range(POWER_STEPS):
            dp = f.tree.below(f.r * dl + np.abs(f.p_shunt) * dw)
            dq = f.tree.below(f.x * dl + np.abs(f.q_shunt) * dw)
            drop = (2.0 * (f.r * dp + f.x * dq) - f.square * dl) / f.gain
            new_w = f.gain * f.tree.along(drop)
            new_l = (2.0 * (self.p_most * dp + self.q_most * dq) + self.current * new_w[..., f.up] / tap2) / w_up
            with np.errstate(invalid="ignore"):
                now = _ratio(new_l, dl)
                if np.any(f.p_shunt) or np.any(f.q_shunt):
                    now = np.maximum(now, _ratio(new_w, dw))
            with np.errstate(invalid="ignore"):  # no bound yet, and none now
                done = np.abs(now - bound) <= POWER_TOLERANCE * now
            bound = np.where(np.isnan(now), np.nan, np.minimum(bound, now))
            if np.all(done | np.isnan(now)):
                break
            dl, dw = _positive(new_l), _positive(new_w)
        return bound


def _positive(values: FloatArray) -> FloatArray:
    return np.asarray(np.maximum(values, FLOOR * np.max(values, axis=-1, keepdims=True, initial=1e-300)))


def _ratio(new: FloatArray, old: FloatArray) -> FloatArray:
    """(...) the largest ratio, of entries but the source's."""
    old = old[..., 1:]
    ratio = np.divide(new[..., 1:], old, out=np.where(new[..., 1:] > 0, np.inf, 0.0), where=old > 0)
    return np.asarray(np.max(ratio, axis=-1, initial=0.0))


def certificate(f: Branches, low: Corner, high: Corner) -> Certificate:
    """The least bounds of the box between two corners.

    Args:
        low, high: net injections (kW, kvar) of the buses, (..., n_buses) each, positive into the network.

    With P, Q the flows at the upper end, l squared currents and w squared voltages, for every solution with
    0 <= l <= lh and wL <= w <= wH:

        below(-p_high) <= P <= below(-p_low + r lh)                     Q likewise with q and x
        w <= wH, by the lower flows and without losses;   w >= wL, by the upper flows and with lh
        l = (P^2 + Q^2) / w_parent <= (max P^2 + max Q^2) / wL_parent = lh

    Every bound rises (wL falls) with every other, so that the sweeps from no current on rise to the least ones.
    """
    (p_low, q_low), (p_high, q_high) = low, high
    below, tap2 = f.tree.below, f.tap**2
    current, flat = np.zeros_like(p_low), np.broadcast_to(f.gain * f.w_source, p_low.shape)
    w_low, w_high = flat, flat
    moved = np.full(p_low.shape[:-1], np.inf)
    give, take = ([np.maximum(s * shunt, 0.0) for shunt in (f.p_shunt, f.q_shunt)] for s in (1.0, -1.0))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for _ in range(SWEEPS):
            p_most = below(f.r * current - p_low - give[0] * w_low + take[0] * w_high)
            q_most = below(f.x * current - q_low - give[1] * w_low + take[1] * w_high)
            p_least = below(-p_high - give[0] * w_high + take[0] * w_low)
            q_least = below(-q_high - give[1] * w_high + take[1] * w_low)
            before, w_low, w_high = w_low, f.voltage(p_most, q_most, current), f.voltage(p_least, q_least, 0.0)
            largest = np.maximum(p_most, -p_least) ** 2 + np.maximum(q_most, -q_least) ** 2
            current = largest * tap2 / w_low[..., f.up]
            moved = np.max(np.abs(w_low - before), axis=-1)
            if not np.any(moved > SWEEP_TOLERANCE):
                break
        bad = ~(moved <= SWEEP_TOLERANCE * 1e3) | np.any(w_low <= 0, axis=-1)
    arrays = (p_most, p_least, q_most, q_least, w_low, w_high, current)
    return Certificate(f, *(np.where(bad[..., None], np.nan, a) for a in arrays))
