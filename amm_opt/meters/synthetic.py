"""Readings of meters that nobody took: a case by AC power flow, with noise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from amm_opt.arrays import FloatArray, IntArray
from amm_opt.cases import Case
from amm_opt.errors import InputError, counted
from amm_opt.fields import checked_kind, is_number, is_whole, shortened
from amm_opt.meters.data import MeterData
from amm_opt.network import ACNetwork, NetworkModel
from amm_opt.network.default import default_model

VOLTAGE_STEP_PU = 0.002
"""The source's voltage moves in steps of this, as that of a transformer with taps does."""
MEMORY = 0.95
"""How much of its deviation the source's voltage keeps from one interval to the next."""


def synthetic_meters(
    case: Case,
    steps: int | str | slice | None = None,
    *,
    served: float = 1.0,
    v_noise: float = 0.002,
    p_noise: float = 0.005,
    kvar_spread: float = 0.3,
    source_sd_pu: float = 0.01,
    transformer: str | None = None,
    nominal_v: float = 230.0,
    seed: int = 0,
) -> MeterData:
    """What meters of a case's participants would have read, by AC power flow.

    Everybody's reactive power differs from what its power factors say, and the source's voltage from the case's, as
    they do in the world: regression lives on what moves. A customer on several phases has the mean of its voltages.

    Args:
        case: behind one transformer, balanced or on phases.
        steps: as for ``simulate``.
        served: share of what is requested that was drawn and fed in, 0 to 1.
        v_noise, p_noise: standard deviation of each voltage reading, and of each of kW and kvar, as a share of it.
        kvar_spread: each kvar is times 1 + kvar_spread z, z normal.
        source_sd_pu: standard deviation of the source's voltage around the case's, in steps of 0.002 pu; it keeps 0.95
            of its deviation from one interval to the next.
        transformer: the bus at which its voltage is metered; the first one of the LV feeder where None.
        nominal_v: volts between phase and neutral that are 1 pu.
        seed: of all of this.

    Raises:
        InputError: every wrong argument; several LV feeders, or none, where no transformer is named; intervals without
            a power flow; where power-grid-model is not installed.
    """
    checked_kind(case, Case, "case")
    at_most = {"served": 1.0, "v_noise": 0.2, "p_noise": 1.0, "kvar_spread": 2.0, "source_sd_pu": 0.1}
    given = (served, v_noise, p_noise, kvar_spread, source_sd_pu)
    problems = [
        f"{name} = {shortened(value)} must be within 0 to {most:g}"
        for (name, most), value in zip(at_most.items(), given, strict=True)
        if not (is_number(value) and 0 <= value <= most)
    ]
    if not (is_whole(seed) and seed >= 0):
        problems.append(f"seed = {shortened(seed)} must be a whole number, not negative")
    if problems:
        raise InputError(problems, subject="synthetic_meters")
    head = _transformer_bus(case, transformer)
    requests = case.requests(*case.span(steps))
    p, q = case.injections(
        requests.inflexible_kw,
        served * requests.import_request_kw,
        served * requests.export_request_kw,
        requests.inflexible_kvar,
    )
    rng = np.random.default_rng(seed)
    q = q * (1.0 + kvar_spread * rng.standard_normal(q.shape))
    source = _source(case.feeder.v_source_pu, source_sd_pu, requests.n_steps, rng)
    model = default_model(case.feeder)(case.feeder)
    at = model.incidence(case.bus, case.phases)
    v = _voltages(case, model, np.asarray((at @ p.T).T), np.asarray((at @ q.T).T), source)
    if (lost := np.isnan(v).any(axis=1)).any():
        raise InputError(
            f"{counted(int(lost.sum()), 'interval has', 'intervals have')} no power flow, first"
            f" {requests.times[int(np.argmax(lost))]}"
        )
    at_head = v[:, model.bus == head].mean(axis=1)
    at_meters = np.asarray((at.T @ v.T).T)

    def read(value: FloatArray, noise: float) -> FloatArray:
        return value * (1.0 + noise * rng.standard_normal(value.shape))

    return MeterData(
        requests.times,
        case.participant_names,
        -read(p, p_noise),
        read(at_meters, v_noise),
        -read(q, p_noise),
        read(at_head, v_noise),
        float(nominal_v),
    )


def _transformer_bus(case: Case, name: Any) -> int:
    f = case.feeder
    if name is not None:
        if name not in f.bus_index:
            raise InputError(f"transformer = {shortened(name)} is no bus of the case")
        return f.bus_index[name]
    used: IntArray = np.unique(case.lv_feeder)
    if len(used) != 1 or used[0] < 0:
        many = f"participants are on {len(used)} feeders" if len(used) > 1 else "no LV feeder has participants"
        raise InputError(f"{many}: name the bus of the transformer, or take a case with one LV feeder")
    return int(np.flatnonzero(f.lv_feeder == used[0])[0])


def _source(v_pu: float, sd_pu: float, steps: int, rng: np.random.Generator) -> FloatArray:
    """(T,) voltages of the source."""
    kicks, deviation = rng.standard_normal(steps), np.empty(steps)
    deviation[0] = kicks[0]
    for t in range(1, steps):
        deviation[t] = MEMORY * deviation[t - 1] + np.sqrt(1.0 - MEMORY**2) * kicks[t]
    return v_pu + VOLTAGE_STEP_PU * np.round(sd_pu * deviation / VOLTAGE_STEP_PU)


def _voltages(case: Case, model: NetworkModel, p: FloatArray, q: FloatArray, source: FloatArray) -> FloatArray:
    """(T, nodes) voltages by AC power flow, the intervals of one source voltage at once."""
    v = np.empty((len(source), model.n_nodes))
    for level in np.unique(source):
        which = source == level
        v[which] = ACNetwork(replace(case.feeder, v_source_pu=float(level))).flow(p[which], q[which]).v_pu
    return v
