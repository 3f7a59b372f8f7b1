"""Marginal prices over a window: another program of everything, finite differences of it, by hand, money."""

import numpy as np
import pytest
from wholesale import BATTERY, random_system, system
from wholesale.monolith import Monolith

import amm_opt as ao

SPEC = "lmp_ahead:source_price=none,window=all,committed=all"
GRID = {"network": "dc"}


@pytest.mark.parametrize(("seed", "batteries", "load"), [(1, 2, 1.0), (5, 3, 1.6)])
def test_prices_are_finite_differences_of_one_program_of_everything(seed: int, batteries: int, load: float) -> None:
    case = random_system(seed, batteries=batteries, load=load)
    run = ao.simulate(case, f"{SPEC},reserve_price=0", **GRID)
    assert not run.failed_steps
    price, dt, buses = np.asarray(run.allocation.export_price), case.dt_h, case.participants["bus"].to_numpy()
    np.testing.assert_allclose(np.asarray(run.allocation.import_price), price, atol=1e-9)
    unique = 0
    for k in range(0, case.n_steps, 3):
        for bus in case.feeder.bus_names[:3]:
            cost = [Monolith(case, more_kw=(k, bus, kw)).least_cost(10.0, 1.0) for kw in (-20.0, 0.0, 20.0)]
            below, above = (cost[1] - cost[0]) / 20.0 / dt, (cost[2] - cost[1]) / 20.0 / dt
            mine = price[k, buses == bus][0]
            assert below - 1e-5 <= mine <= above + 1e-5
            unique += bool(above - below < 1e-6)
    assert unique >= 6


def three_hours(people: list[dict], load_kw: list[float]) -> ao.Case:
    """One bus of load behind a line of 100 MW from all plants; hours as half-hours."""
    series = [("load", "import", "load", 1000.0)]
    series += [(p["name"], "export", "one", p.pop("kw")) for p in people if "kw" in p]
    buses = [{"name": "load", "bus": "b1"}, *({**p, "bus": "b0"} for p in people)]
    profiles = {"load": np.array(load_kw) / 1000.0, "one": np.ones(len(load_kw))}
    return system([("line", "b0", "b1")], [10.0], [100e3], buses, series, profiles)


def test_the_dearest_plant_that_runs_sets_the_price_and_a_full_line_parts_it() -> None:
    plants = [{"name": "cheap", "kw": 60e3, "export_offer": 0.02}, {"name": "dear", "kw": 90e3, "export_offer": 0.09}]
    case = three_hours(plants, [40e3, 80e3, 120e3])
    run = ao.simulate(case, "lmp_ahead:source_price=none,reserve=0,value=6", **GRID)
    load, *plants_price = np.asarray(run.allocation.import_price).T
    np.testing.assert_allclose(load, [0.02, 0.09, 6.0], atol=1e-6)
    np.testing.assert_allclose(plants_price[0], [0.02, 0.09, 0.09], atol=1e-6)
    np.testing.assert_allclose(run.allocation.import_kw[:, 0], [40e3, 80e3, 100e3], rtol=1e-6)


def test_a_battery_carries_the_price_through_time() -> None:
    """It buys at .02 to save .09: what it stores loses 1 - .95^2, and the last kWh is worth the same in both hours."""
    plants = [{"name": "cheap", "kw": 60e3, "export_offer": 0.02}, {"name": "dear", "kw": 90e3, "export_offer": 0.09}]
    battery = {"name": "battery", **BATTERY, "export_offer": 0.0, "battery_initial": 0.05}
    case = three_hours([*plants, battery], [50e3, 90e3])
    run = ao.simulate(case, "lmp_ahead:source_price=none,reserve=0,content_price=0", **GRID)
    power = run.dataset["battery_kw"].to_numpy()[:, 3]
    assert power[0] == pytest.approx(-10e3, rel=1e-5)
    price = np.asarray(run.allocation.export_price)[:, 3]
    assert price[1] == pytest.approx(0.09, abs=1e-6)
    assert price[0] == pytest.approx(0.95**2 * 0.09, abs=1e-6)


def test_load_pays_reserve_on_top_and_bad_input_is_named() -> None:
    case = three_hours([{"name": "plant", "kw": 90e3, "export_offer": 0.05}], [40e3, 60e3])
    run = ao.simulate(case, "lmp_ahead:source_price=none,reserve=0.2,reserve_price=0.01", **GRID)
    np.testing.assert_allclose(np.asarray(run.allocation.import_price)[:, 0], 0.05 + 0.2 * 0.01, atol=1e-6)
    with pytest.raises(ao.InputError, match=r"shortfall_price = -1 must not be negative"):
        ao.simulate(case, "lmp_ahead:shortfall_price=-1", **GRID)
    with pytest.raises(ao.InputError, match=r"need a linear network model"):
        ao.simulate("synthetic:buses=30,days=1,seed=1", "lmp_ahead", network="socp")
