"""Prices up to a cap: by hand, powers as without it, and money that still adds up."""

import numpy as np
import pandas as pd
import pytest
from wholesale import BATTERY, random_system, system

import amm_opt as ao
from formulations import LMP, LMPAhead

HALF_HOURS = 2 * 0.5
"""Two intervals of half an hour."""


def short_of_power() -> ao.Case:
    """100 kW of load behind a line of 30 to the wind, with 40 kW of gas at 0.09: 30 kW are shed, at a worth of 10."""
    people = [
        {"name": "load", "bus": "near", "import_value": 10.0, "export_offer": np.nan},
        {"name": "wind", "bus": "far", "import_value": np.nan, "export_offer": 0.01},
        {"name": "gas", "bus": "near", "import_value": np.nan, "export_offer": 0.09},
    ]
    series = [("load", "import", "flat", 100e3), ("wind", "export", "flat", 80e3), ("gas", "export", "flat", 40e3)]
    return system([("line", "near", "far")], 10.0, 30e3, people, series, {"flat": np.ones(2)})


def money(case: ao.Case, spec: str) -> tuple[ao.Run, pd.DataFrame, pd.Series]:
    run = ao.simulate(case, spec, network="dc")
    settled = run.settlement()
    return run, settled.participants.set_index("participant"), settled.operator


@pytest.mark.parametrize("spec", ["lmp:source_price=none", "lmp_ahead:source_price=none,reserve=0"])
def test_a_cap_by_hand(spec: str) -> None:
    """At the cap of 6 load pays 70 MW x 6, gas earns 40 x 6, wind its own 0.01; its line's rent is 30 x 5.99."""
    case = short_of_power()
    plain, _, before = money(case, spec)
    run, people, operator = money(case, f"{spec},price_cap=6")
    np.testing.assert_allclose(run.allocation.both_kw, plain.allocation.both_kw, atol=1e-6)
    np.testing.assert_allclose(plain.allocation.import_price[:, 0], 10.0, rtol=1e-5)
    np.testing.assert_allclose(run.allocation.import_price[:, 0], 6.0)
    assert people["paid"]["load"] == pytest.approx(70e3 * 6 * HALF_HOURS, rel=1e-5)
    assert people["earned"]["gas"] == pytest.approx(40e3 * 6 * HALF_HOURS, rel=1e-5)
    assert people["earned"]["wind"] == pytest.approx(30e3 * 0.01 * HALF_HOURS, rel=1e-4)
    assert operator["residual"] == pytest.approx(30e3 * 5.99 * HALF_HOURS, rel=1e-5)
    assert before["residual"] == pytest.approx(30e3 * 9.99 * HALF_HOURS, rel=1e-5)
    assert operator["uplift"] == pytest.approx(0.0, abs=1.0)


@pytest.mark.parametrize("spec", ["lmp:source_price=none", "lmp_ahead:source_price=none,reserve=0"])
def test_what_a_cap_below_an_offer_leaves_uncovered_is_told(spec: str) -> None:
    """At a cap of 0.05 gas earns 0.05 for what it offers at 0.09: 40 MW x 0.04 are missing; wind misses nothing."""
    _, people, operator = money(short_of_power(), f"{spec},price_cap=0.05")
    assert people["uplift"]["gas"] == pytest.approx(40e3 * 0.04 * HALF_HOURS, rel=1e-5)
    assert people["uplift"].drop("gas").abs().max() < 1.0
    assert operator["uplift"] == pytest.approx(people["uplift"].sum())
    assert operator["residual"] == pytest.approx(people["bill"].sum(), abs=1e-6)


def test_rising_offers_count_in_uplift() -> None:
    """Gas asks 0.02 + 1e-6 per kW: 50 MW cost 50 x 0.02 + 50^2 x 1e-3 / 2 = 2.25 per hour (in thousands)."""
    people = [
        {"name": "load", "bus": "a", "export_offer": np.nan, "export_offer_slope": 0.0},
        {"name": "gas", "bus": "a", "export_offer": 0.02, "export_offer_slope": 1e-6},
    ]
    series = [("load", "import", "flat", 50e3), ("gas", "export", "flat", 90e3)]
    case = system([("line", "a", "b")], 10.0, 30e3, people, series, {"flat": np.ones(2)})
    assert money(case, "lmp:source_price=none")[2]["uplift"] == pytest.approx(0.0, abs=1e-3)
    told = money(case, "lmp:source_price=none,price_cap=0.03")[1]["uplift"]["gas"]
    assert told == pytest.approx((2250 - 50e3 * 0.03) * HALF_HOURS, rel=1e-4)


def test_money_under_a_cap_is_money_without_it_less_what_the_cap_takes() -> None:
    """With batteries and reserve: what load saves and what plants lose, kWh by kWh, is what the operator loses."""
    case = random_system(5, load=1.6)
    spec = "lmp_ahead:source_price=none,window=all,committed=all"
    plain, _, before = money(case, spec)
    run, people, operator = money(case, f"{spec},price_cap=0.08")
    free = plain.allocation
    above = np.maximum(np.asarray(free.export_price) - 0.08, 0.0)  # energy only: load's price has reserve on top
    drawn = free.import_kw - free.export_kw - np.asarray(free.battery_kw)
    assert above.max() > 1.0
    lost = (above * drawn).sum() * case.dt_h
    assert operator["residual"] == pytest.approx(before["residual"] - lost, rel=1e-9, abs=1e-6)
    assert operator["reserve"] == pytest.approx(before["reserve"])
    assert people["bill"].sum() == pytest.approx(operator["residual"], abs=1e-6)
    assert np.asarray(run.allocation.export_price).max() <= 0.08


def test_dispatch_and_distribution_mechanisms_have_no_uplift() -> None:
    people = [
        {"name": "load", "bus": "a", "export_offer": np.nan, "battery_kwh": 0.0, "battery_kw": 0.0},
        {"name": "gas", "bus": "a", "export_offer": 0.09, "battery_kwh": 0.0, "battery_kw": 0.0},
        {"name": "store", "bus": "a", "export_offer": 0.03, **BATTERY},
    ]
    series = [("load", "import", "flat", 20e3), ("gas", "export", "flat", 40e3)]
    case = system([("line", "a", "b")], 10.0, 30e3, people, series, {"flat": np.ones(2)})
    assert money(case, "dispatch:source_price=none")[2]["uplift"] == pytest.approx(0.0, abs=1e-6)
    assert money(case, "amm")[2]["uplift"] == 0.0


@pytest.mark.parametrize("mechanism", [LMP, LMPAhead])
def test_a_cap_must_be_a_positive_number(mechanism: type) -> None:
    for cap in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ao.InputError, match="price_cap = "):
            mechanism(price_cap=cap)
