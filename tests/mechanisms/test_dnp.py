"""Dynamic network prices: bounds, the lowest hosted price, and what happens when elasticities are not as expected."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from small import difference, grid_of, in_other_units, one_transformer, shuffled, small_case

import amm_opt as ao
from amm_opt.cases import Case, Requests
from formulations import DNP, NoControl

WIDE = {"import_price_max": 1.0, "export_price_min": -1.0}


@lru_cache
def scarce() -> Case:
    return ao.load_case("synthetic:buses=130,days=3,seed=3").with_scenario(import_scale=2.5)


@lru_cache
def whole(mechanism: DNP) -> ao.Run:
    return ao.simulate(scarce(), mechanism)


def test_one_transformer_by_hand() -> None:
    """72 kW asked of 30 kVA: a share of 5/12 is hosted; at elasticity 0.5 that takes a price 2 * 7/12 higher."""
    case = one_transformer(30, [0.0] * 4, [40.0, 30.0, 2.0, 0.0], [0.0] * 4)
    run = ao.simulate(case, DNP(spread=0.0), steps=1)
    np.testing.assert_allclose(run.allocation.import_kw[0], 5 / 12 * np.array([40, 30, 2, 0]), rtol=1e-9)
    np.testing.assert_allclose(run.allocation.import_price[0], 0.10 * (1 + 7 / 6), rtol=1e-9)
    np.testing.assert_allclose(run.allocation.export_price[0], 0.08)
    assert run.summary["revenue"] == pytest.approx(0.5 * 30 * 0.10 * 13 / 6)
    # exports, 60 kW of them: half is hosted, the price falls by 1 of 1
    case = one_transformer(30, [0.0] * 2, [0.0] * 2, [40.0, 20.0])
    run = ao.simulate(case, DNP(spread=0.0), steps=1)
    np.testing.assert_allclose(run.allocation.export_kw[0], [20, 10], rtol=1e-9)
    np.testing.assert_allclose(run.allocation.export_price[0], 0.0, atol=1e-12)
    # inflexible load of 6 kW leaves room for more exports
    case = one_transformer(30, [6.0, 0.0], [0.0] * 2, [40.0, 20.0])
    np.testing.assert_allclose(ao.simulate(case, DNP(spread=0.0), steps=1).allocation.export_kw[0], [24, 12], rtol=1e-9)


def test_a_price_per_feeder_by_hand() -> None:
    """10 and 20 kVA behind 24: leximin shares of 24 kW each are 10/24 and 14/24."""
    lines = {"mv": ("src", 1e-4, 24.0), "a": ("mv", 1e-4, 10.0), "b": ("mv", 1e-4, 20.0)}
    case = small_case(lines, ["a", "a", "b", "b"], [0] * 4, [12] * 4, [0] * 4, feeder={"a": "A", "b": "B"})
    one, each = (ao.simulate(case, DNP(spread=0.0, per=per), steps=1).allocation for per in ("system", "feeder"))
    np.testing.assert_allclose(one.import_kw[0], [5, 5, 5, 5], rtol=1e-9)
    np.testing.assert_allclose(each.import_kw[0], [5, 5, 7, 7], rtol=1e-9)
    np.testing.assert_allclose(each.import_price[0], 0.1 * (1 + 2 * np.array([14, 14, 10, 10]) / 24), rtol=1e-9)


@pytest.mark.parametrize("per", ["system", "feeder"])
def test_expected_answers_are_hosted_and_prices_are_the_lowest(per: str) -> None:
    """With the elasticities that the operator expects nothing is violated; a hair cheaper, something is."""
    mechanism = DNP(spread=0.0, per=per, **WIDE)
    run = whole(mechanism)
    assert run.summary["thermal_violations"] == run.summary["voltage_violations"] == 0
    grid, a = grid_of(scarce()), run.allocation
    dear = (a.import_price > 0.1 + 1e-9).any(axis=1)
    cheap = (a.export_price < 0.08 - 1e-9).any(axis=1)
    assert dear.sum() > 10
    assert cheap.sum() > 10
    for k in np.flatnonzero(dear | cheap):
        requests = scarce().requests(int(k), int(k) + 1).interval(0)
        lower, upper = grid.limits(requests)
        moved = a.import_price[k] > 0.1 + 1e-9, a.export_price[k] < 0.08 - 1e-9
        more = [
            np.where(m, np.minimum(x * 1.001, r), x)
            for m, x, r in zip(
                moved,
                (a.import_kw[k], a.export_kw[k]),
                (requests.import_request_kw, requests.export_request_kw),
                strict=True,
            )
        ]
        u = grid.quantities(requests, *more)
        assert np.any((u > upper + 1e-7) | (u < lower - 1e-7))


@pytest.mark.parametrize("per", ["system", "feeder"])
def test_wrong_elasticities_violate_limits_and_are_counted(per: str) -> None:
    run = whole(DNP(spread=0.5, per=per))
    assert run.summary["thermal_violations"] + run.summary["voltage_violations"] > 10
    assert run.summary["worst_thermal_excess_pct"] > 0.5
    nothing = ao.simulate(scarce(), NoControl()).summary
    assert run.summary["thermal_violations"] < nothing["thermal_violations"]
    assert not run.failed_steps


def test_prices_that_reach_their_bound_leave_violations() -> None:
    case = one_transformer(10, [0.0] * 2, [30.0, 30.0], [0.0] * 2)
    run = ao.simulate(case, DNP(spread=0.0, import_price_max=0.15), steps=1)
    np.testing.assert_allclose(run.allocation.import_price, 0.15)
    np.testing.assert_allclose(run.allocation.import_kw, 30 * (1 - 0.5 * 0.5))
    assert run.summary["thermal_violations"] == 1


@pytest.mark.parametrize("options", [{}, {"spread": 1.0}, {"per": "feeder"}, {"elasticity": 0.1}], ids=str)
def test_prices_stay_in_their_bounds(options: dict[str, Any]) -> None:
    a = whole(DNP(**options)).allocation
    assert a.import_price.min() >= 0.10 - 1e-12
    assert a.import_price.max() <= 0.40 + 1e-12
    assert a.export_price.min() >= -0.08 - 1e-12
    assert a.export_price.max() <= 0.08 + 1e-12
    assert np.ptp(a.import_price) > 0.02
    assert np.ptp(a.export_price) > 0.005


def test_realised_elasticities_differ_by_participant_and_day_and_are_seeded() -> None:
    """Within a day one elasticity each: answers below full and above none give it back."""
    run = whole(DNP())
    a, w = run.allocation, run.requests
    change = a.import_price / 0.10 - 1
    ratio = a.import_kw / np.where(w.import_request_kw > 0, w.import_request_kw, 1)
    seen = (w.import_request_kw > 1e-6) & (change > 1e-6) & (ratio > 1e-9) & (ratio < 1 - 1e-9)
    found = np.where(seen, (1 - ratio) / np.where(change > 0, change, 1), np.nan)
    assert np.nanmin(found) > 0.5 * 0.7 - 1e-9
    assert np.nanmax(found) < 0.5 * 1.3 + 1e-9
    by_day = [found[d * 48 : (d + 1) * 48] for d in range(3)]
    means = []
    for day in by_day:
        known = ~np.isnan(day).all(axis=0)
        spread = np.nanmax(day[:, known], axis=0) - np.nanmin(day[:, known], axis=0)
        assert spread.max() < 1e-6
        full = np.full(day.shape[1], np.nan)
        full[known] = np.nanmean(day[:, known], axis=0)
        means.append(full)
    assert np.nanstd(means[0]) > 0.03
    assert np.nanstd(means[0] - means[2]) > 0.03
    assert difference(run, ao.simulate(scarce(), DNP())) == 0
    assert difference(run, ao.simulate(scarce(), DNP(seed=1))) > 0.05


def test_order_and_units_do_not_matter_with_realised_elasticities() -> None:
    span = slice(60, 96)
    other = shuffled(scarce(), seed=7)
    position = [other.participant_names.index(name) for name in scarce().participant_names]
    one = ao.simulate(scarce(), DNP(per="feeder"), steps=span)
    assert difference(one, ao.simulate(other, DNP(per="feeder"), steps=span), position) < 1e-9
    scaled = ao.simulate(in_other_units(scarce(), 64.0), DNP(per="feeder"), steps=span)
    assert difference(one, scaled, factor=64.0) < 1e-6


def test_each_direction_counts_with_the_answer_of_the_other() -> None:
    """40 kW of exports beside 20 kW of import behind 10 kVA: imports stay cheap, three quarters of the exports fit."""
    case = one_transformer(10, [0.0] * 4, [15.0, 5.0, 0.0, 0.0], [0.0, 0.0, 20.0, 20.0])
    a = ao.simulate(case, DNP(spread=0.0), steps=1).allocation
    np.testing.assert_allclose(a.import_kw[0], [15, 5, 0, 0])
    np.testing.assert_allclose(a.export_kw[0], [0, 0, 15, 15])
    np.testing.assert_allclose(a.import_price, 0.10)


def test_revenue_is_empty_without_prices() -> None:
    assert np.isnan(ao.simulate(scarce(), NoControl(), steps=5).summary["revenue"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"elasticity": -0.3}, "elasticity = -0.3 must be positive"),
        ({"elasticity": 0.0}, "elasticity = 0.0 must be positive"),
        ({"spread": 1.5}, r"spread = 1.5 must be in \[0, 1\]"),
        ({"seed": -1}, "seed = -1 must be a whole number"),
        ({"per": "bus"}, "valid choices: system, feeder"),
        ({"import_price_min": 0.5}, "import price from 0.5 to 0.4"),
        ({"import_price_min": 0.0}, "import_price_min = 0.0, the reference price, must be positive"),
        ({"export_price_max": float("nan")}, "export_price_max = nan must be a number"),
    ],
)
def test_parameters_out_of_range_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ao.InputError, match=said):
        DNP(**options)


def test_prices_are_posted_on_the_forecast_and_answered_with_what_is_wanted() -> None:
    """Half of the requests are expected, so the price stays low; the full requests answer to it and break the limit."""
    case = one_transformer(8.0, 0.0, [[8, 8], [8, 8]], np.zeros((2, 2)))

    def half(case: Case, now: int, stop: int) -> Requests:
        w = case.requests(now, stop)
        return replace(w, import_request_kw=0.5 * w.import_request_kw)

    mechanism = DNP(spread=0.0)
    known = ao.simulate(case, mechanism)
    fooled = ao.simulate(case, mechanism, forecast=half)
    assert known.allocation.import_kw.sum(axis=1) == pytest.approx(8.0, rel=1e-6)
    np.testing.assert_allclose(fooled.allocation.import_kw, 8.0)
    np.testing.assert_allclose(fooled.allocation.import_price, mechanism.import_price_min)
    assert fooled.summary["thermal_violations"] == 2
