"""What inflating is worth behind one limit, as docs/gaming.md bounds it, by the formulas of shares there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import one_transformer

import amm_opt as ao
from amm_opt.arrays import FloatArray

PROPORTIONAL = ("pro_rata", "leximin:per=participant", "alpha_fair:alpha=2")
NOTHING = ("equal_doe", "equal_doe:enrolled=requesting", "static", "lifo:seed=1", "alpha_fair:alpha=1,weight=equal")
INTERVALS, PEOPLE = 4, 5
CLOSE_KW = 2e-3


def scarce(seed: int, share: float) -> tuple[ao.Case, FloatArray, float]:
    """Requests of five behind a limit that is a share of the least that they ask for together; (T, n) kW, kW."""
    asked = np.random.default_rng(seed).uniform(1.0, 10.0, (INTERVALS, PEOPLE))
    limit = share * asked.sum(axis=1).min()
    nothing = np.zeros_like(asked)
    return one_transformer(limit, nothing, asked, nothing, connection_import_kw=12.0), asked, limit


def gained(case: ao.Case, spec: str, factor: float, cheats: int) -> tuple[FloatArray, FloatArray]:
    """Mean power of use that each wins, and that it had when honest, kW."""
    told = ao.gaming(case, spec, f"inflate:factor={factor!r}", who=list(case.participant_names[:cheats])).participants
    hours = case.n_steps * case.dt_h
    return told["import_gain_kwh"].to_numpy() / hours, told["import_kwh"].to_numpy() / hours


@pytest.mark.parametrize("spec", PROPORTIONAL)
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 999), share=st.floats(0.2, 0.9), factor=st.floats(1.1, 4.0), cheats=st.integers(1, 3))
def test_what_shares_in_proportion_give(seed: int, share: float, factor: float, cheats: int, spec: str) -> None:
    """Not a bound only: those who cheat win as much as that, and all others lose as much."""
    case, asked, limit = scarce(seed, share)
    won, had = gained(case, spec, factor, cheats)
    served = limit / asked.sum(axis=1, keepdims=True)
    of_all = asked[:, :cheats].sum(axis=1, keepdims=True) / asked.sum(axis=1, keepdims=True)
    times = np.minimum(factor / (1 + (factor - 1) * of_all), 1 / served)
    assert had == pytest.approx((served * asked).mean(axis=0), abs=CLOSE_KW)
    assert won[:cheats] == pytest.approx((served * asked * (times - 1)).mean(axis=0)[:cheats], abs=CLOSE_KW)
    lost = (factor - 1) * of_all / (1 + (factor - 1) * of_all)
    assert won[cheats:] == pytest.approx(-(served * asked * lost).mean(axis=0)[cheats:], abs=CLOSE_KW)


@pytest.mark.parametrize("spec", NOTHING)
@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 999), share=st.floats(0.2, 0.9), factor=st.floats(1.1, 4.0), cheats=st.integers(1, 3))
def test_rules_that_inflating_does_not_move(seed: int, share: float, factor: float, cheats: int, spec: str) -> None:
    """Those who cheat win nothing; what others lose is at most what is declared and not needed."""
    case, asked, _ = scarce(seed, share)
    won, _ = gained(case, spec, factor, cheats)
    assert won[:cheats].max() <= CLOSE_KW
    fixed = spec.startswith(("equal_doe", "static"))
    most = 0.0 if fixed else (factor - 1) * asked[:, :cheats].mean(axis=0).sum()
    assert won[cheats:].sum() >= -most - CLOSE_KW


@pytest.mark.parametrize(("alpha", "times"), [(2.0, 1.2225), (1.0, 1.0)])
def test_equal_weights_grow_with_a_power_of_what_is_asked_for(alpha: float, times: float) -> None:
    """One of 1 kW beside 40 of 10 kW, 84 kW for all: shares in proportion to roots of requests where alpha is 2.

    84 sqrt(1.5) / (40 sqrt(10) + sqrt(1.5)) = 0.8055 kW in place of 84 / (40 sqrt(10) + 1) = 0.6589 kW; the bound is
    sqrt(1.5) = 1.2247 times. With alpha = 1 it is served in full either way, as 84 / 41 kW are more than it needs.
    """
    case = one_transformer(84.0, [0.0] * 41, [1.0] + [10.0] * 40, [0.0] * 41)
    won, had = gained(case, f"alpha_fair:alpha={alpha:g},weight=equal", 1.5, 1)
    assert had[0] == pytest.approx(0.6589 if alpha == 2 else 1.0, abs=2e-4)
    assert 1 + won[0] / had[0] == pytest.approx(times, abs=5e-4)
