"""A feeder as input of power-grid-model: balanced with one value per element, unbalanced with three.

Ids: node i, branch n + i, load 2 n + i for bus i, source 3 n, shunt 3 n + 1 + i, its zero sequence 4 n + 1 + i.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from amm_opt.arrays import ComplexArray, IntArray
from amm_opt.errors import InputError, shorten
from amm_opt.network.feeder.feeder import Feeder
from amm_opt.network.feeder.phases import PHASES

SOURCE_SHORT_CIRCUIT_VA = 1e14
LEAST_OHM = 1e-6
TRANSFORMER_VA = 1e6
"""Apparent power that the impedance of a transformer is given relative to; it limits nothing."""
CLOCK = {"YNyn0": 0, "Dyn1": 1, "Dyn11": 11, "Dy1": 1, "Dy11": 11}
WYE, WYE_N, DELTA = 0, 1, 2
_ENTRIES = (("aa", 0, 0), ("ba", 1, 0), ("bb", 1, 1), ("ca", 2, 0), ("cb", 2, 1), ("cc", 2, 2))


def balanced_input(pgm: Any, feeder: Feeder) -> dict[Any, Any]:
    """Generic branches (series impedance and tap only) and one constant-power load at every bus."""
    kinds = pgm.ComponentType
    branch = _branches(pgm, kinds.generic_branch, feeder, np.arange(1, feeder.n_buses))
    z = np.array([m[0, 0] for m in feeder.z_ohm])[1:] * (1.0 if feeder.balanced else 3.0)
    branch["r1"], branch["x1"] = np.where(np.abs(z) < LEAST_OHM, LEAST_OHM, z.real), z.imag
    branch["g1"] = branch["b1"] = branch["theta"] = 0.0
    branch["k"] = feeder.tap[1:]
    return {kinds.generic_branch: branch, **_ends(pgm, kinds.sym_load, feeder)}


def three_phase_input(pgm: Any, feeder: Feeder) -> dict[Any, Any]:
    """Lines with their impedance matrices, transformers with one impedance for every phase, loads of three phases.

    A phase that a branch lacks gets an impedance of its own without mutual ones; nothing flows there.
    """
    kinds = pgm.ComponentType
    ratio = np.array([k == "transformer" for k in feeder.branch_kind]) | (feeder.phase_tap != 1.0).any(axis=1)
    lines, feet = (np.flatnonzero(mask[1:]) + 1 for mask in (~ratio, ratio))
    line = _branches(pgm, kinds.asym_line, feeder, lines)
    z = np.array([_padded(feeder, b) for b in lines.tolist()]).reshape(-1, 3, 3)
    for name, i, j in _ENTRIES:
        line[f"r_{name}"], line[f"x_{name}"] = z[:, i, j].real, z[:, i, j].imag
    line["c0"] = line["c1"] = 0.0
    line["i_n"] = 1.0
    branches = {kinds.asym_line: line, kinds.transformer: _transformers(pgm, feeder, feet)}
    branches[kinds.shunt] = _zero_sequence(pgm, feeder)
    present = {kind: table for kind, table in branches.items() if len(table)}
    return {**present, **_ends(pgm, kinds.asym_load, feeder)}


def _zero_sequence(pgm: Any, feeder: Feeder) -> Any:
    """Shunts that draw by a zero-sequence voltage only.

    Below a delta voltages are those of the equivalent star, with the impedance of the transformer to its point; shunts
    between phases draw nothing by it, of what all shunts draw.
    """
    siemens = np.conj(feeder.delta_kva) / (1000.0 * feeder.vn_kv**2)
    at = np.flatnonzero([g.endswith("reversed") for g in feeder.vector_group])
    siemens[at] += 1.0 / np.array([_padded(feeder, b)[0, 0] for b in at.tolist()], dtype=complex)
    at = np.flatnonzero(siemens)
    shunt = pgm.initialize_array(pgm.DatasetType.input, pgm.ComponentType.shunt, len(at))
    shunt["id"], shunt["node"], shunt["status"] = 4 * feeder.n_buses + 1 + at, at, 1
    shunt["g1"] = shunt["b1"] = 0.0
    shunt["g0"], shunt["b0"] = siemens[at].real, siemens[at].imag
    return shunt


def _branches(pgm: Any, kind: Any, feeder: Feeder, at: IntArray) -> Any:
    branch = pgm.initialize_array(pgm.DatasetType.input, kind, len(at))
    branch["id"], branch["from_node"], branch["to_node"] = feeder.n_buses + at, feeder.parent[at], at
    branch["from_status"] = branch["to_status"] = 1
    return branch


def _ends(pgm: Any, load_kind: Any, feeder: Feeder) -> dict[Any, Any]:
    """Nodes, the source, a constant-power load at every bus and then the shunts, constant impedances of any phase."""
    kinds, made, n = pgm.ComponentType, pgm.DatasetType.input, feeder.n_buses
    ids = np.arange(n)
    node = pgm.initialize_array(made, kinds.node, n)
    node["id"], node["u_rated"] = ids, feeder.vn_kv * 1000.0
    balanced = load_kind == kinds.sym_load
    drawn = -1000.0 * (feeder.injected_kva.sum(axis=1, keepdims=True) if balanced else feeder.injected_kva)
    at = np.flatnonzero(drawn.any(axis=1))
    load = pgm.initialize_array(made, load_kind, n + len(at))
    load["id"], load["node"] = np.concatenate([2 * n + ids, 3 * n + 1 + at]), np.concatenate([ids, at])
    load["status"], load["type"] = 1, pgm.LoadGenType.const_power
    load["type"][n:] = pgm.LoadGenType.const_impedance
    load["p_specified"] = load["q_specified"] = 0.0
    shunt = drawn[at, 0] if balanced else drawn[at]
    load["p_specified"][n:], load["q_specified"][n:] = shunt.real, shunt.imag
    source = pgm.initialize_array(made, kinds.source, 1)
    source["id"], source["node"], source["status"] = 3 * n, 0, 1
    source["u_ref"], source["sk"] = feeder.v_source_pu, SOURCE_SHORT_CIRCUIT_VA
    return {kinds.node: node, load_kind: load, kinds.source: source}


def _padded(feeder: Feeder, b: int) -> ComplexArray:
    """3 x 3 impedance of branch b."""
    own = feeder.z_ohm[b] + LEAST_OHM * np.eye(len(feeder.z_ohm[b])) * (np.abs(feeder.z_ohm[b]).max() < LEAST_OHM)
    place = [PHASES.index(p) for p in feeder.branch_phases[b]]
    z = np.eye(3, dtype=complex) * np.mean(np.diag(own))
    z[np.ix_(place, place)] = own
    return np.asarray(z)


def _transformers(pgm: Any, feeder: Feeder, feet: IntArray) -> Any:
    """Impedance, tap and grounding of the star point, alike in every phase and without magnetising current."""
    given = getattr(feeder, "vector_group", ("YNyn0",) * feeder.n_buses)
    groups = [given[b] or "YNyn0" for b in feet]
    star = np.array([feeder.z_ohm[b][0, 1] if len(feeder.z_ohm[b]) > 1 else 0.0 for b in feet], dtype=complex)
    own = np.array([feeder.z_ohm[b][0, 0] for b in feet], dtype=complex) - star
    problems = [
        f"transformer {feeder.branch_names[b]!r}: its phases must have one impedance, and one between any two of them"
        for b, z, s in zip(feet, own, star, strict=True)
        if not np.allclose(feeder.z_ohm[b], z * np.eye(len(feeder.z_ohm[b])) + s, rtol=1e-6, atol=1e-12)
    ]
    problems += [
        f"transformer {feeder.branch_names[b]!r}: its phases must have one tap, but have"
        f" {' '.join(f'{x:.4g}' for x in feeder.phase_tap[b])}"
        for b in feet
        if (feeder.phase_tap[b] != feeder.tap[b]).any()
    ]
    names = [g.removesuffix(" reversed") for g in groups]
    if odd := sorted({g for g in names if g not in CLOCK}):
        problems.append(f"vector group {shorten(odd)} cannot be modelled; valid choices: {', '.join(CLOCK)}")
    if problems:
        raise InputError(problems, subject="AC power flow")
    tr = _branches(pgm, pgm.ComponentType.transformer, feeder, feet)
    volts = 1000.0 * feeder.vn_kv
    tr["u1"], tr["u2"] = volts[feeder.parent[feet]] * feeder.tap[feet], volts[feet]
    z = own * TRANSFORMER_VA / volts[feet] ** 2
    tr["r_grounding_to"], tr["x_grounding_to"] = star.real, star.imag
    tr["sn"], tr["uk"], tr["pk"], tr["i0"], tr["p0"] = TRANSFORMER_VA, np.abs(z), z.real * TRANSFORMER_VA, 0.0, 0.0
    second = [WYE_N if "n" in g else WYE for g in names]
    first = [WYE_N if g == "YNyn0" else DELTA for g in names]
    turned = [g.endswith("reversed") for g in groups]
    tr["winding_from"], tr["winding_to"] = np.where(turned, second, first), np.where(turned, first, second)
    tr["clock"] = [(12 - CLOCK[g] if turn else CLOCK[g]) % 12 for g, turn in zip(names, turned, strict=True)]
    tr["tap_side"] = tr["tap_pos"] = tr["tap_min"] = tr["tap_max"] = 0
    tr["tap_size"] = 0.0
    return tr
