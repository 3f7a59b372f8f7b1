"""The commands ``amm-opt verify`` and ``amm-opt explain``: finished runs looked at again."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
import pandas as pd

from amm_opt.errors import InputError, OutputError, as_path, reason
from amm_opt.io.files import check_writable
from amm_opt.simulation import Run, open_run, verify
from amm_opt.simulation.explanation.price_layers import has_layers
from amm_opt.simulation.stored.folder import DOCUMENT
from amm_opt.study.comparison import Comparison, open_comparison
from amm_opt.study.plots import save_price_layers
from amm_opt.study.result_folder import stored_folders
from amm_opt.study.show import (
    document,
    explanation,
    json_option,
    print_ac,
    print_claims,
    print_explanation,
    print_json,
    print_price_layers,
)
from amm_opt.study.terminal import folder_given, progress


@click.command(name="verify")
@click.argument("run", callback=folder_given)
@click.option(
    "--opendss", callback=folder_given, metavar="PATH", help="Replay by OpenDSS on all wires of this master file."
)
@json_option
def verify_command(run: Path, opendss: Path | None, as_json: bool) -> None:
    """Replay RUN, a folder that run or compare wrote, by AC power flow and fill its AC columns.

    \b
    Example:  amm-opt verify out/week
    """
    single = (run / DOCUMENT).is_file()
    for folder in [run] if single else [run, *stored_folders(run).values()]:
        check_writable(folder)
    if single:
        item = open_run(run)
        stored = Comparison(item.case, {str(item.mechanism): item})
    else:
        stored = open_comparison(run)
    with progress(as_json, stored.runs) as report:
        runs = {
            label: verify(item, opendss=opendss, progress=report and partial(report, label))
            for label, item in stored.runs.items()
        }
    result = Comparison(stored.case, runs)
    unsaved = ""
    try:
        if single:
            next(iter(runs.values())).save_summary(run)
        else:
            result.save_summaries(run)
    except OSError as error:
        unsaved = f"the AC columns could not be written: {reason(error)}"
    if as_json:
        print_json(document(result, ", ".join(sorted({r.network for r in runs.values()}))))
    else:
        print_ac(result)
        print_claims(result)
    if unsaved:
        raise OutputError(unsaved)


@click.command()
@click.argument("run", callback=folder_given)
@click.option("--picture", metavar="FILE", help="Draw which layers set how many prices, by hour and month (PNG).")
@json_option
def explain(run: Path, picture: str | None, as_json: bool) -> None:
    """Say which limits kept RUN from serving more, who is behind them, and what a little more of each is worth.

    Where prices follow from deficits of limits, also which layer and limit set how many of them. RUN is the folder of
    one run: what run --out wrote, or the folder of a mechanism in what compare --out wrote.

    \b
    Example:  amm-opt explain out/amm
    """
    item = open_run(_single(run))
    label = str(item.mechanism)
    with progress(as_json, [label]) as report:
        limits = item.explain(progress=report and partial(report, label))
        prices = item.price_layers() if has_layers(item.known_mechanism) and item.keeps_requests else None
    if as_json:
        print_json(explanation(item, limits, prices))
    else:
        print_explanation(item, limits)
        if prices is not None:
            print_price_layers(prices)
    if picture is not None:
        _save_prices(item, prices, as_path(picture, "file"))


def _save_prices(run: Run, prices: pd.DataFrame | None, path: Path) -> None:
    if prices is None:
        raise InputError(f"prices of {run.mechanism} do not follow from deficits of limits: there is nothing to draw")
    try:
        drawn = save_price_layers(prices, f"{run.mechanism} on {run.case.name}", len(run.times), path)
    except OSError as error:
        raise OutputError(f"{path} could not be written: {reason(error)}") from error
    if not drawn:
        raise InputError("pictures need matplotlib: pip install 'amm-opt[plot]'")


def _single(folder: Path) -> Path:
    """The folder of a run, which may be the only one of a comparison.

    Raises:
        InputError: where there is none, or there are several.
    """
    if (folder / DOCUMENT).is_file():
        return folder
    places = list(stored_folders(folder).values())
    if len(places) > 1:
        raise InputError(f"{folder} holds {len(places)} runs, give one: {', '.join(map(str, places))}")
    return places[0]
