"""Alpha-fair service against closed forms, a conic program without the engine, and a linear program."""

from __future__ import annotations

import itertools

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from small import difference, first_interval, grid_of, linear_limits, mixed_case, one_transformer, small_case

import amm_opt as ao
from amm_opt.arrays import FloatArray
from amm_opt.cases import Case
from formulations import AMM, AlphaFair
from formulations.alpha_fair import STEEPEST
from formulations.parts.matching import TIE

SEEDS = (1, 4, 6, 8, 12)
"""Random cases in which voltages bind, so that alpha matters."""


def served(case: Case, mechanism: ao.Mechanism, **kw: object) -> FloatArray:
    """(2, n) served import and accepted export in the first interval."""
    run = ao.simulate(case, mechanism, steps=1, **kw)  # type: ignore[arg-type]
    assert not run.failed_steps
    return np.stack([run.allocation.import_kw[0], run.allocation.export_kw[0]])


def conic(case: Case, alpha: float, weight: str) -> FloatArray:
    """The definition, as an exponential- or power-cone program with every limit."""
    matrix, bound, request = linear_limits(case)
    asked = np.flatnonzero(request > 0)
    r = request[asked]
    ratio = cp.Variable(len(asked))
    w = r if weight == "request" else np.ones(len(asked))
    utility = cp.log(ratio) if alpha == 1 else cp.power(ratio, 1 - alpha) / (1 - alpha)
    problem = cp.Problem(cp.Maximize(w / w.max() @ utility), [ratio <= 1, matrix[:, asked] * r @ ratio <= bound])
    problem.solve(solver="CLARABEL", tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    out = np.zeros(len(request))
    out[asked] = ratio.value * r
    return out.reshape(2, -1)


@pytest.mark.parametrize("weight", ["request", "equal"])
@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_utility_is_largest(seed: int, alpha: float, weight: str) -> None:
    case = mixed_case(seed)
    expected, requests = conic(case, alpha, weight), first_interval(case)
    request = np.stack([requests.import_request_kw, requests.export_request_kw])
    found = served(case, AlphaFair(alpha=alpha, weight=weight))
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert found.sum() < 0.95 * request.sum()
    assert np.ptp(found[request > 0] / request[request > 0]) > 0.1


@pytest.mark.parametrize("seed", SEEDS)
def test_different_alpha_are_different(seed: int) -> None:
    """Else the test above would show little about alpha."""
    found = [served(mixed_case(seed), AlphaFair(alpha=a)) for a in (0.0, 0.5, 1.0, 4.0)]
    for one, other in itertools.pairwise(found):
        assert np.abs(one - other).max() > 1.0


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0, 8.0])
def test_one_bottleneck_and_weights_by_request(alpha: float) -> None:
    """The marginal worth of a kW depends on the ratio alone: everyone gets the same ratio."""
    case = one_transformer(30, [0.0] * 4, [40.0, 10.0, 6.0, 4.0], [0.0] * 4)
    np.testing.assert_allclose(served(case, AlphaFair(alpha=alpha))[0], [20.0, 5.0, 3.0, 2.0], atol=1e-6)


def test_one_bottleneck_and_equal_weights() -> None:
    """max sum log x_i: equal powers up to the requests; max sum -r_i / x_i: x_i proportional to the root of r_i."""
    case = one_transformer(30, [0.0] * 4, [40.0, 20.0, 6.0, 4.0], [0.0] * 4)
    np.testing.assert_allclose(served(case, AlphaFair(weight="equal"))[0], [10.0, 10.0, 6.0, 4.0], atol=1e-6)
    case = one_transformer(9, [0.0] * 3, [36.0, 16.0, 64.0], [0.0] * 3)
    np.testing.assert_allclose(served(case, AlphaFair(alpha=2, weight="equal"))[0], [3.0, 2.0, 4.0], atol=1e-6)


def test_proportional_fairness_with_nested_limits() -> None:
    """30 kVA would give 10 kW each; the two behind 12 kVA have 6 each, which leaves 18 for the first."""
    lines = {"near": ("src", 1e-4, 30.0), "far": ("near", 1e-4, 12.0)}
    case = small_case(lines, ["near", "far", "far"], [0] * 3, [90] * 3, [0] * 3)
    np.testing.assert_allclose(served(case, AlphaFair(weight="equal"))[0], [18.0, 6.0, 6.0], atol=1e-6)


def test_proportional_fairness_at_a_voltage_limit() -> None:
    """max sum log x_i subject to sum c_i x_i <= C is x_i = C / (n c_i): who uses four times as much gets a quarter."""
    lines = {"near": ("src", 0.1, 1000.0), "far": ("near", 0.3, 1000.0)}
    case = small_case(lines, ["near", "far"], [0, 0], [99, 99], [0, 0])
    budget = 0.19 * 160 / 2 / 0.1  # near uses 1 kW of it per kW, far 4
    np.testing.assert_allclose(served(case, AlphaFair())[0], [budget / 2, budget / 8], rtol=1e-6)
    # alpha = 2: x_i proportional to 1 / sqrt(c_i)
    np.testing.assert_allclose(served(case, AlphaFair(alpha=2))[0], [budget / 3, budget / 6], rtol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_alpha_0_is_the_throughput_optimum(seed: int) -> None:
    """Up to the tie-break: sum of x - TIE/2 (r - x)^2 / r is at least that of the linear program's optimum."""
    case = mixed_case(seed)
    matrix, bound, request = linear_limits(case)
    best = linprog(-np.ones(len(request)), A_ub=matrix, b_ub=bound, bounds=np.column_stack([0 * request, request]))
    assert best.status == 0
    allowed = 0.5 * TIE * np.sum((request - best.x)[request > 0] ** 2 / request[request > 0])
    found = served(case, AlphaFair(alpha=0)).sum()
    assert -best.fun - allowed - 1e-6 < found < -best.fun + 1e-3
    assert allowed < 1e-3 * found
    assert found > served(case, AlphaFair(alpha=1)).sum() - allowed
    np.testing.assert_allclose(served(case, AlphaFair(alpha=0)), served(case, AMM(alpha=0, rho=0)), atol=1e-6)


def test_throughput_falls_and_the_worst_ratio_rises_with_alpha() -> None:
    case = mixed_case(4)
    request = first_interval(case).import_request_kw
    found = [served(case, AlphaFair(alpha=a)) for a in (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)]
    assert np.all(np.diff([f.sum() for f in found]) < 1e-6)
    assert np.all(np.diff([(f[0] / request).min() for f in found]) > -1e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 3.0, 10.0])
def test_a_dead_end_drags_nobody_down(alpha: float) -> None:
    """A line that inflexible load overloads serves nobody behind it; the others share what there is."""
    lines = {"main": ("src", 1e-4, 30.0), "dead": ("main", 1e-4, 5.0)}
    case = small_case(lines, ["main", "main", "dead", "dead"], [0, 0, 6, 0], [30, 18, 9, 1e-8], [0] * 4)
    run = ao.simulate(case, AlphaFair(alpha=alpha), steps=1)
    assert not run.failed_steps
    np.testing.assert_allclose(run.allocation.import_kw[0], [15.0, 9.0, 0.0, 0.0], atol=1e-4)
    assert run.summary["unavoidable_violations"] == 1
    assert run.summary["thermal_violations"] == 0


power = st.one_of(st.just(0.0), st.floats(0.0, 40.0), st.floats(0.0, 1e-7))
matrices = st.lists(st.lists(power, min_size=4, max_size=4), min_size=2, max_size=2)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    matrices,
    matrices,
    st.lists(st.floats(-30.0, 40.0), min_size=4, max_size=4),
    st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.0, 5.0]),
    st.sampled_from(["request", "equal"]),
)
def test_any_requests_are_served_within_limits(
    imports: list[list[float]], exports: list[list[float]], load: list[float], alpha: float, weight: str
) -> None:
    """Tiny requests, none, and inflexible load that leaves room for none: a solution all the same."""
    lines = {"a": ("src", 0.02, 50.0), "b": ("a", 0.08, 30.0)}
    case = small_case(lines, ["a", "a", "b", "b"], load, imports, exports)
    run = ao.simulate(case, AlphaFair(alpha=alpha, weight=weight))
    assert not run.failed_steps
    assert run.summary["thermal_violations"] == run.summary["voltage_violations"] == 0
    # nobody is left out who could be served: another kW in proportion to what is missing is not hosted
    grid = grid_of(case)
    for k in range(2):
        requests = case.requests(k, k + 1).interval(0)
        lower, upper = grid.limits(requests)
        x, y = run.allocation.import_kw[k], run.allocation.export_kw[k]
        missing = requests.import_request_kw - x, requests.export_request_kw - y
        if sum(m.sum() for m in missing) > 1e-2:
            u = grid.quantities(requests, x + 0.01 * missing[0], y + 0.01 * missing[1])
            assert np.any((u > upper) | (u < lower))


def test_ratios_of_a_thousandth_are_exact() -> None:
    """Well above the ratio at which the utility becomes quadratic."""
    lines = {"main": ("src", 1e-4, 30.0), "thin": ("main", 1e-4, 0.05)}
    case = small_case(lines, ["main", "thin", "thin"], [0] * 3, [60, 40, 10], [0] * 3)
    expected = [29.95, 0.04, 0.01]
    assert STEEPEST**-1.0 < 0.001
    np.testing.assert_allclose(served(case, AlphaFair())[0], expected, rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 3.0])
def test_two_solvers_agree(alpha: float) -> None:
    case = ao.load_case("synthetic:buses=130,days=1,seed=3").with_scenario(import_scale=2.5)
    one, other = (ao.simulate(case, AlphaFair(alpha=alpha), solver=s) for s in (None, "clarabel"))
    assert (one.solver, other.solver) == ("dual_newton", "clarabel")
    assert not one.fallback_steps
    assert not other.fallback_steps
    assert one.summary["unserved_mwh"] > 0.01
    assert difference(one, other) < 1e-5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"alpha": -0.5}, "alpha = -0.5 must not be negative"),
        ({"alpha": float("nan")}, "alpha = nan"),
        ({"alpha": float("inf")}, "alpha = inf must be a finite number"),
        ({"weight": "size"}, "valid choices: request, equal"),
    ],
)
def test_parameters_out_of_range_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ao.InputError, match=said):
        AlphaFair(**options)  # type: ignore[arg-type]


def test_the_price_of_fairness_is_the_energy_given_up() -> None:
    case = ao.load_case("synthetic:buses=130,days=1,seed=3").with_scenario(import_scale=2.5)
    result = ao.compare(case, ["no_control", "alpha_fair:alpha=0", "leximin", "equal_doe"])
    table = result.table
    served = {
        label: run.allocation.import_kw.sum() + run.allocation.export_kw.sum() for label, run in result.runs.items()
    }
    for label in ("alpha_fair:alpha=0", "leximin", "equal_doe"):
        expected = 1 - served[label] / served["alpha_fair:alpha=0"]
        assert table.loc[label, "price_of_fairness"] == pytest.approx(expected, abs=1e-9)
    price = table["price_of_fairness"]
    assert table.loc["no_control", "thermal_violations"] > 0
    assert np.isnan(price["no_control"])
    assert price["alpha_fair:alpha=0"] == 0.0
    assert -1e-4 < price["leximin"] < price["equal_doe"]
    assert price["equal_doe"] > 0.05
    assert "price_of_fairness" not in ao.compare(case, ["leximin", "alpha_fair:alpha=0,weight=equal"], steps=3).table
