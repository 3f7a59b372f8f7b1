"""Time and memory of a day on streets as a mapping department draws them: cables as chains of many short pieces.

    python benchmarks/size/long_streets.py                # this checkout, under the label "now"
    python benchmarks/size/long_streets.py --label NAME   # the installed one, or that of PYTHONPATH

Writes ``benchmarks/results/size.json`` and ``.md``; figures under other labels stay. Each line is made in a process of
its own: processor time per interval of 48 half-hours, and the largest memory of the process, Python and packages
included. A mechanism that took more than ``LIMIT_S`` is stopped.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from amm_opt.cases.synthetic.generators import charging_sessions, household_series, roof_series, year_profiles

RESULTS = Path(__file__).parents[1] / "results"
NETWORKS = {
    "one street": {"customers": 140, "pieces": 25, "streets": 1},
    "20 streets": {"customers": 1000, "pieces": 1, "streets": 20},
}
"""7,000 buses of which hardly any matter; 2,000 of which all do."""
MECHANISMS = ("amm", "equal_doe", "greedy_doe", "leximin", "pro_rata", "fot:window=1D")
AC = (("amm", "verify"), ("amm", "secure"))
STEPS, LIMIT_S = 48, 600
Record = dict[str, Any]
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
MV = (0.32, 0.12, 0.0)
MAIN = (0.164, 0.074, 0.25)
SERVICE = (0.868, 0.077, 0.1)
"""Ohm per km of a conductor, r and x, and the share that phases have in common."""
Line = tuple[Any, ...]


def long_streets(
    customers: int = 140, pieces: int = 25, streets: int = 1, days: int = 2, seed: int = 0
) -> dict[str, Any]:
    """Tables of distribution transformers with four cables each, from a seed, as arguments of ``from_tables``.

    Vehicles and photovoltaics load cables and transformers beyond what they carry on a day in June.

    Args:
        customers: of all streets, each on one phase at the end of a service cable of its own.
        pieces: of every service cable, and of the main cable between two of them, on average.
        days: of half-hours.
    """
    rng = np.random.default_rng(seed)
    lines: list[Line] = []
    homes: list[str] = []
    source = "hv"
    for s, mine in enumerate(np.array_split(np.arange(customers), streets)):
        lines.append((source, source := f"mv{s}", "line", *_matrices(MV, 0.3), 2000.0, "YNyn0", None))
        lines += _street(f"s{s}", source, len(mine), pieces, rng)
        homes += [str(line[1]) for line in lines if line[-2] == "end" and line[-1] == f"s{s}"]
    columns = ["from_bus", "to_bus", "kind", "r_ohm", "x_ohm", "rating_kva", "vector_group", "feeder"]
    branches = pd.DataFrame([(*line[:6], line[6].replace("end", "YNyn0"), line[7]) for line in lines], columns=columns)
    branches.insert(0, "name", "to-" + branches["to_bus"])
    buses = pd.DataFrame({"name": ["hv", *branches["to_bus"]], "phases": "abc", "v_min_pu": 0.94, "v_max_pu": 1.06})
    buses["feeder"] = [None, *branches.pop("feeder")]
    buses["vn_kv"] = np.where(buses["feeder"].isna(), 11.0, 0.416)
    buses["v_source_pu"] = [1.0] + [np.nan] * len(branches)
    people = pd.DataFrame({"name": [f"c{k}" for k in range(customers)], "bus": homes})
    people["phases"] = rng.choice(list("abc"), customers)
    people["power_factor"], people["connection_import_kw"], people["connection_export_kw"] = 0.95, 23.0, 23.0
    times, shifts = pd.date_range("2030-06-03", periods=48 * days, freq="30min"), 48 * np.arange(days)
    who = people["name"].to_numpy(dtype=object)
    return {
        "name": f"streets-{customers}-{pieces}-{streets}-{seed}",
        "buses": buses,
        "branches": branches,
        "participants": people,
        "profiles": year_profiles(times, 53.5, 3, rng),
        "series": pd.concat([household_series(who, 3, 0.4, 0.4, shifts, rng), roof_series(who, 0.6, (5.0, 10.0), rng)]),
        "sessions": charging_sessions(who, times, rng),
    }


def _street(name: str, above: str, customers: int, pieces: int, rng: np.random.Generator) -> list[Line]:
    """One transformer, and customers along its cables; the last piece to each says ``end``."""
    z_base = 0.416**2 / (0.0024 * customers)
    trace = tuple(_matrix(share * z_base, 0.0) for share in (0.012, 0.04))
    lines: list[Line] = [(above, f"{name}-lv", "transformer", *trace, 0.8 * customers, "Dyn11", name)]
    heads = [f"{name}-lv"] * 4

    def cable(start: str, km: float, of: tuple[float, float, float], kva: float) -> str:
        count = int(rng.integers(max(1, pieces // 2), pieces + pieces // 2 + 1))
        for share in rng.dirichlet(np.full(count, 4.0)):
            lines.append(
                (start, start := f"{name}-{len(lines)}", "line", *_matrices(of, km * share), kva, "YNyn0", name)
            )
        return start

    for k in range(customers):
        heads[k % 4] = cable(heads[k % 4], 1.4 * float(rng.uniform(0.5, 1.5)) / customers, MAIN, 0.3 * customers)
        cable(heads[k % 4], float(rng.uniform(0.005, 0.02)), SERVICE, 23.0)
        lines[-1] = (*lines[-1][:6], "end", name)
    return lines


def _matrices(of: tuple[float, float, float], km: float) -> tuple[str, str]:
    """Lower triangles of a conductor's resistance and reactance."""
    r, x, common = of
    return _matrix(r * km, common), _matrix(x * km, common)


def _matrix(own: float, common: float) -> str:
    m = common * own
    return f"{own:.17g} | {m:.17g} {own:.17g} | {m:.17g} {m:.17g} {own:.17g}"


def measured(network: str, spec: str, ac: str) -> Record:
    """A day in this process, after a little run that loads everything."""
    import amm_opt as ao

    options: dict[str, Any] = {"ac": ac} if ac else {}
    ao.simulate(ao.load_case("synthetic:buses=60,days=1"), spec, steps=slice(34, 36), **options)
    case = ao.from_tables(**long_streets(**NETWORKS[network])).with_scenario(import_scale=2.0, export_scale=2.0)
    began = time.process_time()
    run = ao.simulate(case, spec, steps=STEPS, **options)
    ms = 1000.0 * (time.process_time() - began) / STEPS
    lost = float(run.summary["unserved_mwh"] + run.summary["curtailed_mwh"])
    size = {"buses": case.feeder.n_buses, "customers": case.n_participants}
    mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**size, "ms": round(ms, 1), "mb": round(mb), "lost_mwh": round(lost, 6), "failed": len(run.failed_steps)}


def in_a_process(network: str, spec: str, ac: str) -> Record:
    """The same in a process of its own, or why there is none."""
    command = [sys.executable, __file__, "--one", network, spec, ac]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return {"reason": f"more than {LIMIT_S} s"}
    if done.returncode:
        return {"reason": done.stderr.splitlines()[-1]}
    found: Record = json.loads(done.stdout)
    return found


def table(records: list[Record]) -> str:
    """Markdown: a row per network and mechanism, columns per label."""
    labels = list(dict.fromkeys(r["label"] for r in records))
    head = [
        "network",
        "mechanism",
        *(f"{label}, {unit}" for label in labels for unit in ("ms", "MB")),
        "MWh not served",
    ]
    lines = [head, ["---"] * 2 + ["---:"] * (len(head) - 2)]
    for at in dict.fromkeys((r["network"], r["mechanism"], r["ac"]) for r in records):
        network, spec, ac = at
        line = [network, f"`{spec}`" + (f", AC {ac}" if ac else "")]
        of = {r["label"]: r for r in records if (r["network"], r["mechanism"], r["ac"]) == at}
        for label in labels:
            r = of.get(label, {})
            line += [r["reason"], ""] if "reason" in r else [f"{r['ms']:,.0f}", f"{r['mb']:,}"] if r else ["", ""]
        line.append(" / ".join(dict.fromkeys(f"{r['lost_mwh']:.4f}" for r in of.values() if "lost_mwh" in r)))
        lines.append(line)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@click.command()
@click.option("--label", default="now", help="Under which the figures are kept.")
@click.option("--one", type=(str, str, str), default=None, help="Measure one line in this process.")
@click.option("--only", default="", help="Only mechanisms whose names begin so.")
def main(label: str, one: tuple[str, str, str] | None, only: str) -> None:
    """Measure, and write the table."""
    if one is not None:
        print(json.dumps(measured(*one)))
        return
    path = RESULTS / "size.json"
    records: list[Record] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    for network in NETWORKS:
        for spec, ac in (*((m, "") for m in MECHANISMS), *AC):
            if spec.startswith(only):
                key = {"label": label, "network": network, "mechanism": spec, "ac": ac}
                records = [r for r in records if not key.items() <= r.items()]
                records.append({**key, **in_a_process(network, spec, ac)})
                print(records[-1], flush=True)
                path.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    made = (RESULTS / "size.md").read_text(encoding="utf-8") if (RESULTS / "size.md").exists() else f"{BEGIN}\n{END}\n"
    before, after = made.split(BEGIN)[0], made.split(END)[1]
    (RESULTS / "size.md").write_text(f"{before}{BEGIN}\n\n{table(records)}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
