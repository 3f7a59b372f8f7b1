"""The command ``amm-opt settle``: who pays what in finished runs, and what is left to the operator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pandas as pd

from amm_opt.errors import InputError, OutputError, as_path, reason
from amm_opt.io.files import replace_file
from amm_opt.io.output import emit
from amm_opt.market import Settlement
from amm_opt.market.settlement import BY
from amm_opt.simulation import open_run
from amm_opt.simulation.stored.folder import DOCUMENT
from amm_opt.study.comparison import Comparison, open_comparison
from amm_opt.study.show import json_option, numbers, print_json
from amm_opt.study.terminal import complain, folder_given, printable, say, width
from amm_opt.study.text import TableColumn, table

SOME = ("charging", "discharging", "reserve")
"""Printed only where one of the mechanisms pays for batteries or reserve."""


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
    stored = _stored(run)
    priced = {label: item for label, item in stored.runs.items() if item.priced}
    without = [label for label in stored.runs if label not in priced]
    if not priced:
        raise InputError(f"{', '.join(without)} sets no prices: there is nothing to settle")
    found = {
        label: item.settlement(recover=recover, by=by, source_price=source_price) for label, item in priced.items()
    }
    if as_json:
        print_json({"case": stored.case.name, "mechanisms": {label: _record(s) for label, s in found.items()}})
    else:
        for label in without:
            complain(f"{label} sets no prices.")
        _print(stored, found)
    if path is not None:
        bills = pd.concat([s.participants.assign(mechanism=label) for label, s in found.items()])
        columns = ["mechanism", *bills.columns.drop("mechanism")]
        try:
            replace_file(path, bills[columns].to_csv(index=False, float_format="%.6f"))
        except OSError as error:
            raise OutputError(f"{path} could not be written: {reason(error)}") from error
        if not as_json:
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
        "source_cost": "cost at\nsource",
        "surplus": "surplus",
    }
    names = {name: header for name, header in names.items() if name not in SOME or t[name].any()}
    columns = [
        TableColumn("mechanism", [printable(label) for label in t.index], folds=True),
        *(TableColumn(header, numbers(t[name], ".2f")) for name, header in names.items() if name in t),
        TableColumn("lowest\nbill", numbers(bills.min(), ".2f"), rank=3),
        TableColumn("median\nbill", numbers(bills.median(), ".2f"), rank=1),
        TableColumn("highest\nbill", numbers(bills.max(), ".2f"), rank=2),
    ]
    title = f"{printable(stored.case.name)}: {times[0]:%Y-%m-%d %H:%M} to {times[-1]:%Y-%m-%d %H:%M}, in currency"
    emit("\n".join(table(title, columns, width())))
