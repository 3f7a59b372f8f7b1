"""Variants in several processes of this machine: one pool of one process for each worker.

A worker keeps to its case, and what is lost with a worker is the variant that it was at.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace

from amm_opt.errors import InputError
from amm_opt.simulation.workers import UNGUARDED, UNGUARDED_EXIT, end_with_parent
from amm_opt.studies.executors.schedule import ATTEMPTS, LOST, Queue
from amm_opt.studies.variant import Plan, Row, Variant, Workplace

_held: list[Workplace] = []
"""The workplace of a worker process."""


def _begin(plan: Plan) -> None:
    """What a worker process starts with: it never sees Ctrl-C, and ends with who started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=end_with_parent, args=(parent.sentinel,), daemon=True).start()
    _held[:] = [Workplace(plan)]


def _row(variant: Variant) -> Row:
    return _held[0].row(variant)


class _Worker:
    """One process, replaced by another where it is lost."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.variant: Variant | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, context, initializer=_begin, initargs=(self._plan,))
        self._pid = self._pool.submit(os.getpid)

    def begun(self) -> None:
        """Wait until it runs.

        Raises:
            InputError: where the script that calls this cannot be imported by other processes.
        """
        try:
            self._pid.result()
        except BrokenProcessPool as error:
            raise InputError(f"no worker process could be started: {UNGUARDED}") from error

    def submit(self, variant: Variant) -> Future[Row]:
        """Begin a variant."""
        self.variant = variant
        return self._pool.submit(_row, variant)

    def again(self) -> None:
        """Another process in place of the lost one."""
        self.end()
        self._start()

    def end(self) -> None:
        """End it, whatever it is at."""
        with suppress(Exception):
            if self._pid.done():
                os.kill(self._pid.result(), signal.SIGKILL)
        self._pool.shutdown(wait=False, cancel_futures=True)


class Processes:
    """Runs variants in so many new processes of this machine."""

    def __init__(self, count: int) -> None:
        self._count = count

    def rows(self, plan: Plan, variants: list[Variant]) -> Iterator[Row]:
        """See ``Executor``.

        Raises:
            InputError: where processes cannot be started.
            OutputError: where whole runs are kept, and the folder takes nothing any more.
        """
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            os._exit(UNGUARDED_EXIT)
        queue, lost = Queue(variants), dict.fromkeys((v.number for v in variants), 0)
        workers = [_Worker(plan) for _ in range(min(self._count, len(variants)))]
        try:
            for worker in workers:
                worker.begun()
            running: dict[Future[Row], _Worker] = {}
            for worker in workers:
                _hand(running, worker, queue)
            while running:
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    worker = running.pop(future)
                    row = self._row(future, worker, lost, running)
                    if row is not None:
                        _hand(running, worker, queue)
                        yield row
        finally:
            for worker in workers:
                worker.end()

    @staticmethod
    def _row(
        future: Future[Row], worker: _Worker, lost: dict[int, int], running: dict[Future[Row], _Worker]
    ) -> Row | None:
        """The row of a finished variant; None where its process was lost, and it is begun again."""
        variant = worker.variant
        assert variant is not None
        try:
            return replace(future.result(), attempts=1 + lost[variant.number])
        except BrokenProcessPool:
            lost[variant.number] += 1
        worker.again()
        if lost[variant.number] < ATTEMPTS:
            running[worker.submit(variant)] = worker
            return None
        reason = LOST.format(count=ATTEMPTS)
        return Row(variant.number, variant.parameters, reason=reason, attempts=ATTEMPTS)


def _hand(running: dict[Future[Row], _Worker], worker: _Worker, queue: Queue) -> None:
    if (variant := queue.next(worker)) is not None:
        running[worker.submit(variant)] = worker
