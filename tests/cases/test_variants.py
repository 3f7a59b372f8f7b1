"""Variants of a case folder: settings and tables that stand in place of the folder's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import amm_opt as ao
from amm_opt.study.cli import main
from amm_opt.testing.cases import small_case


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A case with two choices: ``weather=dull`` has other series, ``grid=old`` and ``grid=weak`` other limits."""
    path = ao.save_case(small_case(True), tmp_path / "small")
    dull = path / "variants" / "weather" / "dull"
    dull.mkdir(parents=True)
    (dull / "series.csv").write_text((path / "series.csv").read_text().replace(",noon,", ",night,"))
    for name, factor in (("old", 0.9), ("weak", 0.5)):
        place = path / "variants" / "grid" / name
        place.mkdir(parents=True)
        (place / "case.toml").write_text(f'title = "{name}"\n[scenario]\ncapacity_scale = {factor}\n')
    return path


def test_a_variant_s_tables_and_settings_stand_in_place_of_the_folder_s(folder: Path) -> None:
    plain, weak, both = (ao.load_case(f"{folder}{v}") for v in ("", ":grid=weak", ":weather=dull,grid=old"))
    assert plain.fingerprint == small_case(True).fingerprint
    assert (weak.name, weak.title, weak.scenario.capacity_scale) == ("small:grid=weak", "weak", 0.5)
    assert weak.feeder.rating_kva[1] == 0.5 * plain.feeder.rating_kva[1]
    assert weak.profiles.series.equals(plain.profiles.series)
    assert both.name == "small:weather=dull,grid=old"
    assert both.scenario.capacity_scale == 0.9
    assert not both.profiles.series.equals(plain.profiles.series)
    assert len({case.fingerprint for case in (plain, weak, both)}) == 3


def test_a_run_says_its_variant_and_is_read_back(folder: Path, tmp_path: Path) -> None:
    spec = f"{folder}:grid=weak"
    done = CliRunner().invoke(main, ["run", spec, "--mechanism", "amm", "--steps", "4", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "small:grid=weak" in done.output
    document = json.loads((tmp_path / "out" / "amm" / "run.json").read_text())
    assert document["case"]["name"] == "small:grid=weak"
    run = ao.open_run(tmp_path / "out" / "amm")
    assert run.case.fingerprint == ao.load_case(spec).fingerprint


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("grid=new", ["unknown grid 'new'", "old, weak"]),
        ("gird=old", ["unknown parameter", "'gird'", "grid, weather"]),
        ("grid=old,grid=weak", ["grid is given twice"]),
        ("grid=", ["unknown grid ''"]),
    ],
)
def test_unknown_variants_are_refused(folder: Path, options: str, said: list[str]) -> None:
    with pytest.raises(ao.InputError) as caught:
        ao.load_case(f"{folder}:{options}")
    assert all(part in str(caught.value) for part in said)


def test_two_variants_of_one_table_or_setting_are_refused(folder: Path) -> None:
    (folder / "variants" / "weather" / "dull" / "case.toml").write_text('title = "dull"\n')
    with pytest.raises(ao.InputError, match="weather=dull and grid=old both change title: choose one"):
        ao.load_case(f"{folder}:weather=dull,grid=old")


def test_what_is_wrong_in_a_variant_is_said_with_its_path(folder: Path) -> None:
    (folder / "variants" / "grid" / "old" / "case.toml").write_text("[scenario]\nloads = 2\n")
    with pytest.raises(ao.InputError, match=r"old.case\.toml: unknown scenario key 'loads'"):
        ao.load_case(f"{folder}:grid=old")


@pytest.mark.parametrize("spec", ["mv34lv:seed=2", "nowhere:a=b", ":seed=2"])
def test_a_case_that_is_none_is_named(spec: str) -> None:
    with pytest.raises(ao.InputError, match=r"unknown case|is not the path"):
        ao.load_case(spec)
