"""How fast delivery ratios reach their target under fp_amm on IEEE test systems, and how equal weights do.

    python benchmarks/fairness_error.py ieee14 ieee57 ieee118 --seeds 10 --steps 5000

Loads are requests; the plants' offers are their least-cost dispatch at nominal load, with a margin, so that flows in
proportion to them are those that ratings were made of. The error of a node is |F* - F|, its delivery ratio's distance
from the target; weak buses are the tenth of the nodes with the lowest ratios under equal weights.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

import amm_opt as ao
from amm_opt.arrays import FloatArray
from formulations import FPAMM, LMP

MARGIN = 1.3
FIRST = 336
"""Intervals before errors count: a week."""


def system(name: str, steps: int, import_scale: float) -> ao.Case:
    """One of the meshed cases, long enough, with plants that offer in proportion to their dispatch."""
    case = ao.load_case(name)
    tables = case.tables()
    flat = case.with_tables(series=tables["series"].assign(profile="one"))
    dispatch = ao.simulate(flat, LMP(source_price=None), steps=1).allocation.export_kw[0]
    kw = dict(zip(case.participant_names, MARGIN * dispatch, strict=True))
    series, export = tables["series"], tables["series"]["quantity"].eq("export")
    series["scale_kw"] = series["scale_kw"].where(~export, series["participant"].map(kw))
    case = case.with_tables(series=series[series["scale_kw"] > 1.0])
    return case.with_scenario(import_scale=import_scale).repeat(-(-steps // case.n_steps))


def ratios(run: ao.Run) -> FloatArray:
    """(T, loads) delivery ratios so far."""
    asked, served = run.requests.import_request_kw, run.allocation.import_kw
    who = asked.sum(axis=0) > 0
    return np.cumsum(served[:, who], axis=0) / np.cumsum(asked[:, who], axis=0)


def slope(error: FloatArray) -> float:
    """Of log error over log time, at times equally spaced in it."""
    at = np.unique(np.geomspace(FIRST, len(error) - 1, 40).astype(int))
    return float(np.polyfit(np.log(at), np.log(np.maximum(error[at], 1e-12)), 1)[0])


def main() -> None:
    """Print one line per system and kind of weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("systems", nargs="+")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--target", type=float, default=0.9)
    parser.add_argument("--scale", type=float, default=1.0, help="on every request")
    given = parser.parse_args()
    for name in given.systems:
        case = system(name, given.steps, given.scale)
        peaks: dict[str, FloatArray] = {}
        weak: Any = None
        for weights in ("equal", "deficit", "inverse"):
            slopes, peak, last, seconds, broken = [], [], [], [], 0.0
            for seed in range(given.seeds):
                mechanism = FPAMM(weights=weights, target=given.target, supply="plants", seed=seed)
                start = time.process_time()
                run = ao.simulate(case, mechanism, steps=given.steps)
                seconds.append(time.process_time() - start)
                broken += run.summary["thermal_violations"] + len(run.failed_steps)
                f = ratios(run)
                if weak is None:
                    weak = np.argsort(f[-1])[: max(1, f.shape[1] // 10)]
                error = np.abs(given.target - f)
                slopes.append(slope(error.mean(axis=1)))
                peak.append(float(error[FIRST:, weak].max()))
                last.append(float(error[-1].max()))
            peaks[weights] = np.array(peak)
            half = 1.96 * np.std(slopes, ddof=1) / np.sqrt(len(slopes)) if len(slopes) > 1 else np.nan
            against = 100 * (np.mean(peak) / peaks["equal"].mean() - 1)
            print(f"{name} {weights}: slope {np.mean(slopes):.3f} +- {half:.3f}, largest error {np.mean(last):.5f}")
            print(f"  peak of weak buses {np.mean(peak):.4f} ({against:+.0f} % of equal)")
            print(f"  broken or failed {broken:g}, {max(seconds):.0f} s at most", flush=True)


if __name__ == "__main__":
    main()
