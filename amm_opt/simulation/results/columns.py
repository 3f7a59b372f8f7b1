"""The summary columns, in one table: unit, kind, which way is better, meaning, and how each is computed.

Summaries, the types of tables, the terminal and the pages' tables all follow it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from amm_opt.arrays import DIRECTIONS
from amm_opt.simulation.results.column import Column, Kind
from amm_opt.simulation.results.fairness import by_feeder, jain, lowest, served_ratios
from amm_opt.simulation.results.totals import Totals
from amm_opt.verification.replay import ReplayTotals

Compute = Callable[[Any], float | None]
"""Gives a run's number; None where the column does not apply to it."""


def _total(value: Callable[[Totals], float | None]) -> Compute:
    """Of the run's totals, which a run that was read from disk has not."""
    return lambda run: None if run.totals is None else value(run.totals)


def _ac(value: Callable[[ReplayTotals], float]) -> Compute:
    """Of the replay by AC power flow, where there was one."""
    return lambda run: None if run.ac is None else value(run.ac)


def _count(field: str, applies: Callable[[Totals], bool] = lambda _: True) -> Compute:
    """Of the intervals that a run has marked, where its totals say that there may be any."""
    return lambda run: None if run.totals is None or not applies(run.totals) else len(getattr(run, field))


def _fair(measure: Callable[[Any], float], per: str, *directions: int) -> Compute:
    """Of served ratios, the lower one of these directions; NaN where none compares anybody."""

    def compute(run: Any) -> float | None:
        if run.totals is None:
            return None
        energies = (run.totals.requested_kwh, run.totals.served_kwh)
        requested, served = (by_feeder(run.case, e) for e in energies) if per == "feeder" else energies
        return float(np.fmin.reduce([measure(served_ratios(requested[d], served[d], per)) for d in directions]))

    return compute


def _largest_gap(run: Any) -> float | None:
    if run.totals is None or not run.totals.conic:
        return None
    return 0.0 if run.gap is None else float(run.gap.max())


def _energy(name: str, compute: Compute, better: Any, meaning: str, header: str = "") -> Column:
    return Column(name, compute, "MWh", "energy", better, meaning, header)


def _pairs(name: str, compute: Compute, meaning: str, header: str = "", better: Any = "lower") -> Column:
    return Column(name, compute, "pairs", "count", better, meaning, header)


def _intervals(name: str, compute: Compute, meaning: str, header: str = "") -> Column:
    return Column(name, compute, "intervals", "count", "lower", meaning, header)


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


def _decomposition_energy(run: Any, joint: Any) -> float:
    largest = _served_mwh(joint)
    return round(100.0 * (1.0 - _served_mwh(run) / largest), 9) + 0.0 if largest > 0 else 0.0


def _decomposition_jain(run: Any, joint: Any) -> float:
    return float(round(joint.summary["jain_feeder"] - run.summary["jain_feeder"], 9) + 0.0)


ENERGIES = (("requested_import_mwh", "unserved_mwh"), ("requested_export_mwh", "curtailed_mwh"))
"""Columns of what was asked for and of what was lost of it, by direction."""

FAIRNESS: tuple[tuple[str, Callable[[Any], float], str, Kind, str, str], ...] = (
    ("jain_feeder", jain, "feeder", "index", "Jain's index of the served ratios of LV feeders", "Jain\nfeed-\ners"),
    (
        "jain_participant",
        jain,
        "participant",
        "index",
        "Jain's index of the served ratios of participants",
        "Jain\npartic-\nipants",
    ),
    ("worst_feeder_served", lowest, "feeder", "ratio", "lowest served ratio of an LV feeder", "worst\nfeeder"),
    (
        "worst_participant_served",
        lowest,
        "participant",
        "ratio",
        "lowest served ratio of a participant",
        "worst\npartic-\nipant",
    ),
)
"""Name, measure, of whom, kind, meaning, header."""

CONTRACT = (
    _energy("requested_import_mwh", _total(lambda t: t.requested_mwh[0]), None, "flexible import asked for"),
    _energy("unserved_mwh", _total(lambda t: t.lost_mwh[0]), "lower", "flexible import not served", "un-\nserved"),
    _energy("requested_export_mwh", _total(lambda t: t.requested_mwh[1]), None, "export available"),
    _energy("curtailed_mwh", _total(lambda t: t.lost_mwh[1]), "lower", "export not accepted", "cur-\ntailed"),
    _pairs(
        "thermal_violations",
        _total(lambda t: t.violations.thermal),
        "(branch, interval) pairs above the rating",
        "thermal\nviola-\ntions",
    ),
    _pairs(
        "voltage_violations",
        _total(lambda t: t.violations.voltage),
        "(bus, interval) pairs outside the voltage band",
        "voltage\nviola-\ntions",
    ),
    _pairs(
        "ac_thermal_violations",
        _ac(lambda ac: ac.violations.thermal),
        "(branch, interval) pairs above the rating in an AC power flow; empty: not verified",
        "thermal\nviola-\ntions\nAC",
    ),
    _pairs(
        "ac_voltage_violations",
        _ac(lambda ac: ac.violations.voltage),
        "(bus, interval) pairs outside the voltage band in an AC power flow; empty: not verified",
        "voltage\nviola-\ntions\nAC",
    ),
    *(
        Column(name, _fair(measure, per, 0, 1), "", kind, "higher", f"{what}; the lower of the two directions", header)
        for name, measure, per, kind, what, header in FAIRNESS
    ),
    Column("steps", _total(lambda t: t.steps), "intervals", "count", None, "length of the run"),
    Column("seconds", _total(lambda t: t.seconds), "s", "time", "lower", "wall time, without loading the case"),
    Column(
        "ms_per_step",
        _total(lambda t: 1000.0 * t.seconds / max(t.steps, 1)),
        "ms",
        "time",
        "lower",
        "wall time of an interval",
        "ms per\ninter-\nval",
    ),
)
"""Every run has these; empty where nothing is known."""

OF_RUNS = (
    *CONTRACT,
    *(
        Column(f"{name}_{direction}", _fair(measure, per, d), "", kind, "higher", f"{what}; {direction} only")
        for name, measure, per, kind, what, _ in FAIRNESS
        for d, direction in enumerate(DIRECTIONS)
    ),
    Column(
        "worst_thermal_excess_pct",
        _total(lambda t: 100.0 * t.violations.largest_thermal),
        "%",
        "percent",
        "lower",
        "largest excess over a rating among the violations, in % of it",
    ),
    Column(
        "worst_voltage_excess_pu",
        _total(lambda t: t.violations.largest_voltage_pu),
        "pu",
        "voltage",
        "lower",
        "largest distance outside a voltage band among the violations",
    ),
    _pairs(
        "unavoidable_violations",
        _total(lambda t: t.violations.unavoidable),
        "pairs beyond a limit through inflexible load only; not in the counts above",
        better=None,
    ),
    _intervals(
        "fallback_steps",
        _count("fallback_steps"),
        "solved at a second try: from a cold start, or by another solver than the first choice",
    ),
    _intervals(
        "failed_steps",
        _count("failed_steps"),
        "no solver gave an answer that passed the audit; nobody was served",
    ),
    Column(
        "revenue",
        _total(lambda t: t.revenue if t.priced else np.nan),
        "currency",
        "money",
        None,
        "flexible import times its price minus accepted export times its price; empty without prices",
    ),
    _energy(
        "charged_mwh",
        _total(lambda t: None if t.battery_mwh is None else t.battery_mwh[0]),
        None,
        "into batteries at their terminals; only where a mechanism schedules them",
    ),
    _energy(
        "discharged_mwh",
        _total(lambda t: None if t.battery_mwh is None else t.battery_mwh[1]),
        None,
        "out of batteries at their terminals; only where a mechanism schedules them",
    ),
    _intervals(
        "repaired_steps",
        _count("repaired_steps", lambda t: t.cuts),
        "allocations cut back to be feasible; only where that may be necessary",
    ),
    _intervals(
        "unsolved_steps",
        _total(lambda t: t.violations.unsolved if t.conic else None),
        "what is served has no solution of the branch flow equations; conic network models only",
    ),
    _intervals(
        "inexact_steps",
        _count("inexact_steps", lambda t: t.conic),
        "solved with an inexact relaxation; conic network models only",
    ),
    Column(
        "worst_gap",
        _largest_gap,
        "",
        "number",
        "lower",
        "largest gap of the relaxation, as a fraction of the rating squared; conic network models only",
    ),
    _energy(
        "waiting_mwh",
        _total(lambda t: None if t.waiting_kwh is None else t.waiting_kwh / 1000.0),
        None,
        "the part of unserved_mwh that sessions still wait for when the run ends; only where energy can wait",
    ),
)

OF_REPLAYS = (
    Column(
        "worst_ac_thermal_excess_pct",
        _ac(lambda ac: 100.0 * ac.violations.largest_thermal),
        "%",
        "percent",
        "lower",
        "largest excess over a rating among the AC violations, in % of it",
        "worst\nexcess\nAC, % of\nrating",
    ),
    Column(
        "worst_ac_voltage_excess_pu",
        _ac(lambda ac: ac.violations.largest_voltage_pu),
        "pu",
        "voltage",
        "lower",
        "largest distance outside a band among the AC violations",
        "worst\nexcess\nAC, pu",
    ),
    _pairs(
        "ac_unavoidable_violations",
        _ac(lambda ac: ac.violations.unavoidable),
        "pairs beyond a limit on AC through inflexible load only",
        "un-\navoid-\nable\nAC",
        better=None,
    ),
    _intervals(
        "ac_unsolved_steps",
        _ac(lambda ac: ac.violations.unsolved),
        "without a power-flow solution",
        "no AC\nsolu-\ntion",
    ),
    Column(
        "voltage_error_worst_pu",
        _ac(lambda ac: ac.voltage_error_pu.largest),
        "pu",
        "voltage",
        "lower",
        "largest difference of the network model's voltage from that of AC under the same injections",
        "voltage\nerror\nworst\npu",
    ),
    Column(
        "voltage_error_rms_pu",
        _ac(lambda ac: ac.voltage_error_pu.rms),
        "pu",
        "voltage",
        "lower",
        "root mean square of that difference over all buses but the source",
        "voltage\nerror\nrms\npu",
    ),
    Column(
        "flow_error_worst_pct",
        _ac(lambda ac: 100.0 * ac.flow_error.largest),
        "% of rating",
        "percent",
        "lower",
        "largest difference of the network model's loading from that of AC",
        "flow\nerror\nworst, %\nof rating",
        ".1f",
    ),
    Column(
        "flow_error_rms_pct",
        _ac(lambda ac: 100.0 * ac.flow_error.rms),
        "% of rating",
        "percent",
        "lower",
        "root mean square of that difference over all rated branches",
        "flow\nerror\nrms, %\nof rating",
    ),
    _energy(
        "ac_losses_mwh", _ac(lambda ac: ac.losses_kwh / 1000.0), "lower", "series losses of all branches", "losses"
    ),
)
"""Runs that were verified have these as well."""

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

COLUMNS = {c.name: c for c in (*OF_RUNS, *OF_REPLAYS, *OF_TWO_TIERS, PRICE_OF_FAIRNESS)}
"""All of them, in the order of tables."""
