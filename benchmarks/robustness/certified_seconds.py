"""CPU seconds of one interval of mechanisms on certified boxes of the whole of mv33lv, by tangents and by cones.

    python benchmarks/robustness/certified_seconds.py

Each interval is solved twice and the second counts, so that programs are compiled. Prints a table.
"""

from __future__ import annotations

import time

import amm_opt as ao
from amm_opt.grid import Grid
from amm_opt.network import Certified
from amm_opt.registry import mechanism as named
from amm_opt.solve.solver import ProgramSolver

MECHANISMS = ("equal_doe", "equal_doe:per=system", "amm", "greedy_doe", "alpha_fair", "curtailment_cap")
TIMES = ("2016-01-01 23:00", "2016-05-26 12:00")


def seconds(case: ao.Case, spec: str, step: int, solver: str | None) -> float:
    """Of the second of two solves."""
    mechanism, grid = named(spec), Grid(case, Certified(case.feeder))
    asked = case.requests(step, step + 1).interval(0)
    declared = mechanism.program(grid)
    programs = declared if isinstance(declared, dict) else {"": declared}
    solvers = {name: ProgramSolver(program, grid, [solver]) for name, program in programs.items()}
    took = 0.0
    for _ in range(2):
        since = time.process_time()
        mechanism.clear(
            grid,
            lambda values, name="": solvers[name].solve(values, asked, *grid.limits(asked)),
            mechanism.initial_state(case),
            asked,
        )
        took = time.process_time() - since
    return took


def main() -> None:
    """The table."""
    case = ao.load_case("mv33lv")
    print("| mechanism | " + " | ".join(f"{t}, tangents | cones" for t in TIMES) + " |\n|---" + "|---" * 4 + "|")
    for spec in MECHANISMS:
        steps = [int(case.times.get_loc(t)) for t in TIMES]
        cells = [f"{seconds(case, spec, k, solver):.2f}" for k in steps for solver in (None, "CLARABEL")]
        print(f"| `{spec}` | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
