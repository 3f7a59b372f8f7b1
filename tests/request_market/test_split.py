"""The splitter by hand, the loader, and what is refused of tables of households."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import amm_opt as ao


def loads(*columns: np.ndarray, start: str = "2030-01-07", freq: str = "5min") -> pd.DataFrame:
    times = pd.date_range(start, periods=len(columns[0]), freq=freq)
    return pd.DataFrame({"time": times} | {f"h{k}": c for k, c in enumerate(columns)})


def series(length: int = 48, base: float = 0.25, **runs: tuple[int, list[float]]) -> np.ndarray:
    load = np.full(length, base)
    for start, powers in runs.values():
        load[start : start + len(powers)] = powers
    return load


def test_a_run_above_the_base_is_one_request() -> None:
    """250 W throughout and 2.25 kW for 40 minutes: 2 kW for 8 intervals are flexible, 250 W are essential."""
    split = ao.split_household(series(run=(10, [2.25] * 8)))
    assert (split.start.tolist(), split.stop.tolist(), split.power_kw.tolist()) == ([10], [18], [2.0])
    assert split.essential_kw == pytest.approx(np.full(48, 0.25))


@pytest.mark.parametrize(("power", "kw", "peak"), [("mode", 2.0, 1.25), ("max", 3.0, 0.25)])
def test_the_power_of_a_request_is_the_mode_or_the_maximum(power: str, kw: float, peak: float) -> None:
    """Five intervals at 2 kW above the base and three at 3 kW: what is above the mode stays essential."""
    split = ao.split_household(series(run=(10, [2.25] * 5 + [3.25] * 3)), power=power)
    assert split.power_kw.tolist() == [kw]
    assert split.essential_kw[10:15] == pytest.approx(np.full(5, 0.25))
    assert split.essential_kw[15:18] == pytest.approx(np.full(3, peak))


def test_thirty_minutes_and_a_kilowatt_are_enough_and_less_is_not() -> None:
    """25 minutes are no request, nor is 750 W; exactly 30 minutes at 1 kW above the base are one."""
    assert len(ao.split_household(series(run=(10, [1.25] * 5))).start) == 0
    assert len(ao.split_household(series(run=(10, [1.0] * 12))).start) == 0
    assert ao.split_household(series(run=(10, [1.25] * 6))).power_kw.tolist() == [1.0]
    assert ao.split_household(series(24, run=(5, [1.25])), step_minutes=30).power_kw.tolist() == [1.0]


def test_levels_are_quantised_and_the_base_is_the_mode_of_those_above_zero() -> None:
    """0.12 kW is 0 W, 0.13 and 0.37 kW are 250 W, 0.38 kW is 500 W; the mode without zeros is 500 W here."""
    split = ao.split_household(np.array([0.12] * 6 + [0.13, 0.37] + [0.38] * 4))
    assert split.essential_kw.tolist() == [0.0] * 6 + [0.25] * 2 + [0.5] * 4


def test_requests_of_loads_by_hand() -> None:
    """A run from 10:50 to 11:25 touches 10:30-11:30, lasts two half-hours, and 3 h of flexibility add 1.5 h a side."""
    table = loads(series(288, run=(130, [3.25] * 7)), series(288))
    terms = pd.DataFrame({"household": ["h0"], "product": ["premium"], "flexibility_h": [3], "max_price": [200.0]})
    problem = ao.request_problem(ao.HouseholdLoads.from_table(table), np.full(48, 10.0), terms)
    assert problem.requests == (ao.FlexibleRequest("h0", 18, 26, 3.0, 2, 200.0, "premium"),)
    assert problem.essential_kw == pytest.approx(np.full(48, 0.5))
    assert problem.predicted_kw.tolist() == [0.0] * 21 + [3.0] * 2 + [0.0] * 25


def test_requests_last_23_hours_and_a_half_at_most() -> None:
    load = np.concatenate([np.full(288, 0.25), np.full(288, 2.25), np.full(144, 0.25)])
    (request,) = ao.request_problem(ao.HouseholdLoads.from_table(loads(load)), np.full(120, 9.0)).requests
    assert (request.earliest, request.latest, request.slots) == (48, 96, 47)


def test_a_table_of_the_user_is_read(tmp_path: Path) -> None:
    loads(series(), series(base=0.5)).to_csv(tmp_path / "loads.csv", index=False)
    read = ao.read_household_loads(tmp_path / "loads.csv")
    assert (read.names, read.n_slots, read.step_minutes) == (("h0", "h1"), 8, 5.0)
    with pytest.raises(ao.InputError, match="cannot be read as a household table"):
        ao.read_household_loads(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop(index=[7]), "a gap from 2030-01-07 00:30:00 to 2030-01-07 00:40:00"),
        (lambda t: t.iloc[[0, 2, 1, *range(3, 48)]], "is repeated or out of order"),
        (lambda t: t.assign(h0=-1.0), "'h0' has negative power in row 1, 2"),
        (lambda t: t.assign(h0=[np.nan, *[1.0] * 47]), "'h0' has no number in row 1"),
        (lambda t: t.iloc[:47], "must come to a whole number of half-hours"),
        (lambda t: t.assign(time=t["time"] + pd.Timedelta("5min")), "must begin a half-hour"),
        (lambda t: loads(series(), freq="20min"), "must divide 30 minutes"),
        (lambda t: t.drop(columns="time"), "missing column 'time'"),
        (lambda t: t[["time"]], "there is no column beside time"),
    ],
)
def test_bad_tables_are_named(change: object, said: str) -> None:
    with pytest.raises(ao.InputError) as error:
        ao.HouseholdLoads.from_table(change(loads(series())))  # type: ignore[operator]
    assert said in str(error.value)


def test_bad_terms_are_named_all_at_once() -> None:
    terms = pd.DataFrame({"household": ["h0", "h9"], "product": ["gold", "basic"], "flexibility_h": [5, 1]})
    with pytest.raises(ao.InputError) as error:
        ao.request_problem(ao.HouseholdLoads.from_table(loads(series())), np.full(8, 1.0), terms)
    assert [p.partition(";")[0] for p in error.value.problems] == [
        "household 'h0': product = 'gold'",
        "household 'h0': flexibility_h = 5",
        "household 'h9' has no load",
    ]
