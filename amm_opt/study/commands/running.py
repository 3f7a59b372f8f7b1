"""The commands ``amm-opt run`` and ``amm-opt compare``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from amm_opt.cases import Case, load_case
from amm_opt.errors import InputError, OutputError, Problems, as_path, reason
from amm_opt.io.files import released
from amm_opt.pictures.compared.panels import save_picture
from amm_opt.registry import default_network
from amm_opt.simulation import Run
from amm_opt.simulation.driver import mode_of
from amm_opt.simulation.options import JOINT, SECURE, TIERS, VERIFY, Options
from amm_opt.simulation.stored.folder import Mode
from amm_opt.study.compare import BOTH, compare, in_one_process, labelled, planned
from amm_opt.study.comparison import Comparison
from amm_opt.study.first_look import look
from amm_opt.study.result_folder import PICTURE, comparison_ready
from amm_opt.study.show import (
    document,
    json_option,
    print_ac,
    print_claims,
    print_json,
    print_table,
)
from amm_opt.study.terminal import again, complain, progress, say

DEFAULT_MECHANISMS = "no_control,equal_doe,equal_doe:enrolled=requesting,greedy_doe,amm"


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
        click.option("--opendss", type=click.Path(), metavar="PATH", help="AC on all wires of this OpenDSS file."),
        click.option(
            "--forecast",
            default="perfect",
            show_default=True,
            help="What is planned on: perfect, persistence or noisy:sigma=0.1,seed=0.",
        ),
        click.option(
            "--measurement",
            metavar="KIND:...",
            help="What is wrong with what mechanisms see, such as noise:sigma=0.05+drop:rate=0.02.",
        ),
        click.option("--defer", is_flag=True, help="Charging sessions ask again until they depart."),
        click.option(
            "--tiers",
            type=click.Choice([*TIERS, BOTH]),
            default=JOINT,
            show_default=True,
            help="two: LV feeders against each other, then inside each; both: joint too, and what two tiers cost.",
        ),
        click.option(
            "--margin",
            metavar="SPEC",
            help="For load that turns out otherwise: gaussian:eps=0.05,sigma=0.2, cantelli, ...; auto:days=7 finds it.",
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


@click.command()
@click.argument("case")
@click.option("--mechanism", required=True, help="Name, name:parameter=value,... or script.py:Class.")
@_common
def run(case: str, mechanism: str, **options: Any) -> None:
    """Run one mechanism on CASE (a name or a folder).

    \b
    Example:  amm-opt run mv33lv --mechanism amm:alpha=2,rho=0 --steps 48
    """
    _compare(case, [mechanism], **options)


@click.command(name="compare")
@click.argument("case")
@click.option(
    "--mechanisms",
    "specs",
    default=DEFAULT_MECHANISMS,
    show_default=DEFAULT_MECHANISMS.replace(",", ", "),
    help="Comma-separated specs.",
)
@click.option("--day-first", is_flag=True, help="Show the busiest day before all of it, and ask whether to go on.")
@_common
def compare_command(case: str, specs: str, **options: Any) -> None:
    """Compare mechanisms on CASE (a name or a folder).

    \b
    Example:  amm-opt compare mv33lv --mechanisms equal_doe,amm:rho=0 --steps 48
    """
    _compare(case, split_specs(specs), **options)


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
    day_first: bool = False,
    **options: Any,
) -> None:
    """Run and print; ``options`` are those of ``amm_opt.simulation.options.Options``."""
    mode = mode_of(out, resume, force)
    case, span, folder = _checked(name, specs, start, steps, out, mode, options)
    network = options["network"] or default_network(case)
    chosen = labelled(specs)
    if day_first and not resume and not as_json and not look(case, list(chosen.values()), span, network, options):
        return
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
    span = None if case is None else said.of(lambda: span_of(case, start, steps))
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
        if not (out / PICTURE).is_file() and not save_picture(result, out / PICTURE):
            complain("No picture: pip install 'amm-opt[plot]' adds comparison.png")
    except Exception as error:
        return f"the picture could not be drawn: {reason(error)}"
    return ""


def span_of(case: Case, start: str | None, steps: int | None) -> tuple[int, int]:
    """The first interval and one past the last, of ``--start`` and ``--steps``.

    Raises:
        InputError: where they are not inside the case.
    """
    first, stop = case.span(slice(start, None))
    if steps is not None and first + steps > stop:
        raise InputError(f"--steps {steps} from {case.times[first]} goes beyond the last interval {case.times[-1]}")
    return first, stop if steps is None else first + steps
