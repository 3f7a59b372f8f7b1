"""What a page says of a comparison: what was asked, the table, what may be claimed, who is short and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import DIRECTIONS
from amm_opt.cases.scenario import SCALES, Scenario
from amm_opt.errors import counted
from amm_opt.io.text import energy_unit, plain
from amm_opt.pictures.readings import Energies
from amm_opt.simulation import Run
from amm_opt.simulation.results.columns import COLUMNS, ENERGIES
from amm_opt.simulation.results.fairness import STARVED
from amm_opt.simulation.results.reasons import summarised
from amm_opt.study.comparison import Comparison
from amm_opt.study.report.sample import Spans, limits_of
from amm_opt.study.report.tables import Cell, Heading, Table, figure, heading, headings, text

MAIN = (
    "thermal_violations",
    "voltage_violations",
    "jain_feeder",
    "worst_feeder_served",
    "jain_participant",
    "worst_participant_served",
    "p10_participant_served",
    "starved_participants",
    "price_of_fairness",
    "failed_steps",
)
"""Columns of the first table, beside what was not served."""
WORST_OFF = 10
"""So many of the worst-off are named for each mechanism and direction, or more where more are starved."""
MOST_STARVED = 40
LIMITS = 12
"""So many limits are listed for each mechanism, those with the most energy lost behind them first."""
OF_COMMAND = ("command", "started", "python", "system")


def asked(result: Comparison) -> list[tuple[str, str]]:
    """What was asked: the case, the intervals, and how mechanisms were run, where that is the same for all."""
    case, run = result.case, next(iter(result.runs.values()))
    end = run.times[-1] + pd.Timedelta(hours=case.dt_h)
    said = [
        ("case", f"{case.name}{f': {case.title}' if case.title else ''}"),
        (
            "intervals",
            f"{len(run.times):,} of {60 * case.dt_h:g} minutes, {run.times[0]:%d %b %Y %H:%M} to {end:%d %b %Y %H:%M}",
        ),
        ("network", f"{case.feeder.n_buses:,} buses, {counted(len(case.feeder.lv_feeders), 'LV feeder')}"),
        ("participants", f"{case.n_participants:,}"),
        ("mechanisms", ", ".join(result.runs)),
        ("scenario", case.scenario.description),
        ("factors and limits", ", ".join(_scaled(case.scenario))),
    ]
    inputs = [run.manifest.get("inputs", {}) for run in result.runs.values()]
    for name in ("network model", "ac", "forecast", "measurement", "waiting", "tiers", "margin", "time limit"):
        values = dict.fromkeys(
            "yes" if given[name] is True else str(given[name])
            for given in inputs
            if name in given and given[name] not in (None, False)
        )
        if values:
            said.append((name, ", ".join(values)))
    said += [
        (
            f"margin of {label}",
            f"{trained.margin or 'none'}, found by {trained.asked} on {counted(trained.intervals, 'interval')}"
            f" from {case.times[trained.first]:%d %b %Y %H:%M}",
        )
        for label, run in result.runs.items()
        if (trained := run.trained) is not None
    ]
    said += [("licence of the data", case.licence), ("attribution", case.attribution)]
    return [(name, plain(value)) for name, value in said if value]


def _scaled(scenario: Scenario) -> Iterator[str]:
    """Factors other than 1, and limits of its own."""
    factors = {name: float(getattr(scenario, name)) for name in SCALES}
    yield from (f"{name} {value:g}" for name, value in factors.items() if value != 1.0)
    for branch, own in scenario.limits.items():
        yield f"{branch}: " + ", ".join(f"{name} {value:g}" for name, value in own.items())


def main_table(result: Comparison) -> Table:
    """The columns that matter first."""
    table = result.table
    heads = [Heading("mechanism")]
    columns: list[list[Cell]] = [[text(label) for label in table.index]]
    per, unit = energy_unit(table[[lost for _, lost in ENERGIES]].to_numpy(float).ravel())
    for whole, lost in ENERGIES:
        column, share = COLUMNS[lost], 100.0 * table[lost] / table[whole].where(table[whole] > 0)
        word = lost.removesuffix("_mwh")
        heads += [
            Heading(f"{word}, {unit}", f"{column.meaning}; lower is better", True),
            Heading(f"{word}, %", f"{column.meaning}, in % of {COLUMNS[whole].meaning}; lower is better", True),
        ]
        columns += [[figure(v / per, ".2f") for v in table[lost]], [figure(v, ".2f") for v in share.astype(float)]]
    for name in (name for name in MAIN if name in table and not table[name].isna().all()):
        heads.append(heading(COLUMNS[name]))
        columns.append([figure(float(v), COLUMNS[name].form) for v in table[name]])
    rows = list(zip(*columns, strict=True))
    return Table("results", "One row per mechanism; better is said where a heading is pointed at", heads, rows)


def whole_table(result: Comparison) -> Table:
    """Every column that has a number, one row each, with what it means."""
    table, columns = result.table, result.columns
    heads = [*headings([("column", False), ("unit", False)]), *(Heading(plain(x), "", True) for x in table.index)]
    heads.append(Heading("meaning"))
    rows = []
    for name in (name for name in table if not table[name].isna().all()):
        column = columns[str(name)]
        numbers = [figure(float(v), column.form) for v in table[name]]
        rows.append([text(name), text(column.unit), *numbers, text(column.meaning)])
    return Table("columns", "Every summary column", heads, rows)


def claims(result: Comparison) -> Table:
    """The rung of every run's evidence, and the words that it allows."""
    rows = [[text(label), text(rung), text(words)] for label, (rung, words) in zip(
        result.claims.index, result.claims.to_numpy(), strict=True)]  # fmt: skip
    return Table(
        "claims",
        "What was verified of the limits that each run keeps",
        headings([("mechanism", False), ("rung", False), ("what may be said", False)]),
        rows,
    )


def remarks(result: Comparison) -> list[str]:
    """What went wrong, and limits that nobody can keep."""
    found: list[str] = []
    for label, run in result.runs.items():
        found += summarised(label, run.fallback_reasons, run.failed_steps)
        if "repaired_steps" in run.summary and run.summary["repaired_steps"] > 0:
            found.append(
                f"{label}: cut back to be feasible in {counted(int(run.summary['repaired_steps']), 'interval')}"
            )
    for run in result.runs.values():
        found += [sentence for sentence in run.unavoidable if sentence not in found]
    return [plain(sentence) for sentence in found]


def worst_off(result: Comparison, energies: Mapping[str, Energies]) -> tuple[Table, list[str]]:
    """The participants with the lowest served ratios of every mechanism, and a sentence on who is starved."""
    case, rows, said = result.case, [], []
    feeders = [*case.feeder.lv_feeders, ""]
    for label, item in energies.items():
        for d, direction in enumerate(DIRECTIONS):
            ratios, asked_kwh = item.ratios("participant")[d], item.requested_kwh[:, d].sum(axis=0)
            if np.isnan(ratios).all():
                continue
            median = float(np.nanmedian(ratios))
            starved = int(np.nansum(ratios < STARVED * median))
            if starved:
                below = f"below a tenth of the median {median:.3f}"
                are = "participant is" if starved == 1 else "participants are"
                said.append(f"{label}: {starved} {are} starved of {direction}, {below}")
            count = min(int(np.nansum(ratios < 1.0)), max(WORST_OFF, min(starved, MOST_STARVED)))
            for i in np.argsort(ratios, kind="stable")[:count].tolist():
                who = (case.participant_names[i], case.participants["bus"].iloc[i], feeders[case.lv_feeder[i]])
                numbers = ((ratios[i], ".3f"), (asked_kwh[i], ".1f"), ((1.0 - ratios[i]) * asked_kwh[i], ".1f"))
                cells = [text(label), text(direction), *map(text, who)]
                cells += [figure(float(value), form) for value, form in numbers]
                rows.append([*cells, text("yes" if ratios[i] < STARVED * median else "")])
    names = [("mechanism", False), ("direction", False), ("participant", False), ("bus", False), ("LV feeder", False)]
    names += [("served ratio", True), ("requested, kWh", True), ("not served, kWh", True), ("starved", False)]
    return Table(
        "worst-off", f"The {WORST_OFF} worst-off of every mechanism and direction", headings(names), rows
    ), said


def limits(result: Comparison, spans: Spans) -> tuple[Table, list[str]]:
    """Which limits stand behind what was not served, for every mechanism, and what cannot be told."""
    rows, said = [], []
    lost = {x: run.summary["unserved_mwh"] + run.summary["curtailed_mwh"] for x, run in result.runs.items()}
    for label, found in limits_of({x: run for x, run in result.runs.items() if lost[x] > 0}, spans).items():
        if isinstance(found, str):
            said.append(plain(f"{label}: {found}"))
        else:
            rows += list(_limit_rows(label, found))
    names = [
        ("mechanism", False),
        ("limit", False),
        ("kind", False),
        ("direction", False),
        ("lost behind it, kWh", True),
    ]
    names += [("binding intervals", True), ("intervals asked too much", True), ("hours of day", False)]
    names += [("LV feeders", True), ("most affected", False)]
    return Table("limits", "Limits with the most energy lost behind them", headings(names), rows), said


def _limit_rows(label: str, found: pd.DataFrame) -> Iterator[list[Cell]]:
    lost = 1000.0 * (found["unserved_mwh"] + found["curtailed_mwh"])
    bound = found[(lost > 0) & ((found["intervals"] > 0) | (found["kind"] == ""))].head(LIMITS)
    for row in bound.to_dict("records"):
        who = ", ".join(f"{name} ({1000.0 * mwh:.1f} kWh)" for name, mwh in row["most_affected"][:3])
        yield [
            text(label), text(row["limit"]), text(row["kind"]), text(row["direction"]),
            figure(1000.0 * (row["unserved_mwh"] + row["curtailed_mwh"]), ".1f"), figure(row["intervals"], ".0f"),
            figure(row["asked_intervals"] if row["kind"] else None, ".0f"), text(row["hours"]),
            figure(row["feeders"], ".0f"), text(who),
        ]  # fmt: skip


def assumptions(result: Comparison) -> list[tuple[str, list[str]]]:
    """What the importer of the case read, assumed and left out; empty where it says nothing."""
    report = result.case.report
    if report is None:
        return []
    found = [("Assumed", report.assumed), ("Left out", report.left_out), ("Read", report.read)]
    found.append(("Limits that are broken whatever is served", getattr(report, "broken", [])))
    return [(title, [plain(line) for line in lines]) for title, lines in found if lines]


def origin(result: Comparison) -> tuple[list[tuple[str, str]], Table]:
    """How to make it again: command and releases, and of every run what its numbers depend on."""
    first = next(iter(result.runs.values())).manifest
    inputs: dict[str, Any] = first.get("inputs", {})
    said = [(name, str(first[name])) for name in OF_COMMAND if first.get(name)]
    releases = inputs.get("releases", {})
    said.append(("releases", ", ".join(f"{name} {version}" for name, version in releases.items())))
    said.append(("digest of the case", result.case.fingerprint))
    rows = [
        [text(label), text(run.manifest.get("inputs", {}).get("parameters of the mechanism", run.mechanism)),
         text(run.solver), text(run.manifest.get("inputs", {}).get("code of the mechanism (digest)") or "-")]
        for label, run in result.runs.items()
    ]  # fmt: skip
    names = [
        ("mechanism", False),
        ("parameters", False),
        ("solvers that were used", False),
        ("digest of its code", False),
    ]
    table = Table("origin", "What the numbers of every run depend on", headings(names), rows)
    return [(name, plain(value)) for name, value in said if value], table


def single(run: Run) -> Comparison:
    """A comparison of one run."""
    return Comparison(run.case, {str(run.mechanism): run})
