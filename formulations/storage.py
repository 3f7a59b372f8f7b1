"""Max-min fairness over time with batteries (ours): FOT, with every battery of the case at the mechanism's disposal.

To FOT's program (``fair_over_time``) every participant with a battery adds what charges it, c, and what it discharges,
b. Imports of x + c and exports of y + b must be feasible; a content in kWh couples the intervals
(``amm_opt.market.storage``). Served import x and accepted export y are what they are without batteries: of 8 kW of sun,
4 that the network takes and 4 that charge a battery are 8 accepted. P is the battery's power:

    stage 1: max-min levels,    stage 2: max service as in FOT - 1e-3 dt sum_k (c + c^2 / 2P + b + b^2 / 2P),

over each window, no battery charging and discharging at once. The content after a window is where the next one starts;
nothing is kept for it on purpose. A window in which full service is feasible leaves batteries idle; a case
without batteries makes this FOT.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from amm_opt.arrays import BoolArray, FloatArray
from amm_opt.cases import Case, Requests
from amm_opt.grid import Grid
from amm_opt.market import Allocation, ServedState, battery_kw, stored_after, with_batteries, without_burning
from amm_opt.market.mechanism import Solve, Values
from amm_opt.program import HorizonProgram, Solution
from formulations.fair_over_time import FairOverTime


@dataclass(frozen=True, eq=False)
class StorageState(ServedState):
    """What each participant's battery holds, and its one-way efficiency, (n,) each; nothing of what was served."""

    stored_kwh: FloatArray
    efficiency: FloatArray


@dataclass(frozen=True)
class FairOverTimeStorage(FairOverTime):
    """FOT with the batteries of participants, whose content is carried from window to window.

    Args:
        per, inside, give: as for ``FairEachTime``.
        window: its length, such as ``1D``, ``7D`` or ``all`` (the whole run), or a number of intervals.
    """

    name: ClassVar[str] = "fot_storage"

    def initial_state(self, case: Case) -> StorageState:
        served, stored, efficiency = np.zeros((2, case.n_participants)), *np.zeros((2, case.n_participants))
        stored[case.batteries.participant] = case.batteries.initial_kwh
        efficiency[:] = case.participants["battery_efficiency"]
        return StorageState(served, served, stored, efficiency)

    def program(self, grid: Grid) -> Mapping[str, HorizonProgram]:
        programs = super().program(grid)
        return with_batteries(programs, grid) if len(grid.case.batteries) else programs

    def clear(self, grid: Grid, solve: Solve, state: ServedState, requests: Requests) -> Solution:
        batteries = grid.case.batteries
        if not len(batteries):
            return super().clear(grid, solve, state, requests)
        assert isinstance(state, StorageState)

        def stages(numbers: Values) -> tuple[Solution, tuple[float, ...]]:
            levels: list[float] = []

            def both(values: Values, *which: Any) -> Solution:
                solution = solve({**values, **numbers}, *which)
                levels.extend(np.sort(solution.values.get("leximin_level", np.zeros(0))).tolist())
                return solution

            served = super(FairOverTimeStorage, self).clear(grid, both, state, requests)
            return served, (*levels, served.objective)

        return without_burning(stages, batteries, state.stored_kwh[batteries.participant], requests.n_steps)

    def _scarce(self, grid: Grid, requests: Requests) -> BoolArray:
        """With batteries every interval matters to others."""
        return np.ones(requests.n_steps, dtype=bool) if len(grid.case.batteries) else super()._scarce(grid, requests)

    def settle(self, grid: Grid, solution: Solution, requests: Requests) -> Allocation:
        served = super().settle(grid, solution, requests)
        if not len(grid.case.batteries):
            return served
        return replace(served, battery_kw=battery_kw(solution, grid.case.batteries, grid.n))

    def advance(self, state: ServedState, allocation: Allocation, requests: Requests) -> StorageState:
        assert isinstance(state, StorageState)
        if allocation.battery_kw is None:
            return state
        stored = stored_after(state.stored_kwh, state.efficiency, allocation.battery_kw, requests.dt_h)
        return replace(state, stored_kwh=stored)
