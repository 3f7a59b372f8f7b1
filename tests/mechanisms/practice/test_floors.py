"""Section 14a as a mechanism and as a floor under others, and the cap on cumulative curtailment: by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small import TRACE, difference, one_transformer, small_case
from streets import random_street
from tiny import tiny_case

import amm_opt as ao
from amm_opt.arrays import FloatArray
from amm_opt.cases import Case
from amm_opt.registry import mechanism as from_spec
from formulations import (
    AMM,
    AlphaFair,
    CurtailmentCap,
    Dimming14a,
    EqualDOE,
    FairEachTime,
    FairOverTime,
    FairUsingHistory,
    Floored,
    GreedyDOE,
    Leximin,
    NoControl,
    ProRata,
    Rotation,
    StaticLimit,
)


def served(case: Case, mechanism: Any, k: int = 0, direction: int = 0) -> FloatArray:
    run = ao.simulate(case, mechanism)
    assert not run.failed_steps
    return np.asarray(run.allocation.both_kw[direction, k])


# the minimum


@pytest.mark.parametrize(
    ("devices", "minimum"),
    [(1, 4.2), (2, 7.56), (3, 10.5), (4, 13.02), (5, 15.12), (6, 16.8), (7, 18.06), (8, 18.9), (9, 19.32), (11, 23.1)],
)
def test_the_minimum_of_small_devices(devices: int, minimum: float) -> None:
    """BNetzA BK6-22-300, annex 1; 11 devices: 4.2 + 10 x 0.45 x 4.2."""
    assert Dimming14a(devices=devices).minimum_kw == pytest.approx(minimum)


def test_the_minimum_with_large_heat_pumps_and_air_conditioners() -> None:
    """A wallbox and a small heat pump; four chargers and one of 14 kW; 12 kW heat pump and 30 kW air conditioner."""
    assert Dimming14a(devices=2, heat_pump_kw=9.0).minimum_kw == pytest.approx(7.56)
    assert Dimming14a(devices=5, heat_pump_kw=14.0).minimum_kw == pytest.approx(16.52)
    assert Dimming14a(devices=2, heat_pump_kw=12.0, air_conditioner_kw=30.0).minimum_kw == pytest.approx(15.36)
    assert Dimming14a(heat_pump_kw=11.0).minimum_kw == pytest.approx(4.2)
    assert Dimming14a(heat_pump_kw=20.0).minimum_kw == pytest.approx(8.0)
    with pytest.raises(ao.InputError, match="2 problems"):
        Dimming14a(devices=0, heat_pump_kw=-1.0)


# as a mechanism


def test_everyone_behind_a_limit_is_dimmed_to_the_minimum_by_hand() -> None:
    """29 kW behind 12 kVA: 4.2, 4.2 and the 3 that are asked for, though 0.6 kW stay unused; b is served in full."""
    lines = {"mv": ("src", TRACE, 1e4), "a": ("mv", TRACE, 12.0), "b": ("mv", TRACE, 50.0)}
    case = small_case(lines, ["a", "a", "a", "b"], [0] * 4, [22, 11, 3, 22], [0] * 4, feeder={"a": "A", "b": "B"})
    np.testing.assert_allclose(served(case, Dimming14a()), [4.2, 4.2, 3.0, 22.0])
    two = served(case.with_scenario(lv_capacity_scale=2.0), Dimming14a(devices=2))
    np.testing.assert_allclose(two, [7.56, 7.56, 3.0, 22.0])
    np.testing.assert_allclose(served(case.with_scenario(lv_capacity_scale=4.0), Dimming14a()), [22, 11, 3, 22])


def test_minima_that_do_not_fit_are_cut_back_and_marked() -> None:
    run = ao.simulate(one_transformer(9, [0.0] * 3, [22.0, 11.0, 22.0], [0.0] * 3), Dimming14a())
    np.testing.assert_allclose(run.allocation.import_kw[0], [3, 3, 3], atol=1e-4)
    assert run.repaired_steps == (0, 1)
    assert run.summary.thermal_violations == 0


def test_exports_have_no_minimum() -> None:
    case = one_transformer(10, [0.0] * 3, [1.0, 0.0, 0.0], [6.0, 2.0, 14.0])
    np.testing.assert_allclose(served(case, Dimming14a(), direction=1), np.array([6, 2, 14]) * 11 / 22, rtol=1e-6)
    np.testing.assert_allclose(served(case, Dimming14a()), [1, 0, 0])


# as a floor


@pytest.mark.parametrize(
    "inner",
    [
        ProRata(),
        AMM(),
        AlphaFair(alpha=0),
        FairEachTime(per="participant", give=0),
        FairOverTime(window=1, inside="proportional"),
    ],
    ids=str,
)
def test_what_is_beyond_the_promises_is_shared_by_the_mechanism(inner: ao.Mechanism[Any]) -> None:
    """20 kVA: promises of 4.2, 2 and 4.2 kW; 9.6 kW are left for the 17.8, 0 and 3.2 kW that are asked for beyond."""
    case = one_transformer(20, [0.0] * 3, [22.0, 2.0, 7.4], [0.0] * 3)
    share = 9.6 / 21
    expected = [4.2 + 17.8 * share, 2.0, 4.2 + 3.2 * share]
    np.testing.assert_allclose(served(case, Floored(mechanism=inner)), expected, atol=1e-4)


def test_an_envelope_above_promises_by_hand() -> None:
    """Levels are of net power, promises included: L + 2 + L = 20 with the two who ask for more, and one wants 7.4.

    Behind 9 kVA the level is below the promises of 3.5 kW, which stay: 3.5 + 2 + 3.5.
    """
    envelope = EqualDOE(enrolled="requesting")
    case = one_transformer(20, [0.0] * 3, [22.0, 2.0, 7.4], [0.0] * 3)
    np.testing.assert_allclose(served(case, Floored(mechanism=envelope)), [9.0, 2.0, 7.4], atol=1e-4)
    tight = one_transformer(9, [0.0, 0.0, 0.0], [22.0, 2.0, 7.4], [0.0] * 3)
    floor = Dimming14a(device_kw=3.5)
    np.testing.assert_allclose(served(tight, Floored(mechanism=envelope, floor=floor)), [3.5, 2, 3.5], atol=1e-3)


def test_a_static_limit_as_a_floor_by_hand() -> None:
    """Exports never below 1.5 kW net: 1.5 beside the 0.5 kW that the second uses; 10 + 0.5 kW in all."""
    case = one_transformer(10, [0.0, 0.5, 0.0], [0.0] * 3, [30.0, 2.0, 1.0])
    found = served(case, Floored(mechanism=ProRata(), floor=StaticLimit(import_kw=None)), direction=1)
    np.testing.assert_allclose(found, [1.5 + 6.0, 2.0, 1.0], atol=1e-5)


def test_promises_that_do_not_fit_are_cut_where_they_load_the_limit_and_marked() -> None:
    lines = {"mv": ("src", TRACE, 1e4), "a": ("mv", TRACE, 6.0), "b": ("mv", TRACE, 10.0)}
    case = small_case(lines, ["a", "a", "a", "b", "b"], [0] * 5, [22] * 5, [0] * 5, feeder={"a": "A", "b": "B"})
    for inner in (AMM(), FairOverTime(window=2), EqualDOE(enrolled="requesting"), ProRata()):
        run = ao.simulate(case, Floored(mechanism=inner))
        assert not run.failed_steps
        np.testing.assert_allclose(run.allocation.import_kw[0], [2, 2, 2, 5, 5], atol=2e-3)
        assert run.repaired_steps == (0, 1)
        assert run.summary.thermal_violations == 0


INNER = [
    AMM(),
    ProRata(),
    Rotation(),
    EqualDOE(),
    EqualDOE(enrolled="requesting", per="system"),
    GreedyDOE(rule="largest_request_first"),
    Leximin(),
    FairEachTime(),
    FairOverTime(window=2),
]


@pytest.mark.parametrize("phases", [False, True], ids=["balanced", "phases"])
@pytest.mark.parametrize("inner", INNER, ids=str)
def test_nobody_gets_less_than_promised(inner: ao.Mechanism[Any], phases: bool) -> None:
    """With power factors of their own, on limits that bind; without a promise, the mechanism is what it is alone."""
    less = 0
    for seed in range(4):
        case = random_street(seed, phases)
        floor = Dimming14a(device_kw=1.0)
        run, alone = (ao.simulate(case, m) for m in (Floored(mechanism=inner, floor=floor), inner))
        assert not run.failed_steps
        assert run.summary.thermal_violations == run.summary.voltage_violations == 0
        promise = np.minimum(run.requests.import_request_kw, 1.0)
        kept = np.setdiff1d(np.arange(2), run.repaired_steps)
        assert np.all(run.allocation.import_kw[kept] >= promise[kept] - 1e-5)
        less += int((alone.allocation.import_kw[kept] < promise[kept] - 0.05).sum())
        nothing = ao.simulate(case, Floored(mechanism=inner, floor=Dimming14a(device_kw=0.0)))
        assert difference(nothing, alone) < 1e-4
    assert less > 0 or inner.name not in ("amm", "rotation", "greedy_doe")


def test_memory_counts_the_promises() -> None:
    case = ao.load_case("synthetic:buses=60,days=1,seed=2").with_scenario(import_scale=4.0)
    run = ao.simulate(case, Floored(mechanism=AMM()), steps=slice(34, 48))
    np.testing.assert_allclose(run.state.requested_kwh[0], run.requests.import_request_kw.sum(axis=0) * 0.5)
    np.testing.assert_allclose(run.state.served_kwh[0], run.allocation.import_kw.sum(axis=0) * 0.5)


def test_specs_and_what_is_refused() -> None:
    made = from_spec("floored:mechanism=amm:kappa=2+rho=0,floor=dimming_14a:devices=2")
    assert made == Floored(mechanism=AMM(kappa=2.0, rho=0.0), floor=Dimming14a(devices=2))
    assert from_spec(str(made)) == made
    assert from_spec("floored") == Floored(mechanism=AMM(), floor=Dimming14a())
    with pytest.raises(ao.InputError, match="floor = amm promises nothing; valid choices: dimming_14a, static"):
        Floored(floor=AMM())
    with pytest.raises(ao.InputError, match="mechanism = no_control does not keep limits"):
        Floored(mechanism=NoControl())
    with pytest.raises(ao.InputError, match="cannot be matched in two tiers"):
        ao.simulate("synthetic:buses=130,days=1,seed=1", Floored(), steps=2, tiers="two")


@pytest.mark.parametrize(
    "option", [{"defer": True}, {"ac": "secure"}, {"network": "socp"}, {"forecast": "persistence"}]
)
def test_floors_go_with_what_runs_may_be_asked_for(option: dict[str, Any]) -> None:
    case = ao.load_case("synthetic:buses=130,days=2,seed=3").with_scenario(import_scale=4.0)
    run = ao.simulate(case, Floored(), steps=slice(90, 94), **option)
    assert not run.failed_steps
    assert run.summary.thermal_violations == run.summary.voltage_violations == 0
    assert run.summary.unserved_mwh > 0.02 * run.summary.requested_import_mwh
    if not run.repaired_steps and "forecast" not in option:
        assert np.all(run.allocation.import_kw >= np.minimum(run.requests.import_request_kw, 4.2) - 1e-3)


# the cap on cumulative curtailment


@pytest.mark.parametrize("direction", [0, 1])
def test_the_cap_by_hand(direction: int) -> None:
    """Halves first. Then (5 + x) / 20 = (5 + y) / 15 with x + y = 10: x = 45/7, both cut by 3/7 so far."""
    asked = [[10.0, 10.0], [10.0, 5.0]]
    none = np.zeros((2, 2))
    case = one_transformer(10, none, *((asked, none) if direction == 0 else (none, asked)))
    run = ao.simulate(case, CurtailmentCap())
    power = run.allocation.both_kw[direction]
    np.testing.assert_allclose(power, [[5, 5], [45 / 7, 25 / 7]], atol=1e-4)
    np.testing.assert_allclose(1 - power.sum(axis=0) / [20, 15], 3 / 7, atol=1e-5)


@pytest.mark.parametrize("kind", ["synthetic", "tiny", "phases"])
def test_the_cap_is_fair_using_history_with_windows_of_one_interval(kind: str) -> None:
    """Two programs of their own: one over horizons with rows of totals, one of intervals with floors."""
    if kind == "synthetic":
        case, steps = ao.load_case("synthetic:buses=60,days=1,seed=2").with_scenario(import_scale=4.0), slice(20, 48)
    else:
        case, steps = tiny_case(4, phases=kind == "phases", steps=12), slice(0, 12)
        case = case.with_scenario(import_scale=2.0, export_scale=2.0)
    same = FairUsingHistory(per="participant", window=1, give=0.0)
    one, two = (ao.simulate(case, m, steps=steps) for m in (CurtailmentCap(), same))
    assert np.sum(one.allocation.both_kw.sum(axis=2) < one.requests.both_kw.sum(axis=2) - 1.0) > 3
    assert difference(one, two) < 1e-4


def test_the_cap_has_a_name_and_no_parameters() -> None:
    assert str(CurtailmentCap()) == "curtailment_cap"
    with pytest.raises(ao.InputError, match="unknown parameter of curtailment_cap 'window'"):
        from_spec("curtailment_cap:window=3")
