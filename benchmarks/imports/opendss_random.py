"""Random OpenDSS feeders, many of each kind: imported as OpenDSS solves them, or refused by name.

    PYTHONPATH=tests/helpers python -m benchmarks.imports.opendss_random 200

The tests run a few of the same. Feeders mix lines, transformers, loads, switches and what must be refused; streets hang
below centre-tapped transformers, with equal and unequal halves; shapes are a day of loads that follow load shapes.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from opendss_truth import solve

from amm_opt.importers import ImportedNetwork, from_opendss
from tests.importers.opendss import test_opendss_random as feeders
from tests.importers.opendss.demand import test_opendss_service as service
from tests.importers.opendss.demand import test_opendss_years as years


def feeder(folder: Path, seed: int) -> float | None:
    """Largest voltage error in pu; None where it is refused."""
    written = feeders.Writer(seed)
    (folder / "Master.dss").write_text("\n".join(written.text))
    network = feeders.imported_or_refused(folder / "Master.dss")
    if not isinstance(network, ImportedNetwork):
        return None
    return feeders.worst_error(written, network, solve(folder / "Master.dss"))


def street(folder: Path, seed: int, equal: bool) -> float:
    """Largest voltage error in pu, of the mean of both halves."""
    master = service.written(folder, service.street(random.Random(seed), equal))
    return service.worst(from_opendss(master, ratings=200), master)


def shapes(folder: Path, seed: int) -> float:
    """Largest error in kW or kvar of any load in any hour of a day."""
    return years.worst_of_a_day(folder, years.random_day(folder, seed), 24)


KINDS: dict[str, Callable[[Path, int], float | None]] = {
    "feeders, pu": feeder,
    "streets, equal halves, pu": lambda folder, seed: street(folder, seed, True),
    "streets, unequal halves, pu": lambda folder, seed: street(folder, seed, False),
    "load shapes, kW or kvar": shapes,
}


def main(count: int) -> None:
    """Print a row per kind."""
    print("| kind | files | refused | largest error |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for kind, judge in KINDS.items():
            errors = [judge(Path(name), seed) for seed in range(5000, 5000 + count)]
            known = [e for e in errors if e is not None]
            print(f"| {kind} | {count} | {count - len(known)} | {max(known):.2g} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
