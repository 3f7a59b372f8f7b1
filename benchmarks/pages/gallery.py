"""Rebuild the pictures of docs/pictures.md and docs/report.md.

    amm-opt compare mv33lv --out out/mv33lv     # the year, as make compare makes it
    python benchmarks/pages/gallery.py out/mv33lv

The trade-off is of a day of CSIRO's feeder, run here where ``--feeder`` names its case
folder. Screenshots of the report need Chromium (on the path, or in AMM_OPT_BROWSER) and
playwright; ``--no-screenshots`` leaves them as they are.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import click

import amm_opt as ao

IMAGES = Path(__file__).parents[2] / "docs" / "images" / "gallery"
DAY = "2023-01-09"
GIVES = ("fot:give=0", "fot:give=0.002", "fot:give=0.005", "fot:give=0.01")
BESIDE = ("equal_doe:enrolled=requesting", "pro_rata", "amm")
DPI = 90
SHOTS = {
    "report_wide": ({"width": 1280, "height": 1150}, "light", None),
    "report_narrow": ({"width": 390, "height": 1150}, "light", None),
    "report_dark": ({"width": 1280, "height": 1150}, "dark", "#pictures"),
}
"""Size of the window, colours, and the part of the page that is shown."""


def pictures(result: ao.Comparison) -> None:
    """Those of the year, and of single runs in it."""
    amm, limits = result["amm"], result["equal_doe:enrolled=requesting"]
    made = {
        "case": result.case.plot,
        "coordinates": ao.load_case("national").plot,
        "panels": result.plot,
        "months": result.plot.months,
        "served": result.plot.served,
        "duration": lambda: result.plot.duration(steps="2016-05"),
        "duration_price": lambda: amm.plot.duration("price"),
        "day": lambda: limits.plot.day("2016-01-29"),
        "prices": amm.plot.prices,
        "map_loading": lambda: amm.plot.map("loading", steps="2016-05-26"),
        "map_voltage": lambda: amm.plot.map("voltage", steps="2016-05-26"),
        "map_served": lambda: limits.plot.map("served", steps="2016-01"),
        "map_price": lambda: amm.plot.map("price", steps="2016-01-29"),
        "map_deficit": lambda: amm.plot.map("deficit", steps="2016-01-29"),
    }
    for name, draw in made.items():
        draw().savefig(IMAGES / f"{name}.png", dpi=DPI)
        click.echo(name)


def trade_off(feeder: Path) -> None:
    """The give curve of fot beside others, over a day of a real feeder, on which it is no flat one."""
    result = ao.compare(feeder, [*GIVES, *BESIDE], steps=DAY)
    result.plot.trade_off("feeder").savefig(IMAGES / "trade_off.png", dpi=DPI)
    click.echo("trade_off")


def screenshots(page: Path) -> None:
    """The report in a browser: wide, narrow and dark."""
    from playwright.sync_api import sync_playwright

    browser = os.environ.get("AMM_OPT_BROWSER") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for name, (size, colours, part) in SHOTS.items():
            tab = opened.new_page(viewport=size, color_scheme=colours)
            tab.goto(page.as_uri())
            if part:
                tab.evaluate("part => document.querySelector(part).scrollIntoView({behavior: 'instant'})", part)
            tab.screenshot(path=IMAGES / f"{name}.png")
            tab.close()
            click.echo(name)
        opened.close()


@click.command()
@click.argument("year", type=click.Path(exists=True, path_type=Path))
@click.option("--screenshots/--no-screenshots", "with_browser", default=True, help="Of the report, in a browser.")
@click.option("--feeder", type=click.Path(exists=True, path_type=Path), help="CSIRO's feeder as a case folder.")
def main(year: Path, with_browser: bool, feeder: Path | None) -> None:
    """Draw everything from YEAR, the folder of a comparison of the year."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    result = ao.open_comparison(year)
    pictures(result)
    if feeder is not None:
        trade_off(feeder)
    if with_browser:
        with tempfile.TemporaryDirectory() as folder:
            screenshots(ao.save_report(result, Path(folder) / "report.html"))


if __name__ == "__main__":
    main()
