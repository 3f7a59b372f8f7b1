"""An independent AC power flow of a balanced feeder, by power-grid-model, to compare linear models with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from power_grid_model import (
    CalculationMethod,
    ComponentType,
    DatasetType,
    LoadGenType,
    PowerGridModel,
    initialize_array,
)

from amm_opt.network import Feeder

FloatArray = NDArray[np.float64]

SOURCE_SHORT_CIRCUIT_VA = 1e14
LEAST_OHM = 1e-6


@dataclass(frozen=True)
class ACState:
    """Exact voltages and flows, shape (T, n_buses); branches are indexed by the bus that they feed (entry 0 is 0).

    ``sent`` is measured at the upstream end and ``received`` at the downstream end, both positive away from the source.
    """

    v_pu: FloatArray
    p_sent_kw: FloatArray
    q_sent_kvar: FloatArray
    p_received_kw: FloatArray
    q_received_kvar: FloatArray

    @property
    def loss_kw(self) -> FloatArray:
        """(T,) active losses of all branches."""
        return np.asarray((self.p_sent_kw - self.p_received_kw).sum(axis=1))

    @property
    def s_kva(self) -> FloatArray:
        """(T, n_buses) apparent power at the end of each branch that carries more."""
        sent = np.hypot(self.p_sent_kw, self.q_sent_kvar)
        return np.maximum(sent, np.hypot(self.p_received_kw, self.q_received_kvar))


def ac_model(feeder: Feeder) -> PowerGridModel:
    """The feeder as generic branches (series impedance and tap only), one constant-power load at every bus.

    Ids: node i, branch n + i, load 2 n + i for bus i, source 3 n.
    """
    if not feeder.balanced:
        raise ValueError("the AC comparison needs a balanced feeder")
    n = feeder.n_buses
    ids = np.arange(n)
    node = initialize_array(DatasetType.input, ComponentType.node, n)
    node["id"], node["u_rated"] = ids, feeder.vn_kv * 1000.0
    branch = initialize_array(DatasetType.input, ComponentType.generic_branch, n - 1)
    z = np.array([m[0, 0] for m in feeder.z_ohm])[1:]
    branch["id"] = n + ids[1:]
    branch["from_node"], branch["to_node"] = feeder.parent[1:], ids[1:]
    branch["from_status"] = branch["to_status"] = 1
    branch["r1"], branch["x1"] = np.where(np.abs(z) < LEAST_OHM, LEAST_OHM, z.real), z.imag
    branch["g1"] = branch["b1"] = branch["theta"] = 0.0
    branch["k"] = feeder.tap[1:]
    load = initialize_array(DatasetType.input, ComponentType.sym_load, n)
    load["id"], load["node"], load["status"] = 2 * n + ids, ids, 1
    load["type"] = LoadGenType.const_power
    load["p_specified"] = load["q_specified"] = 0.0
    source = initialize_array(DatasetType.input, ComponentType.source, 1)
    source["id"], source["node"], source["status"] = 3 * n, 0, 1
    source["u_ref"], source["sk"] = feeder.v_source_pu, SOURCE_SHORT_CIRCUIT_VA
    parts = (node, branch, load, source)
    kinds = (ComponentType.node, ComponentType.generic_branch, ComponentType.sym_load, ComponentType.source)
    return PowerGridModel(dict(zip(kinds, parts, strict=True)))


def ac_state(feeder: Feeder, p_kw: ArrayLike, q_kvar: ArrayLike) -> ACState:
    """Newton-Raphson power flow of T intervals: (T, n_buses) or (n_buses,) net injections, positive into the network.

    Raises:
        power_grid_model.errors.PowerGridError: where an interval has no solution.
    """
    p, q = np.atleast_2d(np.asarray(p_kw, dtype=float)), np.atleast_2d(np.asarray(q_kvar, dtype=float))
    update = initialize_array(DatasetType.update, ComponentType.sym_load, p.shape)
    update["id"] = 2 * feeder.n_buses + np.arange(feeder.n_buses)
    update["p_specified"], update["q_specified"] = -1000.0 * p, -1000.0 * q
    result = ac_model(feeder).calculate_power_flow(
        symmetric=True,
        error_tolerance=1e-12,
        max_iterations=50,
        calculation_method=CalculationMethod.newton_raphson,
        update_data={ComponentType.sym_load: update},
        output_component_types=[ComponentType.node, ComponentType.generic_branch],
    )
    branch = result[ComponentType.generic_branch]

    def flow(column: str, sign: float) -> FloatArray:
        return np.pad(sign * np.asarray(branch[column], dtype=float) / 1000.0, ((0, 0), (1, 0)))

    v = np.asarray(result[ComponentType.node]["u_pu"], dtype=float)
    return ACState(v, flow("p_from", 1.0), flow("q_from", 1.0), flow("p_to", -1.0), flow("q_to", -1.0))
