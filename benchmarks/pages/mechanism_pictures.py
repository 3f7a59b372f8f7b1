"""The pictures of the mechanism pages: what a street asks for and is served, and the served ratio of each home.

    python benchmarks/pages/mechanism_pictures.py [--out docs/images/mechanisms] [NAME ...]

Every mechanism runs with the code of its page ("In ten lines"); the last run that the page makes is drawn.
"""

from __future__ import annotations

import re
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import click
import matplotlib as mpl
import numpy as np
from PIL import Image

import amm_opt as ao
from amm_opt.registry import mechanisms

mpl.use("Agg")
import matplotlib.dates as mdates
import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "mechanisms"
ASKED, IMPORT, EXPORT, PRICE = "0.75", "#0072B2", "#E69F00", "#CC79A7"
"""Of the palette of Okabe and Ito, which colour-blind readers tell apart."""


def run_of(name: str) -> ao.Run:
    """What the ten lines of a page leave in ``run``."""
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8").partition("## In ten lines")[2]
    (code,) = re.findall(r"```python\n(.*?)```", text.partition("\n## ")[0], re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, f"{name}.md", "exec"), names)
    run = names["run"]
    assert isinstance(run, ao.Run)
    return run


def draw(run: ao.Run, path: Path) -> None:
    """Power over time, prices where there are any, and served ratios of homes from the lowest up."""
    table = run.intervals()
    figure, (power, homes) = plt.subplots(
        1, 2, figsize=(9, 2.7), layout="constrained", gridspec_kw={"width_ratios": [2.6, 1]}
    )
    times = run.times
    for sign, word, colour in ((1, "import", IMPORT), (-1, "export", EXPORT)):
        power.fill_between(times, sign * table[f"requested_{word}_kw"], step="post", color=ASKED, lw=0)
        power.fill_between(times, sign * table[f"{served(word)}_{word}_kw"], step="post", color=colour, lw=0)
    power.set_ylabel("kW: import up, export down")
    power.axhline(0, color="0.3", lw=0.6)
    power.xaxis.set_major_formatter(mdates.DateFormatter("%H:%M"))
    price = table.get("mean_import_price")
    if price is not None:
        right = power.twinx()
        right.step(times, price, where="post", color=PRICE, lw=1.2)
        right.set_ylim(0, 1.15 * price.max())
        right.set_ylabel("import price per kWh", color=PRICE)
    asked = run.requests.import_request_kw, run.requests.export_request_kw
    given = run.allocation.import_kw, run.allocation.export_kw
    for word, colour, r, x in zip(("import", "export"), (IMPORT, EXPORT), asked, given, strict=True):
        total = r.sum(axis=0)
        ratio = np.sort(x.sum(axis=0)[total > 0] / total[total > 0])
        homes.plot(np.arange(1, len(ratio) + 1), ratio, "o-", color=colour, ms=3.5, lw=0.8, label=word)
    homes.set(ylim=(0, 1.05), xlabel="homes that ask, worst first", ylabel="served / asked for")
    homes.xaxis.set_major_locator(MaxNLocator(integer=True))
    homes.legend(loc="lower right", frameon=False)
    for axes in (power, homes):
        axes.spines[["top", "right"]].set_visible(False)
    drawn = BytesIO()
    figure.savefig(drawn, dpi=110)
    plt.close(figure)
    Image.open(drawn).convert("RGB").quantize(48).save(path, optimize=True)


def served(word: str) -> str:
    """What the tables call that which a direction got."""
    return {"import": "served", "export": "accepted"}[word]


@click.command()
@click.argument("names", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "docs" / "images" / "mechanisms")
def main(names: tuple[str, ...], out: Path) -> None:
    """Draw the pictures of these mechanisms, or of all."""
    out.mkdir(parents=True, exist_ok=True)
    for name in names or sorted(mechanisms()):
        draw(run_of(name), out / f"{name}.png")
        print(out / f"{name}.png", file=sys.stderr)


if __name__ == "__main__":
    main()
