"""Blocks of a run, one after the other in this process or spread over several."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial

from threadpoolctl import threadpool_limits

from amm_opt.simulation.loop.loop import Loop
from amm_opt.simulation.loop.result import BlockResult
from amm_opt.simulation.results.totals import Totals
from amm_opt.simulation.stored.block import Block
from amm_opt.simulation.workers import spread

Span = tuple[int, int]
Made = tuple[BlockResult, Block]
Keep = Callable[[Block, BlockResult], None]


def run_blocks(
    loop: Loop, make: Callable[[], Loop], processes: int, before: Sequence[BlockResult], keep: Keep
) -> BlockResult:
    """All blocks of a run, merged.

    Args:
        make: makes the same loop in another process.
        processes: how many to spread the blocks over; 1 for this one.
        before: what the first blocks came to, which were run before.
        keep: called with every other block, in order, as soon as it is there.

    Raises:
        SolveError: where none of the first intervals has an answer, or a process dies.
    """
    state, backlog = loop.begin()
    total = BlockResult(str(loop.mechanism), state, Totals.empty(loop.grid.n), backlog)
    for result in before:
        total.merge(result)
    left = loop.blocks()[len(before) :]
    made = _spread(make, left, processes) if min(processes, len(left)) > 1 else _here(loop, left, total)
    with closing(made):
        for result, block in made:
            total.merge(result)
            total.give_up(loop.patience)
            keep(block, result)
    return total


def _here(loop: Loop, spans: Sequence[Span], total: BlockResult) -> Generator[Made, None, None]:
    with threadpool_limits(limits=1, user_api="blas"):
        for start, stop in spans:
            yield loop.run_block(start, stop, total.state, total.backlog, total.held)


class _Worker:
    """What a worker process holds: its loop."""

    def __init__(self, make: Callable[[], Loop]) -> None:
        threadpool_limits(limits=1, user_api="blas")
        self._loop = make()

    def __call__(self, span: Span) -> Made:
        return self._loop.run_block(*span, *self._loop.begin())


def _spread(make: Callable[[], Loop], spans: Sequence[Span], processes: int) -> Generator[Made, None, None]:
    yield from spread(partial(_Worker, make), spans, processes)
