"""Readings made from a case, balanced and on phases, and what is fitted to them."""

from __future__ import annotations

import numpy as np
import pytest

import amm_opt as ao
from amm_opt.network import LinDist3Flow, LinDistFlow
from tests.helpers.streets import random_street
from tests.helpers.streets import street as made

STEADY = {"v_noise": 0.0, "p_noise": 0.0, "kvar_spread": 0.0, "source_sd_pu": 0.0}


def homes(phases: bool = False) -> ao.Case:
    """Six customers, a day of a synthetic feeder's profiles."""
    z = "0.05 | 0.015 0.05 | 0.015 0.015 0.05"
    own = (z, z) if phases else (0.05, 0.02)
    head = ("0.01 | 0 0.01 | 0 0 0.01",) * 2 if phases else (0.01, 0.03)
    lines = [("src", "T", *head, 60.0)] + [("T" if i == 0 else f"b{i - 1}", f"b{i}", *own, 80.0) for i in range(6)]
    case = made(lines, [(f"b{i}", "abc"[i % 3] if phases else "", 1.0, 0.0, 4.0) for i in range(6)])
    rng = np.random.default_rng(2)
    times = case.times[0] + np.arange(400) * (case.times[1] - case.times[0])
    profiles = {"time": times, "one": 1.0}
    columns = {f"l{i}": rng.gamma(2.0, 0.5, 400) for i in range(6)}
    tables = case.tables()
    frame = tables["profiles"].iloc[:0].reindex(range(400)).assign(**profiles, **columns)
    series = tables["series"].copy()
    load = series["quantity"].eq("inflexible")
    series.loc[load, "profile"] = [f"l{p[1:]}" for p in series.loc[load, "participant"]]
    return case.with_tables(profiles=frame, series=series)


@pytest.mark.parametrize("phases", [False, True])
def test_without_noise_voltages_are_those_of_the_network(phases: bool) -> None:
    """At a tenth of the feed-in, where little is lost, the linear model is near."""
    case = homes(phases)
    data = ao.synthetic_meters(case, 30, served=0.1, **STEADY)
    asked = case.requests(0, 30)
    assert data.p_kw == pytest.approx(asked.inflexible_kw - 0.1 * asked.export_request_kw)
    model = (LinDist3Flow if phases else LinDistFlow)(case.feeder)
    at = model.incidence(case.bus, case.phases)
    p, q = case.bus_injections(asked.inflexible_kw, 0.0, 0.1 * asked.export_request_kw, at)
    v = model.state(p, q).v_pu
    assert data.v_pu == pytest.approx((at.T @ v.T).T, abs=2e-3)
    assert np.ptp(data.v_pu) > 0.01
    assert data.v_transformer_pu == pytest.approx(v[:, model.bus == 1].mean(axis=1), abs=1e-3)


def test_noise_has_its_size_and_seed() -> None:
    case = homes()
    clean = ao.synthetic_meters(case, **STEADY)
    noisy, again, other = (
        ao.synthetic_meters(case, **{**STEADY, "v_noise": 0.002, "p_noise": 0.005}, seed=s) for s in (1, 1, 2)
    )
    assert np.std(noisy.v_pu / clean.v_pu - 1.0) == pytest.approx(0.002, rel=0.05)
    assert np.std(noisy.p_kw / clean.p_kw - 1.0) == pytest.approx(0.005, rel=0.05)
    assert np.array_equal(noisy.v_pu, again.v_pu)
    assert not np.array_equal(noisy.v_pu, other.v_pu)
    moved = ao.synthetic_meters(case, **{**STEADY, "source_sd_pu": 0.01})
    assert np.std(moved.v_transformer_pu) == pytest.approx(0.01, rel=0.6)


@pytest.mark.parametrize("phases", [False, True])
def test_a_fit_reads_voltages_it_has_not_seen(phases: bool) -> None:
    """Noise of 0.2 % is 0.46 V: an error of 0.37 V on average is all noise."""
    case = homes(phases)
    fitted = ao.fit_network(ao.synthetic_meters(case, served=0.3, seed=1), rating_kva=60.0)
    errors = fitted.fit.errors.loc[("held out", "known")]
    assert 0.3 < errors["mean_v"] < 0.8
    report = ao.fit_report(case, fitted, 4)
    assert list(report.table.index) == ["import", "export"]
    assert np.isfinite(report.table[["fit_kw", "model_kw", "ac_kw"]].to_numpy()).all()
    assert (report.sensitivity_error < 0.6) or phases


def test_customers_on_all_phases_have_the_mean_of_their_voltages() -> None:
    case = random_street(3, phases=True)
    data = ao.synthetic_meters(case, transformer="mv", **STEADY)
    assert np.isfinite(data.v_pu).all()
    assert data.n_meters == case.n_participants


def test_meters_that_stand_for_the_transformer_keep_the_upper_network_apart() -> None:
    case = homes()
    data = ao.synthetic_meters(case, served=0.3, source_sd_pu=0.02, seed=1).without(transformer=True)
    off = {
        t: ao.fit_report(case, ao.fit_network(data, transformer=t), 2).sensitivity_error for t in ("highest", "none")
    }
    assert off["highest"] < 0.7 * off["none"]
