"""Random feeders over all that the OpenDSS importer reads: within the stated error of OpenDSS, or refused by name.

PYTHONPATH=tests/helpers python -m benchmarks.imports.opendss_feeders [feeders] [first seed]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from opendss_truth import UnsolvedError

from tests.importers.opendss.feeders.any_feeder import NAMED, STATED_PU, AnyFeeder, judged


def main(feeders: int = 240, first: int = 0) -> None:
    """Print how many were imported, how far off, and every one that is not as stated."""
    errors, refused, unsolved = [], 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + feeders):
            feeder = AnyFeeder(seed)
            try:
                found = judged(feeder, Path(folder))
            except UnsolvedError:
                unsolved += 1
                continue
            if isinstance(found, float):
                errors.append(found)
                if feeder.wrong or found > STATED_PU:
                    print(f"seed {seed}: {'not refused' if feeder.wrong else f'{found:.6f} pu'}")
                continue
            refused += 1
            if not feeder.wrong or not all(NAMED.match(said) for said in found):
                print(f"seed {seed}: refused: {found}")
    quantiles = " / ".join(f"{q:.6f}" for q in np.quantile(errors, [0.5, 0.9, 1.0]))
    print(f"{unsolved} without a solution in OpenDSS")
    print(f"{len(errors)} imported, {refused} refused; largest error of each, median / 90 % / all: {quantiles} pu")


if __name__ == "__main__":
    main(*(int(x) for x in sys.argv[1:]))
