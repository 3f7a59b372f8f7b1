"""Kill runs at random moments and go on with them: what comes out is the same to the byte.

    python benchmarks/resume.py --kills 50

runs every subject once undisturbed and once with this many SIGKILLs, and compares all files but for times.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import amm_opt as ao
from amm_opt.cases import Requests
from amm_opt.market import Allocation, ServedState
from amm_opt.simulation.loop import loop
from formulations import FairOverTimeStorage
from formulations.storage import StorageState

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
from killed import content, kill_often, run_into, with_batteries


@dataclass(frozen=True)
class FairUsingHistoryStorage(FairOverTimeStorage):
    """FUH with batteries: what was served and asked for before the window counts too."""

    name: ClassVar[str] = "fuh_storage"

    def advance(self, state: ServedState, allocation: Allocation, requests: Requests) -> StorageState:
        history = state.served_kwh + allocation.both_kw * requests.dt_h
        asked = state.requested_kwh + requests.both_kw * requests.dt_h
        return super().advance(replace(state, served_kwh=history, requested_kwh=asked), allocation, requests)


SYNTHETIC = "synthetic:buses=150,days=7,seed=1"
BATTERIES = "synthetic:buses=40,days=7,seed=1"
SUBJECTS: dict[str, tuple[str, ao.Mechanism[Any] | str, dict[str, Any]]] = {
    "AMM": ("mv33lv", "amm", {"steps": "2016-05"}),
    "FUH": ("mv33lv", "fuh", {"steps": slice("2016-05-16", "2016-05-22")}),
    "FUH with batteries": (BATTERIES, FairUsingHistoryStorage(window=12), {}),
    "waiting": ("mv33lv", "amm", {"steps": slice("2016-05-16", "2016-05-22"), "defer": True}),
    "two tiers": ("mv33lv", "amm", {"steps": slice("2016-05-16", "2016-05-18"), "tiers": "two"}),
    "noisy forecast in two tiers": (SYNTHETIC, "amm:kappa=8", {"tiers": "two", "forecast": "noisy:sigma=0.2"}),
    "secure": (SYNTHETIC, "amm", {"ac": "secure"}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="of each subject")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--block", type=int, default=12, help="intervals of a block, for more borders than 96 give")
    parser.add_argument("--subjects", default=",".join(SUBJECTS), help="names, with commas")
    given = parser.parse_args()
    loop.BLOCK_STEPS = given.block
    print("| subject | blocks | undisturbed, s | kills | byte for byte the same |\n|---|---|---|---|---|")
    for name in given.subjects.split(","):
        of, mechanism, options = SUBJECTS[name]
        case = with_batteries(ao.load_case(of)) if of == BATTERIES else ao.load_case(of)
        if of in (SYNTHETIC, BATTERIES):
            case = case.with_scenario(capacity_scale=0.5)
        go = run_into(case, mechanism, **options)
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            plain = go(Path(folder) / "plain", False)
            seconds = time.perf_counter() - began
            blocks = -(-len(plain.times) // plain.store.length)  # type: ignore[attr-defined]
            longest_s = 0.4 + 1.5 * seconds / given.kills
            kills = kill_often(go, Path(folder) / "killed", given.kills, longest_s, given.seed)
            same = content(Path(folder) / "plain") == content(Path(folder) / "killed")
        print(f"| {name} | {blocks} | {seconds:.1f} | {kills} | {'yes' if same else 'NO'} |", flush=True)


if __name__ == "__main__":
    main()
