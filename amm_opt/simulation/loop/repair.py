"""An allocation that the network does not host is cut back to the closest one that it hosts, and never enlarged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from amm_opt.arrays import DIRECTIONS, FloatArray
from amm_opt.cases import Requests
from amm_opt.grid import Grid
from amm_opt.market import Allocation
from amm_opt.market.cut import cut_program, cut_values
from amm_opt.program import Solution
from amm_opt.solve.backends.known import SolverOrder
from amm_opt.solve.solver import ProgramSolver

Limits = tuple[FloatArray, FloatArray]


class Repair:
    """Cuts an allocation back where it presses on a limit that it breaks (``amm_opt.market.cut``), nowhere else."""

    def __init__(self, grid: Grid, solvers: SolverOrder) -> None:
        self._grid = grid
        self._solver = ProgramSolver(cut_program(grid), grid, solvers)

    def reset(self) -> None:
        """Forget the last interval."""
        self._solver.reset()

    def __call__(
        self, plan: Allocation, interval: Requests, limits: Limits | None = None
    ) -> tuple[Allocation, Solution | None]:
        """The allocation, and how it was solved where it had to be cut.

        Args:
            limits: of every limited quantity, (m,) each; by default those of the interval.

        Raises:
            SolveError: where every solver fails.
        """
        grid = self._grid
        lower, upper = limits or grid.limits(interval)
        slack = grid.network.quantities.tolerance
        u = grid.quantities(interval, plan.import_kw, plan.export_kw)
        if np.all((u <= upper + slack) & (u >= lower - slack)):
            return plan, None
        values = cut_values(plan.import_kw, plan.export_kw)
        solution = self._solver.solve(values, interval, lower, upper)
        cut = [np.clip(solution[d], 0.0, values[f"cap_{d}"]) for d in DIRECTIONS]
        return replace(plan, import_kw=cut[0], export_kw=cut[1]), solution
