"""Supply lost in steps: bounded prices of the AMM, marginal prices, and who is still served.

    python benchmarks/shocks.py

A day of a synthetic feeder whose source sends at most what is needed at the peak, of which 0 to 50 % are lost all day.
With P the supply, D essential (inflexible) and R flexible demand, the deficit is 1 - (P - D)/R within [0, 1], so that a
price of the AMM moves by at most (highest - lowest) x lost kW / R: that is held in every interval and step. Marginal
prices (lmp) have the worth of what is not served, here 10 per kWh, as their only bound. A kWh from the source costs
0.25. Writes benchmarks/results/shocks.md and docs/images/shocks.png.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

import amm_opt as ao

HERE = Path(__file__).parent
CASE, HEAD = "synthetic:buses=70,days=1,seed=3", "b-mv0"
KEPT = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
LOWEST, HIGHEST, WORTH, ENERGY = 0.10, 0.40, 10.0, 0.25
MECHANISMS = {"AMM": "amm", "lmp": f"lmp:value={WORTH},source_price={ENERGY}"}


def main() -> None:
    """Run the study, check the bounds, keep table and picture."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    matplotlib.use("Agg")
    case = ao.load_case(CASE).with_scenario(export_scale=0.0)
    asked = case.requests(0, case.n_steps)
    essential, flexible = asked.inflexible_kw.sum(axis=1), asked.import_request_kw.sum(axis=1)
    supply = float((essential + flexible).max())
    case = case.with_scenario(export_scale=0.0, limits={HEAD: {"import_limit_kw": supply}})
    price, served = {}, {}
    for name, spec in MECHANISMS.items():
        study = ao.Study(case, spec, parameters={"scenario.mv_capacity_scale": list(KEPT)})
        with tempfile.TemporaryDirectory() as folder:
            result = study.run(out=Path(folder) / "study", keep_runs=True)
            runs = [result.run(k) for k in range(len(KEPT))]
            price[name] = np.stack([np.asarray(run.allocation.import_price) for run in runs])
            served[name] = np.array([run.allocation.import_kw.sum() for run in runs]) / flexible.sum()
    amm, lmp = price["AMM"], price["lmp"]
    assert LOWEST - 1e-9 <= amm.min() <= amm.max() <= HIGHEST + 1e-9
    lost = -np.diff(KEPT) * supply
    some = flexible > 0
    bound = (HIGHEST - LOWEST) * lost[:, None] / flexible[some]
    step = np.abs(np.diff(amm[:, some], axis=0)).max(axis=2)
    assert (step <= bound + 1e-6).all(), (step - bound).max()
    kept = np.array(KEPT)
    short = np.maximum(essential - kept[:, None] * supply, 0.0).sum(axis=1)
    share = 100 * (1 - short / essential.sum())
    rows = [
        "| lost, % | AMM price, mean | highest | step / bound | marginal price, mean | highest | intervals above 1 |"
    ]
    rows[0] += " essential served, % | flexible served, AMM, % | lmp, % |"
    rows.append("|---" * 10 + "|")
    for k, keep in enumerate(KEPT):
        used = f"{(step[k - 1] / bound[k - 1]).max():.2f}" if k else ""
        spikes = int((lmp[k].max(axis=1) > 1.0).sum())
        rows.append(
            f"| {100 * (1 - keep):.0f} | {amm[k].mean():.3f} | {amm[k].max():.3f} | {used} | {lmp[k].mean():.3f}"
            f" | {lmp[k].max():.2f} | {spikes} | {share[k]:.2f} | {100 * served['AMM'][k]:.1f}"
            f" | {100 * served['lmp'][k]:.1f} |"
        )
    page = f"""# Supply lost in steps

`python benchmarks/shocks.py` on `{CASE}` without export, supply {supply:.0f} kW at the head, {case.n_steps} intervals.

Prices per kWh of all participants and intervals; AMM within [{LOWEST}, {HIGHEST}]. Step / bound: the largest change of
a price from the row above, in multiples of (highest - lowest) x lost kW / flexible kW of its interval.

"""
    (HERE / "results" / "shocks.md").write_text(page + "\n".join(rows) + "\n", encoding="utf-8")
    picture(100 * (1 - kept), price, 100 * np.stack([served["AMM"], served["lmp"]]), share)
    print("\n".join(rows))


def picture(lost: np.ndarray, price: dict[str, np.ndarray], flexible: np.ndarray, essential: np.ndarray) -> None:
    """Mean and highest price, and what is served, against what is lost."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for color, (name, values) in zip(("C0", "C3"), price.items(), strict=True):
        left.plot(lost, values.max(axis=(1, 2)), marker="o", color=color, label=f"{name}, highest")
        left.plot(lost, values.mean(axis=(1, 2)), marker=".", color=color, linestyle="--", label=f"{name}, mean")
    left.axhspan(LOWEST, HIGHEST, color="C0", alpha=0.12)
    left.set(xlabel="supply lost, %", ylabel="price per kWh", yscale="log")
    left.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8)
    right.plot(lost, essential, marker="o", color="0.3", label="essential")
    right.plot(lost, flexible[0], marker="o", color="C0", label="flexible, AMM")
    right.plot(lost, flexible[1], marker=".", color="C3", linestyle="--", label="flexible, lmp")
    right.set(xlabel="supply lost, %", ylabel="served, %", ylim=(0, 102))
    right.legend()
    figure.savefig(HERE.parent / "docs" / "images" / "shocks.png", dpi=110)


if __name__ == "__main__":
    main()
