"""Importers by the name of their format: our own, other packages' and one's own, in Python and on the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from in_process import amm_opt

import amm_opt as ao
from amm_opt.importers import Demand, importers

ROOT = Path(__file__).parents[2]
AMM_OPT = str(Path(sys.executable).with_name("amm-opt"))
PAGE = (ROOT / "docs" / "importers.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```\w*\n(.*?)```", PAGE, re.DOTALL))
THREE_BUSES = """
mpc.baseMVA = 10;
mpc.bus = [
    1 3 0    0    0 0 1 1 0 12.66 1 1.1 0.9;
    2 1 0.10 0.06 0 0 1 1 0 12.66 1 1.1 0.9;
    3 1 0.09 0.04 0 0 1 1 0 12.66 1 1.1 0.9;
];
mpc.gen = [1 0 0 10 -10 1.02 100 1 10 0; 3 0.05 0 0 0 1 100 1 0.05 0];
mpc.branch = [
    1 2 0.0575 0.0293 0 5 0 0 0 0 1;
    2 3 0.3076 0.1567 0 0 0 0 0 0 1;
    1 3 0.3076 0.1567 0 0 0 0 0 0 1;
];
"""


@pytest.fixture
def package(tmp_path: Path) -> dict[str, str]:
    """The environment of a process in which a package is installed that registers the importer of the page."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    info = tmp_path / "strangers-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strangers\nVersion: 1.0\n")
    names = {"two_tables": "two_tables:two_tables", "missing": "nothing_here:X", "wrong": "two_tables:np"}
    names["liar"] = "two_tables:pd.read_csv"
    lines = "".join(f"{name} = {value}\n" for name, value in names.items())
    (info / "entry_points.txt").write_text(f"[amm_opt.importers]\n{lines}")
    return {**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "120"}


SEVERAL = """
from amm_opt.study.cli import main

for words in {words!r}:
    try:
        main(["import", *words])
    except SystemExit as end:
        print("exit", end.code)
"""


def several(env: dict[str, str], *commands: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Commands of ``amm-opt import`` in one process, in which the plug-ins of ``env`` are installed."""
    script = [sys.executable, "-c", SEVERAL.format(words=commands)]
    return subprocess.run(script, capture_output=True, text=True, timeout=300, env=env, check=False, cwd=cwd)


def lane() -> ao.ImportedNetwork:
    """Source, a and b in a row at 400 V, with a customer at each of the two."""
    buses = pd.DataFrame({"name": ["sub", "a", "b"], "vn_kv": 0.4, "v_min_pu": 0.94, "v_max_pu": 1.1})
    buses["v_source_pu"] = [1.0, np.nan, np.nan]
    branches = pd.DataFrame({"name": ["l1", "l2"], "from_bus": ["sub", "a"], "to_bus": ["a", "b"]})
    branches["r_ohm"], branches["x_ohm"] = 0.03, 0.01
    customers = pd.DataFrame({"name": ["ann", "bob"], "bus": ["a", "b"], "kw": [2.0, 1.5]})
    return ao.ImportedNetwork("lane", buses, branches, customers, ao.ImportReport("lane"))


def test_the_importer_of_the_page_is_short() -> None:
    assert len(FILES["two_tables.py"].splitlines()) <= 25


def test_a_strangers_importer_on_the_command_line(package: dict[str, str], tmp_path: Path) -> None:
    options = ["--option", "v_source_pu=1.02", "--scenario", "days=2", "--out", "case"]
    done = several(package, ["--help"], ["two_tables", "--help"], ["two_tables", "lane", *options], cwd=tmp_path)
    listed, about, made, end = done.stdout.split("exit 0\n")
    assert end == "", done.stderr
    for name in ("csiro", "matpower", "opendss", "pandapower", "simbench", "two_tables", "liar"):
        assert re.search(rf"^  {name} ", listed, re.MULTILINE)
    assert "missing" not in listed
    assert "package strangers) cannot be loaded: ModuleNotFoundError" in done.stderr
    assert "A balanced LV feeder from cables.csv" in about
    assert "Example:  amm-opt import two_tables PATH --out case" in about
    assert "source, v_source_pu" in about
    assert "  - 2 cables" in made
    assert "Scenario: 30% of customers" in made
    case = ao.load_case(tmp_path / "case")
    assert (case.participant_names, case.n_steps) == (("ann", "bob"), 96)
    assert case.feeder.v_source_pu == 1.02
    assert case.feeder.rating_kva[1] == pytest.approx(np.sqrt(3) * 0.4 * 200)


BAD: list[tuple[list[str], str]] = [
    (["nowhere", "x"], "unknown format 'nowhere'; valid choices: csiro, liar, matpower, missing"),
    (["missing", "x"], "plug-in 'missing' (amm_opt.importers, package strangers) cannot be loaded"),
    (["wrong", "x"], "is not a function"),
    (["liar", "lane/loads.csv"], "importer liar: returned"),
    (["two_tables", "x"], "importer two_tables failed on x: FileNotFoundError"),
    (["two_tables", "lane", "--option", "volts=1"], "unknown option of two_tables 'volts'; valid choices: source,"),
    (["two_tables", "lane", "--option", "source"], "--option source: NAME=VALUE is needed"),
    (["two_tables", "lane", "--option", "source=a", "--option", "source=b"], "--option source is given twice"),
    (["two_tables", "lane", "--option", "v_source_pu=high"], "--option v_source_pu = 'high' is not a number"),
    (["two_tables", "lane", "--option", "source=x"], "no source: fill v_source_pu at exactly one bus"),
    (["two_tables", "lane", "--scenario", "ev=2"], "ev = 2.0 must be within 0 to 1"),
    (["matpower", "none.m"], "none.m not found, or not a file"),
]


def test_bad_input_ends_with_two_and_a_sentence(package: dict[str, str], tmp_path: Path) -> None:
    done = several(package, *([*words, "--out", "case"] for words, _ in BAD), cwd=tmp_path)
    assert done.stdout.splitlines() == ["exit 2"] * len(BAD)
    for _, said in BAD:
        assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "case").exists()


def test_demand_of_the_file_or_a_scenario(tmp_path: Path) -> None:
    path = tmp_path / "three.m"
    path.write_text(THREE_BUSES)
    opened = ["--option", 'open_branches=["branch 3"]', "--option", "name=5"]
    assert "open one of: branch" in amm_opt("import", "matpower", path).stderr
    own = amm_opt("import", "matpower", path, *opened, "--out", tmp_path / "own")
    assert own.returncode == 0, own.stderr
    assert "Demand: that of the file" in own.stdout
    case = ao.load_case(tmp_path / "own")
    expected = ao.from_matpower(path, name="5", open_branches=["branch 3"])
    assert case.name == "5"
    for name, table in expected.tables().items():
        pd.testing.assert_frame_equal(case.tables()[name], table, check_dtype=False)
    laid = amm_opt("import", "matpower", path, *opened, "--scenario", "days=2,pv=1", "--out", tmp_path / "year")
    assert laid.returncode == 0, laid.stderr
    year = ao.load_case(tmp_path / "year")
    assert (year.participant_names, year.n_steps) == (("bus 2", "bus 3"), 96)


@pytest.mark.parametrize(("name", "format"), [("Master.dss", "opendss"), ("net.json", "pandapower")])
def test_our_formats_by_name(tmp_path: Path, name: str, format: str) -> None:
    path = tmp_path / name
    if format == "opendss":
        path.write_text(FILES["street/Master.dss"])
    else:
        path.write_text(json.dumps(stored_net()))
    network = ao.import_network(format, path)
    assert isinstance(network, ao.ImportedNetwork)
    assert network.feeder.n_buses == 3
    assert network.report.source == str(path)
    assert set(importers()) >= {"csiro", "matpower", "opendss", "pandapower", "simbench"}


def test_a_fault_of_an_importer_is_called_so() -> None:
    """A file that cannot be opened is none."""

    def closed(path: str) -> ao.ImportedNetwork:
        raise PermissionError(13, "Permission denied", path)

    def broken(path: str) -> ao.ImportedNetwork:
        return {}[path]  # type: ignore[no-any-return]

    with pytest.raises(ao.InputError, match="importer closed failed on x: PermissionError"):
        ao.import_network(closed, "x")
    with pytest.raises(ao.InputError, match="broken failed on x: KeyError: 'x'; this is a fault of the") as caught:
        ao.import_network(broken, "x")
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("format", ["pandapower", "matpower", "opendss"])
def test_cut_and_scrambled_files_are_read_or_refused(format: str, tmp_path: Path) -> None:
    whole = {"pandapower": json.dumps(stored_net()), "matpower": THREE_BUSES, "opendss": FILES["street/Master.dss"]}
    text, path, rng = whole[format].encode(), tmp_path / "file", np.random.default_rng(0)
    read = refused = 0
    damaged = [text[: len(text) * k // 12] for k in range(12)] + [rng.bytes(300), b"\x00" * 9]
    damaged += [text[:at] + rng.bytes(3) + text[at + 3 :] for at in rng.integers(len(text), size=6)]
    for content in damaged:
        path.write_bytes(content)
        try:
            ao.import_network(format, path)
        except ao.InputError as error:
            refused += "fault of the importer" not in str(error)
        else:
            read += 1
    assert refused >= 12
    assert refused + read == len(damaged)


def stored_net() -> dict[str, Any]:
    """What pandapower's ``to_json`` writes: tables as texts of JSON."""
    tables = {
        "bus": {"name": ["grid", "mv", None], "vn_kv": [20.0, 20.0, 20.0], "in_service": [True, True, True]},
        "ext_grid": {"bus": [0], "vm_pu": [1.02], "in_service": [True]},
        "line": {
            "name": ["l1", "l2"],
            "from_bus": [0, 1],
            "to_bus": [1, 2],
            "length_km": [1.0, 2.0],
            "r_ohm_per_km": [0.2, 0.2],
            "x_ohm_per_km": [0.1, 0.1],
            "max_i_ka": [0.2, None],
            "in_service": [True, True],
        },
        "load": {"bus": [1, 2], "p_mw": [0.1, 0.2], "q_mvar": [0.02, 0.0], "in_service": [True, True]},
    }
    stored: dict[str, Any] = {"name": "", "f_hz": 50.0}
    for kind, columns in tables.items():
        frame = pd.DataFrame(columns)
        text = frame.astype(object).where(frame.notna(), None).to_json(orient="split")
        stored[kind] = {"_module": "pandas.core.frame", "_class": "DataFrame", "_object": text, "orient": "split"}
    return {"_module": "pandapower.auxiliary", "_class": "pandapowerNet", "_object": stored}


def test_a_pandapower_file_is_the_net_that_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "village.json"
    path.write_text(json.dumps(stored_net()))
    case = ao.import_network("pandapower", path).case()
    assert (case.name, case.feeder.bus_names) == ("village", ("grid", "mv", "bus 2"))
    assert case.feeder.z_ohm[2][0, 0] == pytest.approx(0.4 + 0.2j)
    assert case.feeder.rating_kva[1:] == pytest.approx([np.sqrt(3) * 20 * 200, np.inf])
    assert case.requests(0, 1).inflexible_kw[0] == pytest.approx([200.0, 100.0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no JSON file of pandapower"),
        ("[1]", "it has no table of buses"),
        ('{"bus": {"_class": "DataFrame", "_object": "{}"}}', "is no JSON file of pandapower"),
        ('{"bus": {"_class": "DataFrame", "_module": "os", "_object": {"columns": []}}}', "it has no table of buses"),
    ],
)
def test_what_is_no_pandapower_file(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "net.json"
    path.write_text(text)
    with pytest.raises(ao.InputError, match=said):
        ao.import_network("pandapower", path)


WRONG: list[tuple[Callable[[ao.ImportedNetwork], Any], list[str]]] = [
    (lambda n: n.feeder, ["an ImportedNetwork is needed"]),
    (lambda n: replace(n, name="", title=3), ["name must not be empty", "title must be text"]),  # type: ignore[arg-type]
    (lambda n: replace(n, report="fine"), ["report = 'fine' must be an ImportReport"]),  # type: ignore[arg-type]
    (lambda n: replace(n, report=ao.ImportReport(read=[1])), ["report.read must be a list of sentences"]),  # type: ignore[list-item]
    (lambda n: replace(n, customers=None), ["customers = None must be a table"]),  # type: ignore[arg-type]
    (
        lambda n: replace(n, buses=n.buses.drop(columns="v_min_pu"), branches=n.branches.assign(ohm=1.0)),
        ["buses: missing column 'v_min_pu'", "branches: unknown column 'ohm'"],
    ),
    (
        lambda n: replace(n, branches=n.branches.assign(r_ohm=[0.1, -1.0]), customers=n.customers.drop(columns="kw")),
        ["branch 'l2': impedance r_ohm = -1.0", "customers: missing column 'kw'"],
    ),
    (
        lambda n: replace(n, customers=n.customers.assign(bus="x", kw=[np.inf, 1.0], power_factor=[1.0, 2.0])),
        ["'ann': unknown bus 'x'", "customer 'ann': kw must be a finite number", "'bob': power_factor = 2.0"],
    ),
    (
        lambda n: replace(n, demand=Demand(n.customers[["name", "bus"]], pd.DataFrame(), pd.DataFrame())),
        ["profiles: missing column 'time'"],
    ),
    (lambda n: replace(n, demand={}), ["demand = {} must be a Demand or None"]),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("edit", "sentences"), WRONG)
def test_what_an_importer_returns_is_checked(edit: Callable[[ao.ImportedNetwork], Any], sentences: list[str]) -> None:
    def mine(path: str) -> Any:
        return edit(lane())

    with pytest.raises(ao.InputError) as caught:
        ao.import_network(mine, "x")
    for sentence in sentences:
        assert sentence in str(caught.value)
    assert "importer mine" in str(caught.value)


def test_the_report_says_which_limits_are_broken() -> None:
    low = lane().buses.assign(v_source_pu=[0.9, np.nan, np.nan])
    network = ao.import_network(lambda path: replace(lane(), buses=low), "x")
    assert "bus 'a'" in network.report.broken[0]


def test_options_may_have_any_name() -> None:
    seen: dict[str, Any] = {}

    def mine(file: str, *, path: str = "", format: int = 0) -> ao.ImportedNetwork:
        seen.update(path=path, format=format)
        return lane()

    ao.import_network(mine, "x", path="y", format=3)
    assert seen == {"path": "y", "format": 3}
    with pytest.raises(ao.InputError, match="unknown option of mine 'file'; valid choices: format, path"):
        ao.import_network(mine, "x", file="y")


@pytest.mark.parametrize(("given", "said"), [(3, "format = 3 is not a function"), (print, "does not take a path")])
def test_what_is_no_importer(given: Any, said: str) -> None:
    with pytest.raises(ao.InputError, match=said):
        ao.import_network(given, "x")


def test_a_network_without_demand_has_no_case() -> None:
    with pytest.raises(ao.InputError, match="lane: no participants and no profiles"):
        lane().case()
    case = ao.year_case(replace(lane(), licence="CC0", timezone="Etc/GMT-10"), ao.YearScenario(days=1))
    assert (case.participant_names, case.licence, case.timezone) == (("ann", "bob"), "CC0", "Etc/GMT-10")
    taps = replace(lane(), branches=lane().branches.assign(kind="transformer")).with_taps(1.05)
    assert taps.feeder.tap[1:] == pytest.approx([1.05, 1.05])
