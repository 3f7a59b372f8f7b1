"""A capacity shock of a wholesale system, followed down to prices and bills of the default distribution case.

    python benchmarks/wholesale/coupled.py

writes benchmarks/results/coupled.md and docs/images/coupled.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import amm_opt as ao

ROOT = Path(__file__).resolve().parents[2]
RESULTS, PICTURE = ROOT / "benchmarks/results/coupled.md", ROOT / "docs/images/coupled.png"
DAY = 48


def without(case: ao.Case, plants: list[str], first: int, stop: int) -> ao.Case:
    """The case without some plants in intervals first to stop - 1."""
    at = [case.participant_names.index(plant) for plant in plants]
    kw = case.requests(0, case.n_steps).export_request_kw[:, at].copy()
    kw[first:stop] = 0.0
    return case.with_profiles(pd.DataFrame(kw, columns=plants, index=case.times), "export")


def bills(found: ao.Coupled) -> pd.Series:
    return found.settlement().participants.set_index("participant")["bill"]


def told(found: ao.Coupled, before: ao.Coupled) -> dict[str, float]:
    """What came of one run."""
    prices, extra = found.prices(), bills(found) - bills(before)
    imports = prices[prices["direction"] == "import"]
    share = 100.0 * imports["layer"].value_counts(normalize=True)
    return {
        "intervals in which the node is short": float(found.table["short"].sum()),
        "largest deficit of the node": found.table["deficit"].max(),
        "import prices set by the system, %": share.get("wholesale", 0.0),
        "import prices set by the feeder's own limits, %": share.drop(["wholesale", ""], errors="ignore").sum(),
        "highest mean import price": found.table["mean_import_price"].max(),
        "flexible import served, MWh": found.allocation.import_kw.sum() * found.case.dt_h / 1e3,
        "all bills": bills(found).sum(),
        "mean rise of the bills that rise": extra[extra > 0].mean() if (extra > 0).any() else 0.0,
        "mean fall of the bills that fall": extra[extra < 0].mean() if (extra < 0).any() else 0.0,
        "largest difference of drawn and served, kW": found.gap_kw,
    }


def main() -> None:
    """Run it with and without the shock."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--system", default="national")
    parser.add_argument("--node", default="Thames")
    parser.add_argument("--plants", default="Humber gas,Trent gas", help="that are out on the second of three days")
    parser.add_argument("--count", type=float, default=100.0)
    parser.add_argument("--system-start", type=int, default=432)
    parser.add_argument("--case", default="mv33lv")
    parser.add_argument("--start", default="2016-01-10")
    args = parser.parse_args()
    case, system = ao.load_case(args.case), ao.load_case(args.system)
    first, begin = case.span(args.start)[0], args.system_start
    spans = {"steps": slice(first, first + 3 * DAY), "system_steps": slice(begin, begin + 3 * DAY), "count": args.count}
    shocked = without(system, args.plants.split(","), begin + DAY, begin + 2 * DAY)
    runs = {name: ao.coupled(s, args.node, case, **spans) for name, s in (("as it is", system), ("shock", shocked))}
    table = pd.DataFrame({name: told(found, runs["as it is"]) for name, found in runs.items()})
    rows = [f"| {name} | {' | '.join(f'{v:.4g}' for v in row)} |" for name, row in table.iterrows()]
    text = "\n".join([f"| | {' | '.join(table.columns)} |", "|---|---|---|", *rows])
    where = f"{args.count:g} x {args.case} at {args.node} of {args.system}"
    about = f"{where}, three days; on the second without {args.plants.replace(',', ', ')}"
    RESULTS.write_text(
        f"# A shock of the system, at the household\n\n{about}.\n`python benchmarks/wholesale/coupled.py`\n\n{text}\n",
        encoding="utf-8",
    )
    print(text)
    picture(runs, about)


def picture(runs: dict[str, ao.Coupled], about: str) -> None:
    """Power at the node, prices, and bills."""
    shock, before = runs["shock"], runs["as it is"]
    t, hours = shock.table, np.arange(len(shock.table)) * shock.case.dt_h
    figure, (power, price, bill) = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    top = 1.35e-3 * (t["firm_kw"] + t["asked_kw"]).max()
    power.fill_between(hours, t["firm_kw"] / 1e3, color="0.8", step="post", label="inflexible")
    power.step(hours, (t["firm_kw"] + t["asked_kw"]) / 1e3, "k", lw=0.8, where="post", label="asked of the system")
    power.step(hours, t["drawn_kw"] / 1e3, "C3", where="post", label="drawn, and served by it")
    power.set(xlabel="hour", ylabel="MW at the head of the feeder", title="what the node can serve", ylim=(0, top))
    paid = shock.allocation.import_price
    price.fill_between(
        hours, paid.min(axis=1), paid.max(axis=1), color="C3", alpha=0.25, lw=0, step="post", label="all households"
    )
    price.step(hours, t["mean_import_price"], "C3", where="post", label="mean, plants out")
    price.step(hours, before.table["mean_import_price"], "C0", where="post", label="mean, as it is")
    price.set(xlabel="hour", ylabel="import price, per kWh", title="what a household pays for a kWh")
    extra = (bills(shock) - bills(before)).sort_values()
    extra = extra[extra.abs() > 1e-6]
    for color, part in (("C3", extra.clip(lower=0.0)), ("C0", extra.clip(upper=0.0))):
        bill.fill_between(np.arange(len(extra)), part, color=color, lw=0.8)
    bill.set(xlabel="customers whose bill changes", ylabel="change of the bill, three days", title="and in all")
    for axes in (power, price):
        axes.legend(fontsize=8, frameon=False)
        axes.axvspan(24, 48, color="C1", alpha=0.08, lw=0)
    figure.suptitle(about, fontsize=9)
    figure.savefig(PICTURE, dpi=130)


if __name__ == "__main__":
    main()
