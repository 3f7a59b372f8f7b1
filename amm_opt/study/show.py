"""What the command line prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from amm_opt.output import emit, reserved
from amm_opt.study.compare import Comparison


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--json``: standard output is for ``print_json`` alone, whatever a solver or a plug-in prints."""

    @wraps(command)
    def reserving(*args: Any, as_json: bool, **options: Any) -> Any:
        with reserved() if as_json else nullcontext():
            return command(*args, as_json=as_json, **options)

    return click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")(reserving)


def print_json(value: Any) -> None:
    """One JSON document."""
    emit(json.dumps(value, indent=1))


def document(result: Comparison, network: str) -> dict[str, Any]:
    """What ``--json`` prints."""
    rows = []
    for label, values in result.table.iterrows():
        numbers = {k: None if v is None or np.isnan(float(v)) else float(v) for k, v in values.items()}
        whole = {k: int(v) for k, v in numbers.items() if v is not None and _is_count(str(k))}
        rows.append({"mechanism": label, **numbers, **whole, "solver": result.runs[str(label)].solver})
    used = {run.solver for run in result.runs.values()} - {"-"}
    return {"case": result.case.name, "rows": rows, "solver": ", ".join(sorted(used)) or "-", "network": network}


def _is_count(column: str) -> bool:
    return column == "steps" or column.endswith(("_violations", "_steps"))


def print_table(result: Comparison, span: tuple[int, int], network: str) -> None:
    """One row per mechanism, and what the table has no room for."""
    case = result.case
    title = f"{case.name}: {case.times[span[0]]} to {case.times[span[1] - 1]}, {span[1] - span[0]} intervals, {network}"
    table = Table(title=title)
    headers = "unserved\nMWh|unserved\n%|curtailed\nMWh|curtailed\n%|thermal\nviolations|voltage\nviolations"
    bounded = "price_of_fairness" in result.table
    headers += "|price of\nfairness %" if bounded else ""
    headers += "|Jain\nfeeders|worst\nfeeder|worst\nparticipant|ms per\ninterval|solver"
    table.add_column("mechanism", overflow="fold")
    for header in headers.split("|"):
        table.add_column(header, justify="right", overflow="fold")
    for label, s in result.table.iterrows():
        marks = [f"{int(s[f'{kind}_steps'])} {kind}" for kind in ("fallback", "failed") if s[f"{kind}_steps"]]
        failed = f" ({', '.join(marks)})" if marks else ""
        table.add_row(
            str(label).replace(":", ":\n ").replace(",", ",\n "),
            f"{s['unserved_mwh']:.2f}",
            _percent(s["unserved_mwh"], s["requested_import_mwh"]),
            f"{s['curtailed_mwh']:.2f}",
            _percent(s["curtailed_mwh"], s["requested_export_mwh"]),
            str(int(s["thermal_violations"])),
            str(int(s["voltage_violations"])),
            *([f"{100 * s['price_of_fairness']:.2f}"] if bounded else []),
            f"{s['jain_feeder']:.4f}",
            f"{s['worst_feeder_served']:.3f}",
            f"{s['worst_participant_served']:.3f}",
            f"{s['ms_per_step']:.1f}",
            result.runs[str(label)].solver + failed,
        )
    _console().print(table)
    if "waiting_mwh" in result.table:
        waiting = ", ".join(f"{label} {s['waiting_mwh']:.2f}" for label, s in result.table.iterrows())
        click.echo(f"Of what is unserved, still waiting at the end, MWh: {waiting}")
    if "decomposition_energy_pct" in result.table:
        for label, s in result.table.dropna(subset=["decomposition_energy_pct"]).iterrows():
            energy, jain, cut = (s[c] for c in ("decomposition_energy_pct", "decomposition_jain", "repaired_steps"))
            click.echo(
                f"{label} against joint: {energy:.3f} % less energy served, Jain of feeders {jain:.4f} lower,"
                f" {int(cut)} allocations cut back."
            )
    unavoidable = int(result.table["unavoidable_violations"].min())
    if unavoidable:
        click.echo(f"{unavoidable} (element, interval) pairs are beyond a limit through inflexible load alone.")


def print_ac(result: Comparison) -> None:
    """What the network model promised beside what AC power flow shows."""
    table = Table(title=f"{result.case.name}: network model (model) and AC power flow (AC)")
    table.add_column("mechanism", overflow="fold")
    headers = "thermal\nviolations\nmodel|thermal\nviolations\nAC|voltage\nviolations\nmodel|voltage\nviolations\nAC"
    headers += "|worst\nAC excess\n% of rating|worst\nAC excess\npu|unavoid-\nable, AC|no AC\nsolution"
    headers += "|voltage error\nworst / rms\npu|flow error\nworst / rms\n% of rating|losses\nMWh"
    for header in headers.split("|"):
        table.add_column(header, justify="right", overflow="fold")
    counts = ("thermal_violations", "ac_thermal_violations", "voltage_violations", "ac_voltage_violations")
    for label, s in result.table.iterrows():
        table.add_row(
            str(label).replace(":", ":\n ").replace(",", ",\n "),
            *(str(int(s[column])) for column in counts),
            f"{s['worst_ac_thermal_excess_pct']:.2f}",
            f"{s['worst_ac_voltage_excess_pu']:.4f}",
            str(int(s["ac_unavoidable_violations"])),
            str(int(s["ac_unsolved_steps"])),
            f"{s['voltage_error_worst_pu']:.4f} / {s['voltage_error_rms_pu']:.4f}",
            f"{s['flow_error_worst_pct']:.1f} / {s['flow_error_rms_pct']:.2f}",
            f"{s['ac_losses_mwh']:.2f}",
        )
    _console().print(table)
    if repaired := int(result.table["repaired_steps"].fillna(0).sum()) if "repaired_steps" in result.table else 0:
        click.echo(f"{repaired} allocations were cut back to be feasible.")


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.2f}" if whole > 0 else "-"


def _console() -> Console:
    """Standard output; wide enough for the table where it is not a terminal."""
    return Console() if sys.stdout.isatty() else Console(width=160)


def show(rows: list[dict[str, Any]], as_json: bool, title: str) -> None:
    """Rows as a table or as JSON."""
    if as_json:
        print_json(rows)
        return
    table = Table(title=title)
    for column in rows[0] if rows else []:
        table.add_column(column)
    for row in rows:
        table.add_row(*("yes" if v is True else "-" if v is False else str(v) for v in row.values()))
    _console().print(table)
