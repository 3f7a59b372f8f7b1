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

from amm_opt.errors import counted
from amm_opt.io.output import emit, reserved
from amm_opt.io.text import TableColumn, energy_unit, fold, number, table
from amm_opt.simulation import PriceParts, Run
from amm_opt.simulation.results.columns import COLUMNS, ENERGIES, OF_MEMORY, OF_TWO_TIERS
from amm_opt.simulation.results.reasons import summarised
from amm_opt.study.comparison import Comparison
from amm_opt.study.terminal import printable, say, width

SHOWN_LIMITS, NAMED_LIMITS = 12, 5
"""Limits in the table of an explanation, and those of which it is said who is behind them."""
SHOWN_PRICES = 20
"""Rows of a table of marginal prices."""


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
    columns, rows, claims = result.columns, [], result.claims.to_dict("index")
    for label, values in result.table.iterrows():
        numbers = {k: None if v is None or not np.isfinite(float(v)) else float(v) for k, v in values.items()}
        whole = {k: int(v) for k, v in numbers.items() if v is not None and columns[str(k)].kind == "count"}
        rows.append(
            {"mechanism": label, **numbers, **whole, **claims[str(label)], "solver": result.runs[str(label)].solver}
        )
    used = {run.solver for run in result.runs.values()} - {"-"}
    return {"case": result.case.name, "rows": rows, "solver": ", ".join(sorted(used)) or "-", "network": network}


def print_table(result: Comparison, span: tuple[int, int], network: str) -> None:
    """One row per mechanism, and what the table has no room for."""
    case, t = result.case, result.table
    times = f"{case.times[span[0]]:%Y-%m-%d %H:%M} to {case.times[span[1] - 1]:%Y-%m-%d %H:%M}"
    title = f"{printable(case.name)}: {times}, {counted(span[1] - span[0], 'interval')}, {network}"
    per, unit = energy_unit(t[[lost for _, lost in ENERGIES]].to_numpy(float).ravel())
    price = "price_of_fairness"
    columns = [
        _labels(t),
        *(c for asked, lost in ENERGIES for c in (_energy(t, lost, per, unit, rank=3), _shares(t, lost, asked))),
        _column(t, "thermal_violations"),
        _column(t, "voltage_violations"),
        *([TableColumn(COLUMNS[price].header, numbers(100.0 * t[price], ".2f"), rank=4)] if price in t else ()),
        _column(t, "jain_feeder", rank=1),
        _column(t, "worst_feeder_served"),
        _column(t, "jain_participant", rank=2),
        _column(t, "worst_participant_served"),
        _column(t, "p10_participant_served"),
        _column(t, "starved_participants"),
        _column(t, "ms_per_step", rank=6),
        TableColumn("solver", [printable(result.runs[str(label)].solver) for label in t.index], folds=True, rank=5),
    ]
    _print_columns(title, columns)
    _print_remarks(result, t)


def _print_remarks(result: Comparison, t: pd.DataFrame) -> None:
    """What a table has no room for: reasons, what still waits, what two tiers cost, limits that nobody can keep."""
    for label, run in result.runs.items():
        for sentence in summarised(label, run.fallback_reasons, run.failed_steps):
            say(f"{sentence}.")
    if "waiting_mwh" in t:
        per, unit = energy_unit(t["waiting_mwh"])
        waiting = ", ".join(f"{label} {value / per:.2f}" for label, value in t["waiting_mwh"].items())
        say(f"Of what is unserved, still waiting at the end, {unit}: {waiting}")
    if "decomposition_energy_pct" in t:
        for label, s in t.dropna(subset=["decomposition_energy_pct"]).iterrows():
            less, jain = (number(s[column.name], column.form) for column in OF_TWO_TIERS)
            say(
                f"{label} against joint: {less} % less energy served, Jain of feeders {jain} lower,"
                f" {int(s['repaired_steps'])} allocations cut back."
            )
    for label, other in result.without_memory.items():
        less = number(t.loc[label, OF_MEMORY[0].name], OF_MEMORY[0].form)
        feeder, participant = (number(t.loc[label, c.name], f"+{c.form}") for c in OF_MEMORY[1:])
        say(
            f"{label} against {other}, which has no memory: {less} % less energy served, worst feeder {feeder},"
            f" worst participant {participant}."
        )
    fewest = t["unavoidable_violations"].idxmin()
    if unavoidable := int(t["unavoidable_violations"][fewest]):
        pairs = counted(unavoidable, "(element, interval) pair")
        say(f"Beyond a limit through inflexible load alone: {pairs}.")
    for sentence in result.runs[str(fewest)].unavoidable:
        say(f"  - {sentence}")


def print_ac(result: Comparison) -> None:
    """What the network model promised beside what AC power flow shows."""
    t = result.table
    columns = [
        _labels(t),
        _column(t, "thermal_violations", "\nmodel"),
        _column(t, "ac_thermal_violations"),
        _column(t, "voltage_violations", "\nmodel"),
        _column(t, "ac_voltage_violations"),
        _column(t, "worst_ac_thermal_excess_pct", rank=1),
        _column(t, "worst_ac_voltage_excess_pu", rank=1),
        _column(t, "ac_unavoidable_violations", rank=3),
        _column(t, "ac_unsolved_steps", rank=2),
        _column(t, "voltage_error_worst_pu", rank=4),
        _column(t, "voltage_error_rms_pu", rank=6),
        _column(t, "flow_error_worst_pct", rank=5),
        _column(t, "flow_error_rms_pct", rank=7),
        _energy(t, "ac_losses_mwh", *energy_unit(t["ac_losses_mwh"]), rank=8),
    ]
    _print_columns(f"{printable(result.case.name)}: network model (model) and AC power flow (AC)", columns)
    unsolved = int(t["ac_unsolved_steps"].astype(float).sum())
    if unsolved:
        say(f"Without an AC solution, and not counted: {counted(unsolved, 'interval')}.")
    if repaired := int(t["repaired_steps"].fillna(0).sum()) if "repaired_steps" in t else 0:
        say(f"Cut back to be feasible: {counted(repaired, 'allocation')}.")


def print_claims(result: Comparison) -> None:
    """What may be said of the limits that are kept, once for all runs of which the same may be said."""
    for (rung, words), rows in result.claims.groupby(["claim", "claim_words"], sort=False):
        say(f"Claim: {rung}, {words}: {', '.join(map(str, rows.index))}")


def explanation(run: Run, limits: pd.DataFrame, prices: pd.DataFrame | None = None) -> dict[str, Any]:
    """What ``amm-opt explain --json`` prints."""
    rows = [
        {**row, **{name: dict(row[name]) for name in ("most_affected_feeders", "most_affected")}}
        for row in limits.to_dict("records")
    ]
    about = {"case": run.case.name, "mechanism": str(run.mechanism), "network": run.network}
    lost = {name: float(run.summary[name]) for name in ("unserved_mwh", "curtailed_mwh")}
    told = {} if prices is None else {"prices": prices.to_dict("records")}
    return {**about, "first": str(run.times[0]), "intervals": len(run.times), **lost, "limits": rows, **told}


def print_explanation(run: Run, limits: pd.DataFrame) -> None:
    """The limits with the most lost energy behind them, and who is behind the first of them."""
    some = (limits["intervals"] > 0) | (limits["worth_mwh"] > 0) | (limits["kind"] == "")
    t = pd.concat([limits[some & (limits["kind"] != "")].head(SHOWN_LIMITS), limits[limits["kind"] == ""]])
    times = f"{run.times[0]:%Y-%m-%d %H:%M} to {run.times[-1]:%Y-%m-%d %H:%M}"
    about = f"{times}, {counted(len(run.times), 'interval')}, {run.network}"
    title = f"{printable(run.mechanism)} on {printable(run.case.name)}: {about}"
    total = float(run.summary["unserved_mwh"] + run.summary["curtailed_mwh"])
    if not len(t):
        emit("\n".join(fold(f"{title}\nEverything was served.", width())))
        return
    lost = t["unserved_mwh"] + t["curtailed_mwh"]
    per, unit = energy_unit([total, *lost])
    in_pu = t["worth_per"] == "pu"
    marks = zip(range(len(t)), t["kind"], t["shared"], strict=True)
    columns = [
        TableColumn("", [f"{k + 1}{'*' if s else ''}" if kind else "" for k, kind, s in marks]),
        TableColumn("limit", [printable(name) for name in t["limit"]], folds=True),
        TableColumn("direc-\ntion", [str(d) for d in t["direction"]]),
        TableColumn(f"lost\nbehind\nit, {unit}", numbers(lost / per, ".2f")),
        TableColumn("binds,\ninter-\nvals", [str(n) for n in t["intervals"]]),
        TableColumn(
            "asked\ntoo\nmuch",
            [str(n) if kind else "" for n, kind in zip(t["asked_intervals"], t["kind"], strict=True)],
        ),
        TableColumn("hours", [str(h) for h in t["hours"]], rank=1),
        TableColumn("LV\nfeed-\ners", [str(n) for n in t["feeders"]], rank=2),
        TableColumn("worth\nkWh", numbers((1000.0 * t["worth_mwh"]).where(~in_pu, 10.0 * t["worth_mwh"]), ".3g")),
        TableColumn("per", ["0.01 pu" if pu else str(u) for pu, u in zip(in_pu, t["worth_per"], strict=True)]),
    ]
    _print_columns(title, columns)
    say(f"Lost in all: {total / per:.2f} {unit}. Who is behind several limits counts at each of them.")
    if t["shared"].any():
        say("* customers of several LV feeders are behind it")
    for k, row in enumerate(t[(t["kind"] != "") & (lost > 0)].head(NAMED_LIMITS).to_dict("records")):
        shared = f" ({counted(row['feeders'], 'LV feeder')})" if row["shared"] else ""
        groups = [row["most_affected_feeders"] if row["shared"] else (), row["most_affected"]]
        who = "; ".join(", ".join(f"{name} {mwh / per:.3f}" for name, mwh in group[:3]) for group in groups if group)
        say(f"Behind {k + 1}{shared}, most affected, {unit}: {who}")
    if more := int((limits["kind"] != "").sum() - (t["kind"] != "").sum()):
        say(f"Limits that bind less, or that only full service would exceed: {more} more, --json has all.")


def print_price_layers(prices: pd.DataFrame) -> None:
    """Which layers set how many prices, and the limits that set the most of them."""
    for direction, rows in prices.groupby("direction", sort=False):
        shares = rows.groupby("layer")["share_pct"].sum().sort_values(ascending=False)
        said = (f"{printable(name) or 'no limit'} {number(share, '.3g')} %" for name, share in shares.items())
        say(f"What set prices of {direction}, of all participants and intervals: {', '.join(said)}")
    t = prices[prices["layer"] != ""].sort_values("share_pct", ascending=False, kind="stable").head(SHOWN_LIMITS)
    if not len(t):
        return
    columns = [
        TableColumn("layer", [printable(name) for name in t["layer"]]),
        TableColumn("limit", [printable(name) for name in t["limit"]], folds=True),
        TableColumn("direc-\ntion", [str(d) for d in t["direction"]]),
        TableColumn("prices\nset, %", numbers(t["share_pct"], ".3g")),
        TableColumn("of them\nin its\narea, %", numbers(t["inside_pct"], ".3g"), rank=2),
        TableColumn("inter-\nvals", [str(n) for n in t["intervals"]]),
        TableColumn("mean", numbers(t["mean_price"], ".3f")),
        TableColumn("lowest", numbers(t["lowest_price"], ".3f"), rank=1),
        TableColumn("highest", numbers(t["highest_price"], ".3f"), rank=1),
    ]
    _print_columns("Limits that set the most prices, currency per kWh", columns)


def print_price_parts(title: str, found: PriceParts) -> None:
    """What prices of one interval are the sum of, the highest first, and the limits that take part."""
    parts = ["price", "energy", "losses", "congestion", "voltage_upper", "voltage_lower"]
    alike = found.participants.round(dict.fromkeys(parts, 9)).groupby(parts, sort=False)
    t = alike.agg(bus=("bus", "first"), direction=("direction", "first"), places=("bus", "size")).reset_index()
    t = t.sort_values("price", ascending=False, kind="stable")
    rest = f", the highest {SHOWN_PRICES} of {len(t)}" if len(t) > SHOWN_PRICES else ""
    t = t.head(SHOWN_PRICES)
    columns = [
        TableColumn("bus", [printable(name) for name in t["bus"]]),
        TableColumn("direc-\ntion", [str(d) for d in t["direction"]]),
        TableColumn("as many\nalike", [str(count) for count in t["places"]], rank=1),
        *(TableColumn(name.replace("_", "\n"), numbers(t[name], ".5f")) for name in parts),
    ]
    _print_columns(f"{printable(title)}, {found.time:%Y-%m-%d %H:%M}: prices per kWh of consumption{rest}", columns)
    limits = found.limits.sort_values("rent", ascending=False, kind="stable").head(SHOWN_LIMITS)
    if not len(limits):
        say("No limit binds.")
        return
    columns = [
        TableColumn("limit", [printable(name) for name in limits["limit"]], folds=True),
        TableColumn("kind", [str(kind) for kind in limits["kind"]]),
        TableColumn("direc-\ntion", [str(d) for d in limits["direction"]]),
        TableColumn("one more\nis worth", numbers(limits["multiplier"], ".5g")),
        TableColumn("per", [str(unit) for unit in limits["per"]]),
        TableColumn("rent\nper hour", numbers(limits["rent"], ".2f")),
    ]
    _print_columns("Limits that bind, those that pay the most first", columns)


def numbers(values: pd.Series[Any], form: str) -> list[str]:
    """Cells of a column, dashes where there is no number."""
    return [number(None if pd.isna(v) else v, form) for v in values]


def _labels(t: pd.DataFrame) -> TableColumn:
    return TableColumn("mechanism", [printable(label) for label in t.index], folds=True)


def _column(t: pd.DataFrame, name: str, more: str = "", rank: int = 0) -> TableColumn:
    """A summary column, with more in its header."""
    return TableColumn(COLUMNS[name].header + more, numbers(t[name], COLUMNS[name].form), rank=rank)


def _energy(t: pd.DataFrame, name: str, per: float, unit: str, rank: int) -> TableColumn:
    return TableColumn(f"{COLUMNS[name].header}\n{unit}", numbers(t[name] / per, COLUMNS[name].form), rank=rank)


def _shares(t: pd.DataFrame, name: str, whole: str) -> TableColumn:
    """An energy in % of another one."""
    of = t[whole]
    return TableColumn(f"{COLUMNS[name].header}\n%", numbers(100.0 * t[name] / of.where(of > 0), ".2f"))


def _print_columns(title: str, columns: list[TableColumn]) -> None:
    emit("\n".join(table(title, columns, width())))


def show(rows: list[dict[str, Any]], as_json: bool, title: str, ranks: Mapping[str, int] | None = None) -> None:
    """Rows as a table or as JSON; ``ranks`` of columns as in ``TableColumn``."""
    if as_json:
        print_json(rows)
        return

    def cell(value: Any) -> str:
        return "yes" if value is True else "-" if value is False else printable(value)

    columns = [
        TableColumn(
            name.replace("_", "\n").replace("installed", "in-\nstalled"),
            [cell(row[name]) for row in rows],
            folds=isinstance(rows[0][name], str),
            rank=(ranks or {}).get(name, 0),
        )
        for name in (rows[0] if rows else ())
    ]
    _print_columns(title, columns)
