"""Compare mechanisms on one case."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from amm_opt.cases import Case, as_case
from amm_opt.errors import InputError, Problems, as_path
from amm_opt.fields import not_callable
from amm_opt.margins import AutoMargin, Margin
from amm_opt.market import Mechanism
from amm_opt.registry import as_mechanism, default_network
from amm_opt.simulation import Run
from amm_opt.simulation.driver import execute, mode_of
from amm_opt.simulation.forecast import Forecast
from amm_opt.simulation.loop.matching import matches
from amm_opt.simulation.measurement import Fault, Measurement
from amm_opt.simulation.options import JOINT, TIERS, TWO, Options, Settings, refuse, settled
from amm_opt.simulation.results.column import Column
from amm_opt.simulation.results.columns import OF_TWO_TIERS
from amm_opt.simulation.results.summary import computed, with_values
from amm_opt.simulation.shared import ROOM, Shared
from amm_opt.simulation.stored.folder import Mode
from amm_opt.solve.backends.known import Choice
from amm_opt.study.comparison import Comparison
from amm_opt.study.result_folder import ResultFolder

BOTH = "both"
AT_TWO = f"@{TWO}"
"""After the label of a mechanism that was matched in two tiers."""


def compare(
    case: Case | str | Path,
    mechanisms: Sequence[Mechanism[Any] | str] | Mechanism[Any] | str,
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
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
    done: Callable[[str, Run], None] | None = None,
) -> Comparison:
    """Run several mechanisms on the same intervals; arguments as for ``simulate``.

    Args:
        mechanisms: instances or specs, or one of them; a repeated name gets a number.
        workers: processes for each mechanism, as for ``simulate``.
        tiers: as for ``simulate``, or ``"both"``: every mechanism that has something to match runs jointly and in two
            tiers, and the columns ``decomposition_energy_pct`` and ``decomposition_jain`` say what that costs. Runs in
            two tiers are labelled ``MECHANISM@two``.
        out: a new or empty folder that gets what ``Comparison.save`` writes, each run block by block while it goes on
            (docs/results.md#files).
        resume: go on with the comparison in ``out`` where it was ended; as for ``simulate``.
        force: remove the comparison in ``out`` and start anew.
        progress: called with (label, intervals done, all) after every block.
        done: called with (label, run) as soon as a run is finished and written.

    Raises:
        InputError: no mechanism, a folder that cannot be written, mechanisms that cannot be matched in two tiers, or
            anything that ``simulate`` rejects.
        OutputError: where ``out`` takes nothing any more; what was written until then is kept.
        KeyboardInterrupt: after Ctrl-C; with ``out`` it says how to go on.
    """
    said = Problems()
    said.say(not_callable(done, "done"))
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
        progress=progress,
    )
    checked = said.of(lambda: planned(case, mechanisms, options))
    said.report()
    assert checked is not None
    case, plan = checked
    if path is None:
        return Comparison(case, _runs(plan, None, "new", progress, done))
    folder = ResultFolder(path, plan, mode or "new")
    try:
        result = Comparison(case, _runs(plan, folder, "resume", progress, done))
        folder.finish(result.written)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(folder.kept) from error
    finally:
        folder.close()
    return result


def _runs(
    plan: Mapping[str, Settings],
    folder: ResultFolder | None,
    mode: Mode,
    progress: Callable[[str, int, int], None] | None,
    done: Callable[[str, Run], None] | None,
) -> dict[str, Run]:
    """Every run of a plan, written and reported as soon as it is finished."""
    runs: dict[str, Run] = {}
    for label, settings in plan.items():
        report = (lambda done, total, label=label: progress(label, done, total)) if progress else None
        place = None if folder is None else folder.place(label)
        run = execute(replace(settings, progress=report), place, mode)
        joint = runs.get(label.removesuffix(AT_TWO)) if settings.tiers == TWO else None
        runs[label] = run if joint is None else with_values(run, computed(OF_TWO_TIERS, run, joint))
        if joint is not None and place is not None:
            runs[label].save_summary(place)
        if done is not None:
            done(label, runs[label])
    return runs


def planned(
    case: Case | str | Path, mechanisms: Sequence[Mechanism[Any] | str] | Mechanism[Any] | str, options: Options
) -> tuple[Case, dict[str, Settings]]:
    """The arguments of ``compare``, checked: the case, and the settings of every run by label.

    Raises:
        InputError: everything that is wrong with them.
    """
    said = Problems()
    the_case = said.of(lambda: as_case(case))
    chosen = said.of(lambda: labelled(mechanisms))
    tiers = options.tiers
    if not (isinstance(tiers, str) and tiers in (*TIERS, BOTH)):
        said.of(lambda: refuse("choice of tiers", tiers, (*TIERS, BOTH)))
    plan: dict[str, tuple[Any, str]] | None = None
    shared = Shared(ROOM)
    if the_case is not None and chosen is not None and not said:
        network = default_network(the_case) if options.network is None else options.network
        plan = said.of(lambda: _tiers_of_runs(shared, the_case, chosen, network, tiers))
    how = TWO if isinstance(tiers, str) and tiers in (TWO, BOTH) else JOINT
    listed = list((chosen or {}).values()) or _listed(mechanisms)
    asked = plan or {str(k): (item, how) for k, item in enumerate(listed)}
    checked = {}
    for label, (item, how) in asked.items():
        of = case if the_case is None else the_case
        checked[label] = said.of(partial(settled, of, item, replace(options, tiers=how), shared))
    said.report()
    assert the_case is not None
    return the_case, {label: settings for label, settings in checked.items() if settings is not None}


def in_one_process(plan: Mapping[str, Settings]) -> list[str]:
    """Which runs use one process although more are asked for, and why: one sentence for each reason."""
    reasons: dict[str, list[str]] = {}
    for label, settings in plan.items():
        if settings.workers > 1 and settings.one_process:
            reasons.setdefault(settings.one_process, []).append(label)
    return [f"One process for {', '.join(labels)}: {reason}." for reason, labels in reasons.items()]


def _listed(mechanisms: Any) -> list[Any]:
    return list(mechanisms) if isinstance(mechanisms, list | tuple) else [mechanisms]


def _tiers_of_runs(
    shared: Shared, case: Case, chosen: Mapping[str, Mechanism[Any]], network: Any, tiers: str
) -> dict[str, tuple[Mechanism[Any], str]]:
    """Mechanism and tiers of each run, by label; a mechanism with nothing to match has no tiers."""
    if tiers == JOINT:
        return {label: (item, JOINT) for label, item in chosen.items()}
    on = shared.on(case, network)
    plan = {}
    for label, item in chosen.items():
        two = matches(item, on.programs(item))
        if tiers == BOTH or not two:
            plan[label] = (item, JOINT)
        if two:
            if label + AT_TWO in chosen:
                raise InputError(
                    f"{label + AT_TWO!r} is both a mechanism and {label!r} in two tiers: compare them apart"
                )
            plan[label + AT_TWO] = (item, TWO)
    return plan


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def labelled(mechanisms: Sequence[Mechanism[Any] | str] | Mechanism[Any] | str) -> dict[str, Mechanism[Any]]:
    """Mechanisms by a unique label: name and the parameters that differ from their defaults.

    Raises:
        InputError: where the list is empty, or every spec that is wrong.
    """
    listed = _listed(mechanisms)
    if not listed:
        raise InputError("no mechanism given")
    said = Problems()
    chosen: dict[str, Mechanism[Any]] = {}
    for item in listed:
        made = said.of(partial(as_mechanism, item))
        if made is None:
            continue
        base = label = str(made)
        if not _is_text(label):
            said.say(f"the name {label!r} of a mechanism is no text: it has half characters (surrogates)")
        count = 2
        while label in chosen:
            label = f"{base}-{count}"
            count += 1
        chosen[label] = made
    said.report()
    return chosen
