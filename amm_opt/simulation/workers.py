"""Processes that work through a list of tasks, and end with the process that started them."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.resource_tracker import ensure_running
from pathlib import Path
from typing import Any

from amm_opt.errors import InputError, SolveError

UNGUARDED_EXIT = 78
UNGUARDED = "a script that uses more than one worker must call this under: if __name__ == '__main__':"
_PR_SET_PDEATHSIG = 1
_GRACE_S = 5.0


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    task: int | None = None
    busy: bool = True


class _Tied(str):
    """A process name that has the kernel end the process with its parent, from the moment that the name is read.

    A new process reads its name before it imports anything, which takes it a second and on a busy machine many.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        if not _dies_with_parent():
            return str, (str(self),)
        tie = f"c.CDLL(None).prctl({_PR_SET_PDEATHSIG}, {int(signal.SIGKILL)})"
        late = f"o.getppid() == {os.getpid()} or o._exit(1)"
        return eval, (f"(lambda c, o: ({tie}, {late}))(__import__('ctypes'), __import__('os')) and {str(self)!r}",)


def _dies_with_parent() -> bool:
    """Whether the kernel can end a process with its parent."""
    try:
        return sys.platform == "linux" and hasattr(ctypes.CDLL(None), "prctl")
    except OSError:
        return False


def spread(make: Callable[[], Callable[[Any], Any]], tasks: Sequence[Any], count: int) -> Iterator[Any]:
    """Results of ``make()(task)`` in the order of the tasks, from ``count`` new processes.

    ``make`` runs once in each of them. They end with this process, however it ends, and with this iterator.

    Raises:
        SolveError: where a process dies, with what is known of the reason.
        InputError: where the calling script cannot be imported by other processes, see ``UNGUARDED``.
        Exception: what a task or ``make`` raised.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(UNGUARDED_EXIT)
    context = multiprocessing.get_context("spawn")
    workers: list[_Worker] = []
    done: dict[int, Any] = {}
    handed = 0
    try:
        with _no_interrupts():
            for _ in range(min(count, len(tasks))):
                here, there = context.Pipe()
                process = context.Process(target=_serve, args=(there,), name=_Tied("amm-opt worker"), daemon=True)
                workers.append(_Worker(process, here))
                process.start()
                there.close()
        for worker in workers:
            _send(worker, make)
        for number in range(len(tasks)):
            while number not in done:
                for worker in _ready(workers):
                    message = _received(worker)
                    if worker.task is not None:
                        done[worker.task] = message
                    worker.task, worker.busy = handed, handed < len(tasks)
                    if worker.busy:
                        _send(worker, tasks[handed])
                        handed += 1
            yield done.pop(number)
    finally:
        _end(workers)


def unreachable(kind: type) -> str:
    """Why new processes cannot import a class or the script it is from; empty where they can."""
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    if file is not None and not Path(file).is_file():
        return f"the running script {file} cannot be read by other processes"
    if file is None and kind.__module__ == "__main__":
        return f"{kind.__name__} is defined where other processes cannot import it"
    return "this process may not start others" if multiprocessing.current_process().daemon else ""


def _ready(workers: list[_Worker]) -> list[_Worker]:
    """Workers at work that have something to say, or have died."""
    busy = [w for w in workers if w.busy]
    waiting = {w.pipe: w for w in busy} | {w.process.sentinel: w for w in busy}
    return list({id(waiting[item]): waiting[item] for item in wait(list(waiting))}.values())  # type: ignore[index]


def _received(worker: _Worker) -> Any:
    """What a worker sent; that it is ready is None.

    Raises:
        Exception: what it raised, or that it has died.
    """
    try:
        if not worker.pipe.poll():
            raise EOFError
        kind, value = worker.pipe.recv()
    except (EOFError, ConnectionError) as error:
        raise _dead(worker) from error
    if kind == "error":
        raise value
    return value


def _send(worker: _Worker, task: Any) -> None:
    try:
        worker.pipe.send(task)
    except (BrokenPipeError, ConnectionError) as error:
        raise _dead(worker) from error


def _dead(worker: _Worker) -> Exception:
    """The error that says how a worker ended."""
    worker.process.join(_GRACE_S)
    code = worker.process.exitcode
    if code == UNGUARDED_EXIT:
        return InputError(UNGUARDED)
    if code is not None and code < 0:
        with suppress(ValueError):
            name = signal.Signals(-code).name
            hint = ", as the system does when memory runs out: use fewer workers" if name == "SIGKILL" else ""
            return SolveError(f"a worker process was ended by {name}{hint}")
        return SolveError(f"a worker process was ended by signal {-code}")
    return SolveError(f"a worker process ended with exit code {code} before its work was done: use one worker")


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.pipe.close()
        if worker.process.pid is not None and worker.process.is_alive():
            worker.process.kill()
    for worker in workers:
        if worker.process.pid is not None:
            worker.process.join()
            worker.process.close()


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Processes started here never see Ctrl-C: who started them decides what becomes of them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    ensure_running()  # the standard library's tracker, with whose first start SIGINT is no longer blocked
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection) -> None:
    """What a worker does: makes its function, and answers tasks until it is ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=end_with_parent, args=(parent.sentinel,), daemon=True).start()
    try:
        work = pipe.recv()()
        pipe.send(("ready", None))
        while True:
            task = pipe.recv()
            pipe.send(("done", work(task)))
    except (EOFError, ConnectionError):
        os._exit(1)
    except Exception as error:
        with suppress(OSError):
            pipe.send(("error", _sendable(error)))


def _sendable(error: Exception) -> Exception:
    """The error with where it happened, or its text where it cannot be sent."""
    error.add_note("in a worker process:\n" + "".join(traceback.format_tb(error.__traceback__)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return SolveError(f"in a worker process: {type(error).__name__}: {error}")
    return error


def end_with_parent(sentinel: int) -> None:
    """End this process when its parent has ended, which the sentinel says."""
    wait([sentinel])
    os._exit(1)
