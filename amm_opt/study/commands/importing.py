"""The commands ``amm-opt import``, network files of every installed format as case folders, and ``amm-opt fit``."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from amm_opt.cases import Case, save_case
from amm_opt.errors import InputError, Problems
from amm_opt.fields import alternatives
from amm_opt.importers import ImportedNetwork, YearScenario, import_network, importers, year_case
from amm_opt.importers.formats import Importer, importer, options_of
from amm_opt.io.files import whole_folder
from amm_opt.io.output import emit
from amm_opt.io.progress import working
from amm_opt.io.text import number, plain
from amm_opt.meters import FittedNetwork, fit_network, read_meters
from amm_opt.meters.data import GAPS
from amm_opt.meters.fit import SOURCES
from amm_opt.meters.regression import LOSSES
from amm_opt.specs import read_options, read_value
from amm_opt.study.compare import compare
from amm_opt.study.show import json_option, print_json, print_table, show
from amm_opt.study.terminal import folder_given, progress, say

EXAMPLES = {
    "matpower": "case14.m --option meshed=true",
    "opendss": "Master.dss --scenario ev=0.5",
    "pandapower": "net.json",
    "rts-gmlc": "RTS_Data/SourceData",
    "simbench": "1-LV-rural1--0-sw",
}
"""What stands after the format in the examples of our own importers; PATH for those of others."""

scenario_option = click.option(
    "--scenario", metavar="NAME=VALUE,...", help="ev, timer, pv, load_kw, tap_steps, days, year, seed."
)
days_option = click.option(
    "--days", type=click.IntRange(min=1), help="Repeat the file's own profiles to so many days (365 is a year)."
)
uptake_option = click.option(
    "--uptake",
    metavar="NAME=VALUE,...",
    help="Who owns what: ev, pv, battery, heat_pump (shares), seed, latitude_deg; see Case.with_uptake.",
)
LONGEST = 1000
"""Characters of a sentence in the list of formats; the list folds it."""
UPTAKE = {"ev": float, "pv": float, "battery": float, "heat_pump": float, "seed": int, "latitude_deg": float}
out_option = click.option(
    "--out", callback=folder_given, metavar="PATH", help="New folder for the case; without it only the report is shown."
)


class Formats(click.Group):
    """One command per installed format; those that need options of their own are written out."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all formats that can be loaded."""
        return sorted({*super().list_commands(ctx), *importers()})

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Names and whole sentences."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        with formatter.section("Commands"):
            formatter.write_dl([(name, item.get_short_help_str(LONGEST)) for name, item in commands.items()])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """The command of a format.

        Raises:
            InputError: unknown format, or a plug-in that cannot be loaded.
        """
        return super().get_command(ctx, cmd_name) or _command(cmd_name, importer(cmd_name))


@click.group(name="import", cls=Formats)
def import_group() -> None:
    """Make a case folder from a network file, and say what was read, assumed and left out.

    The participants and profiles of the case are those of the file where it has any and no --scenario is given; else a
    year of half-hours is laid over its customers. --days 365 makes a year of a file's own day, and --uptake draws
    vehicles, roofs, batteries and heat pumps on top. Formats of other packages stand here as well once they are
    installed.

    \b
    Example:  amm-opt import csiro ../csiro_mv_lv --scenario ev=0.6 --out csiro
    """


@import_group.command()
@click.argument("path", callback=folder_given)
@scenario_option
@click.option(
    "--xhl",
    type=click.Choice(["percent", "per_unit"]),
    default="percent",
    show_default=True,
    help="How transformer reactances are read.",
)
@uptake_option
@out_option
def csiro(path: Path, scenario: str | None, xhl: str, uptake: str | None, out: Path | None) -> None:
    """The Australian MV and LV feeders of CSIRO's data set, from the folder with Master.dss.

    \b
    Example:  amm-opt import csiro ../csiro_mv_lv --scenario ev=0.6 --out csiro
    """
    _import("csiro", path, {"xhl": xhl}, Demanded(scenario, None, uptake), out)


def _command(name: str, found: Importer) -> click.Command:
    """``amm-opt import NAME PATH``, with ``--option`` where the importer takes any."""
    options = options_of(found)

    def run(
        path: str,
        scenario: str | None,
        days: int | None,
        uptake: str | None,
        out: Path | None,
        given: tuple[str, ...] = (),
    ) -> None:
        said = Problems()
        values = _values(given, options or {}, said)
        said.report()
        _import(name, path, values, Demanded(scenario, days, uptake), out)

    if options is None or options:
        valid = "of the importer" if options is None else ", ".join(options)
        described = f"Options {valid}; VALUE is text, or JSON such as [1, 2] where it reads as such."
        run = click.option("--option", "given", multiple=True, metavar="NAME=VALUE", help=described)(run)
    run = click.argument("path")(scenario_option(days_option(uptake_option(out_option(run)))))
    about = (inspect.getdoc(found) or f"Networks in the format {name}.").partition("\n\n")[0].replace("``", "")
    example = f"amm-opt import {name} {EXAMPLES.get(name, 'PATH')} --out case"
    return click.command(name, help=f"{about}\n\n\b\nExample:  {example}")(run)


def _values(given: tuple[str, ...], kinds: Mapping[str, Any], said: Problems) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for item in given:
        name, equals, text = item.partition("=")
        said.say("" if equals else f"--option {item}: NAME=VALUE is needed")
        said.say(f"--option {name} is given twice" if name in values else "")
        try:
            values[name] = _value(kinds.get(name, Any), text)
        except ValueError as error:
            said.say(f"--option {name} = {text!r} is not {error}")
    return values


def _value(wanted: Any, text: str) -> Any:
    """The value of a text under an annotation; of one that says nothing, and of lists and such, what it is as JSON.

    Raises:
        ValueError: see ``read_value``.
    """
    value = read_value(wanted, text)
    if value is not text or str in alternatives(wanted):
        return value
    try:
        return json.loads(text)
    except ValueError:
        return text


@dataclass(frozen=True)
class Demanded:
    """What the command line says of the demand: texts of a scenario and of uptake, and how many days."""

    scenario: str | None
    days: int | None
    uptake: str | None

    def checked(self, said: Problems) -> tuple[YearScenario | None, dict[str, Any]]:
        """Scenario and uptake; what is wrong is said."""
        chosen = said.of(lambda: None if self.scenario is None else YearScenario.from_spec(self.scenario))
        drawn = {} if self.uptake is None else read_options(self.uptake, UPTAKE, "uptake", said)
        said.say("--days beside --scenario: say days= there" if self.days and self.scenario is not None else "")
        return chosen, drawn


def _import(name: str, path: str | Path, options: Mapping[str, Any], demanded: Demanded, out: Path | None) -> None:
    """Print the report of a network and, with ``out``, write its case."""
    said = Problems()
    scenario, uptake = demanded.checked(said)
    if said:
        said.of(lambda: import_network(name, path, **options))
    said.report()
    report: object
    with working(f"importing {path}"):
        if out is None:
            network = import_network(name, path, **options)
            report = network.report
        else:
            with whole_folder(out):
                network = import_network(name, path, **options)
                case = _case(network, scenario, demanded.days)
                report = case.report or network.report
                save_case(case.with_uptake(**uptake) if uptake else case, out)
    demand = "Demand: that of the file" if _own(network, scenario) else f"Scenario: {scenario or YearScenario()}"
    demand += f", over and over for {demanded.days} days" if demanded.days else ""
    demand += f"\nUptake: {demanded.uptake}" if uptake else ""
    emit(plain(f"{report}\n\n{demand}", keep="\n"))
    if out is not None:
        say(f"Written to {out}")


def _own(network: ImportedNetwork, chosen: YearScenario | None) -> bool:
    """Whether the case is that of the file's own participants and profiles."""
    return network.demand is not None and chosen is None


def _case(network: ImportedNetwork, scenario: YearScenario | None, days: int | None) -> Case:
    """The case of the file's own demand, repeated, or of a scenario.

    Raises:
        InputError: days without profiles of the file, or that these do not fill.
    """
    if not _own(network, scenario):
        if days is not None:
            raise InputError("--days repeats the file's own profiles, and it has none: use --scenario days=...")
        return year_case(network, scenario)
    case = network.case()
    if days is None:
        return case
    own = case.n_steps * case.requests(0, 1).dt_h / 24.0
    if abs(days / own - round(days / own)) > 1e-9 or days < own:
        raise InputError(f"--days {days}: the file's profiles have {own:g} days; give a multiple of that")
    return case.repeat(round(days / own))


@click.command()
@click.argument("table", callback=folder_given)
@click.option("--nominal-v", type=float, default=230.0, show_default=True, help="Volts that are 1 pu.")
@click.option("--gaps", type=click.Choice(GAPS), default=GAPS[0], show_default=True, help="Intervals with gaps.")
@click.option("--v-min-pu", type=float, default=0.9, show_default=True, help="Lower end of every meter's band.")
@click.option("--v-max-pu", type=float, default=1.1, show_default=True, help="Upper end.")
@click.option("--rating-kva", type=float, help="Of the transformer (default: no limit).")
@click.option("--eps", type=float, default=0.01, show_default=True, help="Share of readings beyond the margin.")
@click.option("--ridge", type=float, default=1.0, show_default=True, help="Weight against large coefficients.")
@click.option("--loss", type=click.Choice(LOSSES), default=LOSSES[0], show_default=True, help="Of residuals.")
@click.option("--extrapolation", type=float, help="Most power of all, times the largest that was read (default: none).")
@click.option("--transformer", type=click.Choice(SOURCES), help="Where its voltage comes from.")
@click.option("--mechanism", help="Runs on what was fitted: name, name:parameter=value,...")
@click.option("--connection-kw", type=float, default=25.0, show_default=True, help="Everybody's connection.")
@click.option("--import-kw", type=float, default=0.0, show_default=True, help="What everybody asks to draw.")
@click.option("--export-kw", type=float, default=0.0, show_default=True, help="What everybody asks to feed in.")
@click.option("--steps", type=click.IntRange(min=1), help="Intervals to run (default: all).")
@json_option
def fit(
    table: Path,
    nominal_v: float,
    gaps: str,
    mechanism: str | None,
    connection_kw: float,
    import_kw: float,
    export_kw: float,
    steps: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Fit a network to TABLE, readings of meters, and run a mechanism on it.

    TABLE has the columns time, meter, p_kw, v_pu or v, and where it is metered q_kvar (docs/fitted-network.md).

    \b
    Example:  amm-opt fit meters.csv --mechanism equal_doe --export-kw 8
    """
    result = None
    with working(f"fitting {table}"):
        fitted = fit_network(read_meters(table, nominal_v=nominal_v, gaps=gaps), **options)
    if mechanism is not None:
        case = fitted.case(connection_kw=connection_kw, import_kw=import_kw, export_kw=export_kw)
        with progress(as_json, [mechanism]) as report:
            result = compare(case, mechanism, network=fitted, steps=steps, progress=report)
    rows = _errors(fitted)
    if as_json:
        runs = [] if result is None else result.table.reset_index().to_dict("records")
        print_json({"missing": list(fitted.fit.missing), "errors": rows, "runs": runs})
        return
    show(
        [{k: v if isinstance(v, str) else number(v, ".2f") for k, v in row.items()} for row in rows], False, str(fitted)
    )
    if result is not None:
        run = next(iter(result.runs.values()))
        print_table(result, (run.first, run.first + len(run.times)), fitted.name)


def _errors(fitted: FittedNetwork) -> list[dict[str, Any]]:
    """Errors of voltages, a row for each part of the readings."""
    return [{str(k): v for k, v in row.items()} for row in fitted.fit.errors.reset_index().to_dict("records")]
