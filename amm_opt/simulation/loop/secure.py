"""Allocations that AC power flow agrees with: limits tightened by the error that the network model makes.

For every limited quantity u of the network model, e = (AC quantity) - (model's quantity) is measured by one power flow
at the allocation, and the program is solved again within u + e <= limit: a linearisation whose constant term is exact
at the last allocation. The slopes stay those of the model; e changes little between allocations, so a few solves do.
Limits are only ever tightened (max(e, 0)), so that the allocation is hosted by the network model as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from amm_opt.arrays import BoolArray, FloatArray
from amm_opt.cases import Requests
from amm_opt.errors import SolveError
from amm_opt.grid import Grid
from amm_opt.market import Allocation
from amm_opt.network import ACNetwork, ACState
from amm_opt.network.excess import excesses
from amm_opt.tolerances import THERMAL_VIOLATION, VOLTAGE_VIOLATION_PU

Clear = Callable[[FloatArray, FloatArray], Allocation]

ROUNDS = 8
SETTLED = 50.0
"""Margins are settled when those of binding quantities move by less than this many times the audit's tolerance."""
HALVINGS = 12


@dataclass(frozen=True, eq=False)
class _Margins:
    """How much each limited quantity is further up, and further down, on AC than in the model; (m,) each."""

    up: FloatArray
    down: FloatArray


class ACSecurity:
    """Repeats an interval's clearing until AC power flow hosts the allocation; carries the margins to the next.

    Raises:
        InputError: see ``ACNetwork``.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._ac = ACNetwork(grid.case.feeder, threads=-1)
        self._tolerance = grid.network.quantities.tolerance
        self._margins = self._none()

    def reset(self) -> None:
        """Forget the last interval."""
        self._margins = self._none()

    def _none(self) -> _Margins:
        zero = np.zeros(len(self._grid.network.quantities.lower))
        return _Margins(zero, zero)

    def screened(self, requests: Requests, hosted: BoolArray) -> tuple[BoolArray, dict[int, ACState]]:
        """Prove full service on AC for a block.

        Args:
            hosted: (T,) the intervals in which the network model hosts it.

        Returns:
            (T,) those of them in which AC power flow breaks no limit either, and by position the power flow of all
            others with inflexible load alone.
        """
        hosted = hosted.copy()
        k = np.flatnonzero(hosted)
        if len(k):
            w = requests
            asked = self._flow(w.inflexible_kw[k], w.import_request_kw[k], w.export_request_kw[k])
            hosted[k] = self._hosted(asked, None)
        rest = np.flatnonzero(~hosted)
        if len(rest) == 0:
            return hosted, {}
        alone = self._flow(requests.inflexible_kw[rest], 0.0, 0.0)
        return hosted, {int(k): alone.interval(i) for i, k in enumerate(rest)}

    def _flow(self, load_kw: FloatArray, import_kw: FloatArray | float, export_kw: FloatArray | float) -> ACState:
        return self._ac.flow(*self._grid.node_injections(load_kw, import_kw, export_kw))

    def _hosted(self, state: ACState, alone: ACState | None) -> BoolArray:
        """(...) where no limit is broken further than inflexible load alone does, within half the usual tolerance."""
        ok, limits = state.solved, self._grid.network
        before: tuple[FloatArray | float, ...] = (0.0, 0.0) if alone is None else excesses(limits, alone)
        tolerances = (THERMAL_VIOLATION / 2, VOLTAGE_VIOLATION_PU / 2)
        for excess, least, tolerance in zip(excesses(limits, state), before, tolerances, strict=True):
            ok = ok & np.all(excess <= least + tolerance, axis=-1)
        return np.asarray(ok)

    def allocate(self, requests: Requests, alone: ACState, clear: Clear) -> tuple[Allocation, bool]:
        """Clear one interval within tightened limits; says whether the allocation had to be scaled back.

        Args:
            alone: the power flow of the interval with inflexible load alone.
            clear: gives the allocation within lower and upper limits of the model's quantities.

        Raises:
            SolveError: where clearing fails, or inflexible load alone has no power-flow solution.
        """
        if not alone.solved:
            raise SolveError("inflexible load alone has no power-flow solution")
        limits = self._limits(alone)
        allocation: Allocation | None = None
        accepted: Allocation | None = None
        for _ in range(ROUNDS):
            margins = self._margins
            lower, upper = self._tightened(requests, limits, margins)
            try:
                allocation = clear(lower, upper)
            except SolveError:
                self.reset()
                if accepted is not None:
                    break
                if not (np.any(margins.up) or np.any(margins.down)):
                    raise
                continue
            state = self._flow(requests.inflexible_kw, allocation.import_kw, allocation.export_kw)
            if self._hosted(state, alone):
                accepted = allocation
            if not state.solved:
                break
            u = self._grid.quantities(requests, allocation.import_kw, allocation.export_kw)
            self._margins = self._measured(state, u)
            if accepted is allocation and self._settled(u, lower, upper, margins):
                break
        if accepted is not None:
            return accepted, False
        if allocation is None:
            raise SolveError("no answer within tightened limits")
        return scaled_back(allocation, partial(self._proven, requests, alone)), True

    def _proven(self, requests: Requests, alone: ACState, import_kw: FloatArray, export_kw: FloatArray) -> bool:
        return bool(self._hosted(self._flow(requests.inflexible_kw, import_kw, export_kw), alone))

    def _ends(self, state: ACState) -> tuple[FloatArray, FloatArray]:
        """Limited quantities on AC: the lower and the higher of both ends of every branch."""
        sent, received = (self._grid.network.limited(state.v_pu, *flow) for flow in state.rated_flows)
        return np.minimum(sent, received), np.maximum(sent, received)

    def _limits(self, alone: ACState) -> tuple[FloatArray, FloatArray]:
        q = self._grid.network.quantities
        low, high = self._ends(alone)
        return np.minimum(q.lower, low), np.maximum(q.upper, high)

    def _tightened(
        self, requests: Requests, limits: tuple[FloatArray, FloatArray], margins: _Margins
    ) -> tuple[FloatArray, FloatArray]:
        """Limits of the model's quantities; inflexible load alone stays inside."""
        alone, _ = self._grid.usage(requests)
        lower, upper = self._grid.limits(requests)
        tight = np.maximum(limits[0] + margins.down, lower), np.minimum(limits[1] - margins.up, upper)
        return np.minimum(tight[0], alone), np.maximum(tight[1], alone)

    def _measured(self, state: ACState, u: FloatArray) -> _Margins:
        low, high = self._ends(state)
        return _Margins(np.maximum(high - u, 0.0), np.maximum(u - low, 0.0))

    def _settled(self, u: FloatArray, lower: FloatArray, upper: FloatArray, used: _Margins) -> bool:
        """Whether margins that are smaller now would free anything: only quantities at their limit count."""
        slack = SETTLED * self._tolerance
        freed_up = (u >= upper - slack) & (used.up - self._margins.up > slack)
        freed_down = (u <= lower + slack) & (used.down - self._margins.down > slack)
        return not bool(np.any(freed_up | freed_down))


def scaled_back(a: Allocation, hosted: Callable[[FloatArray, FloatArray], bool]) -> Allocation:
    """The allocation times the largest factor, found by bisection, for which ``hosted(import_kw, export_kw)`` holds.

    The factor is below 1, and 0 where nothing else is found.
    """
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        share = (low + high) / 2
        if hosted(share * a.import_kw, share * a.export_kw):
            low = share
        else:
            high = share
    return replace(a, import_kw=low * a.import_kw, export_kw=low * a.export_kw)
