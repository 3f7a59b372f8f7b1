"""The commands ``amm-opt import``, network files of every installed format as case folders, and ``amm-opt fit``."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from amm_opt.cases import save_case
from amm_opt.errors import Problems
from amm_opt.fields import alternatives
from amm_opt.importers import ImportedNetwork, YearScenario, import_network, importers, year_case
from amm_opt.importers.formats import Importer, importer, options_of
from amm_opt.io.files import whole_folder
from amm_opt.io.output import emit
from amm_opt.io.text import number, plain
from amm_opt.meters import FittedNetwork, fit_network, read_meters
from amm_opt.meters.data import GAPS
from amm_opt.meters.fit import SOURCES
from amm_opt.meters.regression import LOSSES
from amm_opt.specs import read_value
from amm_opt.study.compare import compare
from amm_opt.study.show import json_option, print_json, print_table, show
from amm_opt.study.terminal import folder_given, say

EXAMPLES = {
    "matpower": "case33bw.m --option 'open_branches=[\"branch 33\"]'",
    "opendss": "feeder/Master.dss --option 'nominal_kv=[11, 0.4]' --scenario ev=0.5",
    "pandapower": "net.json",
    "rts-gmlc": "RTS-GMLC/RTS_Data/SourceData",
    "simbench": "1-LV-rural1--0-sw",
}
"""What stands after the format in the examples of our own importers; PATH for those of others."""

scenario_option = click.option(
    "--scenario", metavar="NAME=VALUE,...", help="ev, timer, pv, load_kw, tap_steps, days, year, seed."
)
out_option = click.option(
    "--out", callback=folder_given, metavar="PATH", help="New folder for the case; without it only the report is shown."
)


class Formats(click.Group):
    """One command per installed format; those that need options of their own are written out."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all formats that can be loaded."""
        return sorted({*super().list_commands(ctx), *importers()})

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
    year of half-hours is laid over its customers. Formats of other packages stand here as well once they are installed.

    \b
    Example:  amm-opt import csiro ../csiro_mv_lv --scenario ev=0.6,pv=0.5 --out csiro
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
@out_option
def csiro(path: Path, scenario: str | None, xhl: str, out: Path | None) -> None:
    """The Australian MV and LV feeders of CSIRO's data set, from the folder with Master.dss.

    \b
    Example:  amm-opt import csiro ../csiro_mv_lv --scenario ev=0.6,pv=0.5,seed=1 --out csiro
    """
    _import("csiro", path, {"xhl": xhl}, scenario, out)


def _command(name: str, found: Importer) -> click.Command:
    """``amm-opt import NAME PATH``, with ``--option`` where the importer takes any."""
    options = options_of(found)

    def run(path: str, scenario: str | None, out: Path | None, given: tuple[str, ...] = ()) -> None:
        said = Problems()
        values = _values(given, options or {}, said)
        said.report()
        _import(name, path, values, scenario, out)

    if options is None or options:
        valid = "of the importer" if options is None else ", ".join(options)
        described = f"Options {valid}; VALUE is text, or JSON such as [1, 2] where it reads as such."
        run = click.option("--option", "given", multiple=True, metavar="NAME=VALUE", help=described)(run)
    run = click.argument("path")(scenario_option(out_option(run)))
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


def _import(name: str, path: str | Path, options: Mapping[str, Any], scenario: str | None, out: Path | None) -> None:
    """Print the report of a network and, with ``out``, write its case."""
    said = Problems()
    chosen = said.of(lambda: None if scenario is None else YearScenario.from_spec(scenario))
    if said:
        said.of(lambda: import_network(name, path, **options))
    said.report()
    if out is None:
        network = import_network(name, path, **options)
    else:
        with whole_folder(out):
            network = import_network(name, path, **options)
            save_case(network.case() if _own(network, chosen) else year_case(network, chosen), out)
    demand = "Demand: that of the file" if _own(network, chosen) else f"Scenario: {chosen or YearScenario()}"
    emit(plain(f"{network.report}\n\n{demand}", keep="\n"))
    if out is not None:
        say(f"Written to {out}")


def _own(network: ImportedNetwork, chosen: YearScenario | None) -> bool:
    """Whether the case is that of the file's own participants and profiles."""
    return network.demand is not None and chosen is None


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
    Example:  amm-opt fit meters.csv --rating-kva 250 --mechanism equal_doe --export-kw 8 --steps 48
    """
    fitted = fit_network(read_meters(table, nominal_v=nominal_v, gaps=gaps), **options)
    result = None
    if mechanism is not None:
        case = fitted.case(connection_kw=connection_kw, import_kw=import_kw, export_kw=export_kw)
        result = compare(case, mechanism, network=fitted, steps=steps)
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
