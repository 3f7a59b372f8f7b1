"""Lexicographic max-min: raise the smallest level as far as possible, then the next smallest, and so on.

Any convex program: stages of ``max t`` in which all levels that can still rise are at least t; levels whose bound
carries a multiplier are held, because no solution that keeps the others at t raises them (progressive filling;
B. Radunovic and J.-Y. Le Boudec, IEEE/ACM Trans. Networking 15(5), 2007, doi 10.1109/TNET.2007.896231).

Where the levels are the only variables of a linear program, ``backends.water_filling`` does the same without stages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

import cvxpy as cp
import numpy as np

from amm_opt.program import HorizonProgram, Leximin, Program, Solution
from amm_opt.solve.answer import NoAnswerError
from amm_opt.solve.backends.known import Choice
from amm_opt.solve.backends.water_filling import WaterFillingBackend
from amm_opt.solve.route import AT_LEAST, HELD, LEVEL, REACHED, RISING, Route, Solve, Task
from amm_opt.solve.routes.coupled import Coupling, fill, settle

AnyProgram = TypeVar("AnyProgram", bound=Program | HorizonProgram)

BLOCKED = 1e-6
"""A multiplier above this (they sum to 1) means that the level is blocked."""
HOLD_BACK = 1e-8
"""Held levels stay this fraction below what was reached, and this much at least, so that the next stage is feasible."""


class LeximinRoute:
    """A leximin program by stages.

    Args:
        stages: solves one stage, see :func:`stage_program`.
        default: by which solver where none is named.
        size: number of levels.
        coupling: whether losses couple all levels, and how; else None.
    """

    def __init__(self, stages: Route, default: Choice, size: int, coupling: Coupling | None = None) -> None:
        self.needs, self.reason = stages.needs, stages.reason
        self._stages, self._default, self._size, self._coupling = stages, default, size, coupling

    def reset(self) -> None:
        """What follows depends on nothing solved before."""
        self._stages.reset()

    def solve(self, solver: Choice, task: Task) -> Solution:
        """See ``Route``."""
        chosen = self._default if solver is None else solver

        def stage(values: Mapping[str, Any]) -> Solution:
            return self._stages.solve(chosen, replace(task, values={**task.values, **values}))

        if self._coupling is None:
            return solve_stages(stage, self._size)
        filled = fill(stage, self._coupling.kw_per_level(task, self._size))
        answer = filled.answer
        if (exactly := self._coupling.settled) and solver is None and len(filled.stages) > 1:
            answer = settle(lambda values: exactly(replace(task, values={**task.values, **values})), filled)
        return replace(answer, objective=float(np.min(answer[LEVEL])))


class WaterFillingRoute:
    """Water filling where no solver is named, and stages where it has no answer.

    Args:
        filling: the compiled program of :func:`numeric_program`.
    """

    def __init__(self, filling: Route, stages: Route) -> None:
        self.needs, self.reason = stages.needs, stages.reason
        self._filling, self._stages = filling, stages

    def reset(self) -> None:
        """What follows depends on nothing solved before."""
        self._filling.reset()
        self._stages.reset()

    def solve(self, solver: Choice, task: Task) -> Solution:
        """See ``Route``."""
        if solver is None:
            with suppress(NoAnswerError):
                return self._filling.solve(WaterFillingBackend.name, task)
        return self._stages.solve(solver, task)


def stage_program(program: AnyProgram) -> AnyProgram:
    """One stage: max t subject to level >= rising t + held, with that constraint's multipliers as ``at_least``."""
    assert isinstance(program.objective, Leximin)
    level = program.objective.level
    t = cp.Variable(name="t")
    rising = cp.Parameter(level.size, nonneg=True, name=RISING)
    at_least = level >= cp.multiply(rising, t) + cp.Parameter(level.size, name=HELD)
    return replace(
        program,
        objective=cp.Maximize(t),
        constraints=[*program.constraints, at_least],
        values={**program.values, REACHED: t, LEVEL: level},
        duals={**program.duals, AT_LEAST: at_least},
    )


def solve_stages(solve: Solve, size: int) -> Solution:
    """Run the stages.

    Args:
        solve: solves one, given the values of its parameters, or raises NoAnswerError.
        size: number of levels.
    """
    rising, held = np.ones(size, dtype=bool), np.zeros(size)
    while True:
        answer = solve({RISING: rising.astype(float), HELD: held})
        t = float(answer[REACHED])
        blocked = rising & (np.abs(answer.duals[AT_LEAST]) > BLOCKED)
        if not blocked.any() or not (rising & ~blocked).any():
            return replace(answer, objective=float(np.min(answer[LEVEL])))
        held = np.where(blocked, t - max(HOLD_BACK * abs(t), HOLD_BACK), held)
        rising &= ~blocked


def numeric_program(program: Program) -> Program:
    """The program with a constant objective: what water filling needs compiled."""
    return replace(program, objective=cp.Minimize(cp.Constant(0.0)))


def only_levels(program: Program) -> bool:
    """Whether the levels are all the variables there are."""
    assert isinstance(program.objective, Leximin)
    parts: Sequence[Any] = [*program.constraints, *(e for i in program.injections for e in (i.import_kw, i.export_kw))]
    return {v.id for part in parts for v in part.variables()} == {program.objective.level.id}
