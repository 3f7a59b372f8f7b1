"""Feeders as data: every folder of tests/data/validation has the voltages of another tool at two loads.

A folder that is added is found here; ``data/build_validation.py`` made ours. What error a model may have stands in the
folder's ``meta.json``, with the reason; ``ac`` is the AC power flow, ``sweeps`` the one of ``LinDist3Flow``, all others
are installed network models.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import amm_opt as ao
from amm_opt.registry import network_model, network_models

FOLDERS = sorted(path.parent for path in (Path(__file__).parents[2] / "data" / "validation").glob("*/meta.json"))
LOADS = ("light", "heavy")
FLOWS = ("ac", "sweeps")


@dataclass(frozen=True)
class Validation:
    """A feeder with injections and voltages, (load, node) each, in the order of the feeder's nodes."""

    meta: dict[str, Any]
    feeder: ao.Feeder
    p_kw: np.ndarray
    q_kvar: np.ndarray
    v_pu: np.ndarray


@cache
def read(folder: Path) -> Validation:
    buses, branches = (
        pd.read_csv(folder / f"{name}.csv", keep_default_na=False, na_values=[""]) for name in ("buses", "branches")
    )
    feeder = ao.Feeder.from_tables(buses, branches)
    injections, voltages = (
        pd.read_csv(folder / f"{name}.csv").set_index(["bus", "phase"]) for name in ("injections", "voltages")
    )
    if feeder.balanced:
        nodes = [(name, "pos") for name in feeder.bus_names]
    else:
        model = ao.LinDist3Flow(feeder)
        nodes = [(feeder.bus_names[b], "abc"[k]) for b, k in zip(model.bus, model.phase, strict=True)]
    index = {(str(bus), phase): k for k, (bus, phase) in enumerate(injections.index)}
    rows = [index[node] for node in nodes]
    assert len(injections) == len(voltages) == len(nodes)
    p, q = (injections[[f"{load}_{u}" for load in LOADS]].to_numpy(float)[rows].T for u in ("kw", "kvar"))
    v = voltages[[f"{load}_pu" for load in LOADS]].to_numpy(float)[rows].T
    return Validation(json.loads((folder / "meta.json").read_text()), feeder, p, q, v)


def flow_of(name: str, feeder: ao.Feeder) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """What gives the magnitudes at all nodes from injections."""
    if name == "ac":
        network = ao.ACNetwork(feeder)
        return lambda p, q: np.asarray(network.flow(p, q).v_pu)
    if name == "sweeps":
        phases = ao.LinDist3Flow(feeder)
        return lambda p, q: np.stack([np.abs(phases.power_flow(*load)) for load in zip(p, q, strict=True)])
    model = network_model(name)(feeder)

    def voltages(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        more_p, more_q = model.left_out(p, q)
        return np.asarray(model.state(p + more_p, q + more_q).v_pu)

    return voltages


CASES = [(f, m) for f in FOLDERS for m in json.loads((f / "meta.json").read_text())["models"]]


@pytest.mark.parametrize(("folder", "name"), CASES, ids=[f"{f.name}-{m}" for f, m in CASES])
def test_voltages_are_within_the_stated_error(folder: Path, name: str) -> None:
    data = read(folder)
    stated = data.meta["models"][name]
    if stated["tolerance_pu"] is None:
        if name != "dc" or not data.feeder.balanced:
            with pytest.raises(ao.InputError):
                flow_of(name, data.feeder)
        return
    error = np.abs(flow_of(name, data.feeder)(data.p_kw, data.q_kvar) - data.v_pu).max()
    assert error <= stated["tolerance_pu"]
    assert error > 0.05 * stated["tolerance_pu"] or stated["tolerance_pu"] <= 1e-6, "the stated error is far too wide"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.name)
def test_every_model_of_ours_has_a_stated_error_or_a_reason(folder: Path) -> None:
    models = read(folder).meta["models"]
    ours = {name for name, kind in network_models().items() if kind.__module__.startswith("amm_opt.")}
    assert ours | {"ac"} <= set(models) <= ours | set(FLOWS)
    assert all(stated["why"] for stated in models.values())


def test_folders_are_found() -> None:
    assert len(FOLDERS) >= 4
