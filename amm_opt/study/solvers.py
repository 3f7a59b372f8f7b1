"""Mechanisms by solvers: how long each takes and how good its answers are, as it gives them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from amm_opt.arrays import FloatArray
from amm_opt.cases import Case, as_case
from amm_opt.errors import InputError, Problems, SolveError, counted
from amm_opt.fields import shortened
from amm_opt.io.html import as_html
from amm_opt.program import Solution
from amm_opt.registry import as_mechanism
from amm_opt.simulation.driver import execute
from amm_opt.simulation.options import Options, settled
from amm_opt.simulation.results.run import Run
from amm_opt.solve.audit import audit
from amm_opt.solve.backends.known import FALLBACKS, Choice, label, solver_order, solvers
from amm_opt.solve.backends.reduced import Point, Reduced
from amm_opt.solve.compile import Numbers, Rows

REFERENCE = "automatic"
"""What answers are held against: the choice by capability."""
COLUMNS = (
    "mechanism",
    "solver",
    "calls",
    "inside_s",
    "around_s",
    "ms_per_call",
    "iterations",
    "primal",
    "dual",
    "error_kw",
    "error_dual",
    "fallbacks",
    "failed",
    "reasons",
)


@dataclass(frozen=True, eq=False, repr=False)
class SolverComparison:
    """Mechanisms by solvers.

    Attributes:
        table: one row for each, the reference first. ``calls`` of the solver; ``inside_s`` seconds in them and
            ``around_s`` in the rest of the run; ``iterations`` per call. ``primal`` and ``dual``: the largest residuals
            of its answers as it gave them, before values outside their bounds are put on them: of rows and bounds, and
            of stationarity, signs of multipliers and duality gap, relative as in an audit. ``error_kw``: the largest
            difference of anybody's service to the reference's; ``error_dual``: of a limit's multiplier, relative to the
            largest of its program. Both over all intervals that both solved at the first try. ``fallbacks`` and
            ``failed``: intervals, with ``reasons``.
        steps: intervals of the run.
    """

    case: str
    steps: int
    table: pd.DataFrame

    def __repr__(self) -> str:
        both = " by ".join(counted(self.table[c].nunique(), c) for c in ("mechanism", "solver"))
        return f"SolverComparison({both} on {self.case!r}, {counted(self.steps, 'interval')})"

    def _repr_html_(self) -> str:
        return as_html(repr(self), self.table)


@dataclass
class Recorder:
    """Notes what the calls of one solver came to, see ``Watch``; those of fallbacks are not its own."""

    solver: Choice = None
    calls: int = 0
    inside_s: float = 0.0
    own_s: float = 0.0
    steps: list[int] = field(default_factory=list)
    primal: float = np.nan
    dual: float = np.nan
    duals: dict[tuple[int, int], dict[int, float]] = field(default_factory=dict)
    fallbacks: set[int] = field(default_factory=set)
    _solved: dict[int, int] = field(default_factory=dict)

    def called(self, problem: Reduced, solver: Choice, point: Point | None, seconds: float) -> None:
        """See ``Watch``."""
        if solver != self.solver:
            return
        began = time.perf_counter()
        self.calls += 1
        self.inside_s += seconds
        if point is not None and point.x is not None:
            self.steps += [] if point.steps is None else [int(point.steps)]
            primal, dual = residuals(problem, point.x, point)
            self.primal, self.dual = float(np.fmax(self.primal, primal)), float(np.fmax(self.dual, dual))
        self.own_s += time.perf_counter() - began

    def solved(self, start: int, solution: Solution) -> None:
        """See ``Watch``."""
        number = self._solved[start] = self._solved.get(start, -1) + 1
        if not solution.fallback:
            self.duals[start, number] = dict(solution.limit_duals)


def residuals(problem: Reduced, x: FloatArray, point: Point) -> tuple[float, float]:
    """Largest primal residual of an answer, and dual residual or gap, relative as in an audit."""
    curved = problem.hessian if isinstance(problem.hessian, np.ndarray) else np.zeros(len(problem.q))
    matrix = None if problem.hessian is None or isinstance(problem.hessian, np.ndarray) else problem.hessian.tocsr()
    limits = (problem.lower, problem.upper, problem.all_rows, problem.row_lower, problem.row_upper)
    numbers = Numbers(problem.q, 0.0, None if matrix is not None else curved, matrix, *limits)
    multipliers = np.concatenate([point.row_dual, point.network_dual[problem.live]])
    checked = audit(numbers, x, multipliers, Rows.of([], len(problem.q)), *np.zeros((3, 0)))
    return checked.primal, max(checked.dual, checked.gap)


def compare_solvers(
    case: Case | str | Path,
    mechanisms: Any,
    solvers: Choice | Sequence[Choice] = None,
    *,
    network: Any = None,
    steps: int | str | slice | None = None,
    time_limit_s: float | None = None,
    progress: Any = None,
) -> SolverComparison:
    """Run mechanisms by every solver, in one process, and hold each against the choice by capability.

    Nothing is polished: errors are those of the answers that solvers give.

    Args:
        case, network, steps, time_limit_s: as for ``simulate``.
        mechanisms: one or several, as for ``simulate``.
        solvers: one or several names, or solvers of one's own; all installed fallbacks and our own method where None.
            One that cannot solve a mechanism's programs is a row with its reason.
        progress: called with (runs done, all) after every run.

    Raises:
        InputError: anything the caller gave that is wrong.
    """
    said = Problems()
    item = said.of(lambda: as_case(case))
    several = list(mechanisms) if isinstance(mechanisms, list | tuple) else [mechanisms]
    found = [said.of(partial(as_mechanism, m)) for m in several]
    wanted = default_solvers() if solvers is None else list(solvers) if isinstance(solvers, list | tuple) else [solvers]
    chosen = [said.of(partial(_known, s)) for s in wanted]
    if not several or not wanted:
        said.say("at least one mechanism and one solver must be given")
    said.report()
    assert item is not None
    made = [mechanism for mechanism in found if mechanism is not None]
    rows: list[dict[str, Any]] = []
    count, steps_run = len(made) * (1 + len(chosen)), 0
    for mechanism in made:
        settled(item, mechanism, Options(network=network, steps=steps, time_limit_s=time_limit_s))
        reference: tuple[Run, Recorder] | None = None
        for solver in (None, *chosen):
            options = Options(network=network, steps=steps, time_limit_s=time_limit_s, solver=solver)
            row, measured = _measured(item, mechanism, options, reference)
            reference = measured if solver is None else reference
            steps_run = steps_run if measured is None else len(measured[0].times)
            rows.append({"mechanism": str(mechanism), "solver": label(solver), **row})
            if progress is not None:
                progress(len(rows), count)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return SolverComparison(item.name, steps_run, table)


def default_solvers() -> list[str]:
    """All installed fallbacks, and our own method."""
    known = solvers()
    return ["DUAL_NEWTON", *(name for name in FALLBACKS if known[name].installed)]


def _known(solver: Any) -> Choice:
    if solver is None or (isinstance(solver, str) and solver.lower() == REFERENCE):
        raise InputError(f"solver = {shortened(solver)}: the choice by capability is the reference, and always there")
    return solver_order(solver).choices[0]


def _measured(
    case: Case, mechanism: Any, options: Options, reference: tuple[Run, Recorder] | None
) -> tuple[dict[str, Any], tuple[Run, Recorder] | None]:
    """One row, and what it was measured on; a reason where there is nothing."""
    try:
        settings = settled(case, mechanism, options)
        watch = Recorder(settings.order.choices[0])
        settings = replace(settings, order=replace(settings.order, watch=watch))
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # failed intervals are in the row
            run = execute(settings)
        whole_s = time.perf_counter() - began
    except (InputError, SolveError) as error:
        nothing = dict.fromkeys(("calls", "fallbacks", "failed"), 0)
        return {**nothing, "reasons": str(error)}, None
    reasons = {*run.fallback_reasons.values(), *run.failed_steps.values()}
    row = {
        "calls": watch.calls,
        "inside_s": watch.inside_s,
        "around_s": whole_s - watch.inside_s - watch.own_s,
        "ms_per_call": 1e3 * watch.inside_s / watch.calls if watch.calls else np.nan,
        "iterations": float(np.mean(watch.steps)) if watch.steps else np.nan,
        "primal": watch.primal,
        "dual": watch.dual,
        "fallbacks": len(run.fallback_steps),
        "failed": len(run.failed_steps),
        "reasons": "; ".join(sorted(reasons)),
    }
    held = (run, watch) if reference is None else reference
    return {**row, **_errors(run, watch, *held)}, (run, watch)


def _errors(run: Run, watch: Recorder, other: Run, by: Recorder) -> dict[str, float]:
    """The largest differences to the reference, over intervals that both solved at the first try."""
    skipped = {*run.fallback_steps, *run.failed_steps, *other.fallback_steps, *other.failed_steps}
    kept = [k for k in range(len(run.times)) if run.first + k not in skipped]
    service = np.abs(run.allocation.both_kw[:, kept] - other.allocation.both_kw[:, kept])
    worst = np.nan
    for key in watch.duals.keys() & by.duals.keys():
        mine, theirs = watch.duals[key], by.duals[key]
        scale = max(map(abs, theirs.values()), default=0.0)
        both = [abs(mine.get(k, 0.0) - theirs.get(k, 0.0)) for k in mine.keys() | theirs.keys()]
        worst = float(np.fmax(worst, max(both, default=0.0) / scale if scale else 0.0))
    return {"error_kw": float(np.max(service, initial=0.0)) if kept else np.nan, "error_dual": worst}
