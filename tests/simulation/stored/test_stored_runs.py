"""Stored runs are what was stored: everything that was changed, cut, lost or added is refused with its name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import amm_opt as ao
from tests.cases.test_cases import good


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "out"
    ao.compare(ao.load_case("synthetic:buses=20,days=1,seed=1"), ["amm", "no_control"], steps=6).save(folder)
    return folder


@pytest.fixture
def copy(stored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stored, tmp_path / "out"))


def _refused(folder: Path, *said: str) -> None:
    with pytest.raises(ao.InputError) as caught:
        ao.open_run(folder)
    assert all(part in str(caught.value) for part in said), caught.value
    with pytest.raises(ao.InputError):
        ao.open_comparison(folder.parent)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


SERVED = "arrays.zarr/served_kw/c/0/0/0"
PRICES = "arrays.zarr/price_per_kwh/c/0/0/0"
FIRST = "blocks/000000.json"
DAMAGE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "cut array": (SERVED, lambda p: p.write_bytes(p.read_bytes()[:-3]), "its digest does not fit"),
    "empty array": (SERVED, lambda p: p.write_bytes(b""), "its digest does not fit"),
    "one bit of an array": (PRICES, _flip, "its digest does not fit"),
    "lost array": (SERVED, lambda p: p.unlink(), "not found"),
    "lost price": (PRICES, lambda p: p.unlink(), "not found"),
    "description of an array": ("arrays.zarr/served_kw/zarr.json", _flip, "its digest does not fit"),
    "times": ("arrays.zarr/time/c/0", _flip, "its digest does not fit"),
    "text for a table": ("intervals/000000.parquet", lambda p: p.write_text("a,b"), "its digest does not fit"),
    "another served energy": (FIRST, lambda p: _replace(p, '"steps": 6', '"steps": 5'), "its digest does not fit"),
    "lost block": (FIRST, lambda p: p.unlink(), "not found"),
    "edited inputs": ("manifest.json", lambda p: _replace(p, '"tiers": "joint"', '"tiers": "two"'), "its digest"),
    "cut document": ("run.json", lambda p: p.write_text(p.read_text()[:300]), "damaged"),
    "empty document": ("run.json", lambda p: p.write_text(""), "damaged"),
    "null": ("run.json", lambda p: p.write_text("null"), "damaged"),
    "list": ("run.json", lambda p: p.write_text("[1]"), "damaged"),
    "deep document": ("run.json", lambda p: p.write_text("[" * 100_000), "damaged"),
    "bytes": ("run.json", lambda p: p.write_bytes(b"\xff\xfe\x00"), "damaged"),
    "another solver": ("run.json", lambda p: _replace(p, '"solver": "', '"solver": "X'), "edited"),
    "another number": ("run.json", lambda p: _replace(p, '"steps": 6', '"steps": 5'), "edited"),
    "no document": ("run.json", lambda p: p.unlink(), "was not finished"),
    "no run": ("run.json", lambda p: (p.unlink(), (p.parent / "manifest.json").unlink()), "is not the folder of a run"),
    "added array": (SERVED, lambda p: shutil.copy(p, p.with_name("1")), "was added after the run was stored"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damaged_files(copy: Path, what: str) -> None:
    file, damage, said = DAMAGE[what]
    damage(copy / "amm" / file)
    _refused(copy / "amm", "amm", said)


def test_runs_of_earlier_versions_are_named(copy: Path) -> None:
    path = copy / "amm" / "run.json"
    document = {k: v for k, v in json.loads(path.read_text()).items() if k not in ("digest", "files")}
    for old in (1, 2):
        path.write_text(json.dumps({**document, "format": old}))
        _refused(copy / "amm", f"written by an earlier version, whose format {old} cannot be read", "run it again")
    for other in (4, "2", None, [2]):
        path.write_text(json.dumps({**document, "format": other}))
        _refused(copy / "amm", "is not known, only 3")


def test_a_changed_case_is_refused(tmp_path: Path) -> None:
    ao.save_case(ao.load_case("synthetic:buses=10,days=1"), tmp_path / "case")
    ao.simulate(tmp_path / "case", "no_control", steps=2).save(tmp_path / "out" / "run")
    series = tmp_path / "case" / "series.csv"
    series.write_text(series.read_text().replace("home0,", "home1,", 1))
    with pytest.raises(ao.InputError, match="is not the one that was run any more"):
        ao.open_run(tmp_path / "out" / "run")
    series.unlink()
    with pytest.raises(ao.InputError, match="'series' not found"):
        ao.open_run(tmp_path / "out" / "run")


@pytest.mark.parametrize("path", [5, None, "", "a\0b", b"x", 1.5, ["x"], "x" * 5000], ids=lambda p: str(p)[:9])
def test_paths_that_are_none(path: object) -> None:
    for read in (ao.open_run, ao.open_comparison):
        with pytest.raises(ao.InputError):
            read(path)  # type: ignore[operator]


@pytest.mark.parametrize("name", ["~", "~nobody", "\udcff\udcfe", "s3:", "new\nline"])
def test_folders_with_odd_names(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    case = ao.from_tables(**good())
    place = f"./{name}/deep"
    ao.compare(case, ["equal_doe"], steps=2, out=place)
    assert not list(Path.home().glob("deep"))
    assert (tmp_path / name / "deep" / "equal_doe" / "run.json").is_file()
    assert ao.open_comparison(place).runs["equal_doe"].case.fingerprint == case.fingerprint


def test_home_is_where_users_expect_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    ao.compare("synthetic:buses=20,days=1,seed=1", ["equal_doe"], steps=2, out="~/results")
    assert (tmp_path / "results" / "comparison.json").is_file()
    assert list(ao.open_comparison(Path("~/results")).runs) == ["equal_doe"]


def test_folders_that_changed_places_are_refused(copy: Path) -> None:
    (copy / "amm").rename(copy / "x")
    (copy / "no_control").rename(copy / "amm")
    (copy / "x").rename(copy / "no_control")
    with pytest.raises(ao.InputError, match="the run in the folder of 'amm' is one of 'no_control'"):
        ao.open_comparison(copy)
