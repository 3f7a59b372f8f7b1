"""The driver: runs a mechanism over a span of intervals and puts the parts together."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from amm_opt.arrays import DIRECTIONS
from amm_opt.cases import Case
from amm_opt.errors import InexactWarning, UnavoidableWarning
from amm_opt.market import Mechanism, State
from amm_opt.network.excess import broken_without_injection
from amm_opt.registry import is_script, network_name
from amm_opt.simulation.forecast import Forecast
from amm_opt.simulation.loop.job import Job, Part
from amm_opt.simulation.loop.waiting import Backlog
from amm_opt.simulation.options import JOINT, SECURE, TWO, settled
from amm_opt.simulation.replay import verify
from amm_opt.simulation.results.reasons import logger, tell
from amm_opt.simulation.results.run import WAITING, Run
from amm_opt.simulation.results.store import Block, RunStore
from amm_opt.simulation.workers import spread
from amm_opt.solve.backends.known import Choice

BLOCK_STEPS = 96
NOTHING = 1e-6
"""Of what is asked for: less is nothing."""
CHUNK_STEPS = 1344
"""Solvers start afresh at every chunk, so that results do not depend on how chunks are spread over processes."""
CHUNK_NUMBERS = 4_000_000
"""A chunk has at most this many participants times intervals, for the same reason as a block."""


def simulate(
    case: Case | str | Path,
    mechanism: Mechanism[Any] | str,
    *,
    network: Any = None,
    solver: Choice = None,
    steps: int | str | slice | None = None,
    workers: int = 1,
    ac: str | None = None,
    forecast: Forecast | str | None = None,
    defer: bool = False,
    tiers: str = JOINT,
    time_limit_s: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Run one mechanism over a span of intervals.

    Args:
        case: what to run on, or its name or folder.
        mechanism: an instance, a class whose parameters all have defaults, or a spec such as ``"amm:kappa=2"``.
        network: name of the network model, its class, or a model that was built on the case's feeder; None for
            lindistflow on balanced feeders and lindist3flow on others.
        solver: name of any installed cvxpy solver or registered backend, or a ``Backend`` or its class; by capability
            where None.
        steps: None for every interval, a count, a period such as ``"2016-05"``, or a slice of dates (both ends
            included) or numbers (half-open).
        workers: processes to spread the intervals over; more than one needs a mechanism without memory. The result is
            the same to the bit.
        ac: ``"verify"`` replays the run by AC power flow (see ``verify``); ``"secure"`` also makes every allocation of
            a mechanism that enforces limits AC-feasible, by margins learnt from the model's error. Both need the
            ``ac`` extra.
        forecast: what mechanisms plan on: None or ``"perfect"``, ``"persistence"``, ``"noisy:sigma=0.1,seed=0"``, or a
            function (case, now, stop) that returns a ``Requests``. What happens is what the plan and the real requests
            leave, cut back where the network does not host it (``run.planned``, ``repaired_steps``).
        defer: whether charging sessions can wait: what they are not served is asked for again until they depart
            (``run.backlog``, ``run.departed``, ``waiting_mwh``). Needs one worker and no forecast.
        tiers: ``"joint"`` matches everybody at once; ``"two"`` matches LV feeders against each other on the upper tier
            and customers inside each LV feeder's grant (docs/tiers.md); what the whole network does not host is cut
            back (``repaired_steps``).
        time_limit_s: for every call of a solver; by default 120 s, and 3 h for programs over a horizon. A solver that
            takes longer has failed. docs/writing-a-solver.md says which solvers can be stopped.
        progress: called with (intervals done, all) after every block.

    Raises:
        InputError: anything the caller gave that is wrong; nothing has been run then.
        SolveError: where none of the first intervals that had to be solved has a solution.
    """
    asked = settled(
        case,
        mechanism,
        network=network,
        solver=solver,
        steps=steps,
        workers=workers,
        ac=ac,
        forecast=forecast,
        defer=defer,
        tiers=tiers,
        time_limit_s=time_limit_s,
        progress=progress,
    )
    case, mechanism, roll, sessions = asked.case, asked.mechanism, asked.roll, asked.sessions
    first, stop = asked.first, asked.stop
    length = max(1, min(CHUNK_STEPS, CHUNK_NUMBERS // max(case.n_participants, 1)) // roll.commit) * roll.commit
    spans = [(a, min(a + length, stop)) for a in range(first, stop, length)]
    began = time.perf_counter()
    job = asked.job()
    store = RunStore(case, first, stop)
    collect = _Collector(store, stop - first, progress)
    apart = min(workers, len(spans)) > 1 and job.clears
    parts = _in_processes(asked.job, spans, workers, collect) if apart else _here(job, spans, collect)
    with closing(parts):
        total = next(parts)
        for part in parts:
            total.merge(part)
    seconds = time.perf_counter() - began
    tell(str(mechanism), case.times, total.fallback, total.failed)
    if total.failed:
        first_failed, reason = next(iter(total.failed.items()))
        warnings.warn(
            f"{mechanism}: nobody is served in {len(total.failed)} intervals, first at {case.times[first_failed]}:"
            f" {reason}",
            stacklevel=2,
        )
    summary = total.metrics.summary(case, seconds, len(total.failed), len(total.fallback))
    cuts = ac == SECURE or roll.forecast is not None or job.grid.conic or tiers == TWO
    if cuts or mechanism.feasible_at_limits_only or total.repaired:
        summary["repaired_steps"] = len(set(total.repaired))
    if job.grid.conic:
        summary["unsolved_steps"] = total.metrics.violations.unsolved
        summary["inexact_steps"] = len(total.inexact)
        summary["worst_gap"] = 0.0 if total.gap is None else float(total.gap.max())
        _warn_inexact(case, mechanism, total)
    if sessions is not None and total.backlog is not None:
        summary[WAITING] = float(sessions.waiting_kwh(total.backlog, stop).sum()) / 1000.0
    run = Run(
        case=case,
        mechanism=mechanism,
        network=network_name(case, asked.network),
        model=None if isinstance(asked.network, str) and not is_script(asked.network) else asked.network,
        tiers=tiers,
        solver=total.solver_used(),
        times=case.times[first:stop],
        first=first,
        allocation=store.allocation(),
        state=total.state,
        summary=pd.Series(summary, name=str(mechanism)),
        failed_steps=total.failed,
        fallback_reasons=total.fallback,
        audit=total.audit,
        store=store,
        repaired_steps=tuple(sorted(set(total.repaired))),
        inexact_steps=tuple(total.inexact),
        gap=total.gap,
        unavoidable=_unavoidable(job, total, stop - first),
        backlog=total.backlog,
        departed=Backlog.joined(total.departed) if defer else None,
    )
    return verify(run) if ac else run


def _unavoidable(job: Job, total: Part, steps: int) -> tuple[str, ...]:
    """Limits that are broken whatever is served; a warning where one is with nobody connected and nobody is served."""
    network, elements = job.grid.network, total.metrics.violations.elements
    always = broken_without_injection(network)
    said = (*always, *([] if elements is None else elements.sentences(network, steps)))
    text = f"case {job.grid.case.name!r} has limits that are broken whatever is served: {'; '.join(said)}"
    asked, served = (kwh.sum(axis=1) for kwh in (total.metrics.requested_kwh, total.metrics.served_kwh))
    refused = [d for d, a, s in zip(DIRECTIONS, asked, served, strict=True) if a > 0 and s <= NOTHING * a]
    if always and refused:
        warnings.warn(f"no {' and no '.join(refused)} is served: {text}", UnavoidableWarning, stacklevel=3)
    elif said:
        logger.info("%s", text)
    return said


def _warn_inexact(case: Case, mechanism: Mechanism[Any], total: Part) -> None:
    if total.inexact and total.gap is not None:
        branch = int(np.argmax(total.gap))
        warnings.warn(
            f"{mechanism}: the relaxed network model is inexact in {len(total.inexact)} intervals, first at"
            f" {case.times[total.inexact[0]]}; the worst gap is {total.gap[branch]:.2g} of the rating squared, on"
            f" branch {case.feeder.branch_names[branch]!r}. {len(set(total.repaired))} allocations were scaled back",
            InexactWarning,
            stacklevel=3,
        )


class _Collector:
    """Puts finished blocks into the store and counts them."""

    def __init__(self, store: RunStore, total: int, progress: Callable[[int, int], None] | None) -> None:
        self._store, self._total = store, total
        self._progress, self._done = progress, 0

    def __call__(self, block: Block) -> None:
        self._store.write(block)
        self._done += len(block.inflexible_kw)
        if self._progress is not None:
            self._progress(self._done, self._total)


def _block_length(job: Job) -> int:
    return min(BLOCK_STEPS, job.grid.block_steps)


def _here(job: Job, spans: list[tuple[int, int]], done: _Collector) -> Generator[Part, None, None]:
    state: State = job.mechanism.initial_state(job.grid.case)
    backlog = None if job.sessions is None else job.sessions.at_start(spans[0][0])
    with threadpool_limits(limits=1, user_api="blas"):
        for start, stop in spans:
            part = job.run_chunk(state, start, stop, _block_length(job), done, backlog)
            state, backlog = part.state, part.backlog
            yield part


class _Worker:
    """What a worker process holds: its job."""

    def __init__(self, make: Callable[[], Job]) -> None:
        threadpool_limits(limits=1, user_api="blas")
        self._job = make()

    def __call__(self, span: tuple[int, int]) -> tuple[Part, list[Block]]:
        job = self._job
        blocks: list[Block] = []
        part = job.run_chunk(job.mechanism.initial_state(job.grid.case), *span, _block_length(job), blocks.append)
        return part, blocks


def _in_processes(
    make: Callable[[], Job], spans: list[tuple[int, int]], workers: int, done: _Collector
) -> Generator[Part, None, None]:
    for part, blocks in spread(partial(_Worker, make), spans, workers):
        for block in blocks:
            done(block)
        yield part
