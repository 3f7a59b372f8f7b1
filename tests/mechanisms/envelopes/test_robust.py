"""Envelopes that hold wherever everybody is inside them: points of the box, the corner that binds, by hand, AC."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from streets import grid_of, random_street, street

import amm_opt as ao
from amm_opt.arrays import DIRECTIONS, FloatArray
from amm_opt.grid import Grid
from amm_opt.market import NoState
from amm_opt.network import ACNetwork
from amm_opt.simulation.loop.matching import JointMatching, programs_of
from amm_opt.simulation.loop.result import Notes
from amm_opt.solve.solver import ProgramSolver
from formulations import EqualDOE, GreedyDOE
from formulations.parts.box import filled

SEEDS = range(2, 7)


def boxes(mechanism: ao.Mechanism[NoState], seed: int, phases: bool) -> tuple[Grid, ao.Requests, dict[str, FloatArray]]:
    """Grid, requests and envelopes (flexible power up to a limit) of the first interval of a random street."""
    grid = grid_of(random_street(seed, phases).with_scenario(import_scale=2.0, export_scale=2.0))
    case = grid.case
    requests = case.requests(0, 1).interval(0)
    programs = programs_of(mechanism, grid)
    matching = JointMatching(grid, mechanism, {n: ProgramSolver(p, grid, [None]) for n, p in programs.items()})
    found = matching.clear(requests, grid.limits(requests), NoState(), Notes())
    assert not isinstance(found, ao.Solution)
    return grid, requests, {d: found[d]["envelope"] if d in found else np.zeros(grid.n) for d in DIRECTIONS}


def corners(rng: np.random.Generator, n: int, count: int) -> FloatArray:
    """(count, n) shares of envelopes: nothing or all, in parts of the street, and anything between."""
    ends = (rng.random((count, n)) < rng.random((count, 1))).astype(float)
    ends[::3] = rng.random((len(ends[::3]), n))
    return ends


def beyond(grid: Grid, requests: ao.Requests, envelope: dict[str, FloatArray], count: int = 1500) -> float:
    """The furthest beyond a limit of random points of the box, in tolerances."""
    rng = np.random.default_rng(0)
    lower, upper = grid.limits(requests)
    importing = rng.random((count, grid.n)) < rng.random((count, 1))
    share = corners(rng, grid.n, count)
    power = [share * envelope[d] * (importing if d == "import" else ~importing) for d in DIRECTIONS]
    worst = 0.0
    for x, y in zip(*power, strict=True):
        u = grid.quantities(requests, x, y)
        worst = max(worst, float((np.maximum(u - upper, lower - u) / grid.network.quantities.tolerance).max()))
    return worst


@pytest.mark.parametrize("mechanism", [EqualDOE(robust=True), GreedyDOE(robust=True)], ids=str)
@pytest.mark.parametrize("phases", [False, True])
def test_no_point_of_the_box_breaks_a_limit(mechanism: ao.Mechanism[NoState], phases: bool) -> None:
    plain = type(mechanism)()
    broke, shares = 0, []
    for seed in SEEDS:
        grid, requests, envelope = boxes(mechanism, seed, phases)
        assert beyond(grid, requests, envelope) <= 1.0
        _, _, corner = boxes(plain, seed, phases)
        broke += beyond(grid, requests, corner) > 10.0
        whole = sum(c.sum() for c in corner.values())
        if whole > 0:
            shares.append(sum(e.sum() for e in envelope.values()) / whole)
    if phases:
        assert broke >= 2
        assert min(shares) < 0.999
    assert max(shares) > 0.5


def test_the_share_is_the_largest_there_is() -> None:
    """Where it is below 1, those who load the limit that binds reach it, all others using nothing."""
    checked = 0
    for seed in SEEDS:
        grid, requests, envelope = boxes(EqualDOE(robust=True), seed, True)
        _, _, corner = boxes(EqualDOE(), seed, True)
        if not any(np.any(envelope[d] < 0.999 * corner[d]) for d in DIRECTIONS):
            continue
        lower, upper = grid.limits(requests)
        closest = np.inf
        for side, limit in ((1.0, upper), (-1.0, lower)):
            change = side * grid.sensitivity(np.arange(len(limit)))
            for row in range(len(limit)):
                x, y = (np.where(change[d, row] > 0, envelope[name], 0.0) for d, name in enumerate(DIRECTIONS))
                u = grid.quantities(requests, x, y)[row]
                closest = min(closest, float(side * (limit[row] - u) / grid.network.quantities.tolerance[row]))
        assert abs(closest) <= 1.0
        checked += 1
    assert checked >= 2


def test_shares_are_filled_by_hand() -> None:
    """Both rise to 1/2, where the second limit stops the second; the first goes on, to 3/4 or to all it may have."""
    use = np.array([[2.0, 1.0], [0.0, 2.0]])
    np.testing.assert_allclose(filled(use, np.array([2.0, 1.0])), [0.75, 0.5])
    np.testing.assert_allclose(filled(use, np.array([9.0, 1.0])), [1.0, 0.5])
    np.testing.assert_allclose(filled(use, np.array([0.0, 9.0])), [0.0, 0.0])
    np.testing.assert_allclose(filled(use, np.array([9.0, 9.0])), [1.0, 1.0])


def test_published_headrooms_of_a_box() -> None:
    """A+ h + A- l against b, of Liu and Braslavsky's containment, at A = [1 2; -1 2; 1 -1]."""
    a, b = np.array([[1.0, 2.0], [-1.0, 2.0], [1.0, -1.0]]), np.array([10.0, 5.0, 4.0])
    low, high = np.array([-1.0, -2.0]), np.array([2.0, 1.5])
    use = np.maximum(a, 0.0) * (high - low) + np.maximum(-a, 0.0) * (high - low)
    centre = a @ low + np.minimum(a, 0.0) @ (high - low)
    room = b - centre
    assert filled(use.sum(axis=1, keepdims=True), room)[0] == pytest.approx(1.0)
    np.testing.assert_allclose(room - use.sum(axis=1), [5.0, 1.0, 0.0])
    assert filled(use.sum(axis=1, keepdims=True), room - 0.7)[0] == pytest.approx(1 - 0.7 / use[2].sum())


@cache
def three_phases(power_w: tuple[float, float, float]) -> FloatArray:
    """Voltages to neutral, V, of customers behind 0.4 ohm in each phase, without mutual coupling, by AC power flow."""
    ohm = "0.4 | 0 0.4 | 0 0 0.4"
    people = [("lv", phase, 0.0, 1.0, 1.0) for phase in "abc"]
    case = street([("src", "lv", ohm, "0.000001 | 0 0.000001 | 0 0 0.000001", 1e3)], people, (0.5, 1.5))
    nominal = 400.0 / np.sqrt(3.0)
    buses = case.tables()["buses"]
    case = case.with_tables(buses=buses.assign(v_source_pu=[230.0 / nominal, np.nan]))
    export = np.array(power_w) / 1e3
    grid = grid_of(case)
    p, q = grid.node_injections(np.zeros(3), 0.0, export)
    v = np.asarray(ACNetwork(case.feeder).flow(p, q).v_pu) * nominal
    return np.asarray(grid.incidence.T @ v)


def test_analytic_values_on_three_phases() -> None:
    """V = (230 + sqrt(230^2 + 1.6 P)) / 2: 260 V at 19,500 W; dropout of one phase leaves 10 V of negative sequence."""
    np.testing.assert_allclose(three_phases((19_500.0, -1702.5, 1747.5)), [260.0, 227.0, 233.0], atol=2e-3)
    everybody, dropped = three_phases((19_500.0,) * 3), three_phases((0.0, 19_500.0, 19_500.0))
    np.testing.assert_allclose(everybody, 260.0, atol=2e-3)
    turned = np.exp(-2j * np.pi / 3.0 * np.arange(3))
    turn = np.exp(2j * np.pi / 3.0) ** np.array([0, 2, 1])
    assert abs((dropped * turned) @ turn) / 3.0 == pytest.approx(10.0, abs=2e-3)
    assert abs((everybody * turned) @ turn) / 3.0 == pytest.approx(0.0, abs=1e-6)


def test_two_one_sided_boxes_are_not_one_box_of_both() -> None:
    """1,747.5 W of export or 1,702.5 W of import on each phase keep 1 V of negative sequence; both together make 2."""
    turned = np.exp(-2j * np.pi / 3.0 * np.arange(3))
    turn = np.exp(2j * np.pi / 3.0) ** np.array([0, 2, 1])

    def worst(low: float, high: float) -> float:
        ends = [(a, b, c) for a in (low, high) for b in (low, high) for c in (low, high)]
        return max(float(abs((three_phases(p) * turned) @ turn)) / 3.0 for p in ends)

    assert worst(0.0, 1747.5) == pytest.approx(1.0, abs=1e-3)
    assert worst(-1702.5, 0.0) == pytest.approx(1.0, abs=1e-3)
    assert worst(-1702.5, 1747.5) == pytest.approx(2.0, abs=1e-3)
    assert worst(-856.875, 868.125) == pytest.approx(1.0, abs=1e-3)
