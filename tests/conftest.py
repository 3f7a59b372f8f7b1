"""Data that cannot ship: tests that need it skip with a reason, unless the environment says where it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CSIRO = "AMM_OPT_CSIRO_DATA"


@pytest.fixture(scope="session")
def csiro_folder() -> Path:
    """The folder of CSIRO's MV and LV feeders (doi 10.25919/ghnz-bk28)."""
    given = os.environ.get(CSIRO)
    if not given:
        pytest.skip(f"{CSIRO} is not set to the folder of the data set doi 10.25919/ghnz-bk28")
    folder = Path(given)
    assert (folder / "Master.dss").is_file(), f"{CSIRO} = {given} holds no Master.dss"
    return folder
