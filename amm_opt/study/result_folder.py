"""The folder of a comparison: claimed before the first run, filled run by run, complete when its list is there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pandas as pd

from amm_opt.errors import InputError, OutputError, reason
from amm_opt.io.files import check_writable, claimed, folder_names, released, remove, replace_file
from amm_opt.io.lock import LOCK, lock_of
from amm_opt.simulation.stored.folder import DOCUMENT, FORCE, GO_ON, MANIFEST, Mode, unfinished

SUMMARY, PICTURE, REPORT = "summary.csv", "comparison.png", "report.html"
LIST = "comparison.json"
"""Which run is in which folder; it is written last."""
UNFINISHED = "unfinished.json"
"""The same, until then."""
OURS = (SUMMARY, PICTURE, REPORT, LIST, UNFINISHED, LOCK)
FORMAT = 1


class ResultFolder:
    """A folder for the runs of these labels, that this process alone writes into.

    Args:
        mode: ``new`` for a new or empty folder; ``resume`` where it may hold a comparison of the same labels; ``force``
            removes the one that it holds.

    Raises:
        InputError: where it cannot be written, is in use, or holds something else; it is as it was then.
    """

    def __init__(self, path: Path, labels: Iterable[str], mode: Mode = "new") -> None:
        self.path = path
        self._names = folder_names(labels, (*OURS, f"{LIST}.part"))
        self._made = comparison_ready(path, mode)
        self._ours = False
        try:
            self._lock = lock_of(path, finished=mode == "resume" and (path / LIST).is_file())
            try:
                self._settle(mode)
            except BaseException:
                self.close()
                raise
        except OSError as error:
            released(self._made)
            raise InputError(f"nothing can be written to {path}: {error.strerror or error}") from error

    def _settle(self, mode: Mode) -> None:
        if held := _held(self.path):
            if mode == "resume":
                _same(self.path, held, self._names)
                self._ours = True
                return
            known = {*held.values(), *OURS, *(f"{name}.part" for name in OURS)}
            if others := sorted({item.name for item in self.path.iterdir()} - known):
                raise InputError(f"{self.path} holds other files than a comparison: {others[0]}")
            for name in held.values():
                remove(self.path / name)
            for name in known - {LOCK, *held.values()}:
                (self.path / name).unlink(missing_ok=True)
        self._ours = True
        replace_file(self.path / UNFINISHED, self._list(), durable=True)
        for name in self._names.values():
            (self.path / name).mkdir()

    def place(self, label: str) -> Path:
        """The folder of a run."""
        return self.path / self._names[label]

    def finish(self, table: pd.DataFrame) -> None:
        """Write the summary, and the list that makes the folder complete.

        Raises:
            OutputError: where the folder takes nothing any more.
        """
        try:
            replace_summary(self.path, table)
            replace_file(self.path / LIST, self._list(), durable=True)
            (self.path / UNFINISHED).unlink(missing_ok=True)
        except (OSError, ValueError) as error:
            raise OutputError(f"the summary cannot be written to {self.path}: {reason(error)}") from error

    @property
    def kept(self) -> str:
        """What is there of a comparison that was ended, and how to go on; empty where there is nothing."""
        begun = [label for label in self._names if (self.place(label) / MANIFEST).is_file()]
        return f"what was done is kept in {self.path}: {GO_ON}" if begun else ""

    def close(self) -> None:
        """Let others write; without any finished block, leave nothing behind."""
        with suppress(OSError):
            released(self.path / name for name in self._names.values() if self._ours)
            if self._ours and not self.kept:
                (self.path / UNFINISHED).unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.release()
        released(self._made)

    def _list(self) -> str:
        return json.dumps({"format": FORMAT, "runs": self._names}, indent=1) + "\n"


def comparison_ready(path: Path, mode: Mode) -> list[Path]:
    """See that a folder can be claimed; nothing that is there is touched.

    Returns:
        The folders that were made, for ``released``.

    Raises:
        InputError: where it holds something else, or a comparison that is neither to be gone on with nor to be removed.
    """
    if not path.is_dir() or not {item.name for item in path.iterdir()} - {LOCK, f"{UNFINISHED}.part"}:
        return claimed(path) if not path.is_dir() or not any(path.iterdir()) else []
    held = _held(path)
    if not held:
        raise InputError(f"{path} exists and is not an empty folder")
    if mode == "new":
        what = f"a finished comparison, which {FORCE} replaces"
        if not (path / LIST).is_file():
            what = f"a comparison that was not finished; {GO_ON}"
        raise InputError(f"{path} exists and is not an empty folder: it holds {what}")
    if mode != "resume" or not (path / LIST).is_file():
        check_writable(path)
    return []


def _held(path: Path) -> dict[str, str]:
    """The folders of a comparison's runs by label, whether it was finished or not; empty where there is none."""
    for name in (LIST, UNFINISHED):
        if (path / name).is_file():
            return _names_in(path / name)
    return {}


def _same(path: Path, held: dict[str, str], names: dict[str, str]) -> None:
    """Raise InputError where a comparison in a folder is one of other mechanisms."""
    if held != names:
        raise InputError(f"{path} holds another comparison: of {', '.join(held)}, and not of {', '.join(names)}")


def replace_summary(folder: Path, table: pd.DataFrame) -> None:
    """Write ``summary.csv`` at one stroke."""
    replace_file(folder / SUMMARY, table.to_csv(float_format="%.6g"))


def stored_folders(folder: Path) -> dict[str, Path]:
    """The folder of each run of a finished comparison, by label.

    Raises:
        InputError: where there is none, it is not finished, or its list is damaged.
    """
    if not (folder / LIST).is_file():
        raise InputError(_missing(folder))
    return {label: folder / name for label, name in _names_in(folder / LIST).items()}


def _names_in(path: Path) -> dict[str, str]:
    """The names of runs' folders in a list.

    Raises:
        InputError: where it is damaged.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise InputError(f"{path}: format {document['format']!r} is not known, only {FORMAT}")
        names = {str(label): str(name) for label, name in document["runs"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged: {type(error).__name__}: {error}") from error
    if not names:
        raise InputError(f"{path} names no run")
    if outside := [name for name in names.values() if Path(name).name != name or name in (".", "..")]:
        raise InputError(f"{path}: {outside[0]!r} is not the name of a folder in {path.parent}")
    return names


def _missing(folder: Path) -> str:
    finished = sorted(place.parent for place in folder.glob(f"*/{DOCUMENT}"))
    if finished:
        listed = ", ".join(str(place) for place in finished)
        return f"{folder} holds a comparison that was not finished; finished runs, each to be read alone: {listed}"
    if (folder / UNFINISHED).is_file():
        return f"{folder} holds a comparison that was not finished, without any finished run: go on with --resume"
    return unfinished(folder) or f"{folder} holds neither a run nor a comparison: it has no {DOCUMENT} and no {LIST}"
