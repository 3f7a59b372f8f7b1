"""Leximin where losses couple all levels: by stages that hold who loads what binds, and give a little for the others.

With losses every level loads every limit a little, and strictly the second stage of progressive filling could raise
nothing. So a level is held only by limits that it loads noticeably, per kW, and gives a small share of what it reached
for those that rise on. What is not needed of it in the end is given back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from amm_opt.arrays import BoolArray, FloatArray
from amm_opt.program import Solution
from amm_opt.solve.answer import NoAnswerError
from amm_opt.solve.compile import CompiledProgram
from amm_opt.solve.route import AT_LEAST, HELD, LEVEL, REACHED, RISING, Solve, Task

PRESSES = 1e-2
"""A level is held by what it loads at least this much per kW, relative to who loads it most."""
GIVES = 2e-3
"""The share of what it reached that a held level gives."""
MORE = 2e-5
"""And this much more in every later stage: where those that rise use up all of it, the next stage needs some, too."""
LEAST = 1e-7
"""What held levels give at least, relative to 1 or to their size, so that the next stage is feasible."""


@dataclass(frozen=True, eq=False)
class Coupling:
    """How losses couple levels.

    Attributes:
        settled: what solves a stage exactly enough to give back what levels gave; None where nothing does.
        compiled: the program of a stage, where it is compiled and levels are its only variables.
    """

    settled: Callable[[Task], Solution] | None = None
    compiled: CompiledProgram | None = None

    def kw_per_level(self, task: Task, size: int) -> FloatArray:
        """(size,) how many kW of all injections one unit of each level moves; ones where that is not known."""
        if self.compiled is None:
            return np.ones(size)
        values = {**task.values, RISING: np.ones(size), HELD: np.zeros(size)}
        theta = self.compiled.theta(values, task.requests)
        moved = np.zeros(self.compiled.size)
        for power in (one for both in self.compiled.powers for one in both):
            moved += np.bincount(power.gain.col, np.abs(power.gain.data(theta)), self.compiled.size)
        return np.asarray(np.abs(self.compiled.value_map(LEVEL).gain.at(theta)) @ moved)


@dataclass(frozen=True, eq=False)
class Filled:
    """Levels after the last stage.

    Attributes:
        answer: the last stage's.
        stages: of every stage the levels (size,) that it held.
        reached, kept: (size,) what each level reached, and where it was held.
    """

    answer: Solution
    stages: Sequence[BoolArray]
    reached: FloatArray
    kept: FloatArray


def fill(solve: Solve, kw: FloatArray) -> Filled:
    """Raise all levels by stages.

    Args:
        solve: solves one stage, given the values of its parameters, or raises NoAnswerError.
        kw: (size,) see ``Coupling.kw_per_level``.
    """
    kw, stages = np.where(kw > 0, kw, np.max(kw, initial=0.0) or 1.0), list[BoolArray]()
    rising, kept, reached = np.ones(len(kw), dtype=bool), np.zeros(len(kw)), np.zeros(len(kw))
    while True:
        answer = solve({RISING: rising.astype(float), HELD: kept})
        t = float(answer[REACHED])
        load = np.where(rising, np.abs(answer.duals[AT_LEAST]) / kw, 0.0)
        held = load > PRESSES * load.max()
        if not (rising & ~held).any():
            held = rising
        reached = np.where(held, t, reached)
        kept = np.where(rising, kept, kept - MORE * np.abs(reached))
        kept = np.where(held, t - GIVES * abs(t) - LEAST, kept)
        stages.append(held)
        rising = rising & ~held
        if not rising.any():
            return Filled(answer, stages, reached, kept)


def settle(solve: Solve, filled: Filled) -> Solution:
    """Give back what levels gave and the others do not need, those that were held first before the others.

    Args:
        solve: as of :func:`fill`.

    Where it has no answer, for want of room, nothing more is given back.
    """
    level, answer = filled.kept, filled.answer
    for stage in filled.stages:
        try:
            answer = solve({RISING: stage.astype(float), HELD: level})
        except NoAnswerError:
            break
        gave = np.maximum(filled.reached - level, 0.0)
        back = np.minimum(max(float(answer[REACHED]), 0.0), gave) - LEAST * np.maximum(1.0, np.abs(level))
        level = np.where(stage, level + np.maximum(back, 0.0), level)
    return answer
