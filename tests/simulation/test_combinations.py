"""Ways to run that can be combined, and the table that refuses the others with the reason."""

from __future__ import annotations

import itertools
import random
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from small import difference, one_transformer, rebuilt
from tiny import DT, tiny_case

import amm_opt as ao
from amm_opt.cases import Case, Requests
from amm_opt.grid import Grid
from amm_opt.registry import network_of
from amm_opt.simulation import compatibility
from amm_opt.simulation.loop.waiting import Sessions
from amm_opt.simulation.options import Options, settled
from formulations import AMM, FairOverTime

pytest.importorskip("power_grid_model")

MECHANISMS = ("no_control", "amm", "equal_doe", "greedy_doe", "leximin", "fot:window=2", "fot_storage:window=2")
NOISY = "noisy:sigma=0.3,seed=4"
CHOICES: tuple[tuple[str, Any], ...] = (
    ("tiers", "two"),
    ("defer", True),
    ("forecast", NOISY),
    ("ac", "secure"),
    ("ac", "verify"),
    ("network", "socp"),
    ("workers", 2),
)
STEPS = 6
TOLERANCE_PU, TOLERANCE = 1e-6, 1e-5


@lru_cache(maxsize=4)
def case_on(phases: bool = False) -> Case:
    return tiny_case(11, phases, steps=STEPS, sessions=True, batteries=True)


@pytest.fixture
def sentences(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Everything that the compatibility table says during a test."""
    said: set[str] = set()

    def noted(row: compatibility.Conflict) -> compatibility.Conflict:
        def reason(asked: compatibility.Asked) -> str:
            try:
                text = row.reason(asked)
            except ao.InputError as error:
                said.update(error.problems)
                raise
            said.add(text)
            return text

        return replace(row, reason=reason)

    monkeypatch.setattr(compatibility, "CONFLICTS", tuple(map(noted, compatibility.CONFLICTS)))
    return said


def assert_within_limits(run: ao.Run, network: Any = None) -> None:
    """Requests and, where they are enforced, the limits of an exact sweep, at everything that was carried out."""
    a, case = run.allocation, run.case
    requests = run.requests
    assert not run.failed_steps
    assert min(a.import_kw.min(), a.export_kw.min()) >= 0
    assert np.all(a.export_kw <= requests.export_request_kw + 1e-9)
    if not run.mechanism.enforces_limits:
        return
    model = network_of(case, network)
    grid = Grid(case, model)
    state = model.state(*grid.node_injections(requests.inflexible_kw, a.drawn_kw, a.injected_kw))
    before = model.state(*grid.node_injections(requests.inflexible_kw, 0.0, 0.0))
    over, allowed = (s.loading_kva[:, 1:] / model.rating_kva[1:] for s in (state, before))
    assert np.all(over <= np.maximum(allowed, 1.0) + TOLERANCE)
    assert np.all(state.v_pu <= np.maximum(before.v_pu, model.v_max_pu) + TOLERANCE_PU)
    assert np.all(state.v_pu >= np.minimum(before.v_pu, model.v_min_pu) - TOLERANCE_PU)


def assert_energy_is_kept(run: ao.Run) -> None:
    """What sessions got, departed without and still wait for is what they asked for, but for 1e-6 kW at their end."""
    sessions = Sessions(run.case)
    firm = sessions.firm(run.case.requests(run.first, run.first + len(run.times))).import_request_kw
    lacking = np.zeros(run.case.n_participants)
    for part in (run.backlog, run.departed):
        assert part is not None
        np.add.at(lacking, sessions.participant[part.session], part.left_kwh)
    asked = np.bincount(sessions.participant, sessions.energy_kwh, run.case.n_participants)
    served = run.allocation.import_kw
    whole = served.sum(axis=0) * DT + lacking
    assert np.all(whole <= asked + firm.sum(axis=0) * DT + 1e-9)
    assert np.all(whole >= asked + np.minimum(served, firm).sum(axis=0) * DT - 2e-6)


def check(mechanism: str, options: dict[str, Any], sentences: set[str], phases: bool = False) -> bool:
    """Whether it runs; if not, that the table says why, and nothing else is said."""
    refused: tuple[str, ...] = ()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            run = ao.simulate(case_on(phases), mechanism, **options)
    except ao.InputError as error:
        refused = error.problems
    if refused:
        assert set(refused) <= sentences, (mechanism, options)
        return False
    assert_within_limits(run, options.get("network"))
    if options.get("defer"):
        assert_energy_is_kept(run)
    if options.get("ac") == "secure" and run.mechanism.enforces_limits:
        assert run.summary["ac_thermal_violations"] == run.summary["ac_voltage_violations"] == 0
    return True


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_every_pair_runs_or_is_refused_by_the_table(mechanism: str, sentences: set[str]) -> None:
    ran = [
        check(mechanism, dict(pair), sentences)
        for pair in itertools.combinations(CHOICES, 2)
        if pair[0][0] != pair[1][0]
    ]
    assert sum(ran) >= (3 if "storage" in mechanism else 8)


def test_many_at_once(sentences: set[str]) -> None:
    rng = random.Random(5)
    ran = 0
    for _ in range(40):
        options = dict(rng.sample(CHOICES, rng.choice([3, 3, 4])))
        phases = rng.random() < 0.3 and options.get("network") is None
        ran += check(rng.choice(MECHANISMS), options, sentences, phases)
    assert ran >= 8


FEATURES: dict[str, tuple[str, dict[str, Any]]] = {
    "waiting": ("", {"defer": True}),
    "forecasts": ("", {"forecast": NOISY}),
    "measurement": ("", {"measurement": "noise:sigma=0.1"}),
    "two tiers": ("", {"tiers": "two"}),
    "AC-secure": ("", {"ac": "secure"}),
    "horizon": ("fot:window=2", {}),
    "batteries": ("fot_storage:window=2", {}),
    "conic model": ("", {"network": "socp"}),
}


def documented() -> Iterator[tuple[str, str, str]]:
    """Cells of the table in docs/combinations.md."""
    page = (Path(__file__).parents[2] / "docs" / "combinations.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    head = rows[0]
    for row in rows[2:]:
        yield from ((row[0], column, cell) for column, cell in zip(head[1:], row[1:], strict=True))


def test_the_page_says_what_can_be_combined() -> None:
    cells = list(documented())
    assert {name for cell in cells for name in cell[:2]} == set(FEATURES)
    assert len(cells) == len(FEATURES) ** 2
    for one, other, cell in cells:
        named = [FEATURES[name][0] for name in (one, other) if FEATURES[name][0]]
        mechanism = named[-1] if named else "amm"
        if "batteries" in (one, other):
            mechanism = FEATURES["batteries"][0]
        options = Options(**{**FEATURES[one][1], **FEATURES[other][1]})
        try:
            settled(case_on(), mechanism, options)
            runs = True
        except ao.InputError:
            runs = False
        assert cell == ("" if one == other else "yes" if runs else "no"), (one, other)


def scarce(seed: int = 3) -> Case:
    return ao.load_case(f"synthetic:buses=60,days=3,seed={seed}").with_scenario(import_scale=4.0, export_scale=2.0)


def known(case: Case, now: int, stop: int) -> Requests:
    return case.requests(now, stop)


def plenty(case: Case) -> Case:
    """The case with so much capacity that no request is ever cut."""
    return case.with_scenario(capacity_scale=50.0)


@pytest.mark.parametrize("options", [{"tiers": "two"}, {"ac": "secure"}, {"tiers": "two", "ac": "secure"}], ids=str)
def test_a_certain_forecast_is_no_forecast(options: dict[str, Any]) -> None:
    """In two tiers and on AC a plan that was made on the truth is carried out as it is."""
    case = scarce()
    steps = slice(20, 60)
    plain, told = (ao.simulate(case, AMM(), steps=steps, forecast=f, **options) for f in (None, known))
    assert plain.summary["unserved_mwh"] + plain.summary["curtailed_mwh"] > 0.01
    assert difference(plain, told) < 1e-6
    assert told.planned is not None


@pytest.mark.parametrize("options", [{"tiers": "two"}, {"ac": "secure"}], ids=str)
def test_a_wrong_forecast_breaks_no_limit(options: dict[str, Any]) -> None:
    run = ao.simulate(scarce(), AMM(), steps=slice(20, 60), forecast=NOISY, **options)
    assert_within_limits(run)
    assert run.planned is not None
    assert run.summary["repaired_steps"] > 0
    assert np.all(run.allocation.import_kw <= run.planned.import_kw + 1e-9)
    assert np.all(run.allocation.export_kw <= run.planned.export_kw + 1e-9)
    if options.get("ac"):
        assert run.summary["ac_thermal_violations"] == run.summary["ac_voltage_violations"] == 0
        blind = ao.simulate(scarce(), AMM(), steps=slice(20, 60), forecast=NOISY, ac="verify")
        assert blind.summary["ac_thermal_violations"] + blind.summary["ac_voltage_violations"] > 0


@pytest.mark.parametrize("mechanism", ["fot:window=4h", "fuh:window=4h", "fet"])
def test_a_plan_over_a_horizon_is_secured_when_it_is_carried_out(mechanism: str) -> None:
    case, steps = scarce(), slice(20, 68)
    plan = ao.simulate(case, mechanism, steps=steps, ac="verify")
    secured = ao.simulate(case, mechanism, steps=steps, ac="secure")
    assert plan.summary["ac_thermal_violations"] + plan.summary["ac_voltage_violations"] > 0
    assert_within_limits(secured)
    assert secured.summary["ac_thermal_violations"] == secured.summary["ac_voltage_violations"] == 0
    assert secured.summary["repaired_steps"] > 0
    served = [r.allocation.import_kw.sum() + r.allocation.export_kw.sum() for r in (plan, secured)]
    assert 0.97 * served[0] < served[1] < served[0]


def test_what_fits_on_ac_is_carried_out_as_planned() -> None:
    """Only intervals in which AC power flow breaks a limit are cut back."""
    case, steps = scarce(), slice(20, 68)
    plan, secured = (ao.simulate(case, FairOverTime(window="4h"), steps=steps, ac=ac) for ac in (None, "secure"))
    kept = np.setdiff1d(np.arange(48), np.array(secured.repaired_steps) - 20)
    assert len(kept) > 10
    assert_allclose(secured.allocation.import_kw[kept], plan.allocation.import_kw[kept], atol=1e-9)
    assert_allclose(secured.allocation.export_kw[kept], plan.allocation.export_kw[kept], atol=1e-9)


@pytest.mark.parametrize("mechanism", ["amm", "fot:window=4", "equal_doe"])
@pytest.mark.parametrize("options", [{"defer": True}, {"forecast": known}], ids=["waiting", "forecast"])
def test_with_room_for_all_ways_are_the_same(mechanism: str, options: dict[str, Any]) -> None:
    case = plenty(case_on())
    plain = ao.simulate(case, mechanism)
    ways: list[dict[str, Any]] = [{}, {"ac": "secure"}]
    ways += [{"tiers": "two"}, {"tiers": "two", "ac": "secure"}] if mechanism == "amm" else []
    for way in ways:
        run = ao.simulate(case, mechanism, **options, **way)
        assert run.summary["unserved_mwh"] == pytest.approx(0.0, abs=1e-12)
        assert_allclose(run.allocation.export_kw, plain.allocation.export_kw, atol=1e-9)
        assert_allclose(run.allocation.import_kw.sum(), plain.allocation.import_kw.sum(), rtol=1e-9)


def test_two_tiers_that_wait_are_the_joint_match_where_no_upper_limit_binds() -> None:
    """Sessions behind the two transformers of their own feeders; the trunk carries everything."""
    case = case_on()
    tables = case.tables()
    rating = tables["branches"]["rating_kva"].astype(float)
    case = rebuilt(case, branches=tables["branches"].assign(rating_kva=np.where(rating.index == 0, 500.0, rating)))
    joint, two = (ao.simulate(case, "amm", defer=True, tiers=tiers) for tiers in ("joint", "two"))
    assert joint.summary["unserved_mwh"] > 1e-3
    assert_energy_is_kept(two)
    assert difference(joint, two) < 1e-5
    for one, other in ((joint.backlog, two.backlog), (joint.departed, two.departed)):
        assert one is not None
        assert other is not None
        assert_allclose(one.left_kwh, other.left_kwh, atol=1e-5)


def test_a_mean_that_waits_is_secured_too() -> None:
    """4 kVA: sun next to a car that draws for ten minutes; the mean of the interval keeps the rating on AC as well."""
    case = one_transformer(4.0, np.zeros((4, 1)), np.zeros((4, 1)), np.zeros((4, 1)))
    begin = pd.Timestamp("2030-01-07")
    rows = [("p0", begin, begin + pd.Timedelta(minutes=10), 6.0, 1.0)]
    sessions = pd.DataFrame(rows, columns=["participant", "arrival", "departure", "power_kw", "energy_kwh"])
    tables = case.tables()
    sun = pd.DataFrame({"participant": ["p0"], "quantity": ["export"], "profile": ["sun"], "scale_kw": [1.0]})
    case = rebuilt(case, profiles=tables["profiles"].assign(sun=[10.0, 0, 0, 0]), series=sun, sessions=sessions)
    run = ao.simulate(case, "amm", defer=True, ac="secure")
    assert run.summary["repaired_steps"] >= 1
    assert run.summary["ac_thermal_violations"] == run.summary["ac_voltage_violations"] == 0
    x, y = run.allocation.import_kw[0, 0], run.allocation.export_kw[0, 0]
    assert y - x == pytest.approx(4.0, abs=1e-2)
