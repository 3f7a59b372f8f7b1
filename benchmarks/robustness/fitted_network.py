"""Networks fitted to meters against the networks that the meters were read on: voltages, sensitivities, envelopes.

    python benchmarks/robustness/fitted_network.py

Feeders: synthetic ones of 40 buses behind one transformer (seeds 11 to 13), balanced, and on phases with mutual
impedance (customers on phases by the same seed); lines and transformer have ten times their rating, so that voltages
bind; and seed 11 as it is, where the transformer binds. Meters: six weeks of half-hours by AC power flow, the last
quarter held out, 30 % of what is requested served, noise 0.2 % of volts and 0.5 % of kW and kvar, kvar 30 % off what
power factors say, the source 1 % around its voltage; seed as the feeder's. Levels: four half-hours of a held-out day,
limits kept on the true feeder at both ends of the source's 98 %. Runs: the last week, which is held out, four times the
requests. Writes benchmarks/results/fitted_network.md and docs/images/fitted_network.png.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import amm_opt as ao
from amm_opt.cases.synthetic import synthetic_tables

ROOT = Path(__file__).parents[2]
TABLE, PICTURE = ROOT / "benchmarks" / "results" / "fitted_network.md", ROOT / "docs" / "images" / "fitted_network.png"
DAYS, SEEDS, SD = 42, (11, 12, 13), 0.01
Z_98 = 2.326
"""98 % of normal deviations are within so many standard deviations."""
BOUND, HELD_OUT_WEEK = 10.0, slice(48 * 35, 48 * 42)
LEVELS_AT = slice(48 * 36 + 24, 48 * 36 + 28)
WAYS: dict[str, tuple[dict[str, bool], dict[str, Any]]] = {
    "all inputs": ({}, {}),
    "no kvar": ({"kvar": True}, {}),
    "no transformer voltage: 3 highest": ({"transformer": True}, {}),
    "no transformer voltage: nothing": ({"transformer": True}, {"transformer": "none"}),
    "neither": ({"kvar": True, "transformer": True}, {}),
    "all, Huber": ({}, {"loss": "huber"}),
    "all, any sign": ({}, {"signs": False}),
    "all, hardly a ridge": ({}, {"ridge": 1e-4}),
    "all, hardly a ridge, any sign": ({}, {"ridge": 1e-4, "signs": False}),
}


def on_phases(tables: dict[str, Any], seed: int) -> dict[str, Any]:
    """The same feeder on phases: mutual impedances of lines, a third of each rating per phase, customers on one."""
    branches = tables["branches"].copy()
    share = np.where(branches["kind"].eq("line"), 0.35, 0.0)
    for column in ("r_ohm", "x_ohm"):
        own = branches[column].to_numpy()
        branches[column] = [f"{z} | {z * m} {z} | {z * m} {z * m} {z}" for z, m in zip(own, share, strict=True)]
    branches["rating_kva"] /= 3.0
    people = tables["participants"]
    phases = np.random.default_rng(seed).choice(list("abc"), len(people))
    return {
        **tables,
        "name": f"{tables['name']} on phases",
        "buses": tables["buses"].assign(phases="abc"),
        "branches": branches,
        "participants": people.assign(phases=phases),
    }


def feeders() -> Iterator[tuple[str, int, ao.Case]]:
    """Name, seed and case."""
    for seed in SEEDS:
        tables = synthetic_tables(40, DAYS, seed)
        yield f"balanced, seed {seed}", seed, ao.from_tables(**tables).with_ratings(factor=BOUND)
        yield f"phases, seed {seed}", seed, ao.from_tables(**on_phases(tables, seed)).with_ratings(factor=BOUND)
    yield "balanced, seed 11, as it is", 11, ao.from_tables(**synthetic_tables(40, DAYS, 11))


def rating_of(case: ao.Case) -> float:
    """What the transformer takes, all phases together: known from its plate."""
    b = case.feeder.branch_kind.index("transformer")
    return float(case.feeder.rating_kva[b]) * len(case.feeder.branch_phases[b])


def judged(case: ao.Case, seed: int, way: str) -> tuple[ao.FittedNetwork, dict[str, Any]]:
    """A fit and its row of the table."""
    lacks, options = WAYS[way]
    data = ao.synthetic_meters(case, served=0.3, source_sd_pu=SD, seed=seed).without(**lacks)
    since = time.perf_counter()
    fitted = ao.fit_network(data, rating_kva=rating_of(case), **options)
    seconds = time.perf_counter() - since
    v = case.feeder.v_source_pu
    report = ao.fit_report(case, fitted, LEVELS_AT, source_pu=(v - Z_98 * SD, v + Z_98 * SD))
    at = "known" if ("held out", "known") in report.errors.index else "run"
    read, run = report.errors.loc[("held out", at)], report.errors.loc[("held out", "run")]
    row: dict[str, Any] = {"mean_v": read["mean_v"], "p99_v": read["p99_v"], "train_v": report.errors["mean_v"].iloc[0]}
    row |= {"run_v": run["mean_v"], "beyond_pct": run["beyond_pct"], "margin_v": report.margin_v}
    row |= {"sensitivity": report.sensitivity_error, "together_pct": report.together_pct, "seconds": seconds}
    for d, values in report.table.iterrows():
        row |= {f"{d}_{k}": v for k, v in values.items()}
    return fitted, row


def runs(name: str, case: ao.Case, fitted: ao.FittedNetwork, way: str) -> Iterator[str]:
    """Rows of a table: mechanisms on a fitted network and on the model, judged on the true feeder by AC power flow."""
    busy = case.with_scenario(import_scale=4.0, export_scale=4.0)
    there = {way: (fitted.case_of(busy), fitted), "model": (busy, None)}
    for by, (on, network) in there.items():
        if by == "model" and way != "all inputs":
            continue
        for mechanism in ("equal_doe", "amm"):
            run = ao.simulate(on, mechanism, network=network, steps=HELD_OUT_WEEK)
            v = ao.replay_on(busy, run).violations
            s = run.summary
            yield (
                f"| {name} | {by} | `{mechanism}` | {s['unserved_mwh']:.3f} | {s['curtailed_mwh']:.3f} |"
                f" {v.voltage} | {1000 * v.worst_voltage.excess:.1f} | {v.thermal} |"
            )


TOLD = ("feeder", "inputs and way", "error trained, held out, V", "p99", "in a run", "beyond margins", "margin, V")
TOLD += ("sensitivities off", "all together")
for _d in ao.DIRECTIONS:
    TOLD += (f"{_d}: fit, AC, kW", "fit off", "model off", "AC breaks", "worst, pu")
TOLD += ("extrapolation",)
SHORT = ("feeders", "inputs and way", "error held out, V", "p99", "in a run", "sensitivities off", "all together")
SHORT += ("import off", "model", "export off", "model", "feeders on which AC breaks: import, export")
RUNS = ("feeder", "network", "mechanism", "unserved, MWh", "curtailed, MWh", "AC voltage violations")
RUNS += ("worst, 1/1000 pu", "AC thermal violations")


def under(names: tuple[str, ...], rows: list[str]) -> str:
    """A table of Markdown."""
    return "\n".join([f"| {' | '.join(names)} |", "|---" * len(names) + "|", *rows]) + "\n"


def line(name: str, way: str, r: dict[str, Any]) -> str:
    """A row of the table."""
    sides = [
        f"{r[f'{d}_fit_kw']:.2f}, {r[f'{d}_ac_kw']:.2f} | {r[f'{d}_fit_error_pct']:+.0f} % |"
        f" {r[f'{d}_model_error_pct']:+.0f} % | {r[f'{d}_broken_pct']:.0f} % | {r[f'{d}_worst_pu']:.3f}"
        for d in ao.DIRECTIONS
    ]
    return (
        f"| {name} | {way} | {r['train_v']:.2f}, {r['mean_v']:.2f} | {r['p99_v']:.2f} | {r['run_v']:.2f} |"
        f" {r['beyond_pct']:.1f} % | {r['margin_v']:.1f} |"
        f" {100 * r['sensitivity']:.0f} % | {r['together_pct']:+.0f} % |"
        f" {sides[0]} | {sides[1]} | {r['import_extrapolation']:.1f}, {r['export_extrapolation']:.1f} |"
    )


def pictured(table: pd.DataFrame) -> None:
    """Voltage error against sensitivity error, and levels over those of AC."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    table = table[~table["feeder"].str.endswith("as it is")]
    colours = plt.get_cmap("tab10")
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5), width_ratios=(1, 1.35), layout="constrained")
    marks = (("balanced", "o"), ("phases", "^"))
    for k, way in enumerate(WAYS):
        for kind, mark in marks:
            own = table[table["way"].eq(way) & table["feeder"].str.startswith(kind)]
            label = f"{k + 1}  {way}" if kind == "balanced" else None
            left.scatter(own["mean_v"], 100 * own["sensitivity"], color=colours(k), marker=mark, s=40, label=label)
            for at, d in ((-0.17, "import"), (0.17, "export")):
                ratio, x = 1.0 + own[f"{d}_fit_error_pct"] / 100.0, np.full(len(own), k + at)
                full = own[f"{d}_broken_pct"] > 0
                right.scatter(x[full], ratio[full], color="tab:red", marker=mark, s=45)
                right.scatter(x[~full], ratio[~full], facecolors="none", edgecolors="tab:blue", marker=mark, s=45)
                right.text(k + at, 0.47, d[:2], ha="center", fontsize=8, color="0.4")
    left.set(xlabel="error of held-out voltages, V, mean", ylabel="error of sensitivities, %", yscale="log")
    left.set_title("Who reads voltages well may know little of sensitivities", fontsize=10)
    left.set_yticks((30, 50, 100, 200, 500), ["30", "50", "100", "200", "500"])
    left.minorticks_off()
    left.legend(fontsize=7, loc="upper right")
    left.grid(alpha=0.3, which="both")
    right.axhline(1.0, color="0.3", linewidth=1)
    right.set(
        ylabel="equal level by the fit / by AC", ylim=(0.45, None), xlabel="inputs and way, as numbered on the left"
    )
    right.set_xticks(range(len(WAYS)), [str(k + 1) for k in range(len(WAYS))])
    right.set_title("Envelopes: red breaks a limit on AC; circles balanced, triangles on phases", fontsize=10)
    right.grid(alpha=0.3, axis="y")
    figure.savefig(PICTURE, dpi=110)


def means(table: pd.DataFrame) -> Iterator[str]:
    """Rows of means over seeds, where voltages bind."""
    bound = table[~table["feeder"].str.endswith("as it is")]
    kind = bound["feeder"].str.split(",").str[0]
    off = [f"{d}_{by}_error_pct" for d in ao.DIRECTIONS for by in ("fit", "model")]
    for (group, way), own in bound.groupby([kind, "way"], sort=False):
        mean = own[["mean_v", "p99_v", "run_v", "sensitivity", "together_pct", *off]].mean()
        broken = [str(int((own[f"{d}_broken_pct"] > 0).sum())) for d in ao.DIRECTIONS]
        yield (
            f"| {group} | {way} | {mean['mean_v']:.2f} | {mean['p99_v']:.2f} | {mean['run_v']:.2f} |"
            f" {100 * mean['sensitivity']:.0f} % | {mean['together_pct']:+.0f} % |"
            + "".join(f" {mean[o]:+.0f} % |" for o in off)
            + f" {', '.join(broken)} of {len(own)} |"
        )


def main() -> None:
    """Everything, into a table and a picture."""
    rows, lines, replayed = [], [], []
    for name, seed, case in feeders():
        as_it_is = name.endswith("as it is")
        for way in ("all inputs", "neither") if as_it_is else WAYS:
            fitted, row = judged(case, seed, way)
            rows.append({"feeder": name, "way": way, **row})
            lines.append(line(name, way, row))
            if way in ("all inputs", "neither") and seed == SEEDS[0]:
                replayed += runs(name, case, fitted, way)
    table = pd.DataFrame(rows)
    plain, robust = (table[table["way"].eq(w)]["seconds"].median() for w in ("all inputs", "all, Huber"))
    text = [
        "# Networks fitted to meters\n",
        "`python benchmarks/robustness/fitted_network.py`; its first lines say what is measured on what.\n",
        f"A fit to 1,512 half-hours of some 30 meters took {plain:.2f} s, with Huber's loss {robust:.1f} s.\n",
        "## Means over three feeders\n",
        under(SHORT, list(means(table))),
        "## All\n",
        under(TOLD, lines),
        "## Runs\n",
        "The last week, four times the requests, the source at the case's voltage; violations are pairs of an element",
        "and an interval, by AC power flow on the true feeder.\n",
        under(RUNS, replayed),
    ]
    TABLE.write_text("\n".join(text).rstrip() + "\n", encoding="utf-8")
    pictured(table)


if __name__ == "__main__":
    main()
