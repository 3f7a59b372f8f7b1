"""What is finished is read where nothing can be written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

import amm_opt as ao

CASE = ao.load_case("synthetic:buses=60,days=2,seed=3").with_scenario(capacity_scale=0.6)


@pytest.fixture
def only_read() -> Iterator[Callable[[Path], Path]]:
    """Makes a folder and all in it read-only, for this process too where it is one of root's, whom nothing stops."""
    was, made = os.geteuid(), Path(mkdtemp())

    def lock(folder: Path) -> Path:
        place = Path(shutil.move(folder, made / folder.name))
        for item in (made, *made.rglob("*")):
            item.chmod(0o555 if item.is_dir() else 0o444)
        if was == 0:
            os.seteuid(65534)
        return place

    yield lock
    if was == 0:
        os.seteuid(0)
    for item in (made, *made.rglob("*")):
        item.chmod(0o755)
    shutil.rmtree(made)


def test_what_is_finished_is_read_where_nothing_can_be_written(
    tmp_path: Path, only_read: Callable[[Path], Path]
) -> None:
    """A run, a comparison in both tiers and a study: nothing needs to be written. Whatever does is refused."""
    study = ao.Study(CASE, "no_control", steps=4)
    before = ao.simulate(CASE, "amm", steps=4, out=tmp_path / "all" / "run").intervals()
    compared = ao.compare(CASE, "amm", tiers="both", steps=4, out=tmp_path / "all" / "compared")
    studied = study.run(tmp_path / "all" / "study", keep_runs=True)
    place = only_read(tmp_path / "all")
    again = ao.simulate(CASE, "amm", steps=4, out=place / "run", resume=True)
    assert again.intervals().equals(before)
    there = ao.compare(CASE, "amm", tiers="both", steps=4, out=place / "compared", resume=True)
    assert there.table.equals(compared.table)
    assert study.run(place / "study", resume=True, keep_runs=True).table.equals(studied.table)
    with pytest.raises(ao.InputError, match="last interval"):
        ao.simulate(CASE, "amm", steps=5, out=place / "run", resume=True)
    with pytest.raises(ao.InputError, match="nothing can be written to"):
        ao.simulate(CASE, "amm", steps=4, out=place / "run", force=True)
    column = ao.Column("mine", lambda _: 1.0)
    with pytest.raises(ao.OutputError, match=r"run\.json cannot be written"):
        ao.simulate(CASE, "amm", steps=4, out=place / "run", resume=True, columns=[column])
