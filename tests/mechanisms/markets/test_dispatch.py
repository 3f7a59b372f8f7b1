"""Pay-as-bid dispatch: another program of everything at once, by hand, stages in their order, batteries, windows."""

import numpy as np
import pytest
from tiny import tiny_case
from wholesale import BATTERY, random_system, system
from wholesale.monolith import Monolith

import amm_opt as ao
from formulations import Dispatch

GRID = {"network": "dc"}


def reached(case: ao.Case, run: ao.Run, reserve: float = 0.1) -> tuple[float, float, float]:
    """Shed energy, lacking reserve (kWh) and cost of a run of one window, from its powers."""
    data, people, dt = run.dataset, case.participants, case.dt_h
    served, output = data["served_kw"].to_numpy()[:, 0], data["served_kw"].to_numpy()[:, 1]
    asked, can = data["requested_kw"].to_numpy()[:, 0], data["requested_kw"].to_numpy()[:, 1]
    battery = data["battery_kw"].to_numpy() if "battery_kw" in data else np.zeros_like(served)
    power = people["battery_kw"].sum()
    left = (can - output).sum(axis=1) + power - battery.sum(axis=1)
    lacking = np.maximum(reserve * served.sum(axis=1) - left, 0.0).sum() * dt
    offers = case.own_prices[0][1]
    offers = np.where(np.isnan(offers), 0.0, offers)
    missed = np.maximum(np.minimum(people["must_run_kw"].to_numpy(), can) - output, 0.0).sum()
    cost = dt * ((output + np.maximum(battery, 0.0)) @ offers).sum() + dt * missed * 10 * offers.max()
    size, content = people["battery_kwh"].to_numpy(), data["state_stored_kwh"].to_numpy()[-1]
    cost += 0.005 * np.maximum(0.5 * size - content, 0.0).sum()
    return (asked - served).sum() * dt, lacking, cost


@pytest.mark.parametrize(("seed", "batteries", "load"), [(1, 2, 1.0), (4, 0, 1.0), (5, 3, 1.6)])
def test_a_window_is_as_good_as_one_program_of_everything(seed: int, batteries: int, load: float) -> None:
    case = random_system(seed, batteries=batteries, load=load)
    run = ao.simulate(case, "dispatch:source_price=none,window=all,committed=all", **GRID)
    assert not run.failed_steps
    for ours, theirs in zip(reached(case, run), Monolith(case).solved(), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-6, abs=2e-2)


# by hand


def powers(
    case: ao.Case, spec: str = "dispatch:reserve=0,source_price=none", **how: object
) -> tuple[np.ndarray, ao.Run]:
    """(T, 2, n) served load and output of a run."""
    run = ao.simulate(case, spec, **{**GRID, **how})
    assert not run.failed_steps
    return run.dataset["served_kw"].to_numpy(), run


def two_buses(far: list[dict], near: list[dict], load_kw: float = 100e3, line_kva: float = 30e3) -> ao.Case:
    """Plants (name, export_offer, kw) at both ends of a line; the load is near."""
    people = [{"name": "load", "bus": "near"}]
    series = [("load", "import", "flat", load_kw)]
    for bus, plants in (("far", far), ("near", near)):
        for plant in plants:
            plant = {**plant}
            series.append((plant["name"], "export", "flat", plant.pop("kw")))
            people.append({"bus": bus, **plant})
    return system([("line", "near", "far")], 10.0, line_kva, people, series, {"flat": np.ones(2)})


def test_a_line_of_30_mw_carries_30_and_the_cheaper_plant_comes_first() -> None:
    case = two_buses(
        [{"name": "wind", "export_offer": 0.0, "kw": 80e3}],
        [{"name": "gas", "export_offer": 0.09, "kw": 60e3}, {"name": "coal", "export_offer": 0.05, "kw": 20e3}],
    )
    kw, run = powers(case)
    np.testing.assert_allclose(kw[0, 1], [0, 30e3, 50e3, 20e3], atol=0.1)
    np.testing.assert_allclose(kw[0, 0], [100e3, 0, 0, 0], atol=0.1)
    price = run.dataset["price_per_kwh"].to_numpy()
    np.testing.assert_allclose(price[0, 1, 1:], [0.0, 0.09, 0.05])
    np.testing.assert_allclose(price[0, 0, 0], (50e3 * 0.09 + 20e3 * 0.05) / 100e3, rtol=1e-6)


def test_load_that_no_plant_reaches_is_shed_and_reserve_does_not_shed_more() -> None:
    """30 over the line and 40 at the load: 30 of 100 are shed, and no reserve can be held: it comes second."""
    case = two_buses(
        [{"name": "wind", "export_offer": 0.0, "kw": 30e3}], [{"name": "gas", "export_offer": 0.09, "kw": 40e3}]
    )
    kw, _ = powers(case, "dispatch:source_price=none")
    np.testing.assert_allclose(kw[:, 0, 0], 70e3, atol=0.1)


def test_three_buses_with_a_loop_by_hand() -> None:
    """Equal reactances: of a MW from a to c two thirds go straight and a third over b; the line a-c carries 60.

    The load of 120 at c: y_a from a loads a-c with 2/3, y_b from b with 1/3: 2/3 y_a + 1/3 y_b = 60, y_a + y_b = 120.
    """
    people = [{"name": "load", "bus": "c"}, {"name": "cheap", "bus": "a", "export_offer": 0.01}]
    people.append({"name": "dear", "bus": "b", "export_offer": 0.1})
    series = [("load", "import", "flat", 120e3), ("cheap", "export", "flat", 150e3), ("dear", "export", "flat", 150e3)]
    lines = [("ac", "a", "c"), ("ab", "a", "b"), ("bc", "b", "c")]
    case = system(lines, 10.0, [60e3, np.nan, np.nan], people, series, {"flat": np.ones(2)})
    kw, _ = powers(case)
    np.testing.assert_allclose(kw[0, 1, 1:], [60e3, 60e3], atol=0.1)


def test_a_must_run_plant_runs_before_cheaper_ones_and_equal_offers_share() -> None:
    near = [{"name": f"gas{i}", "export_offer": 0.05, "kw": size} for i, size in enumerate((60e3, 30e3))]
    near.append({"name": "nuclear", "export_offer": 0.2, "kw": 40e3, "must_run_kw": 25e3})
    kw, _ = powers(two_buses([{"name": "wind", "export_offer": 0.0, "kw": 30e3}], near))
    np.testing.assert_allclose(kw[0, 1, 1:], [30e3, 30e3, 15e3, 25e3], atol=0.1)


def test_nobody_pays_for_what_a_must_run_plant_misses() -> None:
    """25 must run behind a line of 10: what is missed steers the plan, but is no payment."""
    far = [{"name": "nuclear", "export_offer": 0.2, "kw": 40e3, "must_run_kw": 25e3}]
    near = [{"name": "gas", "export_offer": 0.05, "kw": 120e3}]
    kw, run = powers(two_buses(far, near, line_kva=10e3))
    np.testing.assert_allclose(kw[0, 1, 1:], [10e3, 90e3], atol=0.1)
    price = run.dataset["price_per_kwh"].to_numpy()[0, 0, 0]
    assert price == pytest.approx((10e3 * 0.2 + 90e3 * 0.05) / 100e3, rel=1e-6)


def test_a_battery_keeps_within_its_connection() -> None:
    case = random_system(1, load=0.6)
    people = case.tables()["participants"]
    people.loc[people["battery_kwh"] > 0, ["connection_import_kw", "connection_export_kw"]] = 2e3
    spec = "dispatch:source_price=none,window=all,committed=all"
    free, held = (
        powers(c, spec)[1].dataset["battery_kw"].to_numpy() for c in (case, case.with_tables(participants=people))
    )
    assert np.abs(free).max() > 3e3
    assert np.abs(held).max() == pytest.approx(2e3, rel=2e-6)


@pytest.mark.parametrize("mechanism", ["dispatch", "lmp_ahead"])
def test_a_battery_does_not_burn_what_must_run_or_is_paid_to_run(mechanism: str) -> None:
    """5 of 30 MW are too many, and 40 MWh take 18 more, 95 % of 3158 kW for 6 h: no kWh fits in afterwards."""
    store = {"name": "store", "bus": "b", "export_offer": 0.0, **BATTERY}
    for plant in ({"export_offer": 0.01, "must_run_kw": 30e3}, {"export_offer": -0.05, "must_run_kw": 0.0}):
        people = [{"name": "load", "bus": "a"}, {"name": "plant", "bus": "a", **plant}, store]
        series = [("load", "import", "flat", 25e3), ("plant", "export", "flat", 30e3)]
        case = system([("line", "a", "b")], 10.0, 100e3, people, series, {"flat": np.ones(24)})
        kw, run = powers(case, f"{mechanism}:source_price=none,window=12,committed=12")
        into = np.repeat([18e3 / 0.95 / 6, 0.0], 12)
        np.testing.assert_allclose(-run.dataset["battery_kw"].to_numpy()[:, 2], into, atol=0.1)
        np.testing.assert_allclose(kw[:, 1, 1], 25e3 + into, atol=0.1)
        assert run.dataset["state_stored_kwh"].to_numpy()[-1, 2] == pytest.approx(38e3, abs=1.0)


def test_a_battery_moves_cheap_energy_and_its_energy_closes() -> None:
    """Wind in the first half, gas in the second: discharge costs less than gas, charging wind loses 5 % each way."""
    people = [{"name": "load", "bus": "a"}, {"name": "wind", "bus": "a", "export_offer": 0.0}]
    people += [
        {"name": "gas", "bus": "b", "export_offer": 0.09},
        {"name": "store", "bus": "a", "export_offer": 0.03, **BATTERY},
    ]
    series = [("load", "import", "flat", 20e3), ("wind", "export", "early", 40e3), ("gas", "export", "flat", 40e3)]
    profiles = {"flat": np.ones(8), "early": np.repeat([1.0, 0.0], 4)}
    case = system([("line", "a", "b")], 10.0, 100e3, people, series, profiles)
    _, run = powers(case, "dispatch:source_price=none,reserve=0,window=all,committed=all,content_price=0")
    battery = run.dataset["battery_kw"].to_numpy()[:, 3]
    assert np.all(battery[:4] <= 1e-6)
    assert np.all(battery[4:] >= -1e-6)
    into, out = -battery[:4].sum() / 2, battery[4:].sum() / 2
    assert out == pytest.approx(30e3, rel=1e-6)  # all that 15 MW can in two hours; gas gives the other 10
    assert run.dataset["served_kw"].to_numpy()[4:, 1, 2].sum() / 2 == pytest.approx(10e3, rel=1e-6)
    assert 20e3 + 0.95 * into >= 2e3 + 30e3 / 0.95 - 1e-3
    content = run.dataset["state_stored_kwh"].to_numpy()[-1, 3]
    assert content == pytest.approx(20e3 + 0.95 * into - out / 0.95, abs=1e-3)


# stages in their order


@pytest.mark.parametrize("seed", [5, 6])
def test_costs_never_move_what_comes_before_them(seed: int) -> None:
    case = random_system(seed, load=1.8)
    people = case.tables()["participants"]
    dear = case.with_tables(participants=people.assign(export_offer=people["export_offer"] * 1000))
    results = [
        reached(c, powers(c, "dispatch:source_price=none,window=all,committed=all")[1])[:2] for c in (case, dear)
    ]
    assert results[0][0] > 1e3  # something is shed
    np.testing.assert_allclose(results[0], results[1], rtol=1e-6, atol=0.1)


def test_a_window_longer_than_the_run_and_shorter_commitments_agree() -> None:
    """Where contents at the ends of windows do not matter, cutting the run loses nothing."""
    case = random_system(7, steps=24, batteries=0)
    whole = powers(case, "dispatch:source_price=none,window=all,committed=all")[0]
    for cut in ("window=8,committed=4", "window=6,committed=6", "window=12,committed=2"):
        np.testing.assert_allclose(powers(case, f"dispatch:source_price=none,{cut}")[0], whole, atol=2.0)


def test_windows_cost_no_more_than_the_ends_that_they_cannot_see() -> None:
    case = random_system(8, steps=48, load=0.9)
    costs = []
    for cut in ("window=all,committed=all", "window=24,committed=8", "window=32,committed=8"):
        run = powers(case, f"dispatch:source_price=none,{cut}")[1]
        shed, _, cost = reached(case, run)
        assert shed < 0.1
        costs.append(cost)
    assert costs[0] <= min(costs) + 1e-2
    assert max(costs) <= 1.02 * costs[0]


# one schedule of many


def turned(case: ao.Case, seed: int = 0) -> tuple[ao.Case, np.ndarray]:
    """The same case with its participants in another order, and that order."""
    order = np.random.default_rng(seed).permutation(case.n_participants)
    people = case.tables()["participants"].iloc[order].reset_index(drop=True)
    return case.with_tables(participants=people), order


def same_in_any_order(case: ao.Case, spec: str, atol: float, seed: int = 0, **how: str) -> None:
    """Every power, content and price of everybody."""
    other, order = turned(case, seed)
    one, two = (ao.simulate(c, spec, **how) for c in (case, other))
    assert one.summary["failed_steps"] + one.summary["fallback_steps"] + two.summary["fallback_steps"] == 0
    for name in ("served_kw", "battery_kw", "state_stored_kwh"):
        left, right = one.dataset[name].to_numpy(), two.dataset[name].to_numpy()
        np.testing.assert_allclose(left[..., order], right, atol=atol, err_msg=name)
    prices = (run.dataset["price_per_kwh"].to_numpy() for run in (one, two))
    np.testing.assert_allclose(next(prices)[..., order], next(prices), atol=1e-7)


@pytest.mark.parametrize("mechanism", ["dispatch", "lmp_ahead"])
@pytest.mark.parametrize(("seed", "load"), [(0, 0.7), (9, 1.3)])
def test_no_power_content_or_price_depends_on_the_order_of_participants(mechanism: str, seed: int, load: float) -> None:
    """Batteries have many schedules of the same cost; window after window each gets the same one."""
    case = random_system(seed, batteries=3, load=load, steps=16)
    same_in_any_order(case, f"{mechanism}:source_price=none,window=8,committed=4", 0.05, seed, **GRID)


@pytest.mark.parametrize("mechanism", ["dispatch", "lmp_ahead"])
@pytest.mark.parametrize("phases", [False, True])
def test_nor_on_a_feeder_of_one_and_three_phases(mechanism: str, phases: bool) -> None:
    case = tiny_case(2, phases, batteries=True).with_scenario(load_scale=0.0, export_scale=1.5)
    same_in_any_order(case, f"{mechanism}:window=4,committed=2", 1e-4)


def test_equals_share_alike_also_through_time() -> None:
    """Twins of a battery and a plant: what one does the other does, and what batteries hold is spread evenly."""
    people = [{"name": "load", "bus": "a"}]
    people += [{"name": f"gas{i}", "bus": "b", "export_offer": 0.09} for i in range(2)]
    people += [{"name": f"store{i}", "bus": "a", "export_offer": 0.03, **BATTERY} for i in range(2)]
    series = [("load", "import", "flat", 40e3), *((f"gas{i}", "export", "flat", 15e3) for i in range(2))]
    case = system([("line", "a", "b")], 10.0, 100e3, people, series, {"flat": np.ones(4)})
    kw, run = powers(case, "dispatch:source_price=none,reserve=0,content_price=0")
    np.testing.assert_allclose(run.dataset["battery_kw"].to_numpy()[:, 3:], 0.95 * (20e3 - 2e3) / 2.0, atol=0.1)
    np.testing.assert_allclose(kw[:, 1, 1:3], 20e3 - 8550.0, atol=0.1)


# offers that rise


def test_a_window_with_rising_offers_is_as_good_as_one_program_of_everything() -> None:
    case = rising(random_system(1, batteries=2, load=0.9, steps=8), seed=1)
    run = ao.simulate(case, "dispatch:source_price=none,window=all,committed=all", **GRID)
    assert run.summary[["failed_steps", "fallback_steps"]].sum() == 0
    assert run.summary["unserved_mwh"] < 1e-6
    paid = run.settlement().operator["paid"] - run.settlement().operator["reserve"]
    content = run.dataset["state_stored_kwh"].to_numpy()[-1]
    ending = 0.005 * np.maximum(0.5 * case.participants["battery_kwh"].to_numpy() - content, 0.0).sum()
    assert paid + ending == pytest.approx(Monolith(case).least_rising_cost(), rel=1e-6)


def rising(case: ao.Case, seed: int) -> ao.Case:
    """Offers of plants and batteries that rise, and worth of load that falls; nobody must run."""
    people, rng = case.tables()["participants"], np.random.default_rng(seed)
    can = people["export_offer"].notna()
    offers = np.where(can, rng.uniform(0.0, 3e-6, len(people)), 0.0)
    worth = np.where(can, 0.0, rng.uniform(0.0, 2e-5, len(people)))
    slopes = {"export_offer_slope": offers, "import_value_slope": worth}
    return case.with_tables(participants=people.assign(**slopes, must_run_kw=0.0))


def two_rising(request_kw: float) -> ao.Case:
    """.02 and .04 for the first kWh, a thousandth more with every MW; the load's worth falls from .12 as fast."""
    people = [
        {"name": "load", "bus": "near", "import_value": 0.12, "import_value_slope": 1e-6, "export_offer_slope": 0.0},
        {"name": "cheap", "bus": "near", "export_offer": 0.02, "export_offer_slope": 1e-6, "import_value_slope": 0.0},
        {"name": "dear", "bus": "far", "export_offer": 0.04, "export_offer_slope": 1e-6, "import_value_slope": 0.0},
    ]
    series = [("load", "import", "flat", request_kw)]
    series += [(plant, "export", "flat", 200e3) for plant in ("cheap", "dear")]
    return system([("line", "near", "far")], 10.0, 100e3, people, series, {"flat": np.ones(2)})


def test_rising_offers_meet_where_the_next_kwh_costs_the_same() -> None:
    """.02 + y1 = .04 + y2 and y1 + y2 = .09 (GW): 55 and 35 MW, paid half of the rise; at 75 the next one is."""
    kw, run = powers(two_rising(90e3))
    np.testing.assert_allclose(kw[0, 1, 1:], [55e3, 35e3], atol=0.1)
    price = run.dataset["price_per_kwh"].to_numpy()[0]
    np.testing.assert_allclose(price[1, 1:], [0.02 + 0.055 / 2, 0.04 + 0.035 / 2], rtol=1e-6)
    assert price[0, 0] == pytest.approx((55 * 0.0475 + 35 * 0.0575) / 90, rel=1e-6)


def test_marginal_prices_with_rising_offers_and_falling_worth() -> None:
    """.12 - x = .03 + x / 2 (GW): 60 of 90 MW are served, at .06."""
    kw, run = powers(two_rising(90e3), "lmp_ahead:reserve=0,source_price=none")
    np.testing.assert_allclose(kw[0].sum(axis=0), [60e3, 40e3, 20e3], atol=0.1)
    np.testing.assert_allclose(run.dataset["price_per_kwh"].to_numpy()[0, 1], 0.06, atol=1e-7)


@pytest.mark.parametrize("phases", [False, True])
def test_limits_of_a_distribution_network_hold_on_wires_of_one_and_three_phases(phases: bool) -> None:
    """Customers' plants meet customers' load; the most is served that the network hosts."""
    case = tiny_case(2, phases, batteries=True).with_scenario(load_scale=0.0, export_scale=1.5)
    run = ao.simulate(case, "dispatch:source_price=none,window=all,committed=all")
    assert not run.failed_steps
    kw = run.dataset["served_kw"].to_numpy()
    with_batteries = kw[:, 1].sum(axis=1) + run.dataset["battery_kw"].to_numpy().sum(axis=1)
    np.testing.assert_allclose(kw[:, 0].sum(axis=1), with_batteries, atol=1e-4)
    assert run.summary["thermal_violations"] + run.summary["voltage_violations"] == 0
    assert 0 < kw[:, 0].sum() < run.dataset["requested_kw"].to_numpy()[:, 0].sum()


# bad input


def test_bad_parameters_and_columns_are_named() -> None:
    with pytest.raises(ao.InputError) as error:
        Dispatch(window="x", committed=0, reserve=-0.1, reserve_price=-1.0, content_price=-1.0)
    for part in ("window = 'x'", "committed = 0", "reserve = -0.1", "reserve_price = -1", "content_price = -1"):
        assert part in str(error.value)
    people = random_system(1).tables()["participants"]
    with pytest.raises(ao.InputError, match=r"'load0': must_run_kw = -1"):
        random_system(1).with_tables(participants=people.assign(must_run_kw=-1.0))
