"""A floor under any mechanism: everyone has what a rule promises, and the mechanism shares out the rest.

    f_i = promise of i within its request (``Promise``), import and export alike,
    the mechanism gets requests r - f and g - f, and inflexible load d + f_import - f_export,
    every injection it declares has f added,        service = f + what the mechanism gives.

So an envelope on net power is never below what inflexible load and the promise need; a market shares out what is asked
for beyond the promise. The memory of a mechanism counts all that was served and asked for, promise included.

Where the promises of an interval are not feasible, the mechanism starts from promises that are cut by one fraction,
limit by limit; what all then get is cut back where it loads a broken limit (``amm_opt.market.cut``), and marked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, cast

import cvxpy as cp
import numpy as np

from amm_opt.arrays import DIRECTIONS, FloatArray
from amm_opt.cases import Case, Requests
from amm_opt.errors import InputError
from amm_opt.grid import Grid, Limits
from amm_opt.market import Allocation, Mechanism, State
from amm_opt.market.mechanism import Programs, Solve
from amm_opt.program import Injection, IntervalParameters, Program, Solution
from formulations.amm import AMM
from formulations.parts.by_limit import by_one_fraction, limit_by_limit
from formulations.practice.dimming import Dimming14a
from formulations.practice.promise import Promise

FLOOR = {direction: f"floor_{direction}_kw" for direction in DIRECTIONS}
MARGIN = 1e-4
"""Promises that had to be cut lie this fraction below what is feasible, so that rounding leaves programs feasible."""
MARKET, SECTION_14A = AMM(), Dimming14a()


@dataclass(frozen=True, eq=False)
class Rest(Requests):
    """What is asked for beyond the promises; these are part of inflexible load.

    Attributes:
        floor_kw: (2, n) or (2, T, n) the promises.
    """

    floor_kw: FloatArray = field(kw_only=True)

    @staticmethod
    def of(requests: Requests, floor_kw: FloatArray) -> Rest:
        """The rest of some requests."""
        rest = np.maximum(requests.both_kw - floor_kw, 0.0)
        inflexible = requests.inflexible_kw + floor_kw[0] - floor_kw[1]
        less = replace(requests, inflexible_kw=inflexible, import_request_kw=rest[0], export_request_kw=rest[1])
        return _with(less, floor_kw)

    def select(self, which: Any) -> Rest:
        """As for requests, with their promises."""
        return _with(super().select(which), self.floor_kw[:, which])

    def interval(self, k: int) -> Rest:
        """As for requests, with its promises."""
        return _with(super().interval(k), self.floor_kw[:, k])

    @property
    def for_solver(self) -> Requests:
        """The same with inflexible load as it is: programs have the promises in their injections."""
        powers = (self.import_request_kw, self.export_request_kw)
        inflexible = self.inflexible_kw - self.floor_kw[0] + self.floor_kw[1]
        return Requests(inflexible, *powers, self.start, self.dt_h, self.times, self.inflexible_kvar)


def _with(r: Requests, floor_kw: FloatArray) -> Rest:
    powers = (r.inflexible_kw, r.import_request_kw, r.export_request_kw)
    return Rest(*powers, r.start, r.dt_h, r.times, r.inflexible_kvar, floor_kw=floor_kw)


@dataclass(frozen=True, eq=False)
class FlooredGrid(Grid):
    """A grid in which the promises are served, for those who ask for the rest; ``whole`` is the one without."""

    whole: Grid = field(kw_only=True)

    @classmethod
    def over(cls, grid: Grid) -> FlooredGrid:
        """The same case and network."""
        return cls(grid.case, grid.network, grid.margin, whole=grid)

    @property
    def parameters(self) -> IntervalParameters:
        """Those that the engine sets."""
        return self.whole.parameters

    @cached_property
    def floor_kw(self) -> dict[str, cp.Parameter]:
        """(n,) promises by direction."""
        return {d: cp.Parameter(self.n, nonneg=True, name=FLOOR[d]) for d in DIRECTIONS}

    @cached_property
    def linear(self) -> Grid:
        """The same on linear rows."""
        return FlooredGrid.over(self.whole.linear) if self.conic else self

    def bounds(self, requests: Requests) -> Limits:
        """Those of inflexible load without promises, of which nothing is uncertain."""
        if self.margin is None or not isinstance(requests, Rest):
            return super().bounds(requests)
        return self.once(requests, "bounds", lambda: self.whole.bounds(requests.for_solver))

    def injection(self, *, import_kw: cp.Expression | None = None, export_kw: cp.Expression | None = None) -> Injection:
        """An injection with the promises on top."""
        rest = super().injection(import_kw=import_kw, export_kw=export_kw)
        return Injection(rest.import_kw + self.floor_kw["import"], rest.export_kw + self.floor_kw["export"])

    def injected(
        self, requests: Requests, import_kw: FloatArray | float, export_kw: FloatArray | float
    ) -> tuple[FloatArray, FloatArray]:
        """Net injections of nodes with the promises on top, each with its own power factor."""
        return self.whole.injected(*self._with_promises(requests, import_kw, export_kw))

    def modelled(
        self, requests: Requests, import_kw: FloatArray | float, export_kw: FloatArray | float
    ) -> tuple[FloatArray, FloatArray]:
        """The same of points; what the network model leaves out is that of load without promises."""
        return self.whole.modelled(*self._with_promises(requests, import_kw, export_kw))

    def at_nodes(
        self, requests: Requests, import_kw: FloatArray | float, export_kw: FloatArray | float
    ) -> tuple[FloatArray, FloatArray]:
        """The same without what the network model leaves out."""
        return self.whole.at_nodes(*self._with_promises(requests, import_kw, export_kw))

    def _with_promises(
        self, requests: Requests, import_kw: FloatArray | float, export_kw: FloatArray | float
    ) -> tuple[Requests, FloatArray, FloatArray]:
        """Inflexible load as it is, and flexible powers with the promises."""
        assert isinstance(requests, Rest)
        f = requests.floor_kw
        return self.once(requests, "as it is", lambda: requests.for_solver), import_kw + f[0], export_kw + f[1]

    def kept_sensitivity(self, rows: Any) -> FloatArray:
        """As the whole grid knows them."""
        return self.whole.kept_sensitivity(rows)


@dataclass(frozen=True, eq=False)
class _Cleared:
    """What the mechanism made of the rest, and the promises that all count on."""

    rest: Rest
    solution: Any
    promised_kw: FloatArray


@dataclass(frozen=True)
class Floored(Mechanism[State]):
    """A mechanism in which nobody gets less than a rule promises.

    Args:
        mechanism: shares out what is asked for beyond the promises; it must keep limits.
        floor: the rule, ``dimming_14a`` or ``static``.
    """

    name: ClassVar[str] = "floored"
    feasible_at_limits_only: ClassVar[bool] = True

    mechanism: Mechanism[Any] = MARKET
    floor: Mechanism[Any] = SECTION_14A

    def __post_init__(self) -> None:
        problems = []
        if not isinstance(self.floor, Promise):
            problems.append(f"floor = {self.floor} promises nothing; valid choices: dimming_14a, static")
        if not self.mechanism.enforces_limits:
            problems.append(f"mechanism = {self.mechanism} does not keep limits")
        if problems:
            raise InputError(problems, subject=self.name)
        object.__setattr__(self, "full_service_optimal", self.mechanism.full_service_optimal)

    @property
    def horizon(self) -> int | str:
        return self.mechanism.horizon

    @property
    def commit(self) -> int | str:
        return self.mechanism.commit

    def without_memory(self) -> Mechanism[Any] | None:
        """The mechanism without its memory, on the same floor."""
        bare = self.mechanism.without_memory()
        return None if bare is None else replace(self, mechanism=bare)

    def initial_state(self, case: Case) -> State:
        return cast(State, self.mechanism.initial_state(case))

    def program(self, grid: Grid) -> Programs:
        floored = FlooredGrid.over(grid)
        declared = self.mechanism.program(floored)
        if not isinstance(declared, Program):
            return declared
        # a further value: promises are to customers, and an LV feeder of an upper tier is none
        return replace(declared, values={**declared.values, "floor": cp.sum(floored.floor_kw["import"])})

    def clear(self, grid: Grid, solve: Solve, state: State, requests: Requests) -> Any:
        promised = self._promised(requests)
        rest = Rest.of(requests, _feasible(grid.linear, requests, promised))

        def solve_rest(values: Mapping[str, Any], name: str = "", of: Requests | None = None) -> Solution:
            what = rest if of is None else of
            assert isinstance(what, Rest)
            floors = {FLOOR[d]: f for d, f in zip(DIRECTIONS, what.floor_kw, strict=True)}
            return solve({**values, **floors}, name, what.for_solver)

        return _Cleared(rest, self.mechanism.clear(FlooredGrid.over(grid), solve_rest, state, rest), promised)

    def _promised(self, requests: Requests) -> FloatArray:
        return cast(Promise, self.floor).promised_kw(requests)

    def full_service(self, grid: Grid, requests: Requests) -> Allocation:
        return self.mechanism.full_service(grid, requests)

    def settle(self, grid: Grid, solution: _Cleared, requests: Requests) -> Allocation:
        given = self.mechanism.settle(FlooredGrid.over(grid), solution.solution, solution.rest)
        beyond = np.clip(given.both_kw, 0.0, solution.rest.both_kw)
        service = np.minimum(solution.promised_kw + beyond, requests.both_kw)
        return replace(given, import_kw=service[0], export_kw=service[1])

    def carry_out(self, grid: Grid, plan: Allocation, requests: Requests) -> Allocation:
        return self.mechanism.carry_out(grid, plan, requests)

    def advance(self, state: State, allocation: Allocation, requests: Requests) -> State:
        return cast(State, self.mechanism.advance(state, allocation, requests))


def _feasible(grid: Grid, requests: Requests, promised_kw: FloatArray) -> FloatArray:
    """The promises where the network carries them; elsewhere cut until it does."""
    fits = np.atleast_1d(grid.feasible(requests, *promised_kw, slack=0.0))
    if fits.all():
        return promised_kw
    one = requests.inflexible_kw.ndim == 1
    floor = promised_kw[:, None].copy() if one else promised_kw.copy()
    for k in np.flatnonzero(~fits):
        interval = requests if one else requests.interval(int(k))
        asked = replace(interval, import_request_kw=floor[0, k], export_request_kw=floor[1, k])
        cut = limit_by_limit(grid, asked, by_one_fraction)
        floor[:, k] = (1.0 - MARGIN) * min(1.0, grid.feasible_share(asked, *cut)) * cut
    return floor[:, 0] if one else floor
