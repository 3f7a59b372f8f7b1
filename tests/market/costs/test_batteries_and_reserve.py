"""What batteries and reserve are paid: by hand, and nothing left over in any interval of dispatch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from small import one_transformer, rebuilt
from tiny import tiny_case
from wholesale import random_system, system

import amm_opt as ao
from amm_opt.market import Payments
from amm_opt.study.cli import main

BATTERY = {"battery_kwh": 100.0, "battery_kw": 40.0, "battery_efficiency": 1.0, "battery_initial": 0.05}


@pytest.fixture(scope="module")
def evening() -> ao.Run:
    """Wind 100 kW, then none; 60 kW of load in both half-hours; a battery of 40 kW and gas of 100 kW."""
    people = [
        {"name": "load", "bus": "b"},
        {"name": "wind", "bus": "a", "export_offer": 0.0},
        {"name": "gas", "bus": "a", "export_offer": 0.09},
        {"name": "store", "bus": "a", "export_offer": 0.02, **BATTERY},
    ]
    series = [("load", "import", "flat", 60.0), ("wind", "export", "wind", 100.0), ("gas", "export", "flat", 100.0)]
    case = system([("line", "a", "b")], [10.0], [1e6], people, series, {"flat": [1.0, 1.0], "wind": [1.0, 0.0]})
    spec = "dispatch:source_price=none,window=all,committed=all,content_price=0"
    return ao.simulate(case, spec, network="dc")


def test_by_hand(evening: ao.Run) -> None:
    """Reserve needed is 6 kW, 0.0225 in half an hour: first from gas 100 and battery 40 + 40, then from gas 80.

    The second half-hour is 40 kW of the battery at 0.02 and 20 kW of gas at 0.09: 0.4 + 0.9.
    """
    settled = evening.settlement()
    bills = settled.participants.set_index("participant")
    np.testing.assert_allclose(bills["paid"], [0.0225 + 1.3225, 0, 0, 0], atol=1e-4)
    np.testing.assert_allclose(bills["earned"], [0, 0, 0.9, 0], atol=1e-4)
    np.testing.assert_allclose(bills["charging"], 0.0)
    np.testing.assert_allclose(bills["discharging"], [0, 0, 0, 0.4], atol=1e-4)
    np.testing.assert_allclose(bills["reserve"], [0, 0, 0.0125 + 0.0225, 0.01], atol=1e-4)
    np.testing.assert_allclose(bills[["charged_kwh", "discharged_kwh"]].loc["store"], 20.0, atol=1e-3)
    np.testing.assert_allclose(bills["bill"], [1.345, 0, -0.935, -0.41], atol=2e-4)
    np.testing.assert_allclose(settled.intervals["reserve"], 0.0225, atol=1e-4)
    np.testing.assert_allclose(settled.intervals["residual"], 0.0, atol=1e-12)
    assert settled.operator["residual"] == pytest.approx(0.0, abs=1e-12)


def test_from_disk_and_on_the_command_line(evening: ao.Run, tmp_path: Path) -> None:
    evening.save(tmp_path / "run")
    again = ao.open_run(tmp_path / "run").settlement()
    pd.testing.assert_frame_equal(again.participants, evening.settlement().participants)
    pd.testing.assert_frame_equal(again.intervals, evening.settlement().intervals, check_freq=False)
    shown = CliRunner().invoke(main, ["settle", str(tmp_path / "run")], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    for said in ("batteries", "reserve", "1.34", "0.40", "0.04"):
        assert said in shown.output
    told = CliRunner().invoke(main, ["settle", str(tmp_path / "run"), "--json"])
    operator = next(iter(json.loads(told.output)["mechanisms"].values()))["operator"]
    assert operator["discharging"] == pytest.approx(0.4, abs=1e-4)
    assert operator["reserve"] == pytest.approx(0.045, abs=1e-4)


def test_the_mechanism_of_a_stored_run_must_be_known(evening: ao.Run, tmp_path: Path) -> None:
    evening.save(tmp_path / "run")
    stored = ao.open_run(tmp_path / "run")
    object.__setattr__(stored.mechanism, "label", "strange")
    with pytest.raises(ao.InputError, match="strange is not installed: how it pays for batteries is not known"):
        stored.settlement()


@pytest.mark.parametrize(("seed", "load"), [(1, 1.0), (2, 2.5), (3, 1.0)])
def test_nothing_is_left_over_in_any_interval(seed: int, load: float) -> None:
    """What load pays is what plants, batteries and reserve get, also where load is shed and reserve lacks.

    The last window of the first system leaves shares no room but for a millionth of load.
    """
    case = random_system(seed, steps=24, load=load)
    run = ao.simulate(case, "dispatch:source_price=none,window=12,committed=6", network="dc")
    settled = run.settlement()
    assert settled.operator["reserve"] > 0
    assert settled.operator["discharging"] > 0
    np.testing.assert_allclose(settled.intervals["residual"], 0.0, atol=1e-7)
    assert settled.participants["bill"].sum() == pytest.approx(0.0, abs=1e-6)
    assert settled.intervals["paid"].sum() == pytest.approx(settled.operator["paid"])


def test_at_marginal_prices_nothing_is_left_where_no_limit_binds() -> None:
    """Batteries buy at the price of their place, to which load alone adds what reserve costs."""
    case = random_system(2, steps=12, load=0.8)
    branches = case.tables()["branches"].assign(rating_kva=1e9)
    run = ao.simulate(
        case.with_tables(branches=branches), "lmp_ahead:source_price=none,window=all,committed=all", network="dc"
    )
    settled = run.settlement()
    assert settled.operator[["charging", "discharging", "reserve"]].all()
    np.testing.assert_allclose(settled.intervals["residual"], 0.0, atol=1e-5 * settled.operator["paid"])


@pytest.mark.parametrize("phases", [False, True])
def test_with_a_source_what_is_left_is_what_it_costs(phases: bool) -> None:
    run = ao.simulate(tiny_case(2, phases, batteries=True), "dispatch:source_price=0.2,window=24,committed=12")
    settled = run.settlement(source_price=0.2)
    assert settled.operator["surplus"] == pytest.approx(0.0, abs=1e-6)


def test_elsewhere_charging_is_import_and_discharging_export() -> None:
    """4 kW for half an hour each way: 0.3 and 0.1 per kWh make 0.6 and 0.2."""
    case = one_transformer(100.0, [0.0], [2.0], [0.0])
    people = case.participants.assign(battery_kwh=10.0, battery_kw=4.0)
    case = rebuilt(case, participants=people)
    served, none = np.array([[2.0], [2.0]]), np.zeros((2, 1))
    prices = np.full((2, 1), 0.3), np.full((2, 1), 0.1)
    part = ao.Allocation(served, none, *prices, np.array([[-4.0], [4.0]]))
    settled = ao.Settlement.of(case, [part], ((0.1, 0.4), (0.0, 0.2)), source_price=0.2)
    row = settled.participants.iloc[0]
    assert row[["paid", "charging", "discharging", "bill"]].tolist() == pytest.approx([0.6, 0.6, 0.2, 1.0])
    assert settled.operator[["residual_min", "residual_max"]].tolist() == pytest.approx([0.0, 1.6])
    assert settled.operator[["source_cost", "surplus"]].tolist() == pytest.approx([0.4, 0.6])
    free = ao.Settlement.of(case, [part], payments=Payments(charging="free")).participants.iloc[0]
    assert free[["charging", "bill"]].tolist() == pytest.approx([0.0, 0.4])


def test_reserve_that_lacks_is_not_paid() -> None:
    """Needed are 10 % of 100 kW; 3 and 1 kW are left over, a battery charges 2 of its 2 kW: 8 in all, all paid."""
    case = one_transformer(500.0, [0.0] * 3, [100.0, 0.0, 0.0], [0.0] * 3)
    people = case.participants.assign(battery_kwh=[0.0, 0.0, 4.0], battery_kw=[0.0, 0.0, 2.0])
    case = rebuilt(case, participants=people)
    kw = [np.array([[100.0, 0, 0]]), np.array([[0.0, 50.0, 7.0]])]
    available, battery = np.array([[0.0, 53.0, 8.0]]), np.array([[0.0, 0.0, -2.0]])
    held = Payments(reserve=0.1, reserve_price=1.0).reserve_kw(case, available, *kw, battery)
    np.testing.assert_allclose(held, [[0.0, 3.0, 5.0]])
    half = Payments(reserve=0.04, reserve_price=1.0).reserve_kw(case, available, *kw, battery)
    np.testing.assert_allclose(half, [[0.0, 1.5, 2.5]])
