"""The command ``amm-opt report``."""

from __future__ import annotations

from pathlib import Path

import click

from amm_opt.simulation import open_run
from amm_opt.simulation.stored.folder import DOCUMENT
from amm_opt.study.comparison import open_comparison
from amm_opt.study.report.page import save_report
from amm_opt.study.result_folder import REPORT
from amm_opt.study.terminal import folder_given, say


@click.command(name="report")
@click.argument("folder", metavar="DIR", callback=folder_given)
@click.option("--out", callback=folder_given, metavar="FILE", help="Where to write it (default: DIR/report.html).")
def report_command(folder: Path, out: Path | None) -> None:
    """Write one page on what run or compare wrote into DIR: table, pictures, limits, worst-off, claims, how to repeat.

    The page is one file that needs no other and no network.

    \b
    Example:  amm-opt report out/mv33lv
    """
    result = open_run(folder) if (folder / DOCUMENT).is_file() else open_comparison(folder)
    say(f"Written to {save_report(result, folder / REPORT if out is None else out)}")
