"""A study: cases x mechanisms x networks x solvers x parameters, checked before anything runs."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from amm_opt.cases import as_case
from amm_opt.errors import InputError, LostError, OutputError, Problems, as_path, counted, one_line, shorten, unknown
from amm_opt.fields import is_whole, not_callable, shortened
from amm_opt.io.html import as_html
from amm_opt.simulation.driver import mode_of
from amm_opt.simulation.options import JOINT, Options
from amm_opt.simulation.results.column import Column
from amm_opt.simulation.stored.folder import Mode
from amm_opt.studies.definition import Given, axes_of, described, listed, named_cases, named_mechanisms, variants_of
from amm_opt.studies.executors.distributed import Distributed
from amm_opt.studies.executors.here import Here
from amm_opt.studies.executors.processes import Processes
from amm_opt.studies.executors.schedule import Executor
from amm_opt.studies.parameters import changed, check_case_values
from amm_opt.studies.result import StudyResult
from amm_opt.studies.sample import Sample
from amm_opt.studies.store import StudyFolder
from amm_opt.studies.variant import OPTIONS, RUNS, Plan, Row, Variant, Workplace

EXECUTORS = ("here", "processes", "dask")
Progress = Callable[[int, int, Row | None], None]


class Study:
    """One question at many variants: every combination of what is given.

    A variant is one run of ``simulate``. What it changes it changes on the baseline: nothing of the variant before
    is left.

    Args:
        case: what to run on, or a list of several: names and folders, or cases made in memory; a mapping gives these
            labels of their own.
        mechanism: an instance or spec, or a list of several.
        parameters: by dotted name (docs/studies.md), the values that are tried: a list, or a single value. Every
            combination is run.
        variants: a list of variants instead of, or beside, combinations: a table with one row each, or a list of
            mappings; what a row leaves out (or is NaN) stays as in the baseline.
        sample: a ``Sample``: points drawn from ranges of parameters.
        network, solver, forecast, measurement, tiers, ac, defer, margin: as for ``simulate``, or a list of several.
        steps, time_limit_s, columns: as for ``simulate``, for all variants.
        start: the first interval, such as ``"2016-05-02"``; ``steps`` is then how many follow.
        title: of tables and pictures.

    Attributes:
        variants: what is run, in order; each has its ``number`` and its ``values``.
        parameters: names of what is varied, the columns of the table that say so.

    Raises:
        InputError: everything that is wrong, at once; each sentence names the parameter, its value and what is allowed.
    """

    def __init__(
        self,
        case: Any,
        mechanism: Any,
        *,
        parameters: Mapping[str, Any] | None = None,
        variants: pd.DataFrame | Sequence[Mapping[str, Any]] | None = None,
        sample: Any = None,
        network: Any = None,
        solver: Any = None,
        forecast: Any = None,
        measurement: Any = None,
        tiers: Any = JOINT,
        ac: Any = None,
        defer: Any = False,
        margin: Any = None,
        start: Any = None,
        steps: int | str | slice | None = None,
        time_limit_s: float | None = None,
        columns: Sequence[Column] = (),
        title: str = "",
    ) -> None:
        said = Problems()
        asked = (network, solver, forecast, measurement, tiers, ac, defer, margin)
        given = dict(zip(OPTIONS, asked, strict=True))
        several = {name: value for name, value in given.items() if isinstance(value, list | tuple)}
        choices = {name: listed(name, value, said) for name, value in several.items()}
        rest = {name: value for name, value in given.items() if name not in choices}
        self.title = str(title)
        self._cases = named_cases(case, said)
        self._mechanisms = named_mechanisms(mechanism, said)
        if sample is not None and not isinstance(sample, Sample):
            said.say(f"sample = {shortened(sample)} must be a Sample")
            sample = None
        if start is not None and not isinstance(start, str):
            said.say(f"start = {shortened(start)} must be a date such as '2016-05-02'")
            start = None
        self._sample: Sample | None = sample
        drawn = Given(parameters, variants, sample)
        axes = said.of(lambda: axes_of(drawn, list(self._mechanisms.values())))
        options = Options(steps=steps, time_limit_s=time_limit_s, columns=columns, **rest)
        self._plan = Plan(self._cases, self._mechanisms, choices, options, start)
        heads = {"case": list(self._cases), "mechanism": list(self._mechanisms)}
        heads |= {name: list(by) for name, by in choices.items()}
        self.variants = said.of(lambda: variants_of(heads, axes or [])) or ()
        self.parameters = tuple(dict.fromkeys([*heads, *(name for v in self.variants for name in v.parameters)]))
        self._workplace = Workplace(self._plan)
        self._baselines: dict[str, Variant] = {}
        self._check(heads, said)
        said.report()

    def _check(self, heads: Mapping[str, list[str]], said: Problems) -> None:
        """See that every variant makes sense, as far as that can be known without editing a case."""
        for values in _distinct(self.variants, lambda name: name.split(".")[0] not in ("mechanism", *heads)):
            said.of(partial(check_case_values, values))
        for values in _distinct(self.variants, lambda name: name.split(".")[0] == "mechanism"):
            said.of(partial(changed, self._mechanisms[str(values["mechanism"])], values))
        for values in _distinct(self.variants, lambda name: name.split(".")[0] in ("case", *heads)):
            variant = Variant(0, values)
            said.of(partial(self._workplace.settings, variant))
            label = ", ".join(f"{name}={value}" for name, value in values.items() if name.split(".")[0] == "case")
            self._baselines.setdefault(label, variant)
        for item in self._cases.values() if not self._mechanisms else ():
            said.of(partial(as_case, item))

    def run(
        self,
        out: str | Path | None = None,
        *,
        executor: Any = "here",
        workers: int | None = None,
        resume: bool = False,
        force: bool = False,
        keep_runs: bool = False,
        progress: Progress | None = None,
    ) -> StudyResult:
        """Run every variant.

        A variant that cannot be run is a row with its ``reason``. One whose process is lost is begun once more.

        Args:
            out: a new or empty folder that gets a row for each variant as soon as it is there, and the table at last.
            executor: ``"here"``, one after the other in this process; ``"processes"`` of this machine; ``"dask"`` for a
                cluster of this machine, or the address of a scheduler, a ``distributed.Client`` or a cluster.
            workers: how many processes; as many as there are processors where None.
            resume: go on with the study in ``out``: only what is missing or has failed is run. Everything that the
                variants depend on must be as it was.
            force: remove the study in ``out`` and start anew.
            keep_runs: whether whole runs are kept, each in a folder that ``open_run`` reads (docs/results.md#files).
            progress: called with (variants done, all, the newest row) after every variant.

        Raises:
            InputError: anything that is wrong with these; nothing has been run then.
            OutputError: where ``out`` takes nothing any more; what was written until then is kept.
            LostError: where a cluster of dask's is gone; what was written until then is kept.
            KeyboardInterrupt: after Ctrl-C; with ``out`` it says how to go on.
        """
        said = Problems()
        path = None if out is None else said.of(lambda: as_path(out, "folder"))
        mode = said.of(lambda: mode_of(out, resume, force)) or "new"
        said.say(not_callable(progress, "progress"))
        said.say("keep_runs needs the folder of a study: give out" if keep_runs and out is None else "")
        plan = self._plan if path is None or not keep_runs else replace(self._plan, runs=(path / RUNS).resolve())
        how = said.of(lambda: self._executor(executor, workers, plan))
        said.report()
        assert how is not None
        if path is None:
            return self._result(self._rows(plan, how, {}, None, progress), None)
        return self._into(path, mode, plan, how, progress)

    def _into(self, path: Path, mode: Mode, plan: Plan, how: Executor, progress: Progress | None) -> StudyResult:
        folder = StudyFolder(path, self._document(), mode)
        try:
            done = folder.rows()
            rows = self._rows(plan, how, done, folder, progress)
            result = self._result(rows, path)
            folder.finish(result.table)
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(folder.kept) from error
        except LostError as error:
            raise LostError(f"{error}; {folder.kept}") from error
        finally:
            folder.close()
        return result

    def _rows(
        self, plan: Plan, how: Executor, done: dict[int, Row], folder: StudyFolder | None, progress: Progress | None
    ) -> dict[int, Row]:
        rows, count = dict(done), len(self.variants)
        left = [variant for variant in self.variants if variant.number not in rows]
        if progress is not None:
            progress(len(rows), count, None)
        if not left:
            return rows
        if plan.runs is not None:
            try:
                plan.runs.mkdir(exist_ok=True)
            except OSError as error:
                raise OutputError(f"nothing can be written to {plan.runs}: {error.strerror or error}") from error
        with closing(how.rows(plan, left)) as made:  # type: ignore[type-var]
            for row in made:
                rows[row.number] = row
                if folder is not None:
                    folder.write(row)
                if progress is not None:
                    progress(len(rows), count, row)
        return rows

    def _result(self, rows: Mapping[int, Row], path: Path | None) -> StudyResult:
        return StudyResult.of(self.title, self.parameters, rows.values(), len(self.variants), path, self._sample)

    def _executor(self, executor: Any, workers: Any, plan: Plan) -> Executor:
        """Who runs the variants.

        Raises:
            InputError: where there is none, or the study cannot be sent to other processes.
        """
        if workers is not None and not (is_whole(workers) and workers > 0):
            raise InputError(f"workers = {shortened(workers)} must be a whole number of at least 1")
        if executor == "here":
            if workers is not None:
                raise InputError(f"workers = {workers} needs an executor that has workers: processes or dask")
            return Here(self._workplace)
        if isinstance(executor, str) and executor not in EXECUTORS and "://" not in executor and ":" not in executor:
            raise unknown(
                "executor", executor, [*EXECUTORS, "the address of a dask scheduler, such as tcp://host:8786"]
            )
        try:
            pickle.dumps(plan)
        except Exception as error:
            raise InputError(
                f"the study cannot be sent to other processes ({one_line(error)}): use executor='here', or give"
                " mechanisms, solvers, networks and columns that can be imported"
            ) from error
        count = int(workers or os.cpu_count() or 1)
        if executor == "processes":
            return Processes(count)
        return Distributed(count if executor == "dask" else executor)

    def _document(self) -> dict[str, Any]:
        bases = {label: self._workplace.case(variant) for label, variant in self._baselines.items()}
        inputs = described(bases, self._plan, self.variants, self.parameters)
        sample = None if self._sample is None else asdict(self._sample)
        return {"inputs": inputs, "title": self.title, "parameters": list(self.parameters), "sample": sample}

    def __len__(self) -> int:
        return len(self.variants)

    def __repr__(self) -> str:
        on = f"{shorten(self._mechanisms)} on {shorten(self._cases)}"
        return f"Study({counted(len(self), 'variant')} of {shorten(self.parameters[2:]) or 'nothing'}: {on})"

    def _repr_html_(self) -> str:
        return as_html(
            repr(self), pd.DataFrame([dict(v.parameters) for v in self.variants], columns=list(self.parameters))
        )


def _distinct(variants: Sequence[Variant], chosen: Callable[[str], bool]) -> list[dict[str, Any]]:
    """What different variants have of some parameters, each once, with their case and mechanism."""
    found: dict[Any, dict[str, Any]] = {}
    for variant in variants:
        values = {
            name: value for name, value in variant.parameters.items() if name in ("case", "mechanism") or chosen(name)
        }
        found.setdefault(tuple(sorted(values.items(), key=str)), values)
    return list(found.values())
