"""What participants gain who do not tell the truth, and what others lose, mechanism by mechanism.

    python benchmarks/robustness/gaming.py                  # January of mv33lv, three quarters of an hour
    python benchmarks/robustness/gaming.py --steps 96       # its beginning alone; nothing is written

One in twenty of those who charge vehicles (of those who export, where it is about export) declares something else than
what is true, all in the same way. Writes benchmarks/results/gaming.md and .csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

import amm_opt as ao

RESULTS = Path(__file__).parents[1] / "results"
CASE, START, STEPS = "mv33lv", "2016-01-01", 1488
MECHANISMS = (
    "amm",
    "amm:rho=0",
    "equal_doe",
    "equal_doe:enrolled=requesting",
    "greedy_doe",
    "static",
    "pro_rata",
    "lifo",
    "rotation",
    "dimming_14a",
    "curtailment_cap",
    "floored:mechanism=amm",
    "alpha_fair:alpha=0",
    "alpha_fair:alpha=1",
    "leximin",
    "leximin:per=feeder",
    "dnp",
    "lmp",
    "fp_amm",
    "fet",
    "fot",
    "fuh",
)
STRATEGIES = (
    "inflate:factor=1.1",
    "inflate:factor=1.5",
    "inflate:factor=3",
    "inflate:factor=3,availability=physical",
    "early:hours=2",
    "split:parts=2",
    "understate:factor=0.5",
)


def row(case: ao.Case, mechanism: str, steps: slice) -> list[dict[str, object]]:
    """Every strategy under one mechanism."""
    honest = ao.simulate(case, mechanism, steps=steps)
    asked = honest.requests.import_request_kw.sum()
    lacking = 100.0 * (1.0 - honest.allocation.import_kw.sum() / asked)
    told = ao.revealed(honest)
    told_pct = 100.0 * told[["price_import", "share_import"]].mean()
    found: list[dict[str, object]] = []
    for strategy in STRATEGIES:
        numbers = ao.gaming(case, mechanism, strategy, steps=steps, honest=honest).summary
        found.append({"mechanism": mechanism, "strategy": strategy, "lacking_pct": lacking, **numbers, **told_pct})
        print(f"{mechanism:32s} {strategy:40s} {numbers['gain_pct']:8.2f} {numbers['others_pct']:8.3f}", flush=True)
    return found


def main() -> None:
    """Print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    given = parser.parse_args()
    case = ao.load_case(CASE)
    last = pd.Timestamp(START) + pd.Timedelta(minutes=30 * (given.steps - 1))
    rows = [one for mechanism in MECHANISMS for one in row(case, mechanism, slice(START, str(last)))]
    table = pd.DataFrame(rows)
    if given.steps != STEPS:
        return
    table.to_csv(RESULTS / "gaming.csv", index=False, float_format="%.4f")
    lines = ["| mechanism | unserved, % | " + " | ".join(STRATEGIES) + " | told by price, % | by service, % |"]
    lines.append("|---" * (len(STRATEGIES) + 4) + "|")
    for name, mine in table.groupby("mechanism", sort=False):
        cells = [f"{g:+.2f} ({o:+.2f})" for g, o in zip(mine["gain_pct"], mine["others_pct"], strict=True)]
        told = ["" if pd.isna(v) else f"{v:.1f}" for v in mine[["price_import", "share_import"]].iloc[0]]
        lines.append(f"| {name} | {mine['lacking_pct'].iloc[0]:.2f} | {' | '.join(cells)} | {' | '.join(told)} |")
    page = f"""# Who gains by not telling the truth

`python benchmarks/robustness/gaming.py`: `{CASE}`, {given.steps} intervals from {START}. Energy of use to those who
cheat, one in twenty, against honesty, %; in brackets that of all others, %.

"""
    (RESULTS / "gaming.md").write_text(page + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
