"""Metrics by hand and against their closed forms."""

import math

import numpy as np
import pytest

import amm_opt as ao
from amm_opt.market import metrics as m


def test_gini_by_hand() -> None:
    """1, 2, 3, 4: sum of |differences| 20, over 2 16 2.5; one has all: 3/4; -2 and 4: 12 over 2 4 1, above 1."""
    assert m.gini([4, 1, 3, 2]) == pytest.approx(20 / 80)
    assert m.gini([0, 0, 0, 7]) == pytest.approx(0.75)
    assert m.gini([5, 5, 5]) == pytest.approx(0.0)
    assert m.gini([-2, 4]) == pytest.approx(12 / (2 * 4 * 1))
    assert np.isnan(m.gini([-2, 2]))
    assert np.isnan(m.gini([]))


def test_closed_forms_for_a_uniform_and_a_lognormal_income() -> None:
    """Uniform on 0..1: Gini 1/3, Atkinson 1/2: 1 - (2/3)^2 2 = 1/9, Atkinson 1: 1 - 2/e, Theil ln 2 - 1/2.

    Lognormal, sigma: Theil sigma^2 / 2, Atkinson at epsilon 1 - exp(-epsilon sigma^2 / 2) (J. Aitchison and J. A. C.
    Brown, "The Lognormal Distribution", 1957), Gini 2 Phi(sigma / sqrt 2) - 1 = erf(sigma / 2).
    """
    x = (np.arange(200_000) + 0.5) / 200_000
    assert m.gini(x) == pytest.approx(1 / 3, abs=1e-4)
    assert m.atkinson(x, 0.5) == pytest.approx(1 / 9, abs=1e-4)
    assert m.atkinson(x, 1.0) == pytest.approx(1 - 2 / math.e, abs=1e-4)
    assert m.theil(x) == pytest.approx(math.log(2) - 0.5, abs=1e-4)
    sigma = 0.6
    income = np.exp(sigma * np.sqrt(2) * np.array([_erfinv(2 * u - 1) for u in x[::20]]))
    assert m.theil(income) == pytest.approx(sigma**2 / 2, rel=5e-3)
    assert m.atkinson(income, 0.5) == pytest.approx(1 - math.exp(-0.25 * sigma**2), rel=5e-3)
    assert m.atkinson(income, 1.0) == pytest.approx(1 - math.exp(-0.5 * sigma**2), rel=5e-3)
    assert m.gini(income) == pytest.approx(math.erf(sigma / 2), rel=5e-3)


def _erfinv(y: float) -> float:
    """By bisection."""
    low, high = -5.0, 5.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if math.erf(middle) < y else (low, middle)
    return low


def test_by_hand_with_two_incomes() -> None:
    """1 and 3: Atkinson 1/2: 1 - ((1 + sqrt 3)/2)^2 / 2; at 1: 1 - sqrt 3 / 2; Theil (ln(1/2) + 3 ln(3/2)) / 4."""
    assert m.atkinson([1, 3], 0.5) == pytest.approx(1 - ((1 + math.sqrt(3)) / 2) ** 2 / 2)
    assert m.atkinson([1, 3], 1.0) == pytest.approx(1 - math.sqrt(3) / 2)
    assert m.theil([1, 3]) == pytest.approx((math.log(0.5) + 3 * math.log(1.5)) / 4)
    assert m.theil([0, 2]) == pytest.approx(math.log(2))
    assert m.atkinson([0, 2], 1.0) == 1.0
    for index in (m.theil, m.atkinson):
        assert np.isnan(index([-1, 3]))
        assert np.isnan(index([0, 0]))
    with pytest.raises(ao.InputError, match="epsilon = 0 must be above 0"):
        m.atkinson([1, 2], 0)
    with pytest.raises(ao.InputError, match="incomes must be finite"):
        m.gini([1.0, np.inf])


def test_recovery_and_concentration_by_hand() -> None:
    np.testing.assert_allclose(m.revenue_adequacy([5, 2, 1], [4, 4, 0]), [1.25, 0.5, np.nan])
    assert m.recovered([4.0, 3.996, 3.99], [4, 4, 4]).tolist() == [True, True, False]
    np.testing.assert_allclose(m.payback_years([100, 100, 0], [20, -1, 5]), [5, np.inf, np.nan])
    assert m.hhi([3, 1]) == pytest.approx(6250)
    assert m.hhi([2] * 8) == pytest.approx(1250)
    assert m.concentration_ratio([1, 2, 3, 4, 5, 5], 4) == pytest.approx(17 / 20)
    assert m.concentration_ratio([1, 1], 10) == pytest.approx(1.0)
    assert np.isnan(m.hhi([1, -1]))


def test_tightness_and_volatility_by_hand() -> None:
    """50 kW against 20 behind 60 kW of lines: a half; an island; 30 of 80 kW came in while it was tight."""
    tight = m.node_tightness([[50.0, 10.0, 5.0]], [[20.0, 30.0, 0.0]], [60.0, 60.0, 0.0])
    np.testing.assert_allclose(tight, [[0.5, 0.0, np.inf]])
    assert m.scarce([0.0, 1e-6, 2e-6]).tolist() == [False, False, True]
    imported, served = [[30.0], [-5.0], [10.0]], [[50.0], [30.0], [40.0]]
    np.testing.assert_allclose(m.import_share(imported, served, [[True], [True], [False]]), [30 / 80])
    assert np.isnan(m.import_share(imported, served, [[False]] * 3)).all()
    told = m.price_volatility([1.0, 3.0, np.nan, 5.0])
    assert told["mean"] == 3.0
    assert told["deviation"] == pytest.approx(math.sqrt(8 / 3))
    assert told["variation"] == pytest.approx(math.sqrt(8 / 3) / 3)
    assert told[["lowest", "highest", "step"]].tolist() == [1.0, 5.0, 2.0]
    assert m.price_volatility([]).isna().all()
