"""Marginal prices: published small systems, finite differences, surplus, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from streets import random_street

import amm_opt as ao
from amm_opt.study.cli import main
from amm_opt.testing.cases import small_case
from formulations import LMP

CLOSED = "lmp:source_price=none"


def cost(case: ao.Case, run: ao.Run, k: int = 0) -> float:
    """What accepted offers cost in an interval, without slopes."""
    return float(np.nansum(case.own_prices[0][1] * run.allocation.export_kw[k]))


def by_bus(case: ao.Case, values: np.ndarray) -> dict[str, float]:
    return dict(zip(case.participants["bus"], values.tolist(), strict=True))


def by_name(case: ao.Case, values: np.ndarray) -> dict[str, float]:
    return dict(zip(case.participant_names, values.tolist(), strict=True))


@pytest.mark.parametrize("name", ["pjm5", "three_bus"])
def test_published_costs_dispatch_and_prices(name: str) -> None:
    """MATPOWER's case5 in DC without lower limits of plants, and a textbook's triangle; per MWh, MW and hour."""
    published = {
        "pjm5": (
            17_479.897,
            {"Alta": 40.0, "Park City": 170.0, "Solitude": 323.495, "Sundance": 0.0, "Brighton": 466.505},
            {"bus 1": 16.9774, "bus 2": 26.3845, "bus 3": 30.0, "bus 4": 39.9427, "bus 5": 10.0},
        ),
        "three_bus": (
            2_835.0,
            {"A": 50.0, "B": 285.0, "C": 0.0, "D": 75.0},
            {"bus 1": 7.5, "bus 2": 11.25, "bus 3": 10.0},
        ),
    }
    total, dispatch, prices = published[name]
    case = ao.load_case(name)
    run = ao.simulate(case, CLOSED)
    assert cost(case, run) == pytest.approx(total, abs=0.01)
    power = by_name(case, run.allocation.export_kw[0] / 1e3)
    assert {plant: power[plant] for plant in dispatch} == pytest.approx(dispatch, abs=1e-3)
    for price in (run.allocation.import_price, run.allocation.export_price):
        assert price is not None
        assert by_bus(case, 1e3 * price[0]) == pytest.approx(prices, abs=1e-4)
    assert run.summary["unserved_mwh"] == pytest.approx(0.0, abs=1e-9)


def test_surplus_is_the_rent_of_the_lines() -> None:
    """240 MW times 62.322 per MWh of the line 4-5 on the PJM system; 126 MW times 6.25 in the triangle."""
    for name, rent in (("pjm5", 14_957.29), ("three_bus", 787.50)):
        a = ao.simulate(name, CLOSED).allocation
        assert a.import_price is not None
        assert a.export_price is not None
        paid = a.import_price[0] @ a.import_kw[0] - a.export_price[0] @ a.export_kw[0]
        assert paid == pytest.approx(rent, rel=1e-5)


def test_without_limits_the_merit_order_sets_one_price() -> None:
    for name, total, price in (("pjm5", 14_810.0, 30.0), ("three_bus", 2_647.5, 7.5)):
        case = ao.load_case(name).with_scenario(capacity_scale=100.0)
        run = ao.simulate(case, CLOSED)
        assert cost(case, run) == pytest.approx(total, abs=0.01)
        assert run.allocation.import_price is not None
        assert 1e3 * run.allocation.import_price == pytest.approx(price, abs=1e-4)


def test_scarcity_is_priced_at_what_the_unserved_is_worth() -> None:
    case = ao.load_case("three_bus").with_scenario(capacity_scale=100.0, export_scale=0.5)
    run = ao.simulate(case, CLOSED)
    assert run.allocation.import_kw[0].sum() == pytest.approx(300e3)  # half of 600 MW of plants
    assert run.allocation.import_price == pytest.approx(10.0, rel=2e-6)
    assert run.allocation.import_kw[0] == pytest.approx(run.requests.import_request_kw[0] * 300.0 / 410.0)  # alike


def least_cost(case: ao.Case, source_price: float) -> float:
    """Objective of the clearing of the first interval, from the allocation; currency per hour."""
    mechanism = LMP(source_price=source_price)
    solution, load = ao.price_parts(case, mechanism, 0).solution, case.requests(0, 1).inflexible_kw[0]
    (value, offer), (fall, rise) = mechanism.bids(case)
    x, y = solution["import"], solution["export"]
    worth = value @ x - 0.5 * fall @ x**2
    cost = offer @ y + 0.5 * rise @ y**2
    return float(source_price * (x.sum() - y.sum() + load.sum()) + cost - worth)


def with_load(case: ao.Case, i: int, kw: float) -> ao.Case:
    """Participant i draws so much more all the time, at the power factor of its load."""
    row = {"participant": case.participant_names[i], "quantity": "inflexible", "profile": "one", "scale_kw": kw}
    return case.with_tables(series=pd.concat([case.tables()["series"], pd.DataFrame([row])], ignore_index=True))


def random_bids(balanced: bool, seed: int) -> ao.Case:
    """A random street with unity power factors, in which limits bind, and with random bids and slopes."""
    rng, case = np.random.default_rng(seed), random_street(seed, phases=not balanced, factors=False)
    people = case.tables()["participants"]
    people[["connection_import_kw", "connection_export_kw"]] = 200.0
    n = len(people)
    people = people.assign(
        import_value=rng.uniform(0.3, 1.0, n),
        import_value_slope=rng.uniform(0.002, 0.01, n),
        export_offer=rng.uniform(0.0, 0.2, n),
        export_offer_slope=rng.uniform(0.002, 0.01, n),
    )
    return case.with_tables(participants=people).with_scenario(import_scale=1.5, export_scale=1.5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("balanced", [True, False], ids=["balanced", "phases"])
def test_prices_are_the_slope_of_the_least_cost(balanced: bool, seed: int) -> None:
    case, step = random_bids(balanced, seed), 1e-3
    run = ao.simulate(case, LMP(), steps=1)
    assert run.allocation.import_price is not None
    price = run.allocation.import_price[0]
    assert np.ptp(price) > 0.01  # limits bind
    for i in (0, case.n_participants // 2, case.n_participants - 1):
        more, less = (least_cost(with_load(case, i, kw), 0.25) for kw in (step, -step))
        assert (more - less) / (2 * step) == pytest.approx(price[i], abs=1e-4)


def test_a_reactive_share_is_in_the_price() -> None:
    """A price of import is that of a kW with the kvar that go with it: request 1 W more and less of it."""
    case = random_bids(balanced=True, seed=0)
    people = case.tables()["participants"].assign(power_factor=0.9, power_factor_import=0.9)
    case = case.with_tables(participants=people)
    price = ao.simulate(case, LMP(), steps=1).allocation.import_price
    assert price is not None
    more, less = (least_cost(with_load(case, 3, kw), 0.25) for kw in (1e-3, -1e-3))
    assert (more - less) / 2e-3 == pytest.approx(price[0, 3], abs=1e-4)


def test_bids_make_no_difference_to_others_and_none_are_needed() -> None:
    """A year without bids has the fingerprint that it had; with a bid it has another one."""
    case = small_case(balanced=True)
    plain = case.tables()["participants"]
    without = plain.drop(columns=[c for c in plain if c.startswith(("import_value", "export_offer"))])
    assert case.with_tables(participants=without).fingerprint == case.fingerprint
    assert case.with_tables(participants=plain.assign(export_offer=0.0)).fingerprint != case.fingerprint


def test_what_nobody_sells_is_bought_from_the_source() -> None:
    case = small_case(balanced=True).with_scenario(capacity_scale=10.0, import_scale=0.1, export_scale=0.1)
    run = ao.simulate(case, LMP(source_price=0.2))
    assert run.allocation.import_price == pytest.approx(0.2)
    assert run.summary["unserved_mwh"] == pytest.approx(0.0, abs=1e-9)
    dear = ao.simulate(case, LMP(source_price=2.0))  # worth 1 per kWh: nobody buys
    assert dear.allocation.import_kw.max() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("bids", "sentence"),
    [
        ({"import_value": np.inf}, "import_value = inf must be a finite number"),
        ({"export_offer_slope": -1.0}, "export_offer_slope = -1.0 must be a number that is not negative"),
        ({"import_value_slope": np.nan, "export_offer": -np.inf}, "export_offer = -inf must be a finite number"),
    ],
)
def test_bids_that_are_none_are_named(bids: dict[str, float], sentence: str) -> None:
    case = small_case(balanced=True)
    people = case.tables()["participants"]
    people.loc[2, list(bids)] = list(bids.values())
    with pytest.raises(ao.InputError, match="participant 'p2'") as said:
        case.with_tables(participants=people)
    assert sentence in str(said.value)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--mechanism", "lmp:source_price=dear"], "source_price"),
        (["--mechanism", "lmp", "--network", "socp"], "use lindistflow"),
        (["--mechanism", "lmp", "--tiers", "two"], "it reads import, export, exchange from its program"),
    ],
)
def test_the_command_line_refuses(arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(main, ["run", "synthetic:buses=60,days=1", *arguments])
    assert result.exit_code == 2
    assert sentence in result.output


def test_a_balance_that_cannot_be_kept_is_an_error_with_its_reason() -> None:
    with pytest.raises(ao.SolveError, match="the program is infeasible"):  # at midnight nobody injects, and loads draw
        ao.simulate(small_case(balanced=True), LMP(source_price=None), steps=1)
