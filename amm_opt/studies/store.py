"""The folder of a study: what it is, and a row for each variant as soon as it is there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from amm_opt.errors import InputError, OutputError, counted, reason
from amm_opt.io.files import check_writable, claimed, released, remove, replace_bytes, replace_file
from amm_opt.io.lock import LOCK, lock_of
from amm_opt.simulation.stored.difference import differences
from amm_opt.simulation.stored.digest import opened, sealed
from amm_opt.simulation.stored.folder import GO_ON, Mode
from amm_opt.studies.variant import RUNS, Row, name_of

DOCUMENT = "study.json"
"""What the study is; written first."""
ROWS = "variants"
TABLE, TABLE_CSV, PICTURE = "table.parquet", "table.csv", "study.png"
INDICES, INDICES_PICTURE = "sensitivity.csv", "sensitivity.png"
"""Written when the study is finished; indices where they follow from its sample."""
OURS = (DOCUMENT, ROWS, RUNS, TABLE, TABLE_CSV, PICTURE, INDICES, INDICES_PICTURE, LOCK)


class StudyFolder:
    """A folder that a study is written into, by this process only.

    Args:
        document: what the study is: its ``inputs``, which must be the same where it is gone on with, and the rest.
        mode: ``new``, ``resume`` or ``force``, as of a run.

    Attributes:
        finished: whether every variant has its run, and the table is there: nothing needs to be written any more.

    Raises:
        InputError: where it cannot be written, is in use, or holds something else; it is as it was then.
    """

    def __init__(self, path: Path, document: Mapping[str, Any], mode: Mode) -> None:
        self.path, self._made = path, study_ready(path, mode)
        try:
            self.finished = mode == "resume" and self._whole(document)
            self._lock = lock_of(path, finished=self.finished)
            try:
                self._settle(dict(document), mode)
            except BaseException:
                self._unlock()
                raise
        except OSError as error:
            released(self._made)
            raise InputError(f"nothing can be written to {path}: {error.strerror or error}") from error
        except BaseException:
            released(self._made)
            raise

    def _settle(self, document: dict[str, Any], mode: Mode) -> None:
        there = self.path / DOCUMENT
        if there.is_file() and mode == "resume":
            if found := differences(opened(there)["inputs"], document["inputs"]):
                raise InputError([f"{self.path} holds another study: {sentence}" for sentence in found])
            for name in () if self.finished else (TABLE, TABLE_CSV, PICTURE, INDICES, INDICES_PICTURE):
                (self.path / name).unlink(missing_ok=True)
            return
        for name in OURS:
            if (self.path / name).is_dir():
                remove(self.path / name)
            elif name != LOCK:
                (self.path / name).unlink(missing_ok=True)
        replace_file(there, sealed(document), durable=True)
        (self.path / ROWS).mkdir()

    def _whole(self, document: Mapping[str, Any]) -> bool:
        return (self.path / TABLE).is_file() and len(self.rows()) == document["inputs"]["variants"]

    def rows(self) -> dict[int, Row]:
        """What is there already, but for what failed."""
        return {number: row for number, row in read_rows(self.path).items() if not row.reason}

    def write(self, row: Row) -> None:
        """Keep a row.

        Raises:
            OutputError: where the folder takes nothing any more.
        """
        try:
            (self.path / ROWS).mkdir(exist_ok=True)
            replace_file(self.path / ROWS / f"{name_of(row.number)}.json", json.dumps(asdict(row)) + "\n")
        except OSError as error:
            raise OutputError(f"{self.path} takes nothing any more ({reason(error)}); {self.kept}") from error

    def finish(self, table: pd.DataFrame) -> None:
        """Write the table.

        Raises:
            OutputError: where the folder takes nothing any more.
        """
        if self.finished:
            return
        try:
            replace_bytes(self.path / TABLE, table.to_parquet())
            replace_file(self.path / TABLE_CSV, table.to_csv())
        except OSError as error:
            raise OutputError(f"the table cannot be written to {self.path}: {reason(error)}") from error

    @property
    def kept(self) -> str:
        """How much is there of a study that was ended, and how to go on."""
        count = sum(1 for _ in (self.path / ROWS).glob("*.json"))
        return (
            f"{counted(count, 'variant is', 'variants are')} kept in {self.path}: {GO_ON}"
            if count
            else "no variant was finished"
        )

    def close(self) -> None:
        """Let others write; a new folder without a row is left as it was found."""
        with suppress(OSError):
            if not any((self.path / ROWS).iterdir()) and not (self.path / TABLE).is_file():
                (self.path / ROWS).rmdir()
                (self.path / DOCUMENT).unlink()
        self._unlock()
        released(self._made)

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()


def study_ready(path: Path, mode: Mode) -> list[Path]:
    """See that a folder can be claimed; nothing that is there is touched.

    Returns:
        The folders that were made, for ``released``.

    Raises:
        InputError: where it holds something else, or a study that is neither to be gone on with nor to be removed.
    """
    if not path.is_dir() or not any(path.iterdir()):
        return claimed(path)
    held = {item.name.removesuffix(".part") for item in path.iterdir()}
    if held - set(OURS) or (DOCUMENT not in held and held - {LOCK}):
        raise InputError(f"{path} exists and is not an empty folder")
    if mode == "new" and DOCUMENT in held:
        raise InputError(f"{path} exists and is not an empty folder: it holds a study; {GO_ON}")
    if mode != "resume" or TABLE not in held:
        check_writable(path)
    return []


def read_rows(path: Path) -> dict[int, Row]:
    """All rows of a folder, in the order of their numbers.

    Raises:
        InputError: where a file is damaged.
    """
    rows: dict[int, Row] = {}
    for file in sorted((path / ROWS).glob("*.json")):
        try:
            item = json.loads(file.read_text(encoding="utf-8"))
            row = Row(**{**item, "warnings": tuple(item["warnings"])})
            rows[int(row.number)] = row
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(f"{file} is damaged, remove it: {reason(error)}") from error
    return rows


def read_document(path: Path) -> dict[str, Any]:
    """What the study of a folder is.

    Raises:
        InputError: where it holds none.
    """
    if not (path / DOCUMENT).is_file():
        raise InputError(f"{path} is not the folder of a study: it has no {DOCUMENT}")
    return opened(path / DOCUMENT)
