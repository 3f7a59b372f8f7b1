"""Cars that come and leave inside an interval: they charge while they are there, and count for that part of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small import rebuilt

import amm_opt as ao
from amm_opt.cases import Case
from tests.simulation.test_waiting import DT, NAMES, charging


def at(*minutes: float) -> list[pd.Timestamp]:
    return [pd.Timestamp("2030-01-07") + pd.Timedelta(minutes=m) for m in minutes]


def cars(rating_kva: float, rows: Sequence[tuple[int, float, float, float, float]], *, steps: int = 4) -> Case:
    """Sessions as (participant, minute of arrival, minute of departure, kW, kWh)."""
    case = charging(rating_kva, 1 + max(row[0] for row in rows), steps, [])
    table = [(f"p{i}", *at(begin, end), power, energy) for i, begin, end, power, energy in rows]
    return rebuilt(case, sessions=pd.DataFrame(table, columns=list(NAMES)))


PART_OF_AN_INTERVAL = [  # kVA; minutes, kW, kWh; mean power in each half-hour; short, kWh
    (4.0, (0, 50, 6.0, 5.0), [4, 8 / 3, 0, 0], 5 - 2 - 4 / 3),  # leaves
    (4.0, (20, 90, 6.0, 4.0), [4 / 3, 4, 8 / 3, 0], 0.0),  # comes
    (4.0, (40, 55, 6.0, 1.5), [0, 2, 0, 0], 0.5),  # both in one
    (40.0, (40, 55, 6.0, 1.5), [0, 3, 0, 0], 0.0),
    (40.0, (25, 65, 6.0, 4.0), [1, 6, 1, 0], 0.0),
    (4.0, (25, 65, 6.0, 4.0), [2 / 3, 4, 2 / 3, 0], 4 / 3),
]


@pytest.mark.parametrize(("rating", "car", "means", "short"), PART_OF_AN_INTERVAL)
@pytest.mark.parametrize("mechanism", ["amm", "equal_doe", "fot:window=4"])
def test_a_car_charges_while_it_is_there(
    rating: float, car: tuple[float, float, float, float], means: list[float], short: float, mechanism: str
) -> None:
    """Its power is limited by the network while it is there; energy and mean power count that part alone."""
    run = ao.simulate(cars(rating, [(0, *car)]), mechanism, defer=True)
    np.testing.assert_allclose(run.allocation.import_kw[:, 0], means, atol=1e-5)
    assert run.departed is not None
    assert run.departed.left_kwh.sum() == pytest.approx(short, abs=1e-5)
    assert run.summary["requested_import_mwh"] == pytest.approx(car[-1] / 1000)
    assert run.summary["unserved_mwh"] == pytest.approx(short / 1000, abs=1e-8)


def test_two_cars_of_which_one_leaves() -> None:
    """Both charge at 3 of 6 kVA until the first leaves at 0:40; from 1:00 on the second has 6."""
    case = cars(6.0, [(0, 0, 40, 6.0, 4.0), (1, 0, 120, 6.0, 12.0)])
    run = ao.simulate(case, "amm:alpha=0", defer=True)
    np.testing.assert_allclose(run.allocation.import_kw, [[3, 3], [1, 3], [0, 6], [0, 6]], atol=1e-5)
    memory = run.state.arrays()
    np.testing.assert_allclose(memory["served_kwh"][0], [2, 9], atol=1e-5)
    np.testing.assert_allclose(memory["requested_kwh"][0], [3 + 1, 12], atol=1e-5)


def test_without_waiting_a_car_draws_nothing_before_it_comes() -> None:
    case = cars(100.0, [(0, 20, 90, 6.0, 4.0)])
    for defer in (False, True):
        run = ao.simulate(case, "no_control", defer=defer)
        np.testing.assert_allclose(run.allocation.import_kw[:, 0], [2, 6, 0, 0], atol=1e-9)


def test_use_that_others_counted_on_for_relief() -> None:
    """4 kVA: 10 kW of sun, next to 6 kW that a car draws for ten minutes. In the mean there is room for 6 kW of sun."""
    case = cars(4.0, [(0, 0, 10, 6.0, 1.0)])
    tables = case.tables()
    sun = pd.DataFrame({"participant": ["p0"], "quantity": ["export"], "profile": ["sun"], "scale_kw": [1.0]})
    case = rebuilt(case, profiles=tables["profiles"].assign(sun=[10.0, 0, 0, 0]), series=sun)
    run = ao.simulate(case, "amm", defer=True)
    assert run.summary["thermal_violations"] == 0
    assert run.summary["repaired_steps"] == 1
    x, y = run.allocation.import_kw[0, 0], run.allocation.export_kw[0, 0]
    assert y - x == pytest.approx(4.0, abs=1e-3)
    assert run.departed is not None
    assert x * DT + run.departed.left_kwh.sum() == pytest.approx(1.0, abs=1e-9)


def test_times_inside_intervals_survive_storage(tmp_path: Path) -> None:
    case = cars(4.0, [(0, 7.25, 50.5, 6.0, 4.0), (1, 30, 60, 6.0, 3.0)])
    path = ao.save_case(case, tmp_path / "case")
    stored = pd.read_parquet(path / "sessions.parquet")
    assert list(pd.to_datetime(stored["arrival"])) == at(7.25, 30)
    assert list(pd.to_datetime(stored["departure"])) == at(50.5, 60)
    again = ao.load_case(path)
    pd.testing.assert_frame_equal(again.profiles.sessions, case.profiles.sessions)
    assert again.fingerprint == case.fingerprint
    assert cars(4.0, [(0, 0, 50.5, 6.0, 4.0)]).fingerprint != cars(4.0, [(0, 0, 50, 6.0, 4.0)]).fingerprint


@pytest.mark.parametrize("mechanism", ["amm", "fot:window=all", "fet"])
def test_cars_that_share_a_connection_queue(mechanism: str, tmp_path: Path) -> None:
    """Two cars of 5 kW behind 6 kW: 1 kW waits, and follows when the first has left; later intervals are planned so."""
    case = cars(100.0, [(0, 0, 60, 5.0, 5.0), (0, 0, 120, 5.0, 5.0)])
    case = rebuilt(case, participants=case.participants.assign(connection_import_kw=6.0))
    run = ao.simulate(case, mechanism, defer=True)
    np.testing.assert_allclose(run.allocation.import_kw[:, 0], [6, 6, 5, 3], rtol=1e-5)
    assert run.summary["unserved_mwh"] == pytest.approx(0.0, abs=1e-8)
    run.save(tmp_path / "run")
    loaded = ao.open_run(tmp_path / "run")
    np.testing.assert_array_equal(loaded.requests.import_request_kw, run.requests.import_request_kw)
    np.testing.assert_array_equal(loaded.store.feeder_kw, run.store.feeder_kw)
