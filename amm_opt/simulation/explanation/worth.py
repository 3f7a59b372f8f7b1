"""What a little more of a limit would be worth: multipliers of the most energy that the network can host."""

from __future__ import annotations

from functools import cached_property

import cvxpy as cp
import numpy as np

from amm_opt.arrays import DIRECTIONS
from amm_opt.cases import Requests
from amm_opt.grid import Grid
from amm_opt.program import Program
from amm_opt.simulation.explanation.places import LOWER, UPPER, Places
from amm_opt.solve.solver import ProgramSolver


class Worth:
    """Energy that a kVA, kW or pu more at each place would let the network host, whoever gets it.

    In each interval

        W = max  sum_i x_i + y_i  s.t.  0 <= x <= r, 0 <= y <= g, every limit of the network,

    and dW/dlimit is the multiplier of the limit. It is the derivative of what the throughput bound
    (``alpha_fair:alpha=0``) serves; for other mechanisms it says what the limit could give at the margin. Where the
    derivative jumps it is one of the values between left and right. A limit that inflexible load breaks by itself gives
    nothing before it is no longer broken, so that its multiplier counts as 0.
    """

    def __init__(self, grid: Grid, places: Places) -> None:
        self._grid, self._places = grid, places

    @cached_property
    def _solver(self) -> ProgramSolver:
        power = {d: cp.Variable(self._grid.n, name=d) for d in DIRECTIONS}
        bounds = [b for d, x in power.items() for b in (x >= 0, x <= self._grid.request_kw(d))]
        injection = self._grid.injection(import_kw=power["import"], export_kw=power["export"])
        total = cp.sum(power["import"]) + cp.sum(power["export"])
        return ProgramSolver(Program(cp.Maximize(total), bounds, [injection], power), self._grid, [None])

    def kwh(self, requests: Requests) -> dict[int, float]:
        """By place, kWh per unit in one block of intervals.

        Raises:
            SolveError: where an interval has no solution.
        """
        found: dict[int, float] = {}
        for interval in self._grid.intervals(requests, np.flatnonzero(self._grid.scarce(requests))):
            (lower, upper), bounds = self._grid.limits(interval), self._grid.bounds(interval)
            duals = self._solver.solve({}, interval, lower, upper).limit_duals
            rows, dual = np.array(list(duals), dtype=np.intp), np.array(list(duals.values()))
            for side, kept in ((UPPER, upper[rows] == bounds[1][rows]), (LOWER, lower[rows] == bounds[0][rows])):
                mine = (side * dual < 0) & kept
                worth = np.abs(dual[mine]) * self._places.per_unit(rows[mine], side) * requests.dt_h
                for place, kwh in zip(self._places.of(rows[mine], side).tolist(), worth.tolist(), strict=True):
                    found[place] = found.get(place, 0.0) + kwh
        return found
