"""What a stranger gets: wheel, page on PyPI, pages of the repository, hints that name what exists."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import amm_opt as ao

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\(([^)\s]+)\)")
HINT = re.compile(r"pip install '?(?:-e )?'?(?:amm-opt|\.)\[([^\]]+)\]")


@pytest.fixture(scope="module")
def pyproject() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_case_of_the_repository_is_in_the_wheel(pyproject: Any) -> None:
    given = pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    cases = {f"data/{path.parent.name}" for path in ROOT.glob("data/*/case.toml")}
    assert len(cases) >= 5
    assert given == {case: f"amm_opt/{case}" for case in cases}


def test_the_page_on_pypi_has_no_link_into_the_repository(pyproject: Any) -> None:
    """The substitutions of the build, on the README as it is."""
    hook = pyproject["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    assert hook["fragments"] == [{"path": "README.md"}]
    before = text = (ROOT / "README.md").read_text(encoding="utf-8")
    for change in hook["substitutions"]:
        text = re.sub(change["pattern"], change["replacement"], text)
    assert len(LINK.findall(text)) == len(LINK.findall(before)) > 50
    base = pyproject["project"]["urls"]["Source"].removeprefix("https://github.com/")
    for target, shown in zip(LINK.findall(before), LINK.findall(text), strict=True):
        if target.startswith(("http", "#")):
            assert shown == target
        elif target.endswith(".png"):
            assert shown == f"https://raw.githubusercontent.com/{base}/main/{target}"
        else:
            assert shown == f"https://github.com/{base}/blob/main/{target}"


def test_one_version_and_one_address(pyproject: Any) -> None:
    project, citation = pyproject["project"], (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.*)$", citation, re.MULTILINE)[1] == ao.__version__ == "0.1.0"  # type: ignore[index]
    assert f'repository-code: "{project["urls"]["Source"]}"' in citation
    assert all(url.startswith(project["urls"]["Source"]) for url in project["urls"].values())
    for name in ("Documentation", "Changelog"):
        assert (ROOT / project["urls"][name].partition("/blob/main/")[2]).is_file()
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    python = [c.rpartition(" ")[2] for c in project["classifiers"] if re.search(r":: 3\.\d+$", c)]
    assert project["requires-python"] == f">={python[0]}"


def test_hints_name_extras_that_exist(pyproject: Any) -> None:
    """In messages, docstrings and pages."""
    extras, seen = set(pyproject["project"]["optional-dependencies"]), set()
    places = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    places += [
        path for room in ("amm_opt", "formulations", "benchmarks", "tests") for path in (ROOT / room).rglob("*.py")
    ]
    for path in places:
        for hint in HINT.findall(path.read_text(encoding="utf-8")):
            for extra in hint.split(","):
                assert extra in extras, f"{path}: {extra}"
                seen.add(extra)
    assert {"plot", "ac", "export", "study", "opendss"} <= seen


def test_messages_name_the_extra_that_has_the_package(pyproject: Any) -> None:
    """A message that says what is missing is helped by the extra that it names."""
    extras = pyproject["project"]["optional-dependencies"]
    for path in (ROOT / "amm_opt").rglob("*.py"):
        said = re.findall(r"need(?:s)? (\S+): pip install 'amm-opt\[(\w+)\]'", path.read_text(encoding="utf-8"))
        for package, extra in said:
            names = {re.split(r"[<>=]", item)[0].lower().replace("_", "-") for item in extras[extra]}
            assert package.lower() in names or f"{package.lower()}-py" in names, f"{path}: {package}"
