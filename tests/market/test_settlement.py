"""Axioms of bounded prices as properties, steps of prices, and bills by hand and against published figures."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import amm_opt
from small import one_transformer, rebuilt

import amm_opt as ao
from amm_opt.testing import check_mechanism
from formulations import AMM

unit = st.floats(0.0, 1.0)
shapes = st.sampled_from(["linear", "power", "logistic", "published"])


@st.composite
def curves(draw: st.DrawFn) -> ao.PriceCurve:
    """Bounds in any units, the lowest import price at or above the highest export price."""
    between, size = draw(st.floats(-100, 100)), draw(st.floats(1e-3, 1e3))
    gap, widths = draw(st.floats(0, 1)), draw(st.tuples(unit, unit))
    low, high = between, between - gap * size
    return ao.PriceCurve(
        (low, low + widths[0] * size), (high - widths[1] * size, high), draw(shapes), draw(st.floats(1, 6))
    )


def prices(curve: ao.PriceCurve, deficit: tuple[float, float]) -> tuple[float, float]:
    imports, exports = curve.prices(np.array(deficit)[:, None])
    return float(imports[0]), float(exports[0])


@given(curves(), st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9)))
def test_prices_stay_in_bounds_and_nobody_earns_by_buying_and_selling(
    curve: ao.PriceCurve, deficit: tuple[float, float]
) -> None:
    buy, sell = prices(curve, deficit)
    room = 1e-12 * max(map(abs, (*curve.import_bounds, *curve.export_bounds)))
    assert curve.import_bounds[0] - room <= buy <= curve.import_bounds[1] + room
    assert curve.export_bounds[0] - room <= sell <= curve.export_bounds[1] + room
    assert buy >= sell - 2 * room


@given(curves(), st.tuples(unit, unit), st.tuples(unit, unit))
def test_prices_are_monotone_and_lipschitz(
    curve: ao.PriceCurve, one: tuple[float, float], two: tuple[float, float]
) -> None:
    """Import never falls and export never rises with the deficit of its direction (published: never falls)."""
    room = 1e-12 * max(map(abs, (*curve.import_bounds, *curve.export_bounds)))
    of_export = 0 if curve.shape == "published" else 1
    for d, driver, bounds in ((0, 0, curve.import_bounds), (1, of_export, curve.export_bounds)):
        a, b = prices(curve, one)[d], prices(curve, two)[d]
        rises = (b - a) if d == 0 or curve.shape == "published" else (a - b)
        change = two[driver] - one[driver]
        assert rises * np.sign(change) >= -room
        assert abs(b - a) <= (bounds[1] - bounds[0]) * curve.lipschitz * abs(change) + 4 * room


def test_steepest_slopes_are_those_that_are_stated() -> None:
    """Logistic: the derivative of 1/2 + tanh(5 (d - 1/2)) / (2 tanh 2.5) in the middle is 2.5 / tanh 2.5 = 2.534."""
    stated = {"linear": 1.0, "power": 3.0, "logistic": 2.534, "published": 1.0}
    for shape, slope in stated.items():
        curve = ao.PriceCurve((1.0, 3.0), (0.0, 1.0), shape, 3.0)
        steps = np.diff(curve.phi(np.linspace(0, 1, 2001))) * 2000
        assert steps.max() == pytest.approx(slope, rel=2e-3)
        assert curve.lipschitz == pytest.approx(slope, rel=1e-3)
    assert ao.PriceCurve(shape="power", exponent=0.5).lipschitz == np.inf


def test_the_published_curve_with_its_sell_side() -> None:
    """arXiv 2407.20814: supply 60, demand 100: H = 60, buy 106.00, sell -159.00 p/kWh; here through a run."""
    case = one_transformer(60.0, [0.0, 0.0], [40.0, 60.0], [0.0, 0.0])
    mechanism = AMM(
        import_price_min=0, import_price_max=265, export_price_min=-265, export_price_max=0, price_shape="published"
    )
    run = ao.simulate(case, mechanism, steps=1)
    np.testing.assert_allclose(run.allocation.import_price, 106.0, atol=1e-3)
    np.testing.assert_allclose(run.allocation.export_price, -159.0, atol=1e-3)
    plenty = ao.simulate(one_transformer(200.0, [0.0], [40.0], [0.0]), mechanism, steps=1).allocation
    assert (plenty.import_price[0, 0], plenty.export_price[0, 0]) == (0.0, -265.0)  # H = 100


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.01, 0.05, 0.2]))
def test_prices_move_by_a_step_at_most(seed: int, step: float) -> None:
    """Towards the price without the limit, by the step or all the way; the allocation is the same."""
    rng = np.random.default_rng(seed)
    powers = rng.uniform(0, 30, (2, 8, 2)) * (rng.random((2, 8, 2)) < 0.6)
    case = one_transformer(15.0, np.zeros((8, 2)), powers[0], powers[1])
    free, held = ao.simulate(case, AMM()), ao.simulate(case, AMM(price_step=step))
    np.testing.assert_array_equal(free.allocation.both_kw, held.allocation.both_kw)
    for start, name in ((0.1, "import_price"), (0.08, "export_price")):
        wanted, posted = getattr(free.allocation, name), getattr(held.allocation, name)
        last = np.full(2, start)
        for k in range(8):
            last = np.where(np.abs(wanted[k] - last) <= step, wanted[k], last + step * np.sign(wanted[k] - last))
            np.testing.assert_allclose(posted[k], last, atol=1e-12)
    assert np.all(held.allocation.import_price >= held.allocation.export_price)
    first = ao.simulate(case, AMM(price_step=step), steps=slice(0, 3))
    rest = ao.simulate(case, AMM(price_step=step), steps=slice(3, None), state=first.state)
    np.testing.assert_array_equal(rest.allocation.import_price, held.allocation.import_price[3:])


def test_zones_and_steps_keep_what_every_mechanism_promises() -> None:
    check_mechanism("amm:pricing=feeder,price_step=0.05")


def test_prices_do_not_depend_on_bids() -> None:
    case = one_transformer(15.0, [0.0, 0.0], [20.0, 10.0], [0.0, 0.0])
    bidding = case.participants.assign(import_value=[9.0, 0.01], export_offer=[-3.0, 5.0])
    one, two = (ao.simulate(c, AMM(), steps=1).allocation for c in (case, rebuilt(case, participants=bidding)))
    np.testing.assert_array_equal(one.import_price, two.import_price)
    np.testing.assert_array_equal(one.export_price, two.export_price)


def test_bills_by_hand() -> None:
    """10 kVA for 5 and 15 kW: half is missing, 0.25 per kWh, shared in proportion; two half-hours: 2.5 and 7.5 kWh."""
    case = one_transformer(10.0, [0.0, 0.0], [5.0, 15.0], [0.0, 0.0])
    run = ao.simulate(case, AMM())
    plain = run.settlement(source_price=0.2)
    bills = plain.participants.set_index("participant")
    np.testing.assert_allclose(bills["import_kwh"], [2.5, 7.5], atol=1e-3)
    np.testing.assert_allclose(bills["import_price"], 0.25, atol=1e-6)
    np.testing.assert_allclose(bills["bill"], [0.625, 1.875], atol=1e-3)
    assert bills["export_price"].isna().all()
    assert bills["feeder"].tolist() == ["F", "F"]
    operator = plain.operator
    assert operator["residual"] == pytest.approx(2.5, abs=1e-3)
    assert operator[["residual_min", "residual_max"]].tolist() == pytest.approx([1.0, 4.0], abs=1e-3)
    assert operator["source_cost"] == pytest.approx(2.0, abs=1e-3)
    assert operator["surplus"] == pytest.approx(0.5, abs=1e-3)
    half = run.settlement(1).operator
    assert half["residual"] == pytest.approx(1.25, abs=1e-3)
    equal = run.settlement(recover=10.0)
    np.testing.assert_allclose(equal.participants["charge"], [3.75, 3.75], atol=1e-3)
    by_energy = run.settlement(recover=10.0, by="energy")
    np.testing.assert_allclose(by_energy.participants["charge"], [1.875, 5.625], atol=1e-3)
    back = run.settlement(recover=0.0)
    for settled, target in ((equal, 10.0), (by_energy, 10.0), (back, 0.0)):
        assert settled.operator["residual"] == pytest.approx(target, abs=1e-9)
        assert settled.participants["bill"].sum() == pytest.approx(target, abs=1e-9)


def test_exports_are_paid() -> None:
    """10 kVA for 20 kW of export: half is missing, 0.04 per kWh of 5 kWh in two half-hours each."""
    run = ao.simulate(one_transformer(10.0, [0.0, 0.0], [0.0, 0.0], [10.0, 10.0]), AMM())
    settled = run.settlement()
    np.testing.assert_allclose(settled.participants["earned"], 0.2, atol=1e-3)
    np.testing.assert_allclose(settled.participants["bill"], -0.2, atol=1e-3)
    assert settled.operator[["residual_min", "residual_max"]].tolist() == pytest.approx([-0.8, 0.0], abs=1e-3)


@pytest.mark.parametrize("spec", ["amm", "amm:price_step=0.01", "amm:price_shape=power", "dnp", "lmp"])
def test_the_budget_is_what_it_is_said_to_be(spec: str) -> None:
    """All bills are the operator's residual, which is the revenue of tables, within its bounds."""
    case = ao.load_case("synthetic:buses=80,days=1,seed=2").with_scenario(import_scale=2.0, export_scale=1.5)
    run = ao.simulate(case, spec)
    settled = run.settlement()
    assert settled.participants["bill"].sum() == pytest.approx(settled.operator["residual"], abs=1e-9)
    assert settled.operator["residual"] == pytest.approx(run.summary["revenue"], abs=1e-6)
    if spec == "lmp":
        assert np.isnan(settled.operator["residual_min"])
    else:
        assert settled.operator["residual_min"] - 1e-9 <= settled.operator["residual"]
        assert settled.operator["residual"] <= settled.operator["residual_max"] + 1e-9


def test_surplus_of_the_pjm_5_bus_system() -> None:
    """Loads of 300, 300, 400 MW at B, C, D, and plants of 210, 323.49, 466.51 MW at A, C, E, at published prices."""
    run = ao.simulate("pjm5", "lmp:source_price=none", steps=1)
    paid = 300 * 26.3845 + 300 * 30 + 400 * 39.9427
    earned = 210 * 16.9774 + 323.49 * 30 + 466.51 * 10
    operator = run.settlement().operator
    assert operator[["import_mwh", "export_mwh"]].tolist() == pytest.approx([1000.0, 1000.0], rel=1e-5)
    assert operator[["paid", "earned"]].tolist() == pytest.approx([paid, earned], rel=1e-5)
    assert operator["residual"] == pytest.approx(paid - earned, rel=1e-4)


def test_settle_command_and_bad_input(tmp_path: Path) -> None:
    folder = ao.save_case(one_transformer(10.0, [0.0, 0.0], [5.0, 15.0], [0.0, 0.0]), tmp_path / "case")
    for spec, said in (
        ("amm:import_price_min=0.5", "the lowest price must not exceed the highest"),
        ("amm:import_price_min=0.05", "buying and selling at once would earn money"),
        ("amm:price_step=-1", "price_step = -1.0 must be positive"),
    ):
        with pytest.raises(ao.InputError, match=re.escape(said)):
            ao.simulate(str(folder), spec)
    bad = amm_opt("run", str(folder), "--mechanism", spec)
    assert bad.returncode == 2
    assert said in " ".join(bad.stderr.split())
    out = tmp_path / "out"
    ao.compare(ao.load_case(folder), ["amm", "lmp", "equal_doe"], out=out)
    done = amm_opt("settle", str(out), "--recover", "10", "--csv", str(tmp_path / "bills.csv"))
    assert done.returncode == 0, done.stderr
    assert "equal_doe sets no prices" in done.stdout + done.stderr
    large = amm_opt("settle", str(out / "amm"), "--recover", "1234567.89")
    assert large.returncode == 0
    assert "1234567.89" in large.stdout
    bills = pd.read_csv(tmp_path / "bills.csv")
    assert list(bills["mechanism"].unique()) == ["amm", "lmp"]
    assert bills.groupby("mechanism")["bill"].sum().tolist() == pytest.approx([10.0, 10.0], abs=1e-4)
    nothing = amm_opt("settle", str(out / "equal_doe"))
    assert nothing.returncode == 2
    assert "sets no prices" in nothing.stderr
