"""A digest of everything in a case that a run depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from amm_opt.cases.folder.participants import COST_COLUMNS
from amm_opt.cases.profiles import Profiles
from amm_opt.cases.scenario import SCALES, TIER_SCALES, Scenario
from amm_opt.network import Feeder, LayerTable


def fingerprint(
    feeder: Feeder,
    participants: pd.DataFrame,
    profiles: Profiles,
    scenario: Scenario,
    dt_h: float,
    layers: LayerTable,
) -> str:
    """Digest in which numbers count to single precision, names to the letter; what participants cost does not count."""
    p, digest = profiles, hashlib.sha256()
    for names in (*_feeder_names(feeder), participants[["name", "bus", "phases"]].astype(str).to_numpy().ravel()):
        digest.update("\0".join(names).encode())
    unused = [] if participants["inflexible_kvar"].any() else ["inflexible_kvar"]
    unused += ["connected"] if participants["connected"].isna().all() else []
    unused += [] if participants["service_tier"].ne(1).any() else ["service_tier"]
    unused += [] if participants["must_run_kw"].ne(0).any() else ["must_run_kw"]
    own, slope = (
        participants[["import_value", "export_offer"]],
        participants[["import_value_slope", "export_offer_slope"]],
    )
    unused += [] if own.notna().any(axis=None) or slope.ne(0.0).any(axis=None) else [*own, *slope]
    people = participants.drop(columns=["name", "bus", "phases", *COST_COLUMNS, *unused])
    whole = [] if p.sessions[["late", "early"]].any(axis=None) else ["late", "early"]
    scales = [getattr(scenario, name) for name in SCALES if name not in TIER_SCALES]  # which are in the limits
    tables = (people, p.series, p.sessions.drop(columns=whole))
    for values in (*_feeder_numbers(feeder), np.asarray(p.values), scales, *tables):
        digest.update(np.ascontiguousarray(values, dtype=np.float32).tobytes())
    digest.update(str((p.times[0], dt_h)).encode())
    if layers:
        digest.update(json.dumps(dict(layers)).encode())
    return digest.hexdigest()


def _feeder_names(f: Feeder) -> Iterator[Iterable[str]]:
    yield from (f.bus_names, f.branch_names, f.lv_feeders)
    yield map("".join, f.branch_phases)
    yield from (f.branch_kind, f.vector_group)


def _feeder_numbers(f: Feeder) -> Iterator[ArrayLike]:
    yield from (f.vn_kv, f.v_min_pu, f.v_max_pu, f.rating_kva, f.tap, f.parent, f.lv_feeder, f.v_source_pu)
    if np.isfinite([f.import_limit_kw, f.export_limit_kw]).any():
        yield from (f.import_limit_kw, f.export_limit_kw)
    if f.shunt_kva.any() or f.charging_kvar.any():
        yield from (f.shunt_kva.real, f.shunt_kva.imag, f.charging_kvar)
    if f.delta_kva.any():
        yield from (f.delta_kva.real, f.delta_kva.imag)
    if f.meshed:
        yield f.ends
    if (f.phase_tap != f.tap[:, None]).any():
        yield f.phase_tap
    impedance = np.concatenate([m.ravel() for m in f.z_ohm])
    yield from (impedance.real, impedance.imag)
