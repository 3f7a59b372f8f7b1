"""The command ``amm-opt study``."""

from __future__ import annotations

from pathlib import Path

import click
import pandas as pd

from amm_opt.errors import OutputError, counted, reason
from amm_opt.io.files import released, replace_bytes
from amm_opt.io.text import TableColumn, energy_unit, number, table
from amm_opt.simulation.driver import mode_of
from amm_opt.simulation.results.columns import COLUMNS
from amm_opt.studies.reading import read_study
from amm_opt.studies.result import StudyResult
from amm_opt.studies.store import PICTURE, study_ready
from amm_opt.studies.variant import Row
from amm_opt.study.commands.indices import indices_lines, indices_of, indices_record, keep_indices
from amm_opt.study.show import json_option, print_json
from amm_opt.study.terminal import again, complain, folder_given, printable, progress, say, width

SHOWN = ("unserved_mwh", "curtailed_mwh", "jain_feeder", "jain_participant", "worst_feeder_served")
"""Columns of runs that the terminal shows beside the worst participant; ``--json`` and the folder have all."""
WORST = "worst_participant_served"
SHOWN_INDICES = ("unserved_mwh", WORST)
"""Whose indices are shown and stored where the study has a sample from which they follow."""
MOST_ROWS = 40
VARIANTS = "variants"


@click.command()
@click.argument("study", callback=folder_given)
@click.option("--out", callback=folder_given, metavar="PATH", help="New folder for the table, written row by row.")
@click.option("--resume", is_flag=True, help="Go on with what --out holds: only what is missing is run.")
@click.option("--force", is_flag=True, help="Remove what --out holds, and start anew.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes (default: as many as there are processors).")
@click.option(
    "--executor",
    default="here",
    show_default=True,
    help="here, processes, dask (a cluster of this machine), or the address of a dask scheduler.",
)
@click.option("--keep-runs", is_flag=True, help="Keep whole runs in --out too, for amm-opt explain and open_run.")
@json_option
def study(
    study: Path,
    out: Path | None,
    resume: bool,
    force: bool,
    workers: int | None,
    executor: str,
    keep_runs: bool,
    as_json: bool,
) -> None:
    """Run every variant of STUDY, a file that says what is tried (docs/studies.md).

    \b
    Example:  amm-opt study study.toml --out out/study --executor processes
    """
    mode = mode_of(out, resume, force)
    if out is not None:
        released(study_ready(out, mode))
    item = read_study(study)
    try:
        with progress(as_json, [VARIANTS]) as report:

            def told(done: int, total: int, _: Row | None) -> None:
                if report is not None:
                    report(VARIANTS, done, total)

            result = item.run(
                out, executor=executor, workers=workers, resume=resume, force=force, keep_runs=keep_runs, progress=told
            )
    except KeyboardInterrupt as error:
        if str(error):
            complain(str(error))
        if out is not None and out.is_dir():
            complain(f"Go on with: {again()}")
        raise
    problem = "" if out is None else _picture(result, out)
    found, lacking = indices_of(result, SHOWN_INDICES)
    if out is not None:
        problem = problem or keep_indices(found, result.title, out)
    if as_json:
        document = {"title": result.title, "parameters": list(result.parameters), "variants": _records(result)}
        print_json({**document, "indices": [indices_record(one) for one in found]} if found else document)
    else:
        _print(result)
        for one in found:
            say_lines(indices_lines(one))
        if lacking:
            say(f"No indices: {lacking}")
        if out is not None:
            say(f"Written to {out}")
    if problem:
        raise OutputError(problem)


def _records(result: StudyResult) -> list[dict[str, object]]:
    frame = result.table.astype(object).where(result.table.notna(), None).reset_index()
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _print(result: StudyResult) -> None:
    """A row per variant, and why some have no run."""
    frame = result.table.head(MOST_ROWS)
    varied = [name for name in result.parameters if len(result.table[name].astype(str).unique()) > 1]
    columns = [TableColumn("variant", [str(k) for k in frame.index])]
    columns += [TableColumn(_header(n), [_cell(v) for v in frame[n]], folds=True) for n in varied]
    energies = [name for name in SHOWN if name in frame and COLUMNS[name].unit == "MWh"]
    unit = energy_unit(frame[energies].to_numpy(float).ravel())
    columns += [_column(frame, name, rank, unit) for rank, name in enumerate((WORST, *SHOWN)) if name in frame]
    title = f"{printable(result.title or 'Study')}: {counted(len(result.table), 'variant')}"
    say_lines(table(title, columns, width()))
    if len(result.table) > MOST_ROWS:
        more = counted(len(result.table) - MOST_ROWS, "more variant")
        say(f"{more}: --json and the table in --out have all.")
    for k, text in list(result.failed.items())[:MOST_ROWS]:
        say(f"Variant {k} has no run: {text}")
    if warned := int((result.table["warnings"] != "").sum()):
        first = result.table.loc[result.table["warnings"] != "", "warnings"].iloc[0]
        say(f"With warnings: {counted(warned, 'variant')}, the first: {first}")


def say_lines(lines: list[str]) -> None:
    """Print lines that fit already."""
    click.echo("\n".join(lines))


def _header(name: str) -> str:
    return name.replace(".", ".\n").replace("_", "_\n") if len(name) > 12 else name


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return "-"
    return f"{value:g}" if isinstance(value, float) else printable(value)


def _column(frame: pd.DataFrame, name: str, rank: int, energy: tuple[float, str]) -> TableColumn:
    column = COLUMNS[name]
    per, unit = energy if column.unit == "MWh" else (1.0, "")
    header = f"{column.header}\n{unit}" if unit else column.header
    return TableColumn(header, [number(v / per, column.form) for v in frame[name].astype(float)], rank=rank)


def _picture(result: StudyResult, out: Path) -> str:
    """Draw the study into its folder, where a parameter has several numbers; what went wrong, or an empty text."""
    if not result.numeric or WORST not in result.table or (out / PICTURE).is_file():
        return ""
    try:
        from io import BytesIO

        from amm_opt.studies.picture import drawn

        content = BytesIO()
        drawn(result.table, ["unserved_mwh", WORST], result.numeric[0], None, result.title).savefig(content, dpi=120)
        replace_bytes(out / PICTURE, content.getvalue())
    except Exception as error:
        return f"the picture could not be drawn: {reason(error)}"
    return ""
