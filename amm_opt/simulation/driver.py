"""The driver: runs a mechanism over a span of intervals and puts the results of its blocks together."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import DIRECTIONS
from amm_opt.cases import Case
from amm_opt.errors import InexactWarning, OutputError, Problems, UnavoidableWarning, as_path, counted, reason
from amm_opt.io.files import released
from amm_opt.margins import AutoMargin, Margin, trained
from amm_opt.market import Mechanism, State
from amm_opt.network.excess import broken_without_injection
from amm_opt.registry import is_script, network_name
from amm_opt.simulation.blocks import run_blocks
from amm_opt.simulation.forecast import Forecast
from amm_opt.simulation.loop.loop import Loop
from amm_opt.simulation.loop.result import BlockResult
from amm_opt.simulation.loop.waiting import Backlog
from amm_opt.simulation.measurement import Fault, Measurement
from amm_opt.simulation.options import JOINT, TWO, Options, Settings, is_flag, settled
from amm_opt.simulation.replay import replayed, verify
from amm_opt.simulation.results.claim import Claim
from amm_opt.simulation.results.column import Column
from amm_opt.simulation.results.reasons import logger, tell
from amm_opt.simulation.results.run import Run
from amm_opt.simulation.results.summary import summarised
from amm_opt.simulation.results.totals import Totals
from amm_opt.simulation.stored import disk
from amm_opt.simulation.stored.block import Block
from amm_opt.simulation.stored.folder import DOCUMENT, Mode, RunFolder, ready, training_in
from amm_opt.simulation.stored.inputs import circumstances, inputs_of
from amm_opt.simulation.stored.opened import open_run
from amm_opt.simulation.stored.store import RunStore
from amm_opt.solve.backends.known import Choice

NOTHING = 1e-6
"""Of what is asked for: less is nothing."""


def simulate(
    case: Case | str | Path,
    mechanism: Mechanism[Any] | str,
    *,
    network: Any = None,
    solver: Choice = None,
    steps: int | str | slice | None = None,
    workers: int = 1,
    ac: str | None = None,
    opendss: str | Path | None = None,
    forecast: Forecast | str | None = None,
    measurement: Measurement | Fault | Sequence[Fault] | str | None = None,
    defer: bool = False,
    tiers: str = JOINT,
    margin: Margin | AutoMargin | str | None = None,
    time_limit_s: float | None = None,
    columns: Sequence[Column] = (),
    state: State | Run | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Run one mechanism over a span of intervals.

    Args:
        case: what to run on, or its name or folder.
        mechanism: an instance, a class whose parameters all have defaults, or a spec such as ``"amm:alpha=2"``.
        network: name of the network model, ``script.py:Class``, its class, or a model that was built on the case's
            feeder; None for lindistflow on balanced feeders and lindist3flow on others.
        solver: name of any installed cvxpy solver or registered backend, or a ``Backend`` or its class; by capability
            where None.
        steps: None for every interval, a count, a period such as ``"2016-05"``, or a slice of dates (both ends
            included) or numbers (half-open).
        workers: processes to spread the intervals over. The result is the same to the bit. A mechanism with memory uses
            one, as does energy that waits, and what cannot be sent to other processes: ``run.workers`` says how many
            were used, and the logger ``amm_opt`` why.
        ac: ``"verify"`` replays the run by AC power flow (see ``verify``); ``"secure"`` also makes every allocation of
            a mechanism that enforces limits AC-feasible, by margins learnt from the model's error; windows are planned
            without it, and cut back when they are carried out. Both need the ``ac`` extra.
        opendss: the OpenDSS master file (or its folder) that the feeder was imported from: AC is then that of all its
            wires, by OpenDSS, in what is verified and what is secured. Needs the ``opendss`` extra.
        forecast: what mechanisms plan on: None or ``"perfect"``, ``"persistence"``, ``"noisy:sigma=0.1,seed=0"``, or a
            function (case, now, stop) that returns a ``Requests``. What happens is what the plan and the real requests
            leave, cut back where it breaks a limit (``run.planned``, ``repaired_steps``).
        measurement: what is wrong with what the mechanism sees of requests, load and network, such as
            ``"noise:sigma=0.05,seed=1+drop:rate=0.02+impedance:sigma=0.1"``, or a ``Measurement`` (docs/robustness.md).
            What it sends are limits (``run.planned``): everybody gets the smaller of the limit and the real request,
            and the true network and its AC power flow judge what comes of it. The model is ``network``'s, by name or
            class, on the network as it is believed to be.
        defer: whether charging sessions can wait: what they are not served is asked for again until they depart
            (``run.backlog``, ``run.departed``, ``waiting_mwh``). Needs a perfect forecast.
        tiers: ``"joint"`` matches everybody at once; ``"two"`` matches LV feeders against each other on the upper tier
            and customers inside each LV feeder's grant (docs/tiers.md); what breaks a limit of the whole network is
            cut back (``repaired_steps``).
        margin: how far limits shift for inflexible load that turns out otherwise: ``"gaussian:eps=0.05,sigma=0.2"``,
            ``cantelli``, ``symmetric``, ``unimodal``, ``scenario``, ``box``, or a ``Margin`` (docs/margins.md);
            ``"auto:days=7,rate=0.01,family=gaussian"`` finds the smallest multiple that is enough under this run's
            measurement in the days before it (``run.trained``).
        time_limit_s: for every call of a solver; by default 120 s, and 3 h for programs over a horizon. A solver that
            takes longer has failed. docs/writing-a-solver.md says which solvers can be stopped.
        columns: summary columns of your own (docs/results.md).
        state: what the mechanism remembers before the first interval: a state of its own, or a run that ends there,
            of which what waits is taken over as well.
        out: a new or empty folder that the run is written into, block by block while it goes on
            (docs/results.md#files).
        resume: go on with the run in ``out`` where it was ended, however that was; the result is the same to the bit.
            Every other argument must be as it was, but for ``workers``, ``columns`` and ``progress``. A finished run is
            read, and where there is none a new one is started.
        force: remove the run in ``out`` and start anew.
        progress: called with (intervals done, all) after every block.

    Raises:
        InputError: anything the caller gave that is wrong, of which nothing is run; no multiple of the margin's family
            is enough on the training span.
        SolveError: where none of the first intervals that had to be solved has a solution.
        OutputError: where ``out`` takes nothing any more; what was written until then is kept.
        KeyboardInterrupt: after Ctrl-C; with ``out`` it says how to go on.
    """
    said = Problems()
    path = None if out is None else said.of(lambda: as_path(out, "folder"))
    mode = said.of(lambda: mode_of(out, resume, force))
    options = Options(
        network=network,
        solver=solver,
        steps=steps,
        workers=workers,
        ac=ac,
        opendss=opendss,
        forecast=forecast,
        measurement=measurement,
        defer=defer,
        tiers=tiers,
        margin=margin,
        time_limit_s=time_limit_s,
        columns=columns,
        state=state,
        progress=progress,
    )
    settings = said.of(lambda: settled(case, mechanism, options))
    said.report()
    assert settings is not None
    return execute(settings, path, mode or "new")


def mode_of(out: Any, resume: Any, force: Any) -> Mode:
    """What is to be done with a run that is in the folder already.

    Raises:
        InputError: where that does not make sense.
    """
    said = Problems()
    for name, value in (("resume", resume), ("force", force)):
        if not is_flag(value):
            said.say(f"{name} = {value!r} must be True or False")
        elif value and out is None:
            said.say(f"{name} needs the folder of a run: give out")
    if resume is True and force is True:
        said.say("resume goes on with a run, and force removes it: give one of them")
    said.report()
    return "resume" if resume else "force" if force else "new"


def execute(settings: Settings, path: Path | None = None, mode: Mode = "new") -> Run:
    """Run what was checked, into a folder where one is given.

    Raises:
        InputError: where a program cannot be compiled, or solved by the named solver; where the folder cannot be used;
            where no margin is enough that was to be found.
        SolveError: where none of the first intervals that had to be solved has a solution.
        OutputError: where the folder takes nothing any more.
        KeyboardInterrupt: after Ctrl-C; with a folder it says how to go on.
    """
    made = [] if path is None else ready(path, mode)
    try:
        settings = _with_margin(settings, path if mode == "resume" else None)
    except BaseException:
        released(made)
        raise
    began = time.perf_counter()
    loop = settings.loop()
    manifest = {"inputs": inputs_of(settings, loop), **circumstances()}
    if path is None:
        return _executed(settings, loop, manifest, None, began)
    folder = RunFolder(path, manifest, mode)
    try:
        if folder.finished:
            return _read_again(settings, path)
        return _executed(settings, loop, folder.manifest, folder, began)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"{path}: {folder.kept}") from error
    finally:
        folder.close()


def _with_margin(settings: Settings, resumed: Path | None) -> Settings:
    """With the margin that was to be found: as before in a folder that is gone on with, or by training."""
    if settings.auto is None:
        return settings
    known = None if resumed is None else training_in(resumed)
    if known is None or known.asked != str(settings.auto):
        tried = partial(_broken, settings)
        known = trained(settings.auto, settings.training_span, settings.verified, tried)
    return settings.after(known)


def _broken(settings: Settings, margin: Margin | None) -> int:
    """Intervals of the training span in which a limit is broken; what there is to warn of, the run will."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = execute(settings.training(margin))
    judged = run.ac if settings.verified else run.totals
    assert judged is not None
    return judged.violations.broken_intervals


def _read_again(settings: Settings, path: Path) -> Run:
    """A run that was finished before, with the user's columns as they are now."""
    run = replace(open_run(path), mechanism=settings.mechanism, model=_model(settings))
    if not (run.columns or settings.columns):
        return run
    rest = run.summary.drop([column.name for column in run.columns], errors="ignore")
    run = summarised(replace(run, summary=rest, columns=settings.columns))
    try:
        run.save_summary(path)
    except OSError as error:
        raise OutputError(f"{path / DOCUMENT} cannot be written: {reason(error)}") from error
    return run


def _executed(settings: Settings, loop: Loop, manifest: dict[str, Any], folder: RunFolder | None, began: float) -> Run:
    first, stop = settings.first, settings.stop
    processes = _processes(settings, loop)
    span = (settings.case, first, stop, loop.block_steps)
    store = disk.new_store(*span) if folder is None else folder.blocks_of(*span)
    state_of = type(loop.begin()[0]).from_arrays
    before = [] if folder is None else folder.resumed(str(settings.mechanism), state_of)
    done, earlier = sum(result.totals.steps for result in before), store.elapsed_s[-1] if before else 0.0
    if before and settings.progress is not None:
        settings.progress(done, stop - first)

    def keep(block: Block, result: BlockResult) -> None:
        nonlocal done
        elapsed = earlier + time.perf_counter() - began
        try:
            (store if folder is None else folder).write(block, result, elapsed)
        except OSError as error:
            where = "temporary folders take no more allocations; TMPDIR says where they go"
            raise OutputError(f"{where}: {reason(error)}") from error
        done += block.steps
        if settings.progress is not None:
            settings.progress(done, stop - first)

    make = replace(settings, progress=None, columns=()).loop
    total = run_blocks(loop, make, processes, before, keep)
    totals = _totals(settings, loop, total, earlier + time.perf_counter() - began)
    _tell(settings, total)
    run = _run(settings, store, total, totals, processes, _unavoidable(loop, total), manifest)
    run = replace(run, claim=_claim(loop, run, total))
    run = _verified(settings, run) if settings.verified else summarised(run)
    if folder is not None:
        folder.finish(run.document)
    return run


def _verified(settings: Settings, run: Run) -> Run:
    """The run with its AC columns; an OpenDSS file is read once for all runs."""
    if settings.opendss is None:
        return verify(run)
    return replayed(run, settings.shared.four_wires(settings.case, settings.opendss))


def _model(settings: Settings) -> Any:
    """The class or model that was given as ``network``."""
    return None if isinstance(settings.network, str) and not is_script(settings.network) else settings.network


def _run(
    settings: Settings,
    store: RunStore,
    total: BlockResult,
    totals: Totals,
    processes: int,
    unavoidable: tuple[str, ...],
    manifest: dict[str, Any],
) -> Run:
    return Run(
        case=settings.case,
        mechanism=settings.mechanism,
        network=network_name(settings.case, settings.network),
        model=_model(settings),
        manifest=manifest,
        tiers=settings.tiers,
        margin=settings.margin,
        solver=total.solver_used(),
        times=settings.case.times[settings.first : settings.stop],
        first=settings.first,
        state=total.state,
        summary=pd.Series(dtype=float),
        failed_steps=total.failed,
        fallback_reasons=total.fallback,
        audit=total.audit,
        store=store,
        repaired_steps=tuple(sorted(set(total.repaired))),
        inexact_steps=tuple(total.inexact),
        gap=total.gap,
        unavoidable=unavoidable,
        backlog=total.backlog,
        departed=None if settings.sessions is None else Backlog.joined(total.departed),
        waits=settings.sessions is not None,
        totals=totals,
        columns=settings.columns,
        workers=processes,
    )


def _processes(settings: Settings, loop: Loop) -> int:
    """How many processes a run uses; says why there is one where more are asked for."""
    if settings.workers > 1 and settings.one_process:
        logger.info("%s: one process: %s", settings.mechanism, settings.one_process)
        return 1
    return min(settings.workers, len(loop.blocks())) if loop.matching.clears else 1


def _totals(settings: Settings, loop: Loop, total: BlockResult, seconds: float) -> Totals:
    """What the summary is computed from."""
    conic, waiting = loop.grid.conic, None
    cuts = settings.secure or settings.forecast or settings.tiers == TWO or settings.mechanism.feasible_at_limits_only
    if settings.sessions is not None and total.backlog is not None:
        waiting = float(settings.sessions.waiting_kwh(total.backlog, settings.stop).sum())
    return replace(
        total.totals,
        seconds=seconds,
        waiting_kwh=waiting,
        conic=conic,
        cuts=bool(cuts or conic or total.repaired),
    )


def _claim(loop: Loop, run: Run, total: BlockResult) -> Claim:
    """What a run says of limits before any replay."""
    where = loop.mechanism.promise if loop.world is None else "as carried out"
    violations = total.totals.violations
    return Claim(
        f"{where} in {run.network}",
        loop.stop - loop.first,
        violations.sentences(loop.true_grid.network, loop.true_grid.case.times),
        unavoidable=violations.unavoidable,
        certified=total.totals.certified,
        margin="" if run.trained is None else run.trained.sentence(violations.broken_intervals, len(run.times)),
    )


def _tell(settings: Settings, total: BlockResult) -> None:
    """Log why intervals failed or took a second try, and warn of those that failed or were inexact."""
    label, times = str(settings.mechanism), settings.case.times
    tell(label, times, total.fallback, total.failed)
    if total.failed:
        first, reason = next(iter(total.failed.items()))
        failed = (
            f"{label}: nobody is served in {counted(len(total.failed), 'interval')}, first at {times[first]}: {reason}"
        )
        warnings.warn(failed, stacklevel=5)
    if total.inexact and total.gap is not None:
        branch = int(np.argmax(total.gap))
        warnings.warn(
            f"{label}: the relaxed network model is inexact in {counted(len(total.inexact), 'interval')}, first at"
            f" {times[total.inexact[0]]}; the worst gap is {total.gap[branch]:.2g} of the rating squared, on"
            f" branch {settings.case.feeder.branch_names[branch]!r}. Scaled back:"
            f" {counted(len(set(total.repaired)), 'allocation')}",
            InexactWarning,
            stacklevel=5,
        )


def _unavoidable(loop: Loop, total: BlockResult) -> tuple[str, ...]:
    """Limits that are broken whatever is served; a warning where one is with nobody connected and nobody is served."""
    network, elements, steps = loop.true_grid.network, total.totals.violations.elements, loop.stop - loop.first
    always = broken_without_injection(network)
    said = (*always, *([] if elements is None else elements.sentences(network, steps)))
    text = f"case {loop.grid.case.name!r} has limits that are broken whatever is served: {'; '.join(said)}"
    asked, served = (kwh.sum(axis=1) for kwh in (total.totals.requested_kwh, total.totals.served_kwh))
    refused = [d for d, a, s in zip(DIRECTIONS, asked, served, strict=True) if a > 0 and s <= NOTHING * a]
    if always and refused:
        warnings.warn(f"no {' and no '.join(refused)} is served: {text}", UnavoidableWarning, stacklevel=5)
    elif said:
        logger.info("%s", text)
    return said
