"""Time and memory of compiling the programs of mechanisms on synthetic cases of several sizes.

    python benchmarks/speed/compile_table.py                  # this checkout, under the label "now"
    python benchmarks/speed/compile_table.py --label NAME     # the installed one, or that of PYTHONPATH

Writes ``benchmarks/results/compile.json`` and ``.md``; figures under other labels stay. Each line is made in a process
of its own: processor time, and how much the largest memory in use grew beyond what the case and its network model took.
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

RESULTS = Path(__file__).parents[1] / "results"
BUSES = (2_000, 10_000, 32_000)
MECHANISMS = (
    "amm",
    "alpha_fair",
    "dnp",
    "equal_doe",
    "greedy_doe",
    "leximin",
    "fot:window=1D",
    "fot:window=1D,per=participant",
    "fot_storage:window=1D",
)
LIMIT_S, LIMIT_GB = 900, 12
"""A process that takes longer, or needs more memory, is stopped."""
Record = dict[str, Any]


def measured(buses: int, spec: str) -> Record:
    """Compile all programs of a mechanism once, in this process."""
    import amm_opt as ao
    from amm_opt.cases.synthetic import synthetic_tables
    from amm_opt.registry import mechanism
    from amm_opt.solve.solver import ProgramSolver

    tables = synthetic_tables(buses=buses, days=1)
    if "storage" in spec:
        tables["participants"] = tables["participants"].assign(battery_kwh=10.0, battery_kw=5.0)
    case = ao.from_tables(**tables)
    grid = ao.Grid(case, ao.network.LinDistFlow(case.feeder))
    declared = mechanism(spec).program(grid)
    programs = declared.values() if isinstance(declared, dict) else [declared]
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_GB * 2**30, LIMIT_GB * 2**30))
    before, began = _peak_mb(), time.process_time()
    for program in programs:
        ProgramSolver(program, grid, (None,))
    seconds = time.process_time() - began
    rounded = {"seconds": round(seconds, 3), "mb": round(_peak_mb() - before, 1)}
    return {"participants": grid.n, "programs": len(programs), **rounded}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_a_process(buses: int, spec: str) -> Record:
    """The same in a process of its own, or why there is none."""
    command = [sys.executable, __file__, "--one", str(buses), spec]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return {"reason": f"more than {LIMIT_S} s"}
    if not done.returncode:
        found: Record = json.loads(done.stdout)
        return found
    full = done.returncode < 0 or any(word in done.stderr for word in ("MemoryError", "bad_alloc"))
    return {"reason": f"more than {LIMIT_GB} GB" if full else done.stderr.splitlines()[-1]}


def table(records: list[Record]) -> str:
    """Markdown: a row per mechanism and size, two columns per label."""
    labels = list(dict.fromkeys(r["label"] for r in records))
    size = {r["buses"]: r["participants"] for r in records if "participants" in r}
    head = ["program", "buses", "participants", *(f"{label}, {unit}" for label in labels for unit in ("s", "MB"))]
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)]
    for spec in dict.fromkeys(r["mechanism"] for r in records):
        for buses in sorted({r["buses"] for r in records}):
            line = [f"`{spec}`", f"{buses:,}", f"{size[buses]:,}"]
            for label in labels:
                of = [r for r in records if (r["label"], r["mechanism"], r["buses"]) == (label, spec, buses)]
                line += _cells(of[0]) if of else ["", ""]
            lines.append(line)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cells(record: Record) -> list[str]:
    return [record["reason"], ""] if "reason" in record else [f"{record['seconds']:.2f}", f"{record['mb']:,.0f}"]


@click.command()
@click.option("--label", default="now", help="Under which the figures are kept.")
@click.option("--one", type=(int, str), default=None, help="Measure one size and mechanism in this process.")
def main(label: str, one: tuple[int, str] | None) -> None:
    """Measure, and write the table."""
    if one is not None:
        print(json.dumps(measured(*one)))
        return
    path = RESULTS / "compile.json"
    known: list[Record] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    records = [r for r in known if r["label"] != label]
    for spec in MECHANISMS:
        for buses in BUSES:
            records.append({"label": label, "mechanism": spec, "buses": buses, **in_a_process(buses, spec)})
            print(records[-1], flush=True)
    path.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    text = f"# Compiling\n\n`python benchmarks/speed/compile_table.py`: {_about()}\n\n{table(records)}\n"
    path.with_suffix(".md").write_text(text, encoding="utf-8")


def _about() -> str:
    return (
        "all programs of a mechanism on a synthetic case, which happens\n"
        "once in a run. Processor time, and how much the largest memory in use grew. Processes that took more than\n"
        f"{LIMIT_S} s or {LIMIT_GB} GB were stopped."
    )


if __name__ == "__main__":
    main()
