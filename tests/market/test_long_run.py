"""What the delivery memory leads to in the long run, against closed forms by hand.

Weights F^-alpha are the gradient of sum_i R_i u_alpha(F_i), so that cumulative ratios go to its largest value on what
the network can carry on average (A. L. Stolyar, Oper. Res. 53(1), 2005). On one limit sum_i a_i x_i <= C that binds in
every interval, R_i F_i^-alpha is proportional to a_i R_i there:

    F_i = K a_i^(-1/alpha),   sum_i a_i r_i F_i = C.

Where everybody loads the limit alike, ratios are equal for every alpha. The curvature rho adds to u: at a rest point
with shares s = F the gain is F^-alpha (1 + rho (1 - F)).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from small import TRACE, small_case

import amm_opt as ao
from amm_opt.arrays import FloatArray
from amm_opt.cases import Case
from amm_opt.cases.tiers import split
from amm_opt.grid import Grid
from amm_opt.network import LinDistFlow
from formulations import AMM


def repeated(lines: Mapping[str, Any], people: Any, imports: Any, times: int, feeder: Any = None) -> Case:
    """A case in which the rows of ``imports`` come again and again."""
    asked = np.tile(np.atleast_2d(np.asarray(imports, dtype=float)), (times, 1))
    return small_case(lines, people, 0.0 * asked, asked, 0.0 * asked, feeder=feeder, connection_import_kw=500.0)


def ratios(case: Case, tiers: str = "joint", **parameters: Any) -> FloatArray:
    """Cumulative delivery ratios of import at the end."""
    mechanism = AMM(prior_h=0, **parameters)
    return np.asarray(ao.simulate(case, mechanism, tiers=tiers).state.delivery_ratio[0])


def far_end(times: int) -> Case:
    """80 kW at 0.1 ohm and 120 kW at 0.4 ohm: 2 (0.1 x 80 F_1 + 0.4 x 120 F_2) / 160 <= 1 - 0.81."""
    lines = {"near": ("src", 0.1, 1e3), "far": ("near", 0.3, 1e3)}
    return repeated(lines, ["near", "far"], [80.0, 120.0], times)


def test_the_default_leaves_no_far_end_behind() -> None:
    """Ten customers along a line whose voltage binds: with equal F, 2 (0.1 x 100 (1 + ... + 10) F) / 160 = 1 - 0.81.

    So leximin gives everybody 0.19 x 160 / 1100. The last one uses the limit ten times as much as the first.
    """
    lines = {f"b{k}": (f"b{k - 1}" if k else "src", 0.1, 1e5) for k in range(10)}
    case = repeated(lines, list(lines), [100.0] * 10, 600)
    asked = case.requests(0, case.n_steps).import_request_kw.sum(axis=0)

    def served(mechanism: AMM | str) -> FloatArray:
        return np.asarray(ao.simulate(case, mechanism).allocation.import_kw.sum(axis=0) / asked)

    equal = served("leximin")
    assert_allclose(equal, 0.19 * 160 / 1100, rtol=1e-4)
    assert np.all(served(AMM()) > equal / 3)
    assert np.sum(served(AMM(priority="shortage", rho=1.0, level="participant")) < equal / 3) >= 5


@pytest.mark.parametrize("alpha", [1.0, 2.0, 5.0])
def test_one_voltage_limit_that_the_far_end_loads_four_times_as_much(alpha: float) -> None:
    """8 F_1 + 48 F_2 = 15.2 and F_2 = F_1 / 4^(1/alpha): 0.76 and 0.19 for alpha = 1, 0.475 and 0.2375 for 2."""
    near = 15.2 / (8 + 48 * 4 ** (-1 / alpha))
    found = ratios(far_end(120), alpha=alpha, rho=0.01)
    assert_allclose(found, [near, near * 4 ** (-1 / alpha)], rtol=0.01)
    if alpha < 3:
        assert_allclose([near, near * 4 ** (-1 / alpha)], {1.0: [0.76, 0.19], 2.0: [0.475, 0.2375]}[alpha])


def test_the_rest_point_with_curvature() -> None:
    """F_1^-2 (1 + 0.1 (1 - F_1)) = F_2^-2 (1 + 0.1 (1 - F_2)) / 4 beside 8 F_1 + 48 F_2 = 15.2."""
    low, high = 0.19, 1.9
    for _ in range(60):
        f = (low + high) / 2
        g = (15.2 - 8 * f) / 48
        low, high = (f, high) if f**-2 * (1 + 0.1 * (1 - f)) > g**-2 * (1 + 0.1 * (1 - g)) / 4 else (low, f)
    assert_allclose(ratios(far_end(60), alpha=2.0, rho=0.1), [f, g], rtol=1e-5)
    assert abs(f / 0.475 - 1) > 0.005  # what the curvature moves is far above that tolerance


@pytest.mark.parametrize("alpha", [1.0, 2.0, 5.0])
def test_a_limit_inside_another(alpha: float) -> None:
    """Behind 3 kW, behind 8 kW: two share 6 of 14 kW over two intervals, 3/7 each; the third has 10 of 18, 5/9.

    Without memory the one who also asks when the other does not is ahead, 4/8 to 2/6.
    """
    lines = {"mv": ("src", TRACE, 8.0), "a": ("mv", TRACE, 3.0), "b": ("mv", TRACE, 90.0)}
    case = repeated(lines, ["a", "a", "b"], [[4, 0, 9], [4, 6, 9]], 60)
    assert_allclose(ratios(case, alpha=alpha, rho=0.02), [3 / 7, 3 / 7, 5 / 9], rtol=0.012)


def trunk(imports: Any, times: int = 60) -> Case:
    """Two customers on feeder A and one on B behind 10 kW."""
    lines = {"mv": ("src", TRACE, 10.0), "a": ("mv", TRACE, 90.0), "b": ("mv", TRACE, 90.0)}
    return repeated(lines, ["a", "a", "b"], imports, times, feeder={"a": "A", "b": "B"})


@pytest.mark.parametrize(
    ("level", "tiers", "scarce", "feeder"),
    [
        ("participant", "joint", 5.6, None),  # x/8 = (4 + 10 - x)/12
        ("feeder", "joint", 4.88, 0.76),  # (5 + x)/13 = (14 - x)/12
        ("nested", "joint", 4.88, 0.76),
        ("nested", "two", 4.88, 0.76),
        ("participant", "two", 4.88, 0.76),
    ],
)
def test_whose_ratios_become_equal(level: str, tiers: str, scarce: float, feeder: float | None) -> None:
    """8 and 8 kW ask for the trunk's 10; then A's other customer and B's have 5 and 4 kW in full.

    Without memory it is 5 kW of 8. Two tiers see feeders above, whatever the level.
    """
    found = ratios(trunk([[8, 0, 8], [0, 5, 4]]), tiers, alpha=5.0, rho=0.02, level=level)
    assert found[0] == pytest.approx(scarce / 8, abs=0.008)
    assert found[1] == 1.0
    if feeder is not None:
        assert (found[0] * 8 + 5) / 13 == pytest.approx(feeder, abs=0.006)
        assert found[2] == pytest.approx(feeder, abs=0.006)


@pytest.mark.parametrize("tiers", ["joint", "two"])
def test_nested_is_even_inside_feeders_too(tiers: str) -> None:
    """20 kW of 4 + 4 + 8 and 4 + 8 are 5/7 for everybody; without memory inside, A's busier hour costs one of two."""
    case = trunk([[4, 4, 8], [0, 4, 8]])
    found = ratios(case, tiers, alpha=5.0, rho=0.02, level="nested")
    assert_allclose(found, [20 / 28] * 3, atol=0.008)


def test_in_two_tiers_the_weights_are_those_of_the_nested_form() -> None:
    """Upper tier: the feeder's part. Inside a feeder: the participant's part. Joint: their product."""
    case = trunk([[4, 4, 8], [0, 4, 8]], times=4)
    run = ao.simulate(case, AMM(prior_h=3, level="nested"))
    state, requests = run.state, case.requests(0, 1).interval(0)
    joint = AMM(prior_h=3, level="nested").priorities(Grid(case, LinDistFlow(case.feeder)), state, requests)[0]
    upper, lower = split(case)
    for level in ("nested", "participant"):
        mechanism = AMM(prior_h=3, level=level)

        def parts(tier: Any, state: Any, mechanism: AMM = mechanism) -> FloatArray:
            grid = Grid(tier.case, LinDistFlow(tier.case.feeder))
            return np.asarray(mechanism.priorities(grid, state, tier.requests(requests))[0])

        above = parts(upper, state.aggregated(upper.member, requests.both_kw))
        inside = parts(lower[0], state.select(lower[0].who))
        assert inside[0] / inside[1] == pytest.approx(joint[0] / joint[1], rel=1e-9)
        assert above[0] / above[1] == pytest.approx(min(joint[:2]) / joint[2], rel=1e-9)
    assert abs(joint[0] / joint[1] - 1) > 0.01


def test_gaps_close_with_the_root_of_time_and_of_the_memory() -> None:
    """Twenty pairs behind 10 kW each ask for 2 to 12 kW at random: a gap is pulled back by alpha / rho per interval.

    Near equality shares differ by (alpha / rho) gap / F, so that gap_(t+1) = (1 - c alpha / rho / t) gap_t + noise / t.
    Its standard deviation is that of the noise times (rho / alpha / T)^(1/2): five times alpha, 5^(-1/2) of the gap.
    """
    rng, pairs, steps = np.random.default_rng(1), 20, 400
    lines = {f"b{i}": ("src", TRACE, 10.0) for i in range(pairs)}
    asked = rng.uniform(2, 12, (steps, 2 * pairs))
    case = small_case(lines, [f"b{i // 2}" for i in range(2 * pairs)], 0 * asked, asked, 0 * asked)
    gaps = []
    for alpha in (1.0, 5.0):
        run = ao.simulate(case, AMM(prior_h=0, alpha=alpha, rho=0.1))
        f = np.cumsum(run.allocation.import_kw, axis=0) / np.cumsum(run.requests.import_request_kw, axis=0)
        gaps.append(np.sqrt(np.mean((f[:, 0::2] - f[:, 1::2]) ** 2, axis=1)))
    at = np.arange(30, steps)
    slope = np.polyfit(np.log(at + 1), np.log(gaps[0][at]), 1)[0]
    assert -0.62 < slope < -0.38
    assert np.mean(gaps[1][200:] / gaps[0][200:]) == pytest.approx(5**-0.5, rel=0.25)
