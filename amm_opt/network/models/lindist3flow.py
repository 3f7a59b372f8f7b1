"""LinDist3Flow: the linear branch-flow model of an unbalanced radial feeder, on named phases."""

from __future__ import annotations

from functools import cached_property

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from amm_opt.arrays import BoolArray, ComplexArray, FloatArray, IntArray
from amm_opt.errors import InputError, SolveError, counted
from amm_opt.fields import checked_kind
from amm_opt.network.feeder.feeder import Feeder
from amm_opt.network.feeder.phases import phase_nodes
from amm_opt.network.models.base import NetworkModel
from amm_opt.network.models.limits import NetworkState
from amm_opt.network.models.phase_sweeps import PhaseSweeps

NUMBERS_AT_ONCE = 60_000
"""Rows of so many numbers together are made at once: they stay in the processor's cache."""


class LinDist3Flow(NetworkModel):
    """Squared phase-to-neutral voltages and flows per phase that are affine in the net injections.

    With reference voltages V^ (complex, fixed), the current injected at a node of power S is taken as conj(S / V^).
    Currents then add up towards the source, voltages follow V_b = T V_a - Z_b I_b with the 3 x 3 impedance of the
    branch (mutual impedance included) and the transformer's ratio T, the squared voltage is taken to first order,
    w = 2 Re(conj(V^) V) - |V^|^2, and the flow on a branch is S = T V^_a conj(I). At the reference of no load, which is
    the default, this is the lossless model of L. Gan and S. H. Low, "Convex relaxations and linear approximation for
    optimal power flow in multiphase radial networks", PSCC 2014, doi 10.1109/PSCC.2014.7038399: voltages nearly
    balanced, losses dropped; D. B. Arnold et al., "Optimal dispatch of reactive power for voltage regulation and
    balancing in unbalanced distribution systems", IEEE PES GM 2016, call it LinDist3Flow. Around an operating point
    (:meth:`around`) it is the fixed-point linearisation of A. Bernstein et al., IEEE Trans. Power Systems 33(6), 2018,
    doi 10.1109/TPWRS.2018.2823277: exact there and without load, losses included.

    A delta-wye transformer has T_Dyn = D / (sqrt(3) tap): a load on one phase of its secondary is a load between two
    phases of its primary, so both carry about half, turned by +30 and -30 degrees. With the delta below it has the
    transpose, and voltages there are those of the equivalent star; a star with ground draws what the zero-sequence
    voltage drives through its impedance. (Our reading of a model that is usually stated for lines; exact at the
    reference.)

    Shunts, line charging and grounded stars are constant injections: what they are at nominal voltage, or at the
    operating point's. The flow on a branch is that through its impedance, between the halves of its charging.

    Voltages are between phase and neutral: the impedances are those after the neutral has been taken out. Nodes are the
    (bus, phase) pairs that exist, all of phase a first, each in the order of the feeder's buses.

    Args:
        feeder: a feeder on named phases a, b, c.
        reference: (n_nodes,) complex voltages in pu; without load where not given.

    Attributes:
        bus, phase: (n_nodes,) which the nodes are.

    Raises:
        InputError: where a bus or branch is balanced (phase ``pos``), or a grounded star has no impedance behind it.
    """

    name = "lindist3flow"

    def __init__(self, feeder: Feeder, reference: ComplexArray | None = None) -> None:
        _check(feeder)
        super().__init__(feeder)
        n = feeder.n_buses
        self.phase, self.bus = phase_nodes(feeder.branch_phases)
        self._node = n * self.phase + self.bus
        self._sweeps, self._moved = PhaseSweeps(feeder), reference is not None
        self._shunt = feeder.injected_kva.T
        at_no_load = self._sweeps.voltages(np.zeros((3, n), dtype=complex))
        around = at_no_load if reference is None else self._padded(reference, at_no_load)
        self._reference, self._sending = around, self._sweeps.sending(around)
        self._constant_power = self._shunt * (1.0 if reference is None else np.abs(around) ** 2)
        if reference is not None:
            self._constant_power = self._constant_power + around * np.conj(self._sweeps.through_stars(around))

    @property
    def merges(self) -> bool:
        """At the reference of no load, which is the same along a line; nothing is known of classes made of this one."""
        return type(self) is LinDist3Flow and not self._moved

    @property
    def reference(self) -> ComplexArray:
        """(n_nodes,) reference voltages in pu."""
        return np.asarray(self._reference.ravel()[self._node])

    def around(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> LinDist3Flow:
        """The model linearised around an operating point: exact there, losses included.

        Args:
            p_kw, q_kvar: (n_nodes,) net injection at each node.

        Raises:
            SolveError: where the power flow does not converge.
        """
        return LinDist3Flow(self.feeder, self.power_flow(p_kw, q_kvar))

    def power_flow(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> ComplexArray:
        """AC voltages (..., n_nodes) in pu of the feeder's three-wire model, by fixed-point sweeps.

        Raises:
            SolveError: where it does not converge in 100 sweeps.
        """
        power = self._pad(np.asarray(p_kw) + 1j * np.asarray(q_kvar))
        v = np.broadcast_to(self._reference, power.shape)
        for _ in range(100):
            before, v = v, self._sweeps.solved(np.conj(power / v) + np.conj(self._shunt) * v)
            if np.max(np.abs(v - before), initial=0.0) < 1e-10:
                return np.asarray(v.reshape(*v.shape[:-2], -1)[..., self._node])
            if not np.all(np.isfinite(v)):
                break
        raise SolveError("the power flow does not converge: the injections are beyond what the feeder can carry")

    def state(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> NetworkState:
        """Voltages and flows, (..., n_nodes) each; a flow is on that phase of the branch that feeds the bus."""
        w, flow = self._flows(p_kw, q_kvar)
        return NetworkState(
            np.sqrt(np.maximum(w, 0.0)), np.ascontiguousarray(flow.real), np.ascontiguousarray(flow.imag)
        )

    def evaluate(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> FloatArray:
        """Every limited quantity under net injections: (..., n_nodes) in, (..., m) out."""
        w, flow = self._flows(p_kw, q_kvar)
        return self.limits.values(w, flow.real, flow.imag)

    def rows(self, k: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The exact affine row of each limited quantity in ``k`` (K indices).

        Returns:
            ``(a_p, a_q, constant)`` with shapes (K, n_nodes), (K, n_nodes), (K,): quantity = a_p @ p_kw + a_q @ q_kvar
            + constant.
        """
        index = np.arange(len(self._constant))[np.atleast_1d(np.asarray(k, dtype=np.intp))]
        of, is_voltage, node, normal = self.limits.located(index)
        terms, which = np.unique(2 * self._node[node] + is_voltage, return_inverse=True)
        sums = sp.csr_array((np.where(is_voltage, 1.0, normal), (of, which)), shape=(len(index), len(terms)))
        weights = sums @ self._weights(terms // 2, terms % 2 == 1)
        return np.ascontiguousarray(weights.real), np.ascontiguousarray(weights.imag), self._constant[index]

    @cached_property
    def _constant(self) -> FloatArray:
        """(m,) limited quantities without injections."""
        nothing = np.zeros(self.n_nodes)
        return self.evaluate(nothing, nothing)

    def _weights(self, at: IntArray, is_voltage: BoolArray) -> ComplexArray:
        """(K, n_nodes) a_p + j a_q of squared voltages or flows; a projection n of a flow has n times its weights."""
        out = np.empty((len(at), self.n_nodes), dtype=complex)
        reference, sending, shape = self._reference.ravel(), self._sending.ravel(), self._reference.shape
        for start in range(0, len(at), length := max(1, NUMBERS_AT_ONCE // self.n_nodes)):
            part = slice(start, start + length)
            on_v, on_i = np.zeros((2, len(at[part]), reference.size), dtype=complex)
            row = np.arange(len(on_v))
            on_v[row, at[part]] = np.where(is_voltage[part], 2.0 * np.conj(reference[at[part]]), 0.0)
            on_i[row, at[part]] = np.where(is_voltage[part], 0.0, np.conj(sending[at[part]]))
            weight = self._sweeps.adjoint(on_v.reshape(-1, *shape), on_i.reshape(-1, *shape)) / np.conj(self._reference)
            out[part] = weight.reshape(len(weight), -1)[:, self._node]
        return out

    def _pad(self, values: ComplexArray) -> ComplexArray:
        """(..., n_nodes) as (..., 3, n_buses), zero where a phase does not exist."""
        n = self.feeder.n_buses
        if self.n_nodes == 3 * n:
            return values.reshape(*values.shape[:-1], 3, n)
        out = np.zeros((*values.shape[:-1], 3 * n), dtype=complex)
        out[..., self._node] = values
        return out.reshape(*values.shape[:-1], 3, n)

    def _padded(self, reference: ComplexArray, default: ComplexArray) -> ComplexArray:
        out = default.ravel().copy()
        out[self._node] = reference
        return out.reshape(default.shape)

    def _flows(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> tuple[FloatArray, ComplexArray]:
        """Squared voltages and complex flows of all nodes."""
        power = self._pad(np.asarray(p_kw, dtype=float) + 1j * np.asarray(q_kvar, dtype=float))
        power += self._constant_power
        current = self._sweeps.currents(np.conj(power / self._reference))
        v = self._sweeps.voltages(current)
        w = 2.0 * (self._reference.real * v.real + self._reference.imag * v.imag) - np.abs(self._reference) ** 2
        flow = self._sending * np.conj(current)
        shape = (*w.shape[:-2], -1)
        if self.n_nodes == 3 * self.feeder.n_buses:
            return w.reshape(shape), flow.reshape(shape)
        return w.reshape(shape)[..., self._node], flow.reshape(shape)[..., self._node]

    def constraints(
        self, p_kw: cp.Expression, q_kvar: cp.Expression, lower: cp.Expression, upper: cp.Expression
    ) -> list[cp.Constraint]:
        """The same model as cvxpy constraints: ``lower <= quantities(p_kw, q_kvar) <= upper``.

        Args:
            p_kw, q_kvar: affine expressions of shape (n_nodes,).
            lower, upper: expressions of shape (m,), the limits of the interval.
        """
        size = 3 * self.feeder.n_buses
        ratio, z = self._sweeps.matrices()
        eye, source = sp.eye_array(size, format="csr"), np.zeros(size, dtype=complex)
        source[:: self.feeder.n_buses] = self._sweeps.source
        spread = sp.eye_array(size, format="csc")[:, self._node]
        injected = sp.diags_array(1.0 / np.conj(self._reference.ravel())) @ spread
        current, v = cp.Variable(2 * size), cp.Variable(2 * size)
        power, shunt = cp.hstack([p_kw, -q_kvar]), np.conj(self._constant_power / self._reference).ravel()
        pick = spread.T
        w_of_v = pick @ sp.diags_array(2.0 * np.conj(self._reference.ravel()))
        s_of_i = pick @ sp.diags_array(np.conj(self._sending.ravel()))
        w = _real(w_of_v)[: self.n_nodes] @ v - np.abs(self.reference) ** 2
        flow = _real(s_of_i) @ current
        scaled = self.limits.expression(w, flow[: self.n_nodes], -flow[self.n_nodes :])
        return [
            _real(eye - np.conj(ratio).T) @ current
            == -(_real(injected) @ power) - np.concatenate([shunt.real, shunt.imag]),
            _real(eye - ratio) @ v + _real(z) @ current == np.concatenate([source.real, source.imag]),
            scaled <= upper,
            scaled >= lower,
        ]


def _check(feeder: Feeder) -> None:
    checked_kind(feeder, Feeder, "feeder")
    balanced = [b for b, p in zip(feeder.bus_names, feeder.branch_phases, strict=True) if p == ("pos",)]
    if balanced:
        raise InputError(
            f"{counted(len(balanced), 'bus is', 'buses are')} balanced (phase pos), first {balanced[0]!r};"
            " lindist3flow models phases a, b,"
            " c. Use lindistflow for balanced feeders"
        )
    missing = [
        f"bus {feeder.bus_names[b]!r}: its branch has phases {''.join(own)}, only"
        f" {''.join(feeder.branch_phases[feeder.parent[b]])} arrive at {feeder.bus_names[feeder.parent[b]]!r}"
        for b, own in enumerate(feeder.branch_phases)
        if b > 0 and not set(own) <= set(feeder.branch_phases[feeder.parent[b]])
    ]
    shorted = [
        f"transformer {name!r}: {group.split()[0]} is fed from its grounded star, and has no impedance"
        for name, group, z in zip(feeder.branch_names, feeder.vector_group, feeder.z_ohm, strict=True)
        if group.startswith("Dyn") and group.endswith("reversed") and not np.abs(np.diag(z)).all()
    ]
    if missing or shorted:
        raise InputError([*missing, *shorted], subject="feeder")


def _real(matrix: sp.csr_array) -> sp.csr_array:
    """A complex matrix on vectors of real and imaginary parts."""
    matrix = sp.csr_array(matrix, dtype=complex)
    return sp.csr_array(sp.block_array([[matrix.real, -matrix.imag], [matrix.imag, matrix.real]]))
