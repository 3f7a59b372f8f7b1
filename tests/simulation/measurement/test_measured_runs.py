"""Runs in which the mechanism sees a corrupted world and the true network judges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from small import one_transformer, rebuilt, shuffled, small_case

import amm_opt as ao
from amm_opt.cases import Case
from amm_opt.simulation.measurement import Bias, Delay, Measurement, Noise
from amm_opt.testing.cases import small_case as scarce_case

pytest.importorskip("power_grid_model")

TIMES = ["seconds", "ms_per_step"]


@pytest.mark.parametrize(
    ("mechanism", "balanced"), [("amm", True), ("amm", False), ("equal_doe", False), ("fot:window=4", True)]
)
def test_no_noise_is_no_measurement(mechanism: str, balanced: bool) -> None:
    case = scarce_case(balanced)
    plain = ao.simulate(case, mechanism, ac="verify")
    same = ao.simulate(case, mechanism, ac="verify", measurement="noise:sigma=0+drop:rate=0+delay:steps=0+impedance")
    assert_array_equal(same.allocation.both_kw, plain.allocation.both_kw)
    assert same.summary.drop(TIMES).equals(plain.summary.drop(TIMES))
    assert plain.measurement is None
    assert "measurement" not in plain.manifest["inputs"]


def test_load_that_is_read_too_small() -> None:
    """By hand: 10 kVA less 4 kW of load leave 6; read as 2 kW it leaves 8, and 12 kW are 20 % too much."""
    case = one_transformer(10.0, [2.0, 2.0], [8.0, 8.0], [0.0, 0.0])
    right = ao.simulate(case, "amm")
    wrong = ao.simulate(case, "amm", measurement=Bias(share=-0.5, of="load"))
    assert_allclose(right.allocation.import_kw, 3.0, rtol=1e-6)
    assert_allclose(wrong.allocation.import_kw, 4.0, rtol=1e-6)
    assert right.summary["thermal_violations"] == 0
    assert wrong.summary["thermal_violations"] == 2
    assert wrong.summary["worst_thermal_excess_pct"] == pytest.approx(20.0, rel=1e-5)
    assert "20.00 % above" in wrong.claim.words


def test_requests_that_are_read_too_small_or_too_large() -> None:
    """What is sent is a limit: half of what was asked for, or what the network has room for."""
    case = one_transformer(10.0, [0.0, 0.0], [2.0, 6.0], [0.0, 0.0])
    half, more = (ao.simulate(case, "amm", measurement=f"bias:share={s},of=requests") for s in (-0.5, 1.0))
    assert_allclose(half.allocation.import_kw, [[1.0, 3.0]] * 2, rtol=1e-9)
    assert more.planned.import_kw.sum(axis=1) == pytest.approx(10.0)
    assert np.all(more.allocation.import_kw <= [2.0, 6.0])
    assert_allclose(more.allocation.import_kw, np.minimum(more.planned.import_kw, [2.0, 6.0]))


@pytest.mark.parametrize("mechanism", ["amm", "fot:window=2"])
def test_delayed_readings_are_those_of_a_case_that_is_late(mechanism: str) -> None:
    case, steps = scarce_case(mechanism == "amm"), 3
    late = case.tables()["profiles"].copy()
    columns = [c for c in late.columns if c != "time"]
    late[columns] = late[columns].to_numpy()[np.maximum(np.arange(len(late)) - steps, 0)]
    measured = ao.simulate(case, mechanism, measurement=Delay(steps=steps))
    shifted = ao.simulate(rebuilt(case, profiles=late), mechanism)
    assert_array_equal(measured.planned.both_kw, shifted.allocation.both_kw)
    asked = measured.requests.both_kw
    assert_array_equal(measured.allocation.both_kw, np.minimum(asked, shifted.allocation.both_kw))
    assert np.any(asked > shifted.requests.both_kw)


def line_of(r_ohm: float) -> Case:
    return small_case({"lv": ("src", r_ohm, 1e3)}, ["lv"], [0.0], [90.0], [0.0], connection_import_kw=100.0)


def test_wrong_impedances() -> None:
    """By hand, 0.4 kV, band 0.9: the model allows P with 1 - 2 r P / V^2 = 0.81.

    AC: v = (1 + sqrt(1 - 4 r P / V^2)) / 2. With r = 0.5 ohm P is 30.4 kW; believed to be 0.25 ohm it is 60.8 kW.
    """
    true = ao.simulate(line_of(0.5), "amm", ac="verify")
    wrong = ao.simulate(line_of(0.5), "amm", ac="verify", measurement="impedance:scale=0.5")
    assert_array_equal(wrong.planned.import_kw, ao.simulate(line_of(0.25), "amm").allocation.import_kw)
    assert_allclose(true.allocation.import_kw, 30.4, rtol=1e-6)
    assert_allclose(wrong.allocation.import_kw, 60.8, rtol=1e-6)
    v = (1 + np.sqrt(1 - 4 * 0.5 * 60.8 / 160)) / 2
    assert wrong.summary["worst_ac_voltage_excess_pu"] == pytest.approx(0.9 - v, abs=1e-5)
    assert wrong.summary["ac_voltage_violations"] == 2
    assert wrong.summary["worst_voltage_excess_pu"] == pytest.approx(0.9 - np.sqrt(1 - 0.38), abs=1e-6)


def test_a_customer_on_another_feeder() -> None:
    """Both ask for 10 kW behind 10 kVA each; believed behind the same they get 5 each."""
    lines = {"a": ("src", 1e-4, 10.0), "b": ("src", 1e-4, 10.0)}
    case = small_case(lines, ["a", "b"], [0.0, 0.0], [10.0, 10.0], [0.0, 0.0], feeder={"a": "A", "b": "B"})
    assert_allclose(ao.simulate(case, "amm").allocation.import_kw, 10.0)
    wrong = ao.simulate(case, "amm", measurement="feeder:customer=p1,to=A")
    assert_allclose(wrong.allocation.import_kw, 5.0, rtol=1e-6)
    assert wrong.summary["unserved_mwh"] == pytest.approx(0.01, rel=1e-6)


def state_of(run: ao.Run) -> dict[str, Any]:
    return run.state.arrays()


def test_memory_is_lost_and_restored_late() -> None:
    """Put together from runs that start where the memory was lost, and where a copy of it was given back."""
    case, loss = scarce_case(True), "memory:at=5,steps=3,older=2"
    copied = ao.simulate(case, "amm", steps=slice(0, 3))
    lost = ao.simulate(case, "amm", steps=slice(0, 8), measurement=loss)
    anew = ao.simulate(case, "amm", steps=slice(5, 8))
    restored = ao.simulate(case, "amm", steps=slice(0, 9), measurement=loss)
    after = ao.simulate(case, "amm", steps=slice(8, 9), state=copied.state)
    never = ao.simulate(case, "amm", steps=slice(0, 9), measurement=f"{loss},back=false")
    for some, other in ((lost, anew), (restored, after)):
        for name, values in state_of(other).items():
            assert_allclose(state_of(some)[name], values, rtol=1e-9, atol=1e-12)
    assert state_of(anew)["requested_kwh"].sum() > 0
    on = ao.simulate(case, "amm", steps=slice(5, 9))
    assert_allclose(state_of(never)["served_kwh"], state_of(on)["served_kwh"], rtol=1e-9)
    assert_array_equal(never.measurement.faults[0].back, False)


def test_lost_messages_leave_a_default_limit() -> None:
    case = scarce_case(True)
    right = ao.simulate(case, "amm")
    none, some, all_ = (ao.simulate(case, "amm", measurement=f"message:rate={r},import_kw=2") for r in (0, 0.3, 1))
    assert_array_equal(none.allocation.both_kw, right.allocation.both_kw)
    asked = right.requests
    assert_array_equal(all_.allocation.import_kw, np.minimum(asked.import_request_kw, 2.0))
    assert not all_.allocation.export_kw.any()
    assert_array_equal(all_.planned.both_kw, right.allocation.both_kw)
    kept = some.allocation.import_kw == right.allocation.import_kw
    fallen = some.allocation.import_kw == np.minimum(asked.import_request_kw, 2.0)
    assert np.all(kept | fallen)
    assert np.any(~kept)
    assert np.any(~fallen)
    free = ao.simulate(case, "no_control", measurement="message:rate=1")
    assert_array_equal(free.allocation.import_kw, asked.import_request_kw)


WRONG = "noise:sigma=0.1,kw=0.1,seed=2+drop:rate=0.2+impedance:sigma=0.2+message:rate=0.1,import_kw=1"


@pytest.mark.parametrize("more", ["phase:rate=0.5", "feeder:rate=0.4"])
def test_the_order_of_participants_and_buses_means_nothing(more: str) -> None:
    case = scarce_case(False)
    other = shuffled(case, 3)
    place = [other.participant_names.index(name) for name in case.participant_names]
    assert place != sorted(place)
    runs = [ao.simulate(c, "amm", measurement=f"{WRONG}+{more}") for c in (case, other)]
    assert_allclose(runs[0].planned.both_kw, runs[1].planned.both_kw[:, :, place], atol=1e-6)
    assert_allclose(runs[0].allocation.both_kw, runs[1].allocation.both_kw[:, :, place], atol=1e-6)


def test_where_a_run_begins_means_nothing() -> None:
    """Errors belong to intervals of the case, not to the run."""
    case = scarce_case(False)
    whole, late = (ao.simulate(case, "leximin", measurement=WRONG, steps=s) for s in (None, slice(7, None)))
    assert_allclose(whole.allocation.both_kw[:, 7:], late.allocation.both_kw, atol=1e-6)


def test_a_stored_run_knows_what_was_wrong(tmp_path: Path) -> None:
    given = Measurement((Noise(sigma=1 / 3, seed=4), Delay(steps=2)))
    ao.simulate(scarce_case(True), "amm", measurement=given, out=tmp_path / "run", steps=6)
    run = ao.open_run(tmp_path / "run")
    assert run.measurement == given
    assert run.planned is not None
    with pytest.raises(ao.InputError, match="measurement"):
        ao.simulate(scarce_case(True), "amm", measurement="delay:steps=2", out=tmp_path / "run", steps=6, resume=True)
    with pytest.raises(ao.InputError, match="a run on a measurement"):
        run.sensitivity("alpha")


def test_comparisons_and_studies() -> None:
    case = scarce_case(True)
    runs = ao.compare(case, ["amm", "pro_rata"], steps=4, measurement="bias:share=-0.5,of=requests").runs
    alone = ao.simulate(case, "pro_rata", steps=4, measurement="bias:share=-0.5,of=requests")
    assert_array_equal(runs["pro_rata"].allocation.import_kw, alone.allocation.import_kw)
    kinds = ["noise", "bias:share=-0.5,of=requests"]
    table = ao.Study(case, "pro_rata", steps=4, measurement=kinds).run().table
    assert list(table["measurement"]) == kinds
    assert table["unserved_mwh"].iloc[1] == pytest.approx(alone.summary["unserved_mwh"])


def test_secured_and_in_two_tiers() -> None:
    """Margins are learnt on the network as it is believed to be; without errors they keep the true limits."""
    case = replace(scarce_case(True), source="")
    secured = ao.simulate(case, "amm", measurement="noise", ac="secure")
    assert secured.summary[["ac_thermal_violations", "ac_voltage_violations"]].sum() == 0
    split = ao.simulate(case, "amm", measurement="noise", tiers="two")
    assert_array_equal(split.allocation.both_kw, ao.simulate(case, "amm", tiers="two").allocation.both_kw)
