"""Leximin of levels under linear limits that some of them load and others relieve, by a few linear programs.

A stage of progressive filling, over levels z of which some still rise and the others are saturated:

    max t   s.t.  rows @ z <= limit,   lower <= z <= upper,   z_i >= t (rising),   z_i >= reached_i (saturated).

Let y >= 0 be the multipliers of the limits. Those of z_i >= t are c_i = (y' rows)_i and sum to 1. Where c_i > 0, y
proves that z_i = t wherever the other rising levels have at least t, so level i is saturated: the limits with y_k > 0
are its bottleneck. A level without a multiplier is not guessed to be free: it rises in the next stage, or is proved to
be saturated there. Every stage saturates at least one level. Progressive filling is from B. Radunovic and J.-Y. Le
Boudec (see ``water_filling``); the proof by multipliers is our reading.
"""

from __future__ import annotations

from typing import Any

import highspy
import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import BoolArray, FloatArray
from amm_opt.io.output import native, silent
from amm_opt.solve.answer import NoAnswerError
from amm_opt.solve.backends.known import SETTINGS

PROOF = 1e-9
"""Lifting a level all the way costs the others at most its multiplier of theirs: less than this is nothing."""
GIVES = (1e-9, 1e-8, 1e-7, 1e-6)
"""What saturated levels may give up for the others: the first of these with which the next stage is feasible."""


def fill_with_relief(rows: FloatArray, limit: FloatArray, lower: FloatArray, upper: FloatArray) -> FloatArray:
    """Leximin-optimal levels (G,) subject to rows @ level <= limit and their bounds.

    Args:
        rows: (K, G); limit: (K,); lower, upper: (G,), infinite where a level has no bound of its own.

    Raises:
        NoAnswerError: where a stage has no solution, or saturates no level.
    """
    level = upper.copy()
    limited = (rows != 0).any(axis=0)
    if limited.any():
        largest = np.abs(rows).max(axis=1)
        stages = _Stages(rows[:, limited] / largest[:, None], limit / largest, lower[limited], upper[limited])
        level[limited] = stages.solve()
    return level


class _Stages:
    """The linear program of a stage in one HiGHS model, whose bounds change from stage to stage."""

    def __init__(self, rows: FloatArray, limit: FloatArray, lower: FloatArray, upper: FloatArray) -> None:
        self._lower, self._upper = lower, upper
        self._n_limits, self._n_levels = rows.shape
        self._model = _model(rows, limit, lower, upper)

    def solve(self) -> FloatArray:
        """All levels."""
        rising, reached, t = np.ones(self._n_levels, dtype=bool), np.zeros(self._n_levels), -np.inf
        gives = list(GIVES)
        while rising.any():
            with native:
                self._model.run()
            status = self._model.getModelStatus()
            if status == highspy.HighsModelStatus.kOptimal:
                # levels with a multiplier, and those at their own bound, are saturated
                solution = self._model.getSolution()
                t = float(solution.col_value[0])
                multiplier = np.where(rising, np.abs(np.array(solution.row_dual)[self._n_limits :]), 0.0)
                saturated = rising & ((multiplier > PROOF) | (self._upper <= t + GIVES[0]))
                if not saturated.any():
                    raise NoAnswerError(f"no level is proved to be saturated at {t:.6g}")
                reached[saturated] = np.minimum(t, self._upper[saturated])
                rising &= ~saturated
            elif rising.all() or len(gives) == 1:
                raise NoAnswerError(f"no stage above {t:.6g}: {self._model.modelStatusToString(status)}")
            else:
                # infeasible by rounding: the same stage again, with saturated levels that give up more
                gives.pop(0)
            self._hold(~rising, reached, gives[0])
        levels = np.array(solution.col_value)[1:]
        return np.asarray(np.minimum(levels, self._upper))

    def _hold(self, saturated: BoolArray, reached: FloatArray, give: float) -> None:
        """Saturated levels leave the rows z_i >= t and keep what they reached."""
        which = np.flatnonzero(saturated)
        free = np.full(len(which), highspy.kHighsInf)
        self._model.changeRowsBounds(len(which), (self._n_limits + which).astype(np.int32), -free, free)
        kept = reached[which] - give * np.maximum(1.0, np.abs(reached[which]))
        least = np.maximum(kept, self._lower[which])
        self._model.changeColsBounds(len(which), (1 + which).astype(np.int32), least, self._upper[which])


def _model(rows: FloatArray, limit: FloatArray, lower: FloatArray, upper: FloatArray) -> Any:
    """Maximise t over (t, z): the limits, then z_i - t >= 0."""
    count, size = rows.shape
    ones = -np.ones((size, 1))
    blocks: Any = [[sp.csr_array((count, 1)), sp.csr_array(rows)], [sp.csr_array(ones), sp.eye_array(size)]]
    matrix = sp.csr_array(sp.block_array(blocks, format="csr"))
    with silent():
        model = highspy.Highs()
    for name, value in {"output_flag": False, "threads": 1, "presolve": "off", **SETTINGS["HIGHS"]}.items():
        model.setOptionValue(name, value)
    infinite, nothing = highspy.kHighsInf, np.zeros(0)
    model.passModel(
        *(size + 1, count + size, matrix.nnz, 0),
        *(int(highspy.MatrixFormat.kRowwise), int(highspy.HessianFormat.kTriangular)),
        int(highspy.ObjSense.kMaximize),
        *(0.0, np.append(1.0, np.zeros(size)), np.append(-infinite, lower), np.append(infinite, upper)),
        *(np.append(np.full(count, -infinite), np.zeros(size)), np.append(limit, np.full(size, infinite))),
        *(matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32), matrix.data),
        *(nothing.astype(np.int32), nothing.astype(np.int32), nothing, np.zeros(size + 1, dtype=np.int32)),
    )
    return model
