"""Reading a large network file: CSIRO's MV and LV feeders, where the data set is at hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from amm_opt.importers import csiro_network

FOLDER = os.environ.get("AMM_OPT_CSIRO_DATA", "")


@pytest.mark.skipif(not FOLDER, reason="AMM_OPT_CSIRO_DATA is not set to the folder of the data set")
@pytest.mark.benchmark(group="import")
def test_csiro(benchmark: Any) -> None:
    feeder = benchmark.pedantic(lambda: csiro_network(Path(FOLDER)).feeder, rounds=3)
    assert feeder.n_buses > 3000
