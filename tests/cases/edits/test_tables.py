"""The tables of a case, there and back; other tables in their place; indexes with names; coordinates of buses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import amm_opt as ao
from amm_opt.testing.cases import rich_case
from tests.cases.test_cases import good, problems_of, tiny

NAMES = ["buses", "branches", "participants", "profiles", "series", "sessions"]
CASES: dict[str, Any] = {
    "tiny": tiny,
    "balanced": lambda: rich_case(True),
    "phases": lambda: rich_case(False),
    "synthetic": lambda: ao.load_case("synthetic:buses=120,days=2,seed=2"),
    "scenario": lambda: tiny().with_scenario(import_scale=0.5, capacity_scale=0.7, limits={"line": 44.0}),
}


def again(case: ao.Case) -> ao.Case:
    return ao.from_tables(name=case.name, scenario=case.scenario, **case.tables())


@pytest.mark.parametrize("kind", CASES)
def test_tables_make_the_same_case(kind: str) -> None:
    case = CASES[kind]()
    assert list(case.tables()) == NAMES
    assert again(case).fingerprint == case.with_tables().fingerprint == case.fingerprint
    np.testing.assert_array_equal(again(case).feeder.rating_kva, case.feeder.rating_kva)


@settings(max_examples=5, deadline=None)
@given(st.data())
def test_parts_of_an_interval_survive(data: st.DataObject) -> None:
    """Arrivals and departures at any second."""
    begin, seconds = pd.Timestamp("2030-01-07"), 4 * 3600
    rows = []
    for _ in range(data.draw(st.integers(1, 4))):
        arrival = data.draw(st.integers(0, seconds - 1))
        stay = data.draw(st.integers(1, 9 * 3600))
        energy = data.draw(st.floats(0.0, 1.0)) * 7.0 * stay / 3600
        rows.append(
            ("ann", begin + pd.Timedelta(seconds=arrival), begin + pd.Timedelta(seconds=arrival + stay), energy)
        )
    given_ = pd.DataFrame(rows, columns=["participant", "arrival", "departure", "energy_kwh"]).assign(power_kw=7.0)
    case = tiny(sessions=given_)
    pd.testing.assert_frame_equal(case.tables()["sessions"][given_.columns], given_, check_dtype=False)
    assert again(case).fingerprint == case.fingerprint


def test_changing_a_table_changes_no_case() -> None:
    case = tiny()
    before = case.fingerprint
    for table in case.tables().values():
        for column in table.columns:
            table[column] = table[column].iloc[::-1].to_numpy()
    again = case.tables()
    again["profiles"].loc[0, "load"] = 99.0
    again["participants"].loc[0, "name"] = "eve"
    assert case.with_tables().fingerprint == before
    assert case.participant_names == ("ann", "bob")
    assert case.requests(0, 1).import_request_kw[0, 1] == 0.5


def test_other_tables_in_place_of_some() -> None:
    case = tiny(title="Two homes", licence="ODbL-1.0").with_scenario(load_scale=0.5)
    people = case.tables()["participants"].assign(connection_import_kw=30.0)
    changed = case.with_tables(participants=people, sessions=case.tables()["sessions"].iloc[:0])
    assert (changed.name, changed.title, changed.licence) == ("tiny", "Two homes", "ODbL-1.0")
    assert changed.scenario == case.scenario
    np.testing.assert_array_equal(changed.connection_kw("import"), [30.0, 30.0])
    # load of 1..8 kW, half of it is asked for by bob; nobody's car
    np.testing.assert_allclose(changed.requests(0, 8).import_request_kw[:, 1], 0.5 * np.arange(1, 9))
    assert case.connection_kw("import")[0] == 20.0


def test_an_edited_case_is_stored_with_its_run(tmp_path: Path) -> None:
    """A run of an edited case is not read back on the case that it was made from."""
    case = ao.load_case("synthetic:buses=20,days=1,seed=1")
    people = case.tables()["participants"].assign(connection_import_kw=40.0)
    run = ao.simulate(case.with_tables(participants=people), "amm", steps=2)
    run.save(tmp_path / "run")
    assert ao.open_run(tmp_path / "run").case.connection_kw("import")[0] == 40.0


def test_tables_that_do_not_fit_are_refused() -> None:
    case = tiny().with_scenario(limits={"line": 40.0})
    tables = case.tables()
    with pytest.raises(ao.InputError, match=r"(?s)unknown participant 'bob'.*unknown participant 'bob'"):
        case.with_tables(participants=tables["participants"].iloc[:1])
    with pytest.raises(ao.InputError, match="limits: unknown branch 'line'"):
        case.with_tables(branches=tables["branches"].assign(name="wire"))
    with pytest.raises(ao.InputError, match="buses must be a pandas DataFrame, not 5"):
        case.with_tables(buses=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        case.with_tables(busses=tables["buses"])  # type: ignore[call-arg]


def test_indexes_with_names_are_columns() -> None:
    tables = good()
    by = {"buses": "name", "branches": "name", "participants": "name", "sessions": ["participant", "arrival"]}
    by |= {"series": ["participant", "quantity"]}
    indexed = {table: tables[table].set_index(columns) for table, columns in by.items()}
    assert tiny(**indexed).fingerprint == tiny().fingerprint
    kept = {table: tables[table].set_index(columns, drop=False) for table, columns in by.items()}
    assert tiny(**kept).fingerprint == tiny().fingerprint


@pytest.mark.parametrize("name", [None, "time", "end of the day"])
def test_an_index_of_times_is_the_time_of_profiles(name: str | None) -> None:
    profiles = good()["profiles"].set_index("time").rename_axis(name)
    assert tiny(profiles=profiles).fingerprint == tiny().fingerprint
    zoned = tiny(profiles=profiles.tz_localize("Etc/GMT-10"), timezone="Etc/GMT-10")
    assert zoned.fingerprint == tiny().fingerprint


def test_indexes_that_say_something_else_are_named() -> None:
    buses = good()["buses"].set_index("name", drop=False)
    buses["name"] = ["a", "b"]
    assert any("buses: the index is named 'name' and differs" in said for said in problems_of(buses=buses))
    people = good()["participants"].rename_axis("customer")
    assert any("participants: unknown column 'customer'" in said for said in problems_of(participants=people))
    twice = good()["profiles"].set_index(pd.DatetimeIndex(good()["profiles"]["time"], name="end"))
    assert any("'end'" in said and "not a finite number" in said for said in problems_of(profiles=twice))


def test_coordinates_are_carried(tmp_path: Path) -> None:
    plain, where = tiny(), good()["buses"].assign(x=[151.1, np.nan], y=["-33.8", None])
    case = tiny(buses=where)
    assert case.fingerprint == plain.fingerprint
    loaded = ao.load_case(ao.save_case(case, tmp_path / "case"))
    for found in (case, loaded, case.with_tables(), case.with_scenario(capacity_scale=0.5)):
        assert found.tables()["buses"][["x", "y"]].to_numpy()[0].tolist() == [151.1, -33.8]
        assert found.tables()["buses"][["x", "y"]].iloc[1].isna().all()
    assert "x" not in plain.tables()["buses"]


def test_odd_coordinates_are_named() -> None:
    said = problems_of(buses=good()["buses"].assign(x=[1.0, np.inf], y=[np.nan, "north"]))
    wanted = ("bus 'src': x = 1.0, y = nan: give both", "bus 'end': x = inf must be a finite number", "y = 'north'")
    assert all(any(fragment in sentence for sentence in said) for fragment in wanted), said
