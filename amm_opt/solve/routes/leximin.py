"""Lexicographic max-min: raise the smallest level as far as possible, then the next smallest, and so on.

Any convex program: stages of ``max t`` in which all levels that can still rise are at least t; levels whose bound
carries a multiplier are held, because no solution that keeps the others at t raises them (progressive filling;
B. Radunovic and J.-Y. Le Boudec, IEEE/ACM Trans. Networking 15(5), 2007, doi 10.1109/TNET.2007.896231).

Linear limits that rising levels only press on: the same by water filling, one division per limit and stage, without
a solver. Each level then has a bottleneck: a limit that binds, in which it is among the largest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import cvxpy as cp
import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.program import HorizonProgram, Leximin, Program, Solution

AnyProgram = TypeVar("AnyProgram", bound=Program | HorizonProgram)

BLOCKED = 1e-6
"""A multiplier above this (they sum to 1) means that the level is blocked."""
HOLD_BACK = 1e-8
"""Held levels stay this fraction below what was reached, so that the next stage is feasible."""
COUPLED = (1e-2, 2e-3)
"""The two with losses, through which every level presses on every limit a little: raising one lowers another by a hair.
Strictly, the second stage could then raise nothing."""
SAME = 1e-12


def stage_program(program: AnyProgram) -> AnyProgram:
    """One stage: max t subject to level >= rising t + held, with that constraint's multipliers as ``at_least``."""
    assert isinstance(program.objective, Leximin)
    level = program.objective.level
    t = cp.Variable(name="t")
    rising = cp.Parameter(level.size, nonneg=True, name="leximin_rising")
    at_least = level >= cp.multiply(rising, t) + cp.Parameter(level.size, name="leximin_held")
    return replace(
        program,
        objective=cp.Maximize(t),
        constraints=[*program.constraints, at_least],
        values={**program.values, "leximin_t": t, "leximin_level": level},
        duals={**program.duals, "leximin_at_least": at_least},
    )


def solve_stages(
    solve: Callable[[Mapping[str, Any]], Solution | str], size: int, coupled: bool = False
) -> Solution | str:
    """Run the stages; ``solve(values)`` solves one or says why not.

    Args:
        coupled: whether losses couple all levels; the answer is then leximin to a tolerance of 0.2 %.
    """
    least, hold_back = COUPLED if coupled else (BLOCKED, HOLD_BACK)
    rising, held = np.ones(size, dtype=bool), np.zeros(size)
    while True:
        answer = solve({"leximin_rising": rising.astype(float), "leximin_held": held})
        if isinstance(answer, str):
            return answer
        t = float(answer["leximin_t"])
        blocked = rising & (np.abs(answer.duals["leximin_at_least"]) > least)
        if not blocked.any() or not (rising & ~blocked).any():
            return replace(answer, objective=float(np.min(answer["leximin_level"])))
        held = np.where(blocked, t - hold_back * max(1.0, abs(t)), held)
        rising &= ~blocked


def fill(rows: FloatArray, limit: FloatArray, upper: FloatArray) -> FloatArray:
    """Leximin-optimal levels subject to rows @ level <= limit, level <= upper, with rows >= 0.

    Args:
        rows: (K, G); limit: (K,); upper: (G,), infinite where a level has no bound of its own.
    """
    alone = (rows != 0).sum(axis=1) == 1
    if alone.any():
        row, which = np.nonzero(rows[alone])
        upper = upper.copy()
        np.minimum.at(upper, which, limit[alone][row] / rows[alone][row, which])
        rows, limit = rows[~alone], limit[~alone]
    if np.all(np.isfinite(upper)) and np.all(rows @ upper <= limit):
        return upper
    level = np.full(len(upper), np.inf)
    rising = np.ones(len(upper), dtype=bool)
    used = np.zeros(len(limit))
    while rising.any():
        press = rows[:, rising].sum(axis=1)
        reach = np.where(press > 0, (limit - used) / np.where(press > 0, press, 1.0), np.inf)
        t = min(float(np.min(reach, initial=np.inf)), float(np.min(upper[rising])))
        if np.isinf(t):
            break
        tight = reach <= t + SAME * max(1.0, abs(t))
        stop = rising & ((rows[tight] > 0).any(axis=0) | (upper <= t))
        level[stop] = t
        used += rows[:, stop].sum(axis=1) * t
        rising &= ~stop
    return level


def numeric_program(program: Program) -> Program:
    """The program with a constant objective: what water filling needs compiled."""
    return replace(program, objective=cp.Minimize(cp.Constant(0.0)))


def only_levels(program: Program) -> bool:
    """Whether the levels are all the variables there are."""
    assert isinstance(program.objective, Leximin)
    parts: Sequence[Any] = [*program.constraints, *(e for i in program.injections for e in (i.import_kw, i.export_kw))]
    return {v.id for part in parts for v in part.variables()} == {program.objective.level.id}
