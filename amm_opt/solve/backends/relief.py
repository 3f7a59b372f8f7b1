"""Leximin of levels under linear limits that some of them press on and others relieve, by a few linear programs.

A stage is max t over levels z with rows @ z <= limit, lower <= z <= upper, z_i >= t of those that rise and, of those
that are held, z_i >= what they reached. Its multipliers of z_i >= t sum to 1; they are c_i = (y' rows)_i > 0 with y the
multipliers of the limits. y proves that z_i = t wherever the others have at least t, so i is held. A level without a
multiplier is not guessed to be free: it rises in the next stage, or is proved to be held there.
"""

from __future__ import annotations

from typing import Any

import highspy
import numpy as np
import scipy.sparse as sp

from amm_opt.arrays import FloatArray
from amm_opt.io.output import native, silent
from amm_opt.solve.backends.known import SETTINGS

PROOF = 1e-9
"""Lifting a level all the way costs the others at most its multiplier of theirs: less than this is nothing."""
GIVES = (1e-9, 1e-8, 1e-7, 1e-6)
"""What held levels may give up for the others: the first of these with which the next stage is feasible."""


def fill_with_relief(rows: FloatArray, limit: FloatArray, lower: FloatArray, upper: FloatArray) -> FloatArray | str:
    """Levels (G,), or why there are none.

    Args:
        rows: (K, G); limit: (K,); lower, upper: (G,), infinite where a level has no bound of its own.
    """
    level = upper.copy()
    some = (rows != 0).any(axis=0)
    if not some.any():
        return level
    most = np.abs(rows).max(axis=1)
    rows, limit, lower, upper = rows[:, some] / most[:, None], limit / most, lower[some], upper[some]
    count, size = rows.shape
    model = _model(rows, limit, lower, upper)
    rising, t = np.ones(size, dtype=bool), -np.inf
    reached, gives = np.zeros(size), list(GIVES)
    while rising.any():
        with native:
            model.run()
        if model.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            if rising.all() or len(gives) == 1:
                return f"no stage above {t:.6g}: {model.modelStatusToString(model.getModelStatus())}"
            gives.pop(0)
        else:
            solution = model.getSolution()
            t = float(solution.col_value[0])
            multiplier = np.where(rising, np.abs(np.array(solution.row_dual)[count:]), 0.0)
            held = rising & ((multiplier > PROOF) | (upper <= t + GIVES[0]))
            if not held.any():
                return f"no level is proved to be held at {t:.6g}"
            reached[held] = np.minimum(t, upper[held])
            rising &= ~held
        who = np.flatnonzero(~rising).astype(np.int32)
        free = np.full(len(who), highspy.kHighsInf)
        model.changeRowsBounds(len(who), (count + who).astype(np.int32), -free, free)
        least = np.maximum(reached[who] - gives[0] * np.maximum(1.0, np.abs(reached[who])), lower[who])
        model.changeColsBounds(len(who), (1 + who).astype(np.int32), least, upper[who])
    level[some] = np.minimum(np.array(solution.col_value)[1:], upper)
    return level


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
