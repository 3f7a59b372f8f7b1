"""Batteries of participants, and the mechanism that schedules them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from small import one_transformer, rebuilt, shuffled, small_case

import amm_opt as ao
from amm_opt.cases import Case
from amm_opt.simulation.loop import loop
from amm_opt.study.cli import main

DT = 0.5


def noon_and_evening(efficiency: float, initial: float, *, rating: float = 4.0, **columns: Any) -> Case:
    """8 kW of sun in the first half-hour, 8 kW asked for in the second; a battery of 10 kWh and 4 kW."""
    battery = {"battery_kwh": 10.0, "battery_kw": 4.0, "battery_efficiency": efficiency, "battery_initial": initial}
    return one_transformer(rating, [[0.0], [0.0]], [[0.0], [8.0]], [[8.0], [0.0]], **{**battery, **columns})


BY_HAND = [  # efficiency, initial share; accepted at noon, served in the evening, battery, content at the end
    (1.0, 0.0, 8.0, 8.0, (-4.0, 4.0), 0.0),
    (0.5, 0.0, 8.0, 5.0, (-4.0, 1.0), 0.0),
    (0.5, 1.0, 4.0, 8.0, (0.0, 4.0), 6.0),
]


@pytest.mark.parametrize(("efficiency", "initial", "accepted", "served", "battery", "left"), BY_HAND)
def test_two_intervals_by_hand(
    efficiency: float, initial: float, accepted: float, served: float, battery: tuple[float, float], left: float
) -> None:
    run = ao.simulate(noon_and_evening(efficiency, initial), "fot_storage:window=2")
    a = run.allocation
    assert a.battery_kw is not None
    np.testing.assert_allclose(a.export_kw[:, 0], [accepted, 0], atol=1e-5)
    np.testing.assert_allclose(a.import_kw[:, 0], [0, served], atol=1e-5)
    np.testing.assert_allclose(a.battery_kw[:, 0], battery, atol=1e-5)
    np.testing.assert_allclose(run.state.arrays()["stored_kwh"], [left], atol=1e-5)
    assert run.summary["charged_mwh"] == pytest.approx(-min(battery[0], 0) * DT / 1000, abs=1e-8)
    assert run.summary["discharged_mwh"] == pytest.approx(max(battery[1], 0) * DT / 1000, abs=1e-8)
    assert run.summary["thermal_violations"] == 0


def test_a_full_battery_does_not_burn_what_is_too_much() -> None:
    """Charging 4 kW and discharging 1 kW at once would leave it full and make room for 3 kW of sun in either interval.

    What can be had is that in one of them: 1 kW discharged in the other leaves room for 4 kW.
    """
    case = one_transformer(
        4.0,
        np.zeros((2, 1)),
        np.zeros((2, 1)),
        [[8.0], [8.0]],
        battery_kwh=10.0,
        battery_kw=4.0,
        battery_efficiency=0.5,
        battery_initial=1.0,
    )
    run = ao.simulate(case, "fot_storage:window=2")
    np.testing.assert_allclose(run.allocation.export_kw[:, 0], [3, 8], atol=1e-5)
    np.testing.assert_allclose(run.allocation.battery_kw, [[1], [-4]], atol=1e-5)


def test_content_is_carried_from_window_to_window() -> None:
    """Charged at noon in the first window, discharged in the evening in the second."""
    power = np.array([[8.0], [0.0], [0.0], [0.0]])
    battery = {"battery_kwh": 10.0, "battery_kw": 4.0, "battery_efficiency": 1.0, "battery_initial": 0.0}
    case = one_transformer(4.0, power * 0, power[::-1], power, **battery)
    run = ao.simulate(case, "fot_storage:window=2")
    assert run.allocation.battery_kw is not None
    np.testing.assert_allclose(run.allocation.battery_kw[:, 0], [-4, 0, 0, 4], atol=1e-5)
    assert run.summary["unserved_mwh"] == pytest.approx(0.0, abs=1e-8)


def test_the_neighbour_without_battery_gains_too() -> None:
    """The owner's battery covers the owner, which leaves the transformer to the neighbour."""
    case = one_transformer(
        4.0,
        np.zeros((2, 2)),
        [[8.0, 8.0], [0.0, 0.0]],
        np.zeros((2, 2)),
        battery_kwh=[10.0, 0.0],
        battery_kw=[4.0, 0.0],
        battery_initial=[1.0, 0.5],
        battery_efficiency=1.0,
    )
    with_it, without = (
        ao.simulate(case, m) for m in ("fot_storage:window=2,per=participant", "fot:window=2,per=participant")
    )
    np.testing.assert_allclose(without.allocation.import_kw[0], [2, 2], atol=1e-5)
    np.testing.assert_allclose(with_it.allocation.import_kw[0], [4, 4], atol=1e-5)
    assert without.allocation.battery_kw is None
    assert "charged_mwh" not in without.summary


def test_the_connection_limits_what_charges() -> None:
    case = noon_and_evening(1.0, 0.0, rating=100.0, connection_import_kw=8.0, connection_export_kw=8.0)
    tight = {"connection_import_kw": [10.0, 9.0], "connection_export_kw": 9.0}
    power = [[0.0, 0.0], [8.0, 8.0]]
    case = small_case(
        {"lv": ("src", 1e-4, 13.0)},
        ["lv", "lv"],
        np.zeros((2, 2)),
        power,
        np.zeros((2, 2)),
        battery_kwh=[50.0, 0.0],
        battery_kw=[30.0, 0.0],
        battery_efficiency=1.0,
        battery_initial=0.0,
        **tight,
    )
    run = ao.simulate(case, "fot_storage:window=2")
    b = run.allocation.battery_kw
    assert b is not None
    np.testing.assert_allclose(b[0, 0], -3.0, atol=1e-4)
    np.testing.assert_allclose(run.allocation.import_kw[1], [8, 8], atol=1e-4)
    net = run.allocation.drawn_kw - run.allocation.injected_kw
    assert np.all(net <= [10.0 + 1e-4, 9.0 + 1e-4])
    small = rebuilt(case, participants=case.participants.assign(connection_import_kw=[8.0, 9.0]))
    again = ao.simulate(small, "fot_storage:window=2")
    assert again.allocation.battery_kw is not None
    assert np.all(again.allocation.drawn_kw[:, 0] <= 8.0 + 1e-4)


def homes(days: int = 14, buses: int = 75) -> Case:
    case = ao.load_case(f"synthetic:buses={buses},days={days},seed=5").with_scenario(capacity_scale=0.5)
    rng = np.random.default_rng(2)
    owner = rng.random(case.n_participants) < 0.2
    battery = {
        "battery_kwh": np.where(owner, rng.uniform(4, 14, len(owner)).round(1), 0.0),
        "battery_kw": np.where(owner, 5.0, 0.0),
        "battery_efficiency": np.where(owner, rng.uniform(0.85, 1.0, len(owner)).round(3), 0.95),
        "battery_initial": 0.3,
    }
    return rebuilt(case, participants=case.participants.assign(**battery))


@pytest.fixture(scope="module")
def fortnight() -> tuple[Case, ao.Run]:
    case = homes()
    return case, ao.simulate(case, "fot_storage")


def contents(case: Case, run: ao.Run) -> np.ndarray:
    """(T + 1, B) kWh, by hand from the recorded powers."""
    b, power = case.batteries, run.allocation.battery_kw
    assert power is not None
    p = power[:, b.participant]
    gain = DT * (np.where(p < 0, -p * b.efficiency, 0) - np.where(p > 0, p / b.efficiency, 0))
    return np.vstack([b.initial_kwh, b.initial_kwh + np.cumsum(gain, axis=0)])


def test_the_balance_of_a_fortnight_closes(fortnight: tuple[Case, ao.Run]) -> None:
    case, run = fortnight
    b, kwh = case.batteries, contents(case, run)
    assert not run.failed_steps
    assert len(b) > 5
    assert run.summary["discharged_mwh"] > 0.01
    assert np.all(kwh >= -1e-6)
    assert np.max(kwh - b.size_kwh) <= 5e-6
    np.testing.assert_allclose(run.state.arrays()["stored_kwh"][b.participant], kwh[-1], atol=1e-6)
    assert run.allocation.battery_kw is not None
    assert np.all(np.abs(run.allocation.battery_kw) <= case.participants["battery_kw"].to_numpy() + 1e-9)


def test_limits_hold_with_batteries(fortnight: tuple[Case, ao.Run]) -> None:
    case, run = fortnight
    assert run.summary["thermal_violations"] == run.summary["voltage_violations"] == 0
    a, w = run.allocation, run.requests
    p = np.minimum(a.battery_kw, 0.0), np.maximum(a.battery_kw, 0.0)
    injections = case.bus_injections(w.inflexible_kw, a.import_kw - p[0], a.export_kw + p[1])
    state = ao.LinDistFlow(case.feeder).state(*injections)
    assert np.all(state.s_flow_kva[:, 1:] <= case.feeder.rating_kva[1:] * (1 + 1e-4))
    alone = case.bus_injections(w.inflexible_kw, a.import_kw, a.export_kw)
    assert np.any(ao.LinDistFlow(case.feeder).state(*alone).s_flow_kva[:, 1:] > case.feeder.rating_kva[1:] * 1.001)


def test_batteries_help(fortnight: tuple[Case, ao.Run]) -> None:
    """The same windows without batteries: every window's worse level is at most the one with them."""
    case, run = fortnight
    plain = ao.simulate(case, "fot")
    assert plain.allocation.battery_kw is None
    assert run.summary["curtailed_mwh"] < 0.95 * plain.summary["curtailed_mwh"]
    for first in range(0, case.n_steps, 48):
        day = slice(first, first + 48)
        worst = [_worst(case, r, day) for r in (run, plain)]
        assert worst[0] >= worst[1] - 1e-5


def _worst(case: Case, run: ao.Run, day: slice) -> float:
    requested, served = run.store.feeder_kw[:, :, day].sum(axis=2)
    return float(np.min((served / np.maximum(requested, 1e-12))[requested > 1e-6], initial=1.0))


@pytest.mark.parametrize("length", [5, 1000])
def test_block_length_does_not_matter(
    fortnight: tuple[Case, ao.Run], length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, run = fortnight
    monkeypatch.setattr(loop, "BLOCK_STEPS", length)
    again = ao.simulate(case, "fot_storage", steps=192)
    for name in ("import_kw", "export_kw", "battery_kw"):
        ours, theirs = getattr(again.allocation, name), getattr(run.allocation, name)[:192]
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_order_of_participants_does_not_matter(fortnight: tuple[Case, ao.Run]) -> None:
    case, run = fortnight
    other = shuffled(case, 1)
    at = [other.participant_names.index(name) for name in case.participant_names]
    again = ao.simulate(other, "fot_storage", steps=96).allocation
    first = run.allocation.select(slice(0, 96))
    for name in ("import_kw", "export_kw", "battery_kw"):
        np.testing.assert_allclose(getattr(again, name)[:, at], getattr(first, name), atol=1e-5, err_msg=name)


def test_two_solvers_agree(fortnight: tuple[Case, ao.Run]) -> None:
    case, run = fortnight
    again = ao.simulate(case, "fot_storage", steps=96, solver="piqp").allocation
    first = run.allocation.select(slice(0, 96))
    for name, tolerance in (("import_kw", 1e-3), ("export_kw", 1e-3), ("battery_kw", 1e-2)):
        np.testing.assert_allclose(getattr(again, name), getattr(first, name), atol=tolerance, err_msg=name)


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), min_size=4, max_size=8),
    st.floats(0.3, 1.0),
    st.floats(0.0, 1.0),
    st.sampled_from([2, 3, 8]),
)
def test_any_requests_close_the_balance(
    requests: list[tuple[float, float]], efficiency: float, initial: float, window: int
) -> None:
    powers = np.round(np.array(requests), 3)
    n = len(powers)
    case = one_transformer(
        4.0,
        np.full((n, 2), 0.5),
        np.column_stack([powers[:, 0], powers[::-1, 0]]),
        np.column_stack([powers[:, 1], 0 * powers[:, 1]]),
        battery_kwh=[3.0, 6.0],
        battery_kw=[3.0, 2.0],
        battery_efficiency=[efficiency, 1.0],
        battery_initial=[initial, 0.5],
    )
    run = ao.simulate(case, f"fot_storage:window={window}")
    assert not run.failed_steps
    if run.allocation.battery_kw is None:
        return
    kwh = contents(case, run)
    assert np.all(kwh >= -1e-6)
    assert np.all(kwh <= case.batteries.size_kwh + 1e-6)
    np.testing.assert_allclose(run.state.arrays()["stored_kwh"][case.batteries.participant], kwh[-1], atol=1e-6)
    assert run.summary["thermal_violations"] == 0


def test_batteries_and_waiting_together() -> None:
    case = homes(days=3, buses=60)
    run = ao.simulate(case, "fot_storage", defer=True)
    plain = ao.simulate(case, "fot_storage")
    assert not run.failed_steps
    assert run.summary["unserved_mwh"] <= plain.summary["unserved_mwh"]
    assert np.all(contents(case, run) >= -1e-6)


def test_one_interval_mechanisms_leave_batteries_idle() -> None:
    run = ao.simulate(noon_and_evening(1.0, 0.5), "amm")
    assert run.allocation.battery_kw is None
    np.testing.assert_allclose(run.allocation.export_kw[:, 0], [4, 0], atol=1e-6)


def test_saved_and_verified(tmp_path: Path, fortnight: tuple[Case, ao.Run]) -> None:
    case = homes(days=2, buses=60)
    run = ao.simulate(case, "fot_storage")
    run.save(tmp_path / "run")
    loaded = ao.open_run(tmp_path / "run")
    assert run.allocation.battery_kw is not None
    assert loaded.allocation.battery_kw is not None
    np.testing.assert_array_equal(loaded.allocation.battery_kw, run.allocation.battery_kw)
    np.testing.assert_allclose(loaded.intervals()["battery_kw"], run.allocation.battery_kw.sum(axis=1))
    pytest.importorskip("power_grid_model")
    checked = ao.verify(loaded)
    idle = ao.verify(ao.simulate(case, "no_control"))
    assert checked.summary["flow_error_worst_pct"] < 10
    assert checked.summary["ac_thermal_violations"] < idle.summary["ac_thermal_violations"]


BAD = {
    "battery_kwh": (-1.0, "battery_kwh = -1.0 must not be negative"),
    "battery_kw": (float("inf"), "battery_kw = inf must not be negative"),
    "battery_efficiency": (1.2, "battery_efficiency = 1.2 must be within 0.001..1"),
    "battery_efficiency ": (0.0, "battery_efficiency = 0.0 must be within"),
    "battery_initial": (1.01, "battery_initial = 1.01 must be within 0..1"),
    "battery_kw ": (0.0, "battery_kwh = 10.0 needs a battery_kw above 0"),
    "battery_kwh ": (0.0, "battery_kw = 4.0 needs a battery_kwh above 0"),
}


@pytest.mark.parametrize("column", list(BAD))
def test_bad_batteries_are_named(column: str) -> None:
    value, said = BAD[column]
    with pytest.raises(ao.InputError) as caught:
        noon_and_evening(0.9, 0.5, **{column.strip(): value})
    assert f"participant 'p0': {said}" in str(caught.value)


def test_all_bad_batteries_at_once_on_the_command_line(tmp_path: Path) -> None:
    path = ao.save_case(noon_and_evening(0.9, 0.5), tmp_path / "case")
    people = pd.read_csv(path / "participants.csv").assign(battery_efficiency=2, battery_initial="full", battery_kwh=-3)
    people.to_csv(path / "participants.csv", index=False)
    result = CliRunner().invoke(main, ["run", str(path), "--mechanism", "fot_storage"])
    assert result.exit_code == 2
    for said in ("battery_efficiency = 2", "'full' is not a number", "battery_kwh = -3"):
        assert said in result.output


def test_defaults_of_the_folder(tmp_path: Path) -> None:
    case = ao.load_case("synthetic:buses=20,days=1")
    assert len(case.batteries) == 0
    people = case.participants.drop(columns=["battery_efficiency", "battery_initial"])
    given = rebuilt(case, participants=people.assign(battery_kwh=8.0, battery_kw=2.0))
    again = ao.load_case(ao.save_case(given, tmp_path / "case"))
    np.testing.assert_array_equal(again.batteries.efficiency, 0.95)
    np.testing.assert_array_equal(again.batteries.initial_kwh, 4.0)
    np.testing.assert_array_equal(again.batteries.participant, np.arange(case.n_participants))


def test_without_batteries_it_is_fot() -> None:
    case = ao.load_case("synthetic:buses=60,days=2,seed=5").with_scenario(capacity_scale=0.5)
    ours, plain = (ao.simulate(case, name).allocation for name in ("fot_storage", "fot"))
    assert ours.battery_kw is None
    np.testing.assert_array_equal(ours.import_kw, plain.import_kw)
    np.testing.assert_array_equal(ours.export_kw, plain.export_kw)


def test_what_it_does_not_go_with() -> None:
    with pytest.raises(ao.InputError, match="perfect forecasts only"):
        ao.simulate(noon_and_evening(1.0, 0.5), "fot_storage:window=2", forecast="noisy")
