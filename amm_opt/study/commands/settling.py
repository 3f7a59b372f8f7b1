"""The commands ``amm-opt settle`` and ``recover``: who pays what in finished runs, and who gets what of costs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click
import pandas as pd

from amm_opt.errors import InputError, OutputError, as_path, reason
from amm_opt.io.files import check_file, replace_file
from amm_opt.io.output import emit
from amm_opt.io.text import TableColumn, number, table
from amm_opt.market import Settlement
from amm_opt.market.cost_recovery import OWN, WEIGHTS, CostRecovery
from amm_opt.market.settlement import BY
from amm_opt.simulation import cost_recovery, open_run
from amm_opt.simulation.results.run import Run
from amm_opt.simulation.stored.folder import DOCUMENT
from amm_opt.study.commands.reviewing import single_folder
from amm_opt.study.comparison import Comparison, open_comparison
from amm_opt.study.show import json_option, numbers, print_json
from amm_opt.study.terminal import complain, folder_given, printable, progress, say, width

SOME = ("charging", "discharging", "reserve", "uplift")
"""Printed only where there is any with one of the mechanisms."""
RUNS = "runs"
LESS = {"residual_min": 8, "residual_max": 7, "charging": 6, "discharging": 6, "uplift": 6, "charges": 5, "reserve": 4}
"""What of the operator's sums goes first where a terminal has no room; others stay."""


@click.command()
@click.argument("run", callback=folder_given)
@click.option("--recover", type=float, metavar="AMOUNT", help="What the operator is to have left; the rest is charged.")
@click.option(
    "--by",
    type=click.Choice(BY),
    default=BY[0],
    show_default=True,
    help="Charges of --recover: equal ones, or by served energy.",
)
@click.option("--source-price", type=float, metavar="PRICE", help="What a kWh costs the operator at the source.")
@click.option("--csv", metavar="FILE", help="Write everybody's bill, mechanism by mechanism.")
@json_option
def settle(
    run: Path, recover: float | None, by: str, source_price: float | None, csv: str | None, as_json: bool
) -> None:
    """Say who pays what in RUN, and what is left to the operator.

    RUN is a folder that run or compare wrote; mechanisms without prices are left out.

    \b
    Example:  amm-opt settle out --csv bills.csv
    """
    path = None if csv is None else as_path(csv, "file")
    if path is not None:
        check_file(path)
    stored = _stored(run)
    priced = {label: item for label, item in stored.runs.items() if item.priced}
    without = [label for label in stored.runs if label not in priced]
    if not priced:
        raise InputError(f"{', '.join(without)} sets no prices: there is nothing to settle")
    found = {}
    with progress(as_json, [RUNS]) as report:
        for label, item in priced.items():
            found[label] = item.settlement(recover=recover, by=by, source_price=source_price)
            if report is not None:
                report(RUNS, len(found), len(priced))
    if as_json:
        print_json({"case": stored.case.name, "mechanisms": {label: _record(s) for label, s in found.items()}})
    else:
        for label in without:
            complain(f"{label} sets no prices.")
        _print(stored, found)
    if path is not None:
        bills = pd.concat([s.participants.assign(mechanism=label) for label, s in found.items()])
        _write(bills[["mechanism", *bills.columns.drop("mechanism")]], path, as_json)


def _write(rows: pd.DataFrame, path: Path, quiet: bool) -> None:
    try:
        replace_file(path, rows.to_csv(index=False, float_format="%.6f"))
    except OSError as error:
        raise OutputError(f"{path} could not be written: {reason(error)}") from error
    if not quiet:
        say(f"Written to {path}")


def _stored(folder: Path) -> Comparison:
    if (folder / DOCUMENT).is_file():
        item = open_run(folder)
        return Comparison(item.case, {str(item.mechanism): item})
    return open_comparison(folder)


def _record(settled: Settlement) -> dict[str, Any]:
    return {
        "operator": {str(name): float(value) for name, value in settled.operator.items()},
        "participants": settled.participants.to_dict("records"),
    }


def _print(stored: Comparison, found: dict[str, Settlement]) -> None:
    """One row per mechanism."""
    t = pd.DataFrame({label: s.operator for label, s in found.items()}).T
    bills = pd.DataFrame({label: s.participants["bill"] for label, s in found.items()})
    times = next(iter(stored.runs.values())).times
    names = {
        "paid": "paid for\nimport",
        "earned": "paid for\nexport",
        "charging": "paid by\nbatteries",
        "discharging": "paid to\nbatteries",
        "reserve": "paid for\nreserve",
        "charges": "charges",
        "residual": "operator\nkeeps",
        "residual_min": "at\nleast",
        "residual_max": "at\nmost",
        "uplift": "uplift",
        "source_cost": "cost at\nsource",
        "surplus": "surplus",
    }
    names = {name: header for name, header in names.items() if name not in SOME or (t[name].abs() >= 0.005).any()}
    columns = [
        TableColumn("mechanism", [printable(label) for label in t.index], folds=True),
        *(
            TableColumn(header, numbers(t[name], ".2f"), rank=LESS.get(name, 0))
            for name, header in names.items()
            if name in t
        ),
        TableColumn("lowest\nbill", numbers(bills.min(), ".2f"), rank=3),
        TableColumn("median\nbill", numbers(bills.median(), ".2f"), rank=1),
        TableColumn("highest\nbill", numbers(bills.max(), ".2f"), rank=2),
    ]
    title = f"{printable(stored.case.name)}: {times[0]:%Y-%m-%d %H:%M} to {times[-1]:%Y-%m-%d %H:%M}, in currency"
    emit("\n".join(table(title, columns, width())))


@click.command()
@click.argument("run", callback=folder_given)
@click.option(
    "--own",
    default=",".join(OWN),
    show_default=True,
    metavar="NAMES",
    help="Technologies that get exactly their own operating and capital cost.",
)
@click.option(
    "--weights",
    type=click.Choice(WEIGHTS),
    default=WEIGHTS[0],
    show_default=True,
    help="What an interval weighs: all alike, or by what plants add in it.",
)
@click.option("--benchmark", metavar="RUN", help="A run at other prices, such as lmp_ahead: share what it pays more.")
@click.option(
    "--every",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Work out what plants are worth every N intervals.",
)
@click.option("--csv", metavar="FILE", help="Write what every plant gets.")
@json_option
def recover(
    run: Path, own: str, weights: str, benchmark: str | None, every: int, csv: str | None, as_json: bool
) -> None:
    """Say who gets what of the costs of RUN, and whether that covers them.

    RUN is the folder of one run with prices, of a case whose participants have technologies and costs. What a plant is
    worth in an interval is its Shapley value: how much more load is served with it.

    \b
    Example:  amm-opt recover out/dispatch --every 47 --csv plants.csv
    """
    path = None if csv is None else as_path(csv, "file")
    if path is not None:
        check_file(path)
    item = open_run(single_folder(run))
    against = None if benchmark is None else open_run(single_folder(as_path(benchmark, "benchmark")))
    label, names = str(item.mechanism), tuple(name.strip() for name in own.split(",") if name.strip())
    if not item.case.participants[["capital_per_kw", "fixed_cost_per_kw_year"]].any(axis=None):
        raise InputError(f"{item.case.name}: no participant has a capital_per_kw or fixed_cost_per_kw_year to recover")
    with progress(as_json, [label]) as report:
        found = cost_recovery(
            item,
            own=names,
            weights=weights,
            benchmark=against,
            every=every,
            progress=report and partial(report, label),
        )
    if as_json:
        rows = {
            "technologies": found.technologies.reset_index().to_dict("records"),
            "participants": found.participants.to_dict("records"),
        }
        sums = {"pots": found.pots.to_dict(), "metrics": found.metrics.to_dict()}
        print_json({"case": item.case.name, "mechanism": label, **sums, **rows})
    else:
        _print_recovery(item, found)
    if path is not None:
        _write(found.participants, path, as_json)


def _print_recovery(item: Run, found: CostRecovery) -> None:
    """A row per technology, and one of all; then what says how even that is."""
    t = found.technologies
    money = ["kw", *found.cents, "revenue", "cost"]
    whole = t[money].sum().to_frame("all").T.assign(recover=t["recover"].sum(), plants=t["plants"].sum())
    whole["adequacy"] = found.metrics["adequacy"]
    rows = pd.concat([t, whole])
    columns = [
        TableColumn("technology", [printable(name) or "-" for name in rows.index], folds=True),
        TableColumn("kW", numbers(rows["kw"], ".0f"), rank=9),
        *(
            TableColumn(f"paid for\n{pot}" if pot != "delta" else "delta\npot", numbers(rows[pot], ".2f"), rank=3 + k)
            for k, pot in enumerate(found.cents)
        ),
        TableColumn("costs", numbers(rows["cost"], ".2f")),
        TableColumn("paid /\ncosts", numbers(rows["adequacy"], ".3f")),
        TableColumn("re-\ncover", numbers(rows["recover"], ".0f"), rank=1),
        TableColumn("of", numbers(rows["plants"], ".0f"), rank=1),
    ]
    times = item.times
    title = (
        f"{printable(item.case.name)}, {printable(str(item.mechanism))}: {times[0]:%Y-%m-%d %H:%M} to"
        f" {times[-1]:%Y-%m-%d %H:%M}, in currency"
    )
    emit("\n".join(table(title, columns, width())))
    m = {name: number(value, ".3f") for name, value in found.metrics.items()}
    say(
        f"Net revenue per kW: Gini {m['gini']}, Atkinson {m['atkinson_0.5']} (0.5) and {m['atkinson_1']} (1), Theil"
        f" {m['theil']}; negative of {found.metrics['negative']:.0f} plants. Revenue: HHI {found.metrics['hhi']:.0f},"
        f" the largest 4 have {100 * found.metrics['cr4']:.1f} %."
    )
