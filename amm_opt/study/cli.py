"""The command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import amm_opt
from amm_opt.cases import Case, load_case, shipped_cases
from amm_opt.errors import AmmOptError, InputError, Problems
from amm_opt.registry import default_network, parameters_of
from amm_opt.registry import mechanisms as known_mechanisms
from amm_opt.simulate import load_run, verify
from amm_opt.simulate.run import DOCUMENT
from amm_opt.simulate.settings import JOINT, SECURE, TIERS, VERIFY
from amm_opt.solve.solvers import solvers as known_solvers
from amm_opt.study.cli_import import import_group
from amm_opt.study.compare import BOTH, Comparison, compare, labelled, load_comparison, planned
from amm_opt.study.plots import save_picture
from amm_opt.study.show import document, json_option, print_ac, print_json, print_table, show

DEFAULT_MECHANISMS = "no_control,equal_doe,equal_doe:enrolled=requesting,greedy_doe,amm"


class _Group(click.Group):
    """Turns the toolkit's errors into one message and an exit code: 2 bad input, 1 failed."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(2)
        except AmmOptError as error:
            click.echo(f"Failed: {error}", err=True)
            ctx.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(amm_opt.__version__)
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
        click.option("--network", show_default="by the feeder's phases", help="Network model."),
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
        click.option("--out", type=click.Path(path_type=Path), help="New folder for summary.csv and results."),
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
    for name in shipped_cases():
        case = load_case(name)
        rows.append(
            {
                "case": name,
                "title": case.title,
                "buses": case.feeder.n_buses,
                "lv_feeders": len(case.feeder.lv_feeders),
                "participants": case.n_participants,
                "intervals": case.n_steps,
                "licence": case.licence,
            }
        )
    show(rows, as_json, "Cases")
    if not as_json:
        click.echo("Also: the path of a case folder, or synthetic:buses=500,days=7,seed=1")


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
        settings = {k: None if d is MISSING else d for k, (_, d) in given.items()}
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
    show(rows, as_json, "Solvers")


@main.command()
@click.argument("case")
@click.option("--mechanism", required=True, help="Name, name:parameter=value,... or script.py:Class.")
@_common
def run(case: str, mechanism: str, **options: Any) -> None:
    """Run one mechanism on CASE (a name or a folder).

    \b
    Example:  amm-opt run mv33lv --mechanism amm:kappa=4 --start 2016-05-02 --steps 48
    """
    _compare(case, [mechanism], **options)


@main.command(name="compare")
@click.argument("case")
@click.option("--mechanisms", "specs", default=DEFAULT_MECHANISMS, show_default=True, help="Comma-separated specs.")
@_common
def compare_command(case: str, specs: str, **options: Any) -> None:
    """Compare mechanisms on CASE (a name or a folder).

    \b
    Example:  amm-opt compare mv33lv --mechanisms equal_doe,amm:kappa=2,rho=0 --steps 48
    """
    _compare(case, split_specs(specs), **options)


@main.command(name="verify")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--opendss", type=click.Path(path_type=Path), help="Replay by OpenDSS on all wires of this master file.")
@json_option
def verify_command(run: Path, opendss: Path | None, as_json: bool) -> None:
    """Replay RUN, a folder that run or compare wrote, by AC power flow and fill its AC columns.

    \b
    Example:  amm-opt verify out/week
    """
    single = (run / DOCUMENT).is_file()
    if single:
        item = load_run(run)
        stored = Comparison(item.case, {str(item.mechanism): item})
    else:
        stored = load_comparison(run)
    with _progress(as_json, stored.runs) as progress:
        runs = {
            label: verify(item, opendss=opendss, progress=progress and partial(progress, label))
            for label, item in stored.runs.items()
        }
    result = Comparison(stored.case, runs)
    if single:
        next(iter(runs.values())).save_document(run)
    else:
        result.save_summaries(run)
    if as_json:
        print_json(document(result, ", ".join(sorted({r.network for r in runs.values()}))))
    else:
        print_ac(result)


def split_specs(text: str) -> list[str]:
    """Split ``"equal_doe,amm:kappa=2,rho=0"`` at the commas between mechanisms, not between parameters."""
    specs: list[str] = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, equals, _ = part.partition("=")
        if specs and equals and ":" not in name:
            specs[-1] += f",{part}"
        else:
            specs.append(part)
    return specs


def _compare(
    name: str,
    specs: list[str],
    *,
    start: str | None,
    steps: int | None,
    network: str | None,
    solver: str | None,
    workers: int,
    ac: str | None,
    forecast: str,
    defer: bool,
    tiers: str,
    out: Path | None,
    as_json: bool,
) -> None:
    said = Problems()
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        said.say(f"--out {out} exists and is not an empty folder")
    case = said.of(lambda: load_case(name))
    span = None if case is None else said.of(lambda: _span(case, start, steps))
    options: dict[str, Any] = {"network": network, "solver": solver, "ac": ac, "forecast": forecast, "defer": defer}
    options |= {"workers": workers, "tiers": tiers, "steps": None if span is None else slice(*span)}
    said.of(lambda: planned(case or name, specs, progress=None, **options))
    said.report()
    assert case is not None
    assert span is not None
    chosen = labelled(specs)
    network = network or default_network(case)
    with _progress(as_json, chosen) as progress:
        result = compare(case, list(chosen.values()), progress=progress, **options)
    if out is not None:
        result.save(out)
        if not save_picture(result, out / "comparison.png"):
            click.echo("No picture: pip install 'amm-opt[plot]' adds comparison.png", err=True)
    if as_json:
        print_json(document(result, network))
    else:
        print_table(result, span, network)
        if ac:
            print_ac(result)
        if out is not None:
            click.echo(f"Written to {out}")


def _span(case: Case, start: str | None, steps: int | None) -> tuple[int, int]:
    first, stop = case.span(slice(start, None))
    if steps is not None and first + steps > stop:
        raise InputError(f"--steps {steps} from {case.times[first]} goes beyond the last interval {case.times[-1]}")
    return first, stop if steps is None else first + steps


@contextmanager
def _progress(quiet: bool, labels: Any) -> Iterator[Callable[[str, int, int], None] | None]:
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bars:
        tasks = {label: bars.add_task(label, total=None) for label in labels}

        def report(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = bars.add_task(label, total=None)
            bars.update(tasks[label], completed=done, total=total)

        yield report
