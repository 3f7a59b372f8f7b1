"""The folder of a run: claimed before the first block, written block by block, finished when its document is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from amm_opt.cases import Case, save_case
from amm_opt.errors import InputError, OutputError, counted, reason
from amm_opt.io.chunks import DESCRIPTION
from amm_opt.io.files import check_writable, claimed, released, remove, replace_file
from amm_opt.io.lock import LOCK, lock_of
from amm_opt.margins import TRAINING, Trained
from amm_opt.simulation.loop.result import BlockResult
from amm_opt.simulation.stored.block import Block
from amm_opt.simulation.stored.difference import differences
from amm_opt.simulation.stored.digest import added, damaged, of_bytes, opened, sealed
from amm_opt.simulation.stored.disk import ARRAYS, PLACES, RECORDS, DiskStore, StateOf

DOCUMENT = "run.json"
"""Of a finished run."""
MANIFEST = "manifest.json"
"""What the run is; written first."""
STORED_CASE = "case"
OURS = (LOCK, DOCUMENT, MANIFEST, *PLACES, STORED_CASE)
Mode = Literal["new", "resume", "force"]
FORCE = "force=True (--force)"
GO_ON = f"go on with resume=True (--resume), or start anew with {FORCE}"


class RunFolder:
    """A folder that a run is written into, by this process only.

    Args:
        manifest: what the run is: its ``inputs``, and what nothing depends on.
        mode: ``new`` for a new or empty folder; ``resume`` goes on where the folder holds a run of the same inputs;
            ``force`` removes the run that it holds.

    Attributes:
        finished: whether the run was finished before.

    Raises:
        InputError: where the folder cannot be written, is in use, or holds something else; it is as it was then.
    """

    def __init__(self, path: Path, manifest: dict[str, Any], mode: Mode = "new") -> None:
        self.path = path
        self._made = ready(path, mode)
        self._new = False
        try:
            self._lock = lock_of(path, finished=mode == "resume" and (path / DOCUMENT).is_file())
        except OSError as error:
            released(self._made)
            raise InputError(f"nothing can be written to {path}: {error.strerror or error}") from error
        try:
            there = self._settle(manifest, mode)
        except BaseException:
            self._release()
            raise
        self.manifest = there
        self.finished = (path / DOCUMENT).is_file()
        self.store: DiskStore | None = None

    def _settle(self, manifest: dict[str, Any], mode: Mode) -> dict[str, Any]:
        """The manifest that is there, or is now."""
        path = self.path / MANIFEST
        if path.is_file() and mode != "force":
            if mode == "new":
                raise InputError(occupied(self.path))
            there = opened(path)
            if found := differences(there["inputs"], manifest["inputs"]):
                raise InputError([f"{self.path} holds another run: {sentence}" for sentence in found])
            return there
        try:
            self._new = True
            empty(self.path)
            replace_file(path, sealed(manifest), durable=True)
            return opened(path)
        except OSError as error:
            raise InputError(f"nothing can be written to {self.path}: {error.strerror or error}") from error

    def blocks_of(self, case: Case, first: int, stop: int, length: int) -> DiskStore:
        """The store in this folder."""
        self.store = DiskStore(self.path, case, first, stop, length)
        with self._writing():
            self.store.prepare()
            if not case.source and not (self.path / STORED_CASE).is_dir():
                draft = self.path / f"{STORED_CASE}.part"
                remove(draft)
                save_case(case, draft)
                draft.rename(self.path / STORED_CASE)
        return self.store

    def resumed(self, label: str, state_of: StateOf) -> list[BlockResult]:
        """What is there already: every block up to the first that is not, or is damaged."""
        assert self.store is not None
        done: list[BlockResult] = []
        with suppress(InputError):
            for result in self.store.load(label, state_of):
                done.append(result)  # noqa: PERF402
        with self._writing():
            self.store.describe()
        return done

    def write(self, block: Block, result: BlockResult, elapsed_s: float) -> None:
        """Keep a block.

        Raises:
            OutputError: where the folder takes nothing any more; earlier blocks are whole.
        """
        assert self.store is not None
        with self._writing():
            self.store.write(block, result, elapsed_s)

    def finish(self, document: dict[str, Any]) -> None:
        """Write the document that makes the folder complete.

        Raises:
            OutputError: where the folder takes nothing any more.
        """
        assert self.store is not None
        with self._writing():
            write_document(self.path, document, self.store.digests)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"{self.path} takes nothing any more ({reason(error)}); {self.kept}") from error

    @property
    def kept(self) -> str:
        """What is there of a run that has ended before its end, and how to go on."""
        done = _blocks_in(self.path)
        if done == 0:
            return "no block was finished"
        if self.store is None:
            return f"{counted(done, 'block is', 'blocks are')} kept: {GO_ON}"
        return f"{done} of {counted(self.store.count, 'block is', 'blocks are')} kept: {GO_ON}"

    def close(self) -> None:
        """Let others write; a new folder without a finished block is left as it was found."""
        with suppress(OSError):
            if self._new and (self.store is None or not self.store.digests):
                empty(self.path)
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
        released(self._made)


def ready(path: Path, mode: Mode) -> list[Path]:
    """See that a folder can be claimed; nothing that is there is touched.

    Returns:
        The folders that were made, for :func:`released`.

    Raises:
        InputError: where it holds something else, or a run that is neither to be gone on with nor to be removed.
    """
    if not path.is_dir() or not any(path.iterdir()):
        return claimed(path)
    held = {item.name.removesuffix(".part") for item in path.iterdir()}
    if held - set(OURS) or (MANIFEST not in held and held - {LOCK}):
        raise InputError(f"{path} exists and is not an empty folder")
    if mode == "new" and MANIFEST in held:
        raise InputError(occupied(path))
    if mode != "resume" or DOCUMENT not in held:
        check_writable(path)
    return []


def _blocks_in(path: Path) -> int:
    """How many blocks a folder has records of."""
    return sum(1 for _ in (path / RECORDS).glob("*.json"))


def unfinished(path: Path) -> str:
    """The sentence on a run that was begun and not finished; empty where there is none."""
    if (path / DOCUMENT).is_file() or not (path / MANIFEST).is_file():
        return ""
    return f"{path} holds a run that was not finished, with {counted(_blocks_in(path), 'block')}: go on with --resume"


def occupied(path: Path) -> str:
    """The sentence that refuses a folder which holds a run."""
    if (path / DOCUMENT).is_file():
        held = f"a finished run, which {FORCE} replaces"
    else:
        held = f"an unfinished run, with {counted(_blocks_in(path), 'block')}; {GO_ON}"
    return f"{path} exists and is not an empty folder: it holds {held}"


def empty(path: Path) -> None:
    """Remove what a run has written, but for the lock."""
    for name in OURS:
        if name == LOCK:
            continue
        for item in (path / name, path / f"{name}.part"):
            if item.is_dir():
                remove(item)
            else:
                item.unlink(missing_ok=True)


def write_document(path: Path, document: dict[str, Any], digests: dict[str, str]) -> None:
    """Write ``run.json`` at one stroke, with the digests of all other files.

    Raises:
        OSError: where the folder takes nothing any more.
    """
    static = [MANIFEST, *(p.relative_to(path).as_posix() for p in _described(path))]
    files = {**digests, **{name: of_bytes((path / name).read_bytes()) for name in static}}
    replace_file(path / DOCUMENT, sealed({**document, "files": files}), durable=True)


def _described(path: Path) -> Iterator[Path]:
    """What describes the arrays."""
    arrays = path / ARRAYS
    yield arrays / DESCRIPTION
    for folder in sorted(item for item in arrays.iterdir() if item.is_dir()):
        yield folder / DESCRIPTION
        if (folder / "c" / "0").is_file():
            yield folder / "c" / "0"


def checked_document(path: Path) -> dict[str, Any]:
    """``run.json`` of a finished run, every other file of which is as it was stored.

    Raises:
        InputError: a sentence for each file that was changed, damaged, lost or added; or the folder holds no run, or
            an unfinished one.
    """
    if not (path / DOCUMENT).is_file():
        raise InputError(unfinished(path) or f"{path} is not the folder of a run: it has no {DOCUMENT}")
    document = opened(path / DOCUMENT)
    files = document.get("files")
    if not isinstance(files, dict):
        raise InputError(f"{path / DOCUMENT} is damaged: it names no files")
    if problems := [*damaged(path, files), *added(path, files, PLACES)]:
        raise InputError(problems)
    return document


def training_in(path: Path) -> Trained | None:
    """How the margin of the run in a folder was found; None where there is no run, or its margin was given.

    Raises:
        InputError: where its manifest is damaged.
    """
    found = opened(path / MANIFEST)["inputs"].get(TRAINING) if (path / MANIFEST).is_file() else None
    return None if found is None else Trained.stored(found)
