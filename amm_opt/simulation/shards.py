"""Shards of a run, one after the other in this process or spread over several."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial

from threadpoolctl import threadpool_limits

from amm_opt.simulation.loop.loop import Loop
from amm_opt.simulation.loop.result import ShardResult
from amm_opt.simulation.results.store import Block, RunStore
from amm_opt.simulation.workers import spread

Shard = tuple[int, int]


class Collector:
    """Puts finished blocks into the store and counts them."""

    def __init__(self, store: RunStore, total: int, progress: Callable[[int, int], None] | None) -> None:
        self._store, self._total = store, total
        self._progress, self._done = progress, 0

    def __call__(self, block: Block) -> None:
        """Keep one more block."""
        self._store.write(block)
        self._done += len(block.inflexible_kw)
        if self._progress is not None:
            self._progress(self._done, self._total)


def run_shards(loop: Loop, make: Callable[[], Loop], processes: int, done: Collector) -> ShardResult:
    """All shards of a run, merged.

    Args:
        make: makes the same loop in another process.
        processes: how many to spread the shards over; 1 for this one.

    Raises:
        SolveError: where none of the first intervals has an answer, or a process dies.
    """
    shards = loop.shards()
    results = _spread(make, shards, processes, done) if min(processes, len(shards)) > 1 else _here(loop, shards, done)
    with closing(results):
        total = next(results)
        for result in results:
            total.merge(result)
    return total


def _here(loop: Loop, shards: list[Shard], done: Collector) -> Generator[ShardResult, None, None]:
    state, backlog = loop.begin()
    with threadpool_limits(limits=1, user_api="blas"):
        for start, stop in shards:
            result = loop.run_shard(start, stop, state, backlog, done)
            state, backlog = result.state, result.backlog
            yield result


class _Worker:
    """What a worker process holds: its loop."""

    def __init__(self, make: Callable[[], Loop]) -> None:
        threadpool_limits(limits=1, user_api="blas")
        self._loop = make()

    def __call__(self, shard: Shard) -> tuple[ShardResult, list[Block]]:
        blocks: list[Block] = []
        return self._loop.run_shard(*shard, *self._loop.begin(), blocks.append), blocks


def _spread(
    make: Callable[[], Loop], shards: list[Shard], processes: int, done: Collector
) -> Generator[ShardResult, None, None]:
    for result, blocks in spread(partial(_Worker, make), shards, processes):
        for block in blocks:
            done(block)
        yield result
