"""Networks fitted to meters: a street whose voltages are affine, by hand; another tool; readings with noise."""

from __future__ import annotations

import pickle
from dataclasses import replace

import cvxpy as cp
import numpy as np
import pandas as pd
import pytest

import amm_opt as ao
from amm_opt.network import LinDistFlow
from tests.helpers.streets import street

R_T, X_T = 0.01, 0.02
R = np.array([[0.1, 0.1, 0.1, 0.0], [0.1, 0.3, 0.1, 0.0], [0.1, 0.1, 0.2, 0.0], [0.0, 0.0, 0.0, 0.25]])
"""Ohm that the paths of customers share beyond the transformer: p1 and p2 hang behind p0, p3 on a line of its own."""
X = 0.5 * R
PER_KW = 2.0 / (1000.0 * 0.4**2)
"""Squared voltage in pu that 1 kW takes through 1 ohm at 400 V: 2 R P / V^2."""
SPREAD = 0.01


def true_street(band: tuple[float, float] = (0.9, 1.05), rating: float = 1e3) -> ao.Case:
    lines = [
        ("src", "T", R_T, X_T, rating),
        ("T", "b0", 0.1, 0.05, 1e3),
        ("b0", "b1", 0.2, 0.1, 1e3),
        ("b0", "b2", 0.1, 0.05, 1e3),
        ("T", "b3", 0.25, 0.125, 1e3),
    ]
    return street(lines, [(f"b{i}", "", 0.5, 0.0, 45.0) for i in range(4)], band)


def exact(steps: int = 64, seed: int = 0, kvar: bool = True) -> ao.MeterData:
    """Every pattern of powers twice, the supply's squared voltage once 0.01 above and once below 1, in turns.

    It moves when powers do not, so that it is mistaken for nobody's, by levels or by changes.
    """
    rng = np.random.default_rng(seed)
    p = np.repeat(rng.uniform(-4.0, 6.0, (steps // 2, 4)), 2, axis=0)
    q = np.repeat(rng.uniform(-1.0, 2.0, (steps // 2, 4)), 2, axis=0) * kvar
    supply = 1.0 + SPREAD * np.resize([1.0, -1.0, -1.0, 1.0], steps)
    head = supply - PER_KW * (R_T * p + X_T * q).sum(axis=1)
    w = head[:, None] - PER_KW * (p @ R + q @ X)
    times = pd.date_range("2030-01-07", periods=steps, freq="30min")
    names = ("p0", "p1", "p2", "p3")
    return ao.MeterData(times, names, p, np.sqrt(w), q if kvar else None, np.sqrt(head))


def test_the_fit_finds_a_network_whose_voltages_are_affine() -> None:
    found = ao.fit_network(exact(), ridge=0.0).rows_of_meters
    assert found.a_p == pytest.approx(PER_KW * (R + R_T), abs=1e-12)
    assert found.a_q == pytest.approx(PER_KW * (X + X_T), abs=1e-12)
    assert found.constant == pytest.approx(1.0)
    assert found.above == pytest.approx(SPREAD)  # what the supply does remains, in both directions
    assert found.below == pytest.approx(SPREAD)
    assert ao.fit_network(exact(), ridge=0.0).fit.errors.loc[("held out", "known"), "worst_v"] < 1e-8


def test_a_transformer_that_is_held_does_not_rise_with_export() -> None:
    found = ao.fit_network(exact(), ridge=0.0, v_transformer_pu=(0.99, 1.03)).rows_of_meters
    assert found.a_p == pytest.approx(PER_KW * R, abs=1e-12)
    low, high = found.constant - found.below, found.constant + found.above
    assert low == pytest.approx(0.99**2)
    assert high == pytest.approx(1.03**2)


def test_without_the_transformer_less_is_known() -> None:
    """Meters are behind lines of their own, so that what stands for the transformer is not exact."""
    alone = ao.fit_network(exact().without(transformer=True), ridge=0.0, transformer="none")
    assert alone.fit.missing == ("transformer voltage",)
    assert alone.rows_of_meters.a_p == pytest.approx(PER_KW * (R + R_T), abs=1e-9)
    found = ao.fit_network(exact().without(transformer=True), ridge=0.0)
    assert found.fit.transformer == "highest"
    off = np.abs(found.rows_of_meters.a_p - PER_KW * (R + R_T)).max() / (PER_KW * R.max())
    assert 0.01 < off < 0.5


def test_an_envelope_by_hand() -> None:
    """Everybody feeds in L: p1 sees 0.1 + 0.3 + 0.1 + 4 x 0.01 ohm, so 1 + 0.0125 x 0.54 L <= 1.05^2 - 0.01."""
    fitted = ao.fit_network(exact(kvar=False), ridge=0.0, v_max_pu=1.05)
    case = fitted.case(connection_kw=60.0, export_kw=50.0)
    run = ao.simulate(case, "equal_doe:per=system", network=fitted, steps=4)
    level = (1.05**2 - SPREAD - 1.0) / (0.0125 * 0.54)
    assert level == pytest.approx(13.7037, abs=1e-4)
    load = fitted.fit.data.p_kw[:4]
    assert run.allocation.injected_kw == pytest.approx(np.clip(level + load, 0.0, 50.0), abs=1e-5)


def test_the_transformer_takes_the_sum_of_what_is_behind_it() -> None:
    fitted = ao.fit_network(exact(kvar=False), ridge=0.0, v_max_pu=1.5, rating_kva=24.0)
    case = fitted.case(connection_kw=60.0, export_kw=50.0)
    run = ao.simulate(case, "equal_doe:per=system", network=fitted, steps=4)
    assert (run.allocation.injected_kw - fitted.fit.data.p_kw[:4]) == pytest.approx(6.0, abs=1e-5)


def test_no_more_goes_through_the_transformer_than_so_many_times_what_was_read() -> None:
    """Half of the largest sums of 48 training intervals, beyond a load of 2 kW (4 x 0.5)."""
    data = exact(kvar=False)
    most = np.array([data.p_kw[:48].sum(axis=1).max(), -data.p_kw[:48].sum(axis=1).min()])
    fitted = ao.fit_network(data, ridge=0.0, v_min_pu=0.5, v_max_pu=1.5, extrapolation=0.5)
    assert fitted.fit.seen_together_kw == pytest.approx(most)
    level = ao.fit_report(true_street(), fitted, 1).table["fit_kw"]
    assert level.to_numpy() == pytest.approx(0.5 * most / 4.0, rel=1e-5)
    run = ao.simulate(fitted.case_of(true_street()), "equal_doe", network=fitted, steps=1)
    assert run.allocation.export_kw.sum() <= 0.5 * most[1] + 2.0 + 1e-3
    never = replace(data, p_kw=np.abs(data.p_kw))
    closed = ao.fit_network(never, ridge=0.0, v_max_pu=1.5, extrapolation=9.0)
    assert closed.feeder.export_limit_kw[1] == 1e-3


def test_a_report_by_hand() -> None:
    """The true network is affine but for AC: fit and model agree, and so do all sensitivities."""
    case = true_street().with_scenario(load_scale=1.0)
    fitted = ao.fit_network(exact(), ridge=0.0, v_max_pu=1.05)
    report = ao.fit_report(case, fitted, source_pu=(np.sqrt(1.0 - SPREAD), np.sqrt(1.0 + SPREAD)))
    assert report.sensitivity_error < 1e-9
    assert report.together_pct == pytest.approx(0.0, abs=1e-7)
    export = report.levels["export"]
    assert export["fit"].to_numpy() == pytest.approx(13.7037, abs=1e-3)
    assert export["model"].to_numpy() == pytest.approx(13.7037, abs=1e-3)
    row = report.table.loc["export"]
    assert row["seen_kw"] == pytest.approx(-exact().p_kw[:48].min())
    assert row["extrapolation"] == pytest.approx(13.7037 / row["seen_kw"], rel=1e-4)
    # two thirds of the way to 1.05 pu losses keep a little of the rise: AC takes more, and nothing breaks
    assert 13.7037 < row["ac_kw"] < 14.5
    assert row["broken_pct"] == 0.0
    assert report.margin_v == pytest.approx(230.0 * SPREAD / 2.0)


def test_a_level_beyond_the_network_breaks_limits() -> None:
    case = true_street()
    deaf = ao.fit_network(exact(), ridge=1e3, v_max_pu=1.05)
    row = ao.fit_report(case, deaf).table.loc["export"]
    assert row["fit_kw"] > 1.5 * row["ac_kw"]
    assert row["broken_pct"] == 100.0
    assert row["worst_pu"] > 0.01


def test_a_run_on_the_fit_is_judged_on_the_true_network() -> None:
    case, good, deaf = true_street(), *(ao.fit_network(exact(), ridge=r, v_max_pu=1.05) for r in (0.0, 1e3))
    for fitted, breaks in ((good, False), (deaf, True)):
        run = ao.simulate(fitted.case_of(case), "equal_doe", network=fitted)
        assert run.summary["voltage_violations"] == 0
        assert (ao.replay_on(case, run).violations.voltage > 0) == breaks
    with pytest.raises(ao.InputError, match="other participants"):
        ao.replay_on(ao.load_case("synthetic:buses=9,days=1,seed=1"), run)


def with_noise(data: ao.MeterData, sigma: float, seed: int) -> ao.MeterData:
    rng = np.random.default_rng(seed)
    return replace(data, v_pu=data.v_pu + sigma * rng.standard_normal(data.v_pu.shape))


def test_a_second_tool_finds_the_same_coefficients() -> None:
    data = with_noise(exact(), 0.02, 1)
    found = ao.fit_network(data, ridge=0.3, transformer="none", held_out=0.25).rows_of_meters
    x, w = np.concatenate([-data.p_kw, -data.q_kvar], axis=1)[:48], data.v_pu[:48] ** 2
    weight = 0.3 * np.mean(((x - x.mean(axis=0)) ** 2).sum(axis=0))
    zeros = 0
    for i in range(4):
        b, c = cp.Variable(8, nonneg=True), cp.Variable()
        objective = cp.sum_squares(w[:, i] - x @ b - c) + weight * cp.sum_squares(b)
        cp.Problem(cp.Minimize(objective)).solve(solver=cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12)
        assert np.r_[found.a_p[i], found.a_q[i]] == pytest.approx(b.value, abs=2e-7)
        zeros += int((found.a_p[i] == 0).sum() + (found.a_q[i] == 0).sum())
    assert zeros > 0  # signs bind


def test_signs_are_physical_unless_they_are_let_free() -> None:
    data = with_noise(exact(), 0.02, 1)
    held, free = (ao.fit_network(data, ridge=0.0, signs=s, transformer="none").rows_of_meters for s in (True, False))
    assert min(held.a_p.min(), held.a_q.min()) >= 0.0
    assert min(free.a_p.min(), free.a_q.min()) < 0.0
    true = PER_KW * (R + R_T)
    assert np.linalg.norm(held.a_p - true) < np.linalg.norm(free.a_p - true)


def test_wild_readings_move_the_robust_fit_less() -> None:
    data = with_noise(exact(steps=400), 1e-4, 2)
    rng = np.random.default_rng(3)
    v = np.where(rng.random(data.v_pu.shape) < 0.03, data.v_pu * 0.9, data.v_pu)
    true = PER_KW * (R + R_T)
    off = {
        loss: np.linalg.norm(ao.fit_network(replace(data, v_pu=v), ridge=0.0, loss=loss).rows_of_meters.a_p - true)
        for loss in ("squares", "huber")
    }
    assert off["huber"] < 0.2 * off["squares"]
    assert off["huber"] < 0.05 * np.linalg.norm(true)


def test_margins_are_the_residuals_quantiles() -> None:
    """Normal noise of 0.004 pu^2 has its quantile of 1 % at 2.326 times that; readings held out stay inside too."""
    data = exact(steps=4000, seed=5)
    rng = np.random.default_rng(6)
    w = data.v_transformer_pu[:, None] ** 2 - PER_KW * (data.p_kw @ R + data.q_kvar @ X)
    data = replace(data, v_pu=np.sqrt(w + 0.004 * rng.standard_normal(w.shape)))
    fitted = ao.fit_network(data, ridge=0.0, v_transformer_pu=(1.0, 1.0), eps=0.01)
    assert fitted.rows_of_meters.above == pytest.approx(2.326 * 0.004, rel=0.12)
    assert fitted.rows_of_meters.below == pytest.approx(2.326 * 0.004, rel=0.12)
    errors = ao.fit_network(data, ridge=0.0, eps=0.01).fit.errors["beyond_pct"]
    assert errors["training", "run"] == pytest.approx(2.0, abs=0.2)
    assert errors["held out", "run"] < 4.0


def test_rows_are_what_the_network_reads() -> None:
    fitted = ao.fit_network(with_noise(exact(), 0.01, 4), rating_kva=40.0)
    rng = np.random.default_rng(7)
    p, q = rng.uniform(-5, 5, (2, 3, fitted.n_nodes))
    a_p, a_q, constant = fitted.rows(np.arange(len(fitted.quantities.kind)))
    assert p @ a_p.T + q @ a_q.T + constant == pytest.approx(fitted.evaluate(p, q), abs=1e-10)
    state = fitted.state(p, q)
    assert state.v_pu[:, 2:] ** 2 == pytest.approx(fitted.evaluate(p, q)[:, :4])
    assert state.p_flow_kw[:, 1] == pytest.approx(-p[:, 1:].sum(axis=1))
    sent = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(sent.evaluate(p, q), fitted.evaluate(p, q))


def test_the_order_of_meters_means_nothing() -> None:
    data = with_noise(exact(), 0.01, 4)
    there = data.table().sample(frac=1.0, random_state=1)
    turned = ao.read_meters(there, meters=["p2", "p0", "p3", "p1"])
    one, other = (ao.fit_network(d).rows_of_meters.a_p for d in (data, turned))
    order = [1, 3, 0, 2]  # where p0, p1, p2, p3 stand among the turned ones
    assert other[np.ix_(order, order)] == pytest.approx(one, rel=1e-9)


MECHANISMS = ("no_control", "equal_doe", "greedy_doe", "pro_rata", "amm", "leximin", "alpha_fair", "fet", "fot")


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_mechanisms_run_on_it(mechanism: str) -> None:
    fitted = ao.fit_network(exact(), v_max_pu=1.03, rating_kva=30.0)
    case = fitted.case(connection_kw=30.0, export_kw=12.0, import_kw=3.0)
    run = ao.simulate(case, mechanism, network=fitted, steps=6)
    assert not run.failed_steps
    broken = run.summary[["thermal_violations", "voltage_violations"]].sum()
    assert (broken > 0) == (mechanism == "no_control")
    assert run.network == "fitted"


def test_models_that_need_impedances_say_so() -> None:
    fitted = ao.fit_network(exact())
    case = fitted.case(connection_kw=10.0, export_kw=5.0)
    for kw in ({}, {"network": "socp"}, {"network": fitted, "ac": "verify"}):
        with pytest.raises(ao.InputError, match=r"impedances of 5 branches are not known.*fit_network"):
            ao.simulate(case, "equal_doe", steps=2, **kw)
    with pytest.raises(ao.InputError, match="another feeder"):
        ao.simulate(true_street(), "equal_doe", network=fitted)
    assert LinDistFlow(true_street().feeder).name == "lindistflow"


def test_a_case_of_unknown_branches_is_kept_in_a_folder(tmp_path) -> None:
    fitted = ao.fit_network(exact())
    case = fitted.case(connection_kw=10.0, export_kw=5.0)
    ao.save_case(case, tmp_path / "case")
    again = ao.load_case(tmp_path / "case")
    one, other = (ao.simulate(c, "equal_doe", network=fitted, steps=3).allocation.injected_kw for c in (case, again))
    assert np.allclose(one, other, atol=1e-5)
    with pytest.raises(ao.InputError, match="kind unknown has no impedance"):
        case.with_tables(branches=case.tables()["branches"].assign(r_ohm=0.1))
