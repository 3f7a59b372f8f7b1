"""What the toolkit needs of a network model, and all of it that follows from voltages and flows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.errors import InputError
from amm_opt.fields import checked_kind
from amm_opt.network.feeder.feeder import Feeder
from amm_opt.network.feeder.metered import Metered
from amm_opt.network.models.incidence import by_bus, by_phase
from amm_opt.network.models.limits import Limits, NetworkState, Quantities

NODES_AT_ONCE = 256
NOISE = 1e-14
"""A change of a limited quantity below this is rounding."""


class NetworkModel(ABC):
    """A network whose limited quantities are affine in the net injections at its nodes.

    A model must have ``name`` and :meth:`state`; everything else follows from the feeder and the state, and may be
    overridden by something faster or different. Nodes are the buses, or (bus, phase) pairs; the flows and ratings of
    branches may be of another number, as in a meshed network. Limited quantities are, unless ``limits`` is
    overridden, the squared voltages of the nodes with a band, and the projections of the flow on every rated branch
    (see ``Limits``).

    Args:
        feeder: the feeder.

    Attributes:
        name: what a run calls the model.
        takes_meshes: whether it models networks whose branches close cycles; others are refused.
        takes_unknown: whether it models branches of unknown impedance; likewise.
        estimates: whether it says what it leaves out, see :meth:`left_out`.
        boxes: whether an injection is a box of which every point must be feasible; ``evaluate`` and ``constraints``
            then also take (..., 2 n_nodes), its lowest and its highest corner, see ``Certified``.
        phase: (n_nodes,) 0, 1, 2 for the phases a, b, c of the nodes; None where each bus is one node.

    Raises:
        InputError: where the feeder is none, or the model does not take it.
    """

    name: str = ""
    takes_meshes: bool = False
    takes_unknown: bool = False
    estimates: bool = False
    boxes: bool = False
    phase: IntArray | None = None

    def __init__(self, feeder: Feeder) -> None:
        checked_kind(feeder, Feeder, "feeder")
        if feeder.meshed and not self.takes_meshes:
            raise InputError(f"{self.name} takes radial networks, and {feeder.cycles}: open these, or use dc")
        if feeder.unknown and not self.takes_unknown:
            raise InputError(f"{self.name}: {feeder.unknown}")
        self.feeder = feeder

    @abstractmethod
    def state(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> Any:
        """Voltages and flows under net injections, positive into the network.

        Args:
            p_kw, q_kvar: (..., n_nodes) net injection at each node, of one interval or of many.

        Returns:
            A ``NetworkState`` or something with ``v_pu`` (..., n_nodes) and ``loading_kva`` and
            ``p_flow_kw`` (..., branches).
        """

    @cached_property
    def bus(self) -> IntArray:
        """(n_nodes,) bus of each node."""
        return np.arange(self.feeder.n_buses)

    @cached_property
    def branch(self) -> IntArray:
        """(branches,) branch of each flow: the one that feeds each node, where nothing else is said."""
        return self.bus

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.bus)

    @cached_property
    def v_min_pu(self) -> FloatArray:
        """(n_nodes,) lower ends of the voltage bands; -inf at the source."""
        return np.where(self.bus > 0, self.feeder.v_min_pu[self.bus], -np.inf)

    @cached_property
    def v_max_pu(self) -> FloatArray:
        """(n_nodes,) upper ends of the voltage bands; inf at the source."""
        return np.where(self.bus > 0, self.feeder.v_max_pu[self.bus], np.inf)

    @cached_property
    def rating_kva(self) -> FloatArray:
        """(branches,) ratings; inf where there is none."""
        return self.feeder.rating_kva[self.branch]

    @cached_property
    def limits(self) -> Limits:
        """Which voltages and flows are limited."""
        return Limits.of(self.bus, self.v_min_pu, self.v_max_pu, self.branch, self.rating_kva, self.metered)

    @cached_property
    def metered(self) -> Metered:
        """Branches with a limit of their active power."""
        return Metered.of(self.feeder, self.branch)

    @cached_property
    def quantities(self) -> Quantities:
        """Kind, element, limits and audit tolerance of all m limited quantities."""
        return self.limits.quantities

    @property
    def quantity_bus(self) -> IntArray:
        """(m,) bus at which each limited quantity counts: its bus, or the one that its branch feeds.

        Of a branch that closes a cycle, the end that stands last.
        """
        q, ends = self.quantities, self.feeder.ends
        return np.where(q.kind == "voltage", q.element, ends.max(axis=0)[q.element])

    @property
    def linear(self) -> NetworkModel:
        """The model whose rows stand for this one where sensitivities are asked for."""
        return self

    @property
    def merges(self) -> bool:
        """Whether squared voltages are linear along a line of one conductor without load.

        The model on a feeder of which such buses were merged is the same then, see ``Merged``.
        """
        return False

    @property
    def of_nodes(self) -> Feeder:
        """The feeder whose buses the nodes are of: ``feeder``, unless some of its buses were merged."""
        return self.feeder

    def relaxed(self, lower: FloatArray, upper: FloatArray, inflexible: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Limits of the limited quantities, (..., m) each, where inflexible load alone makes them ``inflexible``.

        A limit that it breaks by itself is relaxed to what it uses and no further.
        """
        return np.minimum(lower, inflexible), np.maximum(upper, inflexible)

    def incidence(self, bus: IntArray, phases: tuple[str, ...]) -> sp.csr_array:
        """(n_nodes, n) share of n participants' power that is injected at each node.

        Args:
            bus: (n,) bus of each participant.
            phases: of each, such as ``"a"`` or ``"abc"``; an empty text is every phase of its bus.

        Raises:
            InputError: where a participant's phase does not exist at its bus.
        """
        if self.phase is None:
            return by_bus(self.feeder, bus, phases)
        return by_phase(self.feeder, self.bus, self.phase, bus, phases)

    def evaluate(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> FloatArray:
        """Every limited quantity under net injections: (..., n_nodes) in, (..., m) out."""
        state = self.state(p_kw, q_kvar)
        return self.limited(state.v_pu, state.p_flow_kw, state.q_flow_kvar)

    def limited(
        self, v_pu: FloatArray, p_flow_kw: FloatArray, q_flow_kvar: FloatArray, p_sent_kw: FloatArray | None = None
    ) -> FloatArray:
        """Every limited quantity, (..., m), of voltages and flows, also of those from elsewhere.

        Args:
            v_pu: (..., n_nodes) voltages.
            p_flow_kw, q_flow_kvar: (..., branches) flows.
            p_sent_kw: active power at the upper ends, where flows are in the terms of ratings (see ``RatedEnds``).
        """
        return self.limits.values(v_pu**2, p_flow_kw, q_flow_kvar, p_sent_kw)

    def left_out(self, p_kw: FloatArray, q_kvar: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Injections of nodes (kW, kvar) that stand for what the model leaves out at given ones, (..., n_nodes) each.

        Where ``estimates`` says so, a grid adds those of inflexible load to every injection of its interval.
        """
        return np.zeros_like(p_kw), np.zeros_like(q_kvar)

    def rows(self, k: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The exact affine row of each limited quantity in ``k`` (K indices).

        Returns:
            ``(a_p, a_q, constant)`` with shapes (K, n_nodes), (K, n_nodes), (K,): quantity = a_p @ p_kw + a_q @ q_kvar
            + constant.
        """
        index = np.atleast_1d(np.asarray(k, dtype=np.intp))
        a_p, a_q, constant = self._affine
        return a_p[index].toarray(), a_q[index].toarray(), constant[index]

    def constraints(
        self, p_kw: cp.Expression, q_kvar: cp.Expression, lower: cp.Expression, upper: cp.Expression
    ) -> list[cp.Constraint]:
        """The same model as cvxpy constraints: ``lower <= quantities(p_kw, q_kvar) <= upper``.

        Args:
            p_kw, q_kvar: affine expressions of shape (n_nodes,).
            lower, upper: expressions of shape (m,), the limits of the interval.
        """
        a_p, a_q, constant = self._affine
        scaled = a_p @ p_kw + a_q @ q_kvar + constant
        return [scaled <= upper, scaled >= lower]

    @cached_property
    def _affine(self) -> tuple[sp.csr_array, sp.csr_array, FloatArray]:
        """Every row, found by injecting 1 kW and 1 kvar at one node after the other: for small networks."""
        nothing = np.zeros(self.n_nodes)
        constant = self.evaluate(nothing, nothing)
        active = self._changes(lambda unit: self.evaluate(unit, 0.0 * unit) - constant, constant)
        reactive = self._changes(lambda unit: self.evaluate(0.0 * unit, unit) - constant, constant)
        return active, reactive, constant

    def _changes(self, change: Callable[[FloatArray], FloatArray], constant: FloatArray) -> sp.csr_array:
        """(m, n_nodes) changes of all limited quantities, some nodes at a time."""
        n, parts = self.n_nodes, []
        for start in range(0, n, NODES_AT_ONCE):
            moved = change(np.eye(min(NODES_AT_ONCE, n - start), n, start))
            parts.append(sp.csr_array(np.where(np.abs(moved) > NOISE * np.maximum(np.abs(constant), 1.0), moved, 0.0)))
        return sp.csr_array(sp.vstack(parts).T)


class Answering(NetworkModel):
    """A model whose voltages, flows and rows are those of another one, ``_inner``."""

    _inner: NetworkModel

    def state(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> NetworkState:
        """Voltages and flows of the other model."""
        state: NetworkState = self._inner.state(p_kw, q_kvar)
        return state

    def evaluate(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> FloatArray:
        """Every limited quantity of the other model."""
        return self._inner.evaluate(p_kw, q_kvar)

    def rows(self, k: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Rows of the other model."""
        return self._inner.rows(k)

    def constraints(
        self, p_kw: cp.Expression, q_kvar: cp.Expression, lower: cp.Expression, upper: cp.Expression
    ) -> list[cp.Constraint]:
        """The other model as cvxpy constraints."""
        return self._inner.constraints(p_kw, q_kvar, lower, upper)
