"""LinDistFlow: the lossless linear branch-flow model of a balanced radial feeder."""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from amm_opt.errors import InputError
from amm_opt.network.feeder import Feeder

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

SIDES = 16
THERMAL_TOLERANCE = 1e-5
VOLTAGE_TOLERANCE = 2e-6


@dataclass(frozen=True, eq=False)
class NetworkState:
    """Voltages and flows; each array has shape (..., n_buses), branches indexed by the bus they feed.

    Flows are positive away from the source and measured anywhere on the branch (the model has no losses).
    """

    v_pu: FloatArray
    p_flow_kw: FloatArray
    q_flow_kvar: FloatArray

    @property
    def s_flow_kva(self) -> FloatArray:
        """Apparent power on each branch."""
        return np.hypot(self.p_flow_kw, self.q_flow_kvar)


@dataclass(frozen=True, eq=False)
class Quantities:
    """The m limited quantities of a linear network model.

    Attributes:
        kind: (m,) ``"voltage"`` or ``"thermal"``.
        element: (m,) index of the bus (voltage) or of the bus that the branch feeds (thermal).
        lower, upper: (m,) limits of the scaled quantity.
        tolerance: (m,) excess that an audit accepts from a solver.
    """

    kind: NDArray[np.str_]
    element: IntArray
    lower: FloatArray
    upper: FloatArray
    tolerance: FloatArray


class LinDistFlow:
    """Squared voltages and flows that are affine in the net injections.

    For branch b that feeds bus b from bus a: ``P_b = -sum of p below``, ``Q_b`` likewise, and
    ``w_b = w_a / tap_b^2 - 2 (r_b P_b + x_b Q_b)`` with w the squared voltage magnitude; the loss terms of the branch
    flow equations are dropped (M. E. Baran and F. F. Wu, "Network reconfiguration in distribution systems for loss
    reduction and load balancing", IEEE Trans. Power Delivery 4(2), 1989, eqs. (5)-(6), doi 10.1109/61.25627).

    Thermal limits ``P^2 + Q^2 <= S^2`` become the regular polygon of ``SIDES`` = 16 sides *inscribed* in that circle,
    with a vertex on the P axis: exact at unity power factor, never optimistic, and at most 1 - cos(pi/16) = 1.9 %
    below the rating. Limited quantities are, in this order: the squared voltage (pu^2) at every bus but the source,
    and for every rated branch the projection of its flow on 8 edge normals, as a fraction of that edge's limit
    (so each lies in [-1, 1]).

    Args:
        feeder: a balanced feeder (every bus and branch on phase ``pos``), or one on a single phase throughout.

    Raises:
        InputError: where the feeder has a branch on several phases.
    """

    name = "lindistflow"

    def __init__(self, feeder: Feeder) -> None:
        for name, phases in zip(feeder.branch_names[1:], feeder.branch_phases[1:], strict=True):
            if len(phases) != 1:
                raise InputError(
                    f"branch {name!r} is on phases {''.join(phases)}; lindistflow models one phase (balanced feeders)"
                )
        self.feeder = feeder
        self._end = feeder.subtree_end
        self._leaving = np.argsort(self._end, kind="stable")
        self._n_left = np.searchsorted(self._end[self._leaving], np.arange(feeder.n_buses), side="right")
        z = np.array([m[0, 0] for m in feeder.z_ohm])
        z_per_kw = z / (1000.0 * feeder.vn_kv**2)
        if feeder.phases[0] != ("pos",):
            z_per_kw = z_per_kw * 3.0
        self._gain = np.exp(self._along_path(-2.0 * np.log(feeder.tap)))
        self._r = np.ascontiguousarray(z_per_kw.real / self._gain)
        self._x = np.ascontiguousarray(z_per_kw.imag / self._gain)
        self._w_source = feeder.v_source_pu**2
        self._rated = np.flatnonzero(np.isfinite(feeder.rating_kva))
        self._rating = feeder.rating_kva[self._rated]
        everything = len(self._rated) == feeder.n_buses - 1
        self._rated_at: slice | IntArray = slice(1, None) if everything else self._rated
        angle = (2 * np.arange(SIDES // 2) + 1) * np.pi / SIDES
        self._normals = np.column_stack([np.cos(angle), np.sin(angle)]) / np.cos(np.pi / SIDES)
        self.quantities = self._quantities()

    def _quantities(self) -> Quantities:
        f, sides = self.feeder, SIDES // 2
        buses = np.arange(1, f.n_buses)
        ones = np.ones(sides * len(self._rated))
        return Quantities(
            kind=np.repeat(["voltage", "thermal"], [len(buses), len(ones)]),
            element=np.concatenate([buses, np.tile(self._rated, sides)]),
            lower=np.concatenate([f.v_min_pu[1:] ** 2, -ones]),
            upper=np.concatenate([f.v_max_pu[1:] ** 2, ones]),
            tolerance=np.repeat([VOLTAGE_TOLERANCE, THERMAL_TOLERANCE], [len(buses), len(ones)]),
        )

    def _below(self, values: FloatArray) -> FloatArray:
        """Sum of ``values`` over the subtree of every bus (last axis)."""
        total = np.zeros((*values.shape[:-1], values.shape[-1] + 1))
        np.cumsum(values, axis=-1, out=total[..., 1:])
        return np.asarray(total[..., self._end] - total[..., :-1])

    def _along_path(self, values: FloatArray) -> FloatArray:
        """Sum of ``values`` over the path from the source to every bus (last axis)."""
        left = np.zeros((*values.shape[:-1], values.shape[-1] + 1))
        np.cumsum(values[..., self._leaving], axis=-1, out=left[..., 1:])
        return np.asarray(np.cumsum(values, axis=-1) - left[..., self._n_left])

    def state(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> NetworkState:
        """Voltages and flows under net injections.

        Args:
            p_kw, q_kvar: (..., n_buses) net injection at each bus, positive into the network.
        """
        w, p_flow, q_flow = self._flows(p_kw, q_kvar)
        return NetworkState(np.sqrt(w), p_flow, q_flow)

    def _flows(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Squared voltages and flows."""
        p_flow = -self._below(np.asarray(p_kw, dtype=float))
        q_flow = -self._below(np.asarray(q_kvar, dtype=float))
        drop = self._along_path(self._r * p_flow + self._x * q_flow)
        return np.maximum(self._gain * (self._w_source - 2.0 * drop), 0.0), p_flow, q_flow

    def evaluate(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> FloatArray:
        """Every limited quantity under net injections: (..., n_buses) in, (..., m) out."""
        return self._limited(*self._flows(p_kw, q_kvar))

    def limited(self, v_pu: FloatArray, p_flow_kw: FloatArray, q_flow_kvar: FloatArray) -> FloatArray:
        """Every limited quantity of voltages and flows from elsewhere, such as a power flow: (..., n_buses) each in."""
        return self._limited(v_pu**2, p_flow_kw, q_flow_kvar)

    def _limited(self, w: FloatArray, p_flow: FloatArray, q_flow: FloatArray) -> FloatArray:
        n_voltage, n_rated = self.feeder.n_buses - 1, len(self._rated)
        out = np.empty((*w.shape[:-1], len(self.quantities.kind)))
        out[..., :n_voltage] = w[..., 1:]
        flows = np.empty((*w.shape[:-1], 2, n_rated))
        np.divide(p_flow[..., self._rated_at], self._rating, out=flows[..., 0, :])
        np.divide(q_flow[..., self._rated_at], self._rating, out=flows[..., 1, :])
        sides = out[..., n_voltage:].reshape(*w.shape[:-1], SIDES // 2, n_rated)
        np.matmul(self._normals, flows, out=sides)
        return out

    def rows(self, k: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The exact affine row of each limited quantity in ``k`` (K indices).

        Returns:
            ``(a_p, a_q, constant)`` with shapes (K, n), (K, n), (K,): quantity = a_p @ p_kw + a_q @ q_kvar + constant.
        """
        index = np.arange(len(self.quantities.kind))[np.atleast_1d(np.asarray(k, dtype=np.intp))]
        a_p, a_q = np.zeros((2, len(index), self.feeder.n_buses))
        constant = np.zeros(len(index))
        n_voltage, n_rated = self.feeder.n_buses - 1, len(self._rated)
        for row, i in enumerate(index):
            if i < n_voltage:
                bus = int(self.quantities.element[i])
                scale = 2.0 * self._gain[bus]
                a_p[row], a_q[row] = scale * self._shared(bus, self._r), scale * self._shared(bus, self._x)
                constant[row] = self._gain[bus] * self._w_source
            else:
                side, branch = divmod(int(i) - n_voltage, n_rated)
                b = int(self._rated[branch])
                normal = self._normals[side] / self.feeder.rating_kva[b]
                a_p[row, b : self._end[b]], a_q[row, b : self._end[b]] = -normal[0], -normal[1]
        return a_p, a_q, constant

    def _shared(self, bus: int, z: FloatArray) -> FloatArray:
        """(n,) sum of ``z`` over the path that every bus shares with ``bus``."""
        shared = np.zeros(self.feeder.n_buses)
        path = []
        while bus > 0:
            path.append(bus)
            bus = int(self.feeder.parent[bus])
        along = 0.0
        for bus in reversed(path):
            along += z[bus]
            shared[bus : self._end[bus]] = along
        return shared

    def constraints(
        self, p_kw: cp.Expression, q_kvar: cp.Expression, lower: cp.Expression, upper: cp.Expression
    ) -> list[cp.Constraint]:
        """The same model as cvxpy constraints: ``lower <= quantities(p_kw, q_kvar) <= upper``.

        Args:
            p_kw, q_kvar: affine expressions of shape (n_buses,).
            lower, upper: expressions of shape (m,), the limits of the interval.
        """
        f, n = self.feeder, self.feeder.n_buses
        child = np.arange(1, n)
        parents = sp.csr_array((np.ones(n - 1), (f.parent[1:], child)), shape=(n, n))
        p_flow, q_flow, drop = cp.Variable(n), cp.Variable(n), cp.Variable(n - 1)
        upstream = sp.csr_array((np.ones(n - 1), (child - 1, f.parent[1:])), shape=(n - 1, n))[:, 1:]
        w = self._gain[1:] * self._w_source - cp.multiply(2.0 * self._gain[1:], drop)
        rating = f.rating_kva[self._rated]
        p, q = p_flow[self._rated] / rating, q_flow[self._rated] / rating
        values = [w, *(a * p + b * q for a, b in self._normals)] if len(rating) else [w]
        scaled = cp.hstack(values)
        return [
            p_flow == parents @ p_flow - p_kw,
            q_flow == parents @ q_flow - q_kvar,
            drop == upstream @ drop + cp.multiply(self._r[1:], p_flow[1:]) + cp.multiply(self._x[1:], q_flow[1:]),
            scaled <= upper,
            scaled >= lower,
        ]
