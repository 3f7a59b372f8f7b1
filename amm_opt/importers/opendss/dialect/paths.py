"""Files that OpenDSS scripts name."""

from __future__ import annotations

import stat
from pathlib import Path

MAX_BYTES = 200_000_000
"""Size of a file."""


def no_file(path: Path) -> str:
    """Why a path cannot be read as a file; empty where it can."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return f"{str(path)!r} not found"
    if not stat.S_ISREG(found.st_mode):
        return f"{str(path)!r} is not a regular file"
    return f"{str(path)!r} is larger than {MAX_BYTES:,} bytes" if found.st_size > MAX_BYTES else ""


def found(folder: Path, text: str) -> Path:
    """Path that a statement names, from a folder; a file without an ending may end in ``.dss``.

    Where no file has that name, one counts that has it in other letters, small or capital.

    Raises:
        ValueError: where it names none.
    """
    name = text.strip().strip("\"'()[]{}").replace("\\", "/")
    if not name:
        raise ValueError("redirect without a file")
    try:
        path = (folder / name).resolve()
        path = path if path.exists() or path.suffix else path.with_name(f"{path.name}.dss")
        return path if path.exists() else _in_other_letters(path)
    except (OSError, RuntimeError, ValueError):
        raise ValueError(f"file {name!r} not found") from None


def _in_other_letters(path: Path) -> Path:
    """The one path that differs in small and capital letters only; the path itself where there is none, or several."""
    at = Path(path.anchor)
    for part in path.parts[1:]:
        if not (at / part).exists() and at.is_dir():
            alike = [x.name for x in at.iterdir() if x.name.lower() == part.lower()]
            part = alike[0] if len(alike) == 1 else part
        at = at / part
    return at
