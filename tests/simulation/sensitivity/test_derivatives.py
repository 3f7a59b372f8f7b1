"""Derivatives of runs, held against central differences of real runs, hand calculations and multipliers."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import amm_opt as ao
from amm_opt.testing.cases import small_case

NEAR = 1e-4
STEP = 1e-4
LIMITS = ("rating_kva:to-low-A", "rating_kva:to-mv", "v_max_pu:b2")
REQUESTS = ("import_scale", "export_scale", "load_scale", "import_request_kw:p3", "inflexible_kw:p6")
CONSTANT = {"import_request_kw": ("asks", "first", "second"), "inflexible_kw": ("flat",)}
SERIES = ["participant", "quantity", "profile", "scale_kw"]
MECHANISMS = {
    "amm:rho=1": (*LIMITS, *REQUESTS, "alpha", "rho", "prior_h"),
    "amm:priority=shortage,rho=0.5": ("import_scale", "kappa", "beta"),
    "alpha_fair:alpha=2": ("rating_kva:to-mv", "v_max_pu:b2", "export_scale", "load_scale", "alpha"),
    "amm:envelope=greedy_doe": ("rating_kva:to-low-A", "load_scale"),
}


def scarce_case(balanced: bool) -> ao.Case:
    """Where p3 asks for one kW more than in ``small_case`` whenever it asks, so that this may be more or less."""
    case = small_case(balanced)
    tables = case.tables()
    profiles, series = tables["profiles"], tables["series"]
    profiles = profiles.assign(asks=(profiles["night"] > 0).astype(float))
    more = series[series["participant"] == "p3"].iloc[:1].assign(quantity="import", profile="asks", scale_kw=1.0)
    return case.with_tables(profiles=profiles, series=pd.concat([series, more], ignore_index=True))


def moved(case: ao.Case, mechanism: ao.Mechanism, name: str, by: float) -> tuple[ao.Case, ao.Mechanism]:
    """Case and mechanism with one number changed, by the ways that users have."""
    kind, _, of = name.partition(":")
    tables = case.tables()
    if kind == "rating_kva":
        rating = tables["branches"].set_index("name")["rating_kva"][of]
        return case.with_ratings(names=[of], factor=1 + by / rating), mechanism
    if kind in ("v_min_pu", "v_max_pu"):
        buses = tables["buses"]
        return case.with_tables(buses=buses.assign(**{kind: buses[kind] + by * (buses["name"] == of)})), mechanism
    if kind.endswith("_scale"):
        return case.with_scenario(**{kind: getattr(case.scenario, kind) + by}), mechanism
    if kind in ("import_request_kw", "inflexible_kw"):
        series = tables["series"]
        constant = (series["participant"] == of) & series["profile"].isin(CONSTANT[kind])
        assert len(series[constant])
        return case.with_tables(series=series.assign(scale_kw=series["scale_kw"] + by * constant)), mechanism
    return case, replace(mechanism, **{name: getattr(mechanism, name) + by})


def differences(case: ao.Case, mechanism: ao.Mechanism, name: str, step: float, **how: object) -> np.ndarray:
    """(T, 2, n) central differences of what two runs serve."""
    runs = [ao.simulate(*moved(case, mechanism, name, by), **how) for by in (step, -step)]
    return np.swapaxes((runs[0].allocation.both_kw - runs[1].allocation.both_kw) / (2 * step), 0, 1)


@pytest.mark.parametrize("balanced", [True, False], ids=["balanced", "phases"])
@pytest.mark.parametrize("spec", MECHANISMS)
def test_derivatives_are_those_of_real_runs_where_the_same_limits_bind(spec: str, balanced: bool) -> None:
    case = scarce_case(balanced)
    run = ao.simulate(case, spec)
    names = MECHANISMS[spec]
    found = run.sensitivity(*names)
    compared = 0
    for p, (name, value) in enumerate(zip(names, found.table()["value"], strict=True)):
        step = STEP * (abs(value) or 1.0)
        truth = differences(case, run.mechanism, name, step)
        stable = found.until_kink[p] > 2 * step
        if type(run.mechanism).advance is not ao.Mechanism.advance:
            stable = np.logical_and.accumulate(stable)  # differences of runs remember where limits changed
        assert stable.any()
        error = np.abs(found.service_kw[p] - truth)[stable]
        assert error.max() <= NEAR * max(np.abs(truth[stable]).max(), 1.0), name
        compared += int((np.abs(truth[stable]) > 0.01).any(axis=(1, 2)).sum())
    assert compared > 5  # intervals and numbers that matter


def test_two_customers_behind_one_rating_by_hand() -> None:
    """Equal weights: shares are equal, x_i = r_i S / (r_1 + r_2)."""
    run = ao.simulate(two_customers(rating=10.0), "amm:alpha=1,rho=0.5")
    np.testing.assert_allclose(run.allocation.import_kw[0], [4.0, 6.0], atol=1e-6)
    found = run.sensitivity("rating_kva:line", "import_request_kw:a", "rho", memory="held")
    np.testing.assert_allclose(found.service_kw[0, 0, 0], [0.4, 0.6], atol=1e-6)
    np.testing.assert_allclose(found.service_kw[1, 0, 0], [10 * 12 / 400, -10 * 12 / 400], atol=1e-6)
    np.testing.assert_allclose(found.service_kw[2, 0], 0.0, atol=1e-6)
    table = found.table().set_index("parameter")
    assert table.loc["rating_kva:line", "import_mwh"] == pytest.approx(2 * 0.5 * 1.0 / 1000)  # two half-hours of a kW
    assert found.until_kink[0, 0] == pytest.approx(10.0)  # 10 kVA more and all is served, 10 less and nothing is
    assert not found.at_kink.any()
    by = found.by_participant("rating_kva:line")
    np.testing.assert_allclose(by["import_kwh"], [2 * 0.5 * 0.4, 2 * 0.5 * 0.6], atol=1e-6)


def test_memory_carried_is_the_run_and_memory_held_each_interval_by_itself() -> None:
    """The price of having been served in the first interval is seen in the second one only where memory is carried."""
    case, spec = two_customers(rating=10.0, connected=(20.0, 0.0, 8.0, 12.0)), "amm:alpha=5,rho=0.5"
    run = ao.simulate(case, spec)
    carried, held = (run.sensitivity("import_request_kw:a", memory=m) for m in ("carried", "held"))
    step = 1e-4
    truth = differences(case, run.mechanism, "import_request_kw:a", step)
    np.testing.assert_allclose(carried.service_kw[0], truth, atol=1e-5)
    state = ao.simulate(case, spec, steps=1).state
    alone = differences(case, run.mechanism, "import_request_kw:a", step, steps=slice(1, 2), state=state)
    np.testing.assert_allclose(held.service_kw[0, 1], alone[0], atol=1e-5)
    assert np.abs(carried.service_kw[0, 1] - held.service_kw[0, 1]).max() > 0.01
    later = run.sensitivity("import_request_kw:a", steps=slice(1, 2))
    np.testing.assert_array_equal(later.service_kw[0, 0], carried.service_kw[0, 1])


def test_kinks_are_told() -> None:
    """A rating that is just enough: one kVA less costs one kW, one more gives nothing."""
    run = ao.simulate(two_customers(rating=20.0), "amm:alpha=1")
    found = run.sensitivity("rating_kva:line", "import_scale")
    assert found.at_kink.all()
    assert all(found.reasons.ravel())
    # two limits that bind at the same flow: one more of one of them gives nothing, one less costs a kW
    run = ao.simulate(two_customers(rating=10.0, second=10.0), "amm:alpha=1")
    found = run.sensitivity("rating_kva:line", "import_request_kw:a")
    assert found.at_kink[0].all()
    assert not found.at_kink[1].any()  # both go on binding together
    np.testing.assert_allclose(found.service_kw[1, 0, 0], [10 * 12 / 400, -10 * 12 / 400], atol=1e-6)


@pytest.mark.parametrize("balanced", [True, False], ids=["balanced", "phases"])
def test_energy_of_the_throughput_bound_is_the_multiplier(balanced: bool) -> None:
    run = ao.simulate(small_case(balanced), "alpha_fair:alpha=0")
    limits = run.explain()
    worth = limits[(limits["kind"] == "thermal") & (limits["worth_mwh"] > 0)].groupby("limit")["worth_mwh"].sum()
    assert len(worth)
    table = run.sensitivity(*(f"rating_kva:{name}" for name in worth.index)).table()
    np.testing.assert_allclose(table["import_mwh"] + table["export_mwh"], worth, rtol=1e-6)


def test_no_derivative_without_a_reason(tmp_path) -> None:
    case = small_case(True)
    refused = {
        "leximin": "lexicographic",
        "fot:window=4": "over a horizon",
        "pro_rata": "goes by sweeps",
    }
    for spec, why in refused.items():
        with pytest.raises(ao.InputError, match=why):
            ao.simulate(case, spec).sensitivity("import_scale")
    run = ao.simulate(case, "amm:alpha=0")
    with pytest.raises(ao.InputError) as told:
        run.sensitivity("alpha", "alhpa", "rating_kva:nowhere", 7)
    assert len(told.value.problems) == 4
    assert "both sides" in str(told.value)
    with pytest.raises(ao.InputError, match="nothing to differentiate by"):
        run.sensitivity()
    with pytest.raises(ao.InputError, match="carried, held"):
        run.sensitivity("rho", memory="all")
    for how, why in (({"tiers": "two"}, "two tiers"), ({"forecast": "persistence"}, "forecast")):
        with pytest.raises(ao.InputError, match=why):
            ao.simulate(case, "amm", **how).sensitivity("rho")


def test_a_run_that_was_read_back_and_other_orders_give_the_same(tmp_path) -> None:
    case, names = small_case(False), ("rating_kva:to-mv", "alpha", "import_request_kw:p3")
    run = ao.simulate(case, "amm:rho=1")
    run.save(tmp_path / "run")
    found, again = run.sensitivity(*names), ao.open_run(tmp_path / "run").sensitivity(*names)
    np.testing.assert_allclose(again.service_kw, found.service_kw, rtol=1e-6, atol=1e-9)
    tables = case.tables()
    turned = case.with_tables(participants=tables["participants"].iloc[::-1])
    other = ao.simulate(turned, "amm:rho=1").sensitivity(*names)
    np.testing.assert_allclose(other.service_kw[..., ::-1], found.service_kw, rtol=1e-5, atol=1e-6)
    intervals = found.intervals()
    assert list(intervals.columns) == [
        "parameter",
        "time",
        "import_kwh",
        "export_kwh",
        "until_kink",
        "at_kink",
        "reason",
    ]
    assert len(intervals) == len(names) * len(run.times)


def two_customers(
    rating: float, second: float = np.inf, connected: tuple[float, ...] = (8.0, 12.0, 8.0, 12.0)
) -> ao.Case:
    """Customers a and b behind a line with this rating, after another with ``second``; two half-hours.

    Args:
        connected: what a and b ask for in the first interval, then in the second one.
    """
    buses = pd.DataFrame({"name": ["src", "mid", "end"], "vn_kv": 0.4, "v_min_pu": 0.5, "v_max_pu": 1.5})
    buses["v_source_pu"] = [1.0, np.nan, np.nan]
    branches = pd.DataFrame(
        {
            "name": ["upper", "line"],
            "from_bus": ["src", "mid"],
            "to_bus": ["mid", "end"],
            "r_ohm": 0.001,
            "x_ohm": 0.001,
            "rating_kva": [second, rating],
        }
    )
    people = pd.DataFrame(
        {"name": ["a", "b"], "bus": "end", "connection_import_kw": 40.0, "connection_export_kw": 40.0}
    )
    people["power_factor_import"] = 1.0
    times = pd.date_range("2030-01-07", periods=2, freq="30min")
    profiles = pd.DataFrame({"time": times, "first": [1.0, 0.0], "second": [0.0, 1.0]})
    terms = zip("abab", ("first", "first", "second", "second"), connected, strict=True)
    series = pd.DataFrame([(who, "import", when, kw) for who, when, kw in terms], columns=SERIES)
    return ao.from_tables(
        name="two", buses=buses, branches=branches, participants=people, profiles=profiles, series=series
    )
