"""Work on many things, in this process or spread over several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def spread(work: Callable[[T], R], tasks: Sequence[T], workers: int) -> Iterator[R]:
    """What comes of each task, in their order.

    A process gets ``work`` once, so that it may keep what makes the next task quicker.
    """
    if workers == 1 or len(tasks) <= 1:
        yield from map(work, tasks)
        return
    count, context = min(workers, len(tasks)), get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(work,)) as pool:
        yield from pool.map(_do, tasks)


_work: list[Callable[[Any], Any]] = []


def _begin(work: Callable[[Any], Any]) -> None:
    _work[:] = [work]


def _do(task: Any) -> Any:
    return _work[0](task)
