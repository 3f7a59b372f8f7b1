"""Times are read without guessing: numbers, ambiguous dates and clocks that change are refused by name."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest

import amm_opt as ao
from amm_opt.cases.times import checked_times, not_a_time
from amm_opt.simulation.forecast import intervals
from tests.cases.test_cases import good, problems_of, tiny

HALF_HOURS = pd.date_range("2030-01-07", periods=8, freq="30min")


def _with_times(times: Any, name: str = "time", **rest: Any) -> str:
    profiles = good()["profiles"].rename(columns={"time": name}).assign(**{name: times})
    return "\n".join(problems_of(profiles=profiles, sessions=None, **rest))


NUMBERS: dict[str, Any] = {
    "hours": range(8),
    "unix": [1906549200 + 1800 * i for i in range(8)],
    "floats": np.arange(8) / 2,
    "text": [str(i) for i in range(8)],
    "years": [2030 + i for i in range(8)],
    "days": ["20300107"] * 8,
}


@pytest.mark.parametrize("times", NUMBERS.values(), ids=NUMBERS)
def test_numbers_are_no_times(times: Any) -> None:
    said = _with_times(times)
    assert "column 'time' holds numbers" in said
    assert "time_h" in said


def test_numbers_with_a_unit() -> None:
    hours = 526008 + np.arange(8) / 2
    for name, factor in (("time_s", 3600), ("time_min", 60), ("time_h", 1)):
        profiles = good()["profiles"].drop(columns="time").assign(**{name: hours * factor})
        case = tiny(profiles=profiles, sessions=None)
        assert case.dt_h == 0.5
        assert case.times[0] == pd.Timestamp("2030-01-03 00:00")
        east = tiny(profiles=profiles, sessions=None, timezone="Etc/GMT-10")
        assert east.times[0] == pd.Timestamp("2030-01-03 10:00")
    assert "give one of the columns time, time_h" in "\n".join(
        problems_of(profiles=good()["profiles"].assign(time_h=1.0))
    )
    assert "is no number of h since 1970" in _with_times(["a", *range(7)], "time_h")
    assert "is no number of s since 1970" in _with_times([1e300] * 8, "time_s")


def test_numbers_that_were_read_as_nanoseconds() -> None:
    assert "nanoseconds" in _with_times(pd.to_datetime(np.arange(8)))
    assert "31 days" in _with_times(pd.date_range("2030-01-01", periods=8, freq="100D"))


AMBIGUOUS = {
    "05/06/2016": "2016-06-05 or 2016-05-06",
    "5.6.16": "2016-06-05 or 2016-05-06",
    "05-06-2016 12:00": "2016-06-05 12:00 or 2016-05-06 12:00",
    "23/05/2016": "2016-05-23",
    "05/23/2016": "2016-05-23",
}


@pytest.mark.parametrize(("text", "means"), AMBIGUOUS.items())
def test_dates_that_are_not_iso_show_the_iso_form(text: str, means: str) -> None:
    case = tiny(sessions=None)
    with pytest.raises(ao.InputError) as caught:
        case.span(slice(text, None))
    for said in (str(caught.value), _with_times([text, *HALF_HOURS[1:].astype(str)])):
        assert means in said
        assert ("ambiguous" in said) == (" or " in means)
    sessions = good()["sessions"].astype({"arrival": object})
    sessions.loc[0, "arrival"] = text
    assert means in "\n".join(problems_of(sessions=sessions))


def test_clocks_that_change() -> None:
    summer = pd.date_range("2030-03-30 22:00", periods=8, freq="30min", tz="Europe/Berlin")
    night = pd.date_range("2030-03-31", periods=8, freq="30min", tz="Europe/Berlin")
    for zone in ("Europe/Berlin", "Australia/Sydney", "America/New_York"):
        assert "has daylight saving time" in _with_times(HALF_HOURS, timezone=zone)
        assert "has daylight saving time" in _with_times(summer, timezone=zone)
    assert "Etc/GMT-1" in _with_times(HALF_HOURS, timezone="Europe/Berlin")
    assert "Etc/GMT+5" in _with_times(HALF_HOURS, timezone="America/New_York")
    assert "the clock is changed there" in _with_times(night.tz_localize(None))
    back = pd.date_range("2030-10-27 01:00", periods=8, freq="30min", tz="Europe/Berlin").tz_localize(None)
    assert "the clock is changed there" in _with_times(back)
    assert "is not the case's Etc/GMT-1 at 2030-03-31 03:00" in _with_times(night, timezone="Etc/GMT-1")
    mixed = [str(t) for t in night]
    assert "mixed" in _with_times(mixed, timezone="Etc/GMT-1")
    assert "mixed" in _with_times([*HALF_HOURS[:4].astype(str), *map(str, HALF_HOURS[4:].tz_localize("UTC"))])
    assert tiny(sessions=None, timezone="Australia/Darwin").timezone == "Australia/Darwin"


def test_no_time_at_all() -> None:
    for cell in (None, pd.NaT, "", "NaT", "2030-02-30", "2030-01-07 25:00", "noon", b"2030", (1, 2), "9999-12-31"):
        times = pd.Series([cell, *HALF_HOURS[1:]], dtype=object)
        assert "column 'time' row 1" in _with_times(times), cell
    for cell in (dt.datetime(2030, 1, 7), np.datetime64("2030-01-07"), "2030-01-07T00:00:00", dt.date(2030, 1, 7)):
        profiles = good()["profiles"].assign(time=pd.Series([cell, *HALF_HOURS[1:]], dtype=object))
        np.testing.assert_array_equal(tiny(profiles=profiles).times, HALF_HOURS)


WRONG: list[tuple[Any, str]] = [
    ("2030-01-06", "is before the case"),
    (slice("2029", None), "is before the case"),
    ("2030-01-08", "is after the case"),
    (slice(None, "2031"), "is after the case"),
    (slice("2030-01-07 03:00", "2030-01-07 01:00"), "the end is not after the start"),
    (slice("2030-01-07 00:00+10:00", None), "has a time zone"),
    (slice("2030-01-07T00:00Z", None), "has a time zone"),
    (slice(pd.Timestamp("2030-01-07", tz="UTC"), None), "has a time zone"),
    (slice(pd.NaT, None), "is not a date"),
    (slice("NaT", None), "is not a date"),
    (slice("", None), "is not a date"),
    (slice(1.5, None), "is not a date"),
    (slice(True, None), "is not a date"),
    (slice("2030-13", None), "is not a date"),
    (slice("9999-12", None), "after the case"),
    (True, "must be a count"),
    (2.0, "must be a count"),
    (np.float64(2), "must be a count"),
    ([1, 2], "must be a count"),
    (-1, "must be a count"),
    (np.int64(0), "must be a count"),
    (slice(0, 4, -1), "consecutive"),
    (slice(0, 4, "x"), "consecutive"),
    (slice(-3, None), "not inside"),
    (9, "not inside"),
    ("8", "is not a date"),
]


@pytest.mark.parametrize(("steps", "said"), WRONG, ids=str)
def test_wrong_selections_say_what_the_case_has(steps: Any, said: str) -> None:
    with pytest.raises(ao.InputError, match=said):
        tiny().span(steps)


RIGHT: list[tuple[Any, tuple[int, int]]] = [
    (np.int64(3), (0, 3)),
    ("2030", (0, 8)),
    (slice("2030-01", None), (0, 8)),
    (slice("2030-01-07 01", "2030-01-07 01"), (2, 4)),
    (slice("2030-01-07 00:10", None), (1, 8)),
    (slice(HALF_HOURS[2], HALF_HOURS[4]), (2, 5)),
    (slice(dt.datetime(2030, 1, 7, 1), np.datetime64("2030-01-07T02:00")), (2, 5)),
    (dt.date(2030, 1, 7), (0, 8)),
    (slice(np.int32(1), np.int64(3)), (1, 3)),
]


@pytest.mark.parametrize(("steps", "expected"), RIGHT, ids=str)
def test_selections(steps: Any, expected: tuple[int, int]) -> None:
    assert tiny().span(steps) == expected


@pytest.mark.parametrize(
    "value", ["1.5", "-1D", "NaT", "\u00b2", "1e3", "0", 0, -4, True, None, 2.5, "1D1", "1" * 12 + "D", "17min"]
)
def test_lengths_of_time_that_are_none(value: Any) -> None:
    with pytest.raises(ao.InputError, match="fot: window"):
        intervals(value, 0.5, 96, "fot: window")


def test_lengths_of_time() -> None:
    given: list[tuple[Any, int]] = [
        ("1D", 48),
        ("2h", 4),
        ("90 min", 3),
        (7, 7),
        ("all", 96),
        (np.int64(3), 3),
        ("1.5h", 3),
    ]
    assert [intervals(value, 0.5, 96, "x") for value, _ in given] == [count for _, count in given]


YEARS = {
    "30/06/02": "can be 2030-06-02 or 2002-06-30",
    "05-06-07": "can be 2007-06-05 or 2007-05-06 or 2005-06-07",
    "13/06/30": "can be 2030-06-13 or 2013-06-30",
    "2030/06/02": "write 2030-06-02",
    "2030.6.2 10:00": "write 2030-06-02 10:00",
}


@pytest.mark.parametrize(("text", "means"), YEARS.items(), ids=str)
def test_every_reading_of_a_date_is_shown(text: str, means: str) -> None:
    assert means in not_a_time(text)


@pytest.mark.parametrize(
    "text", ["31/02/2030", "2030-W23", "2030Q2", "2030-153", "20300602", "2030-13-45", "1/2/3456789"]
)
def test_what_is_no_date_has_no_reading(text: str) -> None:
    assert "is not a time such as" in not_a_time(text)


def test_clocks_that_were_changed_then() -> None:
    dates = pd.date_range("2016-10-12", periods=8, freq="D")
    assert "changed its clock between 2016-10-12" in _with_times(dates, timezone="America/Sao_Paulo")
    assert _naive(dates, "Australia/Brisbane")
    assert _naive(dates + pd.DateOffset(years=14), "America/Sao_Paulo")


def _naive(dates: pd.DatetimeIndex, zone: str) -> bool:
    """Whether these times are taken for standard times of a zone."""
    return not checked_times(pd.Series(dates, name="time"), None, zone, None)[1]


@pytest.mark.parametrize("value", [np.datetime64("NaT"), pd.NaT, 10**5000], ids=["numpy", "pandas", "long"])
def test_values_that_are_hard_to_print(value: object) -> None:
    with pytest.raises(ao.InputError, match=r"is not a date such as|must be a count|are not inside"):
        ao.load_case("synthetic:buses=20,days=1,seed=1").span(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1600-01-07 00:00:00", "is outside the years 1678 to 2261"),
        ("2030-01-07 24:30", "is no time that exists: hours are 00 to 23"),
        ("2030-02-30", "is not a time such as"),
        ("07-01-2030 10:00", "is ambiguous"),
    ],
)
def test_what_is_wrong_with_a_time_is_not_its_own_advice(text: str, said: str) -> None:
    assert said in not_a_time(text)
