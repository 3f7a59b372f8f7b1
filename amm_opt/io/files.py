"""Folders that are written: settled before the work, whole or recognisably not."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from amm_opt.errors import InputError, OutputError

NAME_BYTES = 100
_UNSAFE = re.compile(r"[^A-Za-z0-9._=,+@-]")
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)")


def folder_names(labels: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """A folder name for each label, all different on every file system: short, ASCII, told apart without case.

    Args:
        taken: names that are not to be used.
    """
    used = {name.casefold() for name in taken}
    names = {}
    for label in labels:
        base = _UNSAFE.sub("_", label)[:NAME_BYTES].rstrip(".")
        if not base or base[0] in ".-" or _DEVICES.match(base.casefold()):
            base = f"_{base.lstrip('.')}"
        name, count = base, 2
        while name.casefold() in used:
            name, count = f"{base}-{count}", count + 1
        used.add(name.casefold())
        names[label] = name
    return names


def claimed(path: Path) -> list[Path]:
    """Make a new folder, or take an empty one, and see that it can be written into.

    Returns:
        The folders that were made, the outermost first, for :func:`released`.

    Raises:
        InputError: where it exists and is not empty, or nothing can be written there; nothing is left behind then.
    """
    made: list[Path] = []
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(f"{path} exists and is not an empty folder")
        for folder in reversed([path, *path.parents]):
            if not folder.exists():
                folder.mkdir()
                made.append(folder)
        check_writable(path)
    except OSError as error:
        released(made)
        raise InputError(f"nothing can be written to {path}: {error.strerror or error}") from error
    except InputError:
        released(made)
        raise
    except ValueError as error:
        raise InputError(f"{str(path)!r} cannot be the name of a folder: {error}") from error
    return made


@contextmanager
def whole_folder(path: Path) -> Iterator[None]:
    """A new or empty folder that is filled inside; where that fails it is left as it was found.

    Raises:
        InputError: see :func:`claimed`.
        OutputError: where the system takes nothing any more.
    """
    made = claimed(path)
    try:
        yield
    except BaseException as error:
        for item in path.iterdir() if path.is_dir() else ():
            remove(item) if item.is_dir() else item.unlink()
        released(made)
        if isinstance(error, OSError):
            raise OutputError(f"{path} could not be written: {error.strerror or error}") from error
        raise


def check_writable(folder: Path) -> None:
    """Raise InputError where no file can be made in a folder."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0" * 4096)
            file.flush()
    except OSError as error:
        raise InputError(f"nothing can be written to {folder}: {error.strerror or error}") from error


def check_file(path: Path) -> None:
    """See before the work that a file can be made or replaced at a path.

    Raises:
        InputError: where it is a folder, or the folder that it is to lie in is not there or takes no files.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder: give a file in it")
    if not path.parent.is_dir():
        raise InputError(f"{path} cannot be written: there is no folder {path.parent}")
    if not path.exists():
        check_writable(path.parent)


def released(made: Iterable[Path]) -> None:
    """Remove the folders that were made, as far as they are empty."""
    for folder in reversed(list(made)):
        with suppress(OSError):
            folder.rmdir()


def replace_file(path: Path, text: str, *, durable: bool = False) -> None:
    """Write a text file at one stroke, see :func:`replace_bytes`."""
    replace_bytes(path, text.encode("utf-8", "backslashreplace"), durable=durable)


def replace_bytes(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file at one stroke: there is the old one, or the new one, never half of it.

    A file that is like this already stays, so that what is finished can lie where nothing can be written.

    Args:
        durable: whether it is on the disk, not on its way there, when this returns.
    """
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return
    draft = path.with_name(f"{path.name}.part")
    try:
        with draft.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(draft, path)
        if durable:
            _sync_folder(path.parent)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system can do so."""
    with suppress(OSError):
        place = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it, as far as that goes."""
    shutil.rmtree(folder, ignore_errors=True)
