"""What our own methods buy: the same simulation by them and by named solvers, in turns.

    python benchmarks/own_methods.py                                   # the scarce week of the README
    python benchmarks/own_methods.py --start 2016-05-28 --steps 48 --solvers own,HIGHS

Prints a markdown table: the median CPU time of a simulation without loading the case, as a multiple of our own methods,
and how many intervals were left to another solver. CPU time, because other work on the machine would blur wall time.
``alone`` is our own methods without the interior point: where the dual Newton method does not converge, Clarabel does
the rest.
"""

from __future__ import annotations

import time
from statistics import median

import click

import amm_opt as ao
from amm_opt.solve.backends import interior_point

MECHANISMS = ("amm", "equal_doe:enrolled=requesting", "greedy_doe")


def simulated(case: ao.Case, mechanism: str, way: str, start: str, steps: int) -> tuple[float, int, str]:
    """CPU seconds, intervals that fell back, and who solved."""
    usual = interior_point.MANY_ROWS
    interior_point.MANY_ROWS = 0 if way == "alone" else usual
    first = int(case.times.get_indexer([start])[0])
    clock = time.process_time()
    try:
        run = ao.simulate(
            case, mechanism, steps=slice(first, first + steps), solver=None if way in ("own", "alone") else way
        )
    finally:
        interior_point.MANY_ROWS = usual
    return time.process_time() - clock, len(run.fallback_steps), run.solver


@click.command()
@click.option("--case", "spec", default="mv33lv", show_default=True, help="A case that ships, or a case folder.")
@click.option("--start", default="2016-05-23", show_default=True)
@click.option("--steps", default=336, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--solvers", default="own,alone,CLARABEL,PIQP", show_default=True)
@click.option("--mechanisms", default=",".join(MECHANISMS), show_default=True)
def main(spec: str, start: str, steps: int, rounds: int, solvers: str, mechanisms: str) -> None:
    """Print the table."""
    case, ways = ao.load_case(spec), solvers.split(",")
    print("| mechanism | way | CPU, s | times our own | fallbacks | solver |")
    print("|---|---|---|---|---|---|")
    for mechanism in mechanisms.split(","):
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        last = {}
        for _ in range(rounds):
            for way in ways:
                taken, *last[way] = simulated(case, mechanism, way, start, steps)
                seconds[way].append(taken)
        own = median(seconds[ways[0]])
        for way in ways:
            taken = median(seconds[way])
            print(
                f"| {mechanism} | {way} | {taken:.2f} | {taken / own:.1f} | {last[way][0]} | {last[way][1]} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
