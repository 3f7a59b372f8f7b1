"""Fairness states, priorities, deficits, prices and the matching against hand arithmetic and an independent program."""

from __future__ import annotations

from collections.abc import Sequence

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small import TRACE, cleared, first_interval, grid_of, network_rows, one_transformer, small_case

import amm_opt as ao
from amm_opt.market import FairnessState, PriceCurve, deficits
from amm_opt.market.state import served_ratio
from amm_opt.tolerances import REQUEST_TOLERANCE_KW
from formulations import AMM, EqualDOE

unit = st.floats(0.0, 1.0)
kw = st.floats(0.0, 100.0)


def state_of(shortage: Sequence[float]) -> FairnessState:
    s = np.tile(np.asarray(shortage, dtype=float), (2, 1))
    return FairnessState(s, *np.zeros((3, *s.shape)))


def test_state_by_hand() -> None:
    state = state_of([0.2, 0.2, 0.2, 1.0])
    served = np.array([[6.0, 0.0, 0.0, 0.0], [2.5, 8.0, 0.0, 4.0]])
    asked = np.array([[8.0, 5.0, 0.0, 1.0], [10.0, 8.0, 0.0, 5.0]])
    held = state.advanced(served, asked, 0.5, beta=0.1, idle="hold")
    np.testing.assert_allclose(held.shortage, [[0.205, 0.28, 0.2, 1.0], [0.255, 0.18, 0.2, 0.92]])
    np.testing.assert_allclose(held.served_kwh, served / 2)
    np.testing.assert_allclose(held.requested_kwh, asked / 2)
    np.testing.assert_allclose(held.delivery_ratio, [[0.75, 0, 1, 0], [0.25, 1, 1, 0.8]])
    decayed = state.advanced(served, asked, 0.5, beta=0.1, idle="decay")
    np.testing.assert_allclose(decayed.shortage, [[0.205, 0.28, 0.18, 1.0], [0.255, 0.18, 0.18, 0.92]])
    again = held.advanced(served, asked, 0.25, beta=0.1, idle="hold")
    np.testing.assert_allclose(again.served_kwh, served * 0.75)
    assert state.shortage[0, 0] == 0.2  # untouched


def test_state_is_immutable_and_survives_storage() -> None:
    source = np.full((2, 3), 0.5)
    state = FairnessState(source, source, source, source)
    source[:] = 0.9
    assert np.all(state.shortage == 0.5)
    with pytest.raises(ValueError, match="read-only"):
        state.shortage[0, 0] = 1.0
    back = FairnessState.from_arrays(state.arrays())
    assert all(np.array_equal(back.arrays()[k], v) for k, v in state.arrays().items())


@given(unit, unit, st.lists(st.tuples(kw, unit), min_size=1, max_size=20), st.floats(0.01, 1.0), st.booleans())
def test_states_contract(a: float, b: float, history: list[tuple[float, float]], beta: float, decay: bool) -> None:
    """Two states under equal inputs approach each other at 1 - beta per requesting interval (every one with decay)."""
    one, two, gap = state_of([a]), state_of([b]), abs(a - b)
    idle = "decay" if decay else "hold"
    for request, share in history:
        asked = np.full((2, 1), request)
        one, two = (s.advanced(asked * share, asked, 0.5, beta, idle) for s in (one, two))
        gap *= 1 - beta if decay or request > REQUEST_TOLERANCE_KW else 1.0
        assert np.all((one.shortage >= 0) & (one.shortage <= 1))
        np.testing.assert_allclose(np.abs(one.shortage - two.shortage), gap, atol=1e-12)


@given(st.floats(0, 1e6), st.floats(0, 1e6), unit, st.floats(0.01, 1.0))
def test_state_stays_in_the_unit_interval_for_any_input(served: float, asked: float, s: float, beta: float) -> None:
    """Even where more was served than asked for."""
    after = state_of([s]).advanced(np.full((2, 1), served), np.full((2, 1), asked), 0.5, beta, "hold")
    assert np.all((after.shortage >= 0) & (after.shortage <= 1))


def test_priorities_by_hand() -> None:
    shortage = np.array([[0.0, 0.25, 1.0, 0.5], [0.1, 0.2, 0.3, 0.4]])
    served = np.array([[10.0, 5.0, 0.0, 0.0], [2.0, 1.0, 4.0, 3.0]])
    asked = np.array([[10.0, 20.0, 10.0, 0.0], [4.0, 4.0, 4.0, 4.0]])
    state = FairnessState(shortage, served, asked, asked)
    np.testing.assert_allclose(AMM(priority="shortage").weights(state), 1 + 2 * shortage)
    np.testing.assert_allclose(AMM(priority="shortage", kappa=3).weights(state), 1 + 3 * shortage)
    inverse = AMM(priority="inverse_ratio").weights(state)
    np.testing.assert_allclose(inverse, [[1, 4, 999, 1], [2, 4, 1, 4 / 3]])
    gap = AMM(priority="deficit", kappa=3, target=0.9).weights(state)
    np.testing.assert_allclose(gap, [[1, 1 + 3 * 0.65, 1 + 3 * 0.9, 1], [2.2, 1 + 3 * 0.65, 1, 1.45]])


def test_without_memory() -> None:
    """Matching, prices and envelope stay; what differs in memory alone has one and the same twin."""
    equal = AMM(rho=0.3, priority="delivery", alpha=0)
    inverse = AMM(rho=0.3, kappa=0, priority="inverse_ratio", level="nested")
    shortage = AMM(rho=0.3, priority="shortage", beta=0.2, memory="9D")
    for mechanism in (AMM(rho=0.3, priority="delivery", prior_h=3), inverse, shortage):
        assert mechanism.without_memory() == equal
    for mechanism in (equal, AMM(priority="shortage", kappa=0), AMM(priority="deficit", kappa=0), EqualDOE()):
        assert mechanism.without_memory() is None
    envelope = EqualDOE()
    twin = AMM(envelope=envelope, import_price_max=0.5).without_memory()
    assert twin == AMM(envelope=envelope, import_price_max=0.5, priority="delivery", alpha=0)


def test_served_ratio_of_nothing_is_one() -> None:
    np.testing.assert_array_equal(served_ratio(np.array([0.0, 1.0]), np.array([0.0, 4.0])), [1.0, 0.25])


def test_deficit_of_a_transformer_is_inherited_by_all() -> None:
    """10 kVA, inflexible 2: headroom 8 for a net use of 20 - 0, deficit 1 - 8/20."""
    case = one_transformer(10, [1.5, 0.5], [8.0, 12.0], [0.0, 0.0])
    np.testing.assert_allclose(deficits(grid_of(case), first_interval(case)), [[0.6, 0.6], [0.0, 0.0]], atol=1e-9)
    # 5 kW of export help: net use 15; inflexible load alone uses the headroom up: deficit 1
    case = one_transformer(10, [1.5, 0.5], [8.0, 12.0], [5.0, 0.0])
    found = deficits(grid_of(case), first_interval(case))
    np.testing.assert_allclose(found, [[1 - 8 / 15] * 2, [0.0, 0.0]], atol=1e-9)
    case = one_transformer(10, [8.0, 4.0], [8.0, 12.0], [0.0, 0.0])
    np.testing.assert_allclose(deficits(grid_of(case), first_interval(case)), [[1, 1], [0, 0]], atol=1e-9)
    # export: 10 kVA and 2 kW of load host 12 of 30
    case = one_transformer(10, [1.5, 0.5], [0.0, 0.0], [10.0, 20.0])
    np.testing.assert_allclose(deficits(grid_of(case), first_interval(case)), [[0, 0], [0.6, 0.6]], atol=1e-9)
    # everything fits
    case = one_transformer(23, [1.5, 0.5], [8.0, 12.0], [0.0, 0.0])
    np.testing.assert_array_equal(deficits(grid_of(case), first_interval(case)), np.zeros((2, 2)))


def test_only_those_below_a_branch_inherit_its_deficit() -> None:
    lines = {"mv": ("src", TRACE, 40.0), "a": ("mv", TRACE, 10.0), "b": ("mv", TRACE, 100.0)}
    case = small_case(lines, ["a", "a", "b", "mv"], [0] * 4, [12, 8, 20, 10], [0] * 4)
    # a: 1 - 10/20; mv: 1 - 40/50
    np.testing.assert_allclose(deficits(grid_of(case), first_interval(case))[0], [0.5, 0.5, 0.2, 0.2], atol=1e-9)


@pytest.mark.parametrize(("direction", "band"), [(0, 0.19), (1, 0.21)])
def test_deficit_of_a_voltage_is_graded_by_sensitivity(direction: int, band: float) -> None:
    """w falls by 2 r P / 160 per section; both limits relate to inflexible load of 10 kW at the far end."""
    lines = {"near": ("src", 0.1, 1000.0), "far": ("near", 0.3, 1000.0)}
    requests = np.zeros((2, 2))
    requests[direction] = [30.0, 60.0]
    case = small_case(lines, ["near", "far"], [0, 10], *requests)
    use = 2 * (0.1 * 90 + 0.3 * 60) / 160
    alone = 2 * 0.4 * 10 / 160
    delta = 1 - (band - alone if direction == 0 else band + alone) / use
    assert 0.2 < delta < 0.8
    expected = np.zeros((2, 2))
    expected[direction] = [delta * 0.1 / 0.4, delta]
    np.testing.assert_allclose(deficits(grid_of(case), first_interval(case)), expected, atol=1e-9)


def test_binding_layer_sets_the_price() -> None:
    """Uniform where the top binds, by zone where one feeder binds, full service at the lowest price."""
    lines = {"mv": ("src", TRACE, 40.0), "a": ("mv", TRACE, 10.0), "b": ("mv", TRACE, 100.0)}
    imports = [[30, 30], [20, 10], [6, 20]]
    case = small_case(lines, ["a", "b"], np.zeros((3, 2)), imports, np.zeros((3, 2)))
    run = ao.simulate(case, AMM())
    a, b = 1 - 10 / 30, 1 - 40 / 60
    expected = 0.1 + 0.3 * np.array([[a, b], [0.5, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(run.allocation.import_price, expected, atol=1e-9)
    np.testing.assert_allclose(run.allocation.export_price, 0.08, atol=1e-9)


curves = st.builds(
    lambda low, width, shape, power: PriceCurve((low, low + width), (low - width, low), shape, power),
    st.floats(-100, 100),
    st.floats(0, 100),
    st.sampled_from(["linear", "power", "logistic"]),
    st.floats(0.2, 6.0),
)


@given(curves, unit, unit)
def test_prices_are_monotone_and_bounded(curve: PriceCurve, a: float, b: float) -> None:
    few, many = sorted((a, b))
    imports, exports = curve.prices(np.array([[few, many], [few, many]]))
    (lo, hi), (lo_e, hi_e) = curve.import_bounds, curve.export_bounds
    assert np.all((imports >= lo - 1e-9) & (imports <= hi + 1e-9))
    assert np.all((exports >= lo_e - 1e-9) & (exports <= hi_e + 1e-9))
    assert imports[0] <= imports[1] + 1e-9
    assert exports[0] >= exports[1] - 1e-9
    np.testing.assert_allclose(imports + exports, lo + hi_e, atol=1e-9)  # phi is the same for both


@pytest.mark.parametrize("shape", ["linear", "power", "logistic"])
def test_price_curves_reach_their_bounds(shape: str) -> None:
    curve = PriceCurve((0.1, 0.5), (-0.02, 0.08), shape, 3.0)
    imports, exports = curve.prices(np.array([[0.0, 0.5, 1.0, 9.0], [0.0, 0.5, 1.0, -3.0]]))
    middle = {"linear": 0.5, "power": 0.125, "logistic": 0.5}[shape]
    np.testing.assert_allclose(imports, [0.1, 0.1 + 0.4 * middle, 0.5, 0.5], atol=1e-12)
    np.testing.assert_allclose(exports, [0.08, 0.08 - 0.1 * middle, -0.02, 0.08], atol=1e-12)
    slope = np.diff(curve.phi(np.linspace(0, 1, 1001))) * 1000
    steepest = {"linear": 1.0, "power": 3.0, "logistic": 2.5 / np.tanh(2.5)}[shape]
    assert slope.max() == pytest.approx(steepest, rel=5e-3)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.1, 100), st.floats(0.1, 100))
def test_published_price_curve_is_a_special_case(supply: float, demand: float) -> None:
    """buy = 265 (1 - min(1, supply/demand)) and sell = -265 min(1, supply/demand) p/kWh, arXiv 2407.20814."""
    assume(abs(supply - demand) > 1e-6)
    case = one_transformer(supply, [0.0], [demand], [0.0], connection_import_kw=200.0)
    deficit = deficits(grid_of(case), first_interval(case))[0, 0]
    covered = min(1.0, supply / demand)
    curve = PriceCurve((0.0, 265.0), (-265.0, 0.0))
    buy, _ = curve.prices(np.array([[deficit], [0.0]]))
    _, sell = curve.prices(np.array([[0.0], [1 - deficit]]))
    assert buy[0] == pytest.approx(265 * (1 - covered), abs=2e-4)
    assert sell[0] == pytest.approx(-265 * covered, abs=2e-4)


@pytest.mark.parametrize("rho", [0.25, 1.0])
def test_matching_by_hand(rho: float) -> None:
    """One transformer: w_i (1 + rho (r_i - x_i) / r_i) is the same for all who are served in part."""
    case = one_transformer(12, [1.0, 1.0], [10.0, 20.0], [0.0, 0.0])
    run = ao.simulate(case, AMM(rho=rho), steps=1)
    np.testing.assert_allclose(run.allocation.import_kw[0], [10 / 3, 20 / 3], atol=2e-4)
    # weights 1.2 and 1, x = (10 - a, 20 - b), a + b = 20: 1.2 (1 + rho a / 10) = 1 + rho (20 - a) / 20
    a = (rho - 0.2) / (0.17 * rho)
    mechanism = AMM(rho=rho, priority="shortage")
    found = cleared(case, mechanism, state=state_of([0.1, 0.0]))["import"]
    np.testing.assert_allclose(found, [10 - a, a], atol=2e-4)


@pytest.mark.parametrize("seed", [1, 3, 4, 6])
@pytest.mark.parametrize(
    "options", [(1.0, "shortage"), (0.2, "inverse_ratio"), (2.5, "deficit"), (0.1, "delivery")], ids=str
)
def test_matching_equals_an_independent_program(seed: int, options: tuple[float, str]) -> None:
    """The square written out, every network row, full sensitivities, Clarabel."""
    rho, priority = options
    case = ao.load_case(f"synthetic:buses=70,days=1,seed={seed}").with_scenario(import_scale=2.5, export_scale=1.6)
    grid, rng = grid_of(case), np.random.default_rng(seed)
    mechanism = AMM(rho=rho, priority=priority, level="participant")
    asked = rng.uniform(1, 9, (2, grid.n))
    state = FairnessState(rng.random((2, grid.n)), asked * rng.uniform(0.3, 1, (2, grid.n)), asked, asked)
    w_import, w_export = mechanism.weights(state)
    by_import, by_export = network_rows(grid)
    congested = 0
    for k in (23, 26, 29, 44):
        requests = case.requests(k, k + 1).interval(0)
        lower, upper = grid.limits(requests)
        alone = grid.quantities(requests, 0.0, 0.0)
        x, y = cp.Variable(grid.n), cp.Variable(grid.n)
        value = w_import @ x + w_export @ y
        bounds = [x >= 0, y >= 0]
        for power, request, w in ((x, requests.import_request_kw, w_import), (y, requests.export_request_kw, w_export)):
            some = np.flatnonzero(request > 0)
            cost = w[some] / request[some]
            if some.size:
                value -= 0.5 * rho * cp.sum(cp.multiply(cost, cp.square(request[some] - power[some])))
            bounds.append(power <= request)
        u = alone + by_import @ x + by_export @ y
        problem = cp.Problem(cp.Maximize(value), [*bounds, u <= upper, u >= lower])
        problem.solve(solver="CLARABEL", tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
        found = cleared(case, mechanism, k, state)
        for name, power, request in (
            ("import", x, requests.import_request_kw),
            ("export", y, requests.export_request_kw),
        ):
            gap = np.abs(found[name] - np.minimum(power.value, request)) / np.maximum(1.0, request)
            assert gap.max() < 1e-5
        total = requests.import_request_kw.sum() + requests.export_request_kw.sum()
        congested += found["import"].sum() + found["export"].sum() < 0.98 * total
    assert congested >= 2


def test_linear_matching_serves_most_and_breaks_ties_towards_full_service() -> None:
    """rho = 0: the weighted total is that of the linear program; among equals the shortfall is proportional."""
    case = one_transformer(13, [1.0, 0.0, 0.0], [10.0, 20.0, 6.0], [0.0, 0.0, 0.0])
    run = ao.simulate(case, AMM(rho=0), steps=1)
    np.testing.assert_allclose(run.allocation.import_kw[0], np.array([10, 20, 6]) / 3, atol=2e-4)
