"""Who does not tell the truth: gains and losses by hand, energy of sessions, what prices tell, bad input."""

import numpy as np
import pandas as pd
import pytest
from small import one_transformer

import amm_opt as ao

PROPORTIONAL, EQUAL = "pro_rata", "leximin:per=participant"


def street(imports: list[float] | None = None, exports: list[float] | None = None, kva: float = 10.0) -> ao.Case:
    """Customers behind a transformer of 10 kVA, the same in two intervals of half an hour."""
    n = len(imports or exports or [])
    return one_transformer(kva, [0.0] * n, imports or [0.0] * n, exports or [0.0] * n)


def names(case: ao.Case, count: int = 1) -> list[str]:
    return list(case.participant_names[:count])


@pytest.mark.parametrize(
    ("spec", "strategy", "gain_kw", "others_kw", "wasted_kw"),
    [
        (PROPORTIONAL, "inflate:factor=2", 10 * 2 / 3 - 5, -5 / 3, 0.0),
        (PROPORTIONAL, "inflate:factor=2,availability=physical", 0.0, 0.0, 0.0),
        (PROPORTIONAL, "inflate:factor=19", 10 - 5 - 0.5, -4.5, 0.0),
        (PROPORTIONAL, "split:parts=2", 0.0, 0.0, 0.0),
    ],
)
def test_two_who_ask_for_ten_each(spec: str, strategy: str, gain_kw: float, others_kw: float, wasted_kw: float) -> None:
    case = street(imports=[10.0, 10.0])
    found = ao.gaming(case, spec, strategy, who=names(case))
    hours = case.n_steps * case.dt_h
    told = found.summary[["gain_kwh", "others_kwh", "wasted_kwh"]] / hours
    assert told.tolist() == pytest.approx([gain_kw, others_kw, wasted_kw], abs=1e-3)
    assert found.summary["gain_pct"] == pytest.approx(100 * gain_kw / 5, abs=0.05)
    assert found.participants["cheats"].tolist() == [True, False]


def test_what_is_granted_beyond_what_can_be_used_is_wasted() -> None:
    """The one who cheats asks for 12 instead of 4 beside 10 of another: 12/22 of 10 kW, of which 4 are of use."""
    case = street(imports=[4.0, 10.0])
    found = ao.gaming(case, PROPORTIONAL, "inflate:factor=3", who=names(case))
    hours = case.n_steps * case.dt_h
    before = 10 * 4 / 14
    assert found.summary["gain_kwh"] / hours == pytest.approx(4 - before, abs=1e-3)
    assert found.summary["wasted_kwh"] / hours == pytest.approx(120 / 22 - 4, abs=1e-3)
    assert found.summary["others_kwh"] / hours == pytest.approx(100 / 22 - 100 / 14, abs=1e-3)


def test_equal_shares_by_participant_reward_two_names() -> None:
    case = street(imports=[20.0, 20.0])
    equal = "equal_doe:enrolled=requesting"
    found = ao.gaming(case, equal, "split:parts=2", who=names(case))
    assert found.summary["gain_kwh"] / (case.n_steps * case.dt_h) == pytest.approx(20 / 3 - 5, abs=1e-2)
    inflated = ao.gaming(case, equal, "inflate:factor=2", who=names(case))
    assert inflated.summary["gain_kwh"] == pytest.approx(0.0, abs=1e-6)


def test_who_understates_its_export_loses() -> None:
    case = street(exports=[10.0, 10.0])
    found = ao.gaming(case, PROPORTIONAL, "understate:factor=0.5", who=names(case))
    hours = case.n_steps * case.dt_h
    assert found.summary["gain_kwh"] / hours == pytest.approx(10 / 3 - 5, abs=1e-3)
    assert found.summary["others_kwh"] / hours == pytest.approx(5 / 3, abs=1e-3)


def one_session(energy_kwh: float, kva: float) -> ao.Case:
    """One car, 8 kW from 01:00 to 05:00, alone on a street of four hours and more."""
    case = one_transformer(kva, np.zeros((12, 1)), np.zeros((12, 1)), np.zeros((12, 1)))
    name, t = case.participant_names[0], case.times
    car = {"participant": name, "arrival": t[2], "departure": t[10], "power_kw": 8.0, "energy_kwh": energy_kwh}
    return case.with_tables(sessions=pd.DataFrame([car]))


@pytest.mark.parametrize(
    ("strategy", "gain_kwh", "wasted_kwh"),
    [
        ("longer:factor=1.5", 4.0, 0.0),  # granted 4 kW in six half-hours in place of four
        ("longer:factor=9", 8.0, 0.0),  # as long as it stays, eight half-hours
        ("early:hours=1", 0.0, 4.0),  # an hour before it is there is of no use
        ("inflate:factor=2", 0.0, 0.0),
    ],
)
def test_a_car_that_gets_half_its_power(strategy: str, gain_kwh: float, wasted_kwh: float) -> None:
    """4 of 8 kW for the two hours that it honestly asks for: 8 of 16 kWh."""
    case = one_session(16.0, 4.0)
    found = ao.gaming(case, PROPORTIONAL, strategy, who=names(case))
    assert found.participants["import_kwh"].tolist() == pytest.approx([8.0], abs=1e-3)
    assert found.summary["gain_kwh"] == pytest.approx(gain_kwh, abs=1e-3)
    assert found.summary["wasted_kwh"] == pytest.approx(wasted_kwh, abs=1e-3)


def test_a_full_car_uses_no_more() -> None:
    case = one_session(4.0, 100.0)
    found = ao.gaming(case, PROPORTIONAL, "longer:factor=3", who=names(case))
    assert found.summary["gain_kwh"] == pytest.approx(0.0, abs=1e-9)
    assert found.summary["wasted_kwh"] == pytest.approx(8.0, abs=1e-6)


def test_a_part_of_a_run_and_a_share_of_participants() -> None:
    case = ao.load_case("synthetic:buses=70,days=2,seed=3").with_scenario(import_scale=2.0)
    first = ao.gaming(case, "amm", "longer:factor=2", who=0.2, steps="2030-01-08", seed=4)
    again = ao.gaming(case, "amm", "longer:factor=2", who=0.2, steps="2030-01-08", seed=4)
    pd.testing.assert_frame_equal(first.participants, again.participants)
    able = case.owns("import")
    assert first.summary["cheats"] == round(0.2 * able.sum())
    honest = ao.simulate(case, "amm", steps="2030-01-08")
    served = honest.allocation.import_kw.sum() * case.dt_h
    assert first.participants["import_kwh"].sum() == pytest.approx(served, rel=1e-9)


def test_what_a_price_tells_of_neighbours() -> None:
    """A price that follows a neighbour's load tells all of it; of one that follows the clock there is nothing left."""
    days, day = 30, 48
    rng = np.random.default_rng(0)
    load = np.zeros((days * day, 2))
    load[:, 1] = np.repeat(rng.uniform(2.0, 8.0, days), day)
    case = one_transformer(10.0, load, np.tile([6.0, 0.0], (days * day, 1)), np.zeros((days * day, 2)))
    told = ao.revealed(ao.simulate(case, "amm"))
    assert told.loc[0, "price_import"] > 0.75
    assert told.loc[0, "share_import"] > 0.75
    assert np.isnan(told.loc[0, "price_export"])
    clock = np.tile(np.where(np.arange(day) < 24, 2.0, 8.0), days)
    load[:, 1] = clock
    case = one_transformer(10.0, load, np.tile([6.0, 0.0], (days * day, 1)), np.zeros((days * day, 2)))
    assert ao.revealed(ao.simulate(case, "amm")).loc[0, "price_import"] == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(ao.InputError, match="it has 2 intervals and not two days"):
        ao.revealed(ao.simulate(street(imports=[1.0]), "amm", steps=2))


def test_bad_strategies_are_named() -> None:
    case = street(imports=[10.0, 10.0])
    for strategy, who, said in (
        ("cheat", 0.5, "unknown strategy 'cheat'"),
        ("inflate", 0.5, "needs factor="),
        ("inflate:factor=0.5", 0.5, "factor = 0.5 must be from 1 to inf"),
        ("understate:factor=2", 0.5, "factor = 2 must be from 0 to 1"),
        ("split:parts=1.5", 0.5, "parts = 1.5 must be a whole number"),
        ("inflate:factor=2,availability=guess", 0.5, "unknown availability 'guess'"),
        ("inflate:factor=2", ["nobody"], "no participant 'nobody'"),
        ("inflate:factor=2", 1.5, "who = 1.5 must be names, or a share"),
        ("understate:factor=0.5", 0.5, "nobody in"),
        ("early:hours=1", 0.5, "nobody in"),
        ("longer:factor=2", ["p0"], "asks for nothing that longer:factor=2 changes"),
    ):
        with pytest.raises(ao.InputError, match=said):
            ao.gaming(case, PROPORTIONAL, strategy, who=who)  # type: ignore[arg-type]
