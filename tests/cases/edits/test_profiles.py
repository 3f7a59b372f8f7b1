"""Other profiles in a case's own intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import amm_opt as ao
from amm_opt.testing.cases import small_case
from tests.cases.test_cases import LOAD, SUN, TIMES, good, tiny


def test_a_column_in_place_of_its_namesake() -> None:
    case = tiny()
    changed = case.with_profiles(pd.DataFrame({"sun": np.linspace(0, 0.7, 8), "wind": 0.5}))
    r, before = changed.requests(0, 8), case.requests(0, 8)
    np.testing.assert_allclose(r.export_request_kw[:, 0], 8 * np.linspace(0, 0.7, 8), rtol=1e-6)
    np.testing.assert_array_equal(r.import_request_kw, before.import_request_kw)
    assert changed.profiles.columns == ("load", "sun", "wind")
    assert changed.with_profiles(pd.DataFrame({"sun": SUN, "wind": 0.5})).fingerprint != case.fingerprint
    assert case.with_profiles(pd.DataFrame({"sun": SUN})).fingerprint == case.fingerprint


@pytest.mark.parametrize("balanced", [True, False], ids=["balanced", "phases"])
def test_kilowatts_of_participants(balanced: bool, tmp_path: Path) -> None:
    case = small_case(balanced)
    rng = np.random.default_rng(1)
    load = pd.DataFrame({"p3": rng.uniform(0, 4, 16), "p7": rng.uniform(-1, 2, 16)}, index=case.times)
    changed = case.with_profiles(load, "inflexible")
    r, before = changed.requests(0, 16), case.requests(0, 16)
    at = [case.participant_names.index(name) for name in load]
    want = before.inflexible_kw.copy()
    want[:, at] = load.to_numpy()
    np.testing.assert_allclose(r.inflexible_kw, want, rtol=1e-6)
    np.testing.assert_array_equal(r.import_request_kw, before.import_request_kw)
    np.testing.assert_array_equal(r.export_request_kw, before.export_request_kw)
    assert ao.load_case(ao.save_case(changed, tmp_path / "case")).fingerprint == changed.fingerprint
    assert changed.with_profiles(load, "inflexible").fingerprint == changed.fingerprint


def test_times_in_the_zone_of_the_case() -> None:
    case = tiny(timezone="Etc/GMT-10")
    sun = pd.DataFrame({"sun": [0.5] * 8}, index=TIMES.tz_localize("Etc/GMT-10"))
    np.testing.assert_allclose(case.with_profiles(sun).requests(0, 8).export_request_kw[:, 0], 4.0)
    with pytest.raises(ao.InputError, match="time zone UTC is not the case's Etc/GMT-10"):
        case.with_profiles(sun.tz_convert("UTC"))


def test_sessions_stay_beside_other_imports() -> None:
    case = tiny().with_profiles(pd.DataFrame({"bob": [1.0] * 8}), "import")
    np.testing.assert_allclose(case.requests(0, 8).import_request_kw[:, 1], 1 + np.array([0, 4, 4, 2, 0, 0, 0, 0]))


def test_a_column_that_others_follow_is_left_to_them() -> None:
    """Somebody else's load is called what ours would be."""
    profiles = good()["profiles"].rename(columns={"load": "ann inflexible"})
    series = good()["series"].replace({"load": "ann inflexible"})
    case = tiny(profiles=profiles, series=series).with_profiles(pd.DataFrame({"ann": [0.5] * 8}), "inflexible")
    r = case.requests(0, 8)
    np.testing.assert_allclose(r.inflexible_kw[:, 0], 0.5)
    np.testing.assert_allclose(r.import_request_kw[:, 1], 0.5 * np.array(LOAD) + [0, 4, 4, 2, 0, 0, 0, 0])


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"sun": SUN, **columns})


REFUSED: list[tuple[pd.DataFrame, str | None, str]] = [
    (frame(time=TIMES + pd.Timedelta("30min")), None, "row 1: 2030-01-07 00:30:00 is not 2030-01-07 00:00:00"),
    (frame(time=TIMES).set_index("time").shift(freq="1D"), None, "with_tables"),
    (frame().iloc[:7], None, "7 rows; the case has 8 intervals from 2030-01-07 00:00:00 to"),
    (frame(time=TIMES.tz_localize("UTC")), None, "has a time zone but the case gives none"),
    (frame(time="soon"), None, "column 'time' row 1: 'soon'"),
    (frame(time_h=range(8)), None, "column 'time_h' row 1: 1970-01-01 00:00:00 is not 2030-01-07 00:00:00"),
    (frame(time_h=range(8), time=TIMES), None, "give one of the columns time, time_h"),
    (pd.DataFrame({"time": TIMES}), None, "no column beside the times"),
    (frame(), "exports", "quantity = 'exports'; valid choices: inflexible, import, export"),
    (frame(), "export", "no participants 'sun'; there are such as 'ann', 'bob'"),
    (pd.DataFrame({"ann": [-1.0] * 8}), "export", "row 1: negative request -1"),
    (pd.DataFrame({"ann": ["a lot"] * 8}), "inflexible", "row 1: 'a lot' is not a finite number"),
]


@pytest.mark.parametrize(("profiles", "quantity", "said"), REFUSED, ids=[said for _, _, said in REFUSED])
def test_profiles_that_do_not_fit(profiles: pd.DataFrame, quantity: str | None, said: str) -> None:
    with pytest.raises(ao.InputError) as caught:
        tiny().with_profiles(profiles, quantity)
    assert said in str(caught.value)


def test_all_at_once() -> None:
    with pytest.raises(ao.InputError) as caught:
        tiny().with_profiles(frame(time=TIMES + pd.Timedelta("1D")), "imports")
    assert len(caught.value.problems) == 2
