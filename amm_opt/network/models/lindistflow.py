"""LinDistFlow: the lossless linear branch-flow model of a balanced radial feeder."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from amm_opt.arrays import FloatArray
from amm_opt.errors import InputError
from amm_opt.network.feeder.feeder import Feeder
from amm_opt.network.models.base import NetworkModel
from amm_opt.network.models.limits import NetworkState
from amm_opt.network.models.sweeps import Forest


class LinDistFlow(NetworkModel):
    """Squared voltages and flows that are affine in the net injections.

    For branch b that feeds bus b from bus a: ``P_b = -sum of p below``, ``Q_b`` likewise, and
    ``w_b = w_a / tap_b^2 - 2 (r_b P_b + x_b Q_b)`` with w the squared voltage magnitude; the loss terms of the branch
    flow equations are dropped (M. E. Baran and F. F. Wu, "Network reconfiguration in distribution systems for loss
    reduction and load balancing", IEEE Trans. Power Delivery 4(2), 1989, eqs. (5)-(6), doi 10.1109/61.25627).

    Shunts and line charging are constant injections, what they are at nominal voltage; the flow on a branch is that
    through its impedance, between the halves of its charging.

    Limited quantities are the squared voltage (pu^2) at every bus but the source, and 8 projections of the flow on
    every rated branch (see ``Limits``).

    Args:
        feeder: a balanced feeder (every bus and branch on phase ``pos``), or one on a single phase throughout.

    Attributes:
        gain: (n_buses,) squared voltage of each bus without load, per that of the source: what taps make of it.

    Raises:
        InputError: where the feeder has a branch on several phases.
    """

    name = "lindistflow"

    def __init__(self, feeder: Feeder) -> None:
        super().__init__(feeder)
        for name, phases in zip(feeder.branch_names[1:], feeder.branch_phases[1:], strict=True):
            if len(phases) != 1:
                raise InputError(
                    f"branch {name!r} is on phases {''.join(phases)}; lindistflow models one phase (balanced feeders);"
                    " use lindist3flow"
                )
        if len(found := sorted(set(feeder.branch_phases[1:]))) > 1:
            raise InputError(
                f"branches are on phases {', '.join(p for (p,) in found)}; lindistflow models one phase throughout; use"
                " lindist3flow"
            )
        self._end = feeder.subtree_end
        self._tree = Forest(self._end)
        z = np.array([m[0, 0] for m in feeder.z_ohm])
        z_per_kw = z / (1000.0 * feeder.vn_kv**2)
        if feeder.phases[0] != ("pos",):
            z_per_kw = z_per_kw * 3.0
        self.gain = np.exp(self._tree.along(-2.0 * np.log(feeder.tap)))
        self._r = np.ascontiguousarray(z_per_kw.real / self.gain)
        self._x = np.ascontiguousarray(z_per_kw.imag / self.gain)
        self._w_source = feeder.v_source_pu**2
        shunts = feeder.injected_kva.sum(axis=1)
        self._p_shunt, self._q_shunt = shunts.real.copy(), shunts.imag.copy()
        self._p_always, self._q_always = -self._tree.below(self._p_shunt), -self._tree.below(self._q_shunt)

    @property
    def merges(self) -> bool:
        """Yes; nothing is known of classes made of this one."""
        return type(self) is LinDistFlow

    def state(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> NetworkState:
        """Voltages and flows under net injections.

        Args:
            p_kw, q_kvar: (..., n_buses) net injection at each bus, positive into the network.
        """
        w, p_flow, q_flow = self._flows(p_kw, q_kvar)
        return NetworkState(np.sqrt(w), p_flow, q_flow)

    def _flows(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Squared voltages and flows."""
        p, q = np.asarray(p_kw, dtype=float), np.asarray(q_kvar, dtype=float)
        below_p, below_q = self._tree.below(np.stack([p, q])) if p.ndim == 1 else map(self._tree.below, (p, q))
        p_flow, q_flow = self._p_always - below_p, self._q_always - below_q
        drop = self._tree.along(self._r * p_flow + self._x * q_flow)
        return np.maximum(self.gain * (self._w_source - 2.0 * drop), 0.0), p_flow, q_flow

    def evaluate(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> FloatArray:
        """Every limited quantity under net injections: (..., n_buses) in, (..., m) out."""
        return self.limits.values(*self._flows(p_kw, q_kvar))

    def rows(self, k: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The exact affine row of each limited quantity in ``k`` (K indices).

        Returns:
            ``(a_p, a_q, constant)`` with shapes (K, n), (K, n), (K,): quantity = a_p @ p_kw + a_q @ q_kvar + constant.
        """
        index = np.arange(len(self.quantities.kind))[np.atleast_1d(np.asarray(k, dtype=np.intp))]
        a_p, a_q = np.zeros((2, len(index), self.feeder.n_buses))
        constant = np.zeros(len(index))
        for row, is_voltage, b, normal in zip(*(x.tolist() for x in self.limits.located(index)), strict=True):
            if is_voltage:
                scale = 2.0 * self.gain[b]
                a_p[row], a_q[row] = scale * self._shared(b, self._r), scale * self._shared(b, self._x)
                constant[row] = self.gain[b] * self._w_source
            else:
                a_p[row, b : self._end[b]], a_q[row, b : self._end[b]] = -normal.real, -normal.imag
        return a_p, a_q, constant + a_p @ self._p_shunt + a_q @ self._q_shunt

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
        below = cp.hstack([0.0, drop])
        w = self.gain * self._w_source - cp.multiply(2.0 * self.gain, below)
        scaled = self.limits.expression(w, p_flow, q_flow)
        return [
            p_flow == parents @ p_flow - p_kw - self._p_shunt,
            q_flow == parents @ q_flow - q_kvar - self._q_shunt,
            drop == upstream @ drop + cp.multiply(self._r[1:], p_flow[1:]) + cp.multiply(self._x[1:], q_flow[1:]),
            scaled <= upper,
            scaled >= lower,
        ]
