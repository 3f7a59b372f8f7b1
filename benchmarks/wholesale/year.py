"""A year of the national system on money: pay-as-bid dispatch and marginal prices side by side, and a shock.

    python benchmarks/wholesale/year.py                     # the year of ``national``, some ten minutes
    python benchmarks/wholesale/year.py --steps 336         # its beginning alone; nothing is written

Each mechanism looks 72 hours ahead and carries out 24. The shock takes the gas plants of Humber and Trent away, all
year. Writes benchmarks/results/national_year.md and docs/images/national_year.png.
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
from amm_opt.market.metrics import price_volatility

HERE = Path(__file__).parents[1]
CASE, LOST = "national", ("Humber gas", "Trent gas")
MECHANISMS = {"dispatch": "dispatch:source_price=none", "lmp_ahead": "lmp_ahead:source_price=none"}
OWN = ("onshore wind", "offshore wind", "nuclear")
EVERY = 401
"""What plants are worth is worked out in one half-hour of so many: all hours of the day come up in turn."""


def shocked(case: ao.Case) -> ao.Case:
    """The system without the lost plants."""
    series = case.tables()["series"]
    return case.with_tables(series=series[~series["participant"].isin(LOST)])


def told(case: ao.Case, run: ao.Run, seconds: float) -> dict[str, float]:
    """Energy and money of one run."""
    settled = run.settlement()
    people, money = settled.participants, settled.operator
    asked = run.requests.import_request_kw.sum() * case.dt_h / 1e6
    served = run.allocation.import_kw
    price = np.asarray(run.allocation.import_price)
    mean = np.divide((served * price).sum(axis=1), served.sum(axis=1))
    moves = price_volatility(mean)
    plants = case.participants["technology"].to_numpy() != ""
    offer = np.nan_to_num(case.participants["export_offer"].to_numpy(float))
    income = (people["earned"] + people["discharging"] - people["charging"]).to_numpy()
    spent = offer * (people["export_kwh"] + people["discharged_kwh"]).to_numpy()
    return {
        "asked, TWh": asked / 1e3,
        "unserved, GWh": asked - served.sum() * case.dt_h / 1e6,
        "fuel at offers, GBP bn": spent[plants].sum() / 1e9,
        "load pays, GBP bn": money["paid"] / 1e9,
        "plants and stores earn, GBP bn": income.sum() / 1e9,
        "reserve, GBP bn": money["reserve"] / 1e9,
        "left to the operator, GBP bn": money["residual"] / 1e9,
        "uplift, GBP bn": money["uplift"] / 1e9,
        "price, mean, GBP/MWh": 1e3 * float((served * price).sum() / served.sum()),
        "its standard deviation": 1e3 * float(moves["deviation"]),
        "mean step": 1e3 * float(moves["step"]),
        "highest": 1e3 * float(moves["highest"]),
        "CPU s": seconds,
    }


def technologies(case: ao.Case, run: ao.Run) -> pd.DataFrame:
    """By technology: energy, income, and income less fuel per kW over the year's cost of having it."""
    people = run.settlement().participants.assign(technology=case.participants["technology"].to_numpy())
    people["income"] = people["earned"] + people["discharging"] - people["charging"] + people["reserve"]
    people["twh"] = (people["export_kwh"] + people["discharged_kwh"]) / 1e9
    return people[people["technology"] != ""].groupby("technology")[["twh", "income"]].sum()


def picture(curves: dict[str, np.ndarray]) -> None:
    """Prices of load in order of size."""
    figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    styles = {"dispatch": "C0", "lmp_ahead": "C3"}
    for label, mean in curves.items():
        name, _, kind = label.partition(", ")
        share = 100 * np.arange(len(mean)) / len(mean)
        axes.plot(share, np.sort(1e3 * mean)[::-1], styles[name], linestyle="--" if kind else "-", label=label)
    axes.set(xlabel="share of the year, %", ylabel="mean price of load, GBP/MWh", yscale="symlog", xlim=(0, 100))
    axes.legend(fontsize=8)
    figure.savefig(HERE.parent / "docs" / "images" / "national_year.png", dpi=110)


def lines(table: pd.DataFrame, form: str = ".2f") -> str:
    """A table as text."""
    head = "| | " + " | ".join(map(str, table.columns)) + " |\n" + "|---" * (len(table.columns) + 1) + "|\n"
    return head + "\n".join(f"| {i} | " + " | ".join(f"{v:{form}}" for v in r) + " |" for i, r in table.iterrows())


def main() -> None:
    """Run, settle, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int)
    given = parser.parse_args()
    matplotlib.use("Agg")
    case = ao.load_case(CASE)
    rows: dict[str, dict[str, float]] = {}
    kinds: dict[str, pd.Series] = {}
    curves: dict[str, np.ndarray] = {}
    runs: dict[str, ao.Run] = {}
    for shock, system in (("", case), (", gas lost", shocked(case))):
        for name, spec in MECHANISMS.items():
            began = time.process_time()
            run = ao.simulate(system, spec, steps=given.steps)
            rows[name + shock] = told(system, run, time.process_time() - began)
            print(name + shock, {k: round(v, 3) for k, v in rows[name + shock].items()}, flush=True)
            served, price = run.allocation.import_kw, np.asarray(run.allocation.import_price)
            curves[name + shock] = (served * price).sum(axis=1) / served.sum(axis=1)
            if not shock:
                runs[name] = run
                found = technologies(system, run)
                kinds["energy, TWh"] = found["twh"]
                kinds[f"{name}, GBP bn"] = found["income"] / 1e9
    homes = np.array([name.endswith("households") for name in case.participant_names])
    use = runs["dispatch"].allocation.import_kw.sum(axis=0)
    residential = float(use[homes].sum() / use.sum())
    recovery = ao.cost_recovery(runs["dispatch"], benchmark=runs["lmp_ahead"], own=OWN, every=EVERY, rounds=4)
    covered = recovery.technologies[["fuel", "reserve", "operating", "capital", "delta", "revenue", "cost"]] / 1e9
    homes_pay = ao.subscriptions(recovery, residential=residential).set_index("product")
    text = f"""# A year of the national system on money

`python benchmarks/wholesale/year.py`: `{CASE}`, {len(runs["dispatch"].times)} half-hours; without gas at Humber and
Trent where it says so.

{lines(pd.DataFrame(rows))}

Energy, and what is earned with it and with reserve:

{lines(pd.DataFrame(kinds))}

Costs and what covers them under `dispatch` with pots (base pot, or delta pot against `lmp_ahead`), GBP bn; what plants
are worth in one half-hour of {EVERY}, sampled:

{lines(covered.assign(**{"revenue / cost": covered["revenue"] / covered["cost"]}))}

Per month and household, GBP (households are {100 * residential:.0f} % of what is served; all of them alike in use):

{lines(homes_pay[["households", "bill", "subscription"]])}
"""
    print(text)
    if given.steps is None:
        (HERE / "results" / "national_year.md").write_text(text, encoding="utf-8")
        picture(curves)


if __name__ == "__main__":
    main()
