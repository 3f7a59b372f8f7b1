"""The reference of public names: one page per room, in the words of the docstrings.

Which names there are and where they come from is read from the imports of ``amm_opt/__init__.py``, which is not run.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
ROLE = re.compile(r":(?:func|class|meth|mod|attr|data|exc):(?:`~?([^`]+)`|(?=<code>))")
LATER = "---\nsearch: {boost: 0.5}\n---\n\n"
"""Pages that say what something is for are found before those that list names."""
BESIDE = {"formulations": "Mechanisms that ship", "amm_opt.testing": "Checks of plug-ins"}
"""Packages besides ``amm_opt`` itself whose ``__all__`` is public."""


def imports(package: str) -> dict[str, list[str]]:
    """Names by the module that they are imported from, in the order of the package's imports."""
    tree = ast.parse((ROOT / package.replace(".", "/") / "__init__.py").read_text(encoding="utf-8"))
    found: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(package):
            found.setdefault(str(node.module), []).extend(alias.name for alias in node.names)
    return found


def described(module: str) -> str:
    """The first line of a module's docstring."""
    path = ROOT / module.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.partition("\n\n")[0].replace("\n", " ")


def rooms() -> dict[str, tuple[str, str]]:
    """Title and text of the pages of the reference, by their path on the site."""
    by_room: dict[str, list[tuple[str, list[str]]]] = {}
    for module, names in imports("amm_opt").items():
        by_room.setdefault(module.split(".")[1], []).append((module, names))
    pages = {}
    for room in sorted(by_room):
        lines = [f"{LATER}# ao: {room}", ""]
        for module, names in by_room[room]:
            lines += [described(module), ""]
            for name in names:
                lines += [f"::: amm_opt.{name}", ""]
        pages[f"api/{room}.md"] = (room, "\n".join(lines))
    for package, title in BESIDE.items():
        listed = [name for names in imports(package).values() for name in names]
        body = "\n\n".join(f"::: {package}.{name}" for name in listed)
        pages[f"api/{package.replace('.', '_')}.md"] = (title, f"{LATER}# {title}\n\n{described(package)}\n\n{body}\n")
    return pages


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Hangs the pages below the page that introduces them."""
    listed = [{title: path} for path, (title, _) in rooms().items()]
    for section in config.nav or []:
        for entries in section.values():
            for place, item in enumerate(entries):
                if isinstance(item, dict) and "api.md" in item.values():
                    (title,) = item
                    entries[place] = {title: ["api.md", *listed]}
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    for path, (_, text) in rooms().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Docstrings name functions as ``:func:`name``` does; a reader wants the name."""
    return ROLE.sub(lambda found: f"<code>{found[1]}</code>" if found[1] else "", html)
