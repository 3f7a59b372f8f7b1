"""Networks fitted to synthetic meters of a real LV feeder of CSIRO's, against that feeder by AC power flow on phases.

    python benchmarks/robustness/fitted_csiro.py FOLDER

FOLDER is what ``amm-opt import csiro`` wrote. The LV feeder stands alone behind its transformer, whose upper side is
the source; ratings as they are. Meters: six weeks of half-hours from 9 January 2023, the last quarter held out, 30 % of
what is requested served, noise and source as in ``fitted_network.py``. Levels: four half-hours of a held-out noon,
within 98 % of the source's voltages.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

import amm_opt as ao

RESULTS = Path(__file__).parents[1] / "results" / "fitted_csiro_mv_lv.md"
FEEDERS = ("LV32_100bus",)
FIRST, STEPS, SD, SEED, Z_98 = "2023-01-09", 48 * 42, 0.01, 11, 2.326
NOON = 48 * 36 + 24
WAYS: dict[str, tuple[dict[str, bool], dict[str, Any]]] = {
    "all inputs": ({}, {}),
    "no kvar": ({"kvar": True}, {}),
    "no transformer voltage: 3 highest": ({"transformer": True}, {}),
    "no transformer voltage: nothing": ({"transformer": True}, {"transformer": "none"}),
    "all, no more than was read": ({}, {"extrapolation": 1.0}),
    "all, twice what was read": ({}, {"extrapolation": 2.0}),
}


def alone(case: ao.Case, name: str) -> ao.Case:
    """An LV feeder behind its transformer, whose upper side is the source."""
    tables = case.tables()
    buses, branches, people = (tables[t] for t in ("buses", "branches", "participants"))
    own = set(buses["name"][buses["feeder"].eq(name)])
    into = branches[branches["to_bus"].isin(own) & ~branches["from_bus"].isin(own)]
    head = set(into["from_bus"])
    buses = buses[buses["name"].isin(own | head)].copy()
    buses["v_source_pu"] = np.where(buses["name"].isin(head), case.feeder.v_source_pu, np.nan)
    branches = branches[branches["from_bus"].isin(own | head) & branches["to_bus"].isin(own)]
    people = people[people["bus"].isin(own)]
    kept = {"buses": buses, "branches": branches, "participants": people, "profiles": tables["profiles"]}
    for table in ("series", "sessions"):
        if table in tables:
            kept[table] = tables[table][tables[table]["participant"].isin(people["name"])]
    return ao.from_tables(name=name, scenario=case.scenario, **kept)


def row(case: ao.Case, data: ao.MeterData, way: str, noon: slice) -> str:
    """A fit and its line of the table."""
    lacks, options = WAYS[way]
    b = case.feeder.branch_kind.index("transformer")
    rating = float(case.feeder.rating_kva[b]) * len(case.feeder.branch_phases[b])
    fitted = ao.fit_network(data.without(**lacks), rating_kva=rating, **options)
    v = case.feeder.v_source_pu
    report = ao.fit_report(case, fitted, noon, source_pu=(v - Z_98 * SD, v + Z_98 * SD))
    read = report.errors.loc["held out"].iloc[0]
    told = [f"{read['mean_v']:.2f}, {read['p99_v']:.2f}", f"{100 * report.sensitivity_error:.0f} %"]
    for _, values in report.table.iterrows():
        told.append(f"{values['fit_kw']:.1f}, {values['model_kw']:.1f}, {values['ac_kw']:.1f}")
        told.append(f"{values['extrapolation']:.1f}")
        told.append(f"{values['broken_pct']:.0f} %, {1000 * values['worst_pu']:.1f} mpu")
    return f"| {case.name} | {way} | {' | '.join(told)} |"


def main(folder: str) -> None:
    """Every feeder and way, into a table."""
    case, lines = ao.load_case(folder), []
    start = case.span(slice(FIRST, None))[0]
    for name in FEEDERS:
        small = alone(case, name)
        data = ao.synthetic_meters(small, slice(start, start + STEPS), served=0.3, source_sd_pu=SD, seed=SEED)
        for way in WAYS:
            lines.append(row(small, data, way, slice(start + NOON, start + NOON + 4)))
            print(lines[-1], flush=True)
    heads = ["feeder", "inputs and way", "error held out, mean, p99, V", "sensitivities off"]
    for d in ao.DIRECTIONS:
        heads += [f"{d} by fit, model, AC, kW", f"{d}: level over what was read", f"{d}: breaks on AC"]
    head = ["# Networks fitted to meters of CSIRO's feeders", ""]
    head += ["`python benchmarks/robustness/fitted_csiro.py FOLDER`; its first lines say what is measured on what.", ""]
    table = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads), *lines]
    RESULTS.write_text("\n".join([*head, *table]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
