"""Random feeders over all constructs: within the stated error of OpenDSS, or refused by name and line."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("opendssdirect", reason="pip install 'amm-opt[opendss]'")
from tests.importers.opendss.feeders.any_feeder import NAMED, STATED_PU, AnyFeeder, judged

SEEDS = range(12)


def test_any_feeder(tmp_path: Path) -> None:
    """Many more are in benchmarks/imports/opendss_feeders.py."""
    imported = 0
    for seed in SEEDS:
        feeder = AnyFeeder(seed)
        found = judged(feeder, tmp_path)
        if isinstance(found, float):
            imported += 1
            assert not feeder.wrong, (seed, feeder.text)
            assert found < STATED_PU, (seed, feeder.text)
        else:
            assert feeder.wrong, (seed, found)
            assert all(NAMED.match(said) for said in found), (seed, found)
    assert len(SEEDS) // 2 <= imported < len(SEEDS)
