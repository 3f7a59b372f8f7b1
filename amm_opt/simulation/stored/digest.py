"""Digests of stored runs: what was changed or damaged since it was written is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from amm_opt.errors import InputError

FORMAT = 3
"""Of stored runs; 1 had no digest, 2 one Parquet table for each array, written when the run was finished."""


def of_bytes(content: bytes) -> str:
    """The SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()


def sealed(document: dict[str, Any]) -> str:
    """The text of a document with its format and the SHA-256 of itself."""
    whole = {"format": FORMAT, **document}
    return json.dumps({**whole, "digest": _of_document(whole)}, indent=1) + "\n"


def opened(path: Path) -> dict[str, Any]:
    """A document that :func:`sealed` made.

    Raises:
        InputError: where the file is no such document, or was changed or damaged.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(f"{path} is damaged: {type(error).__name__}: {error}") from error
    if not isinstance(document, dict) or "format" not in document:
        raise InputError(f"{path} is damaged: it does not say its format")
    if document["format"] in (1, 2):
        raise InputError(
            f"{path} was written by an earlier version, whose format {document['format']} cannot be read any more: run"
            " it again, or read its Parquet tables with pandas"
        )
    if document["format"] != FORMAT:
        raise InputError(f"{path}: format {document['format']!r} is not known, only {FORMAT}")
    if document.get("digest") != _of_document(document):
        raise InputError(f"{path} is damaged, or was edited after the run was stored: its digest does not fit")
    return document


def damaged(folder: Path, files: Mapping[str, str]) -> list[str]:
    """What is wrong with files whose digests are known, one sentence each."""
    problems = []
    for name, digest in files.items():
        try:
            content = (folder / name).read_bytes()
        except FileNotFoundError:
            problems.append(f"{folder / name} not found")
            continue
        except OSError as error:
            problems.append(f"{folder / name}: {error.strerror or error}")
            continue
        if of_bytes(content) != digest:
            problems.append(
                f"{folder / name} is damaged, or was edited after the run was stored: its digest does not fit"
            )
    return problems


def added(folder: Path, known: Iterable[str], places: Iterable[str]) -> list[str]:
    """Files in some places of a folder that are not known there, one sentence each."""
    names = set(known)
    found = (path for place in places for path in sorted((folder / place).rglob("*")) if path.is_file())
    return [
        f"{path} was added after the run was stored"
        for path in found
        if path.relative_to(folder).as_posix() not in names and path.suffix != ".part"
    ]


def _of_document(document: dict[str, Any]) -> str:
    rest = {key: value for key, value in document.items() if key != "digest"}
    return of_bytes(json.dumps(rest, sort_keys=True).encode())
