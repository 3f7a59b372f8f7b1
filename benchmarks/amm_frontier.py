"""Feeders against participants: the AMM's settings over a year, tuned on two seeds and reported on three others.

    python benchmarks/amm_frontier.py                   # every run that is not stored yet (about half a minute each)
    python benchmarks/amm_frontier.py --draw            # table and picture of what is stored
    python benchmarks/amm_frontier.py --folder FOLDER   # the settings on a case folder of one's own too, under its name

Rows are stored one by one in ``benchmarks/results/amm_frontier.csv``: a run that was stopped goes on. Prints the
tables of docs/mechanisms/amm.md and docs/decisions/0049-the-memory-of-the-amm.md, and writes the picture
docs/images/amm_frontier.png.
"""

from __future__ import annotations

import csv
from pathlib import Path

import click
import matplotlib
import pandas as pd

import amm_opt as ao
from amm_opt.registry import mechanism

RESULTS = Path(__file__).parent / "results" / "amm_frontier.csv"
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "amm_frontier.png"
TUNED, HELD_OUT = (1, 2), (3, 4, 5)
FOT = "fot:window=all,inside=proportional,give=0"
"""Offline, every interval of the year known beforehand; participants of a feeder tied to one share."""
WITHOUT = "amm:alpha=0"
BEFORE = "amm:priority=shortage,rho=1,level=participant"
"""The default before: another state, and a curvature that pulls everybody back to the same share."""
LEVELS = {"amm:level=participant": "participant", "amm": "nested", "amm:level=feeder": "feeder"}
REPORTED = (WITHOUT, *LEVELS, FOT)
TRIED = (
    *REPORTED,
    BEFORE,
    *(f"amm:alpha={alpha}" for alpha in (3, 10)),
    *(f"amm:rho={rho}" for rho in (0.03, 0.3)),
    "amm:prior_h=24",
    "amm:level=feeder,alpha=10",
    *(f"amm:prior_h=24,level={level}" for level in ("participant", "feeder")),
    *(f"amm:prior_h=24,level=participant,{more}" for more in ("alpha=1", "alpha=10", "rho=0.03")),
    "amm:prior_h=24,level=feeder,alpha=10",
)
DIRECTIONS = ("import", "export")
MEASURES = ("worst_feeder_served", "worst_participant_served", "jain_feeder", "jain_participant")
COLUMNS = [
    "requested_import_mwh",
    "unserved_mwh",
    "requested_export_mwh",
    "curtailed_mwh",
    "failed_steps",
    "fallback_steps",
    *(f"{measure}_{d}" for measure in MEASURES for d in DIRECTIONS),
]


def stored() -> pd.DataFrame:
    """Rows so far, by case and mechanism."""
    if not RESULTS.exists():
        return pd.DataFrame(columns=["case", "mechanism", *COLUMNS]).set_index(["case", "mechanism"])
    return pd.read_csv(RESULTS).set_index(["case", "mechanism"])


def run(case_name: str, folder: str, specs: tuple[str, ...]) -> None:
    """Simulate what is not stored yet, and store each row as it comes."""
    known, case = set(stored().index), None
    for spec in specs:
        label = str(mechanism(spec))
        if (case_name, label) in known:
            continue
        case = case or ao.load_case(folder)
        summary = ao.simulate(case, spec).summary
        first = not RESULTS.exists()
        with RESULTS.open("a", newline="") as file:
            lines = csv.writer(file, lineterminator="\n")
            if first:
                lines.writerow(["case", "mechanism", *COLUMNS])
            lines.writerow([case_name, label, *(round(float(summary[column]), 7) for column in COLUMNS)])


def of(rows: pd.DataFrame, case: str, spec: str) -> pd.Series | None:
    """The row of a mechanism, None where it is not stored."""
    key = (case, str(mechanism(spec)))
    return rows.loc[key] if key in rows.index else None


def lost_pct(row: pd.Series) -> float:
    """Energy not served, both directions, in % of what was requested."""
    asked = row["requested_import_mwh"] + row["requested_export_mwh"]
    return float(100 * (row["unserved_mwh"] + row["curtailed_mwh"]) / asked)


def closed_pct(rows: pd.DataFrame, case: str, row: pd.Series) -> float:
    """Part of the gap from no memory to FOT in the worst feeder's import that is closed, %; NaN without these rows."""
    low, high = of(rows, case, WITHOUT), of(rows, case, FOT)
    if low is None or high is None:
        return float("nan")
    column = "worst_feeder_served_import"
    return float(100 * (row[column] - low[column]) / (high[column] - low[column]))


def table(rows: pd.DataFrame, cases: list[str], specs: tuple[str, ...]) -> str:
    """Markdown."""
    head = ["case", "setting", "lost, %", "worst feeder, import", "gap closed, %", "worst participant, import"]
    head += ["Jain feeders, import", "worst feeder, export", "worst participant, export", "Jain feeders, export"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for case in cases:
        for spec in specs:
            row = of(rows, case, spec)
            if row is None:
                continue
            closed = closed_pct(rows, case, row)
            cells = [case, f"`{spec}`", f"{lost_pct(row):.3f}"]
            cells += [f"{row['worst_feeder_served_import']:.4f}", "" if pd.isna(closed) else f"{closed:.0f}"]
            cells += [f"{row['worst_participant_served_import']:.4f}", f"{row['jain_feeder_import']:.6f}"]
            cells += [f"{row[f'{m}_export']:.4f}" for m in MEASURES[:2]] + [f"{row['jain_feeder_export']:.6f}"]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(rows: pd.DataFrame) -> None:
    """How much the worst feeder and the worst participant gain over no memory, import; hold-out seeds."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7.2, 4.6), dpi=150)
    x, y = "worst_feeder_served_import", "worst_participant_served_import"
    marks = {"participant": "o", "nested": "s", "feeder": "^", "FOT, offline": "*"}
    colours = dict(zip(HELD_OUT, ("#0072b2", "#d55e00", "#009e73"), strict=True))
    for seed, colour in colours.items():
        case = f"mv33lv:seed={seed}"
        base = of(rows, case, WITHOUT)
        if base is None:
            continue
        path = []
        for spec, name in {**LEVELS, FOT: "FOT, offline"}.items():
            row = of(rows, case, spec)
            if row is None:
                continue
            point = 100 * (row[x] - base[x]), 100 * (row[y] - base[y])
            axes.plot(*point, marks[name], color=colour, markersize=11 if name.startswith("FOT") else 8, zorder=3)
            if not name.startswith("FOT"):
                path.append(point)
        axes.plot(*zip(*path, strict=True), "-", color=colour, linewidth=1, alpha=0.6)
    axes.plot(0, 0, "P", color="#555555", markersize=9)
    axes.annotate("no memory", (0, 0), textcoords="offset points", xytext=(8, 6), color="#555555")
    axes.axhline(0, color="#bbbbbb", linewidth=0.8, zorder=0)
    axes.axvline(0, color="#bbbbbb", linewidth=0.8, zorder=0)
    axes.set_xlabel("worst feeder: gain over no memory, percentage points of its requests")
    axes.set_ylabel("worst participant: gain,\npercentage points of its requests")
    axes.set_title("Whose memory counts: import over a year of mv33lv, three seeds", fontsize=11)
    names = [axes.plot([], [], mark, color="#333333", linestyle="none", label=n)[0] for n, mark in marks.items()]
    names += [axes.plot([], [], "-", color=c, label=f"seed {s}")[0] for s, c in colours.items()]
    axes.legend(handles=names, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(PICTURE)


@click.command()
@click.option("--draw", "only_draw", is_flag=True, help="Simulate nothing.")
@click.option("--folder", help="A case folder of one's own, for the levels, no memory and the default before.")
def main(only_draw: bool, folder: str | None) -> None:
    """See the module."""
    own = Path(folder).name if folder else None
    seeds = {f"mv33lv:seed={s}": TRIED if s in TUNED else REPORTED for s in (*TUNED, *HELD_OUT)}
    if not only_draw:
        for case, specs in seeds.items():
            run(case, case, specs)
        if folder and own:
            run(own, folder, (WITHOUT, *LEVELS, BEFORE))
    rows = stored()
    others = sorted({case for case, _ in rows.index} - set(seeds))
    print("Reported:\n\n" + table(rows, [f"mv33lv:seed={s}" for s in HELD_OUT], REPORTED))
    print("\nTried:\n\n" + table(rows, [f"mv33lv:seed={s}" for s in TUNED], TRIED))
    for case in others:
        print(f"\n{case}:\n\n" + table(rows, [case], tuple(rows.loc[case].index)))
    draw(rows)


if __name__ == "__main__":
    main()
