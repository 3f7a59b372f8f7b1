"""How fast delivery ratios reach their target under fp_amm on IEEE test systems, and how equal weights do.

    python benchmarks/lottery/fairness_error.py ieee14 ieee57 ieee118 --seeds 10 --steps 5000

Set-up. Loads are requests, doubled (``--scale``), so that the plants' offers, constant at 1.3 times their least-cost
dispatch at nominal load, cover some four fifths of them: generation is scarce, by day more than by night. Ratings are
fifteen times those of the cases (``--ratings``): the source's cases have no ratings within reach either. Supply is in
proportion to offers; where no rating is met, any dispatch hosts the same, so that the feasible set is that of DC
optimal power flow. The error of a node is |F* - F|, its delivery ratio's distance from the target; weak buses are the
tenth of the nodes with the lowest ratios under equal weights of the first seed.

Writes benchmarks/results/fairness_error.md and .csv (error over time, means over seeds).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

import amm_opt as ao
from amm_opt.arrays import FloatArray
from formulations import FPAMM, LMP

RESULTS = Path(__file__).parents[1] / "results"
MARGIN = 1.3
FIRST = 336
"""Intervals before errors count: a week."""
WEIGHTS = ("equal", "deficit")


@dataclass(frozen=True)
class Runs:
    """What the seeds of one kind of weights on one system came to."""

    ratio: FloatArray
    broken: float
    seconds: float
    shares: FloatArray


def system(name: str, steps: int, import_scale: float, ratings: float = 1.0) -> ao.Case:
    """One of the meshed cases, long enough, with plants that offer in proportion to their dispatch."""
    case = ao.load_case(name)
    tables = case.tables()
    flat = case.with_tables(series=tables["series"].assign(profile="one"))
    dispatch = ao.simulate(flat, LMP(source_price=None), steps=1).allocation.export_kw[0]
    kw = dict(zip(case.participant_names, MARGIN * dispatch, strict=True))
    series, export = tables["series"], tables["series"]["quantity"].eq("export")
    series["scale_kw"] = series["scale_kw"].where(~export, series["participant"].map(kw))
    case = case.with_tables(series=series[series["scale_kw"] > 1.0])
    case = case.with_scenario(import_scale=import_scale, capacity_scale=ratings)
    return case.repeat(-(-steps // case.n_steps))


def ratios(run: ao.Run) -> FloatArray:
    """(T, loads) delivery ratios so far."""
    asked, served = run.requests.import_request_kw, run.allocation.import_kw
    who = asked.sum(axis=0) > 0
    return np.cumsum(served[:, who], axis=0) / np.cumsum(asked[:, who], axis=0)


def slope(error: FloatArray) -> float:
    """Of log error over log time, at times equally spaced in it."""
    at = np.unique(np.geomspace(FIRST, len(error) - 1, 40).astype(int))
    return float(np.polyfit(np.log(at), np.log(np.maximum(error[at], 1e-12)), 1)[0])


def interval(values: list[float]) -> tuple[float, float]:
    """Mean, and half of its 95 % confidence interval by Student's t."""
    n = len(values)
    half = stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n) if n > 1 else np.nan
    return float(np.mean(values)), float(half)


def runs(case: ao.Case, weights: str, target: float, seeds: int, steps: int) -> Runs:
    """Every seed; ratios of shape (seeds, T, loads)."""
    found, seconds, broken, shares = [], 0.0, 0.0, []
    for seed in range(seeds):
        mechanism, start = FPAMM(weights=weights, target=target, supply="plants", seed=seed), time.process_time()
        run = ao.simulate(case, mechanism, steps=steps)
        seconds = max(seconds, time.process_time() - start)
        broken += run.summary["thermal_violations"] + len(run.failed_steps)
        found.append(ratios(run))
        both = run.requests.import_request_kw.sum(axis=1), run.requests.export_request_kw.sum(axis=1)
        shares.append([np.minimum(*both).sum() / both[0].sum(), run.allocation.import_kw.sum() / both[0].sum()])
    return Runs(np.stack(found), broken, seconds, np.array(shares).mean(axis=0))


def row(name: str, weights: str, made: Runs, target: float, weak: Any, equal_peak: float) -> dict[str, Any]:
    """One line of the table."""
    error = np.abs(target - made.ratio)
    mean, half = interval([slope(e.mean(axis=1)) for e in error])
    spread = slope(made.ratio.std(axis=0, ddof=1).mean(axis=1)) if len(made.ratio) > 1 else np.nan
    peak = float(error[:, FIRST:, weak].max(axis=(1, 2)).mean())
    return {
        "system": name,
        "weights": weights,
        "slope of error": f"{mean:.2f} +- {half:.2f}",
        "slope of spread over seeds": f"{spread:.2f}",
        "mean error at the end": f"{error[:, -1].mean():.5f}",
        "largest": f"{error[:, -1].max():.4f}",
        "peak of weak buses": f"{peak:.4f}",
        "against equal": "" if weights == "equal" else f"{100 * (peak / equal_peak - 1):+.0f} %",
        "supply / asked": f"{made.shares[0]:.3f}",
        "served / asked": f"{made.shares[1]:.3f}",
        "broken or failed": f"{made.broken:g}",
        "s per run": f"{made.seconds:.0f}",
    }


def main() -> None:
    """Print and keep one line per system and kind of weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("systems", nargs="+")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--target", type=float, default=0.8)
    parser.add_argument("--scale", type=float, default=2.0, help="on every request")
    parser.add_argument("--ratings", type=float, default=15.0, help="on every rating")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    curves = {}
    for name in given.systems:
        case, weak, equal_peak = system(name, given.steps, given.scale, given.ratings), None, np.nan
        for weights in WEIGHTS:
            made = runs(case, weights, given.target, given.seeds, given.steps)
            if weak is None:
                weak = np.argsort(made.ratio[0, -1])[: max(1, made.ratio.shape[2] // 10)]
                equal_peak = float(np.abs(given.target - made.ratio[:, FIRST:, weak]).max(axis=(1, 2)).mean())
            rows.append(row(name, weights, made, given.target, weak, equal_peak))
            curves[f"{name} {weights}"] = np.abs(given.target - made.ratio).mean(axis=(0, 2))
            print(rows[-1], flush=True)
    words = " ".join(given.systems)
    command = f"python benchmarks/lottery/fairness_error.py {words} --seeds {given.seeds} --steps {given.steps}"
    lines = ["| " + " | ".join(rows[0]) + " |", "|---" * len(rows[0]) + "|"]
    lines += ["| " + " | ".join(r.values()) + " |" for r in rows]
    page = f"""# Fairness error of fp_amm

`{command} --target {given.target} --scale {given.scale} --ratings {given.ratings}`

Error |F* - F| at F* = {given.target}, its slope in log-log from interval {FIRST} on with 95 % intervals (Student's t
over seeds); the spread is the standard deviation over seeds of each node's ratio, averaged over nodes. Peak of the
error of weak buses from interval {FIRST} on, mean over seeds. Seconds of processor time.

"""
    (RESULTS / "fairness_error.md").write_text(page + "\n".join(lines) + "\n", encoding="utf-8")
    at = np.unique(np.geomspace(1, given.steps, 60).astype(int)) - 1
    kept = pd.DataFrame({"interval": at + 1} | {k: v[at] for k, v in curves.items()})
    kept.to_csv(RESULTS / "fairness_error.csv", index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
