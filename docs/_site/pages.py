"""Which pages the site has, in which order, and where their links lead.

The map of the pages, docs/README.md, is the order: its headings are sections, the links in its tables are pages. What a
page links to outside docs/ comes along: Markdown as a page, Python as a page of source, everything else as a file. So
the same pages read well in the repository and on a site that needs no network.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
NAMED = {"README.md": "index.md", "docs/README.md": "pages.md"}
"""Pages that have another place on the site than in the repository."""
FENCE = re.compile(r"(^(?: *)```.*?^(?: *)```[^\n]*$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
TEXT_AND_LINK = re.compile(r"\[([^\]]+)\]\(([^)\s#]+)(?:#[^)\s]*)?\)")
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
UNSEARCHED = "---\nsearch: {exclude: true}\n---\n\n"
SHOWN = re.compile(r"^<!-- source: (\S+) (\w+) -->$", re.MULTILINE)
LISTED = {".md", ".py", ".toml", ".ipynb"}


def site_path(path: str) -> str:
    """The place on the site of a file or folder, given by its path in the repository."""
    if path in NAMED:
        return NAMED[path]
    if path.startswith("docs/"):
        return re.sub(r"\.ipynb$", ".md", path.removeprefix("docs/"))
    if (ROOT / path).is_dir():
        return f"source/{path}/index.md"
    return f"source/{path}.md" if path.endswith(".py") else f"project/{path}"


def repository_path(site: str) -> str:
    """The file or folder that a page of the site was made of."""
    for path, named in NAMED.items():
        if site == named:
            return path
    if site.startswith("source/"):
        return site.removeprefix("source/").removesuffix("/index.md").removesuffix(".md")
    return site.removeprefix("project/") if site.startswith("project/") else f"docs/{site}"


def target_of(link: str, path: str) -> tuple[str, str] | None:
    """Path in the repository and anchor that a link on a page leads to; None where it leaves or stays on the page."""
    if re.match(r"[a-z]+:|#", link):
        return None
    file, mark, anchor = link.partition("#")
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), file)), mark + anchor


def links(path: str) -> Iterator[str]:
    """What a Markdown file of the repository links to, as paths in the repository."""
    text = (ROOT / path).read_text(encoding="utf-8")
    for prose in FENCE.split(text)[::2]:
        for link in LINK.findall(prose):
            if found := target_of(link, path):
                yield found[0]


def outside(start: list[str]) -> set[str]:
    """Everything outside docs/ that pages lead to, and what leads on from there."""
    found: set[str] = set()
    waiting = list(start)
    while waiting:
        for path in links(waiting.pop()):
            if path in found or path.startswith("docs/") or not (ROOT / path).exists():
                continue
            found.add(path)
            if path.endswith(".md"):
                waiting.append(path)
    return found


def listing(path: str) -> str:
    """A page for a folder: its files, with the first line of what they say of themselves."""
    folder = ROOT / path
    rows = [f"- `{p.name}`" for p in sorted(folder.iterdir()) if p.suffix in LISTED or p.is_dir()]
    return f"{UNSEARCHED}# {path}\n\nFiles of this folder of the repository:\n\n" + "\n".join(
        r for r in rows if "__py" not in r
    )


def source(path: str) -> str:
    """A page that shows a file of source as it is."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return f'{UNSEARCHED}# {path}\n\n````python linenums="1"\n{text}\n````\n'


def shown(found: re.Match[str]) -> str:
    """A class or function as it stands in its file."""
    path, name = found.groups()
    text = (ROOT / path).read_text(encoding="utf-8")
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            first = min([node.lineno, *(mark.lineno for mark in node.decorator_list)])
            code = "\n".join(text.splitlines()[first - 1 : node.end_lineno])
            return f'````python title="{path}" linenums="{first}"\n{code}\n````'
    raise PluginError(f"{path} has no {name}")


def sections(path: str = "docs/README.md") -> list[dict[str, Any]]:
    """The navigation that the map of the pages describes."""
    text = (ROOT / path).read_text(encoding="utf-8")
    _, *parts = HEADING.split(text)
    seen: set[str] = set()
    found: list[dict[str, Any]] = []
    for heading, body in zip(parts[::2], parts[1::2], strict=True):
        entries: list[dict[str, Any]] = []
        for row in re.findall(r"^\| (\[.*?) \|", body, re.MULTILINE):
            for title, link in TEXT_AND_LINK.findall(row):
                leads = target_of(link, path)
                if leads is None or leads[0] in seen:
                    continue
                seen.add(leads[0])
                entries.append({title: entry(leads[0])})
        found.append({heading: entries})
    return found


def entry(path: str) -> Any:
    """A page, or the page and those it lists: decisions, and the rooms of the reference."""
    if path == "docs/decisions/README.md":
        listed = re.findall(r"^- \[([^\]]+)\]\(([^)]+)\)", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
        return [site_path(path), *({title: f"decisions/{link}"} for title, link in listed)]
    return site_path(path)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The order of the pages."""
    config.nav = [{"amm-opt": ["index.md", "pages.md"]}, *sections()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds what pages link to, and gives the two README files their places."""
    here = ["docs/" + file.src_uri for file in files.documentation_pages()]
    wanted = {"README.md", *outside([*here, "README.md"])}
    if readme := files.get_file_from_path("README.md"):
        files.remove(readme)
    for path in [*NAMED, *sorted(wanted - set(NAMED))]:
        place, inclusion = site_path(path), InclusionLevel.NOT_IN_NAV
        if (ROOT / path).is_dir():
            made = File.generated(config, place, content=listing(path), inclusion=inclusion)
        elif path.endswith(".py"):
            made = File.generated(config, place, content=source(path), inclusion=inclusion)
        else:
            made = File.generated(config, place, abs_src_path=str(ROOT / path), inclusion=inclusion)
        files.append(made)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links as they are on the site."""
    path = repository_path(page.file.src_uri)
    if page.file.src_uri.startswith(("source/", "api/")):
        return markdown

    def moved(found: re.Match[str]) -> str:
        leads = target_of(found[1], path)
        if leads is None:
            return found[1]
        if not (ROOT / leads[0]).exists():
            if files.get_file_from_path(leads[0].removeprefix("docs/")):
                return found[1]  # a picture that was made for the page
            raise PluginError(f"{path} links to {found[1]}, which does not exist")
        return posixpath.relpath(site_path(leads[0]), posixpath.dirname(page.file.src_uri) or ".") + leads[1]

    parts = FENCE.split(markdown)
    parts[::2] = [SHOWN.sub(shown, LINK.sub(moved, part)) for part in parts[::2]]
    return "".join(parts)
