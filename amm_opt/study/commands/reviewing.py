"""The commands ``amm-opt verify``, ``explain`` and ``price-parts``: runs, and one interval, looked at closely."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
import pandas as pd

from amm_opt.cases import load_case
from amm_opt.errors import InputError, OutputError, Problems, as_path, reason
from amm_opt.io.files import check_file, check_writable, replace_file
from amm_opt.pictures.over_time.prices import save_price_layers
from amm_opt.registry import as_mechanism, network_of
from amm_opt.simulation import Run, open_run, price_parts, replayed, verify
from amm_opt.simulation.explanation.price_layers import has_layers
from amm_opt.simulation.shared import Shared
from amm_opt.simulation.stored.folder import DOCUMENT
from amm_opt.study.comparison import Comparison, open_comparison
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
    print_price_parts,
)
from amm_opt.study.terminal import folder_given, progress, say


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
    shared, runs = Shared(), {}
    with progress(as_json, stored.runs) as report:
        for label, item in stored.runs.items():
            told = report and partial(report, label)
            if opendss is None:
                runs[label] = verify(item, progress=told)
            else:
                runs[label] = replayed(item, shared.four_wires(item.case, opendss), progress=told)
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
    path = None if picture is None else as_path(picture, "file")
    if path is not None:
        check_file(path)
    item = open_run(single_folder(run))
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
    if path is not None:
        _save_prices(item, prices, path)


def _save_prices(run: Run, prices: pd.DataFrame | None, path: Path) -> None:
    if prices is None:
        raise InputError(f"prices of {run.mechanism} do not follow from deficits of limits: there is nothing to draw")
    try:
        save_price_layers(prices, f"{run.mechanism} on {run.case.name}", len(run.times), path)
    except OSError as error:
        raise OutputError(f"{path} could not be written: {reason(error)}") from error


def single_folder(folder: Path) -> Path:
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


@click.command(name="price-parts")
@click.argument("case")
@click.option("--mechanism", default="lmp", show_default=True, help="One that solves one program for an interval.")
@click.option("--at", "at", required=True, metavar="TIME", help="Start of the interval, such as '2016-01-04 19:00'.")
@click.option("--network", show_default="by the feeder's phases", help="Name of a network model, or script.py:Class.")
@click.option("--csv", metavar="FILE", help="Write everybody's price and its parts.")
@json_option
def price_parts_command(
    case: str, mechanism: str, at: str, network: str | None, csv: str | None, as_json: bool
) -> None:
    """Take the marginal prices of one interval of CASE apart: energy, losses, congestion, voltage.

    \b
    Example:  amm-opt price-parts pjm5 --at "2030-01-07 00:00"
    """
    said = Problems()
    path = None if csv is None else said.of(lambda: as_path(csv, "file"))
    loaded, chosen = said.of(lambda: load_case(case)), said.of(lambda: as_mechanism(mechanism))
    step = None if loaded is None else said.of(lambda: loaded.span(slice(at, None))[0])
    if loaded is not None:
        said.of(lambda: network_of(loaded, network))
    if path is not None:
        said.of(lambda: check_file(path))
    said.report()
    assert loaded is not None
    assert chosen is not None
    assert step is not None
    parts = price_parts(loaded, chosen, step, network=network)
    if as_json:
        people, limits = (t.to_dict("records") for t in (parts.participants, parts.limits))
        print_json({"case": loaded.name, "time": str(parts.time), "participants": people, "limits": limits})
    else:
        print_price_parts(f"{chosen} on {loaded.name}", parts)
    if path is not None:
        try:
            replace_file(path, parts.participants.to_csv(index=False, float_format="%.9g"))
        except OSError as error:
            raise OutputError(f"{path} could not be written: {reason(error)}") from error
        if not as_json:
            say(f"Written to {path}")
