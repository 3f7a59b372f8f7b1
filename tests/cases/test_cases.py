"""Cases: what is refused and how it is said, folders there and back, and how windows are expanded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from amm_opt.cases import Case, Scenario, from_tables, load_case, save_case
from amm_opt.errors import InputError

NAN = float("nan")
TIMES = pd.date_range("2030-01-07", periods=8, freq="30min")
TEN_SECONDS = pd.date_range("2030-01-07", periods=8, freq="10s")
LOAD = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
SUN = [0.0, 0.0, 0.25, 0.5, 1.0, 0.5, 0.25, 0.0]
WINDOW_ARRAYS = ("inflexible_kw", "import_request_kw", "export_request_kw", "times")


def good() -> dict[str, Any]:
    """Two participants on a two-bus feeder, eight half-hours: keyword arguments of from_tables."""
    buses = pd.DataFrame({"name": ["src", "end"], "vn_kv": 0.4, "v_min_pu": 0.9, "v_max_pu": 1.1})
    buses["v_source_pu"] = [1.0, NAN]
    line = {"name": ["line"], "from_bus": ["src"], "to_bus": ["end"], "r_ohm": [0.01], "x_ohm": [0.004]}
    people = {"name": ["ann", "bob"], "bus": "end", "connection_import_kw": 20.0, "connection_export_kw": 10.0}
    terms = [
        ("ann", "inflexible", "load", 0.5, 0),
        ("ann", "inflexible", "load", 0.25, 3),
        ("ann", "export", "sun", 8.0, 0),
        ("bob", "inflexible", "sun", -2.0, 1),
        ("bob", "import", "load", 0.5, 0),
    ]
    sessions = [("bob", TIMES[1], TIMES[5], 4.0, 5.0), ("ann", TIMES[6], TIMES[7] + pd.Timedelta("3h"), 7.0, 20.0)]
    return {
        "name": "tiny",
        "buses": buses,
        "branches": pd.DataFrame({**line, "rating_kva": [50.0]}),
        "participants": pd.DataFrame(people),
        "profiles": pd.DataFrame({"time": TIMES, "load": LOAD, "sun": SUN}),
        "series": pd.DataFrame(terms, columns=["participant", "quantity", "profile", "scale_kw", "shift_steps"]),
        "sessions": pd.DataFrame(sessions, columns=["participant", "arrival", "departure", "power_kw", "energy_kwh"]),
    }


def tiny(**changes: Any) -> Case:
    return from_tables(**{**good(), **changes})


def table_with(table: str, row: int, column: str, value: object) -> pd.DataFrame:
    """One of the good tables with one cell replaced."""
    frame: pd.DataFrame = good()[table].astype(object)
    if column not in frame:
        frame[column] = None
    frame.loc[row, column] = value
    return frame


def problems_of(**changes: Any) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        tiny(**changes)
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return caught.value.problems


def assert_said(problems: tuple[str, ...], *fragments: str) -> None:
    assert any(all(f in problem for f in fragments) for problem in problems), (fragments, problems)


BAD_CELLS = [
    ("profiles", 2, "sun", NAN, ("'sun'", "row 3", "nan")),
    ("profiles", 2, "sun", "bright", ("'sun'", "row 3", "'bright'")),
    ("profiles", 4, "sun", -0.5, ("'sun'", "row 5", "negative request -0.5", "'ann'")),
    ("profiles", 4, "time", "2030-01-07 02:15", ("'time'", "row 5", "is not 30 minutes")),
    ("profiles", 1, "time", "soon", ("'time'", "row 2", "'soon'")),
    ("profiles", 1, "time", TIMES[0], ("'time'", "row 2", "does not come after")),
    ("series", 2, "scale_kw", -8.0, ("'scale_kw'", "row 3", "negative request -8")),
    ("series", 2, "scale_kw", "8 kW", ("'scale_kw'", "row 3", "'8 kW'")),
    ("series", 1, "shift_steps", 1.5, ("'shift_steps'", "row 2", "1.5")),
    ("series", 1, "shift_steps", "two", ("'shift_steps'", "row 2", "two")),
    ("series", 1, "participant", "eve", ("'participant'", "row 2", "'eve'")),
    ("series", 1, "quantity", "exports", ("'quantity'", "row 2", "'exports'", "inflexible, import, export")),
    ("series", 1, "profile", "moon", ("'profile'", "row 2", "'moon'", "load, sun")),
    ("participants", 1, "bus", "nowhere", ("'bob'", "unknown bus 'nowhere'")),
    ("participants", 1, "name", "ann", ("duplicate participant name 'ann'",)),
    ("participants", 1, "name", None, ("participant in row 2", "empty name")),
    ("participants", 0, "power_factor_export", -1.2, ("'ann'", "power_factor_export = -1.2", "0.1..1")),
    ("participants", 0, "power_factor", "good", ("'ann'", "'good' is not a number")),
    ("participants", 1, "connection_import_kw", -1, ("'bob'", "connection_import_kw = -1", "negative")),
    ("sessions", 0, "participant", "eve", ("sessions: row 1", "'eve'")),
    ("sessions", 0, "arrival", "late", ("sessions: column 'arrival' row 1", "late")),
    ("sessions", 0, "departure", TIMES[1], ("sessions: row 1", "not after arrival")),
    ("sessions", 0, "energy_kwh", 8.01, ("sessions: row 1", "8.01 kWh cannot fit")),
    ("sessions", 0, "energy_kwh", -1.0, ("sessions: row 1", "energy_kwh = -1")),
    ("sessions", 0, "power_kw", 0.0, ("sessions: row 1", "power_kw = 0")),
    ("sessions", 1, "arrival", "2030-01-07 04:00", ("sessions: row 2", "outside the profiles")),
    ("sessions", 0, "arrival", "2030-01-07T00:30+10:00", ("sessions", "arrival")),
]


@pytest.mark.parametrize(("table", "row", "column", "value", "said"), BAD_CELLS)
def test_bad_cell_is_named(table: str, row: int, column: str, value: object, said: tuple[str, ...]) -> None:
    assert_said(problems_of(**{table: table_with(table, row, column, value)}), *said)


@pytest.mark.parametrize("table", ["participants", "series", "sessions"])
def test_unknown_and_missing_columns(table: str) -> None:
    frame = good()[table]
    found = problems_of(**{table: frame.rename(columns={frame.columns[1]: "colour"})})
    assert_said(found, f"{table}: unknown column 'colour'", "valid columns")
    assert_said(found, f"{table}: missing column {frame.columns[1]!r}")


def test_profile_columns() -> None:
    assert_said(problems_of(profiles=good()["profiles"].drop(columns="time")), "missing column 'time'")
    twice = pd.concat([good()["profiles"], good()["profiles"][["sun"]]], axis=1)
    assert_said(problems_of(profiles=twice), "profiles", "repeated column 'sun'")


def test_settings_must_agree_with_profiles() -> None:
    assert_said(problems_of(steps=9), "wrong length", "8 rows", "9 steps")
    assert_said(problems_of(step_minutes=15), "'time'", "row 2", "is not 15 minutes")
    assert tiny(steps=8, step_minutes=30).dt_h == 0.5
    assert_said(problems_of(profiles=good()["profiles"].iloc[:1]), "'time' has 1 row")
    for wrong in (0, -30, "30"):
        assert_said(problems_of(step_minutes=wrong), "step_minutes")


def test_time_zones() -> None:
    zoned = good()["profiles"].assign(time=TIMES.tz_localize("Etc/GMT-10"))
    assert_said(problems_of(profiles=zoned), "'time'", "time zone", "timezone in case.toml")
    assert_said(problems_of(profiles=zoned, timezone="Etc/GMT-9"), "'time'", "time zone", "Etc/GMT-9")
    np.testing.assert_array_equal(tiny(profiles=zoned, timezone="Etc/GMT-10").times, TIMES)
    for profiles in (good()["profiles"], zoned):
        assert_said(problems_of(profiles=profiles, timezone="Moon/Base"), "Moon/Base")


def test_all_problems_at_once() -> None:
    found = problems_of(
        profiles=table_with("profiles", 1, "time", "soon"),
        participants=table_with("participants", 0, "bus", "nowhere"),
        series=table_with("series", 0, "profile", "moon"),
        sessions=table_with("sessions", 0, "energy_kwh", 99.0),
        steps=8,
    )
    assert all(any(said in problem for problem in found) for said in ("'soon'", "'nowhere'", "'moon'", "99.0 kWh"))


@pytest.mark.parametrize("factor", ["load_scale", "import_scale", "export_scale", "capacity_scale"])
def test_scenario_factors_are_checked(factor: str) -> None:
    for value in (-0.1, NAN, "2", True):
        with pytest.raises(InputError, match=f"{factor} = .* must be"):
            Scenario(**{factor: value})  # type: ignore[arg-type]
    with pytest.raises(InputError, match=f"unknown scenario factor 'loads'.*{factor}"):
        tiny().with_scenario(loads=2.0)
    with pytest.raises(InputError, match=r"(?s)2 problems.*load_scale = -1.*capacity_scale = 0"):
        tiny().with_scenario(load_scale=-1, capacity_scale=0)


def test_with_scenario_scales_each_quantity() -> None:
    case = tiny(participants=good()["participants"].assign(connection_import_kw=90.0, connection_export_kw=90.0))
    scaled = case.with_scenario(load_scale=2, import_scale=3, export_scale=0.5, capacity_scale=0.25)
    for name, factor in zip(WINDOW_ARRAYS, (2, 3, 0.5), strict=False):
        np.testing.assert_allclose(getattr(scaled.requests(0, 8), name), factor * getattr(case.requests(0, 8), name))
    assert (case.feeder.rating_kva[1], scaled.feeder.rating_kva[1]) == (50.0, 12.5)
    assert scaled.with_scenario(capacity_scale=1.0).feeder.rating_kva[1] == 50.0


def test_windows_by_hand() -> None:
    w = tiny().requests(0, 8)
    load, sun = np.array(LOAD), np.array(SUN)
    assert (w.n_steps, w.dt_h, w.start) == (8, 0.5, 0)
    np.testing.assert_allclose(w.inflexible_kw[:, 0], 0.5 * load + 0.25 * np.array([6, 7, 8, 1, 2, 3, 4, 5]))
    np.testing.assert_allclose(w.inflexible_kw[:, 1], -2 * np.array([0, 0, 0, 0.25, 0.5, 1, 0.5, 0.25]))
    np.testing.assert_allclose(w.export_request_kw, np.column_stack([8 * sun, 0 * sun]))
    # bob: 5 kWh at 4 kW are two and a half half-hours; ann: the profiles end after 7 of her 20 kWh
    bob = 0.5 * load + np.array([0, 4, 4, 2, 0, 0, 0, 0])
    np.testing.assert_allclose(w.import_request_kw, np.column_stack([[0] * 6 + [7, 7], bob]))
    full = tiny(sessions=table_with("sessions", 0, "energy_kwh", 8.0)).requests(0, 8)
    np.testing.assert_allclose(full.import_request_kw[:, 1] - 0.5 * load, [0, 4, 4, 4, 4, 0, 0, 0])


def test_sessions_ask_for_their_energy() -> None:
    case = load_case("synthetic:buses=120,days=3,seed=4")
    who = case.profiles.sessions["participant"].to_numpy()
    energy = np.bincount(who, case.profiles.sessions["energy_kwh"], minlength=case.n_participants)
    ends = case.profiles.sessions["first"] + 9 * 2 > case.n_steps
    inside = ~np.isin(np.arange(case.n_participants), who[ends])
    assert (inside & (energy > 0)).sum() > 5
    asked = case.requests(0, case.n_steps).import_request_kw.sum(axis=0) * case.dt_h
    np.testing.assert_allclose(asked[inside], energy[inside], rtol=1e-12, atol=1e-12)


def windows_equal(a: Any, b: Any) -> None:
    for name in (*WINDOW_ARRAYS, "start", "dt_h"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize("step", [1, 3, 7])
def test_blocks_make_up_the_whole(step: int) -> None:
    case, whole = tiny(), tiny().requests(0, 8)
    blocks = [case.requests(start, min(start + step, 8)) for start in range(0, 8, step)]
    assert [b.start for b in blocks] == list(range(0, 8, step))
    for name in WINDOW_ARRAYS:
        np.testing.assert_array_equal(np.concatenate([getattr(b, name) for b in blocks]), getattr(whole, name))


def test_interval_of_a_window() -> None:
    case, one = tiny(), tiny().requests(1, 8).interval(2)
    assert (one.start, list(one.times), one.n_steps) == (3, [TIMES[3]], 1)
    for name in WINDOW_ARRAYS[:3]:
        np.testing.assert_array_equal(getattr(one, name), getattr(case.requests(3, 4), name)[0])


@pytest.mark.parametrize("span", [(0, 9), (-1, 4), (8, 10)])
def test_windows_outside_the_profiles_are_refused(span: tuple[int, int]) -> None:
    with pytest.raises((InputError, IndexError)):
        tiny().requests(*span)


def test_requests_above_the_connection_are_named() -> None:
    small = table_with("participants", 1, "connection_import_kw", 5.0)
    with pytest.raises(InputError, match=r"'bob' asks for 5\.500 kW of import at 2030-01-07 01:00:00.* = 5") as caught:
        tiny(participants=small).requests(0, 3)
    assert "ann" not in str(caught.value)
    with pytest.raises(InputError, match=r"'ann' asks for 5\.000 kW of export at 2030-01-07 02:00:00"):
        tiny(participants=table_with("participants", 0, "connection_export_kw", 3.0)).requests(0, 8)


def test_a_request_of_exactly_the_connection_limit_is_accepted() -> None:
    profiles = good()["profiles"].assign(load=0.1)
    series = pd.DataFrame({"participant": ["bob"], "quantity": "import", "profile": "load", "scale_kw": 200.0})
    requests = tiny(profiles=profiles, series=series, sessions=None).requests(0, 8)
    np.testing.assert_allclose(requests.import_request_kw[:, 1], 20.0, rtol=1e-7)


def test_default_connection_is_the_rating_of_the_branch() -> None:
    people = good()["participants"].drop(columns=["connection_import_kw", "connection_export_kw"])
    case = tiny(participants=people, scenario=Scenario(capacity_scale=2.0))
    np.testing.assert_array_equal(case.connection_kw("import"), [50.0, 50.0])
    np.testing.assert_array_equal(case.feeder.rating_kva, [np.inf, 100.0])


def test_bus_injections_by_hand() -> None:
    case = tiny(participants=good()["participants"].assign(power_factor=0.8, power_factor_export=-0.6))
    p, q = case.bus_injections(np.array([4.0, 0.0]), np.array([0.0, 5.0]), np.array([3.0, 0.0]))
    np.testing.assert_allclose(p, [0.0, 3 - 4 - 5])
    np.testing.assert_allclose(q, [0.0, -3 * (4 / 3) - 4 * 0.75])


DATES = {("2030-01-08", "2030-01-08"): (48, 96), ("2030-01-08", None): (48, 336)}
DATES |= {("2030-01-07 12:00", "2030-01-07 13:00"): (24, 27), (TIMES[0].date(), TIMES[0].date()): (0, 48)}
SPANS: list[tuple[Any, Any]] = [(slice(*dates), span) for dates, span in DATES.items()]
SPANS += [(None, (0, 336)), (10, (0, 10)), (slice(5, 7), (5, 7)), (slice(None, 7), (0, 7))]


@pytest.mark.parametrize(("steps", "expected"), SPANS)
def test_span(steps: Any, expected: tuple[int, int]) -> None:
    assert load_case("synthetic:buses=10").span(steps) == expected


BAD_SPANS = [0, -3, 337, slice(7, 7), slice(-2, None), slice(330, 340), slice(0, 10, 2), slice("2031", None)]
BAD_SPANS += [slice("2029-01-01", "2029-01-02"), slice("2030-01-09", "2030-01-08"), slice("yesterday-ish", None)]


@pytest.mark.parametrize("steps", BAD_SPANS)
def test_span_outside_is_refused(steps: Any) -> None:
    with pytest.raises(InputError):
        load_case("synthetic:buses=10").span(steps)


def test_synthetic_is_seeded() -> None:
    first, again, other = (load_case(f"synthetic:buses=60,days=2,seed={seed}") for seed in (5, 5, 6))
    for a, b in zip(first.tables().values(), again.tables().values(), strict=True):
        pd.testing.assert_frame_equal(a, b)
    windows_equal(first.requests(0, 96), again.requests(0, 96))
    assert first.feeder.n_buses == other.feeder.n_buses == 60
    assert not first.tables()["branches"].equals(other.tables()["branches"])
    assert not np.array_equal(first.profiles.values, other.profiles.values)


BAD_CASES = {
    "mv33lw": "unknown case 'mv33lw'; valid choices: .*synthetic:buses=.*case folder",
    "synthetic:size=9": "'size'.* valid choices: buses, days, seed",
    **{f"synthetic:{spec}": said for spec, said in (("buses=4", "at least 5"), ("seed=-1", "at least 0"))},
    **{f"synthetic:buses={word}": "whole number" for word in ("ten", "", "--5", "\u00b2", "10.5")},
}


@pytest.mark.parametrize("case", list(BAD_CASES))
def test_unknown_case(case: str) -> None:
    with pytest.raises(InputError, match=BAD_CASES[case]):
        load_case(case)


def same_case(a: Case, b: Case) -> None:
    assert (a.name, a.title, a.participant_names, a.scenario) == (b.name, b.title, b.participant_names, b.scenario)
    windows_equal(a.requests(0, a.n_steps), b.requests(0, b.n_steps))
    for name in ("bus_names", "parent", "vn_kv", "v_min_pu", "v_max_pu", "lv_feeder", "tap", "branch_kind"):
        np.testing.assert_array_equal(getattr(a.feeder, name), getattr(b.feeder, name))
    np.testing.assert_allclose(a.feeder.rating_kva, b.feeder.rating_kva, rtol=1e-14)
    for one, other in zip(a.feeder.z_ohm, b.feeder.z_ohm, strict=True):  # pandas 2 reads the last digit less exactly
        np.testing.assert_allclose(one, other, rtol=1e-13)
    pd.testing.assert_frame_equal(a.participants, b.participants, check_exact=True, check_dtype=False)


def renamed(*tables: str, **names: str) -> Case:
    return tiny(**{t: good()[t].rename(columns=names).replace(names) for t in tables})


ROUND_TRIPS: dict[str, Any] = {
    "tiny": tiny,
    "synthetic": lambda: load_case("synthetic:buses=120,days=2,seed=2"),
    "scenario": lambda: tiny(scenario=Scenario(load_scale=0.5, capacity_scale=0.7, description='"dry" year')),
    "title": lambda: tiny(title="Gr\u00f6\u00dfe \U0001f50c"),
    "ten seconds": lambda: tiny(profiles=good()["profiles"].assign(time=TEN_SECONDS), sessions=None),
    "numbered profiles": lambda: renamed("profiles", "series", load="1", sun="2"),
    "named NA": lambda: renamed("participants", "series", "sessions", ann="NA", bob="007"),
}


@pytest.mark.parametrize("kind", list(ROUND_TRIPS))
def test_folder_round_trip(kind: str, tmp_path: Path) -> None:
    case = ROUND_TRIPS[kind]()
    same_case(case, load_case(save_case(case, tmp_path / "case")))
    with pytest.raises(InputError, match="not an empty folder"):
        save_case(case, tmp_path / "case")


FOLDER_EDITS = {  # file: (its new text, what is said); text None removes the file
    "buses.csv": (None, ("table 'buses' not found",)),
    "case.toml": ("stepminutes = 30", ("unknown key 'stepminutes'", "valid keys: name, ", "step_minutes")),
    "case.toml ": ("[scenario]\nloads = 2", ("unknown scenario key 'loads'", "load_scale")),
    "case.toml  ": ("[scenario]\nload_scale = -2", ("load_scale = -2",)),
    "case.toml    ": (None, ("case.toml not found",)),
    "series.csv.gz": ("", ("table 'series' stands twice", "series.csv, series.csv.gz")),
    "branches.csv": ("name,name\n", ("branches",)),
}


@pytest.mark.parametrize("file", list(FOLDER_EDITS))
def test_bad_folder(file: str, tmp_path: Path) -> None:
    path, (text, said) = save_case(tiny(), tmp_path / "case") / file.strip(), FOLDER_EDITS[file]
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_case(path.parent)
    assert all(fragment in str(caught.value) for fragment in said)
