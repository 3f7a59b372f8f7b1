"""The rules of the house, read from the source without importing it; each gives one sentence per breach.

Every import counts, also inside a function or for types only. ``__init__.py`` counts as a file of its folder,
``__main__.py`` does not, which Python wants beside it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

FLOORS = (
    ("errors", "arrays", "tolerances", "io", "fields", "specs", "plugins"),
    ("network",),
    ("cases",),
    ("margins",),
    ("program", "grid"),
    ("importers", "meters"),
    ("market",),
    ("solve",),
    ("registry", "verification"),
    ("simulation",),
    ("pictures",),
    ("studies", "request_market", "robustness", "exchange"),
    ("study", "testing", "__main__"),
)
"""Rooms of ``amm_opt``, a file or a folder each, from the ground up; the package itself stands on top of them."""
LEVEL = {room: level for level, floor in enumerate(FLOORS) for room in floor}
ROOF = len(FLOORS)
PACKAGES = ("amm_opt", "formulations")
FOLDERS = (*PACKAGES, "tests", "benchmarks", "data")
FILE_LINES, FUNCTION_LINES, FOLDER_FILES = 400, 60, 10


@dataclass(frozen=True)
class Source:
    """A Python file: its path below the root, its module's name, its text, and which modules there are."""

    path: Path
    module: str
    text: str
    modules: frozenset[str]

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(ast.parse(self.text)))

    @cached_property
    def imports(self) -> list[tuple[int, str, str]]:
        """Line, module and name (empty for the module itself) of everything that is imported from the project."""
        found = []
        for node in self.nodes:
            if isinstance(node, ast.Import):
                found += [(node.lineno, alias.name, "") for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = self._base(node)
                for alias in node.names:
                    whole = f"{base}.{alias.name}"
                    found.append((node.lineno, whole, "") if whole in self.modules else (node.lineno, base, alias.name))
        return [(line, module, name) for line, module, name in found if module.split(".")[0] in FOLDERS]

    def _base(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.module.split(".") + ["__init__"] * (self.path.name == "__init__.py")
        return ".".join([*parts[: -node.level], *([node.module] if node.module else [])])


@cache
def sources(root: Path, folders: tuple[str, ...] = FOLDERS) -> list[Source]:
    """All Python files below these folders of the project; each is read and parsed once."""
    if folders != FOLDERS:
        return [source for source in sources(root) if source.path.parts[0] in folders]
    paths = [path.relative_to(root) for folder in folders for path in sorted((root / folder).rglob("*.py"))]
    names = {path: ".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths}
    modules = frozenset(names.values())
    return [Source(path, names[path], (root / path).read_text(encoding="utf-8"), modules) for path in paths]


def room(module: str) -> str:
    """The room of ``amm_opt`` that a module belongs to; empty for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def floors(root: Path) -> Iterator[str]:
    """Imports run downwards, and every room stands on a floor."""
    for source in sources(root, ("amm_opt",)):
        here = LEVEL.get(room(source.module)) if room(source.module) else ROOF
        if here is None:
            yield f"{source.path}: amm_opt/{room(source.module)} stands on no floor; add it to FLOORS"
            continue
        for line, module, _ in source.imports:
            if module.startswith("formulations"):
                yield f"{source.path}:{line} imports {module}: amm_opt finds mechanisms by entry points, never by name"
            elif module.split(".")[0] != "amm_opt":
                yield f"{source.path}:{line} imports {module}, which is not installed with the package"
            elif (there := LEVEL.get(room(module), ROOF)) > here:
                yield f"{source.path}:{line} imports {module}, from floor {here + 1} up to floor {there + 1}"


def circles(root: Path) -> Iterator[str]:
    """No module imports itself through others."""
    files = {source.module: source for source in sources(root, PACKAGES)}
    below = {name: sorted({m for _, m, _ in file.imports if m in files} - {name}) for name, file in files.items()}
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> Iterator[str]:
        if module in path:
            yield "circle of imports: " + " -> ".join([*path[path.index(module) :], module])
        elif module not in done:
            for other in below[module]:
                yield from walk(other, [*path, module])
            done.add(module)

    for module in below:
        yield from walk(module, [])


def private(name: str) -> bool:
    """Whether a name is a module's own."""
    return name.startswith("_") and not name.startswith("__")


def private_names(root: Path) -> Iterator[str]:
    """Nobody reaches for another module's private names, by import or by attribute."""
    for source in sources(root, PACKAGES):
        bound = {}
        for line, module, name in source.imports:
            for part in [*module.split("."), name]:
                if private(part):
                    yield f"{source.path}:{line} imports {name or module} of {module}, which is private there"
            if not name:
                bound[module.rpartition(".")[2]] = module
        for node in source.nodes:
            if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in bound):
                continue
            if private(node.attr):
                where = f"{source.path}:{node.lineno}"
                yield f"{where} reads {node.attr} of {bound[node.value.id]}, which is private there"


def long_files(root: Path) -> Iterator[str]:
    """Files stay under ``FILE_LINES`` lines."""
    for source in sources(root):
        count = len(source.text.splitlines())
        if count >= FILE_LINES:
            yield f"{source.path} has {count} lines; files stay under {FILE_LINES}"


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> int:
    """Lines of a function without its docstring, blank lines and comments."""
    documented = ast.get_docstring(function, clean=False) is not None
    first = function.body[0]
    skipped = range(first.lineno, (first.end_lineno or first.lineno) + 1) if documented else range(0)
    numbers = range(function.lineno, (function.end_lineno or function.lineno) + 1)
    return sum(
        1 for k in numbers if k not in skipped and lines[k - 1].strip() and not lines[k - 1].strip().startswith("#")
    )


def long_functions(root: Path) -> Iterator[str]:
    """Functions stay under ``FUNCTION_LINES`` lines of code; tables of data stand outside of functions."""
    for source in sources(root):
        lines = source.text.splitlines()
        for node in source.nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                count = code_lines(node, lines)
                if count >= FUNCTION_LINES:
                    where = f"{source.path}:{node.lineno} {node.name}"
                    yield f"{where} has {count} lines of code; functions stay under {FUNCTION_LINES}"


def full_folders(root: Path) -> Iterator[str]:
    """No folder holds more than ``FOLDER_FILES`` Python files at one level."""
    count: dict[Path, int] = {}
    for source in sources(root):
        if source.path.name != "__main__.py":
            count[source.path.parent] = count.get(source.path.parent, 0) + 1
    for folder, files in sorted(count.items()):
        if files > FOLDER_FILES:
            yield f"{folder} has {files} Python files; a folder has at most {FOLDER_FILES} at one level"


RULES = (floors, circles, private_names, long_files, long_functions, full_folders)
