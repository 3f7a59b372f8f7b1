"""An independent asymmetric AC power flow, by power-grid-model, of feeders whose phases are all alike."""

from __future__ import annotations

import numpy as np
from power_grid_model import ComponentType, DatasetType, LoadGenType, PowerGridModel, initialize_array

from amm_opt.arrays import FloatArray
from amm_opt.network import Feeder

SOURCE_SHORT_CIRCUIT_VA = 1e14
FREQUENCY = 50.0
CLOCK = {"YNyn0": 0, "Dyn1": 1, "Dyn11": 11}
WYE_N, DELTA = 1, 2
FAR_SN = 1e6


def asymmetric_voltages(feeder: Feeder, p_kw: FloatArray, q_kvar: FloatArray) -> FloatArray:
    """(3, n_buses) voltage magnitudes in pu under net injections (3, n_buses) per phase.

    Lines have sequence impedances z1 = own - mutual and z0 = own + 2 mutual; transformers have z1 alone.
    """
    n = feeder.n_buses
    ids = np.arange(n)
    node = initialize_array(DatasetType.input, ComponentType.node, n)
    node["id"], node["u_rated"] = ids, feeder.vn_kv * 1000.0
    is_transformer = np.array([k == "transformer" for k in feeder.branch_kind])
    own = np.array([z[0, 0] for z in feeder.z_ohm])
    mutual = np.array([z[0, -1] if len(z) > 1 else 0.0 for z in feeder.z_ohm])

    lines = ids[1:][~is_transformer[1:]]
    line = initialize_array(DatasetType.input, ComponentType.line, len(lines))
    line["id"], line["from_node"], line["to_node"] = n + lines, feeder.parent[lines], lines
    line["from_status"] = line["to_status"] = 1
    z1, z0 = (own - mutual)[lines], (own + 2 * mutual)[lines]
    line["r1"], line["x1"], line["r0"], line["x0"] = z1.real, z1.imag, z0.real, z0.imag
    line["c1"] = line["c0"] = line["tan1"] = line["tan0"] = 0.0
    line["i_n"] = 1000.0

    feet = ids[1:][is_transformer[1:]]
    tx = initialize_array(DatasetType.input, ComponentType.transformer, len(feet))
    tx["id"], tx["from_node"], tx["to_node"] = n + feet, feeder.parent[feet], feet
    tx["from_status"] = tx["to_status"] = 1
    vn, group = feeder.vn_kv[feet] * 1000.0, [feeder.vector_group[b] for b in feet]
    tx["u1"], tx["u2"], tx["sn"] = feeder.vn_kv[feeder.parent[feet]] * 1000.0 * feeder.tap[feet], vn, FAR_SN
    z = own[feet] * FAR_SN / vn**2
    tx["uk"], tx["pk"], tx["i0"], tx["p0"] = np.abs(z), z.real * FAR_SN, 0.0, 0.0
    tx["winding_from"] = [WYE_N if g == "YNyn0" else DELTA for g in group]
    tx["winding_to"], tx["clock"] = WYE_N, [CLOCK[g] for g in group]
    tx["tap_side"], tx["tap_pos"], tx["tap_min"], tx["tap_max"], tx["tap_size"] = 0, 0, 0, 0, 0.0

    load = initialize_array(DatasetType.input, ComponentType.asym_load, n)
    load["id"], load["node"], load["status"], load["type"] = 2 * n + ids, ids, 1, LoadGenType.const_power
    load["p_specified"], load["q_specified"] = -1000.0 * p_kw.T, -1000.0 * q_kvar.T
    source = initialize_array(DatasetType.input, ComponentType.source, 1)
    source["id"], source["node"], source["status"] = 3 * n, 0, 1
    source["u_ref"], source["sk"] = feeder.v_source_pu, SOURCE_SHORT_CIRCUIT_VA
    kinds = (ComponentType.node, ComponentType.line, ComponentType.transformer, ComponentType.asym_load)
    model = PowerGridModel({**dict(zip(kinds, (node, line, tx, load), strict=True)), ComponentType.source: source})
    result = model.calculate_power_flow(symmetric=False, error_tolerance=1e-12, max_iterations=50)
    return np.asarray(result[ComponentType.node]["u_pu"], dtype=float).T
