"""The command line."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import MISSING, fields
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from amm_opt.cases import Case, load_case, shipped_cases
from amm_opt.cases.folder.variants import variants
from amm_opt.errors import InputError, OutputError, Problems, as_path, reason
from amm_opt.io.files import check_writable, released
from amm_opt.market import Mechanism
from amm_opt.registry import default_network, parameters_of
from amm_opt.registry import mechanisms as known_mechanisms
from amm_opt.simulation import Run, open_run, verify
from amm_opt.simulation.driver import mode_of
from amm_opt.simulation.options import JOINT, SECURE, TIERS, VERIFY, Options
from amm_opt.simulation.stored.folder import DOCUMENT, Mode
from amm_opt.solve.backends.known import solvers as known_solvers
from amm_opt.study.cli_import import import_group
from amm_opt.study.compare import BOTH, compare, in_one_process, labelled, planned
from amm_opt.study.comparison import Comparison, open_comparison
from amm_opt.study.plots import save_picture
from amm_opt.study.result_folder import PICTURE, comparison_ready, stored_folders
from amm_opt.study.show import (
    document,
    explanation,
    json_option,
    print_ac,
    print_claims,
    print_explanation,
    print_json,
    print_table,
    show,
)
from amm_opt.study.terminal import Group, again, complain, folder_given, progress, say

DEFAULT_MECHANISMS = "no_control,equal_doe,equal_doe:enrolled=requesting,greedy_doe,amm"


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="amm-opt")
def main() -> None:
    """Compare how scarce distribution-network capacity is shared.

    \b
    Example:  amm-opt compare mv33lv --start 2016-05-02 --steps 336
    """


main.add_command(import_group)


def _common(command: Callable[..., None]) -> Callable[..., None]:
    options = (
        click.option("--start", metavar="DATE", help="First interval, such as 2016-01-04 (default: the first)."),
        click.option("--steps", type=click.IntRange(min=1), help="Number of intervals (default: all that follow)."),
        click.option(
            "--network", show_default="by the feeder's phases", help="Name of a network model, or script.py:Class."
        ),
        click.option("--solver", help="Any installed cvxpy solver (default: by capability)."),
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            default=os.cpu_count() or 1,
            show_default="processors",
            help="Processes for mechanisms without memory.",
        ),
        click.option(
            "--ac",
            type=click.Choice([VERIFY, SECURE]),
            help="verify: replay by AC power flow; secure: make allocations AC-feasible too.",
        ),
        click.option(
            "--forecast",
            default="perfect",
            show_default=True,
            help="What is planned on: perfect, persistence or noisy:sigma=0.1,seed=0.",
        ),
        click.option("--defer", is_flag=True, help="Charging sessions ask again until they depart."),
        click.option(
            "--tiers",
            type=click.Choice([*TIERS, BOTH]),
            default=JOINT,
            show_default=True,
            help="two: LV feeders against each other, then inside each; both: joint too, and what two tiers cost.",
        ),
        click.option("--time-limit", "time_limit_s", type=float, metavar="SECONDS", help="For every call of a solver."),
        click.option("--out", type=click.Path(), help="New folder for summary.csv and results."),
        click.option("--resume", is_flag=True, help="Go on with what --out holds, where it was ended."),
        click.option("--force", is_flag=True, help="Remove what --out holds, and start anew."),
        json_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@json_option
def cases(as_json: bool) -> None:
    """List the cases that come with the toolkit.

    \b
    Example:  amm-opt cases
    """
    rows = []
    for name, folder in shipped_cases().items():
        case = load_case(name)
        choices = "; ".join(f"{choice}={'|'.join(values)}" for choice, values in variants(folder).items())
        rows.append(
            {
                "case": name,
                "title": case.title,
                "buses": case.feeder.n_buses,
                "lv_feeders": len(case.feeder.lv_feeders),
                "participants": case.n_participants,
                "intervals": case.n_steps,
                "licence": case.licence,
                "variants": choices,
            }
        )
    show(rows, as_json, "Cases", {"licence": 1, "lv_feeders": 2, "variants": 1})
    if not as_json:
        say("A variant: mv33lv:seed=2. Also: the path of a case folder, or synthetic:buses=500,days=7,seed=1")


@main.command()
@json_option
def mechanisms(as_json: bool) -> None:
    """List the mechanisms and their parameters.

    \b
    Example:  amm-opt mechanisms
    """
    rows = []
    for name, kind in known_mechanisms().items():
        given = parameters_of(kind)
        defaults = {k: None if d is MISSING else d for k, (_, d) in given.items()}
        settings = {k: str(d) if isinstance(d, Mechanism) else d for k, d in defaults.items()}
        about = (kind.__doc__ or "").strip().splitlines()
        text: Any = settings if as_json else ", ".join(f"{k}={v}" for k, v in settings.items())
        rows.append({"mechanism": name, "about": about[0] if about else "", "parameters": text})
    show(rows, as_json, "Mechanisms")


@main.command()
@json_option
def solvers(as_json: bool) -> None:
    """List solvers, what they can do, and which are installed.

    \b
    Example:  amm-opt solvers
    """
    rows = [
        {
            "solver": name.lower(),
            **{f.name: getattr(info, f.name) for f in fields(info) if f.name != "name"},
            "install": "" if info.installed else info.how_to_install,
        }
        for name, info in sorted(known_solvers().items(), key=lambda item: (not item[1].installed, item[0]))
    ]
    show(rows, as_json, "Solvers", {"exp": 1, "install": 2, "threads": 3, "in_place": 4, "hot_start": 5, "duals": 6})


@main.command()
@click.argument("case")
@click.option("--mechanism", required=True, help="Name, name:parameter=value,... or script.py:Class.")
@_common
def run(case: str, mechanism: str, **options: Any) -> None:
    """Run one mechanism on CASE (a name or a folder).

    \b
    Example:  amm-opt run mv33lv --mechanism amm:alpha=2 --start 2016-05-02 --steps 48
    """
    _compare(case, [mechanism], **options)


@main.command(name="compare")
@click.argument("case")
@click.option("--mechanisms", "specs", default=DEFAULT_MECHANISMS, show_default=True, help="Comma-separated specs.")
@_common
def compare_command(case: str, specs: str, **options: Any) -> None:
    """Compare mechanisms on CASE (a name or a folder).

    \b
    Example:  amm-opt compare mv33lv --mechanisms equal_doe,amm:alpha=2,rho=0 --steps 48
    """
    _compare(case, split_specs(specs), **options)


@main.command(name="verify")
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


@main.command()
@click.argument("run", callback=folder_given)
@json_option
def explain(run: Path, as_json: bool) -> None:
    """Say which limits kept RUN from serving more, who is behind them, and what a little more of each is worth.

    RUN is the folder of one run: what run --out wrote, or the folder of a mechanism in what compare --out wrote.

    \b
    Example:  amm-opt explain out/amm
    """
    item = open_run(_single(run))
    label = str(item.mechanism)
    with progress(as_json, [label]) as report:
        limits = item.explain(progress=report and partial(report, label))
    if as_json:
        print_json(explanation(item, limits))
    else:
        print_explanation(item, limits)


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


def split_specs(text: str) -> list[str]:
    """Split ``"equal_doe,amm:alpha=2,rho=0"`` at the commas between mechanisms, not between parameters."""
    specs: list[str] = []
    for piece in filter(None, (p.strip() for p in text.split(","))):
        name, equals, _ = piece.partition("=")
        if specs and equals and ":" not in name:
            specs[-1] += f",{piece}"
        else:
            specs.append(piece)
    return specs


def _compare(
    name: str,
    specs: list[str],
    *,
    start: str | None,
    steps: int | None,
    out: str | None,
    resume: bool,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Run and print; ``options`` are those of ``amm_opt.simulation.options.Options``."""
    mode = mode_of(out, resume, force)
    case, span, folder = _checked(name, specs, start, steps, out, mode, options)
    network = options["network"] or default_network(case)
    chosen = labelled(specs)
    finished: dict[str, Run] = {}
    try:
        with progress(as_json, chosen) as report:
            result = compare(
                case,
                list(chosen.values()),
                out=folder,
                resume=resume,
                force=force,
                progress=report,
                done=finished.__setitem__,
                **options,
            )
    except BaseException:
        if finished:
            _print(Comparison(case, finished), span, network, options["ac"], as_json)
            kept = f", kept in {folder}" if folder is not None else ""
            complain(f"Not everything was run. Finished{kept}: {', '.join(finished)}.")
        if folder is not None and folder.is_dir():
            complain(f"Go on with: {again()}")
        raise
    problem = "" if folder is None else _picture(result, folder)
    _print(result, span, network, options["ac"], as_json)
    if folder is not None and not as_json:
        say(f"Written to {folder}")
    if problem:
        raise OutputError(problem)


def _checked(
    name: str,
    specs: list[str],
    start: str | None,
    steps: int | None,
    out: str | None,
    mode: Mode,
    options: dict[str, Any],
) -> tuple[Case, tuple[int, int], Path | None]:
    """The case, the intervals, which become one of the options, and the folder for results.

    Raises:
        InputError: everything that is wrong with the command.
    """
    said = Problems()
    folder = None if out is None else said.of(lambda: as_path(out, "folder"))
    if folder is not None:
        said.of(lambda: released(comparison_ready(folder, mode)))
    case = said.of(lambda: load_case(name))
    span = None if case is None else said.of(lambda: _span(case, start, steps))
    options["steps"] = None if span is None else slice(*span)
    plan = said.of(lambda: planned(case or name, specs, Options(**options)))
    said.report()
    assert case is not None
    assert span is not None
    assert plan is not None
    if click.get_current_context().get_parameter_source("workers") is ParameterSource.COMMANDLINE:
        for sentence in in_one_process(plan[1]):
            complain(sentence)
    return case, span, folder


def _print(result: Comparison, span: tuple[int, int], network: str, ac: str | None, as_json: bool) -> None:
    if as_json:
        print_json(document(result, network))
        return
    print_table(result, span, network)
    if ac:
        print_ac(result)
    print_claims(result)


def _picture(result: Comparison, out: Path) -> str:
    """Draw the comparison into its folder; what went wrong, empty where nothing did."""
    try:
        if not save_picture(result, out / PICTURE):
            complain("No picture: pip install 'amm-opt[plot]' adds comparison.png")
    except Exception as error:
        return f"the picture could not be drawn: {reason(error)}"
    return ""


def _span(case: Case, start: str | None, steps: int | None) -> tuple[int, int]:
    first, stop = case.span(slice(start, None))
    if steps is not None and first + steps > stop:
        raise InputError(f"--steps {steps} from {case.times[first]} goes beyond the last interval {case.times[-1]}")
    return first, stop if steps is None else first + steps
