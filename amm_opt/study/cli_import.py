"""The command ``amm-opt import``: network files as case folders."""

from __future__ import annotations

from pathlib import Path

import click

from amm_opt.cases import save_case
from amm_opt.errors import Problems
from amm_opt.importers import YearScenario, csiro_case, csiro_network
from amm_opt.io.files import whole_folder
from amm_opt.io.output import emit
from amm_opt.study.terminal import folder_given, say
from amm_opt.study.text import plain


@click.group(name="import")
def import_group() -> None:
    """Make a case folder from a network file, and say what was read, assumed and left out.

    \b
    Example:  amm-opt import csiro ../csiro_mv_lv --scenario ev=0.6,pv=0.5 --out csiro
    """


@import_group.command()
@click.argument("path", callback=folder_given)
@click.option(
    "--scenario", default="", metavar="NAME=VALUE,...", help="ev, timer, pv, load_kw, tap_steps, days, year, seed."
)
@click.option(
    "--xhl",
    type=click.Choice(["percent", "per_unit"]),
    default="percent",
    show_default=True,
    help="How transformer reactances are read.",
)
@click.option(
    "--out", callback=folder_given, metavar="PATH", help="New folder for the case; without it only the report is shown."
)
def csiro(path: Path, scenario: str, xhl: str, out: Path | None) -> None:
    """The Australian MV and LV feeders of CSIRO's data set, from the folder with Master.dss.

    \b
    Example:  amm-opt import csiro ../csiro_mv_lv --scenario ev=0.6,pv=0.5,seed=1 --out csiro
    """
    said = Problems()
    chosen = said.of(lambda: YearScenario.from_spec(scenario)) or YearScenario()
    if said:
        said.of(lambda: csiro_network(path, xhl=xhl))
    said.report()
    if out is None:
        network = csiro_network(path, xhl=xhl)
    else:
        with whole_folder(out):
            network = csiro_network(path, xhl=xhl)
            save_case(csiro_case(network, chosen), out)
    emit(plain(f"{network.report}\n\nScenario: {chosen}", keep="\n"))
    if out is not None:
        say(f"Written to {out}")
