"""Energy that can wait: charging sessions ask again for what they have not got, until they depart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from small import one_transformer, rebuilt, shuffled
from tiny import tiny_case

import amm_opt as ao
from amm_opt.cases import Case
from amm_opt.simulation.loop import loop
from amm_opt.simulation.loop.waiting import Backlog, Sessions
from amm_opt.study.cli import main

NAMES = ("participant", "arrival", "departure", "power_kw", "energy_kwh")
DT = 0.5
Session = tuple[int, int, int, float, float]


def with_sessions(case: Case, sessions: Sequence[Session]) -> Case:
    """Sessions as (participant, first interval, last interval, kW, kWh)."""
    step = case.times[1] - case.times[0]
    rows = [
        (case.participant_names[i], case.times[0] + a * step, case.times[0] + (b + 1) * step, power, energy)
        for i, a, b, power, energy in sessions
    ]
    return rebuilt(case, sessions=pd.DataFrame(rows, columns=list(NAMES)))


def charging(rating_kva: float, people: int, steps: int, sessions: Sequence[Session], series: Any = 0.0) -> Case:
    """Half-hours behind one transformer, which is the only limit."""
    series = np.broadcast_to(series, (steps, people))
    return with_sessions(one_transformer(rating_kva, np.zeros((steps, people)), series, series * 0), sessions)


def received(case: Case, run: ao.Run) -> np.ndarray:
    """(n,) kWh that every participant's sessions got, by what they still lack."""
    s, stop = Sessions(case), run.first + len(run.times)
    arrived = (s.first < stop) & (s.last >= run.first)
    start = s.at_start(run.first)
    begun = np.where(s.first >= run.first, s.energy_kwh, 0.0)
    begun[start.session] = start.left_kwh
    assert run.backlog is not None
    assert run.departed is not None
    lack = np.zeros(len(s.first))
    for part in (run.backlog, run.departed):
        np.add.at(lack, part.session, part.left_kwh)
    return np.bincount(s.participant, np.where(arrived, begun - lack, 0.0), minlength=case.n_participants)


def test_three_intervals_by_hand() -> None:
    """A needs 2 kWh until 1:00, B 4 kWh until 1:30; both could draw 4 kW, the transformer carries 4 kVA."""
    case = charging(4.0, 2, 4, [(0, 0, 1, 4.0, 2.0), (1, 0, 2, 4.0, 4.0)])
    run = ao.simulate(case, "amm:alpha=0", defer=True)
    by_hand = [[2, 2], [4 / 3, 8 / 3], [0, 10 / 3], [0, 0]]
    np.testing.assert_allclose(run.allocation.import_kw, by_hand, atol=1e-7)
    assert run.departed is not None
    np.testing.assert_array_equal(run.departed.session, [0])
    np.testing.assert_allclose(run.departed.left_kwh, [1 / 3], atol=1e-7)
    expected = {"requested_import_mwh": 0.006, "unserved_mwh": 0.001 / 3, "waiting_mwh": 0.0}
    expected["worst_participant_served"] = 5 / 6
    for column, value in expected.items():
        assert run.summary[column] == pytest.approx(value, abs=1e-9), column
    instantaneous = ao.simulate(case, "amm:alpha=0")
    np.testing.assert_allclose(instantaneous.allocation.import_kw, [[2, 2], [0, 4], [0, 0], [0, 0]], atol=1e-7)
    assert instantaneous.summary["requested_import_mwh"] == pytest.approx(0.006)


def test_what_still_waits_at_the_end() -> None:
    case = charging(4.0, 1, 4, [(0, 1, 3, 8.0, 12.0)])
    run = ao.simulate(case, "amm", steps=3, defer=True)
    np.testing.assert_allclose(run.allocation.import_kw[:, 0], [0, 4, 4], atol=1e-7)
    assert run.summary["requested_import_mwh"] == pytest.approx(0.008)
    assert run.summary["unserved_mwh"] == pytest.approx(0.004)
    assert run.summary["waiting_mwh"] == pytest.approx(0.004)
    assert run.backlog is not None
    np.testing.assert_allclose(run.backlog.left_kwh, [8.0], atol=1e-7)


def test_a_run_starts_with_what_is_open() -> None:
    case = charging(100.0, 1, 6, [(0, 0, 4, 4.0, 7.0)])
    np.testing.assert_allclose(Sessions(case).at_start(2).left_kwh, [3.0])
    for run in (ao.simulate(case, "amm", steps=slice(2, 6), defer=d) for d in (True, False)):
        np.testing.assert_allclose(run.allocation.import_kw[:, 0], [4, 2, 0, 0])


def test_series_first_then_the_earliest_departure() -> None:
    sessions = [(0, 0, 3, 4.0, 8.0), (0, 0, 1, 4.0, 2.0), (0, 0, 3, 2.0, 4.0)]
    case = charging(7.0, 1, 4, sessions, series=[[3.0]])
    s = Sessions(case)
    firm = s.firm(case.requests(0, 1))
    np.testing.assert_allclose(firm.import_request_kw, [[3.0]])
    start = s.at_start(0)
    np.testing.assert_allclose(s.asked(start, firm).import_request_kw, [[13.0]])
    for served, left in ((2.0, [8, 2, 4]), (5.0, [8, 1, 4]), (8.0, [8, 0, 3.5]), (13.0, [6, 0, 3])):
        after, departed = s.after(start, firm.interval(0), np.array([served]))
        found = np.zeros(3)
        found[after.session] = after.left_kwh
        np.testing.assert_allclose(found, left)
        assert len(departed.session) == 0


def test_never_more_than_the_connection_leaves() -> None:
    case = charging(3.0, 1, 5, [(0, 0, 1, 5.0, 5.0), (0, 1, 4, 5.0, 5.0)])
    people = case.participants.assign(connection_import_kw=6.0)
    crowded = rebuilt(case, participants=people)
    with pytest.raises(ao.InputError, match="connection_import_kw"):
        ao.simulate(crowded, "amm")
    run = ao.simulate(crowded, "amm", defer=True)
    np.testing.assert_allclose(run.allocation.import_kw[:, 0], [3, 3, 3, 3, 3], atol=1e-6)
    apart = [(0, 0, 2, 5.0, 5.0), (0, 2, 4, 5.0, 5.0)]
    case = rebuilt(with_sessions(case, apart), participants=people)
    s = Sessions(case)
    backlog = Backlog(np.array([0]), np.array([4.0]))
    np.testing.assert_allclose(s.asked(backlog, s.firm(case.requests(2, 3))).import_request_kw, [[6.0]], rtol=2e-6)


@pytest.mark.parametrize("phases", [False, True], ids=["balanced", "phases"])
@pytest.mark.parametrize("mechanism", ["amm", "fet", "fot:window=4", "equal_doe", "leximin", "fot_storage:window=3"])
def test_energy_is_neither_lost_nor_made(mechanism: str, phases: bool) -> None:
    """What sessions asked for is what they got, what they departed short of and what still waits."""
    for seed in range(3):
        case = tiny_case(seed, phases, sessions=True, batteries=True)
        tables = case.tables()
        case = rebuilt(case, series=tables["series"].query("quantity != 'import'"))
        run = ao.simulate(case, mechanism, defer=True)
        assert not run.failed_steps
        table = tables["sessions"]
        asked = table.groupby("participant")["energy_kwh"].sum().to_numpy()
        lacking = np.zeros(6)
        for part in (run.backlog, run.departed):
            assert part is not None
            np.add.at(lacking, case.profiles.sessions["participant"].to_numpy()[part.session], part.left_kwh)
        np.testing.assert_allclose(run.allocation.import_kw.sum(axis=0) * DT + lacking, asked, atol=1e-9)
        waiting = run.summary["waiting_mwh"]
        assert run.departed is not None
        unserved = 1000 * (run.summary["unserved_mwh"] - waiting)
        assert unserved == pytest.approx(run.departed.left_kwh.sum(), abs=1e-6)
        assert run.summary["thermal_violations"] == run.summary["voltage_violations"] == 0


FORGETFUL = "amm:priority=shortage,rho=1"  # some vehicles leave without all they asked for


def weeks() -> Case:
    case = ao.load_case("synthetic:buses=130,days=21,seed=5").with_scenario(capacity_scale=0.45)
    fridge = pd.DataFrame({"participant": case.participant_names[:9], "quantity": "import", "profile": "home0"})
    series = case.tables()["series"]
    return rebuilt(case, series=pd.concat([series, fridge.assign(scale_kw=1.5, shift_steps=0)], ignore_index=True))


@pytest.fixture(scope="module")
def scarce() -> tuple[Case, ao.Run]:
    case = weeks()
    return case, ao.simulate(case, FORGETFUL, defer=True)


def test_the_balance_of_weeks_closes(scarce: tuple[Case, ao.Run]) -> None:
    case, run = scarce
    firm = Sessions(case).firm(case.requests(0, case.n_steps)).import_request_kw
    served = run.allocation.import_kw
    assert run.departed is not None
    assert len(run.departed.session) > 5
    only_sessions = firm.sum(axis=0) == 0
    energy = served.sum(axis=0) * DT
    np.testing.assert_allclose(energy[only_sessions], received(case, run)[only_sessions], atol=1e-6)
    to_series = np.minimum(served, firm).sum(axis=0) * DT
    np.testing.assert_allclose(energy, received(case, run) + to_series, atol=1e-6)


def test_requested_energy_counts_once(scarce: tuple[Case, ao.Run]) -> None:
    case, run = scarce
    plain = ao.simulate(case, FORGETFUL)
    assert run.summary["requested_import_mwh"] == plain.summary["requested_import_mwh"]
    assert run.summary["unserved_mwh"] < 0.9 * plain.summary["unserved_mwh"]
    assert run.summary["thermal_violations"] == run.summary["voltage_violations"] == 0
    s = Sessions(case)
    assert run.backlog is not None
    assert run.departed is not None
    firm = s.firm(case.requests(0, case.n_steps)).import_request_kw
    short = np.maximum(firm - run.allocation.import_kw, 0).sum() * DT
    lack = short + run.departed.left_kwh.sum() + s.waiting_kwh(run.backlog, case.n_steps).sum()
    assert run.summary["unserved_mwh"] == pytest.approx(lack / 1000, abs=1e-9)
    requested, served = run.feeder_energy()
    assert np.all(served[0] <= requested[0] + 1e-6)


@pytest.mark.parametrize("length", [1, 7, 1000])
def test_block_length_does_not_matter(
    scarce: tuple[Case, ao.Run], length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, run = scarce
    monkeypatch.setattr(loop, "BLOCK_STEPS", length)
    again = ao.simulate(case, FORGETFUL, steps=150, defer=True)
    np.testing.assert_allclose(again.allocation.import_kw, run.allocation.import_kw[:150], atol=1e-9)
    np.testing.assert_allclose(again.allocation.export_kw, run.allocation.export_kw[:150], atol=1e-9)


@pytest.mark.parametrize("length", [5, 1000])
def test_block_length_does_not_matter_with_a_horizon(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    case = weeks()
    run = ao.simulate(case, "fuh:window=6h", steps=96, defer=True)
    monkeypatch.setattr(loop, "BLOCK_STEPS", length)
    again = ao.simulate(case, "fuh:window=6h", steps=96, defer=True)
    np.testing.assert_allclose(again.allocation.import_kw, run.allocation.import_kw, atol=1e-9)
    np.testing.assert_allclose(again.allocation.export_kw, run.allocation.export_kw, atol=1e-9)


def test_fresh_starts_do_not_matter(scarce: tuple[Case, ao.Run], monkeypatch: pytest.MonkeyPatch) -> None:
    case, run = scarce
    monkeypatch.setattr(loop, "BLOCK_STEPS", 25)
    again = ao.simulate(case, FORGETFUL, steps=150, defer=True)
    np.testing.assert_allclose(again.allocation.import_kw, run.allocation.import_kw[:150], atol=1e-5)
    assert again.departed is not None
    lack = Backlog.joined([again.departed])
    assert np.all(np.diff(Sessions(case).last[lack.session]) >= 0)


def test_enough_capacity_is_instantaneous() -> None:
    case = ao.load_case("synthetic:buses=60,days=3,seed=5").with_scenario(capacity_scale=5.0)
    runs = [ao.simulate(case, "no_control", defer=defer) for defer in (True, False)]
    np.testing.assert_allclose(runs[0].allocation.import_kw, runs[1].allocation.import_kw, atol=1e-12)
    assert runs[0].summary["unserved_mwh"] == pytest.approx(0.0, abs=1e-12)
    assert "waiting_mwh" not in runs[1].summary
    assert runs[1].backlog is None


def test_order_of_participants_does_not_matter(scarce: tuple[Case, ao.Run]) -> None:
    case, run = scarce
    other = shuffled(case, 3)
    at = [other.participant_names.index(name) for name in case.participant_names]
    again = ao.simulate(other, FORGETFUL, steps=200, defer=True)
    np.testing.assert_allclose(again.allocation.import_kw[:, at], run.allocation.import_kw[:200], atol=1e-5)


sessions_of_three = st.lists(
    st.tuples(
        st.integers(0, 2), st.integers(0, 9), st.integers(0, 6), st.floats(1.0, 8.0), st.floats(0.0, 1.0, width=32)
    ),
    min_size=1,
    max_size=8,
).map(lambda rows: [(i, a, a + n, p, share * p * DT * (n + 1)) for i, a, n, p, share in rows])


@settings(max_examples=12, deadline=None)
@given(sessions_of_three, st.floats(2.0, 20.0), st.floats(0.0, 3.0))
def test_waiting_serves_at_least_as_much(sessions: list[Session], rating: float, series: float) -> None:
    """Behind one transformer every interval serves at least as much: who waited asks for at least as much."""
    case = charging(rating, 3, 12, sessions, series=[[series, 0.0, 0.0]])
    waits, plain = (ao.simulate(case, "amm", defer=defer) for defer in (True, False))
    gain = waits.allocation.import_kw.sum(axis=1) - plain.allocation.import_kw.sum(axis=1)
    assert np.all(gain >= -1e-6)
    assert waits.summary["thermal_violations"] == 0
    firm = np.array([series, 0.0, 0.0])
    to_series = np.minimum(waits.allocation.import_kw, firm).sum(axis=0) * DT
    np.testing.assert_allclose(
        waits.allocation.import_kw.sum(axis=0) * DT, received(case, waits) + to_series, atol=1e-6
    )


@settings(max_examples=25, deadline=None)
@given(sessions_of_three, st.lists(st.tuples(*[st.floats(0.0, 1.0)] * 3), min_size=12, max_size=12))
def test_each_session_gets_its_energy_while_it_is_there(sessions: list[Session], share: list[Any]) -> None:
    case = charging(50.0, 3, 12, sessions, series=[[1.0, 0.0, 2.0]])
    s = Sessions(case)
    firm = s.firm(case.requests(0, 12))
    backlog, got, lost = s.at_start(0), np.zeros((12, len(sessions))), np.zeros(len(sessions))
    for k in range(12):
        before = np.where(s.first == k, s.energy_kwh, 0.0)
        before[backlog.session] = backlog.left_kwh
        asked = s.asked(backlog, firm.select(slice(k, k + 1))).import_request_kw[0]
        served = asked * np.array(share[k])
        backlog, departed = s.after(backlog, firm.interval(k), served)
        left = np.zeros(len(sessions))
        left[backlog.session] = backlog.left_kwh
        left[departed.session] = lost[departed.session] = departed.left_kwh
        got[k] = (before - left) / DT
        to_series = np.minimum(served, firm.import_request_kw[k])
        given = np.bincount(s.participant, got[k], minlength=3)
        np.testing.assert_allclose(given, served - to_series, atol=1e-6)
    k = np.arange(12)[:, None]
    outside = (k < s.first) | (k > s.last)
    assert np.all(got >= -1e-9)
    assert np.all(got <= s.power_kw + 1e-6)
    assert np.all(got[outside] == 0)
    assert np.all(got.sum(axis=0) * DT <= s.energy_kwh + 1e-6)
    there = s.last < 12
    np.testing.assert_allclose((got.sum(axis=0) * DT + lost)[there], s.energy_kwh[there], atol=1e-6)


def test_the_scenario_scales_sessions() -> None:
    case = charging(50.0, 2, 4, [(0, 0, 1, 4.0, 2.0), (1, 0, 2, 4.0, 4.0)])
    for scale in (0.5, 0.0):
        scaled = case.with_scenario(import_scale=scale)
        run = ao.simulate(scaled, "no_control", defer=True)
        np.testing.assert_allclose(run.allocation.import_kw, scaled.requests(0, 4).import_request_kw, atol=1e-12)


@pytest.mark.parametrize("window", [1, 2, 4])
def test_what_waits_is_planned_again(window: int) -> None:
    """8 kWh at up to 8 kW behind 4 kVA: what an interval leaves returns in the next, inside a window or not."""
    case = charging(4.0, 1, 4, [(0, 0, 3, 8.0, 8.0)])
    run = ao.simulate(case, f"fot:window={window}", defer=True)
    np.testing.assert_allclose(run.allocation.import_kw[:, 0], [4, 4, 4, 4], atol=1e-5)
    assert run.summary["unserved_mwh"] == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("mechanism", ["fet", "fot:window=1D", "fuh:window=1D", "equal_doe:enrolled=requesting"])
def test_every_mechanism_can_make_wait(mechanism: str) -> None:
    case = weeks()
    run = ao.simulate(case, mechanism, steps=144, defer=True)
    plain = ao.simulate(case, mechanism, steps=144)
    assert not run.failed_steps
    assert run.summary["requested_import_mwh"] == plain.summary["requested_import_mwh"]
    assert run.summary["unserved_mwh"] < plain.summary["unserved_mwh"]
    firm = Sessions(case).firm(case.requests(0, 144)).import_request_kw
    to_series = np.minimum(run.allocation.import_kw, firm).sum(axis=0) * DT
    np.testing.assert_allclose(run.allocation.import_kw.sum(axis=0) * DT, received(case, run) + to_series, atol=1e-6)


def test_a_backlog_is_immutable_and_serialisable() -> None:
    backlog = Backlog(np.array([3, 1]), np.array([0.5, 2.0]))
    with pytest.raises(ValueError, match="read-only"):
        backlog.left_kwh[0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        backlog.session[0] = 1
    again = Backlog.from_arrays(backlog.arrays())
    np.testing.assert_array_equal(again.session, [3, 1])
    assert again.session.dtype == np.intp
    np.testing.assert_array_equal(again.left_kwh, [0.5, 2.0])


def test_what_waiting_does_not_go_with() -> None:
    case = charging(4.0, 1, 4, [(0, 0, 3, 8.0, 8.0)])
    assert ao.simulate(case, "equal_doe", defer=True, workers=2).workers == 1
    with pytest.raises(ao.InputError, match="no forecast"):
        ao.simulate(case, "amm", defer=True, forecast="persistence")


def test_compare_spreads_nothing_over_processes() -> None:
    case = charging(4.0, 1, 4, [(0, 0, 3, 8.0, 8.0)])
    table = ao.compare(case, ["no_control", "amm"], workers=2, defer=True).table
    np.testing.assert_allclose(table["waiting_mwh"], 0.0, atol=1e-9)


def test_command_line(tmp_path: Path) -> None:
    spec = ["run", "synthetic:buses=60,days=2,seed=5", "--mechanism", "amm", "--defer", "--out", str(tmp_path / "o")]
    result = CliRunner().invoke(main, spec)
    assert result.exit_code == 0, result.output
    assert "still waiting at the end, kWh: amm" in result.output
    loaded = ao.open_run(tmp_path / "o" / "amm")
    assert loaded.summary["waiting_mwh"] >= 0


def folder(tmp_path: Path, sessions: Sequence[Session] | pd.DataFrame) -> Path:
    case = charging(4.0, 2, 6, [(0, 0, 3, 8.0, 8.0), (1, 1, 2, 4.0, 1.0)])
    path = ao.save_case(case, tmp_path / "case")
    (path / "sessions.parquet").unlink()
    table = pd.DataFrame(sessions, columns=list(NAMES))
    table.to_csv(path / "sessions.csv", index=False)
    return path


def test_all_bad_sessions_are_named(tmp_path: Path) -> None:
    rows = [
        ("p0", "2030-01-07 01:00", "2030-01-07 00:30", 4, 1),
        ("p1", "2030-01-07 00:00", "2030-01-07 01:00", 4, 5),
        ("p9", "2030-01-07 00:00", "2030-01-07 01:00", -4, 1),
    ]
    result = CliRunner().invoke(main, ["run", str(folder(tmp_path, rows)), "--mechanism", "amm", "--defer"])
    assert result.exit_code == 2
    for said in (
        "row 1: departure 2030-01-07 00:30 is not after arrival 2030-01-07 01:00",
        "row 2: 5 kWh cannot fit between 2030-01-07 00:00 and 2030-01-07 01:00 at 4 kW: at most 4 kWh do",
        "row 3: unknown participant 'p9'",
        "row 3: power_kw = -4 must be positive",
    ):
        assert said in result.output


def test_a_horizon_shorter_than_what_is_committed(tmp_path: Path) -> None:
    script = tmp_path / "rash.py"
    script.write_text(
        "from formulations import FairOverTime\nclass Rash(FairOverTime):\n    name = 'rash'\n    commit = 4\n"
    )
    spec = ["run", "synthetic:buses=60,days=2", "--mechanism", f"{script}:Rash:window=2"]
    result = CliRunner().invoke(main, spec)
    assert result.exit_code == 2, result.output
    assert "horizon = 2 intervals is shorter than commit = 4" in result.output
