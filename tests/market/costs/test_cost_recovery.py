"""Pots, shares and bills: by hand, and every cent of every interval accounted for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from wholesale import system

import amm_opt as ao
from amm_opt.market.cost_recovery.cents import in_cents, over_time, split
from amm_opt.study.cli import main

PLANTS = pd.DataFrame(
    {
        "participant": ["w", "g", "b"],
        "technology": ["wind", "gas", "battery"],
        "kw": [100.0, 50.0, 10.0],
        "fuel_cost": [0.0, 6.0, 0.0],
        "operating": [3.0, 1.5, 0.5],
        "capital": [10.0, 6.0, 2.0],
    }
)
FUEL = [[0.0, 4.0, 0.0], [0.0, 2.0, 1.0]]
RESERVE = [[0.0, 0.5, 0.0], [0.0, 0.25, 0.25]]
VALUE = [[5.0, 3.0, 1.0], [7.0, -2.0, 4.0]]


def test_by_hand() -> None:
    """Wind gets its own 13. The rest's 2 and 8 are halved: in the first interval 3 to 1, then the battery has all."""
    found = ao.recover_costs(PLANTS, FUEL, RESERVE, VALUE)
    assert found.cents["operating"].tolist() == [[150, 75, 25], [150, 0, 100]]
    assert found.cents["capital"].tolist() == [[500, 300, 100], [500, 0, 400]]
    assert found.pots.tolist() == [7.0, 1.0, 5.0, 18.0, 0.0]
    assert found.intervals["charged"].tolist() == [16.0, 15.0]
    paid = found.participants.set_index("participant")
    assert paid["revenue"].tolist() == [13.0, 10.5, 7.5]
    assert paid["cost"].tolist() == [13.0, 13.5, 2.5]
    assert paid["net_revenue"].tolist() == [10.0, 3.0, 7.0]
    assert paid["recovers"].tolist() == [True, False, True]
    assert found.technologies.loc["gas", "adequacy"] == pytest.approx(10.5 / 13.5)
    m = found.metrics
    assert (m["plants"], m["recover"], m["negative"]) == (3, 2, 0)
    assert m["adequacy"] == pytest.approx(31 / 29)
    assert m["hhi"] == pytest.approx(1e4 * (13**2 + 10.5**2 + 7.5**2) / 31**2)
    assert m["gini"] == pytest.approx((0.04 + 0.6 + 0.64) * 2 / (2 * 9 * 0.86 / 3))  # of 0.1, 0.06 and 0.7


def test_weights_by_value_and_nobody_keeps_its_own() -> None:
    """Intervals weigh 9 and 11: 23 of operating and capital make 10.35 and 12.65."""
    plants = PLANTS.assign(operating=[3.0, 1.5, 0.5])
    found = ao.recover_costs(plants, FUEL, RESERVE, VALUE, own=(), weights="value")
    both = found.cents["operating"] + found.cents["capital"]
    np.testing.assert_allclose(both.sum(axis=1), [1035, 1265], atol=1)
    assert both.sum() == 2300
    np.testing.assert_allclose(both[1], [1265 * 7 / 11, 0, 1265 * 4 / 11], atol=2)


def test_delta_pot_by_hand() -> None:
    """Fuel 7, reserve 1, wind's own 13: of a benchmark of 30 there is 9 left to share; of one of 20 nothing."""
    found = ao.recover_costs(PLANTS, FUEL, RESERVE, VALUE, benchmark=30.0)
    assert found.cents["delta"].tolist() == [[0, 338, 112], [0, 0, 450]]
    assert found.pots.sum() == 30.0
    assert found.cents["capital"][:, 1:].sum() == 0
    assert ao.recover_costs(PLANTS, FUEL, RESERVE, VALUE, benchmark=20.0).pots["delta"] == 0.0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 30))
def test_every_cent_of_every_interval_is_accounted_for(seed: int, n: int, steps: int) -> None:
    """Payments are those of the pots to the cent, settled money within a cent an interval, half a cent over all."""
    rng = np.random.default_rng(seed)
    fuel = rng.normal(10.0, 30.0, (steps, n)) * 10.0 ** rng.integers(-2, 4)
    total = over_time(fuel.sum(axis=1))
    cents = in_cents(fuel, total)
    np.testing.assert_array_equal(cents.sum(axis=1), total)
    assert np.abs(cents - 100 * fuel).max() <= 2 + 1e-6
    assert abs(total.sum() - 100 * fuel.sum()) <= 0.5 + 1e-4
    weights = rng.random((steps, n)) * (rng.random((steps, n)) < 0.7)
    weights[:, 0] += 1e-3
    shared = split(total, weights)
    np.testing.assert_array_equal(shared.sum(axis=1), total)
    assert np.all(np.abs(shared - total[:, None] * weights / weights.sum(axis=1, keepdims=True)) < 1 + 1e-5)


def test_products_by_hand() -> None:
    """Fuel 7, the rest 24; households 2 and 1 of weights 1 and 2 use alike: fuel 2 to 1, the rest 2 to 2."""
    found = ao.recover_costs(PLANTS, FUEL, RESERVE, VALUE)
    products = [ao.Product("P1", 2, 1.0), ao.Product("P2", 1, 2.0)]
    bills = ao.subscriptions(found, products)
    assert bills["fuel"].tolist() == [4.67, 2.33]
    assert bills["non_fuel"].tolist() == [12.0, 12.0]
    assert bills["bill"].sum() == 31.0
    assert bills["subscription"].tolist() == [0.69, 1.19]  # 16.67 / 24 and 14.33 / 12
    np.testing.assert_allclose(bills["rounding"], [16.67 - 16.56, 14.33 - 14.28])
    half = ao.subscriptions(found, [ao.Product("x", 1, controllable=0.0), ao.Product("y", 1)], residential=0.5)
    assert half["bill"].tolist() == [0.0, 15.5]


@pytest.fixture(scope="module")
def case() -> ao.Case:
    """Wind and gas at one end of a line, gas and a battery at the other, where the load is."""
    battery = {"battery_kwh": 100e3, "battery_kw": 20e3, "battery_efficiency": 0.95, "battery_initial": 0.5}
    costs = {
        "wind": {"capital_per_kw": 1900.0, "fixed_cost_per_kw_year": 50.0, "payback_years": 20.0},
        "gas": {"capital_per_kw": 850.0, "fixed_cost_per_kw_year": 20.0, "payback_years": 15.0},
        "battery": {"capital_per_kw": 700.0, "fixed_cost_per_kw_year": 17.5, "payback_years": 15.0},
    }
    kinds = {"wind": ("a", "wind", 0.0), "far": ("a", "gas", 0.08), "near": ("b", "gas", 0.09)}
    people: list[dict[str, Any]] = [{"name": "load", "bus": "b"}]
    people += [
        {"name": name, "bus": bus, "technology": kind, "export_offer": offer, **costs[kind]}
        for name, (bus, kind, offer) in kinds.items()
    ]
    people.append(
        {"name": "store", "bus": "b", "technology": "battery", "export_offer": 0.02, **costs["battery"], **battery}
    )
    series = [("load", "import", "load", 80e3), ("wind", "export", "wind", 60e3)]
    series += [("far", "export", "flat", 50e3), ("near", "export", "flat", 30e3)]
    load, wind = [0.5, 0.7, 1.0, 0.9], [1.0, 0.2, 0.0, 0.5]
    lines = [("line", "a", "b")]
    profiles = {"load": load, "wind": wind, "flat": [1.0] * 4}
    return system(lines, [10.0], [60e3], people, series, profiles)


def test_of_a_run_and_on_the_command_line(case: ao.Case, tmp_path: Path) -> None:
    """Where there is no wind, each end alone serves 50 and both the load of 80 MW: 40 each, at home 24 to 16."""
    spec = "dispatch:source_price=none,window=all,committed=all"
    runs = {name: ao.simulate(case, spec.replace("dispatch", name), network="dc") for name in ("dispatch", "lmp_ahead")}
    worth = ao.generator_worth(case, 0, 4)
    order = dict(zip(worth.generators, worth.value[2], strict=True))
    assert [order[name] for name in ("far", "near", "store")] == pytest.approx([40e3, 24e3, 16e3])
    found = ao.cost_recovery(runs["dispatch"], worth=worth)
    settled = runs["dispatch"].settlement()
    np.testing.assert_allclose(
        found.intervals["fuel"] + found.intervals["reserve"], settled.intervals["paid"], atol=0.011
    )
    due = 4 * 0.5 / 8760 * np.array([60e3 * (1900 / 20 + 50), 80e3 * (850 / 15 + 20) + 20e3 * (700 / 15 + 17.5)])
    paid = found.technologies[["operating", "capital"]].sum(axis=1)
    np.testing.assert_allclose([paid["wind"], paid["gas"] + paid["battery"]], due, atol=0.01)
    wind = found.participants.set_index("participant").loc["wind"]
    assert wind["adequacy"] == pytest.approx(1.0, abs=1e-4)
    assert wind["payback_years"] == pytest.approx(20.0, rel=1e-3)
    delta = ao.cost_recovery(runs["dispatch"], worth=worth, benchmark=runs["lmp_ahead"], own=())
    lmp = runs["lmp_ahead"].settlement().participants
    theirs = (lmp["earned"] + lmp["discharging"] - lmp["charging"] + lmp["reserve"]).sum()
    assert delta.pots.sum() == pytest.approx(theirs, abs=0.02)
    runs["dispatch"].save(tmp_path / "run")
    done = CliRunner().invoke(main, ["recover", str(tmp_path / "run"), "--csv", str(tmp_path / "p.csv")])
    assert done.exit_code == 0, done.output
    assert "Gini" in done.output
    assert pd.read_csv(tmp_path / "p.csv")["revenue"].sum() == pytest.approx(found.pots.sum())
    told = json.loads(CliRunner().invoke(main, ["recover", str(tmp_path / "run"), "--json"]).output)
    assert told["pots"] == pytest.approx(found.pots.to_dict())
    nothing = CliRunner().invoke(main, ["recover", str(tmp_path / "run"), "--every", "0"])
    assert nothing.exit_code == 2


def test_bad_input_is_named(case: ao.Case, tmp_path: Path) -> None:
    with pytest.raises(ao.InputError) as error:
        ao.recover_costs(PLANTS.assign(capital=-1.0), FUEL, RESERVE, [[1.0]], weights="x", years=0.0)
    for said in ("capital of w, g, b must be a number", "value has shape (1, 1)", "weights = 'x'", "years = 0.0"):
        assert said in str(error.value)
    with pytest.raises(ao.InputError, match="nobody who shares the operating pot adds anything"):
        ao.recover_costs(PLANTS, FUEL, RESERVE, np.zeros((2, 3)))
    with pytest.raises(ao.InputError, match="missing columns capital"):
        ao.recover_costs(PLANTS.drop(columns="capital"), FUEL, RESERVE, VALUE)
    found = ao.recover_costs(PLANTS, FUEL, RESERVE, VALUE)
    with pytest.raises(ao.InputError, match=r"residential = 2 must be within 0\.\.1"):
        ao.subscriptions(found, residential=2)
    with pytest.raises(ao.InputError, match="households = 0 must be above 0"):
        ao.Product("P", 0)
    plain = ao.simulate("pjm5", "lmp:source_price=none", steps=2)
    plain.save(tmp_path / "run")
    free = CliRunner().invoke(main, ["recover", str(tmp_path / "run")])
    assert free.exit_code == 2
    assert "no participant has a capital_per_kw" in " ".join(free.output.split())
