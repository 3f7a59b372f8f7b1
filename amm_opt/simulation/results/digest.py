"""Digests of stored runs: what was changed or damaged since it was written is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from amm_opt.errors import InputError

FORMAT = 2
"""Of ``run.json``; 1 had no digest."""


def sealed(document: dict[str, Any], folder: Path, tables: Iterable[str]) -> dict[str, Any]:
    """The document with the SHA-256 of each table that is in the folder, and of itself."""
    present = (name for name in tables if (folder / name).is_file())
    document = {"format": FORMAT, **document, "tables": {name: _of_file(folder / name) for name in present}}
    return {**document, "digest": _of_document(document)}


def opened(path: Path) -> dict[str, Any]:
    """A document that :func:`sealed` made, checked with every table beside it.

    Raises:
        InputError: where the file is no such document, or it or a table was changed, damaged or lost.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(f"{path} is damaged: {type(error).__name__}: {error}") from error
    if not isinstance(document, dict) or "format" not in document:
        raise InputError(f"{path} is damaged: it does not say its format")
    if document["format"] == 1 and "digest" not in document:
        raise InputError(
            f"{path} was written by an earlier version, without the digest that shows whether it was changed:"
            " run it again"
        )
    if document["format"] != FORMAT:
        raise InputError(f"{path}: format {document['format']!r} is not known, only {FORMAT}")
    tables = document.get("tables")
    if document.get("digest") != _of_document(document) or not isinstance(tables, dict):
        raise InputError(f"{path} is damaged, or was edited after the run was stored: its digest does not fit")
    problems = []
    for name, digest in tables.items():
        table = path.parent / name
        if not table.is_file():
            problems.append(f"{table} not found")
        elif _of_file(table) != digest:
            problems.append(f"{table} is damaged, or was edited after the run was stored: its digest does not fit")
    if problems:
        raise InputError(problems)
    return document


def _of_document(document: dict[str, Any]) -> str:
    rest = {key: value for key, value in document.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _of_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: {error}") from error
