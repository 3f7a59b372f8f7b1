"""A feeder on a node of a wholesale system: prices by hand, no shock, limits of its own, memory, what is conserved."""

import numpy as np
import pandas as pd
import pytest
from tiny import tiny_case
from wholesale import random_system, system

import amm_opt as ao

FREE = 1e4


def two_nodes(plant_kw: list[float], line_kw: float = 1e6, load_kw: float = 100.0) -> ao.Case:
    """A plant at a, a load at b."""
    people = [{"name": "plant", "bus": "a", "export_offer": 0.05}, {"name": "load", "bus": "b"}]
    series = [("plant", "export", "plant", 1.0), ("load", "import", "flat", load_kw)]
    profiles = {"plant": np.array(plant_kw), "flat": np.ones(len(plant_kw))}
    return system([("a-b", "a", "b")], 1.0, line_kw, people, series, profiles)


def village(steps: int, b_kva: float = FREE, load_kw: float = 20.0, export_kw: float = 0.0) -> ao.Case:
    """A (20 kW of load, asks for 50) and B (asks for 30) behind transformers of their own."""
    buses = pd.DataFrame({"name": ["src", "mv", "hA", "hB"], "vn_kv": [10.0, 10.0, 0.4, 0.4]})
    buses = buses.assign(v_min_pu=0.9, v_max_pu=1.1, feeder=[None, None, "A", "B"], v_source_pu=[1.0] + [np.nan] * 3)
    branches = pd.DataFrame(
        {"name": ["head", "tA", "tB"], "from_bus": ["src", "mv", "mv"], "to_bus": ["mv", "hA", "hB"]}
    )
    branches = branches.assign(kind=["line", "transformer", "transformer"], r_ohm=1e-6, x_ohm=1e-6)
    terms = [("A", "inflexible", load_kw), ("A", "import", 50.0), ("B", "import", 30.0), ("B", "export", export_kw)]
    return ao.from_tables(
        name="village",
        buses=buses,
        branches=branches.assign(rating_kva=[FREE, FREE, b_kva]),
        participants=pd.DataFrame(
            {"name": ["A", "B"], "bus": ["hA", "hB"], "connection_import_kw": 1e3, "connection_export_kw": 1e3}
        ),
        profiles=pd.DataFrame({"one": 1.0}, index=pd.date_range("2030-01-07", periods=steps, freq="30min")),
        series=pd.DataFrame(
            [(*t[:2], "one", t[2]) for t in terms if t[2]], columns=["participant", "quantity", "profile", "scale_kw"]
        ),
    )


def import_prices(found: ao.Coupled) -> pd.DataFrame:
    prices = found.prices()
    imports = prices[prices["direction"] == "import"]
    return imports.pivot_table(index="time", columns="participant", values="price_per_kwh", observed=True)


def test_the_systems_deficit_is_the_households_price_by_hand() -> None:
    """150 kW for 20 of firm load and 180 of requests: 130/180 are served, so 5/18 of the way from 0.10 to 0.40."""
    found = ao.coupled(two_nodes([300.0, 150.0, 300.0]), "b", village(3))
    share = 130.0 / 180.0
    np.testing.assert_allclose(import_prices(found), [[0.1] * 2, [0.1 + 0.3 * (1 - share)] * 2, [0.1] * 2], rtol=1e-6)
    table = found.table
    assert table["short"].tolist() == [False, True, False]
    np.testing.assert_allclose(table["served_kw"], [80, 80 * share, 80], rtol=1e-6)
    np.testing.assert_allclose(table["drawn_kw"], [100, 20 + 80 * share, 100], rtol=1e-5)
    np.testing.assert_allclose(table["deficit"], [0, 5 / 18, 0], atol=1e-6)
    place = found.prices().query("deficit > 0")
    assert place[["layer", "area", "limit", "kind"]].drop_duplicates().to_numpy().tolist() == [
        ["wholesale", "b", "b", "supply"]
    ]
    assert len(place) == 2
    np.testing.assert_allclose(found.allocation.import_kw.sum(axis=1), [80, 80 * share, 80], rtol=1e-5)


def test_a_city_of_feeders_is_the_same_with_all_powers_larger() -> None:
    small = ao.coupled(two_nodes([300.0, 150.0]), "b", village(2))
    city = ao.coupled(two_nodes([300e3, 150e3], load_kw=100e3), "b", village(2), count=1000.0)
    np.testing.assert_allclose(import_prices(city), import_prices(small), rtol=1e-6)
    assert city.system.allocation.import_kw[1].sum() == pytest.approx(130e3, rel=1e-6)


def test_a_line_of_the_system_makes_the_same_price_as_a_lack_of_plants() -> None:
    """150 kW of line instead of 150 kW of plant: the node gets the same, and so does the household."""
    plants, line = (
        ao.coupled(s, "b", village(2)) for s in (two_nodes([150.0] * 2), two_nodes([300.0] * 2, line_kw=150.0))
    )
    np.testing.assert_allclose(import_prices(line), import_prices(plants), rtol=1e-6)
    assert import_prices(line).to_numpy() == pytest.approx(0.1 + 0.3 * 5 / 18)


def test_the_tightest_layer_makes_the_price() -> None:
    """B's transformer carries 12 of 30 kW: 0.6 missing, more than the system's. It asks the system for 62 in all."""
    found = ao.coupled(two_nodes([150.0] * 2), "b", village(2, b_kva=12.0))
    served = 62 * 130 / 162
    prices = import_prices(found).iloc[0]
    assert prices["B"] == pytest.approx(0.1 + 0.3 * 0.6, rel=1e-4)
    assert prices["A"] == pytest.approx(0.1 + 0.3 * (1 - served / 80), rel=1e-5)
    layers = found.prices().query("direction == 'import'").iloc[:2].set_index("participant")["layer"]
    assert layers.to_dict() == {"A": "wholesale", "B": "feeder"}


def test_without_a_shock_it_is_the_feeder_alone() -> None:
    feeder = tiny_case(2)
    found = ao.coupled(random_system(1, steps=feeder.n_steps, load=0.01), "b2", feeder)
    alone = ao.simulate(feeder, "amm")
    np.testing.assert_array_equal(found.allocation.import_kw, alone.allocation.import_kw)
    np.testing.assert_array_equal(found.allocation.import_price, alone.allocation.import_price)
    assert not found.table["short"].any()
    pd.testing.assert_frame_equal(found.settlement().participants, alone.settlement().participants)


@pytest.mark.parametrize(("seed", "phases"), [(2, False), (5, False), (2, True)])
def test_what_the_feeder_draws_is_what_the_system_serves(seed: int, phases: bool) -> None:
    """Exports, limits of its own and memory: turns go on until both agree."""
    feeder = tiny_case(seed, phases)
    hungry = random_system(4, steps=feeder.n_steps, load=1.6, batteries=0)
    found = ao.coupled(hungry, "b3", feeder, count=1500.0)
    assert found.table["short"].any()
    assert found.gap_kw <= 1e-4 * found.table["drawn_kw"].abs().max()
    drawn = feeder.requests(0, feeder.n_steps).inflexible_kw + found.allocation.import_kw - found.allocation.export_kw
    np.testing.assert_allclose(drawn.sum(axis=1), found.table["drawn_kw"], atol=1e-9)
    run = found.system
    at = run.case.participant_names.index(feeder.name)
    firm = run.case.requests(0, feeder.n_steps).inflexible_kw[:, at]
    np.testing.assert_allclose(1500.0 * drawn.sum(axis=1), firm + run.allocation.import_kw[:, at], atol=1.0)
    more = found.allocation.import_price - found.alone.allocation.import_price
    assert more.min() >= -1e-9  # one limit more never lowers a price
    assert more[found.table["short"]].min() > 0
    assert found.settlement().operator["paid"] == pytest.approx(
        (found.allocation.import_kw * found.allocation.import_price).sum() * 0.5
    )


def test_cases_that_do_not_fit_are_refused_with_all_reasons() -> None:
    with pytest.raises(ao.InputError, match="node"):
        ao.coupled(two_nodes([1.0] * 2), "z", village(2))
    with pytest.raises(ao.InputError) as error:
        ao.coupled(two_nodes([1.0, 1.0]), "b", ao.load_case("ieee14"), steps=1, count=-1.0, mechanism="fot", rounds=0)
    for part in ("radial", "1 interval of ieee14, 2 of system", "count = -1", "rounds = 0", "several intervals"):
        assert part in str(error.value)


def test_the_order_of_participants_does_not_matter() -> None:
    feeder, hungry = tiny_case(2), random_system(4, steps=6, load=1.6, batteries=0)
    turned = feeder.with_tables(participants=feeder.tables()["participants"].iloc[::-1].reset_index(drop=True))
    some, other = (ao.coupled(hungry, "b3", case, count=1500.0) for case in (feeder, turned))
    np.testing.assert_allclose(some.allocation.import_kw, other.allocation.import_kw[:, ::-1], atol=1e-5)
    np.testing.assert_allclose(some.allocation.import_price, other.allocation.import_price[:, ::-1], atol=1e-7)
