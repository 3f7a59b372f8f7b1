"""Tables, files and arguments of every odd kind end in a case or in an InputError that names them."""

from __future__ import annotations

import decimal
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import amm_opt as ao
from amm_opt.simulation.forecast import Noisy
from tests.cases.test_cases import good, problems_of, tiny

TABLES = ("buses", "branches", "participants", "profiles", "series", "sessions")


@pytest.mark.parametrize(
    "value", [5, "x", [1], {"name": ["a"]}, pd.Series([1]), np.zeros((2, 2)), object()], ids=lambda v: type(v).__name__
)
@pytest.mark.parametrize("table", TABLES)
def test_no_tables(table: str, value: Any) -> None:
    assert any(said.startswith(f"{table} must be a pandas DataFrame") for said in problems_of(**{table: value}))


def test_all_tables_that_are_none_at_once() -> None:
    said = problems_of(**dict.fromkeys(TABLES[:5]))
    assert [any(s.startswith(f"{table} must be") for s in said) for table in TABLES[:5]] == [True] * 5


def test_arguments_of_the_wrong_kind() -> None:
    for name in ("name", "title", "licence", "attribution"):
        for value in (5, None, b"x", "\0", "\ud800"):
            assert any(f"{name} = " in said for said in problems_of(**{name: value}))
    assert problems_of(name="") == ("name must not be empty",)
    for name, value in (("scenario", 5), ("steps", "a"), ("steps", True), ("timezone", 5), ("step_minutes", "30")):
        assert any(name in said for said in problems_of(**{name: value}))
    for step in (0, -1, np.nan, np.inf, 1e9, 1e-9, 10**400):
        assert any("step_minutes" in said or "minutes" in said for said in problems_of(step_minutes=step))


CELLS: dict[str, Any] = {
    "bytes": b"x",
    "complex": 1j,
    "list": [1],
    "dict": {},
    "object": object(),
    "true": True,
    "huge": 10**400,
    "nul": "a\0b",
    "surrogate": "\ud800",
    "tuple": (1, 2),
    "timedelta": pd.Timedelta(1, "h"),
}
COLUMNS = [("buses", "vn_kv"), ("buses", "name"), ("branches", "r_ohm"), ("participants", "bus"), ("profiles", "sun")]
COLUMNS += [("series", "scale_kw"), ("series", "profile"), ("sessions", "power_kw"), ("sessions", "participant")]


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_odd_cells_are_named(table: str, column: str, kind: str) -> None:
    changed = good()[table].astype({column: object})
    changed[column] = pd.Series([CELLS[kind], *changed[column][1:]], dtype=object)
    assert any(table in said and column in said and "row 1" in said for said in problems_of(**{table: changed}))


def test_kinds_of_columns_that_mean_the_same() -> None:
    plain = tiny()
    people = good()["participants"]
    kinds: list[Callable[[pd.DataFrame], pd.DataFrame]] = [
        lambda t: t.astype({"name": "category", "bus": "category"}),
        lambda t: t.astype({"name": "string"}),
        lambda t: t.astype({"connection_import_kw": "Float64"}),
        lambda t: t.astype({"connection_import_kw": "Int64"}),
        lambda t: t.astype({"connection_import_kw": np.float32}),
        lambda t: t.assign(connection_import_kw=[decimal.Decimal(20), decimal.Decimal("20.0")]),
        lambda t: t.assign(connection_import_kw=["20", " 20.0"]),
        lambda t: t.assign(connection_import_kw=pd.Series([np.int64(20), np.float64(20)], dtype=object)),
        lambda t: t.set_index(pd.Index(["x", "x"])),
        lambda t: t.set_index(pd.MultiIndex.from_tuples([(1, 2), (1, 3)])),
        lambda t: t.convert_dtypes(dtype_backend="pyarrow"),
    ]
    for change in kinds:
        assert tiny(participants=change(people)).fingerprint == plain.fingerprint
    missing = people.assign(power_factor=pd.array([pd.NA, 0.9], dtype="Float64"))
    np.testing.assert_array_equal(tiny(participants=missing).participants["power_factor"], [1.0, 0.9])


def test_odd_columns() -> None:
    for table in TABLES:
        frame = good()[table]
        twice = pd.concat([frame, frame.iloc[:, :1]], axis=1)
        assert any("repeated column" in said for said in problems_of(**{table: twice}))
        nested = frame.set_axis(pd.MultiIndex.from_product([["x"], frame.columns]), axis=1)
        assert any("must be texts" in said for said in problems_of(**{table: nested}))
        assert any(
            "must be texts" in said for said in problems_of(**{table: frame.rename(columns={frame.columns[0]: 5})})
        )
        assert problems_of(**{table: pd.DataFrame()})
    for table in ("buses", "branches", "participants", "profiles"):
        assert problems_of(**{table: good()[table].iloc[:0]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return ao.save_case(tiny(), tmp_path / "case")


FILES: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "empty table": ("series.csv", lambda p: p.write_bytes(b"")),
    "header only": ("buses.csv", lambda p: p.write_text("name,vn_kv,v_min_pu,v_max_pu\n")),
    "wrong encoding": ("buses.csv", lambda p: p.write_bytes(p.read_bytes().replace(b"src", b"s\xfcd"))),
    "utf-16": ("series.csv", lambda p: p.write_bytes(p.read_text().encode("utf-16"))),
    "nul bytes": ("series.csv", lambda p: p.write_bytes(p.read_bytes().replace(b"load", b"lo\0d"))),
    "open quote": ("series.csv", lambda p: p.write_text(p.read_text().replace("ann", '"ann', 1))),
    "more cells than names": ("series.csv", lambda p: p.write_text(_longer(p.read_text()))),
    "one longer row": ("series.csv", lambda p: p.write_text(p.read_text() + "ann,import,load,1,0,7,8\n")),
    "repeated column": ("profiles.parquet", lambda p: _as_csv(p)),
    "no parquet": ("profiles.parquet", lambda p: p.write_bytes(b"PAR1 no")),
    "cut parquet": ("profiles.parquet", lambda p: p.write_bytes(p.read_bytes()[:200])),
    "no toml": ("case.toml", lambda p: p.write_text("name = ")),
    "bytes for toml": ("case.toml", lambda p: p.write_bytes(b"\xff\xfe")),
    "deep toml": ("case.toml", lambda p: p.write_text("name = " + "[" * 5000)),
    "scenario no table": ("case.toml", lambda p: p.write_text("scenario = 5")),
    "huge scale": ("case.toml", lambda p: p.write_text(f"[scenario]\nimport_scale = {'9' * 20}")),
    "scale of text": ("case.toml", lambda p: p.write_text('[scenario]\nimport_scale = "2"')),
    "name of numbers": ("case.toml", lambda p: p.write_text("name = 5")),
    "time of day": ("case.toml", lambda p: p.write_text("step_minutes = 00:30:00")),
    "a folder": ("series.csv", lambda p: (p.unlink(), p.mkdir())),
    "a pipe": ("series.csv", lambda p: (p.unlink(), os.mkfifo(p))),
    "a link to nothing": ("series.csv", lambda p: (p.unlink(), p.symlink_to("nowhere"))),
    "toml is a folder": ("case.toml", lambda p: (p.unlink(), p.mkdir())),
    "shift of 1e20": ("series.csv", lambda p: p.write_text(p.read_text() + "ann,import,load,1,1e20\n")),
}


def _longer(text: str) -> str:
    head, *rows = text.splitlines()
    return "\n".join([head, *(f"{row},1" for row in rows)])


def _as_csv(path: Path) -> None:
    text = pd.read_parquet(path).to_csv(index=False)
    path.unlink()
    path.with_suffix(".csv").write_text(text.replace("sun", "load", 1))


@pytest.mark.parametrize("what", FILES)
def test_odd_files(folder: Path, what: str) -> None:
    name, damage = FILES[what]
    damage(folder / name)
    with pytest.raises(ao.InputError) as caught:
        ao.load_case(folder)
    said = str(caught.value)
    assert any(word in said for word in (str(folder), name.partition(".")[0], "scale"))


def test_all_files_at_once(folder: Path) -> None:
    (folder / "series.csv").write_bytes(b"")
    (folder / "buses.csv").unlink()
    (folder / "case.toml").write_text("colour = 1\nsize = 2")
    with pytest.raises(ao.InputError) as caught:
        ao.load_case(folder)
    assert [word in str(caught.value) for word in ("series.csv", "'buses'", "'colour'", "'size'")] == [True] * 4


def test_byte_order_marks_are_harmless(folder: Path) -> None:
    for name in ("case.toml", "series.csv", "buses.csv"):
        path = folder / name
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert ao.load_case(folder).fingerprint == tiny().fingerprint


@pytest.mark.parametrize(
    "case", [5, None, b"x", "", "a\0b", "x" * 5000, ["x"], 1.5, object()], ids=lambda c: str(c)[:9]
)
def test_no_cases(case: Any) -> None:
    for call in (ao.load_case, lambda c: ao.simulate(c, "amm"), lambda c: ao.compare(c, "amm")):
        with pytest.raises(ao.InputError):
            call(case)


SPECS = ["synthetic:buses=1e3", "synthetic:buses=", "synthetic:x=1", "synthetic:buses=-5", "synthetic:buses=\u00b2"]
SPECS += ["synthetic:buses=10,days=" + "9" * 5000, "synthetic:buses=10,days=999999999", "synthetic:seed=" + "9" * 40]


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s[:40])
def test_specs_of_synthetic_cases(spec: str) -> None:
    with pytest.raises(ao.InputError):
        ao.load_case(spec)


def test_no_networks_for_a_year() -> None:
    for network in (tiny(), None, "x", pd.DataFrame()):
        with pytest.raises(ao.InputError, match="over a network that an importer read"):
            ao.year_case(network)  # type: ignore[arg-type]
    with pytest.raises(ao.InputError, match="is not a case"):
        ao.save_case("x", "nowhere")  # type: ignore[arg-type]


ODD = [
    None,
    5,
    1.5,
    float("nan"),
    True,
    "x",
    "\ud800",
    b"x",
    [1],
    {"a": 1},
    object(),
    pd.DataFrame({"a": [1]}),
    np.ones(2),
]


@pytest.mark.parametrize("value", ODD, ids=lambda v: type(v).__name__ + (str(v) if isinstance(v, str | float) else ""))
def test_public_functions_have_one_kind_of_error(value: Any, tmp_path: Path) -> None:
    case = ao.load_case("synthetic:buses=20,days=1,seed=1")
    calls = {
        "done": lambda: ao.compare(case, ["equal_doe"], steps=1, done=value),
        "progress": lambda: ao.simulate(case, "equal_doe", steps=1, progress=value),
        "forecast": lambda: ao.simulate(case, "equal_doe", steps=1, forecast=value),
        "columns": lambda: ao.simulate(case, "equal_doe", steps=1, columns=value),
        "column": lambda: ao.simulate(case, "equal_doe", steps=1, columns=[value]),
        "compute": lambda: ao.Column("mine", value),
        "run": lambda: ao.verify(value),
        "opendss path": lambda: ao.from_opendss(value),
        "ratings": lambda: ao.from_opendss(tmp_path, ratings=value),
        "nominal_kv": lambda: ao.from_opendss(tmp_path, nominal_kv=value),
        "lv_band_pu": lambda: ao.from_opendss(tmp_path, lv_band_pu=value),
        "ausgrid": lambda: ao.read_ausgrid(value),
        "direction": lambda: case.connection_kw(value),
        "start": lambda: case.requests(value, 3),
        "balanced model": lambda: ao.LinDistFlow(value),
        "phase model": lambda: ao.LinDist3Flow(value),
        "conic model": lambda: ao.BranchFlowSOCP(value),
        "four wires": lambda: ao.FourWireNetwork(value, "x"),
        "case": lambda: ao.save_case(value, tmp_path / "case"),
    }
    optional = {"done", "progress", "forecast", "compute"} if value is None else set()
    for name, call in calls.items():
        if name not in optional and not (name == "start" and value is True):
            with pytest.raises(ao.InputError):
                call()


def test_a_forecast_is_a_kind_or_a_function_of_three() -> None:
    case = ao.load_case("synthetic:buses=20,days=1,seed=1")
    assert ao.simulate(case, "equal_doe", steps=1, forecast=Noisy).failed_steps == {}  # type: ignore[arg-type]
    for bad in (lambda: 1, object, "noisy:sigma=0.1,sigma=0.2"):
        with pytest.raises(ao.InputError, match="forecast"):
            ao.simulate(case, "equal_doe", steps=1, forecast=bad)  # type: ignore[arg-type]


def test_errors_that_users_meet_are_exported() -> None:
    assert issubclass(ao.OutputError, ao.AmmOptError)
    assert issubclass(ao.InexactWarning, UserWarning)


def test_everything_that_is_wrong_with_a_call_at_once() -> None:
    with pytest.raises(ao.InputError) as caught:
        ao.compare(
            "synthetic:buses=20,days=1,seed=1",
            ["amm:foo=2,bar=3,kappa=nan,rho=1,rho=2", "dnp:seed=x"],
            solver="nope",
            time_limit_s=float("nan"),
            network="none",
            forecast="crystal",
            steps=0,
            workers=0,
            tiers="three",
            ac="maybe",
        )
    said = "\n".join(caught.value.problems)
    for part in ("'foo'", "'bar'", "kappa = nan", "rho is given twice", "seed = 'x'", "'nope'", "time_limit_s = nan"):
        assert part in said
    for part in ("'none'", "'crystal'", "steps = 0", "workers = 0", "'three'", "'maybe'"):
        assert part in said
