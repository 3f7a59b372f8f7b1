"""The command ``amm-opt bench-solvers``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from amm_opt.cases import load_case
from amm_opt.errors import OutputError, Problems, counted, reason
from amm_opt.io.files import claimed, released, replace_file
from amm_opt.io.text import TableColumn, number, table
from amm_opt.study.commands.running import span_of, split_specs
from amm_opt.study.show import json_option, print_json
from amm_opt.study.solvers import SolverComparison, compare_solvers
from amm_opt.study.terminal import folder_given, printable, progress, say, width

RUNS, FILE = "runs", "solvers.csv"


@click.command(name="bench-solvers")
@click.argument("case")
@click.option("--mechanisms", "specs", default="amm", show_default=True, help="Comma-separated specs.")
@click.option("--solvers", "names", help="Comma-separated names (default: our own method and all installed fallbacks).")
@click.option("--start", metavar="DATE", help="First interval, such as 2016-01-04 (default: the first).")
@click.option("--steps", type=click.IntRange(min=1), help="Number of intervals (default: all that follow).")
@click.option("--network", show_default="by the feeder's phases", help="Name of a network model, or script.py:Class.")
@click.option("--time-limit", "time_limit_s", type=float, metavar="SECONDS", help="For every call of a solver.")
@click.option("--out", callback=folder_given, metavar="PATH", help=f"New folder for {FILE}.")
@json_option
def bench_solvers(
    case: str,
    specs: str,
    names: str | None,
    start: str | None,
    steps: int | None,
    network: str | None,
    time_limit_s: float | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Time solvers on CASE, and hold their answers against a reference.

    CASE is a name or a folder; answers are compared raw, before anything polishes them.

    \b
    Example:  amm-opt bench-solvers mv33lv --start 2016-01-12 --steps 48
    """
    said = Problems()
    item = said.of(lambda: load_case(case))
    span = None if item is None else said.of(lambda: span_of(item, start, steps))
    if out is not None:
        said.of(lambda: released(claimed(out)))
    said.report()
    solvers = None if names is None else [name.strip() for name in names.split(",") if name.strip()]
    assert item is not None
    assert span is not None
    with progress(as_json, [RUNS]) as report:
        found = compare_solvers(
            item,
            split_specs(specs),
            solvers,
            network=network,
            steps=slice(*span),
            time_limit_s=time_limit_s,
            progress=None if report is None else lambda done, total: report(RUNS, done, total),
        )
    problem = "" if out is None else _kept(found, out)
    if as_json:
        print_json({"case": found.case, "intervals": found.steps, "solvers": _records(found)})
    else:
        _print(found)
        if out is not None and not problem:
            say(f"Written to {out}")
    if problem:
        raise OutputError(problem)


def _kept(found: SolverComparison, out: Path) -> str:
    """Write the table; what went wrong, or an empty text."""
    try:
        claimed(out)
        replace_file(out / FILE, found.table.to_csv(index=False))
    except OSError as error:
        return f"the table cannot be written to {out}: {reason(error)}"
    return ""


def _records(found: SolverComparison) -> list[dict[str, Any]]:
    rows = found.table.to_dict("records")
    return [{str(k): None if isinstance(v, float) and not math.isfinite(v) else v for k, v in r.items()} for r in rows]


def _print(found: SolverComparison) -> None:
    """A table for each mechanism, and why solvers were not enough."""
    for mechanism, rows in found.table.groupby("mechanism", sort=False):

        def cells(name: str, form: str, of: Any = rows) -> list[str]:
            return [number(value, form) for value in of[name]]

        columns = [
            TableColumn("solver", [printable(name) for name in rows["solver"]], folds=True),
            TableColumn("calls", cells("calls", ".0f"), rank=2),
            TableColumn("inside\ns", cells("inside_s", ".2f")),
            TableColumn("around\ns", cells("around_s", ".2f")),
            TableColumn("iter-\nations", cells("iterations", ".1f"), rank=1),
            TableColumn("primal", cells("primal", ".0e")),
            TableColumn("dual", cells("dual", ".0e")),
            TableColumn("error\nkW", cells("error_kw", ".0e")),
            TableColumn("error\ndual", cells("error_dual", ".0e"), rank=3),
            TableColumn("fall-\nbacks", cells("fallbacks", ".0f")),
            TableColumn("failed", cells("failed", ".0f"), rank=1),
        ]
        title = f"{printable(mechanism)} on {printable(found.case)}, {counted(found.steps, 'interval')}"
        click.echo("\n".join(table(title, columns, width())))
        for solver, why in zip(rows["solver"], rows["reasons"], strict=True):
            if why:
                say(f"{solver}: {why}")
