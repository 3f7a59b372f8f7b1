"""What the command line prints."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import wraps
from typing import Any

import click
import numpy as np
import pandas as pd

from amm_opt.io.output import emit, reserved
from amm_opt.simulation.results.reasons import summarised
from amm_opt.study.compare import Comparison
from amm_opt.study.terminal import printable, say, width
from amm_opt.study.text import Column, energy_unit, number, table

ENERGIES = ("unserved_mwh", "curtailed_mwh")


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--json``: standard output is for ``print_json`` alone, whatever a solver or a plug-in prints."""

    @wraps(command)
    def reserving(*args: Any, as_json: bool, **options: Any) -> Any:
        with reserved() if as_json else nullcontext():
            return command(*args, as_json=as_json, **options)

    return click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")(reserving)


def print_json(value: Any) -> None:
    """One JSON document; numbers that JSON has no word for are null."""
    emit(json.dumps(_finite(value), indent=1, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def document(result: Comparison, network: str) -> dict[str, Any]:
    """What ``--json`` prints."""
    rows = []
    for label, values in result.table.iterrows():
        numbers = {k: None if v is None or not np.isfinite(float(v)) else float(v) for k, v in values.items()}
        whole = {k: int(v) for k, v in numbers.items() if v is not None and _is_count(str(k))}
        rows.append({"mechanism": label, **numbers, **whole, "solver": result.runs[str(label)].solver})
    used = {run.solver for run in result.runs.values()} - {"-"}
    return {"case": result.case.name, "rows": rows, "solver": ", ".join(sorted(used)) or "-", "network": network}


def _is_count(column: str) -> bool:
    return column == "steps" or column.endswith(("_violations", "_steps"))


def print_table(result: Comparison, span: tuple[int, int], network: str) -> None:
    """One row per mechanism, and what the table has no room for."""
    case, t = result.case, result.table
    times = f"{case.times[span[0]]:%Y-%m-%d %H:%M} to {case.times[span[1] - 1]:%Y-%m-%d %H:%M}"
    title = f"{printable(case.name)}: {times}, {span[1] - span[0]} intervals, {network}"
    per, unit = energy_unit(t[[*ENERGIES]].to_numpy(float).ravel())
    energy = [numbers(t[c].astype(float) / per, ".2f") for c in ENERGIES]
    columns = [
        _labels(t),
        Column(f"un-\nserved\n{unit}", energy[0], rank=1),
        Column("un-\nserved\n%", _shares(t, "unserved_mwh", "requested_import_mwh")),
        Column(f"cur-\ntailed\n{unit}", energy[1], rank=1),
        Column("cur-\ntailed\n%", _shares(t, "curtailed_mwh", "requested_export_mwh")),
        Column("thermal\nviola-\ntions", numbers(t["thermal_violations"], ".0f")),
        Column("voltage\nviola-\ntions", numbers(t["voltage_violations"], ".0f")),
        Column("Jain\nfeed-\ners", numbers(t["jain_feeder"], ".4f")),
        Column("worst\nfeeder", numbers(t["worst_feeder_served"], ".3f")),
        Column("Jain\npartic-\nipants", numbers(t["jain_participant"], ".4f")),
        Column("worst\npartic-\nipant", numbers(t["worst_participant_served"], ".3f")),
        Column("ms per\ninter-\nval", numbers(t["ms_per_step"], ".1f"), rank=4),
        Column("solver", [printable(result.runs[str(label)].solver) for label in t.index], folds=True, rank=3),
    ]
    if "price_of_fairness" in t:
        price = numbers(100.0 * t["price_of_fairness"].astype(float), ".2f")
        columns.insert(7, Column("price of\nfairness\n%", price, rank=2))
    _print_columns(title, columns)
    for label, run in result.runs.items():
        for sentence in summarised(label, run.fallback_reasons, run.failed_steps):
            say(f"{sentence}.")
    if "waiting_mwh" in t:
        per, unit = energy_unit(t["waiting_mwh"])
        waiting = ", ".join(f"{label} {float(s['waiting_mwh']) / per:.2f}" for label, s in t.iterrows())
        say(f"Of what is unserved, still waiting at the end, {unit}: {waiting}")
    if "decomposition_energy_pct" in t:
        for label, s in t.dropna(subset=["decomposition_energy_pct"]).iterrows():
            jain = number(s["decomposition_jain"], ".4f")
            say(
                f"{label} against joint: {s['decomposition_energy_pct']:.3f} % less energy served, Jain of feeders"
                f" {jain} lower, {int(s['repaired_steps'])} allocations cut back."
            )
    least = t["unavoidable_violations"].idxmin()
    if unavoidable := int(t["unavoidable_violations"][least]):
        say(f"{unavoidable} (element, interval) pairs are beyond a limit through inflexible load alone.")
    for sentence in result.runs[str(least)].unavoidable:
        say(f"  - {sentence}")


def print_ac(result: Comparison) -> None:
    """What the network model promised beside what AC power flow shows."""
    t = result.table
    per, unit = energy_unit(t["ac_losses_mwh"])

    def column(header: str, name: str, form: str, rank: int = 0) -> Column:
        return Column(header, numbers(t[name], form), rank=rank)

    columns = [
        _labels(t),
        column("thermal\nviola-\ntions\nmodel", "thermal_violations", ".0f"),
        column("thermal\nviola-\ntions\nAC", "ac_thermal_violations", ".0f"),
        column("voltage\nviola-\ntions\nmodel", "voltage_violations", ".0f"),
        column("voltage\nviola-\ntions\nAC", "ac_voltage_violations", ".0f"),
        column("worst\nexcess\nAC, % of\nrating", "worst_ac_thermal_excess_pct", ".2f", 1),
        column("worst\nexcess\nAC, pu", "worst_ac_voltage_excess_pu", ".4f", 1),
        column("un-\navoid-\nable\nAC", "ac_unavoidable_violations", ".0f", 3),
        column("no AC\nsolu-\ntion", "ac_unsolved_steps", ".0f", 2),
        column("voltage\nerror\nworst\npu", "voltage_error_worst_pu", ".4f", 4),
        column("voltage\nerror\nrms\npu", "voltage_error_rms_pu", ".4f", 6),
        column("flow\nerror\nworst, %\nof rating", "flow_error_worst_pct", ".1f", 5),
        column("flow\nerror\nrms, %\nof rating", "flow_error_rms_pct", ".2f", 7),
        Column(f"losses\n{unit}", numbers(t["ac_losses_mwh"].astype(float) / per, ".2f"), rank=8),
    ]
    _print_columns(f"{printable(result.case.name)}: network model (model) and AC power flow (AC)", columns)
    unsolved = int(t["ac_unsolved_steps"].astype(float).sum())
    if unsolved:
        say(f"{unsolved} intervals have no AC solution; nothing is counted in them.")
    if repaired := int(t["repaired_steps"].fillna(0).sum()) if "repaired_steps" in t else 0:
        say(f"{repaired} allocations were cut back to be feasible.")


def numbers(values: pd.Series[Any], form: str) -> list[str]:
    """Cells of a column, dashes where there is no number."""
    return [number(None if pd.isna(v) else v, form) for v in values]


def _labels(t: pd.DataFrame) -> Column:
    return Column("mechanism", [printable(label) for label in t.index], folds=True)


def _shares(t: pd.DataFrame, part: str, whole: str) -> list[str]:
    of = t[whole].astype(float)
    return numbers(100.0 * t[part].astype(float) / of.where(of > 0), ".2f")


def _print_columns(title: str, columns: list[Column]) -> None:
    emit("\n".join(table(title, columns, width())))


def show(rows: list[dict[str, Any]], as_json: bool, title: str, ranks: Mapping[str, int] | None = None) -> None:
    """Rows as a table or as JSON; ``ranks`` of columns as in ``Column``."""
    if as_json:
        print_json(rows)
        return

    def cell(value: Any) -> str:
        return "yes" if value is True else "-" if value is False else printable(value)

    columns = [
        Column(
            name.replace("_", "\n").replace("installed", "in-\nstalled"),
            [cell(row[name]) for row in rows],
            folds=isinstance(rows[0][name], str),
            rank=(ranks or {}).get(name, 0),
        )
        for name in (rows[0] if rows else ())
    ]
    _print_columns(title, columns)
