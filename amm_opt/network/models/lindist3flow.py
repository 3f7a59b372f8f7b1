"""LinDist3Flow: the linear branch-flow model of an unbalanced radial feeder, on named phases."""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.errors import InputError, SolveError
from amm_opt.fields import checked_kind
from amm_opt.network.feeder.feeder import Feeder
from amm_opt.network.feeder.phases import PHASES, phase_nodes
from amm_opt.network.models.base import NetworkModel
from amm_opt.network.models.limits import NetworkState
from amm_opt.network.models.sweeps import Forest

ComplexArray = NDArray[np.complex128]

_BALANCED = np.exp(-2j * np.pi / 3 * np.arange(3))
_DELTA = {
    "Dyn11": np.array([[1, -1, 0], [0, 1, -1], [-1, 0, 1]]) / np.sqrt(3),
    "Dyn1": np.array([[1, 0, -1], [-1, 1, 0], [0, -1, 1]]) / np.sqrt(3),
}
ROWS_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class _Stage:
    """Buses with the same number of transformer ratios above them, one tree for each transformer.

    Attributes:
        bus: (k,) buses, depth-first.
        forest: sums over those trees.
        root: positions in ``bus`` of the trees' roots; ``head`` their bus numbers, ``parent`` the buses upstream.
        ratio: (3, 3, roots) voltages below = ratio @ voltages above, in per unit; empty at the source.
    """

    bus: IntArray
    forest: Forest
    root: IntArray
    head: IntArray
    parent: IntArray
    ratio: ComplexArray


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
    phases of its primary, so both carry about half, turned by +30 and -30 degrees. (Our reading of a model that is
    usually stated for lines; exact at the reference.)

    Shunts and line charging are constant injections: what they are at nominal voltage, or at the operating point's. The
    flow on a branch is that through its impedance, between the halves of its charging.

    Voltages are between phase and neutral: the impedances are those after the neutral has been taken out. Nodes are the
    (bus, phase) pairs that exist, all of phase a first, each in the order of the feeder's buses.

    Args:
        feeder: a feeder on named phases a, b, c.
        reference: (n_nodes,) complex voltages in pu; without load where not given.

    Attributes:
        bus, phase: (n_nodes,) which the nodes are.

    Raises:
        InputError: where a bus or branch is balanced (phase ``pos``), or a delta-wye transformer is fed from its wye.
    """

    name = "lindist3flow"

    def __init__(self, feeder: Feeder, reference: ComplexArray | None = None) -> None:
        _check(feeder)
        super().__init__(feeder)
        n = feeder.n_buses
        self.phase, self.bus = phase_nodes(feeder.branch_phases)
        self._node = n * self.phase + self.bus
        self._z = _impedances(feeder)
        self._stages = _stages(feeder)
        self._shunt = feeder.injected_kva.T
        at_no_load = self._voltages(np.zeros((3, n), dtype=complex))
        around = at_no_load if reference is None else self._padded(reference, at_no_load)
        self._set_reference(around, self._shunt * (1.0 if reference is None else np.abs(around) ** 2))
        self._constant: FloatArray | None = None

    def _set_reference(self, reference: ComplexArray, shunt: ComplexArray) -> None:
        self._reference, self._constant_power = reference, shunt
        sending = reference[:, np.maximum(self.feeder.parent, 0)]
        for stage in self._stages[1:]:
            sending[:, stage.head] = np.einsum("ijr,jr->ir", stage.ratio, reference[:, stage.parent])
        self._sending = sending

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
            before, v = v, self._voltages(self._currents(np.conj(power / v) + np.conj(self._shunt) * v))
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
        if self._constant is None:
            zero = np.zeros(self.n_nodes)
            self._constant = self.evaluate(zero, zero)
        index = np.arange(len(self._constant))[np.atleast_1d(np.asarray(k, dtype=np.intp))]
        a_p, a_q = np.empty((2, len(index), self.n_nodes))
        for start in range(0, len(index), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            weight = self._adjoint(*self._seeds(index[part])) / np.conj(self._reference)
            flat = weight.reshape(len(weight), -1)[:, self._node]
            a_p[part], a_q[part] = flat.real, flat.imag
        return a_p, a_q, self._constant[index]

    def _seeds(self, index: IntArray) -> tuple[ComplexArray, ComplexArray]:
        """Weights of voltages and of currents whose real part is the quantity, (K, 3, n) each."""
        on_v, on_i = np.zeros((2, len(index), 3 * self.feeder.n_buses), dtype=complex)
        is_voltage, node, normal = self.limits.parts(index)
        at = self._node[node]
        row = np.arange(len(index))
        on_v[row, at] = np.where(is_voltage, 2.0 * np.conj(self._reference.ravel()[at]), 0.0)
        on_i[row, at] = np.where(is_voltage, 0.0, normal * np.conj(self._sending.ravel()[at]))
        shape = (len(index), 3, self.feeder.n_buses)
        return on_v.reshape(shape), on_i.reshape(shape)

    def _pad(self, values: NDArray[np.complex128]) -> ComplexArray:
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
        current = self._currents(np.conj(power / self._reference))
        v = self._voltages(current)
        w = 2.0 * (self._reference.real * v.real + self._reference.imag * v.imag) - np.abs(self._reference) ** 2
        flow = self._sending * np.conj(current)
        shape = (*w.shape[:-2], -1)
        if self.n_nodes == 3 * self.feeder.n_buses:
            return w.reshape(shape), flow.reshape(shape)
        return w.reshape(shape)[..., self._node], flow.reshape(shape)[..., self._node]

    def _currents(self, injected: ComplexArray) -> ComplexArray:
        """Branch currents, away from the source, from injected currents: (..., 3, n) in and out."""
        load = -injected
        current = np.empty_like(load)
        for stage in reversed(self._stages):
            current[..., stage.bus] = stage.forest.below(load[..., stage.bus])
            if stage.ratio.size:
                above = np.einsum("jir,...jr->...ir", np.conj(stage.ratio), current[..., stage.head])
                _add(load, stage.parent, above)
        return current

    def _voltages(self, current: ComplexArray) -> ComplexArray:
        """Voltages from branch currents: (..., 3, n) in and out."""
        step = -_times(self._z, current)
        v = np.empty_like(step)
        for stage in self._stages:
            if stage.ratio.size:
                step[..., stage.head] += np.einsum("ijr,...jr->...ir", stage.ratio, v[..., stage.parent])
            else:
                step[..., 0] = self.feeder.v_source_pu * _BALANCED
            v[..., stage.bus] = stage.forest.along(step[..., stage.bus])
        return v

    def _adjoint(self, on_v: ComplexArray, on_i: ComplexArray) -> ComplexArray:
        """Weights of injected currents that weights of voltages and branch currents amount to: (K, 3, n)."""
        on_step = np.empty_like(on_v)
        for stage in reversed(self._stages):
            on_step[..., stage.bus] = stage.forest.below(on_v[..., stage.bus])
            if stage.ratio.size:
                above = np.einsum("jir,...jr->...ir", stage.ratio, on_step[..., stage.head])
                _add(on_v, stage.parent, above)
        on_step[..., 0] = 0.0
        on_i = on_i - _times(self._z, on_step)
        on_load = np.empty_like(on_i)
        for stage in self._stages:
            if stage.ratio.size:
                on_i[..., stage.head] += np.einsum("ijr,...jr->...ir", np.conj(stage.ratio), on_load[..., stage.parent])
            on_load[..., stage.bus] = stage.forest.along(on_i[..., stage.bus])
        return -on_load

    def constraints(
        self, p_kw: cp.Expression, q_kvar: cp.Expression, lower: cp.Expression, upper: cp.Expression
    ) -> list[cp.Constraint]:
        """The same model as cvxpy constraints: ``lower <= quantities(p_kw, q_kvar) <= upper``.

        Args:
            p_kw, q_kvar: affine expressions of shape (n_nodes,).
            lower, upper: expressions of shape (m,), the limits of the interval.
        """
        size = 3 * self.feeder.n_buses
        ratio, z = self._matrices()
        eye, source = sp.eye_array(size, format="csr"), np.zeros(size, dtype=complex)
        source[:: self.feeder.n_buses] = self.feeder.v_source_pu * _BALANCED
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

    def _matrices(self) -> tuple[sp.csr_array, sp.csr_array]:
        """Sparse (3n, 3n) ratios (child from parent) and impedances."""
        n = self.feeder.n_buses
        child = np.arange(1, n)
        blocks = np.zeros((3, 3, n), dtype=complex)
        blocks[range(3), range(3), 1:] = 1.0
        for stage in self._stages[1:]:
            blocks[:, :, stage.head] = stage.ratio
        i, j, b = np.meshgrid(np.arange(3), np.arange(3), child, indexing="ij")
        to, shape = (i * n + b).ravel(), (3 * n, 3 * n)
        ratio = sp.csr_array((blocks[:, :, 1:].ravel(), (to, (j * n + self.feeder.parent[b]).ravel())), shape=shape)
        z = sp.csr_array((self._z[:, :, 1:].ravel(), (to, (j * n + b).ravel())), shape=shape)
        ratio.eliminate_zeros()
        z.eliminate_zeros()
        return ratio, z


def _check(feeder: Feeder) -> None:
    checked_kind(feeder, Feeder, "feeder")
    balanced = [b for b, p in zip(feeder.bus_names, feeder.branch_phases, strict=True) if p == ("pos",)]
    if balanced:
        raise InputError(
            f"{len(balanced)} buses are balanced (phase pos), first {balanced[0]!r}; lindist3flow models phases a, b,"
            " c. Use lindistflow for balanced feeders"
        )
    missing = [
        f"bus {feeder.bus_names[b]!r}: its branch has phases {''.join(own)}, only"
        f" {''.join(feeder.branch_phases[feeder.parent[b]])} arrive at {feeder.bus_names[feeder.parent[b]]!r}"
        for b, own in enumerate(feeder.branch_phases)
        if b > 0 and not set(own) <= set(feeder.branch_phases[feeder.parent[b]])
    ]
    turned = [
        f"transformer {name!r}: {group.split()[0]} is fed from its wye side, which lindist3flow does not model"
        for name, group in zip(feeder.branch_names, feeder.vector_group, strict=True)
        if group.endswith("reversed")
    ]
    if missing or turned:
        raise InputError([*missing, *turned], subject="feeder")


def _impedances(feeder: Feeder) -> ComplexArray:
    """(3, 3, n) impedances in pu per kVA of one phase."""
    z = np.zeros((3, 3, feeder.n_buses), dtype=complex)
    by_phases: dict[tuple[str, ...], list[int]] = {}
    for b, phases in enumerate(feeder.branch_phases[1:], 1):
        by_phases.setdefault(phases, []).append(b)
    for phases, buses in by_phases.items():
        at = [PHASES.index(p) for p in phases]
        stacked = np.stack([feeder.z_ohm[b] for b in buses], axis=-1)
        z[np.ix_(at, at, buses)] = stacked
    return np.asarray(z * 3.0 / (1000.0 * feeder.vn_kv**2))


def _stages(feeder: Feeder) -> list[_Stage]:
    n = feeder.n_buses
    cut = np.array([t != 1.0 or g not in ("", "YNyn0") for t, g in zip(feeder.tap, feeder.vector_group, strict=True)])
    level = np.zeros(n, dtype=np.intp)
    for b in range(1, n):
        level[b] = level[feeder.parent[b]] + cut[b]
    stages = []
    for at in range(int(level.max()) + 1):
        bus = np.flatnonzero(level == at)
        root = np.flatnonzero(cut[bus]) if at else np.zeros(1, dtype=np.intp)
        head = bus[root]
        ratios = [_DELTA.get(feeder.vector_group[b], np.eye(3)) / feeder.tap[b] for b in head] if at else []
        ratio = np.stack(ratios, axis=-1).astype(complex) if ratios else np.zeros((3, 3, 0), dtype=complex)
        forest = Forest(np.searchsorted(bus, feeder.subtree_end[bus]))
        stages.append(_Stage(bus, forest, root, head, feeder.parent[head], ratio))
    return stages


def _times(z: ComplexArray, current: ComplexArray) -> ComplexArray:
    """Impedance (3, 3, n), symmetric, times current (..., 3, n)."""
    out = z[:, 0] * current[..., 0:1, :]
    out += z[:, 1] * current[..., 1:2, :]
    out += z[:, 2] * current[..., 2:3, :]
    return np.asarray(out)


def _add(array: ComplexArray, at: IntArray, values: ComplexArray) -> None:
    """Add values at positions of the last axis; a position may occur several times."""
    np.add.at(np.moveaxis(array, -1, 0), at, np.moveaxis(values, -1, 0))


def _real(matrix: sp.csr_array) -> sp.csr_array:
    """A complex matrix on vectors of real and imaginary parts."""
    matrix = sp.csr_array(matrix, dtype=complex)
    return sp.csr_array(sp.block_array([[matrix.real, -matrix.imag], [matrix.imag, matrix.real]]))
