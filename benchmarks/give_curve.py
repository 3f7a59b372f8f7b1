"""What giving up a little of the worst feeder's level buys: FOT for several ``give``, and the AMM to compare with.

    python benchmarks/give_curve.py                                   # January of mv33lv
    python benchmarks/give_curve.py CASE --start DATE --steps N       # anything else

Writes ``benchmarks/results/give_curve_<case>.md`` and ``.png``.
"""

from __future__ import annotations

from pathlib import Path

import click
import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd

import amm_opt as ao
from amm_opt.pictures import style as plots

RESULTS = Path(__file__).parent / "results"
GIVES = (0.0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
COLUMNS = {
    "unserved_mwh": 2,
    "curtailed_mwh": 2,
    "worst_feeder_served_import": 4,
    "worst_feeder_served_export": 4,
    "worst_participant_served": 4,
}
"""Columns of the table, with their decimals."""


@click.command()
@click.argument("case", default="mv33lv")
@click.option("--start", help="First interval (default: that of the case).")
@click.option("--steps", type=int, default=1488, show_default=True, help="Number of intervals.")
@click.option("--window", default="1D", show_default=True, help="Window of FOT.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, help="Folder for the results.")
def main(case: str, start: str | None, steps: int, window: str, out: Path) -> None:
    """Make the curve on CASE."""
    loaded = ao.load_case(case)
    first, _ = loaded.span(slice(start, None))
    span, rows = slice(first, first + steps), {}
    for give in GIVES:
        run = ao.simulate(loaded, f"fot:give={give:g},window={window}", steps=span)
        rows[f"fot:give={give:g}"] = run.summary
        click.echo(f"give {give:g}: {run.summary['seconds']:.0f} s")
    rows["amm"] = ao.simulate(loaded, "amm", steps=span).summary
    table = pd.DataFrame({label: row[list(COLUMNS)] for label, row in rows.items()}).T.astype(float)
    given = [f"python benchmarks/give_curve.py {Path(case).name}", f"--start {start}" if start else ""]
    command = " ".join([*filter(None, given), f"--steps {steps}", *([f"--window {window}"] if window != "1D" else [])])
    place = out / f"give_curve_{loaded.name.partition(':')[0]}"
    place.with_suffix(".md").write_text(_page(table, command, loaded.name), encoding="utf-8")
    _picture(table, loaded.name, place.with_suffix(".png"))
    click.echo(place.with_suffix(".md").read_text(encoding="utf-8"))


def _page(table: pd.DataFrame, command: str, name: str) -> str:
    lines = [f"# What `give` buys on {name}", "", f"`{command}`", "", "| mechanism | " + " | ".join(COLUMNS) + " |"]
    lines.append("|---" * (len(COLUMNS) + 1) + "|")
    for label, row in table.iterrows():
        cells = [f"{row[column]:.{decimals}f}" for column, decimals in COLUMNS.items()]
        lines.append(f"| `{label}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _picture(table: pd.DataFrame, name: str, path: Path) -> None:
    """Energy not served against the worst feeder and the worst participant."""
    cut = table["unserved_mwh"] + table["curtailed_mwh"]
    feeder = table[["worst_feeder_served_import", "worst_feeder_served_export"]].min(axis=1)
    with mpl.rc_context(plots.STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
        for axis, (title, level) in zip(
            axes, (("worst feeder", feeder), ("worst participant", table["worst_participant_served"])), strict=True
        ):
            ours = table.index != "amm"
            axis.plot(level[ours], cut[ours], "o-", color=plots.COLOURS[0], label="fot, by give")
            axis.plot(level[~ours], cut[~ours], "s", color=plots.COLOURS[1], label="amm")
            for label in table.index[ours]:
                text = str(label).rpartition("=")[2]
                axis.annotate(text, (level[label], cut[label]), xytext=(3, 3), textcoords="offset points", fontsize=7)
            axis.set_xlabel(f"served ratio of the {title}")
        axes[0].set_ylabel("not served, MWh")
        axes[0].legend(fontsize=8, frameon=False)
        figure.suptitle(f"What giving up a little of the worst feeder's level buys: {name}", fontsize=10)
        figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
