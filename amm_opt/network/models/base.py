"""What the engine needs of a linear network model."""

from __future__ import annotations

from typing import Protocol

import cvxpy as cp
import scipy.sparse as sp
from numpy.typing import ArrayLike

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.network.feeder.feeder import Feeder
from amm_opt.network.models.limits import NetworkState, Quantities


class LinearModel(Protocol):
    """A network whose limited quantities are affine in the net injections at its nodes.

    Nodes are the buses, or (bus, phase) pairs. ``v_min_pu``, ``v_max_pu`` and ``rating_kva`` hold for nodes, without
    limit at the source. docs/network.md describes the methods.
    """

    name: str
    feeder: Feeder
    n_nodes: int
    quantities: Quantities
    v_min_pu: FloatArray
    v_max_pu: FloatArray
    rating_kva: FloatArray

    def incidence(self, bus: IntArray, phases: tuple[str, ...]) -> sp.csr_array:
        """(n_nodes, n) share of n participants' power that is injected at each node."""

    def state(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> NetworkState:
        """Voltages and flows, (..., n_nodes) each."""

    def evaluate(self, p_kw: ArrayLike, q_kvar: ArrayLike) -> FloatArray:
        """Every limited quantity, (..., m)."""

    def rows(self, k: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The exact affine rows of some of them."""

    def constraints(
        self, p_kw: cp.Expression, q_kvar: cp.Expression, lower: cp.Expression, upper: cp.Expression
    ) -> list[cp.Constraint]:
        """The same model as cvxpy constraints."""
