"""The derivative of one interval: through every program that a mechanism solves in it, and what it makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from amm_opt.arrays import FloatArray
from amm_opt.cases import Requests
from amm_opt.grid import Grid
from amm_opt.market import Allocation, State
from amm_opt.program import Solution
from amm_opt.simulation.sensitivity.sides import AnotherWayError, Call, Side
from amm_opt.solve.answer import NoAnswerError
from amm_opt.solve.implicit import BEND, SETTLED, SINGULAR, Placed, differ, network_reach, reach, response
from amm_opt.solve.routes.interval import Optimum

Rates = dict[str, FloatArray]
"""Derivatives of a state, field by field."""
OTHER_WAY = "the mechanism takes another way close by"


@dataclass(frozen=True, eq=False)
class Solved:
    """What an interval was, solved again.

    Attributes:
        optima: the calls of a solver and their answers; None where nothing has to be solved.
    """

    requests: Requests
    state: State
    served_kw: FloatArray
    optima: list[tuple[Call, Optimum]] | None


@dataclass(frozen=True, eq=False)
class Tangent:
    """(2, n) derivatives of service in kW, how far the number may move, and what there is to say."""

    service_kw: FloatArray
    until_kink: float
    problem: str = ""

    @classmethod
    def unknown(cls, n: int, problem: str, until_kink: float = np.nan) -> Tangent:
        """No derivative, for this reason."""
        return cls(np.full((2, n), np.nan), until_kink, problem)


def solved(side: Side, requests: Requests, state: State, clears: bool) -> Solved:
    """Solve an interval as a run does.

    Raises:
        NoAnswerError: where there is none.
    """
    mechanism, grid = side.mechanism, side.grid
    if not clears or (mechanism.full_service_optimal and not grid.scarce(requests).any()):
        return Solved(requests, state, side.full(requests), None)
    optima: list[tuple[Call, Optimum]] = []

    def solve(call: Call) -> Solution:
        optima.append((call, _optimum(side, call)))
        return optima[-1][1].solution

    served = side.served(state, requests, solve)
    return Solved(requests, state, served, optima)


def _optimum(side: Side, call: Call) -> Optimum:
    route = side.routes[call.name]
    try:
        return route.optimum(None, call.task)
    except NoAnswerError:
        route.reset()
        return route.optimum(None, call.task)


def tangent(
    here: Side,
    others: tuple[Side, Side],
    base: Solved,
    sides: tuple[Requests, Requests],
    rates: Rates,
    clears: bool,
) -> Tangent:
    """The derivative of an interval's service in the number in which the sides differ.

    A program that is solved several times is taken to converge, as that of ``alpha_fair`` does: kinks of all but its
    last answer do not count.

    Args:
        sides: the interval ahead and behind.
        rates: derivatives of the state before it.
    """
    (ahead, behind), n = others, here.grid.n
    step = ahead.by
    states = tuple(_moved(base.state, rates, by) for by in (step, -step))
    if base.optima is None:
        served = [side.full(requests) for side, requests in zip((ahead, behind), sides, strict=True)]
        both = ((ahead.grid, sides[0]), (behind.grid, sides[1]))
        until = _reach_of_requests(here, base, both, step) if clears else np.inf
        return _differenced(base.served_kw, served, step, until, "")
    given: tuple[list[Solution], list[Solution]] = ([], [])
    until, problem = np.inf, ""
    last = {call.name: i for i, (call, _) in enumerate(base.optima)}
    try:
        for i, (call, optimum) in enumerate(base.optima):
            calls = [
                side.call(state, requests, known)
                for side, state, requests, known in zip((ahead, behind), states, sides, given, strict=True)
            ]
            if any(other.name != call.name for other in calls):
                raise AnotherWayError
            near, found = _through(here, (ahead, behind), call, calls, optimum, given, step)
            if last[call.name] == i:
                until, problem = min(until, near), problem or found
        served = [
            side.answered(state, requests, known)
            for side, state, requests, known in zip((ahead, behind), states, sides, given, strict=True)
        ]
    except AnotherWayError:
        return Tangent.unknown(n, OTHER_WAY)
    if problem == SINGULAR:
        return Tangent.unknown(n, problem, 0.0)
    return _differenced(base.served_kw, served, step, until, problem)


def _through(
    here: Side,
    others: tuple[Side, Side],
    call: Call,
    calls: list[Call],
    optimum: Optimum,
    given: tuple[list[Solution], list[Solution]],
    step: float,
) -> tuple[float, str]:
    """Carry the derivative through one program; ``given`` gets its answers on both sides."""
    places = []
    for side, other in zip(others, calls, strict=True):
        route = side.routes[other.name]
        places.append(Placed(route, other.task, route.posed(other.task, optimum.active)))
    found = response(optimum, places[0].posed, places[1].posed, step)
    at = Placed(here.routes[call.name], call.task, optimum.posed)
    near = min(found.until_kink, network_reach(at, places[0], places[1], optimum, found.v, step))
    for place, answers, by in zip(places, given, (step, -step), strict=True):
        compiled, theta = place.route.compiled, place.posed.theta
        values = compiled.values(optimum.point.v + by * found.v, theta)
        duals = compiled.duals(optimum.point.row_dual + by * found.row_dual)
        answers.append(Solution(values, duals, optimum.solution.objective, optimum.solution.solver))
    return near, found.problem


def _differenced(base: FloatArray, served: list[FloatArray], step: float, until: float, problem: str) -> Tangent:
    up, down = (served[0] - base) / step, (base - served[1]) / step
    if differ(up, down, float(np.max(np.abs(base), initial=1.0)) / step):
        problem = problem or BEND
    return Tangent(0.5 * (up + down), until, problem)


def _reach_of_requests(here: Side, base: Solved, sides: tuple[tuple[Grid, Requests], ...], step: float) -> float:
    """By how much the number may move before full service breaks a limit."""
    tolerance = here.grid.network.quantities.tolerance
    u, (low, high) = here.grid.usage(base.requests)[1], here.grid.limits(base.requests)
    used, lows, highs = zip(*((g.usage(r)[1], *g.limits(r)) for g, r in sides), strict=True)
    rate, rate_low, rate_high = ((a - b) / (2.0 * step) for a, b in (used, lows, highs))
    return min(
        reach((high - u) / tolerance, (rate_high - rate) / tolerance, SETTLED),
        reach((u - low) / tolerance, (rate - rate_low) / tolerance, SETTLED),
    )


def _moved(state: State, rates: Rates, by: float) -> State:
    """The state on one side."""
    return state.from_arrays({name: a + by * rates[name] for name, a in state.arrays().items()})


def advanced(
    sides: tuple[Side, Side], base: Solved, requests: tuple[Requests, Requests], rates: Rates, service_kw: FloatArray
) -> Rates:
    """Derivatives of the state after the interval."""
    after: list[dict[str, Any]] = []
    for side, asked in zip(sides, requests, strict=True):
        state, served = _moved(base.state, rates, side.by), base.served_kw + side.by * service_kw
        after.append(side.mechanism.advance(state, Allocation(served[0], served[1]), asked).arrays())
    return {name: (a - after[1][name]) / (sides[0].by - sides[1].by) for name, a in after[0].items()}
