"""Envelopes on phases and with different power factors: sequential rules, and the local cut of what is not hosted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from streets import TRACE, grid_of, random_street, street

import amm_opt as ao
from amm_opt.arrays import DIRECTIONS, FloatArray
from amm_opt.cases import Case
from amm_opt.market import NoState
from amm_opt.program import Solution
from amm_opt.simulation.loop.matching import JointMatching, programs_of
from amm_opt.simulation.loop.result import Notes
from amm_opt.solve.backends.known import SolverOrder
from amm_opt.solve.solver import ProgramSolver
from formulations import AMM, EqualDOE, GreedyDOE

RULES = ("largest_request_first", "worst_bus_first")


def served(case: Case, mechanism: Any) -> tuple[FloatArray, FloatArray]:
    run = ao.simulate(case, mechanism, steps=1)
    assert not run.failed_steps
    assert run.summary.thermal_violations == run.summary.voltage_violations == 0
    return run.allocation.import_kw[0], run.allocation.export_kw[0]


@pytest.mark.parametrize("direction", [0, 1])
@pytest.mark.parametrize("order", ["abc", "bca", "cab"])
def test_each_phase_has_its_own_rating(direction: int, order: str) -> None:
    """10 kVA per phase: whoever is on it gets 10 kW, and what the others ask for does not matter."""
    people = [("lv", p, 0.0, *np.roll([kw, 0.0], direction)) for p, kw in zip(order, (30.0, 20.0, 6.0), strict=True)]
    case = street([("src", "lv", TRACE, TRACE, 10.0)], people, (0.5, 1.5))
    for rule, enrolled in ((r, e) for r in RULES for e in ("active", "all", "requesting")):
        found = served(case, GreedyDOE(rule=rule, enrolled=enrolled))[direction]
        np.testing.assert_allclose(found, [10, 10, 6], atol=1e-3)


@pytest.mark.parametrize("direction", [0, 1])
@pytest.mark.parametrize(("far", "near"), ["ab", "bc", "ca", "ba"])
def test_a_voltage_on_one_phase_leaves_the_others_alone(direction: int, far: str, near: str) -> None:
    """Without mutual impedance: the far customer's phase allows k kW, the near one's 16 kW are hosted whole."""
    ohm = "0.2 | 0 0.2 | 0 0 0.2"
    people = [
        ("far", far, 0.0, *np.roll([20.0, 0.0], direction)),
        ("near", near, 0.0, *np.roll([16.0, 0.0], direction)),
    ]
    lines = [("src", "near", ohm, TRACE, 1000.0), ("near", "far", ohm, TRACE, 1000.0)]
    case = street(lines, people, connection_import_kw=20.0, connection_export_kw=20.0)
    # squared voltage of a phase: 1 -/+ 2 r P / (1000 V^2 / 3), V^2 = 0.16 and r = 0.4 ohm in all
    budget = (0.19, 0.21)[direction] * 1000 * 0.16 / 3 / (2 * 0.4)
    found = served(case, GreedyDOE(rule="worst_bus_first"))[direction]
    assert found[1] == pytest.approx(16.0)
    assert budget - 0.02 * 20 - 1e-6 <= found[0] <= budget + 1e-3
    np.testing.assert_allclose(
        served(case, GreedyDOE(rule="largest_request_first"))[direction], [budget, 16], atol=1e-3
    )


def _no_program(*_: Any, **__: Any) -> Solution:
    raise AssertionError("the sequential rules solve no program")


def in_turn(case: Case, direction: str, request: FloatArray, most: FloatArray) -> FloatArray:
    """One participant after the other takes what every row still leaves."""
    grid, requests = grid_of(case), case.requests(0, 1).interval(0)
    lower, upper = grid.limits(requests)
    use = grid.quantities(requests, 0.0, 0.0)
    unit = np.eye(grid.n)
    x = np.zeros(grid.n)
    for i in np.argsort(-request, kind="stable"):
        power = (unit[i], 0.0) if direction == "import" else (0.0, unit[i])
        slope = grid.quantities(requests, *power) - grid.quantities(requests, 0.0, 0.0)
        moving = np.abs(slope) > 1e-9
        room = np.where(slope > 0, upper - use, lower - use)[moving] / slope[moving]
        x[i] = np.clip(np.min(room, initial=np.inf), 0.0, most[i])
        use = use + slope * x[i]
    return x


@pytest.mark.parametrize("phases", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_sequential_filling_is_one_at_a_time(seed: int, phases: bool) -> None:
    """Also where one participant relieves what the next presses on."""
    case = random_street(seed, phases)
    grid, requests = grid_of(case), case.requests(0, 1).interval(0)
    found = GreedyDOE(rule="largest_request_first", enrolled="requesting").clear(grid, _no_program, NoState(), requests)
    for direction, sign in zip(DIRECTIONS, (1.0, -1.0), strict=True):
        request = requests.request_kw(direction)
        most = np.where(
            request > 1e-6, np.maximum(case.connection_kw(direction) - sign * requests.inflexible_kw, 0), 0.0
        )
        expected = in_turn(case, direction, request, most)
        np.testing.assert_allclose(found[direction]["envelope"], expected, atol=5e-3)


def test_the_random_streets_relieve_one_another() -> None:
    """Else the test above would show little: in many, somebody's use lifts what holds another down."""
    relieved = 0
    for seed in range(0, 10, 2):
        for phases in (False, True):
            grid = grid_of(random_street(seed, phases))
            slope = grid.sensitivity(np.arange(len(grid.network.quantities.lower)))[0]
            relieved += bool(((slope > 1e-6).any(axis=1) & (slope < -1e-6).any(axis=1)).any())
    assert relieved >= 7


MECHANISMS = [
    EqualDOE(),
    EqualDOE(enrolled="requesting"),
    EqualDOE(per="system", enrolled="requesting"),
    GreedyDOE(enrolled="requesting"),
    GreedyDOE(rule="largest_request_first", enrolled="requesting"),
    GreedyDOE(rule="worst_bus_first", enrolled="requesting"),
]


@pytest.mark.parametrize("phases", [False, True])
def test_what_is_not_hosted_is_cut_where_it_breaks_a_limit_and_nowhere_else(phases: bool) -> None:
    """No failed interval, no violation; whoever uses no limit that the outcome breaks keeps all of it; it is marked."""
    cut_somewhere = kept_somewhere = 0
    for seed in range(12):
        case = random_street(100 + seed, phases)
        grid, requests = grid_of(case), case.requests(0, 1).interval(0)
        lower, upper = grid.limits(requests)
        rows = grid.sensitivity(np.arange(len(lower)))
        mechanism = MECHANISMS[seed % len(MECHANISMS)]
        run = ao.simulate(case, mechanism, steps=1)
        assert not run.failed_steps
        assert run.summary.thermal_violations == run.summary.voltage_violations == 0
        given = np.stack([run.allocation.import_kw[0], run.allocation.export_kw[0]])
        plan = _outcome(case, mechanism)
        u = grid.quantities(requests, *plan)
        broken = np.flatnonzero((u > upper + 1e-5) | (u < lower - 1e-5))
        assert (len(run.repaired_steps) > 0) >= (len(broken) > 0)
        assert run.summary.repaired_steps == len(run.repaired_steps)
        assert np.all(given <= plan + 1e-6)
        lost = plan - given > 1e-4
        cut_somewhere += bool(lost.any())
        # limits that somebody's cut may break in turn are those that bind afterwards
        u = grid.quantities(requests, *given)
        binds = [np.flatnonzero(u > upper - 1e-4), np.flatnonzero(u < lower + 1e-4)]
        presses = sum((side * rows[:, k] > 1e-9).any(axis=1) for side, k in zip((1.0, -1.0), binds, strict=True))
        assert not np.any(lost & ~(presses > 0))
        kept_somewhere += bool(lost.any() and (~lost & (plan > 0.1)).any())
    assert cut_somewhere >= 4
    assert kept_somewhere >= 3


def _cleared(grid: Any, mechanism: Any, requests: Any) -> Any:
    """The mechanism's solutions of one interval."""
    order = SolverOrder.of((None, "CLARABEL"))
    programs = {name: ProgramSolver(program, grid, order) for name, program in programs_of(mechanism, grid).items()}
    matching = JointMatching(grid, mechanism, programs)
    return matching.clear(requests, grid.limits(requests), mechanism.initial_state(grid.case), Notes())


def _outcome(case: Case, mechanism: Any) -> FloatArray:
    """(2, n) what the envelopes give before anything is cut back."""
    grid, requests = grid_of(case), case.requests(0, 1).interval(0)
    a = mechanism.settle(grid, _cleared(grid, mechanism, requests), requests)
    return np.clip([a.import_kw, a.export_kw], 0.0, [requests.import_request_kw, requests.export_request_kw])


def test_the_floor_of_the_market_is_cut_where_it_breaks_a_limit_and_nowhere_else() -> None:
    """a cannot have what its envelope gives; b, on another feeder behind its own 10 kVA, keeps 8 kW of envelope."""
    lines = [("src", "a", 1e-4, 0.0, 10.0), ("src", "b", 1e-4, 0.0, 10.0)]
    people = [("a", "", 0.0, 30.0, 30.0), ("b", "", 0.0, 8.0, 0.0)]
    case = street(lines, people, feeder={"a": "A", "b": "B"}, power_factor_import=[0.8, 1.0])  # type: ignore[arg-type]
    for mechanism in (EqualDOE(enrolled="requesting"), AMM(envelope=EqualDOE(enrolled="requesting"))):
        x, _ = served(case, mechanism)
        assert x[1] == pytest.approx(8.0, abs=1e-3)
    run = ao.simulate(case, EqualDOE())
    assert run.summary.repaired_steps == 2
    assert run.repaired_steps == (0, 1)


def test_the_cut_does_not_depend_on_order() -> None:
    lines = [("src", "lv", 1e-4, 0.0, 10.0)]
    people = [("lv", "", 0.0, 20.0, 20.0), ("lv", "", 0.0, 10.0, 5.0), ("lv", "", 0.0, 4.0, 0.0)]
    factors = [0.8, 0.9, 1.0]
    one = np.stack(served(street(lines, people, power_factor_import=factors), EqualDOE()))
    other = np.stack(served(street(lines, people[::-1], power_factor_import=factors[::-1]), EqualDOE()))
    np.testing.assert_allclose(one, other[:, ::-1], atol=1e-5)
    # and equal customers are cut alike
    twins = street(lines, [people[0], people[0]], power_factor_import=0.8)
    x, y = served(twins, EqualDOE())
    assert x[0] == pytest.approx(x[1], abs=1e-5)
    assert y[0] == pytest.approx(y[1], abs=1e-5)


@pytest.mark.parametrize("seed", [*range(2000, 2010), 2123, 2132])
def test_the_level_of_all_is_the_largest_that_is_hosted(seed: int) -> None:
    """Heavy inflexible load leaves limits without room, which some press on and others relieve; the page's formula."""
    case = random_street(seed, phases=True, factors=False).with_scenario(load_scale=4.0)
    grid, requests, mechanism = grid_of(case), case.requests(0, 1).interval(0), EqualDOE(enrolled="all", per="system")
    lower, upper = grid.limits(requests)
    found = _cleared(grid, mechanism, requests)
    assert isinstance(found, dict)
    for direction, sign in zip(DIRECTIONS, (-1.0, 1.0), strict=True):
        if direction not in found:
            continue
        base = sign * requests.inflexible_kw
        most = np.maximum(case.connection_kw(direction) + base, 0.0)
        x = np.clip(np.linspace(-8.0, 30.0, 1901)[:, None] + base, 0.0, most)
        u = grid.quantities(requests, *((x, 0.0) if direction == "import" else (0.0, x)))
        hosted = np.flatnonzero(np.all((u <= upper + 2e-8) & (u >= lower - 2e-8), axis=1))
        other = DIRECTIONS[direction == "import"]
        wanted = np.minimum(requests.request_kw(direction) - requests.request_kw(other), most)
        given = np.minimum(found[direction]["envelope"], wanted)
        assert np.all(given >= np.minimum(x[hosted[-1]], wanted) - 0.025)


@pytest.mark.parametrize("seed", [37, 63])
def test_a_feeder_that_was_held_rises_when_the_other_relieves_it(seed: int) -> None:
    """No feeder's level could be larger at the other's: a grid over all larger ones is tried."""
    case = random_street(seed, True).with_scenario(load_scale=10.0)
    grid, requests = grid_of(case), case.requests(0, 1).interval(0)
    (lower, upper), mechanism = grid.limits(requests), EqualDOE(enrolled="all")
    found = _cleared(grid, mechanism, requests)["import"]
    base, most = -requests.inflexible_kw, np.maximum(20.0 - requests.inflexible_kw, 0.0)
    asks = requests.import_request_kw > 1e-6
    wanted = np.minimum(requests.import_request_kw - requests.export_request_kw, most) - base
    top = float(np.max(wanted, where=asks, initial=0.0))

    def hosted(*levels: float) -> bool:
        x = np.clip(np.array(levels)[group] + base, 0.0, most)
        u = grid.quantities(requests, x, 0.0)
        return bool(np.all((u <= upper + 1e-9) & (u >= lower - 1e-9)))

    names, group = np.unique(case.lv_feeder, return_inverse=True)
    a, b = found["level"][names]
    for one, other, pair in ((a, b, lambda t: (t, b)), (b, a, lambda t: (a, t))):
        assert one <= top + 1e-9
        assert not any(hosted(*pair(t)) for t in np.linspace(one + 0.1, top, 200) if one + 0.1 < top), other
