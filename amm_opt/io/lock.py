"""A folder that one process at a time writes into."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from amm_opt.errors import InputError

LOCK = "lock"


class FolderLock:
    """Held from now until :meth:`release`, or until this process ends, however it ends.

    It is the system's lock of the file ``lock`` in the folder: a file that a killed process left behind locks nothing.

    Raises:
        InputError: where another process, or another run of this one, holds it.
        OSError: where the file cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        while True:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _lock(self._file)
            except (BlockingIOError, PermissionError) as error:
                who = os.read(self._file, 20).decode("ascii", "replace").strip()
                os.close(self._file)
                by = f" (process {who})" if who.isdecimal() else ""
                raise InputError(f"{folder} is being written by another run{by}") from error
            with suppress(OSError):
                if os.path.samestat(os.fstat(self._file), os.stat(self._path)):
                    break
            os.close(self._file)  # it was released and removed meanwhile
        with suppress(OSError):  # a full disk; who holds it is only told to others
            os.truncate(self._file, 0)
            os.write(self._file, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let others write; more than once is no error."""
        if self._file >= 0:
            with suppress(OSError):
                self._path.unlink()
            os.close(self._file)
            self._file = -1


def lock_of(folder: Path, *, finished: bool) -> FolderLock | None:
    """The lock of a folder; None where nothing can be written into it, and what it holds is finished.

    Raises:
        InputError: where another process holds it.
        OSError: where nothing can be written into the folder, and something must be.
    """
    try:
        return FolderLock(folder)
    except OSError:
        if finished:
            return None
        raise


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
