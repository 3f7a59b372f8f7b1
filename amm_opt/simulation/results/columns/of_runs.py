"""Columns of every run: what was asked for and lost, limits that were broken, fairness, time, and what went wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from amm_opt.simulation.results.column import Column
from amm_opt.simulation.results.columns.kinds import ac, count, energy, intervals, pairs, total
from amm_opt.simulation.results.columns.of_fairness import FAIRNESS, SPREAD, columns


def _largest_gap(run: Any) -> float | None:
    if run.totals is None or not run.totals.conic:
        return None
    return 0.0 if run.gap is None else float(run.gap.max())


def _held_out_rate(run: Any) -> float | None:
    """Judged as on the training span; None where nothing was trained, or what it is computed from is not known."""
    judged = None if run.trained is None else run.ac if run.trained.on_ac else run.totals
    return None if judged is None else 100.0 * judged.violations.broken_intervals / len(run.times)


CONTRACT = (
    energy("requested_import_mwh", total(lambda t: t.requested_mwh[0]), None, "flexible import asked for"),
    energy("unserved_mwh", total(lambda t: t.lost_mwh[0]), "lower", "flexible import not served", "un-\nserved"),
    energy("requested_export_mwh", total(lambda t: t.requested_mwh[1]), None, "export available"),
    energy("curtailed_mwh", total(lambda t: t.lost_mwh[1]), "lower", "export not accepted", "cur-\ntailed"),
    pairs(
        "thermal_violations",
        total(lambda t: t.violations.thermal),
        "(branch, interval) pairs above the rating",
        "ther-\nmal\nviola-\ntions",
    ),
    pairs(
        "voltage_violations",
        total(lambda t: t.violations.voltage),
        "(bus, interval) pairs outside the voltage band",
        "volt-\nage\nviola-\ntions",
    ),
    pairs(
        "ac_thermal_violations",
        ac(lambda ac: ac.violations.thermal),
        "(branch, interval) pairs above the rating in an AC power flow; empty: not verified",
        "ther-\nmal\nviola-\ntions\nAC",
    ),
    pairs(
        "ac_voltage_violations",
        ac(lambda ac: ac.violations.voltage),
        "(bus, interval) pairs outside the voltage band in an AC power flow; empty: not verified",
        "volt-\nage\nviola-\ntions\nAC",
    ),
    *columns(FAIRNESS),
    Column("steps", total(lambda t: t.steps), "intervals", "count", None, "length of the run"),
    Column("seconds", total(lambda t: t.seconds), "s", "time", "lower", "wall time, without loading the case"),
    Column(
        "ms_per_step",
        total(lambda t: 1000.0 * t.seconds / max(t.steps, 1)),
        "ms",
        "time",
        "lower",
        "wall time of an interval",
        "ms per\ninter-\nval",
    ),
)
"""Every run has these; empty where nothing is known."""

EVERYWHERE = (
    *CONTRACT,
    *columns(FAIRNESS, directions=True),
    *columns(SPREAD),
    *columns(SPREAD, directions=True),
)
"""The same and what says more of how equally energy was served, which runs of earlier versions lack."""

OF_RUNS = (
    *EVERYWHERE,
    Column(
        "worst_thermal_excess_pct",
        total(lambda t: 100.0 * t.violations.worst_thermal.excess),
        "%",
        "percent",
        "lower",
        "largest excess over a rating among the violations, in % of it",
    ),
    Column(
        "worst_voltage_excess_pu",
        total(lambda t: t.violations.worst_voltage.excess),
        "pu",
        "voltage",
        "lower",
        "largest distance outside a voltage band among the violations",
    ),
    pairs(
        "unavoidable_violations",
        total(lambda t: t.violations.unavoidable),
        "pairs beyond a limit through inflexible load only; not in the counts above",
        better=None,
    ),
    intervals(
        "fallback_steps",
        count("fallback_steps"),
        "solved at a second try: from a cold start, or by another solver than the first choice",
    ),
    intervals(
        "failed_steps",
        count("failed_steps"),
        "no solver gave an answer that passed the audit; nobody was served",
    ),
    Column(
        "revenue",
        total(lambda t: t.revenue if t.priced else np.nan),
        "currency",
        "money",
        None,
        "flexible import times its price minus accepted export times its price; empty without prices",
    ),
    energy(
        "charged_mwh",
        total(lambda t: None if t.battery_mwh is None else t.battery_mwh[0]),
        None,
        "into batteries at their terminals; only where a mechanism schedules them",
    ),
    energy(
        "discharged_mwh",
        total(lambda t: None if t.battery_mwh is None else t.battery_mwh[1]),
        None,
        "out of batteries at their terminals; only where a mechanism schedules them",
    ),
    intervals(
        "repaired_steps",
        count("repaired_steps", lambda t: t.cuts),
        "allocations cut back to be feasible; only where that may be necessary",
    ),
    intervals(
        "unsolved_steps",
        total(lambda t: t.violations.unsolved if t.conic else None),
        "what is served has no solution of the branch flow equations; conic network models only",
    ),
    intervals(
        "inexact_steps",
        count("inexact_steps", lambda t: t.conic),
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
    energy(
        "waiting_mwh",
        total(lambda t: None if t.waiting_kwh is None else t.waiting_kwh / 1000.0),
        None,
        "the part of unserved_mwh that sessions still wait for when the run ends; only where energy can wait",
    ),
    Column(
        "margin_scale",
        lambda run: None if run.trained is None else run.trained.scale,
        "",
        "ratio",
        None,
        "multiple of the margin that was found on the training span; only with margin=auto",
    ),
    Column(
        "training_rate_pct",
        lambda run: None if run.trained is None else run.trained.rate_pct,
        "%",
        "percent",
        "lower",
        "intervals of the training span with a broken limit, with that margin; on AC where the run was verified",
    ),
    Column(
        "held_out_rate_pct",
        _held_out_rate,
        "%",
        "percent",
        "lower",
        "intervals of the run with a broken limit, counted as on the training span; only with margin=auto",
    ),
)
