r"""The program that quadratic matchings share: separable concave service in both directions, hosted by the network.

    max  sum gain_i x_i - 1/2 curvature_i x_i^2  (import x and export y alike)
    s.t. floor <= (x, y) <= request,  injections y - x - d hosted.

Gains, curvatures and floors are parameters, so the engine compiles the program once per run.
"""

from __future__ import annotations

import cvxpy as cp
import numpy as np

from amm_opt.arrays import DIRECTIONS, FloatArray
from amm_opt.grid import Grid
from amm_opt.market.mechanism import Values
from amm_opt.program import Program

TIE = 1e-3
"""Curvature, relative to the request, that stands for none: it makes the optimum of a linear objective unique."""


def matching(grid: Grid, *, floored: bool = False) -> Program:
    """The program; ``floored`` adds lower bounds on the service."""
    service, objective, limits = {}, 0.0, []
    for direction, request in zip(DIRECTIONS, (grid.import_request_kw, grid.export_request_kw), strict=True):
        x = cp.Variable(grid.n, name=f"{direction}_kw")
        gain = cp.Parameter(grid.n, nonneg=True, name=f"gain_{direction}")
        root = cp.Parameter(grid.n, nonneg=True, name=f"root_curvature_{direction}")
        objective += gain @ x - 0.5 * cp.sum_squares(cp.multiply(root, x))
        least = cp.Parameter(grid.n, nonneg=True, name=f"floor_{direction}") if floored else 0.0
        limits += [x >= least, x <= request]
        service[direction] = x
    hosted = grid.injection(import_kw=service["import"], export_kw=service["export"])
    return Program(cp.Maximize(objective), limits, [hosted], service)


def matching_values(gain: FloatArray, curvature: FloatArray, floor: FloatArray | None = None) -> Values:
    """Its parameters from (2, n) arrays, row 0 import and row 1 export; ``floor`` in kW where it is floored."""
    values: Values = {}
    for row, direction in enumerate(DIRECTIONS):
        values[f"gain_{direction}"] = gain[row]
        values[f"root_curvature_{direction}"] = np.sqrt(curvature[row])
        if floor is not None:
            values[f"floor_{direction}"] = floor[row]
    return values
