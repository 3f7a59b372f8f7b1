"""What noise, delay and topology error do to "zero violations": AC violations, unserved energy and fairness.

    python benchmarks/robustness/measurement.py mv33lv --start 2016-01-04 --days 14
    python benchmarks/robustness/measurement.py PATH --start 2023-01-09 --days 7 --name csiro_mv_lv --few --margins

The mechanism sees a corrupted world (``simulate(..., measurement=...)``); what it allocates is a limit, and the true
network judges by AC power flow. Mechanisms are AC-secure (``ac="secure"``): without errors none has a violation, so
that what is counted comes from the errors alone. One seed of each kind; errors are drawn by participant and interval.

With ``--few`` only the first mechanism meets every error, the others one level of each kind. A case on phases
costs 16 to 60 CPU seconds for each row of a week: rows are kept as they come, the common ones first, and a run that was
ended goes on with what is not there yet.

With ``--margins`` the AMM runs again with margins of its limits; with ``--few`` under noise only.

Writes benchmarks/results/measurement_NAME.csv and .md, and docs/images/measurement_NAME.png.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd

import amm_opt as ao

RESULTS = Path(__file__).parents[1] / "results"
IMAGES = Path(__file__).parents[2] / "docs" / "images"
NO_MARGIN = "none"
MECHANISMS = ("amm", "equal_doe:enrolled=requesting", "equal_doe", "fot")
SWEEPS: dict[str, dict[float, str]] = {
    "noise of readings, %": {k: f"noise:sigma={k / 100:g},seed=1" for k in (2, 5, 10, 20)},
    "delay, intervals": {k: f"delay:steps={k}" for k in (1, 2, 4)},
    "dropped readings, %": {k: f"drop:rate={k / 100:g},seed=1" for k in (5, 20, 50)},
    "customers on a wrong feeder, %": {k: f"feeder:rate={k / 100:g},seed=1" for k in (1, 5, 20)},
    "customers on a wrong phase, %": {k: f"phase:rate={k / 100:g},seed=1" for k in (1, 5, 20)},
    "impedances, spread in %": {k: f"impedance:sigma={k / 100:g},seed=1" for k in (10, 30)},
}
"""Levels of one kind of error."""
OTHERS = {
    "load read 20 % too small": "bias:share=-0.2,of=load",
    "load, delayed by 2 intervals": "delay:steps=2,of=load",
    "load, noise of 20 %": "noise:sigma=0.2,of=load,seed=1",
    "requests, noise of 20 %": "noise:sigma=0.2,of=requests,seed=1",
    "requests renewed every 4 intervals": "stale:steps=4",
    "impedances all 20 % too small": "impedance:scale=0.8",
    "taps believed 2.5 % off": "tap:ratio=1.025",
    "5 % of messages lost, default limit 0": "message:rate=0.05,seed=1",
    "5 % of messages lost, default limit 7.4 kW": "message:rate=0.05,import_kw=7.4,export_kw=8,seed=1",
    "all at once": "noise:sigma=0.05,seed=1+drop:rate=0.05,seed=1+delay:steps=1+impedance:sigma=0.1,seed=1"
    "+feeder:rate=0.01,seed=1",
}
FEW = (
    "none",
    "noise of readings, %: 20",
    "delay, intervals: 1",
    "dropped readings, %: 20",
    "customers on a wrong feeder, %: 5",
    "customers on a wrong phase, %: 5",
    "load read 20 % too small",
    "impedances all 20 % too small",
    "taps believed 2.5 % off",
    "5 % of messages lost, default limit 0",
)
"""Met by every mechanism, and run first."""
MARGINS = ("gaussian:eps=0.05,sigma=0.2", "cantelli:eps=0.05,sigma=0.2")
WITH_MARGINS = (
    "none",
    "load, noise of 20 %",
    "noise of readings, %: 20",
    "noise of readings, %: 10",
    "dropped readings, %: 20",
    "load read 20 % too small",
    "load, delayed by 2 intervals",
    "impedances, spread in %: 30",
    "customers on a wrong feeder, %: 5",
)
"""Where a margin may help, or is tried in vain; the first three are what it is made for."""
COLUMNS = {
    "violations": "AC violations",
    "thermal_pct": "worst rating, %",
    "voltage_pu": "worst band, pu",
    "unserved_pct": "unserved, %",
    "curtailed_pct": "curtailed, %",
    "jain": "Jain, participants",
}
COLORS = dict(zip(MECHANISMS, ("C0", "C1", "C2", "C3"), strict=True))


def main() -> None:
    """Run what is not there yet, and write table and picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("case")
    parser.add_argument("--start", required=True)
    parser.add_argument("--days", type=int, required=True)
    parser.add_argument("--name", help="of the files (default: CASE)")
    parser.add_argument("--mechanisms", nargs="+", default=list(MECHANISMS))
    parser.add_argument("--few", action="store_true", help="the first mechanism only meets every error")
    parser.add_argument("--common", action="store_true", help="one level of each kind of error only, for all")
    parser.add_argument("--margins", action="store_true", help="the AMM with margins too")
    parser.add_argument("--only-page", action="store_true", help="from the table as it is")
    given = parser.parse_args()
    matplotlib.use("Agg")
    name = given.name or given.case
    case = ao.load_case(given.case)
    first, _ = case.span(slice(given.start, None))
    steps = slice(first, first + round(24 / case.dt_h) * given.days)
    file = RESULTS / f"measurement_{name}.csv"
    if not given.only_page:
        asked = {"few": given.few, "common_only": given.common}
        measured(case, steps, given.mechanisms, file, **asked)
        if given.margins:
            measured(case, steps, ["amm"], file, (*MARGINS, NO_MARGIN), **asked)
    table = pd.read_csv(file, keep_default_na=False)
    (RESULTS / f"measurement_{name}.md").write_text(page(table, case, steps, name, given), encoding="utf-8")
    picture(table, IMAGES / f"measurement_{name}.png")


def conditions(case: ao.Case, first: int) -> dict[str, str | None]:
    """Every measurement of runs from interval ``first`` on, by label; those that a case cannot have are left out."""
    all_of: dict[str, str | None] = {"none": None}
    for what, levels in SWEEPS.items():
        all_of |= {f"{what}: {level:g}": text for level, text in levels.items()}
    all_of |= OTHERS
    day = round(24 / case.dt_h)
    all_of["memory lost for two days, copy two days old"] = (
        f"memory:at={first + 4 * day},steps={2 * day},older={2 * day}"
    )
    if case.feeder.balanced:
        all_of = {label: text for label, text in all_of.items() if "phase" not in label}
    return all_of


def measured(
    case: ao.Case,
    steps: slice,
    mechanisms: Sequence[str],
    file: Path,
    margins: Sequence[str] = (NO_MARGIN,),
    few: bool = False,
    common_only: bool = False,
) -> None:
    """One row for each measurement, mechanism and margin, kept as soon as it is there."""
    rows = pd.read_csv(file, keep_default_na=False).to_dict("records") if file.exists() else []
    done = {(row["error"], row["mechanism"], row["margin"]) for row in rows}
    asked = conditions(case, steps.start)
    if margins[0] != NO_MARGIN:
        asked = {label: asked[label] for label in (WITH_MARGINS[:3] if few or common_only else WITH_MARGINS)}
    common = [label for label in FEW if label in asked]
    rest = [label for label in asked if label not in common and not (common_only and margins[0] == NO_MARGIN)]
    order = [*product(common, mechanisms, margins), *product(rest, mechanisms[:1] if few else mechanisms, margins)]
    for label, spec, margin in order:
        if (label, spec, margin) in done:
            continue
        began = time.process_time()
        limits = None if margin == NO_MARGIN else margin
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run = ao.simulate(case, spec, steps=steps, measurement=asked[label], ac="secure", margin=limits)
        about = {"error": label, "mechanism": spec, "margin": margin}
        rows.append({**about, **measures(run), "cpu_s": time.process_time() - began})
        pd.DataFrame(rows).to_csv(file, index=False, float_format="%.6g")
        print({k: v if isinstance(v, str) else float(f"{v:.4g}") for k, v in rows[-1].items()}, flush=True)


def measures(run: ao.Run) -> dict[str, float]:
    """What a run comes to."""
    s = run.summary

    def share(lost: str, asked: str) -> float:
        return 100 * float(s[lost] / s[asked]) if s[asked] > 0 else 0.0

    return {
        "violations": float(s["ac_thermal_violations"] + s["ac_voltage_violations"]),
        "thermal_pct": float(s["worst_ac_thermal_excess_pct"]),
        "voltage_pu": float(s["worst_ac_voltage_excess_pu"]),
        "unserved_pct": share("unserved_mwh", "requested_import_mwh"),
        "curtailed_pct": share("curtailed_mwh", "requested_export_mwh"),
        "jain": float(s["jain_participant"]),
        "failed": float(s["failed_steps"]),
        "unsolved": float(s["ac_unsolved_steps"]),
    }


def page(table: pd.DataFrame, case: ao.Case, steps: slice, name: str, given: Any) -> str:
    """The table as a page."""
    asked = Path(given.case).name
    lines = [
        f"# What measurement errors do on {asked}",
        "",
        f"`python benchmarks/robustness/measurement.py {asked}{f' --name {name}' if name != asked else ''}"
        f" --start {given.start} --days {given.days}{' --few' if given.few else ''}"
        f"{' --common' if given.common else ''}"
        f"{' --margins' if (table['margin'] != NO_MARGIN).any() else ''}`",
        "",
        f"{case.times[steps.start]} to {case.times[steps.stop - 1]}, {steps.stop - steps.start} intervals,"
        f" {case.n_participants} participants, {case.feeder.n_buses} buses. AC-secure, one seed of each kind."
        f" {table['cpu_s'].sum() / 60:.0f} CPU minutes. A violation is a pair of a bus or branch and an interval beyond"
        " its limit that load alone does not explain, by AC power flow on the true network.",
        "",
    ]
    shown = [c for c in COLUMNS if c in table]
    for (spec, margin), part in table.groupby(["mechanism", "margin"], sort=False):
        lines += [
            f"## {spec}{'' if margin == NO_MARGIN else f', margin {margin}'}",
            "",
            "| error | " + " | ".join(COLUMNS[c] for c in shown) + " |",
        ]
        lines.append("| --- |" + " --- |" * len(shown))
        for row in in_order(part, conditions(case, steps.start)).to_dict("records"):
            cells = [
                f"{row['violations']:.0f}",
                f"{row['thermal_pct']:.2f}",
                f"{row['voltage_pu']:.4f}",
                f"{row['unserved_pct']:.2f}",
                f"{row['curtailed_pct']:.2f}",
                f"{row['jain']:.4f}",
            ]
            lines.append(f"| {row['error']} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def in_order(part: pd.DataFrame, errors: Iterable[str]) -> pd.DataFrame:
    """Rows as the errors are listed, not as they were run."""
    place = {label: k for k, label in enumerate(errors)}
    return part.iloc[part["error"].map(place).argsort(kind="stable")]


def picture(table: pd.DataFrame, file: Path) -> None:
    """Violations, their size and what is not served: of each error, or against the level of each kind of error."""
    table = table[table["margin"] == NO_MARGIN]
    worst = (
        ("voltage_pu", "worst, pu outside band")
        if table["voltage_pu"].any()
        else ("thermal_pct", "worst, % above rating")
    )
    measures = (("violations", "AC violations"), worst, ("unserved_pct", "unserved, %"))
    errors = dict.fromkeys(table["error"])
    levels = max(sum(error.startswith(kind) for error in errors) for kind in SWEEPS)
    figure = by_error(table, list(errors), measures) if levels < 2 else by_level(table, measures)
    figure.savefig(file, dpi=120)
    plt.close(figure)


def by_error(table: pd.DataFrame, errors: Sequence[str], measures: Sequence[tuple[str, str]]) -> Any:
    """One line for each error, one mark for each mechanism."""
    figure, axes = plt.subplots(1, len(measures), figsize=(12.0, 4.6), layout="constrained", sharey=True)
    for (measure, label), axis in zip(measures, axes, strict=True):
        for k, (spec, part) in enumerate(table.groupby("mechanism", sort=False)):
            values = part.set_index("error")[measure].astype(float).reindex(errors)
            y = [i + 0.16 * (k - 1.5) for i in range(len(errors))]
            axis.plot(values, y, " ", marker="o", markersize=5, label=spec, color=COLORS[str(spec)])
        axis.set_xlabel(label)
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(errors)), errors)
    axes[0].invert_yaxis()
    axes[0].set_xscale("symlog", linthresh=10)
    axes[0].set_xlim(-1, 2 * max(10.0, float(table["violations"].max())))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(MECHANISMS))
    return figure


def by_level(table: pd.DataFrame, rows: Sequence[tuple[str, str]]) -> Any:
    """One column for each kind of error."""
    kinds = [k for k in SWEEPS if table["error"].str.startswith(k).any() and "impedance" not in k]
    figure, axes = plt.subplots(
        3, len(kinds), figsize=(3.0 * len(kinds), 7.6), layout="constrained", sharex="col", sharey="row"
    )
    for column, kind in enumerate(kinds):
        for (measure, label), axis in zip(rows, axes[:, column], strict=True):
            for spec, part in table.groupby("mechanism", sort=False):
                values = part.set_index("error")[measure].astype(float)
                levels = [k for k in SWEEPS[kind] if f"{kind}: {k:g}" in values.index]
                y = [values["none"], *(values[f"{kind}: {k:g}"] for k in levels)]
                style = " " if len(levels) < 2 else ":" if spec == "fot" else "-"
                axis.plot([0, *levels], y, style, marker="o", markersize=4, label=spec, color=COLORS[str(spec)])
            if not column:
                axis.set_ylabel(label)
        axes[-1, column].set_xlabel(kind)
    axes[0, 0].set_yscale("symlog", linthresh=1)
    for axis, low in zip(axes[:, 0], (-0.3, 0, 0), strict=True):
        axis.set_ylim(bottom=low)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(MECHANISMS))
    return figure


if __name__ == "__main__":
    main()
