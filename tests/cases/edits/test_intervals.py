"""Other intervals: what is repeated, and that energy, sessions and batteries are what they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import amm_opt as ao
from amm_opt.testing.cases import small_case
from tests.cases.test_cases import LOAD, SUN, good, tiny

MINUTES = [5, 10, 15, 60, 120]
ARRAYS = ("inflexible_kw", "import_request_kw", "export_request_kw")


def roomy(**changes: Any) -> ao.Case:
    """The tiny case with connections that a charger fits into at its full power."""
    people = good()["participants"].assign(connection_import_kw=60.0, connection_export_kw=60.0)
    return tiny(**{"participants": people, **changes})


def energies(case: ao.Case) -> np.ndarray:
    """(3, n) kWh of inflexible load, import and export requests of all intervals together."""
    r = case.requests(0, case.n_steps)
    return np.stack([getattr(r, name).sum(axis=0) * case.dt_h for name in ARRAYS])


def means(power: np.ndarray, together: int) -> np.ndarray:
    return power.reshape(len(power) // together, together, -1).mean(axis=1)


def test_an_hour_is_the_mean_of_its_half_hours() -> None:
    case = roomy().resample(60)
    assert (case.n_steps, case.dt_h, str(case.times[1])) == (4, 1.0, "2030-01-07 01:00:00")
    r = case.requests(0, 4)
    # ann draws 0.5 load now and 0.25 load three half-hours later: 1..8 kW and 6, 7, 8, 1, 2, 3, 4, 5 kW
    ann = np.array([0.5 * 1.5 + 0.25 * 6.5, 0.5 * 3.5 + 0.25 * 4.5, 0.5 * 5.5 + 0.25 * 2.5, 0.5 * 7.5 + 0.25 * 4.5])
    # bob feeds in 2 kW times the sun of a half-hour before: 0, 0, 0, 0.25, 0.5, 1, 0.5, 0.25
    np.testing.assert_allclose(r.inflexible_kw, np.column_stack([ann, [0, -0.25, -1.5, -0.75]]))
    np.testing.assert_allclose(r.export_request_kw[:, 0], 8 * np.array([0, 0.375, 0.75, 0.125]))
    # bob's car comes at 0:30 and draws 4 kW for 75 minutes; ann's comes at 3:00 and draws 7 kW until the end
    np.testing.assert_allclose(r.import_request_kw[:, 0], [0, 0, 0, 7])
    np.testing.assert_allclose(r.import_request_kw[:, 1], [0.5 * 1.5 + 2, 0.5 * 3.5 + 3, 0.5 * 5.5, 0.5 * 7.5])


def test_ten_minutes_hold_the_value_of_their_half_hour() -> None:
    r = roomy().resample(10).requests(0, 24)
    load, late = np.repeat(LOAD, 3), np.repeat(np.roll(LOAD, 3), 3)
    np.testing.assert_allclose(r.inflexible_kw[:, 0], 0.5 * load + 0.25 * late)
    np.testing.assert_allclose(r.export_request_kw[:, 0], 8 * np.repeat(SUN, 3))
    # 5 kWh at 4 kW from 0:30 on: 75 minutes are seven and a half tenths of minutes
    car = r.import_request_kw[:, 1] - 0.5 * load
    np.testing.assert_allclose(car, [0] * 3 + [4] * 7 + [2] + [0] * 13, atol=1e-12)


@pytest.mark.parametrize("minutes", MINUTES)
def test_energy_is_kept(minutes: int) -> None:
    for case in (roomy(), ao.load_case("synthetic:buses=70,days=2,seed=3").with_scenario(import_scale=1.1)):
        other = case.resample(minutes)
        assert other.dt_h == pytest.approx(minutes / 60)
        assert other.n_steps * minutes == case.n_steps * 30
        np.testing.assert_allclose(energies(other), energies(case), rtol=1e-6, atol=1e-6)
        coarse, fine = sorted((case, other), key=lambda c: c.n_steps)
        together = fine.n_steps // coarse.n_steps
        for name in ARRAYS:
            long, short = (getattr(c.requests(0, c.n_steps), name) for c in (coarse, fine))
            np.testing.assert_allclose(long, means(short, together), rtol=1e-6, atol=1e-6)


@settings(max_examples=10, deadline=None)
@given(st.data())
def test_energy_is_kept_whatever_shifts_and_sessions(data: st.DataObject) -> None:
    """Twelve intervals of any power and shift, cars that come and go at any minute; there and back."""
    power = st.floats(0.0, 8.0, allow_subnormal=False)
    values = {name: data.draw(st.lists(power, min_size=12, max_size=12)) for name in ("load", "sun")}
    times = pd.date_range("2030-01-07", periods=12, freq="30min")
    terms = [
        (who, quantity, profile, data.draw(st.floats(0.0, 2.0)), data.draw(st.integers(-30, 30)))
        for who in ("ann", "bob")
        for quantity, profile in (("inflexible", "load"), ("import", "load"), ("export", "sun"))
    ]
    rows = []
    for who in ("ann", "bob"):
        arrival = times[0] + pd.Timedelta(minutes=data.draw(st.integers(0, 359)))
        stay = pd.Timedelta(minutes=data.draw(st.integers(1, 600)))
        energy = 7.0 * data.draw(st.floats(0.0, 1.0)) * (stay / pd.Timedelta(hours=1))
        rows.append((who, arrival, arrival + stay, 7.0, energy))
    case = roomy(
        profiles=pd.DataFrame({"time": times, **values}),
        series=pd.DataFrame(terms, columns=good()["series"].columns),
        sessions=pd.DataFrame(rows, columns=good()["sessions"].columns),
    )
    minutes = data.draw(st.sampled_from([1, 5, 15, 60, 90, 180]))
    other = case.resample(minutes)
    np.testing.assert_allclose(energies(other), energies(case), rtol=1e-6, atol=2e-5)
    pd.testing.assert_frame_equal(other.tables()["sessions"], case.tables()["sessions"])
    if minutes < 30:
        back = other.resample(30)
        np.testing.assert_allclose(energies(back), energies(case), rtol=1e-6, atol=2e-5)
        for name in ARRAYS:
            one, two = (getattr(c.requests(0, 12), name) for c in (case, back))
            np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("balanced", [True, False], ids=["balanced", "phases"])
def test_other_intervals_of_constant_power_are_served_alike(balanced: bool) -> None:
    """Where nothing changes within an interval, a mechanism without memory serves the same in halves of it."""
    case = small_case(balanced)
    halves = case.resample(90)
    one, two = (ao.simulate(c, "fet", steps=slice(4 * k, 12 * k)) for c, k in ((case, 1), (halves, 2)))
    np.testing.assert_allclose(np.repeat(one.allocation.import_kw, 2, axis=0), two.allocation.import_kw, atol=1e-3)
    assert two.summary["unserved_mwh"] == pytest.approx(one.summary["unserved_mwh"], rel=1e-4)


def test_sessions_that_wait_get_the_same_energy() -> None:
    """4 kVA and two cars until 3:00; in any intervals what fits is 4 kW from the first arrival on."""
    people = good()["participants"].assign(battery_kwh=[5.0, 0.0], battery_kw=[2.0, 0.0])
    rows = [
        ("ann", "2030-01-07 00:30", "2030-01-07 03:00", 4.0, 8.0),
        ("bob", "2030-01-07 01:00", "2030-01-07 03:00", 4.0, 6.0),
    ]
    sessions = pd.DataFrame(rows, columns=good()["sessions"].columns)
    line = good()["branches"].assign(rating_kva=4.0, r_ohm=1e-4, x_ohm=1e-4)
    case = tiny(branches=line, participants=people, sessions=sessions, series=good()["series"].iloc[:0])
    for minutes in (30, 15, 5):
        other = case.resample(minutes)
        run = ao.simulate(other, "amm", defer=True)
        # 2.5 h at 4 kW are 10 kWh of 14
        assert 1000 * run.summary["unserved_mwh"] == pytest.approx(4.0, abs=0.02)
        assert other.batteries.initial_kwh.tolist() == [2.5]


def test_resampled_cases_are_stored(tmp_path: Path) -> None:
    case = roomy().resample(60)
    assert ao.load_case(ao.save_case(case, tmp_path / "case")).fingerprint == case.fingerprint
    assert roomy().resample(30).fingerprint == roomy().fingerprint
    assert case.name == "tiny"


def test_a_shift_of_a_billion_intervals() -> None:
    series = good()["series"].assign(shift_steps=[999_999_999, -999_999_998, 3, 0, 1])
    case = roomy(series=series)
    np.testing.assert_allclose(energies(case.resample(5)), energies(case), rtol=1e-6)
    np.testing.assert_allclose(energies(case.resample(120)), energies(case), rtol=1e-6)


REFUSED: dict[Any, str] = {
    20: "minutes = 20 neither divides the 30 minutes .* nor is a multiple",
    45: "minutes = 45 neither divides",
    90: "8 intervals of 30 minutes cannot be put together in 3s",
    240: "8 intervals of 30 minutes cannot be put together in 8s to at least two",
    0: "must be a number, at least 1/60",
    -30: "must be a number",
    "30": "minutes = '30' must be a number.* such as 5, 15, 30 or 60",
    True: "must be a number",
    50_000: "at most 44640",
}


@pytest.mark.parametrize("minutes", REFUSED, ids=str)
def test_lengths_that_do_not_divide(minutes: Any) -> None:
    with pytest.raises(ao.InputError, match=f"resample: .*{REFUSED[minutes]}"):
        tiny().resample(minutes)


def test_a_case_over_and_over() -> None:
    case = roomy()
    three = case.repeat(3)
    one, all_ = case.requests(0, 8), three.requests(0, 24)
    np.testing.assert_array_equal(three.times, pd.date_range("2030-01-07", periods=24, freq="30min"))
    np.testing.assert_array_equal(all_.inflexible_kw, np.tile(one.inflexible_kw, (3, 1)))
    np.testing.assert_array_equal(all_.export_request_kw, np.tile(one.export_request_kw, (3, 1)))
    np.testing.assert_array_equal(all_.import_request_kw[:, 1], np.tile(one.import_request_kw[:, 1], 3))
    # ann's car comes at 3:00, 7:00 and 11:00 and needs 20 kWh at 7 kW: 5 half-hours and 0.714 of one, not only the
    # two that the case has; the next car is there meanwhile
    car = np.zeros(24 + 6)
    for begin in (6, 14, 22):
        car[begin : begin + 6] += [7, 7, 7, 7, 7, 5]
    np.testing.assert_allclose(all_.import_request_kw[:, 0], car[:24], atol=1e-9)
    assert case.repeat(1).fingerprint == case.fingerprint
    assert three.fingerprint == three.with_tables().fingerprint


def test_a_part_over_and_over() -> None:
    case = roomy()
    twice = case.repeat(2, slice(1, 5))
    one, all_ = case.requests(1, 5), twice.requests(0, 8)
    np.testing.assert_array_equal(twice.times, pd.date_range("2030-01-07 00:30", periods=8, freq="30min"))
    for name in ARRAYS:  # bob's car comes within it, ann's does not
        np.testing.assert_allclose(getattr(all_, name), np.tile(getattr(one, name), (2, 1)), rtol=1e-6)
    assert (twice.profiles.series["shift_steps"] == 0).all()


def test_a_day_of_a_week_becomes_a_week() -> None:
    case = ao.load_case("synthetic:buses=60,days=7,seed=2")
    week = case.repeat(7, "2030-01-09")
    assert (week.n_steps, str(week.times[0]), week.name) == (336, "2030-01-09 00:00:00", case.name)
    day = case.requests(96, 144)
    all_ = week.requests(0, 336)
    np.testing.assert_allclose(all_.inflexible_kw, np.tile(day.inflexible_kw, (7, 1)), rtol=1e-6)
    sessions = case.tables()["sessions"]
    own = sessions[sessions["arrival"].dt.strftime("%Y-%m-%d") == "2030-01-09"]
    again = week.tables()["sessions"]
    assert len(again) == 7 * len(own) > 0
    assert set(again["participant"]) == set(own["participant"])
    # cars of the evening before are not there on the first day; from the second day on all days are alike
    last, before = (all_.import_request_kw[k * 48 : (k + 1) * 48] for k in (6, 1))
    np.testing.assert_allclose(last, before, atol=1e-9)
    run = ao.simulate(week, "amm", steps="2030-01-15")
    assert run.summary["failed_steps"] == 0


def test_counts_and_parts_that_are_none() -> None:
    case = tiny()
    for count in (0, -1, 1.5, "2", True, None):
        with pytest.raises(ao.InputError, match=r"repeat: count = .* must be a whole number of at least 1"):
            case.repeat(count)  # type: ignore[arg-type]
    with pytest.raises(ao.InputError, match="count = 2000000 must be at most 1250000: 8 intervals each"):
        case.repeat(2_000_000)
    with pytest.raises(ao.InputError, match="at least 2 intervals are needed"):
        case.repeat(1, slice(3, 4))
    with pytest.raises(ao.InputError, match="2031-01-01 is after the case"):
        case.repeat(2, "2031-01-01")
    monthly = tiny(
        sessions=None, profiles=good()["profiles"].assign(time=pd.date_range("2030-01-01", periods=8, freq="30D"))
    )
    with pytest.raises(ao.InputError, match="count = 400: the case would not end before 2261"):
        monthly.repeat(400)
