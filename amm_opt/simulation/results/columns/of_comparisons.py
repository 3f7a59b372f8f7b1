"""Columns of a run beside another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from amm_opt.simulation.results.column import Column
from amm_opt.simulation.results.columns.kinds import ENERGIES


def _served_mwh(run: Any) -> float:
    """Energy served by a run, import and export together."""
    (asked_import, lost_import), (asked_export, lost_export) = (run.summary[[*names]] for names in ENERGIES)
    return float(asked_import + asked_export - lost_import - lost_export)


def _broken(run: Any) -> bool:
    """Whether limits were broken or intervals failed."""
    return bool(np.nansum(run.summary[["thermal_violations", "voltage_violations", "failed_steps"]]) > 0)


def _price_of_fairness(run: Any, bound: Any) -> float:
    largest = _served_mwh(bound)
    known = largest > 0 and not _broken(bound) and not _broken(run)
    return 1.0 - _served_mwh(run) / largest if known else np.nan


def _less_pct(run: Any, other: Any) -> float:
    """Energy served by a run, in % less than by another one that serves some."""
    return round(100.0 * (1.0 - _served_mwh(run) / _served_mwh(other)), 9) + 0.0


def _decomposition_energy(run: Any, joint: Any) -> float:
    return _less_pct(run, joint) if _served_mwh(joint) > 0 else 0.0


def _decomposition_jain(run: Any, joint: Any) -> float:
    return _higher("jain_feeder")(joint, run)


def _price_of_memory(run: Any, without: Any) -> float:
    known = _served_mwh(without) > 0 and not _broken(without) and not _broken(run)
    return _less_pct(run, without) if known else np.nan


def _higher(name: str) -> Callable[[Any, Any], float]:
    """By how much a column of a run is higher than that of another one."""
    return lambda run, other: float(round(run.summary[name] - other.summary[name], 9) + 0.0)


OF_TWO_TIERS = (
    Column(
        "decomposition_energy_pct",
        _decomposition_energy,
        "%",
        "percent",
        "lower",
        "energy served in two tiers, import and export, in % less than jointly",
        form=".3f",
    ),
    Column(
        "decomposition_jain",
        _decomposition_jain,
        "",
        "index",
        "lower",
        "Jain's index of feeders, by how much it is lower than jointly",
    ),
)
"""``compute(run, joint)``: of a run in two tiers beside the joint run."""

PRICE_OF_FAIRNESS = Column(
    "price_of_fairness",
    _price_of_fairness,
    "",
    "ratio",
    "lower",
    "1 - energy served / energy that the throughput bound serves, import and export together",
    "price of\nfairness\n%",
)
"""``compute(run, bound)``; empty where either broke limits or had failed intervals."""

OF_MEMORY = (
    Column(
        "price_of_memory_pct",
        _price_of_memory,
        "%",
        "percent",
        "lower",
        "energy served, import and export, in % less than by the same mechanism without its memory",
        form=".3f",
    ),
    Column(
        "memory_worst_feeder",
        _higher("worst_feeder_served"),
        "",
        "ratio",
        "higher",
        "lowest served ratio of an LV feeder, by how much it is higher than without memory",
    ),
    Column(
        "memory_worst_participant",
        _higher("worst_participant_served"),
        "",
        "ratio",
        "higher",
        "lowest served ratio of a participant, by how much it is higher than without memory",
    ),
)
"""``compute(run, without)``: of a run beside that of ``Mechanism.without_memory``; the price is empty as that of
fairness is."""
