"""The linear ("DC") model of a meshed network: active power, angles and reactances."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from scipy.sparse.linalg import splu

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.errors import InputError
from amm_opt.network.feeder.feeder import Feeder
from amm_opt.network.models.base import NetworkModel
from amm_opt.network.models.limits import Limits, NetworkState

ACTIVE_POWER = np.array([[1.0, 0.0]])
"""What of a flow a rating limits."""


class DCFlow(NetworkModel):
    """Flows of active power that are affine in the net injections; no losses, voltages or reactive power.

    With angles theta (0 at the source) and a branch of reactance x and ratio t between buses a and b,

        P_ab = (theta_a - theta_b) / (x t),        at every bus: sum of P leaving = p injected

    (B. Stott, J. Jardim, O. Alsac, "DC power flow revisited", IEEE Trans. Power Systems 24(3), 2009, doi
    10.1109/TPWRS.2009.2021235; MATPOWER manual, section 3.7). The source balances what is injected elsewhere. So
    P = PTDF p: a row of :meth:`rows` is the row of the branch's power transfer distribution factors, over its rating.

    Limited quantities are the active powers of the branches with a rating, taken in kW, each one row; and limits of
    active power by direction. A shunt's kW are a constant injection. A radial network is taken as well.

    Args:
        feeder: a balanced feeder, meshed or not.

    Raises:
        InputError: where the feeder is on phases, or a branch has no reactance.
    """

    name = "dc"
    takes_meshes = True

    def __init__(self, feeder: Feeder) -> None:
        super().__init__(feeder)
        if not feeder.balanced:
            raise InputError("dc takes balanced networks, and this one is on phases: use lindist3flow")
        x = np.array([m[0, 0].imag for m in feeder.z_ohm[1:]])
        if len(without := np.flatnonzero(x <= 0)):
            raise InputError(
                [f"branch {feeder.branch_names[b + 1]!r}: x_ohm = {x[b]:g}; dc needs a reactance" for b in without]
            )
        start, stop = feeder.ends[:, 1:]
        branches, n = np.arange(1, len(x) + 1), feeder.n_buses
        shape = (len(x) + 1, n)
        either = sp.csr_array((np.ones(len(x)), (branches, start)), shape=shape)
        either -= sp.csr_array((np.ones(len(x)), (branches, stop)), shape=shape)
        per_rad = 1000.0 * feeder.vn_kv[stop] ** 2 / (x * feeder.tap[1:])
        self._per_rad = per_rad
        self._angles = sp.csr_array(either[:, 1:])  # difference of angles along each branch
        self._flows = sp.csr_array(sp.diags_array(np.append(0.0, per_rad)) @ self._angles)
        self._laplacian = sp.csc_array(self._angles.T @ self._flows)
        self._factors = splu(self._laplacian)
        self._shunt_kw = feeder.injected_kva.sum(axis=1).real.copy()
        self.v_min_pu, self.v_max_pu = np.full(n, -np.inf), np.full(n, np.inf)
        self.branch = np.arange(len(x) + 1)

    @cached_property
    def limits(self) -> Limits:
        """Which flows are limited."""
        no_band = (self.bus, self.v_min_pu, self.v_max_pu)
        return Limits.of(*no_band, self.branch, self.rating_kva, self.metered, ACTIVE_POWER)

    def state(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> NetworkState:
        """Flows under net injections; voltages are 1 pu, reactive power is not looked at.

        Args:
            p_kw: (..., n_buses) net injection at each bus, positive into the network.
            q_kvar: not used.
        """
        flow = self._flow(p_kw)
        return NetworkState(np.ones(np.shape(p_kw)), flow, np.zeros_like(flow))

    def _flow(self, p_kw: ArrayLike) -> FloatArray:
        """(..., branches) flows; 0 of entry 0, which is no branch."""
        injected = np.asarray(p_kw, dtype=float)[..., 1:] + self._shunt_kw[1:]
        theta = self._factors.solve(injected.reshape(-1, injected.shape[-1]).T)
        return np.asarray((self._flows @ theta).T.reshape(*injected.shape[:-1], -1))

    def rows(self, k: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The exact affine row of each limited quantity in ``k`` (K indices): PTDF, over its limit.

        Returns:
            ``(a_p, a_q, constant)`` with shapes (K, n), (K, n), (K,): quantity = a_p @ p_kw + a_q @ q_kvar + constant;
            ``a_q`` is 0.
        """
        index = np.arange(len(self.quantities.kind))[np.atleast_1d(np.asarray(k, dtype=np.intp))]
        of, _, flow, normal = self.limits.located(index)
        ptdf = self._factors.solve(self._flows[flow].toarray().T).T if len(flow) else np.zeros((0, self.n_nodes - 1))
        a_p = np.zeros((len(index), self.n_nodes))
        np.add.at(a_p[:, 1:], of, normal.real[:, None] * ptdf)
        return a_p, np.zeros_like(a_p), a_p @ self._shunt_kw

    @cached_property
    def by_flows(self) -> tuple[sp.csr_array, sp.csr_array, sp.csr_array]:
        """The same model with a flow in kW on every branch and no angles: Kirchhoff's two laws.

        A limit is then a bound of one flow. Voltages add up to 0 around the loops that branches outside of a tree close
        (J. Hörsch and others, "Linear optimal power flow using cycle flows", EPSR 158, 2018, doi
        10.1016/j.epsr.2017.12.034).

        Returns:
            ``(leaving, loops, rows)`` with shapes (n - 1, branches), (loops, branches), (m, branches): ``leaving @
            flow`` is what is injected at the buses, the source's aside; ``loops @ flow`` is 0; ``rows @ flow`` are all
            limited quantities.
        """
        of, _, flow, normal = self.limits.located(np.arange(len(self.quantities.kind)))
        rows = sp.csr_array((normal.real, (of, flow)), shape=(len(self.quantities.kind), len(self.branch)))
        return sp.csr_array(self._angles[1:].T), self._loops(), sp.csr_array(rows[:, 1:])

    def _loops(self) -> sp.csr_array:
        """(loops, branches) reactances around every loop of a tree and one branch more, 1 on a middling branch."""
        start, stop = self.feeder.ends[:, 1:]
        parent, branch, depth = _tree(start, stop)
        chords = np.setdiff1d(np.arange(len(start)), branch[branch >= 0])
        row: list[int] = []
        column: list[int] = []
        sign: list[float] = []
        for k, chord in enumerate(chords.tolist()):
            ends = [int(stop[chord]), int(start[chord])]  # back from the end of the chord to its start
            row, column, sign = [*row, k], [*column, chord], [*sign, 1.0]
            while ends[0] != ends[1]:
                side = int(depth[ends[1]] > depth[ends[0]])
                here = int(branch[ends[side]])
                row, column = [*row, k], [*column, here]
                sign.append((1.0 if start[here] == ends[side] else -1.0) * (1.0, -1.0)[side])
                ends[side] = int(parent[ends[side]])
        reactance = np.median(self._per_rad) / self._per_rad
        values = np.array(sign) * reactance[np.array(column, dtype=np.intp)]
        return sp.csr_array((values, (row, column)), shape=(len(chords), len(start)))

    @cached_property
    def _middling(self) -> float:
        return float(np.median(self._flows.data))

    def __reduce__(self) -> tuple[Any, ...]:
        """Made again from its feeder where it is sent to another process; factors cannot be sent."""
        return type(self), (self.feeder,)

    def constraints(
        self, p_kw: cp.Expression, q_kvar: cp.Expression, lower: cp.Expression, upper: cp.Expression
    ) -> list[cp.Constraint]:
        """The same model as cvxpy constraints: ``lower <= quantities(p_kw, q_kvar) <= upper``.

        Args:
            p_kw, q_kvar: affine expressions of shape (n_buses,); the second is not used.
            lower, upper: expressions of shape (m,), the limits of the interval.
        """
        kw = self._middling
        theta = cp.Variable(self.n_nodes - 1)
        flow = (self._flows / kw) @ theta
        scaled = self.limits.expression(cp.Constant(np.ones(self.n_nodes)), flow, cp.Constant(np.zeros(flow.shape)))
        return [
            (self._laplacian / kw) @ theta == p_kw[1:] + self._shunt_kw[1:],
            scaled <= upper,
            scaled >= lower,
        ]


def _tree(start: IntArray, stop: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """A shallow tree over all buses: the parent of each, the branch to it, and the distance from the root.

    -1 is no branch.
    """
    near: dict[int, list[tuple[int, int]]] = {}
    for k, (a, b) in enumerate(zip(start.tolist(), stop.tolist(), strict=True)):
        near.setdefault(a, []).append((b, k))
        near.setdefault(b, []).append((a, k))
    count = int(max(start.max(), stop.max())) + 1
    parent, branch, depth = (np.full(count, -1, dtype=np.intp) for _ in range(3))
    root = max(near, key=lambda bus: (len(near[bus]), -bus))
    depth[root], reached = 0, [root]
    for bus in reached:
        for other, k in near[bus]:
            if depth[other] < 0:
                parent[other], branch[other], depth[other] = bus, k, depth[bus] + 1
                reached.append(other)
    return parent, branch, depth
