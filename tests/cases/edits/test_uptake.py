"""Uptake: how many own what, that draws are nested and nobody else's, what is replaced, and what sun and cold are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import amm_opt as ao
from amm_opt.cases.synthetic.generators import clear_sky, heat_pump_profile
from amm_opt.testing.cases import in_other_order, small_case, small_tables

TECHNOLOGIES = ("ev", "pv", "battery", "heat_pump")
CUSTOMERS = [f"p{i}" for i in range(9)]
"""Of the small case those at low voltage; p9 is not."""


def owned(case: ao.Case, technology: str) -> pd.DataFrame:
    """Rows of a table that say who has it and what, in order of the names."""
    tables = case.tables()
    people, series = tables["participants"], tables["series"]
    rows = {
        "ev": tables["sessions"],
        "pv": series[series["quantity"].eq("export") & series["participant"].ne("p9")],
        "battery": people[people["battery_kwh"] > 0].rename(columns={"name": "participant"}),
        "heat_pump": series[series["profile"].eq("drawn heat pump")],
    }[technology]
    columns = {"battery": ["participant", "battery_kwh", "battery_kw"]}.get(technology, list(rows.columns))
    return rows[columns].sort_values(["participant", *columns[1:2]], ignore_index=True)


def owners(case: ao.Case, technology: str) -> set[str]:
    return set(owned(case, technology)["participant"])


@pytest.mark.parametrize("balanced", [True, False], ids=["balanced", "phases"])
def test_as_many_as_the_share_says(balanced: bool) -> None:
    case = small_case(balanced).with_uptake(ev=1 / 3, pv=1.0, battery=0.5, heat_pump=0.0)
    # thirds of nine are three, and halves are rounded up
    assert [len(owners(case, t)) for t in TECHNOLOGIES] == [3, 9, 5, 0]
    assert set().union(*(owners(case, t) for t in TECHNOLOGIES)) == set(CUSTOMERS)
    assert case.owns("import").sum() >= 3
    size, power = case.batteries.size_kwh, case.batteries.power_kw
    assert ((size >= 5) & (size <= 15)).all()
    np.testing.assert_allclose(power, size / 2)
    roofs = owned(case, "pv")["scale_kw"]
    assert 3.0 <= roofs.min() < roofs.max() <= 8.0


@settings(max_examples=6, deadline=None)
@given(
    st.sampled_from(TECHNOLOGIES), st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**32 - 1), st.sampled_from([0, 1])
)
def test_higher_uptake_keeps_the_lower_one(technology: str, a: float, b: float, seed: int, balanced: int) -> None:
    """With sizes, sessions and profiles; also where another technology is taken up as well, in any order of people."""
    low, high = (
        small_case(bool(balanced)).with_uptake(**{technology: share}, seed=seed)  # type: ignore[arg-type]
        for share in sorted((a, b))
    )
    assert owners(low, technology) <= owners(high, technology)
    kept = owned(high, technology)
    kept = kept[kept["participant"].isin(owners(low, technology))].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, owned(low, technology), check_dtype=False)
    shuffled = ao.from_tables(**in_other_order(small_tables(bool(balanced)), seed % 1000))
    rest: dict[str, Any] = {t: 0.7 for t in TECHNOLOGIES if t != technology}
    other = shuffled.with_uptake(**{technology: max(a, b)}, **rest, seed=seed)  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(owned(other, technology), owned(high, technology), check_dtype=False)
    drawn = [name for name in high.profiles.columns if name.startswith("drawn")]
    both = (case.tables()["profiles"][drawn] for case in (high, other))
    pd.testing.assert_frame_equal(*both)


def test_raising_twice_is_raising_once() -> None:
    case = small_case(False)
    steps = case.with_uptake(ev=0.3, pv=0.2).with_uptake(pv=0.6).with_uptake(ev=0.8)
    once = case.with_uptake(ev=0.8, pv=0.6)
    for technology in ("ev", "pv"):
        pd.testing.assert_frame_equal(owned(steps, technology), owned(once, technology))
    np.testing.assert_allclose(*(c.requests(0, 16).import_request_kw for c in (steps, once)))
    assert owners(case.with_uptake(ev=0.5, seed=1), "ev") != owners(case.with_uptake(ev=0.5, seed=2), "ev")


def test_batteries_go_to_those_with_roofs() -> None:
    case = small_case(True)
    for seed in range(5):
        both = case.with_uptake(pv=0.6, battery=0.4, seed=seed)
        assert owners(both, "battery") < owners(both, "pv")


def test_what_is_replaced_and_what_stays() -> None:
    case = small_case(True)
    before = case.tables()
    none = case.with_uptake(pv=0.0)
    assert not owners(none, "pv")
    left = none.tables()["series"]
    pd.testing.assert_frame_equal(left, before["series"].query("quantity != 'export'").reset_index(drop=True))
    # requests of other devices stay beside a heat pump, and a plant on the upper tier beside roofs
    plant = pd.DataFrame({"participant": ["p9"], "quantity": "export", "profile": "noon", "scale_kw": 30.0})
    series = pd.concat([before["series"], plant.assign(shift_steps=0)], ignore_index=True)
    mixed = case.with_tables(series=series).with_uptake(pv=0.5, heat_pump=1.0, latitude_deg=50.0)
    r, flat = mixed.requests(0, 16), case.requests(0, 16)
    np.testing.assert_allclose(r.export_request_kw[:, 9], 30 * case.tables()["profiles"]["noon"], rtol=1e-6)
    np.testing.assert_array_equal(r.inflexible_kw, flat.inflexible_kw)
    assert (r.import_request_kw >= flat.import_request_kw - 1e-9).all()
    pumps = owned(mixed, "heat_pump").set_index("participant")["scale_kw"]
    shape = mixed.tables()["profiles"]["drawn heat pump"].to_numpy(float)
    np.testing.assert_allclose(r.import_request_kw - flat.import_request_kw, np.outer(shape, [*pumps[CUSTOMERS], 0]))
    assert not owners(mixed.with_uptake(heat_pump=0.0), "heat_pump")


def test_connections_grow_as_far_as_needed() -> None:
    limit = np.array([4.0] * 9 + [8.0])
    people = small_tables(True)["participants"].assign(connection_import_kw=limit, connection_export_kw=0.0)
    series = small_tables(True)["series"].query("quantity == 'inflexible'")
    case = ao.from_tables(**{**small_tables(True), "participants": people, "series": series})
    more = case.with_uptake(ev=1.0, pv=0.4)
    r = more.requests(0, 16)
    used = np.maximum((r.import_request_kw + r.inflexible_kw).max(axis=0), limit)
    np.testing.assert_allclose(more.connection_kw("import"), used, atol=1e-3)
    sun = np.maximum((r.export_request_kw - r.inflexible_kw).max(axis=0), 0.0)
    np.testing.assert_allclose(more.connection_kw("export"), sun, atol=1e-3)
    assert (sun > 0).sum() == 4
    assert 1 <= (more.connection_kw("import") > limit).sum() < 9
    less = more.with_uptake(ev=0.0)
    np.testing.assert_array_equal(less.connection_kw("import"), more.connection_kw("import"))
    doubled = case.with_scenario(import_scale=2.0, export_scale=0.5).with_uptake(ev=1.0, pv=0.4)
    doubled.requests(0, 16)


def quarter_hours(days: int, start: str = "2030-01-07 17:00") -> ao.Case:
    """Sixty homes at one bus that draw nothing, from one afternoon on."""
    names = [f"h{i}" for i in range(60)]
    buses = pd.DataFrame({"name": ["src", "end"], "vn_kv": 0.4, "v_min_pu": 0.9, "v_max_pu": 1.1})
    line = {"name": "line", "from_bus": "src", "to_bus": "end", "r_ohm": 0.01, "x_ohm": 0.01, "rating_kva": 400.0}
    times = pd.date_range(start, periods=96 * days, freq="15min")
    return ao.from_tables(
        name="street",
        buses=buses.assign(v_source_pu=[1.0, np.nan]),
        branches=pd.DataFrame([line]),
        participants=pd.DataFrame({"name": names, "bus": "end"}),
        profiles=pd.DataFrame({"none": 0.0}, index=times),
        series=pd.DataFrame({"participant": names, "quantity": "inflexible", "profile": "none", "scale_kw": 1.0}),
    )


def test_habits_of_vehicles() -> None:
    """Three evenings of four, from 13:00 to 22:00, half of them at 22:00; nine hours; 8.8 kWh at 7.4 kW."""
    case = quarter_hours(41).with_uptake(ev=1.0)
    cars = case.tables()["sessions"]
    hour = cars["arrival"].dt.hour + cars["arrival"].dt.minute / 60
    assert cars["arrival"].min() >= case.times[0]
    assert cars["arrival"].max() < case.times[-1] + pd.Timedelta("15min")
    whole = cars[(cars["arrival"] >= "2030-01-08") & (cars["arrival"] < "2030-02-17")]
    assert len(whole) == pytest.approx(0.75 * 60 * 40, rel=0.04)
    assert (hour.min() >= 13.0, hour.max()) == (True, 22.0)
    # of the others 3 % come that late by themselves: normal around 18:30 with 1:45, from 21:45 on
    assert (hour == 22.0).mean() == pytest.approx(0.5 + 0.5 * 0.032, abs=0.04)
    assert (cars["departure"] - cars["arrival"]).eq(pd.Timedelta("9h")).all()
    assert set(cars["power_kw"]) == {7.4}
    assert cars["energy_kwh"].mean() == pytest.approx(8.8, rel=0.04)
    assert cars["energy_kwh"].between(2.0, 30.0).all()


def test_the_sun_is_per_unit_of_the_year() -> None:
    """Noon elevations at 33.9 S: 90 - (33.9 - 23.45) in December, 90 - (33.9 + 23.45) in June; power 1.15 of sines."""
    for day, elevation in (("2030-12-22", 79.55), ("2030-06-21", 32.65)):
        sky = clear_sky(pd.date_range(day, periods=96, freq="15min"), -33.9)
        want = (np.sin(np.radians(elevation)) / np.sin(np.radians(79.55))) ** 1.15
        assert sky.max() == pytest.approx(want, rel=0.004)
    equinox = clear_sky(pd.date_range("2030-03-22", periods=24, freq="1h") - pd.Timedelta("30min"), 0.0)
    assert equinox[10] / equinox[12] == pytest.approx(np.cos(np.radians(30)) ** 1.15, rel=1e-3)
    june = quarter_hours(2, "2030-06-21 00:00").with_uptake(pv=1.0)
    assert 0.1 < june.tables()["profiles"]["drawn pv"].max() < 0.51


def test_heat_pumps_follow_the_cold() -> None:
    """15 January, 7:00, at 50 N: 12 - 8 - 2 = 2 degrees; 14 of 16 degrees below 16. In July it is 18 then: nothing."""
    times = pd.date_range("2030-01-15 06:52:30", periods=2, freq="15min")
    drawn = [heat_pump_profile(times, 50.0, np.random.default_rng(seed))[0] for seed in range(150)]
    assert np.mean(drawn) == pytest.approx(14 / 16, abs=0.03)
    july = pd.date_range("2030-07-16 06:52:30", periods=2, freq="15min")
    assert np.mean([heat_pump_profile(july, 50.0, np.random.default_rng(seed))[0] for seed in range(150)]) < 0.02
    south = [heat_pump_profile(july, -50.0, np.random.default_rng(seed))[0] for seed in range(150)]
    assert np.mean(south) == pytest.approx(14 / 16, abs=0.03)


@pytest.mark.parametrize("balanced", [True, False], ids=["balanced", "phases"])
def test_it_runs_and_is_stored(balanced: bool, tmp_path: Path) -> None:
    case = small_case(balanced).with_uptake(ev=0.6, pv=0.6, battery=0.3, heat_pump=0.5, seed=4)
    assert case.name == "small"
    loaded = ao.load_case(ao.save_case(case, tmp_path / "case"))
    assert loaded.fingerprint == case.fingerprint == case.with_tables().fingerprint
    run = ao.simulate(case, "amm", defer=True)
    assert run.summary["failed_steps"] == run.summary["thermal_violations"] == run.summary["voltage_violations"] == 0
    assert small_case(balanced).profiles.sessions.empty


def test_who_only_draws_reactive_power_gets_nothing() -> None:
    tables = small_tables(True)
    people = tables["participants"].assign(inflexible_kvar=[0.0] * 8 + [2.0, 0.0])
    series = tables["series"].query("participant != 'p8'")
    case = ao.from_tables(**{**tables, "participants": people, "series": series}).with_uptake(ev=1.0)
    assert owners(case, "ev") == set(CUSTOMERS) - {"p8"}


def test_shares_that_are_none() -> None:
    case = small_case(True)
    with pytest.raises(ao.InputError) as caught:
        case.with_uptake(ev=40, pv=-0.1, battery="all", heat_pump=np.nan, seed=-1, latitude_deg=91)  # type: ignore[arg-type]
    assert len(caught.value.problems) == 6
    assert caught.value.problems[0] == "ev = 40 must be a share of customers within 0 to 1: is it in %?"
    with pytest.raises(ao.InputError, match="nothing is given; there are ev, pv, battery, heat_pump"):
        case.with_uptake()
    with pytest.raises(TypeError):
        case.with_uptake(cars=0.5)  # type: ignore[call-arg]
    upper = small_tables(True)["buses"].assign(tier="MV")
    with pytest.raises(ao.InputError, match="no participant is at low voltage"):
        case.with_tables(buses=upper).with_uptake(ev=0.5)
