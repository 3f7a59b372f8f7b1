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

    Raises:
        ValueError: where it names none.
    """
    name = text.strip().strip("\"'()[]{}").replace("\\", "/")
    if not name:
        raise ValueError("redirect without a file")
    try:
        path = (folder / name).resolve()
        return path if path.exists() or path.suffix else path.with_name(f"{path.name}.dss")
    except (OSError, RuntimeError, ValueError):
        raise ValueError(f"file {name!r} not found") from None
