"""Programs on certified boxes by tangents: held against differences, against the cones, and levels by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small import TRACE, small_case

import amm_opt as ao
from amm_opt.network import Certified
from amm_opt.network.models.conic import TangentModel
from amm_opt.solve.routes import tangents
from amm_opt.testing import mechanism_checks
from tests.network.ac.test_ac import OHM

TREE = {"a": ("src", 0.02, 90.0), "b": ("a", 0.05, 60.0), "c": ("a", 0.03, 60.0), "d": ("c", 0.04, 40.0)}


def model(shunts: bool = True) -> Certified:
    """Five buses with a tap, line charging and a shunt that gives at one bus and takes at another."""
    feeder = small_case(TREE, ["d"], [[0.0]], [[1.0]], [[0.0]], x_ohm=0.02).feeder
    if not shunts:
        return Certified(feeder)
    ones = np.ones((feeder.n_buses, 3)) / 3.0
    shunts_kva = np.array([0, 0, 2 - 3j, 1j, -1 + 2j])[:, None] * ones
    charging = np.array([0, 1.0, 0.5, 0, 2.0])[:, None] * ones
    tap = np.array([1.0, 0.97, 1.0, 1.02, 1.0])
    return Certified(replace(feeder, shunt_kva=shunts_kva, charging_kvar=charging, tap=tap))


@pytest.mark.parametrize("shunts", [True, False])
def test_tangents_touch_and_stay_below(shunts: bool) -> None:
    """Their slopes are differences of the bounds; upper limits lie above them everywhere, lower limits below."""
    of, rng = model(shunts), np.random.default_rng(2)
    assert isinstance(of, TangentModel)
    n, m = of.feeder.n_buses, len(of.quantities.lower)
    below = np.isfinite(of.quantities.lower) & ~np.isfinite(of.quantities.upper)
    for _ in range(10):
        boxes = []
        for _ in range(2):
            low = np.concatenate([-rng.uniform(0, 8, n), -rng.uniform(0, 3, n)])
            high = low + rng.uniform(0, 16, 2 * n)
            boxes.append((np.concatenate([low[:n], high[:n]]), np.concatenate([low[n:], high[n:]])))
        (p, q), (other_p, other_q) = boxes
        found = of.tangents(p, q, np.arange(m))
        np.testing.assert_allclose(found.value, of.evaluate(p, q), rtol=1e-12)
        step_p, step_q = rng.normal(size=(2, 2 * n)) * 1e-4
        ahead, behind = (of.evaluate(p + s * step_p, q + s * step_q) for s in (1.0, -1.0))
        np.testing.assert_allclose(found.active @ step_p + found.reactive @ step_q, (ahead - behind) / 2, atol=1e-9)
        along = found.value + found.active @ (other_p - p) + found.reactive @ (other_q - q)
        over = of.evaluate(other_p, other_q) - along
        assert np.where(below, -over, over).min() > -1e-9


@pytest.mark.parametrize("spec", ["amm", "equal_doe:per=system", "alpha_fair"])
def test_tangents_and_cones_agree(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A solver that is named gets the cones; without a name nothing falls back on them."""
    case = ao.load_case("synthetic:buses=120,days=1,seed=1").with_scenario(import_scale=1.6, load_scale=1.6)
    cones = ao.simulate(case, spec, network="certified", solver="clarabel", steps=slice(38, 40)).allocation
    monkeypatch.setattr(tangents.TangentRoute, "_cones", None)
    found = ao.simulate(case, spec, network="certified", steps=slice(38, 40)).allocation
    np.testing.assert_allclose(found.import_kw, cones.import_kw, atol=2e-3)
    np.testing.assert_allclose(found.export_kw, cones.export_kw, atol=2e-3)


def street(shares: dict[str, int], ratings: dict[str, float]) -> ao.Case:
    """Feeders behind one transformer of 100 kVA, so many participants each, who all ask for 100 kW."""
    lines = {"top": ("src", TRACE, 100.0), **{f: ("top", TRACE, ratings.get(f, 1e4)) for f in shares}}
    people = [f for f, count in shares.items() for _ in range(count)]
    zeros, asked = np.zeros((1, len(people))), np.full((1, len(people)), 100.0)
    return small_case(lines, people, zeros, asked, zeros, feeder={f: f for f in shares})


@pytest.mark.parametrize("spec", ["equal_doe", "leximin"])
def test_small_groups_behind_a_limit_have_the_level_of_large_ones(spec: str) -> None:
    """One home of 150 loads a limit as much per kW as 149: 100 kVA among 150, but for losses of a few W."""
    case = street({"one": 1, "many": 149}, {})
    served = ao.simulate(case, spec, network="certified", steps=1).allocation.import_kw[0]
    np.testing.assert_allclose(served, 100.0 / 150.0, rtol=2e-3)
    assert served.max() - served.min() < 1e-4


@pytest.mark.parametrize("spec", ["equal_doe", "leximin"])
def test_who_is_not_behind_a_limit_rises_on(spec: str) -> None:
    """150 homes behind 30 kVA get 0.2 kW each, and 150 others what is left of 100 kVA; losses are a few W."""
    case = street({"tight": 150, "free": 150}, {"tight": 30.0})
    served = ao.simulate(case, spec, network="certified", steps=1).allocation.import_kw[0].reshape(2, 150)
    np.testing.assert_allclose(served[0], 0.2, rtol=2e-3)
    np.testing.assert_allclose(served[1], 70.0 / 150.0, rtol=2e-3)


def test_what_losses_couple_is_given_back() -> None:
    """Two homes, one line each: nothing but losses upstream couples them.

    The lower one ends at its own line's limit; the other keeps the 0.2 % off that it may not take from the lower one.
    """
    lines = {"a": ("src", 0.01, 300.0), "b": ("a", OHM, 20.0), "c": ("a", OHM, 40.0)}
    case = small_case(lines, ["b", "c"], [[0.0, 0.0]], [[90.0, 90.0]], [[0.0, 0.0]], feeder={"b": "B", "c": "C"})
    run = ao.simulate(case, "equal_doe", network="certified", steps=1)
    used = Certified(case.feeder).evaluate(*_box(case, run.allocation.import_kw[0]))
    amperes = used[2 * (case.feeder.n_buses - 1) :]
    assert amperes[1] == pytest.approx(1.0, abs=1e-5)
    assert 0.998**2 - 1e-4 < amperes[2] <= 1.0


def _box(case: ao.Case, import_kw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n = case.feeder.n_buses
    p = np.zeros(2 * n)
    p[case.bus] = -import_kw
    return p, np.zeros(2 * n)


@pytest.mark.parametrize("name", ["units do not matter", "length of blocks does not matter"])
def test_levels_of_a_curtailment_cap_are_exact(name: str) -> None:
    for check in mechanism_checks("curtailment_cap", network="certified"):
        if check.name.startswith(name):
            check.run()
