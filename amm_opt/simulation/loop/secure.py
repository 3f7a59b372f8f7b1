"""Allocations that AC power flow agrees with: limits tightened by the error that the network model makes.

For every limited quantity u of the network model, e = (AC quantity) - (model's quantity) is measured by one power flow
at the allocation, and the program is solved again within u + e <= limit: a linearisation whose constant term is exact
at the last allocation. The sensitivities stay those of the model; e changes little between allocations, so a few solves
do. Limits are only ever tightened (max(e, 0)), so that the allocation keeps those of the network model as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from amm_opt.arrays import BoolArray, FloatArray
from amm_opt.cases import Requests
from amm_opt.errors import SolveError
from amm_opt.grid import Grid
from amm_opt.market import Allocation
from amm_opt.network import ACState
from amm_opt.network.excess import excesses
from amm_opt.tolerances import SERVED_SLACK, THERMAL_VIOLATION, VOLTAGE_VIOLATION_PU
from amm_opt.verification.replay import PowerFlow

Limits = tuple[FloatArray, FloatArray]

ROUNDS = 8
CONVERGED = 50.0
"""Margins have converged when those of binding quantities move by less than this many times the audit's tolerance."""
HALVINGS = 12


@dataclass(frozen=True, eq=False)
class _Margins:
    """How much each limited quantity is further up, and further down, on AC than in the model; (m,) each."""

    up: FloatArray
    down: FloatArray


class ACSecurity:
    """Repeats an interval's clearing until its allocation keeps every limit on AC; carries the margins to the next.

    Args:
        wires: the AC power flow that judges.
    """

    def __init__(self, grid: Grid, wires: PowerFlow) -> None:
        self._grid = grid
        self._ac = wires
        self._tolerance = grid.network.quantities.tolerance
        self._margins = self._none()
        self._inflexible: tuple[Requests, ACState] | None = None

    def reset(self) -> None:
        """Forget the last interval."""
        self._margins = self._none()

    def _none(self) -> _Margins:
        zero = np.zeros(len(self._grid.network.quantities.lower))
        return _Margins(zero, zero)

    def screened(self, requests: Requests, full: BoolArray) -> tuple[BoolArray, dict[int, ACState]]:
        """Prove full service on AC for a block.

        Args:
            full: (T,) the intervals in which it keeps the limits of the network model.

        Returns:
            (T,) those of them in which it breaks no limit on AC either, and by position the power flow of all others
            with inflexible load only.
        """
        full = full.copy()
        k = np.flatnonzero(full)
        if len(k):
            some = self._grid.select(requests, k)
            state = self._flow(some, some.import_request_kw, some.export_request_kw)
            full[k] = self._secure(state, None) & self._leaves_margin(state, self._grid.bounds(some))
        rest = np.flatnonzero(~full)
        if len(rest) == 0:
            return full, {}
        inflexible = self._flow(requests.select(rest), 0.0, 0.0)
        return full, {int(k): inflexible.interval(i) for i, k in enumerate(rest)}

    def inflexible(self, interval: Requests) -> ACState:
        """The power flow of an interval with inflexible load only; of the last one it is known."""
        known = self._inflexible
        if known is None or known[0] is not interval:
            known = self._inflexible = (interval, self._flow(interval, 0.0, 0.0))
        return known[1]

    def keeps(self, allocation: Allocation, interval: Requests) -> bool:
        """Whether an allocation breaks no limit on AC, nor uses its margin, further than inflexible load only does."""
        state = self._at(allocation, interval)
        if self._fits(state, self._grid.bounds(interval), None):
            return True
        inflexible = self.inflexible(interval)
        return bool(inflexible.solved) and self._fits(state, self._limits(interval, inflexible), inflexible)

    def _fits(self, state: ACState, limits: Limits, inflexible: ACState | None) -> bool:
        return bool(self._secure(state, inflexible) & self._leaves_margin(state, limits))

    def _at(self, a: Allocation, interval: Requests) -> ACState:
        return self._flow(interval, a.drawn_kw, a.injected_kw)

    def _flow(self, requests: Requests, import_kw: FloatArray | float, export_kw: FloatArray | float) -> ACState:
        return self._ac.flow(*self._grid.at_nodes(requests, import_kw, export_kw))

    def _secure(self, state: ACState, inflexible: ACState | None) -> BoolArray:
        """(...) where no limit is broken further than inflexible load only does, within half the usual tolerance."""
        ok, limits = state.solved, self._grid.network
        before: tuple[FloatArray | float, ...] = (0.0, 0.0) if inflexible is None else excesses(limits, inflexible)
        tolerances = (THERMAL_VIOLATION / 2, VOLTAGE_VIOLATION_PU / 2)
        for excess, already, tolerance in zip(excesses(limits, state), before, tolerances, strict=True):
            ok = ok & np.all(excess <= already + tolerance, axis=-1)
        return np.asarray(ok)

    def allocate(
        self, interval: Requests, inflexible: ACState, clear: Callable[[Limits], Allocation]
    ) -> tuple[Allocation, bool]:
        """Clear one interval within tightened limits; says whether the allocation had to be scaled back.

        Args:
            inflexible: the power flow of the interval with inflexible load only.
            clear: gives the allocation within lower and upper limits of the model's quantities.

        Raises:
            SolveError: where clearing fails, or there is no power flow with inflexible load only.
        """
        if not inflexible.solved:
            raise SolveError("inflexible load alone has no power-flow solution")
        limits = self._limits(interval, inflexible)
        allocation: Allocation | None = None
        accepted: Allocation | None = None
        for _ in range(ROUNDS):
            margins = self._margins
            tight = self._tightened(interval, limits, margins)
            try:
                allocation = clear(tight)
            except SolveError:
                self.reset()
                if accepted is not None:
                    break
                if not (np.any(margins.up) or np.any(margins.down)):
                    raise
                continue
            state = self._at(allocation, interval)
            if self._fits(state, limits, inflexible):
                accepted = allocation
            if not state.solved:
                break
            u = self._grid.quantities(interval, allocation.drawn_kw, allocation.injected_kw)
            self._margins = self._measured(state, u)
            if accepted is allocation and self._converged(u, tight, margins):
                break
        if accepted is not None:
            return accepted, False
        if allocation is None:
            raise SolveError("no answer within tightened limits")
        return scaled_back(allocation, lambda part: self._fits(self._at(part, interval), limits, inflexible)), True

    def _leaves_margin(self, state: ACState, limits: Limits) -> BoolArray:
        """(...) whether an AC power flow is within shifted limits, where there is a margin."""
        if self._grid.margin is None:
            return np.ones(state.solved.shape, dtype=bool)
        (low, high), room = self._ends(state), SERVED_SLACK * self._tolerance
        return np.asarray(np.all((low >= limits[0] - room) & (high <= limits[1] + room), axis=-1))

    def _ends(self, state: ACState) -> Limits:
        """Limited quantities on AC: the lower and the higher of both ends of every branch."""
        limited, at = self._grid.network.limited, state.p_sent_kw
        sent, received = (limited(state.v_pu, *flow, at) for flow in state.rated_flows)
        return np.minimum(sent, received), np.maximum(sent, received)

    def _limits(self, interval: Requests, inflexible: ACState) -> Limits:
        lower, upper = self._grid.bounds(interval)
        low, high = self._ends(inflexible)
        return np.minimum(lower, low), np.maximum(upper, high)

    def _tightened(self, interval: Requests, limits: Limits, margins: _Margins) -> Limits:
        """Limits of the model's quantities; inflexible load only stays inside."""
        used, _ = self._grid.usage(interval)
        lower, upper = self._grid.limits(interval)
        tight = np.maximum(limits[0] + margins.down, lower), np.minimum(limits[1] - margins.up, upper)
        return np.minimum(tight[0], used), np.maximum(tight[1], used)

    def _measured(self, state: ACState, u: FloatArray) -> _Margins:
        low, high = self._ends(state)
        return _Margins(np.maximum(high - u, 0.0), np.maximum(u - low, 0.0))

    def _converged(self, u: FloatArray, limits: Limits, used: _Margins) -> bool:
        """Whether margins that are smaller now would free nothing: only quantities at their limit count."""
        (lower, upper), slack = limits, CONVERGED * self._tolerance
        freed_up = (u >= upper - slack) & (used.up - self._margins.up > slack)
        freed_down = (u <= lower + slack) & (used.down - self._margins.down > slack)
        return not bool(np.any(freed_up | freed_down))


def scaled_back(a: Allocation, fits: Callable[[Allocation], bool]) -> Allocation:
    """The allocation times the largest factor, found by bisection, for which ``fits(allocation)`` holds.

    The factor is below 1, and 0 where nothing else is found.
    """
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        share = (low + high) / 2
        if fits(replace(a, import_kw=share * a.import_kw, export_kw=share * a.export_kw)):
            low = share
        else:
            high = share
    return replace(a, import_kw=low * a.import_kw, export_kw=low * a.export_kw)
