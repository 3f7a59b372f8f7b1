"""What envelopes cost on a day in which nobody is cut: SimBench 1-MVLV-urban-all-2-sw, 10,458 buses, 96 intervals.

    python benchmarks/screened.py    # needs the extra simbench

CPU seconds of each run; the second of a mechanism finds compiled code and caches of this process warm.
"""

from __future__ import annotations

import time

import amm_opt as ao

SPECS = ("equal_doe", "greedy_doe")


def main() -> None:
    case = ao.from_simbench("1-MVLV-urban-all-2-sw")
    for spec in SPECS:
        seconds = []
        for _ in range(2):
            began = time.process_time()
            run = ao.simulate(case, spec, steps=96)
            seconds.append(time.process_time() - began)
        lost = run.summary["unserved_mwh"] + run.summary["curtailed_mwh"]
        print(f"{spec}: {seconds[0]:.1f} and {seconds[1]:.1f} s of CPU, {lost:.3f} MWh not served or accepted")


if __name__ == "__main__":
    main()
