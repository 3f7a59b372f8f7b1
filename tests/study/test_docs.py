"""The pages say what the code does: Python blocks run, commands parse, tables are reproduced, links lead somewhere."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import shlex
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

from amm_opt.registry import mechanism, mechanisms, parameters_of
from amm_opt.simulation.results.columns import COLUMNS, CONTRACT
from amm_opt.study.cli import main

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "data" / "README.md"])
BLOCK = re.compile(r"(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)```", re.DOTALL)
TABLE = re.compile(r"```sh\n(?P<command>amm-opt compare [^\n]*)\n```\n\n(?P<table>\| mechanism \|.*?)\n\n", re.DOTALL)
PATH = re.compile(r"(?<![\w/.-])(?:amm_opt|formulations|tests|benchmarks|data)/[\w/.-]*\w")
DOTTED = re.compile(r"(?<![\w/.])(?:amm_opt|ao|formulations)(?:\.[A-Za-z_]\w*)+")
GROUPS = {"amm_opt.solvers"}
"""Entry-point groups that this project has no entries in."""
SHOWN = {
    "unserved, %": lambda s: 100 * s["unserved_mwh"] / s["requested_import_mwh"],
    "curtailed, %": lambda s: 100 * s["curtailed_mwh"] / s["requested_export_mwh"],
    "violations": lambda s: s["thermal_violations"] + s["voltage_violations"],
    "Jain feeders": lambda s: s["jain_feeder"],
    "Jain participants": lambda s: s["jain_participant"],
    "worst feeder": lambda s: s["worst_feeder_served"],
    "worst participant": lambda s: s["worst_participant_served"],
}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def executed(page: Path) -> bool:
    """Pages whose Python runs here; the long check of the data has a test of its own."""
    return page.parent.name != "data" and "```python" in page.read_text(encoding="utf-8")


def commands(page: Path) -> list[str]:
    blocks = [m["text"] for m in BLOCK.finditer(page.read_text(encoding="utf-8")) if m["language"] == "sh"]
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("amm-opt ")]


def tables() -> list[tuple[str, str, str]]:
    found = [(name_of(p), m) for p in PAGES for m in TABLE.finditer(p.read_text(encoding="utf-8"))]
    return [(name, m["command"], m["table"]) for name, m in found]


@pytest.mark.parametrize("page", [p for p in PAGES if executed(p)], ids=name_of)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks marked with a file name are written there; the other Python blocks run in order, as one script."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    blocks = list(BLOCK.finditer(page.read_text(encoding="utf-8")))
    for block in blocks:
        if block["file"]:
            path = tmp_path / block["file"]
            path.parent.mkdir(exist_ok=True)
            path.write_text(block["text"], encoding="utf-8")
    names: dict[str, object] = {"__name__": "__page__"}
    try:
        for block in blocks:
            if block["language"] == "python" and not block["file"]:
                exec(compile(block["text"], name_of(page), "exec"), names)
        for command in commands(page):
            if ".py:" in command:
                result = CliRunner().invoke(main, shlex.split(command)[1:])
                assert result.exit_code == 0, result.output
    finally:
        for module in set(sys.modules) - before:
            if (tmp_path / f"{module}.py").exists():
                del sys.modules[module]


@pytest.mark.parametrize(("page", "command", "table"), tables(), ids=lambda v: v if str(v).endswith(".md") else "")
def test_tables_are_reproduced(page: str, command: str, table: str) -> None:
    args = shlex.split(command)[1:]
    if "--out" in args:
        at = args.index("--out")
        args[at : at + 2] = []
    result = CliRunner().invoke(main, [*args, "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    header, _, *lines = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines())
    assert len(lines) == len(rows)
    for (label, *cells), summary in zip(lines, rows, strict=True):
        assert str(mechanism(label)) == str(mechanism(summary["mechanism"]))
        for column, cell in zip(header[1:], cells, strict=True):
            decimals = len(cell.partition(".")[2])
            value = SHOWN[column](summary)
            assert value == pytest.approx(float(cell), abs=0.51 * 10.0**-decimals), f"{label}: {column}"


def first_table(text: str) -> dict[str, dict[str, str]]:
    """The first Markdown table of a text whose rows are mechanisms: cells by row and heading."""
    found = re.search(r"^\| mechanism \|.*?\n(?=\n|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found
    head, _, *lines = ([cell.strip() for cell in line.strip("|").split("|")] for line in found[0].splitlines())
    return {label: dict(zip(head[1:], cells, strict=True)) for label, *cells in lines}


def test_the_first_table_of_the_readme_is_of_the_kept_results() -> None:
    results = (ROOT / "benchmarks" / "results" / "paper_table_mv33lv.md").read_text(encoding="utf-8")
    kept = first_table(results)
    shown = first_table((ROOT / "README.md").read_text(encoding="utf-8"))
    assert "amm" in shown
    for label, cells in shown.items():
        assert cells == {heading: kept[label][heading] for heading in cells}, label


def described(page: str) -> dict[str, tuple[str, str, str]]:
    """Unit, better and meaning of the columns in a page's tables, without links and marks of code."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", (ROOT / page).read_text(encoding="utf-8"))
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*)\| ([^|]*)\| (.*) \|$", text, re.MULTILINE)
    return {name: (unit.strip(), better.strip(), meaning.replace("`", "")) for name, unit, better, meaning in rows}


def test_pages_describe_the_summary_columns() -> None:
    """Every column with its unit, which way is better and its meaning, in the order of tables."""
    pages = {name: described(f"docs/{name}.md") for name in ("results", "ac", "tiers")}
    everywhere = pages["results"] | pages["ac"] | pages["tiers"]
    assert set(everywhere) == set(COLUMNS)
    for rows in pages.values():
        assert list(rows) == [name for name in COLUMNS if name in rows]
        for name, (unit, better, meaning) in rows.items():
            column = COLUMNS[name]
            assert (unit, better) == (column.unit, column.better or ""), name
            assert meaning.startswith(column.meaning), name


def test_the_readme_lists_the_columns_that_every_run_has() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Summary columns")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    assert re.findall(r"`(\w+)`", "".join(cells)) == [column.name for column in CONTRACT]


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=name_of)
def test_commands_parse_and_name_known_mechanisms(page: Path) -> None:
    for command in commands(page):
        name, *args = shlex.split(command)[1:]
        context = main.commands[name].make_context(name, args)
        spec = context.params.get("mechanism")
        if spec and ".py:" not in spec:
            mechanism(spec)


def test_case_folder_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page says about the numbers of its example."""
    import amm_opt as ao

    for block in BLOCK.finditer((ROOT / "docs" / "case-folder.md").read_text(encoding="utf-8")):
        if block["file"]:
            path = tmp_path / block["file"]
            path.parent.mkdir(exist_ok=True)
            path.write_text(block["text"], encoding="utf-8")
    case = ao.load_case(tmp_path / "tiny")
    w = case.requests(0, case.n_steps)
    assert w.export_request_kw[0] == pytest.approx([0, 12])
    assert w.inflexible_kw[0].sum() == pytest.approx(1.0)
    assert w.import_request_kw[:, 0] == pytest.approx([0, 0, 0, 11])
    assert w.inflexible_kw[3].sum() == pytest.approx(1.25)
    run = ao.simulate(case, "amm")
    assert 10.5 < run.allocation.export_kw[0, 1] < 11.0
    assert 8.5 < run.allocation.import_kw[3, 0] < 8.75
    assert run.summary["thermal_violations"] == run.summary["voltage_violations"] == run.summary["failed_steps"] == 0


@pytest.mark.parametrize("name", sorted(mechanisms()))
def test_mechanism_pages_list_every_parameter_with_its_default(name: str) -> None:
    text = (ROOT / "docs" / "mechanisms" / f"{name}.md").read_text(encoding="utf-8").partition("## Parameters")[2]
    for parameter, (_, default) in parameters_of(mechanisms()[name]).items():
        (row,) = [line for line in text.splitlines() if line.startswith("|") and f"`{parameter}`" in line.split("|")[1]]
        _, given, value, *_ = row.split("|")
        position = [p.strip(" `") for p in given.split(",")].index(parameter)
        written = value.split(",")[position].strip(" `")
        assert (float(written) == default) if isinstance(default, float) else (written == str(default)), parameter


def test_every_dependency_has_a_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = [r for group in project["project"]["optional-dependencies"].values() for r in group]
    wanted = [*project["project"]["dependencies"], *extras, *project["build-system"]["requires"]]
    names = {re.split(r"[<>=\[ ]", r)[0] for r in wanted} - {"amm-opt"}
    rows = re.findall(
        r"^\| ([\w-]+) \| (?:core|build|`\w+`) \| \S", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE
    )
    assert names == set(rows)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_local_links_exist(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name_of(page)} links to {target}"
        assert file.is_relative_to(ROOT), f"{name_of(page)} links outside the project: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in slugs, f"{name_of(page)} links to {target}"


def exists(dotted: str) -> bool:
    """Whether there is a module, or a name in one, down to fields of dataclasses."""
    first, *rest = dotted.split(".")
    found: object = importlib.import_module({"ao": "amm_opt"}.get(first, first))
    for name in rest:
        if isinstance(found, ModuleType) and not hasattr(found, name):
            if not importlib.util.find_spec(f"{found.__name__}.{name}"):
                return False
            importlib.import_module(f"{found.__name__}.{name}")
        if not hasattr(found, name):
            return name in getattr(found, "__annotations__", {})
        found = getattr(found, name)
    return True


@pytest.mark.parametrize("page", [p for p in PAGES if p.name != "CHANGELOG.md"], ids=name_of)
def test_files_modules_and_names_in_pages_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not [path for path in PATH.findall(text) if not (ROOT / path).exists()]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = set(DOTTED.findall(PATH.sub("", text))) - GROUPS - set(project["entry-points"])
    assert not sorted(name for name in names if not exists(name))


def test_the_maps_lead_to_every_page() -> None:
    maps = [ROOT / "docs" / "README.md", ROOT / "docs" / "decisions" / "README.md"]
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in maps
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    }
    assert not [name_of(page) for page in ROOT.glob("docs/**/*.md") if page not in linked.union(maps)]
