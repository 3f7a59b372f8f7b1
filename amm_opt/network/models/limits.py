"""What network models limit: squared voltages, flows inside a polygon, and active power by direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from amm_opt.arrays import BoolArray, ComplexArray, FloatArray, IntArray
from amm_opt.network.feeder.metered import Metered
from amm_opt.tolerances import THERMAL_TOLERANCE, VOLTAGE_TOLERANCE

SIDES = 16
_ANGLES = (2 * np.arange(SIDES // 2) + 1) * np.pi / SIDES
POLYGON = np.column_stack([np.cos(_ANGLES), np.sin(_ANGLES)]) / np.cos(np.pi / SIDES)
"""(8, 2) normals of a polygon's edges, parallel ones once, scaled so that a rating of 1 is a limit of 1."""
KINDS = ("voltage", "thermal", "active")


@dataclass(frozen=True, eq=False)
class NetworkState:
    """Voltages (..., nodes) and flows (..., branches); in a radial feeder branches stand at the node that they feed.

    A node is a bus, or a (bus, phase) pair where the model has phases. Flows are positive away from the source and
    measured at the upper end of the branch (anywhere, where the model has no losses).
    """

    v_pu: FloatArray
    p_flow_kw: FloatArray
    q_flow_kvar: FloatArray

    @property
    def s_flow_kva(self) -> FloatArray:
        """Apparent power on each branch."""
        return np.hypot(self.p_flow_kw, self.q_flow_kvar)

    @property
    def loading_kva(self) -> FloatArray:
        """What ratings limit: without a voltage drop, apparent power is also current, in kVA at nominal voltage."""
        return self.s_flow_kva


@dataclass(frozen=True, eq=False)
class Quantities:
    """The m limited quantities of a network model.

    Attributes:
        kind: (m,) ``"voltage"``, ``"thermal"`` or ``"active"``, the active power of a branch.
        element: (m,) index of the bus (voltage) or of the branch (others), which feeds the bus of this index.
        lower, upper: (m,) limits of the scaled quantity.
        tolerance: (m,) excess that an audit accepts from a solver.
    """

    kind: NDArray[np.str_]
    element: IntArray
    lower: FloatArray
    upper: FloatArray
    tolerance: FloatArray


@dataclass(frozen=True, eq=False)
class Limits:
    """Limited quantities: squared voltages of nodes with a band, 8 edges of every rated branch's polygon, active power.

    Thermal limits ``P^2 + Q^2 <= S^2`` become the regular polygon of ``SIDES`` = 16 sides *inscribed* in that circle,
    with a vertex on the P axis: exact at unity power factor, never optimistic, and at most 1 - cos(pi/16) = 1.9 %
    below the rating. Parallel edges share a quantity, the projection of the flow on their normal as a fraction of the
    edge's limit (so it lies in [-1, 1]).

    Attributes:
        node: nodes with a voltage limit.
        rated: places among the flows of those whose branch has a rating; ``rating_kva`` their ratings.
        normals: (8, 2) edge normals, scaled; fewer where a model limits less than apparent power.
        metered: branches with a limit of their active power.
    """

    quantities: Quantities
    node: IntArray
    rated: IntArray
    rating_kva: FloatArray
    normals: FloatArray
    metered: Metered

    @classmethod
    def of(
        cls,
        bus: IntArray,
        v_min_pu: FloatArray,
        v_max_pu: FloatArray,
        branch: IntArray,
        rating_kva: FloatArray,
        metered: Metered,
        normals: FloatArray = POLYGON,
    ) -> Limits:
        """Limits of nodes and of flows.

        Args:
            bus, v_min_pu, v_max_pu: (nodes,) bus of each and its band, infinite where there is none.
            branch, rating_kva: (flows,) branch of each flow and its rating, infinite where there is none.
            metered: branches with a limit of their active power.
            normals: what of the flow a rating limits; ``[[1, 0]]`` is active power alone.
        """
        node = np.flatnonzero(np.isfinite(v_min_pu) | np.isfinite(v_max_pu))
        rated = np.flatnonzero(np.isfinite(rating_kva))
        ones = np.ones(len(normals) * len(rated))
        counts, base = [len(node), len(ones), len(metered)], metered.base_kw
        quantities = Quantities(
            kind=np.repeat(KINDS, counts),
            element=np.concatenate([bus[node], np.tile(branch[rated], len(normals)), metered.branch]),
            lower=np.concatenate([np.maximum(v_min_pu[node], 0.0) ** 2, -ones, -metered.export_kw / base]),
            upper=np.concatenate([v_max_pu[node] ** 2, ones, metered.import_kw / base]),
            tolerance=np.repeat([VOLTAGE_TOLERANCE, THERMAL_TOLERANCE, THERMAL_TOLERANCE], counts),
        )
        return cls(quantities, node, rated, rating_kva[rated], normals, metered)

    def values(
        self, w: FloatArray, p_flow: FloatArray, q_flow: FloatArray, p_sent: FloatArray | None = None
    ) -> FloatArray:
        """Every limited quantity from squared voltages (..., nodes) and flows (..., flows), (..., m).

        Args:
            p_sent: active power at the upper end of each branch, where flows are in the terms of ratings.
        """
        n_voltage, n_rated = len(self.node), len(self.rated)
        edges = slice(n_voltage, n_voltage + len(self.normals) * n_rated)
        out = np.empty((*w.shape[:-1], len(self.quantities.kind)))
        out[..., :n_voltage] = w[..., self._at(self.node, w.shape[-1])]
        flows = np.empty((*w.shape[:-1], 2, n_rated))
        at = self._at(self.rated, p_flow.shape[-1])
        np.divide(p_flow[..., at], self.rating_kva, out=flows[..., 0, :])
        np.divide(q_flow[..., at], self.rating_kva, out=flows[..., 1, :])
        np.matmul(self.normals, flows, out=out[..., edges].reshape(*w.shape[:-1], len(self.normals), n_rated))
        if len(self.metered):
            active = self.metered.power_kw(p_flow if p_sent is None else p_sent)
            np.divide(active, self.metered.base_kw, out=out[..., edges.stop :])
        return out

    @staticmethod
    def _at(index: IntArray, n: int) -> slice | IntArray:
        """The index as a slice where it is all but the first node: a view instead of a copy."""
        return slice(1, None) if 0 < len(index) == n - 1 and index[0] == 1 else index

    def expression(self, w: cp.Expression, p_flow: cp.Expression, q_flow: cp.Expression) -> cp.Expression:
        """The same as a cvxpy expression of shape (m,)."""
        p, q = p_flow[self.rated] / self.rating_kva, q_flow[self.rated] / self.rating_kva
        edges: list[Any] = [a * p + b * q for a, b in self.normals] if len(self.rated) else []
        active = [self.metered.matrix(p_flow.shape[0]) @ p_flow] if len(self.metered) else []
        return cp.hstack([w[self.node], *edges, *active])

    def located(self, index: IntArray) -> tuple[IntArray, BoolArray, IntArray, ComplexArray]:
        """What quantities (K,) are sums of, each a squared voltage or a projection of a flow.

        Returns:
            Of each term: the place of its quantity in ``index``, whether it is a voltage, its node or flow, and
            n_p + j n_q of its projection, per kVA.
        """
        n_voltage, n_rated, metered = len(self.node), len(self.rated), self.metered
        place, kind = np.arange(len(index)), np.searchsorted(self._ends, index, side="right")
        voltage, thermal = place[kind == 0], place[kind == 1]
        side, branch = np.divmod(index[thermal] - n_voltage, max(n_rated, 1))
        edge = (self.normals[side, 0] + 1j * self.normals[side, 1]) / self.rating_kva[branch]
        which, term = np.nonzero((index[kind == 2] - self._ends[1])[:, None] == metered.of_flow)
        active = place[kind == 2][which]
        of = np.concatenate([voltage, thermal, active])
        return (
            of,
            kind[of] == 0,
            np.concatenate([self.node[index[voltage]], self.rated[branch], metered.flow[term]]),
            np.concatenate([np.zeros(len(voltage)), edge, 1.0 / metered.base_kw[metered.of_flow[term]]]),
        )

    @property
    def _ends(self) -> IntArray:
        """(2,) the first quantity that is no voltage, and the first that is an active power."""
        n_voltage = len(self.node)
        return np.array([n_voltage, n_voltage + len(self.normals) * len(self.rated)])
