"""Cutting a service back until it is feasible, only where it loads a limit that is broken.

    max  sum_i x_i - (p_i - x_i)^2 / (2 p_i)     both directions
    s.t. 0 <= x_i <= p_i,  injections feasible.

As much as possible of the service p, proportional among equals (the AMM's matching with equal priorities). The slope
in x_i is 2 - x_i / p_i >= 1: with mu the multipliers of the limits and a_i the use of them, x_i is p_i (2 - mu a_i)
within 0 and p_i, so that whoever uses no limit that binds keeps all of p_i.
"""

from __future__ import annotations

from typing import Any

import cvxpy as cp
import numpy as np

from amm_opt.arrays import DIRECTIONS, FloatArray
from amm_opt.cases.profiles import requested
from amm_opt.grid import Grid
from amm_opt.program import Program


def cut_program(grid: Grid) -> Program:
    """The program, with the values ``import`` and ``export``; its parameters come from ``cut_values``."""
    power: dict[str, cp.Expression] = {}
    gain: Any = 0.0
    limits: list[cp.Constraint] = []
    for d in DIRECTIONS:
        power[d] = cp.Variable(grid.n, name=d)
        root = cp.Parameter(grid.n, nonneg=True, name=f"root_{d}")
        gain += 2.0 * cp.sum(power[d]) - 0.5 * cp.sum_squares(cp.multiply(root, power[d]))
        limits += [power[d] >= 0, power[d] <= cp.Parameter(grid.n, nonneg=True, name=f"cap_{d}")]
    injection = grid.injection(import_kw=power["import"], export_kw=power["export"])
    return Program(cp.Maximize(gain), limits, [injection], power)


def cut_values(import_kw: FloatArray, export_kw: FloatArray) -> dict[str, FloatArray]:
    """Numbers of the program's parameters for the service (n,) that is to be cut, kW."""
    values = {}
    for d, cap in zip(DIRECTIONS, (import_kw, export_kw), strict=True):
        some = requested(cap)
        values[f"cap_{d}"] = cap
        values[f"root_{d}"] = np.where(some, 1.0 / np.sqrt(np.where(some, cap, 1.0)), 0.0)
    return values
