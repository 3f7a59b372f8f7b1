r"""The program that quadratic matchings share: separable concave service in both directions.

    max  sum gain_i x_i - 1/2 curvature_i x_i^2  (import x and export y alike)
    s.t. floor <= (x, y) <= request,  injections y - x - d feasible.

Gains, curvatures and floors are parameters, so the engine compiles the program once per run.
"""

from __future__ import annotations

import cvxpy as cp
import numpy as np

from amm_opt.arrays import DIRECTIONS, FloatArray
from amm_opt.grid import Grid
from amm_opt.market.mechanism import Values
from amm_opt.market.state import requested
from amm_opt.program import Program

TIE = 1e-3
"""Curvature, relative to the request, that stands for none: it makes the optimum of a linear objective unique."""


def matching(grid: Grid, *, floored: bool = False) -> Program:
    """The program; ``floored`` adds lower bounds on the service."""
    service, objective, limits = {}, 0.0, []
    for direction in DIRECTIONS:
        x = cp.Variable(grid.n, name=f"{direction}_kw")
        gain = cp.Parameter(grid.n, nonneg=True, name=f"gain_{direction}")
        root = cp.Parameter(grid.n, nonneg=True, name=f"root_curvature_{direction}")
        objective += gain @ x - 0.5 * cp.sum_squares(cp.multiply(root, x))
        floor = cp.Parameter(grid.n, nonneg=True, name=f"floor_{direction}") if floored else 0.0
        limits += [x >= floor, x <= grid.request_kw(direction)]
        service[direction] = x
    injection = grid.injection(import_kw=service["import"], export_kw=service["export"])
    return Program(cp.Maximize(objective), limits, [injection], service)


def matching_values(gain: FloatArray, curvature: FloatArray, floor: FloatArray | None = None) -> Values:
    """Its parameters from (2, n) arrays, row 0 import and row 1 export; ``floor`` in kW where it is floored."""
    values: Values = {}
    for row, direction in enumerate(DIRECTIONS):
        values[f"gain_{direction}"] = gain[row]
        values[f"root_curvature_{direction}"] = np.sqrt(curvature[row])
        if floor is not None:
            values[f"floor_{direction}"] = floor[row]
    return values


def per_request(weight: FloatArray | float, request_kw: FloatArray) -> FloatArray:
    """``weight / request_kw``, 0 where nothing is requested: the curvature of a square of the served ratio."""
    asked = requested(request_kw)
    return np.where(asked, weight / np.where(asked, request_kw, 1.0), 0.0)
