"""Certified envelopes against those of LinDistFlow: points that break a limit on AC, price in energy, seconds, orders.

    python benchmarks/robustness/certified.py

Feeders: five synthetic ones (300 buses, seeds 1 to 5, loads and requests 1.6 times, exports 1.5 times) and mv33lv, once
as it ships and once without its contract upstream. Envelopes: greedy_doe, the largest total, one direction alone.
Points: with every share of the box, random corners, whole LV feeders at one corner, the interior, and everybody; 10,002
for each feeder and direction, seed 7. Writes benchmarks/results/certified.md and docs/images/certified.png.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import amm_opt as ao
from amm_opt.grid import Grid
from amm_opt.network import ACNetwork, Certified, LinDistFlow
from amm_opt.network.excess import excesses
from amm_opt.solve.solver import ProgramSolver
from amm_opt.tolerances import THERMAL_VIOLATION, VOLTAGE_VIOLATION_PU
from formulations import GreedyDOE

ROOT = Path(__file__).parents[2]
TABLE, PICTURE = ROOT / "benchmarks" / "results" / "certified.md", ROOT / "docs" / "images" / "certified.png"
POINTS, AT_ONCE, SEED, ORDERS = 10_000, 500, 7, 200
KINDS = (LinDistFlow, Certified)


def feeders() -> Iterator[tuple[str, ao.Case, dict[str, int]]]:
    """Name, case, and the interval of each direction: the one that asks for most."""
    for seed in range(1, 6):
        case = ao.load_case(f"synthetic:buses=300,days=2,seed={seed}")
        case = case.with_scenario(import_scale=1.6, load_scale=1.6, export_scale=1.5)
        asked = case.requests(0, case.n_steps)
        most = {
            "import": (asked.import_request_kw + asked.inflexible_kw).sum(axis=1),
            "export": (asked.export_request_kw - asked.inflexible_kw).sum(axis=1),
        }
        yield f"synthetic, seed {seed}", case, {d: int(np.argmax(kw)) for d, kw in most.items()}
    case = ao.load_case("mv33lv")
    steps = {d: case.times.get_loc(t) for d, t in (("import", "2016-01-01 23:00"), ("export", "2016-05-26 12:00"))}
    yield "mv33lv", case, steps
    yield "mv33lv, no contract", case.with_scenario(limits={}), steps


def envelope(case: ao.Case, kind: Any, asked: ao.Requests, direction: str) -> tuple[Grid, np.ndarray, float]:
    """The box of one direction, and the CPU seconds of a second solve."""
    grid, mechanism = Grid(case, kind(case.feeder)), GreedyDOE()
    solver = ProgramSolver(mechanism.program(grid)[direction], grid, [None])
    held = {"held_kw": np.zeros(grid.n)} if grid.boxes and direction == "import" else {}

    def solve(values: Any) -> Any:
        return solver.solve({**values, **held}, asked, *grid.limits(asked))

    seconds = 0.0
    for _ in range(2):
        since = time.process_time()
        found = mechanism._envelope(grid, solve, direction, asked)
        seconds = time.process_time() - since
    return grid, np.maximum(found["envelope"], 0.0), seconds


def shares(case: ao.Case, rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, n) places in the box: a third each of random corners, whole LV feeders at one corner, interior."""
    n, home, third = case.n_participants, case.lv_feeder, -(-count // 3)
    corners = (rng.random((third, n)) < rng.random((third, 1))).astype(float)
    whole = (rng.random((third, int(home.max()) + 2)) < rng.random((third, 1))).astype(float)[:, home]
    return np.concatenate([corners, whole, rng.random((third, n))])[:count]


def tested(
    grid: Grid, asked: ao.Requests, direction: str, box: np.ndarray
) -> tuple[int, int, float, float, np.ndarray]:
    """Points, those that break a limit, the largest loading, the smallest distance to a band in pu, loadings."""
    case, rng = grid.case, np.random.default_rng(SEED)
    ac, limits = ACNetwork(case.feeder, threads=-1), LinDistFlow(case.feeder)
    lots = [shares(case, rng, AT_ONCE) for _ in range(POINTS // AT_ONCE)] + [np.ones((2, case.n_participants))]
    lots[-1][1] = 0.0
    count = bad = 0
    loadings, room = [], np.inf
    for lot in lots:
        points = lot * box
        powers = (points, 0.0) if direction == "import" else (0.0, points)
        load = np.broadcast_to(asked.inflexible_kw, points.shape)
        state = ac.flow(*Grid(case, limits).node_injections(load, *powers, asked.inflexible_kvar))
        assert state.solved.all()
        loading = state.loading_kva / limits.rating_kva
        if len(metered := limits.metered):
            loading[:, metered.branch] = np.maximum(loading[:, metered.branch], metered.loading(state.p_flow_kw))
        thermal, voltage = excesses(limits, state)
        bad += int(((thermal > THERMAL_VIOLATION).any(axis=1) | (voltage > VOLTAGE_VIOLATION_PU).any(axis=1)).sum())
        count += len(points)
        loadings.append(loading[:, 1:].max(axis=1))
        v, f = state.v_pu[:, 1:], case.feeder
        room = min(room, float((v - f.v_min_pu[1:]).min()), float((f.v_max_pu[1:] - v).min()))
    all_loadings = np.concatenate(loadings)
    return count, bad, float(all_loadings.max()), room, all_loadings


def orders(case: ao.Case, step: int) -> tuple[int, int, float]:
    """Random orders at the head inside the bands of the AMM's boxes: how many, how many admissible, the worst miss."""
    run = ao.simulate(case, "amm", network="certified", steps=slice(step - 1, step + 1))
    band, rng = ao.certificates(run), np.random.default_rng(SEED)
    assert band["certified"].all()
    count = admissible = 0
    miss = 0.0
    for k in range(ORDERS // 2):
        order = (band["head_low_kw"] + rng.random(2) * (band["head_high_kw"] - band["head_low_kw"])).to_numpy()
        way = {"by": "priority", "priority": rng.random(case.n_participants)} if k % 2 else {}
        done = ao.disaggregate(run, order, **way)
        count += len(order)
        admissible += int(done.admissible.sum())
        miss = max(miss, float(np.abs(done.head_kw - order).max()))
    return count, admissible, miss


def main() -> None:
    """Everything, into a table and a picture."""
    rows, pictured = [], []
    for name, case, steps in feeders():
        for direction, step in steps.items():
            asked, found = case.requests(step, step + 1).interval(0), {}
            for kind in KINDS:
                grid, box, seconds = envelope(case, kind, asked, direction)
                found[kind.name] = (box.sum(), seconds, *tested(grid, asked, direction, box))
                if kind is Certified:
                    powers = (box, 0.0) if direction == "import" else (0.0, box)
                    radius = float(grid.network.certificate(*grid.injected(asked, *powers)).radius)
            linear, certified = found["lindistflow"], found["certified"]
            price = 100.0 * (1.0 - certified[0] / linear[0])
            rows.append(
                f"| {name} | {direction} | {linear[0]:,.1f} | {linear[3]:,} | {linear[4]:.4f} | {certified[0]:,.1f} |"
                f" {price:+.2f} | {certified[3]:,} | {certified[4]:.4f} | {certified[5]:+.5f} | {radius:.3f} |"
                f" {certified[1]:.2f} |"
            )
            pictured.append((f"{name}\n{direction}", linear[6], certified[6]))
            print(rows[-1], flush=True)
    asked = []
    for name, case, steps in feeders():
        for step in sorted(set(steps.values())):
            count, good, miss = orders(case, step)
            asked.append(f"| {name} | {case.times[step]:%Y-%m-%d %H:%M} | {count} | {good} | {1000 * miss:.2g} |")
            print(asked[-1], flush=True)
    TABLE.write_text(page(rows, asked))
    picture(pictured)


def page(rows: list[str], asked: list[str]) -> str:
    """The table as Markdown."""
    head = [
        "# Certified envelopes",
        "",
        f"`python benchmarks/robustness/certified.py`, {POINTS + 2:,} AC points for each box, seed {SEED}; 2 cores,",
        "shared.",
        "",
        "Total envelope in kW of flexible power, points that break a limit on AC power flow, the largest loading among",
        "all points, what the certified box costs, its smallest distance to a voltage band in pu, the bound of the",
        "spectral radius, and the CPU seconds of its program, compiled before.",
        "",
        "| feeder | direction | LinDistFlow, kW | broken | loading | certified, kW | price, % | broken | loading |"
        " band, pu | radius | s |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    tail = [
        "",
        "Random orders of power at the head within the flexibility band of the AMM's boxes, by the same fraction and",
        "by random priorities in turn; the worst miss in W.",
        "",
        "| feeder | second of two intervals | orders | admissible | worst miss, W |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows, *tail, *asked]) + "\n"


def picture(pictured: list[tuple[str, np.ndarray, np.ndarray]]) -> None:
    """Largest loading of every point, both boxes side by side."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = [row for row in pictured if row[1].max() > 1.0 + THERMAL_VIOLATION]
    figure, axes = plt.subplots(1, len(shown), figsize=(1.6 * len(shown), 4.2), sharey=True, squeeze=False)
    for axis, (title, linear, certified) in zip(axes[0], shown, strict=True):
        for at, (loading, colour) in enumerate(((linear, "tab:orange"), (certified, "tab:blue"))):
            jitter = np.random.default_rng(at).uniform(-0.3, 0.3, len(loading))
            axis.scatter(at + jitter, loading, s=1.5, alpha=0.25, color=colour, linewidths=0, rasterized=True)
        axis.axhline(1.0, color="black", linewidth=0.8)
        axis.set_xticks([0, 1], ["linear", "certified"], fontsize=8)
        axis.set_title(title, fontsize=8)
    axes[0][0].set_ylabel("largest loading of a point on AC power flow")
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=130)


if __name__ == "__main__":
    main()
