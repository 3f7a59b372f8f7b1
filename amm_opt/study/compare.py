"""Compare mechanisms on one case."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.cases import Case, as_case
from amm_opt.errors import InputError, OutputError, Problems, UnsavedWarning, as_path
from amm_opt.fields import not_callable
from amm_opt.market import Mechanism
from amm_opt.registry import as_mechanism
from amm_opt.simulation import Run, load_run
from amm_opt.simulation.driver import execute
from amm_opt.simulation.forecast import Forecast
from amm_opt.simulation.loop.matching import matches, programs_of
from amm_opt.simulation.options import JOINT, TIERS, TWO, Options, Settings, grid_of, refuse, settled
from amm_opt.solve.backends.known import Choice
from amm_opt.study.results import ResultFolder, replace_summary, stored_folders

BOTH = "both"
AT_TWO = f"@{TWO}"
"""After the label of a mechanism that was matched in two tiers."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs of several mechanisms on the same case and intervals.

    ``unsaved`` says what could not be written where ``compare`` was to write it, and where it is instead.
    """

    case: Case
    runs: dict[str, Run]
    unsaved: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return repr(self.table)

    @property
    def table(self) -> pd.DataFrame:
        """One row per mechanism with the summary columns.

        If one of the mechanisms is the throughput bound, such as ``alpha_fair:alpha=0``, the last column is
        ``price_of_fairness``: 1 - energy served / energy that the bound serves, import and export together. It is NaN
        where limits were broken or intervals failed, and everywhere if the bound's own intervals did.
        """
        columns = dict.fromkeys(column for run in self.runs.values() for column in run.summary.index)
        table = pd.DataFrame({label: run.summary for label, run in self.runs.items()}, index=list(columns)).T
        table.index.name = "mechanism"
        bounds = [label for label, run in self.runs.items() if run.mechanism.throughput_bound]
        if bounds:
            asked = table["requested_import_mwh"] + table["requested_export_mwh"]
            served = (asked - table["unserved_mwh"] - table["curtailed_mwh"]).astype(float)
            broken = table[["thermal_violations", "voltage_violations", "failed_steps"]].astype(float).sum(axis=1) > 0
            most = served[bounds[0]] if served[bounds[0]] > 0 and not broken[bounds[0]] else np.nan
            table["price_of_fairness"] = (1.0 - served / most).mask(broken)
        counts = [c for c in table.columns if c.endswith(("_violations", "_steps")) or c == "steps"]
        return table.astype({c: "Int64" for c in counts if table[c].notna().all()})

    def save(self, folder: str | Path) -> Path:
        """Write ``summary.csv`` and each run's per-interval results into a new or empty folder.

        Raises:
            InputError: where the folder exists and is not empty, or cannot be written; nothing is written then.
            OutputError: where not everything could be written, with where the rest is.
        """
        place = ResultFolder(as_path(folder, "folder"), self.runs)
        try:
            for label, run in self.runs.items():
                place.save(label, run)
            place.finish(self.table)
        except BaseException:
            place.abandon()
            raise
        if place.problems:
            raise OutputError("; ".join(place.problems))
        return place.path

    def save_summaries(self, folder: str | Path) -> None:
        """Write ``summary.csv`` and each run's summary again, into the folder that :meth:`save` made."""
        for label, place in stored_folders(Path(folder)).items():
            self.runs[label].save_document(place)
        replace_summary(Path(folder), self.table)


def load_comparison(folder: str | Path) -> Comparison:
    """Read what ``Comparison.save`` wrote.

    Raises:
        InputError: where the folder holds no finished comparison, or one of its runs cannot be read (see ``load_run``).
    """
    runs = {
        label: load_run(place) for label, place in stored_folders(as_path(folder, "folder of a comparison")).items()
    }
    held = {label: str(run.mechanism) for label, run in runs.items()}
    if moved := [label for label, name in held.items() if name != label and held.get(name, name) != name]:
        raise InputError([f"{folder}: the run in the folder of {label!r} is one of {held[label]!r}" for label in moved])
    return Comparison(next(iter(runs.values())).case, runs)


def compare(
    case: Case | str | Path,
    mechanisms: Sequence[Mechanism[Any] | str] | Mechanism[Any] | str,
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
    out: str | Path | None = None,
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
        out: a new or empty folder that gets what ``Comparison.save`` writes, each run as soon as it is finished: what
            ends the comparison loses the mechanism in progress and no other. Where it takes nothing any more, results
            go to a temporary folder, with a warning.
        progress: called with (label, intervals done, all) after every block.
        done: called with (label, run) as soon as a run is finished and written.

    Raises:
        InputError: no mechanism, a folder that cannot be written, mechanisms that cannot be matched in two tiers, or
            anything that ``simulate`` rejects.
    """
    if problem := not_callable(done, "done"):
        raise InputError(problem)
    options = Options(
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
    case, plan = planned(case, mechanisms, options)
    folder = None if out is None else ResultFolder(as_path(out, "folder"), plan)
    runs: dict[str, Run] = {}
    try:
        for label, settings in plan.items():
            report = (lambda done, total, label=label: progress(label, done, total)) if progress else None
            run = execute(replace(settings, progress=report))
            joint = runs.get(label.removesuffix(AT_TWO)) if settings.tiers == TWO else None
            runs[label] = run if joint is None else _priced(run, joint)
            if folder is not None:
                folder.save(label, runs[label])
            if done is not None:
                done(label, runs[label])
        result = Comparison(case, runs)
        if folder is None:
            return result
        folder.finish(result.table)
    except BaseException:
        if folder is not None:
            folder.abandon()
        raise
    for problem in folder.problems:
        warnings.warn(problem, UnsavedWarning, stacklevel=2)
    return replace(result, unsaved=tuple(folder.problems))


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
    if the_case is not None and chosen is not None and not said:
        plan = said.of(lambda: _runs(the_case, chosen, options.network, tiers))
    how = TWO if isinstance(tiers, str) and tiers in (TWO, BOTH) else JOINT
    listed = list((chosen or {}).values()) or _listed(mechanisms)
    asked = plan or {str(k): (item, how) for k, item in enumerate(listed)}
    checked = {}
    for label, (item, how) in asked.items():
        of = case if the_case is None else the_case
        checked[label] = said.of(partial(settled, of, item, replace(options, tiers=how)))
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


def _runs(
    case: Case, chosen: Mapping[str, Mechanism[Any]], network: Any, tiers: str
) -> dict[str, tuple[Mechanism[Any], str]]:
    """Mechanism and tiers of each run, by label; a mechanism with nothing to match has no tiers."""
    if tiers == JOINT:
        return {label: (item, JOINT) for label, item in chosen.items()}
    grid = grid_of(case, network)
    plan = {}
    for label, item in chosen.items():
        two = matches(item, programs_of(item, grid))
        if tiers == BOTH or not two:
            plan[label] = (item, JOINT)
        if two:
            if label + AT_TWO in chosen:
                raise InputError(
                    f"{label + AT_TWO!r} is both a mechanism and {label!r} in two tiers: compare them apart"
                )
            plan[label + AT_TWO] = (item, TWO)
    return plan


def _priced(two: Run, joint: Run) -> Run:
    """A run in two tiers with what it costs against the joint one: energy served, and Jain's index of feeders."""

    def served(run: Run) -> float:
        s = run.summary
        asked = s["requested_import_mwh"] + s["requested_export_mwh"]
        return float(asked - s["unserved_mwh"] - s["curtailed_mwh"])

    most = served(joint)
    summary = two.summary.copy()
    less = 100.0 * (1.0 - served(two) / most) if most > 0 else 0.0
    unfair = joint.summary["jain_feeder"] - two.summary["jain_feeder"]
    summary["decomposition_energy_pct"], summary["decomposition_jain"] = round(less, 9) + 0.0, round(unfair, 9) + 0.0
    return replace(two, summary=summary)


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
