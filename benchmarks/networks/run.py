"""Imports every network that pandapower, SimBench or MATPOWER brings, for the table of docs/importers-networks.md.

pip install 'amm-opt[ac,simbench]'
python benchmarks/networks/run.py pandapower
python benchmarks/networks/run.py simbench --part 1/2   # and 2/2 beside it
python benchmarks/networks/run.py matpower --folder matpower/data
python benchmarks/networks/table.py

A run goes on where it stopped: names in benchmarks/results/networks.csv are not done again.
"""

from __future__ import annotations

import argparse
import csv
import sys
import traceback
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from nets import measured, networks

RESULTS = Path(__file__).parents[1] / "results" / "networks.csv"
COLUMNS = ["tool", "name", "refused", "buses", "participants", "opened", "batteries", "phases", "generators"]
COLUMNS += [
    "no_flow",
    "ac_error_pu",
    "linear_error_pu",
    "lowest_pu",
    "highest_pu",
    "meshed",
    "dc_error_mw",
    "dc_lines",
    "sources",
]


def main() -> None:
    """Run what is not done yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool", choices=["pandapower", "simbench", "matpower"])
    parser.add_argument("--folder", type=Path, help="of MATPOWER's case files")
    parser.add_argument("--part", default="1/1", help="k/n: every n-th network from the k-th on")
    given = parser.parse_args()
    k, n = map(int, given.part.split("/"))
    warnings.simplefilter("ignore")
    if not RESULTS.exists():
        RESULTS.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    with RESULTS.open(encoding="utf-8") as file:
        done = {(row["tool"], row["name"]) for row in csv.DictReader(file)}
    failed: list[str] = []
    for name, make in list(networks(given.tool, given.folder))[k - 1 :: n]:
        if (given.tool, name) in done:
            continue
        try:
            row = measured(name, make())
        except Exception:  # a fault of ours is no refusal: it is said, the others still run, and the command fails
            traceback.print_exc()
            failed.append(name)
            continue
        with RESULTS.open("a", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, COLUMNS).writerow({"tool": given.tool, **row})
        print(given.tool, row, flush=True)
    if failed:
        sys.exit(f"{len(failed)} networks failed, and are not in the results: {', '.join(failed)}")


if __name__ == "__main__":
    main()
