"""The Fair Play market and its two plans side by side on one generated month.

    python benchmarks/fair_play.py

Writes benchmarks/results/fair_play.md and .png. Households and supply are made up
(``generated_problem``), so levels mean nothing beyond this page; the comparison does.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import amm_opt as ao

RESULTS = Path(__file__).parent / "results"
SHOWN = {
    "accepted": "{:.0f}",
    "served_kwh": "{:.0f}",
    "served_share": "{:.3f}",
    "premium_share": "{:.3f}",
    "basic_share": "{:.3f}",
    "jain_households": "{:.3f}",
    "worst_household": "{:.3f}",
    "value_at_caps": "{:.0f}",
    "charged": "{:.0f}",
    "seconds": "{:.0f}",
}


def main() -> None:
    """Run all and write the page and the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=5, help="of the market's draws")
    given = parser.parse_args()
    matplotlib.use("Agg")
    problem = ao.generated_problem(count=given.count, days=given.days)
    rows, shown = [], {}
    ways = {
        "fair_play": [ao.FairPlay(seed=s) for s in range(given.seeds)],
        "fair_play, one queue": [ao.FairPlay(products=False, seed=s) for s in range(given.seeds)],
        "volume": [ao.BookingPlan("volume")],
        "revenue": [ao.BookingPlan("revenue")],
    }
    for name, approaches in ways.items():
        start = time.process_time()
        runs = [approach.run(problem) for approach in approaches]
        seconds = (time.process_time() - start) / len(runs)
        sums = pd.DataFrame([run.summary for run in runs])
        rows.append({"approach": name, **sums.mean().to_dict(), "seconds": seconds})
        over = max(float((run.booked_kw - problem.available_kw).max()) for run in runs)
        assert over <= 1e-6, over
        shown[name] = runs[0]
        spread = f"served_share {sums['served_share'].min():.3f} to {sums['served_share'].max():.3f}"
        print(f"{name}: {spread}, Jain {sums['jain_households'].min():.3f} to {sums['jain_households'].max():.3f}")
    lines = ["| approach | " + " | ".join(SHOWN) + " |", "|---" * (len(SHOWN) + 1) + "|"]
    for row in rows:
        cells = ["" if np.isnan(row[k]) else form.format(row[k]) for k, form in SHOWN.items()]
        lines.append(f"| {row['approach']} | " + " | ".join(cells) + " |")
    asked = sum(r.energy_kwh for r in problem.requests)
    page = f"""# Fair Play and its plans on a generated month

`python benchmarks/fair_play.py --count {given.count} --days {given.days} --seeds {given.seeds}`

{len(problem.requests)} requests of {given.count} households over {given.days} days ask for {asked:.0f} kWh;
supply leaves {problem.available_kw.sum() / 2:.0f} kWh after essential load, not always when it can be used. Rows of
the market are means over {given.seeds} seeds of its draws. Money in pounds; seconds of processor time per run.

""" + "\n".join(lines)
    page += "\n\n![served ratios of households](fair_play.png)\n"
    (RESULTS / "fair_play.md").write_text(page, encoding="utf-8")
    picture(problem, shown, RESULTS / "fair_play.png")
    print(page)


def picture(problem: ao.RequestProblem, runs: dict[str, ao.RequestRun], path: Path) -> None:
    """Served ratios of households in ascending order, and what is booked in the first week."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for name, run in runs.items():
        left.plot(np.sort(run.households["served_ratio"]), marker=".", label=name)
    left.set(xlabel="households, ascending", ylabel="served / asked energy", ylim=(0, 1))
    left.legend()
    week = min(336, problem.n_slots)
    days = np.arange(week) / 48
    right.fill_between(days, problem.available_kw[:week], color="0.85", step="post", label="left by essential load")
    for name in ("fair_play", "volume"):
        right.step(days, runs[name].booked_kw[:week], where="post", linewidth=0.9, label=f"booked, {name}")
    right.set(xlabel="day", ylabel="kW", xlim=(0, week / 48))
    right.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
