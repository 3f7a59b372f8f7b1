"""Errors of load with their reactive part: by hand on one line, against the network itself, and on fresh draws."""

import numpy as np
import pandas as pd
import pytest
from small import rebuilt, small_case
from streets import random_street

import amm_opt as ao
from amm_opt.cases import Case
from amm_opt.margins import LoadErrors, Shift

Z, SIGMA, R_OHM, X_OHM = 1.644854, 0.2, 0.1, 0.2
PER_KW = 2 * 1e3 / 400.0**2
"""Of V^2 in pu by an ohm times a kW."""


def with_kvar(case: Case, kvar: np.ndarray) -> Case:
    """The case with series of reactive power, (T, n)."""
    tables = case.tables()
    names = list(tables["participants"]["name"])
    columns = {f"kvar-{k}": kvar[:, k] for k in range(len(names))}
    more = pd.DataFrame([(name, "inflexible_kvar", f"kvar-{k}", 1.0) for k, name in enumerate(names)])
    more.columns = ["participant", "quantity", "profile", "scale_kw"]
    series = pd.concat([tables["series"], more], ignore_index=True)
    return rebuilt(case, profiles=tables["profiles"].assign(**columns), series=series)


def line(load_kw: list[float], kvar: list[list[float]]) -> Case:
    """Homes at the end of one line of 0.1 + 0.2j ohm at 400 V."""
    n = len(load_kw)
    case = small_case({"lv": ("src", R_OHM, 1e3)}, ["lv"] * n, load_kw, [0.0] * n, [9.0] * n, x_ohm=X_OHM)
    return with_kvar(case, np.array(kvar))


def voltage_shift(case: Case, margin: str | ao.Margin) -> np.ndarray:
    """(T,) shift of the upper limit of V^2 in pu."""
    network = ao.LinDistFlow(case.feeder)
    row = np.flatnonzero(network.quantities.kind == "voltage")[-1]
    made = ao.Margin(*margin.split(":")[:1]) if isinstance(margin, str) else margin  # type: ignore[arg-type]
    return np.asarray(Shift(made, case, network).of(case.requests(0, 2))[1][:, row])


def test_kvar_of_the_load_in_the_interval_err_with_its_kw() -> None:
    """10 kW with 5 kvar: 0.1 x 10 + 0.2 x 5 = 2; with -5 kvar nothing is left of it."""
    case = line([10.0], [[5.0], [-5.0]])
    by_hand = Z * SIGMA * PER_KW * np.array([2.0, 0.0])
    np.testing.assert_allclose(voltage_shift(case, "gaussian"), by_hand, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(voltage_shift(case, "box"), by_hand / Z, rtol=1e-5, atol=1e-12)
    stated = voltage_shift(case, ao.Margin("gaussian", pf=0.8))  # 0.1 x 10 + 0.2 x 7.5 = 2.5 at any kvar
    np.testing.assert_allclose(stated, Z * SIGMA * PER_KW * 2.5, rtol=1e-5)
    leading = voltage_shift(case, ao.Margin("box", pf=-0.8))
    np.testing.assert_allclose(leading, SIGMA * PER_KW * 0.5, rtol=1e-5)


def test_two_homes_err_apart_and_each_with_both_of_its_parts() -> None:
    """2 and 3 x 0.1 - 0.2 x 4 = -0.5: the root of the sum of squares, and the sum of sizes in a box."""
    case = line([10.0, 3.0], [[5.0, -4.0]] * 2)
    np.testing.assert_allclose(voltage_shift(case, "gaussian"), Z * SIGMA * PER_KW * np.hypot(2.0, 0.5), rtol=1e-5)
    np.testing.assert_allclose(voltage_shift(case, "box"), SIGMA * PER_KW * 2.5, rtol=1e-5)


@pytest.mark.parametrize("phases", [False, True])
def test_a_shift_is_the_spread_of_what_both_parts_do_on_the_network(phases: bool) -> None:
    """Against the network itself, evaluated at loads whose kW and kvar are off by as many per cent."""
    plain = random_street(3, phases).with_scenario(import_scale=1.5)
    rng = np.random.default_rng(4)
    case = with_kvar(plain, rng.uniform(-1.0, 1.0, (plain.n_steps, plain.n_participants)))
    network = (ao.LinDist3Flow if phases else ao.LinDistFlow)(case.feeder)
    requests = case.requests(0, 1).interval(0)
    assert requests.inflexible_kvar is not None
    share = 1 + SIGMA * rng.standard_normal((20_000, case.n_participants))
    kvar = case.inflexible_kvar + (requests.inflexible_kvar - case.inflexible_kvar) * share
    at = network.incidence(case.bus, case.phases)
    u = np.asarray(network.evaluate(*case.bus_injections(requests.inflexible_kw * share, 0.0, 0.0, at, kvar)))
    shift, _ = Shift(ao.Margin("gaussian"), case, network).of(requests)
    np.testing.assert_allclose(shift, Z * u.std(axis=0), rtol=0.03, atol=1e-9)
    draws, _ = Shift(ao.Margin("scenario"), case, network).of(requests)
    assert np.all(draws >= 1.5 * u.std(axis=0) - 1e-9)
    assert np.all(draws <= 4.5 * u.std(axis=0) + 1e-9)
    box = LoadErrors(ao.Margin("box"), case, network).largest(requests)
    assert np.all(1.03 * box >= u.std(axis=0))


def test_a_limit_that_binds_is_broken_by_eps_of_fresh_draws() -> None:
    """Export behind a line whose voltage binds; with errors of kW alone it would be broken more often."""
    case = line([10.0, 6.0], [[8.0, 6.0]] * 2).with_scenario(export_scale=20.0)
    run = ao.simulate(case, "leximin", steps=1, margin="gaussian:eps=0.05")
    rates = ao.violation_rates(run, draws=40_000, seed=5)
    assert rates.binding_pct == pytest.approx(5.0, abs=0.35)
    alone = ao.simulate(case, "leximin", steps=1, margin="gaussian:eps=0.05,pf=1")
    assert ao.violation_rates(alone, "gaussian", draws=40_000, seed=5).binding_pct > 15.0


def test_what_differs_from_the_day_before_differs_in_kvar_too() -> None:
    """Load is the same every day, and kvar go up and down by 2: V^2 moves by 0.2 x 2 either way, on average by 0."""
    steps = 48 * 5
    ones, day = np.ones((steps, 1)), np.arange(steps) // 48
    plain = small_case({"lv": ("src", R_OHM, 1e3)}, ["lv"], 3.0 * ones, 0.0 * ones, 9.0 * ones, x_ohm=X_OHM)
    case = with_kvar(plain, np.where(day % 2, 2.0, 0.0)[:, None])
    by_hand = Z * PER_KW * X_OHM * 2.0
    np.testing.assert_allclose(voltage_shift(case, ao.Margin("gaussian", errors="persistence")), by_hand, rtol=1e-5)
    box = voltage_shift(case, ao.Margin("box", errors="persistence"))
    np.testing.assert_allclose(box, PER_KW * X_OHM * 2.0, rtol=1e-5)


def test_errors_in_kw_need_a_power_factor_where_kvar_have_series() -> None:
    case = line([10.0], [[5.0], [-5.0]])
    for given in ({"covariance": [[4.0]]}, {"samples": [[2.0], [-2.0]]}):
        with pytest.raises(ao.InputError, match=r"errors in kW, and the reactive power of case small has series: say"):
            ao.simulate(case, "leximin", margin=ao.Margin("gaussian", **given))  # type: ignore[arg-type]
        made = ao.Margin("gaussian", pf=0.8, **given)  # type: ignore[arg-type]
        np.testing.assert_allclose(voltage_shift(case, made), Z * PER_KW * 2.0 * (0.1 + 0.2 * 0.75), rtol=1e-5)
    for pf in (0.0, 0.05, 1.2, -2.0):
        with pytest.raises(ao.InputError, match=r"pf = .* must be in 0.1..1 or -1..-0.1"):
            ao.Margin("gaussian", pf=pf)
