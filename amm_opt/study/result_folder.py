"""The folder of a comparison: claimed before the first run, filled run by run, complete when its list is there."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from amm_opt.errors import InputError, OutputError, reason
from amm_opt.io.files import claimed, folder_names, released, remove, replace_file
from amm_opt.simulation import Run
from amm_opt.simulation.results.run import DOCUMENT

SUMMARY, PICTURE = "summary.csv", "comparison.png"
LIST = "comparison.json"
"""Which run is in which folder; it is written last."""
UNFINISHED = "comparison.json.part"
FORMAT = 1


class ResultFolder:
    """A new folder for the runs of these labels.

    Attributes:
        problems: a sentence for each thing that could not be written.

    Raises:
        InputError: where it exists and is not empty, or cannot be written; nothing is left behind then.
    """

    def __init__(self, path: Path, labels: Iterable[str]) -> None:
        self.path = path
        self.problems: list[str] = []
        self._names = folder_names(labels, (SUMMARY, PICTURE, LIST, UNFINISHED))
        self._made = claimed(path)
        try:
            for name in self._names.values():
                (path / name).mkdir()
            (path / UNFINISHED).write_text(self._list(), encoding="utf-8")
        except OSError as error:
            self.abandon()
            raise InputError(f"nothing can be written to {path}: {error.strerror or error}") from error

    def save(self, label: str, run: Run) -> None:
        """Write a run into its folder; where that does not go, into a temporary one."""
        place = self.path / self._names[label]
        try:
            run.save(place)
        except (OSError, ValueError, OutputError) as error:
            remove(place)
            self.problems.append(self._elsewhere(label, run, f"{label} cannot be written to {place}: {reason(error)}"))

    def _elsewhere(self, label: str, run: Run, problem: str) -> str:
        try:
            place = Path(tempfile.mkdtemp(prefix="amm-opt-results-"))
        except OSError as error:
            return f"{problem}. It is nowhere: {reason(error)}"
        try:
            run.save(place / self._names[label])
        except (OSError, ValueError, OutputError) as error:
            remove(place)
            return f"{problem}. It is not in {tempfile.gettempdir()} either: {reason(error)}"
        return f"{problem}. It is in {place / self._names[label]} instead"

    def finish(self, table: pd.DataFrame) -> None:
        """Write the summary, and the list that makes the folder complete if every run is in it."""
        complete = not self.problems
        try:
            replace_summary(self.path, table)
            if complete:
                replace_file(self.path / LIST, self._list())
                (self.path / UNFINISHED).unlink(missing_ok=True)
        except (OSError, ValueError) as error:
            self.problems.append(f"the summary cannot be written to {self.path}: {reason(error)}")

    def abandon(self) -> None:
        """Keep the runs that are finished; without any, leave nothing behind."""
        runs = [self.path / name for name in self._names.values()]
        finished = [place for place in runs if (place / DOCUMENT).is_file()]
        for place in runs:
            if place not in finished:
                remove(place)
        if not finished:
            (self.path / UNFINISHED).unlink(missing_ok=True)
            released(self._made)

    def _list(self) -> str:
        return json.dumps({"format": FORMAT, "runs": self._names}, indent=1) + "\n"


def replace_summary(folder: Path, table: pd.DataFrame) -> None:
    """Write ``summary.csv`` at one stroke."""
    replace_file(folder / SUMMARY, table.to_csv(float_format="%.6g"))


def stored_folders(folder: Path) -> dict[str, Path]:
    """The folder of each run of a finished comparison, by label.

    Raises:
        InputError: where there is none, it is not finished, or its list is damaged.
    """
    path = folder / LIST
    try:
        if not path.is_file():
            raise InputError(_missing(folder))
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
        raise InputError(f"{path}: {outside[0]!r} is not the name of a folder in {folder}")
    return {label: folder / name for label, name in names.items()}


def _missing(folder: Path) -> str:
    finished = sorted(place.parent for place in folder.glob(f"*/{DOCUMENT}"))
    if finished:
        listed = ", ".join(str(place) for place in finished)
        return f"{folder} holds a comparison that was not finished; finished runs, each to be read alone: {listed}"
    return f"{folder} holds neither a run nor a comparison: it has no {DOCUMENT} and no {LIST}"
