"""The comparison of arXiv 2606.22463 on a case of one's own: table, fairness by month, the paper's figures.

    python benchmarks/paper_table.py                              # a year of mv33lv
    python benchmarks/paper_table.py CASE --start DATE --steps N  # anything else
    python benchmarks/paper_table.py CASE --keep FOLDER           # runs of hours: goes on where it was stopped

Writes ``benchmarks/results/paper_table_<case>.json``, ``.md`` and ``.png``, for part of the profiles with its start and
length in the name. Nothing is tuned to the paper: another network, other requests, and our readings where the paper has
no equations.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import matplotlib as mpl
import numpy as np
import pandas as pd
from rich.progress import Progress, TextColumn, TimeElapsedColumn

import amm_opt as ao
from amm_opt.io.files import check_writable, folder_names
from amm_opt.market.state import served_ratio
from amm_opt.simulation.results.fairness import jain
from amm_opt.study import plots
from amm_opt.study.cli import split_specs
from amm_opt.study.compare import labelled
from amm_opt.study.text import number, plain

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, NullFormatter

RESULTS = Path(__file__).parent / "results"
MECHANISMS = (
    "no_control",
    "equal_doe",
    "equal_doe:enrolled=requesting",
    "greedy_doe",
    "dnp",
    "amm",
    "fet",
    "fot:window=1D",
    "fot:window=all",
    "fuh:window=1D",
    "alpha_fair:alpha=0",
)
PUBLISHED = (
    ("unserved import, equal DOE", "96.0 MWh", "equal_doe", "unserved_mwh", "MWh"),
    ("unserved import, AMM", "23.2 MWh", "amm", "unserved_mwh", "MWh"),
    ("curtailed export, equal DOE", "85.4 MWh", "equal_doe", "curtailed_mwh", "MWh"),
    ("curtailed export, AMM", "64.5 MWh", "amm", "curtailed_mwh", "MWh"),
    ("thermal violations, AMM", "0", "amm", "thermal_violations", ""),
    ("Jain index of feeders, AMM", "0.9998", "amm", "jain_feeder", ""),
)
COLUMNS = {
    "unserved_mwh": ("unserved, MWh", "{:.1f}"),
    "curtailed_mwh": ("curtailed, MWh", "{:.1f}"),
    "thermal_violations": ("thermal", "{:.0f}"),
    "voltage_violations": ("voltage", "{:.0f}"),
    "ac_thermal_violations": ("AC thermal", "{:.0f}"),
    "ac_voltage_violations": ("AC voltage", "{:.0f}"),
    "jain_feeder": ("Jain feeders", "{:.4f}"),
    "worst_feeder_served": ("worst feeder", "{:.3f}"),
    "jain_participant": ("Jain participants", "{:.4f}"),
    "worst_participant_served": ("worst participant", "{:.3f}"),
    "price_of_fairness": ("served less than possible", "{:.2%}"),
    "failed_steps": ("failed", "{:.0f}"),
    "seconds": ("seconds", "{:.0f}"),
}


def kept(folder: Path, label: str, case: ao.Case, first: int, stop: int, ac: bool) -> ao.Run | None:
    """The run that an earlier call left in the folder, None where it left none."""
    if not (folder / "run.json").is_file():
        return None
    run = ao.load_run(folder)
    found = (str(run.mechanism), run.case.fingerprint, run.first, len(run.times), "ac_losses_mwh" in run.summary)
    if found != (label, case.fingerprint, first, stop - first, ac):
        raise click.ClickException(
            f"{folder} holds a run of another mechanism, another case, other intervals or without the AC columns"
        )
    return run


def monthly_jain(run: ao.Run) -> pd.DataFrame:
    """Jain index of the LV feeders' served ratios from the start of the run to the end of each month, per direction."""
    ends = pd.Series(np.arange(len(run.times)), index=run.times).groupby(run.times.strftime("%Y-%m")).last()
    requested, served = run.feeder_energy()
    rows = {}
    for month, k in ends.items():
        ratios = [served_ratio(s[k], r[k])[r[k] > 0] for s, r in zip(served, requested, strict=True)]
        rows[month] = [jain(r) if len(r) > 1 else np.nan for r in ratios]
    return pd.DataFrame.from_dict(rows, orient="index", columns=["import", "export"])


def markdown(table: pd.DataFrame, months: dict[str, pd.DataFrame], command: str, case: ao.Case) -> str:
    """The page."""
    shown = {c: v for c, v in COLUMNS.items() if c in table and table[c].notna().any()}
    lines = [f"# The paper's comparison on {case.name}", "", f"`{command}`", ""]
    lines += ["| mechanism | " + " | ".join(name for name, _ in shown.values()) + " |", "|---" * (len(shown) + 1) + "|"]
    for label, row in table.iterrows():
        cells = ["" if pd.isna(row[c]) else form.format(float(row[c])) for c, (_, form) in shown.items()]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    lines += ["", "Jain index of the LV feeders so far, at the end of each month (import / export):", ""]
    names = list(next(iter(months.values())).index)
    lines += ["| mechanism | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for label, values in months.items():
        lines.append(
            f"| {label} | " + " | ".join(" / ".join(number(v, ".4f") for v in row) for row in values.to_numpy()) + " |"
        )
    lines += ["", "The paper's figures (arXiv 2606.22463) and ours:", "", "| figure | paper | here |", "|---|---|---|"]
    for what, paper, label, column, unit in PUBLISHED:
        if label in table.index:
            value = float(table.loc[label, column])
            ours = "-" if np.isnan(value) else COLUMNS[column][1].format(value)
            lines.append(f"| {what} | {paper} | {f'{ours} {unit}'.strip()} |")
    lines += ["", *verdict(table, months)]
    return "\n".join(lines) + "\n"


def verdict(table: pd.DataFrame, months: dict[str, pd.DataFrame]) -> list[str]:
    """What is the same as in the paper and what is not, computed."""
    greedy = next((str(label) for label in table.index if str(label).startswith("greedy_doe")), None)
    if greedy is None or not {"amm", "equal_doe"} <= set(table.index):
        return []
    t = table.astype(float)
    change = {c: 100.0 * (t.loc["amm", c] / t.loc["equal_doe", c] - 1.0) for c in ("unserved_mwh", "curtailed_mwh")}
    gap = 100.0 * (t.loc[greedy, "unserved_mwh"] / max(t.loc["equal_doe", "unserved_mwh"], 1e-12) - 1.0)
    does = [label for label in months if "doe" in label]
    lower = {label: months[label].min(axis=1) for label in ("amm", *does)}
    ahead = [m for m in lower["amm"].index if all(lower["amm"][m] >= lower[d][m] for d in does)]
    return [
        f"- AMM against equal DOE: unserved {change['unserved_mwh']:+.1f} % (paper: -76 %), curtailed"
        f" {change['curtailed_mwh']:+.1f} % (paper: -24 %). The paper's data, scenario and equations are not public;"
        " the network and the requests here are others, so only directions can be compared.",
        f"- Greedy DOE ({greedy}) leaves {gap:+.2f} % more unserved than equal DOE (paper: nearly identical).",
        f"- The AMM is ahead of every DOE variant in the lower Jain index at the end of {len(ahead)} of"
        f" {len(lower['amm'])} months (paper: from month 6 on).",
        "- FOT and FUH know the requests of their window beforehand; FET, FOT and FUH give no price, as in the paper.",
    ]


def picture(months: dict[str, pd.DataFrame], path: Path) -> None:
    """How far from equal the LV feeders are, by month and direction, on a logarithmic scale."""
    shown = {label: m for label, m in months.items() if (m < 1.0 - 1e-12).to_numpy().any()}
    drawn = {
        label: {**style, "lw": 1.2, "marker": plots.MARKERS[i % len(plots.MARKERS)], "ms": 5}
        for i, (label, style) in enumerate(plots.styles(shown).items())
    }
    with mpl.rc_context(plots.STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(11, 5), sharey=True, layout="constrained")
        for axis, direction in zip(axes, ("import", "export"), strict=True):
            away = {label: (m.index, (1.0 - m[direction]).clip(lower=1e-7)) for label, m in shown.items()}
            axis.set_yscale("log")
            axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.yaxis.set_minor_formatter(NullFormatter())
            plots.lines(axis, away, drawn, note=(0.99, 0.02))
            axis.set_title(f"1 - Jain index of LV feeders so far, {direction}")
            axis.tick_params(axis="x", rotation=60)
            axis.grid(alpha=0.3)
        axes[0].set_ylabel("0 is equal; lower is fairer")
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=8, frameon=False, handlelength=3.5)
        figure.savefig(path, dpi=120)
        plt.close(figure)


@click.command()
@click.argument("case", default="mv33lv")
@click.option("--mechanisms", default=",".join(MECHANISMS), help="Comma-separated specs.")
@click.option("--start", help="First interval.")
@click.option("--steps", type=int, help="Number of intervals.")
@click.option("--network", help="Network model (default: by the feeder).")
@click.option("--ac", is_flag=True, help="Replay every run by AC power flow.")
@click.option("--workers", type=int, default=2, show_default=True)
@click.option("--keep", type=click.Path(path_type=Path), help="Folder of finished runs: read if there, else written.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, help="Folder for the results.")
def main(
    case: str,
    mechanisms: str,
    start: str | None,
    steps: int | None,
    network: str | None,
    ac: bool,
    workers: int,
    keep: Path | None,
    out: Path,
) -> None:
    """Make the paper's comparison on CASE (default: mv33lv, the whole year)."""
    loaded = ao.load_case(case)
    first, stop = loaded.span(slice(start, None))
    stop = stop if steps is None else first + steps
    options: dict[str, Any] = {"network": network} if network else {}
    if ac:
        options["ac"] = "verify"
    months: dict[str, pd.DataFrame] = {}
    runs: dict[str, ao.Run] = {}
    part = "" if stop - first == loaded.n_steps else f"_{loaded.times[first]:%Y-%m-%d}_{stop - first}"
    (name,) = folder_names([f"paper_table_{loaded.name}{part}"]).values()
    out.mkdir(parents=True, exist_ok=True)
    check_writable(out)
    chosen = labelled(split_specs(mechanisms))
    folders = folder_names(chosen)
    with Progress(TextColumn("{task.description}", markup=False), TimeElapsedColumn()) as bar:
        for label, mechanism in chosen.items():
            task = bar.add_task(plain(label), total=None)
            stored = keep / folders[label] if keep else None
            run = kept(stored, str(mechanism), loaded, first, stop, ac) if stored else None
            if run is None:
                done = ao.compare(loaded, mechanism, steps=slice(first, stop), workers=workers, **options)
                (run,) = done.runs.values()
                if stored:
                    run.save(stored)
            runs[label], months[label] = run, monthly_jain(run)
            bar.update(task, description=f"{plain(label)}: {run.summary['seconds']:.0f} s", total=1, completed=1)
    table = ao.Comparison(loaded, runs).table
    command = "python benchmarks/paper_table.py"
    command += "" if case == "mv33lv" else f" {Path(case).name}"
    command += "" if mechanisms == ",".join(MECHANISMS) else f" --mechanisms {mechanisms}"
    command += (f" --start {start}" if start else "") + (f" --steps {steps}" if steps else "") + (" --ac" if ac else "")
    page, data, drawing = (out / f"{name}.{kind}" for kind in ("md", "json", "png"))
    page.write_text(markdown(table, months, command, loaded), encoding="utf-8")
    document = {
        "command": command,
        "case": loaded.name,
        "first": str(loaded.times[first]),
        "steps": stop - first,
        "rows": json.loads(table.astype(float).to_json(orient="index")),
        "jain_by_month": {label: json.loads(m.to_json(orient="index")) for label, m in months.items()},
    }
    data.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    picture(months, drawing)
    click.echo(page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
