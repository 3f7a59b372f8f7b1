"""Which LV feeders of the default case use up the bay upstream in one scarce interval: Shapley values of presence.

    python benchmarks/wholesale/hosting.py

writes benchmarks/results/hosting.csv and docs/images/hosting.png.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np

import amm_opt as ao

ROOT = Path(__file__).resolve().parents[2]
TIME = "2016-01-11 00:00"
ROUNDS = 32


def main() -> None:
    """Sample, and draw asked for and hosted power."""
    case = ao.load_case("mv33lv")
    interval, began = case.times.get_loc(TIME), perf_counter()
    table = ao.hosting(case, interval, rounds=ROUNDS)
    print(f"{perf_counter() - began:.0f} s\n{table.round(1)}\n{table.sum().round(1)}")
    table.round(3).to_csv(ROOT / "benchmarks/results/hosting.csv", lineterminator="\n")
    at = np.arange(len(table))
    figure, axes = plt.subplots(figsize=(10, 3.4), layout="constrained")
    axes.bar(at, table["asked_kw"], color="0.85", label="asked for")
    axes.bar(at, table["value_kw"], color="C0", width=0.5, label="hosted: Shapley value")
    ends = np.abs(table[["low_kw", "high_kw"]].sub(table["value_kw"], axis=0).to_numpy().T)
    axes.errorbar(at, table["value_kw"], ends, fmt="none", ecolor="k", elinewidth=0.8, capsize=2)
    axes.set_xticks(at, [str(name).removeprefix("MV1.101 ") for name in table.index], rotation=90, fontsize=7)
    axes.set(ylabel="kW", title=f"mv33lv, {TIME}: what each LV feeder asks for, and what of it the network hosts")
    axes.legend(frameon=False)
    figure.savefig(ROOT / "docs/images/hosting.png", dpi=130)


if __name__ == "__main__":
    main()
