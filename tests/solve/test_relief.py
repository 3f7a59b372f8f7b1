"""Levels that relieve what others press on: leximin against brute force, posted prices against a grid."""

from __future__ import annotations

import numpy as np
import pytest
from small import small_case

import amm_opt as ao
from amm_opt.solve.backends.relief import fill_with_relief
from formulations import DNP, AlphaFair, Leximin
from tests.mechanisms.test_envelopes_on_phases import grid_of, random_street
from tests.solve.test_leximin import brute_force


@pytest.mark.parametrize("seed", range(25))
def test_stages_are_leximin(seed: int) -> None:
    """Random limits with slopes of both signs, some tiny; every level is held where brute force holds it."""
    rng = np.random.default_rng(seed)
    size, count = int(rng.integers(3, 9)), int(rng.integers(1, 5))
    rows = rng.normal(0.4, 1.0, (count, size)) * (rng.random((count, size)) < 0.8)
    rows[rng.random((count, size)) < 0.1] *= 0.1
    limit = np.abs(rows).sum(axis=1) * rng.uniform(0.02, 0.4, count)
    upper = np.ones(size)
    found = fill_with_relief(rows[(rows != 0).any(axis=1)], limit[(rows != 0).any(axis=1)], np.zeros(size), upper)
    np.testing.assert_allclose(found, brute_force(rows, limit, upper, np.eye(size)), atol=1e-4)
    assert np.all(rows @ found <= limit + 1e-8)


@pytest.mark.parametrize("phases", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 3, 4])
def test_leximin_on_feeders_with_relief(seed: int, phases: bool) -> None:
    case = random_street(seed, phases)
    grid, requests = grid_of(case), case.requests(0, 1).interval(0)
    lower, upper = grid.limits(requests)
    alone, rows = grid.quantities(requests, 0.0, 0.0), np.concatenate(grid.sensitivity(np.arange(len(lower))), axis=1)
    request = np.concatenate([requests.import_request_kw, requests.export_request_kw])
    asked = request > 1e-6
    matrix, bound = np.concatenate([rows, -rows])[:, asked], np.concatenate([upper - alone, alone - lower])
    finite = np.isfinite(bound)
    share = np.eye(int(asked.sum())) / request[asked][:, None]
    expected = brute_force(matrix[finite], bound[finite], request[asked], share)
    run = ao.simulate(case, Leximin(), steps=1)
    found = np.concatenate([run.allocation.import_kw[0], run.allocation.export_kw[0]])
    np.testing.assert_allclose((found / np.where(asked, request, 1.0))[asked], expected, atol=1e-4)
    assert run.solver in ("water_filling", "-")


def test_what_leximin_gives_up() -> None:
    """One weak customer presses 180 times as hard on a voltage as seven near ones: 27 of 60 kW lift it by 0.15 kW.

    Squared voltage at the far end: 1 - 2 (r P_near + R P_far) / 160 >= 0.81, so r P_near + R P_far <= 15.2.
    """
    far = 15.2 / (56 * 0.15 / 26.95 + 4.0)
    near = far * 0.15 / 26.95
    lines = {"near": ("src", near, 1000.0), "far": ("near", far - near, 1000.0)}
    case = small_case(lines, ["near"] * 7 + ["far"], [0.0] * 8, [8.0] * 8, [0.0] * 8)
    most, fair = (ao.simulate(case, m, steps=1).allocation.import_kw[0] for m in (AlphaFair(alpha=0.0), Leximin()))
    np.testing.assert_allclose(most, [8.0] * 7 + [4.0], atol=0.02)
    np.testing.assert_allclose(fair, 4.15, atol=1e-3)
    assert most.sum() - fair.sum() == pytest.approx(26.8, abs=0.05)
    assert most[:7].sum() - fair[:7].sum() == pytest.approx(26.95, abs=0.05)


@pytest.mark.parametrize("phases", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_no_pair_of_lower_prices_is_hosted(seed: int, phases: bool) -> None:
    """Over a grid of shares of import and export."""
    case = random_street(40 + seed, phases)
    grid, requests = grid_of(case), case.requests(0, 1).interval(0)
    lower, upper = grid.limits(requests)
    run = ao.simulate(case, DNP(spread=0.0, import_price_max=10.0, export_price_min=-10.0), steps=1)
    a = run.allocation
    assert a.import_price is not None
    assert a.export_price is not None
    posted = 1 - 0.5 * (a.import_price[0, 0] / 0.10 - 1), 1 - 0.5 * (1 - a.export_price[0, 0] / 0.08)
    assert run.summary.thermal_violations == run.summary.voltage_violations == 0
    shares = np.linspace(0, 1, 51)
    better = [(i, e) for i in shares for e in shares if min(i - posted[0], e - posted[1]) > 1e-6]
    # also one price alone cannot be lower
    for gap in (1e-3, 1e-2, 0.1):
        better += [(posted[0] + gap, posted[1])] if posted[0] + gap <= 1 and requests.import_request_kw.any() else []
        better += [(posted[0], posted[1] + gap)] if posted[1] + gap <= 1 and requests.export_request_kw.any() else []
    for i, e in better:
        u = grid.quantities(requests, i * requests.import_request_kw, e * requests.export_request_kw)
        assert np.any((u > upper + 1e-6) | (u < lower - 1e-6))
