"""The pages have their form, the site is built from them without a warning, and needs no network to be read."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

import amm_opt as ao
from amm_opt.registry import mechanisms
from amm_opt.study.cli import main
from tests.study.test_docs import PAGES, ROOT, name_of

SECTIONS = ("In ten lines", "Mathematics", "Source and our reading", "When not to use it", "Parameters")
"""What every mechanism page has, in this order; others may stand between."""
STATUS = re.compile(r"\*\*(Known|Our reading|Ours)\b")
LINES = 10
RUN = re.compile(r"<!-- run -->\n```sh\n(.*?)```", re.DOTALL)
SHELL = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def section(text: str, heading: str) -> str:
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("name", sorted(mechanisms()))
def test_mechanism_pages_have_one_form(name: str) -> None:
    """What it does, a picture, ten lines, mathematics, source with its status, when not to use it, parameters."""
    page = ROOT / "docs" / "mechanisms" / f"{name}.md"
    text = page.read_text(encoding="utf-8")
    title, _, rest = text.partition("\n\n")
    assert title == f"# {name}"
    assert rest.startswith("**"), "the first sentence says what it does"
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert [h for h in headings if h in SECTIONS] == list(SECTIONS)
    (picture,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text.partition("\n## ")[0])
    assert picture == f"../images/mechanisms/{name}.png"
    assert (page.parent / picture).is_file()
    (code,) = re.findall(r"```python\n(.*?)```", section(text, "In ten lines"), re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= LINES
    assert re.search(rf'"{name}\b', code) or f'f"{name}' in code
    assert STATUS.match(section(text, "Source and our reading").strip())
    assert section(text, "When not to use it").strip().startswith("- **")
    assert "](../../formulations/" in text.rpartition("Code: ")[2]


def test_commands_that_are_marked_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks after ``<!-- run -->``; all others by ``benchmarks/pages/commands.py``, which takes long."""
    monkeypatch.chdir(tmp_path)
    seen = 0
    for page in PAGES:
        for block in RUN.findall(page.read_text(encoding="utf-8")):
            for line in block.splitlines():
                result = CliRunner().invoke(main, shlex.split(line)[1:])
                assert result.exit_code == 0, f"{name_of(page)}: {line}\n{result.output}"
                seen += 1
    assert seen >= 4


def test_targets_and_extras_in_commands_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines = "\n".join(SHELL.findall(text))
        assert set(re.findall(r"^make ([a-z-]+)", lines, re.MULTILINE)) <= targets, name_of(page)
        extras = re.findall(r"(?:-e '?\.|amm-opt)\[([a-z,]+)\]", text)
        assert {e for some in extras for e in some.split(",")} <= set(project["optional-dependencies"]), name_of(page)


def built(folder: Path) -> Path:
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings_handlers.python")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


def test_the_site_is_built_without_a_warning_and_needs_no_network(tmp_path: Path) -> None:
    """Links inside it are checked by the build, which is strict."""
    site = built(tmp_path)
    holds_every_page_and_name(site)
    needs_no_network_and_shows_mathematics(site)


def holds_every_page_and_name(site: Path) -> None:
    for page in ROOT.glob("docs/**/*.md"):
        path = page.relative_to(ROOT / "docs").as_posix()
        place = {"README.md": "pages.md"}.get(path, path.replace("README.md", "index.md"))
        assert (site / place).with_suffix(".html").is_file(), path
    assert "Two commands" in (site / "index.html").read_text(encoding="utf-8")
    ids = {
        name
        for page in site.glob("api/*.html")
        for name in re.findall(r'id="amm_opt\.(\w+)"', page.read_text(encoding="utf-8"))
    }
    assert set(ao.__all__) <= ids
    places = {entry["location"] for entry in json.loads((site / "search/search_index.json").read_text())["docs"]}
    assert {"mechanisms/amm.html", "concepts.html", "notebooks/reading_prices.html"} <= places


def needs_no_network_and_shows_mathematics(site: Path) -> None:
    from_elsewhere = re.compile(r'<(?:script|img|iframe)[^>]+src="?https?:|<link[^>]+stylesheet[^>]+href="?https?:')
    for page in site.glob("**/*.html"):
        text = page.read_text(encoding="utf-8")
        assert not from_elsewhere.search(text), page
        assert 'class="arithmatex"' not in text, page
        assert ":func:" not in text, page
        formulas = "".join(re.findall(r"<math.*?</math>", text, re.DOTALL))
        assert not re.search(r">(?:&(?:amp;)?|\\[A-Za-z]+)<", formulas), f"{page}: LaTeX that was not understood"
    concepts = (site / "concepts.html").read_text(encoding="utf-8")
    assert concepts.count("<math") > 30
    assert "<munder>" in concepts  # sums have their index below
    code = re.sub(r"<[^>]+>", "", (site / "extend.html").read_text(encoding="utf-8"))
    assert "class DCFlow(NetworkModel):" in code  # from the source itself
