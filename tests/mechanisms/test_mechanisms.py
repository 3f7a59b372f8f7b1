"""What every mechanism promises: requests, limits, order, units, capacity, blocks and state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small import cleared, difference, first_interval, grid_of, in_other_units, network_rows, shuffled, small_case

import amm_opt as ao
from amm_opt.cases import Case
from amm_opt.market import FairnessState, Mechanism
from amm_opt.registry import mechanisms as installed
from amm_opt.simulation.loop import loop
from formulations import (
    AMM,
    DNP,
    FPAMM,
    LMP,
    AlphaFair,
    CurtailmentCap,
    Dimming14a,
    Dispatch,
    EqualDOE,
    FairEachTime,
    FairOverTime,
    FairOverTimeStorage,
    FairUsingHistory,
    Floored,
    GreedyDOE,
    LastInFirstOff,
    Leximin,
    LMPAhead,
    NoControl,
    ProRata,
    Rotation,
    StaticLimit,
)
from formulations.greedy_doe import RULES

ALL: list[Mechanism[Any]] = [
    NoControl(),
    StaticLimit(),
    ProRata(),
    LastInFirstOff(),
    Rotation(),
    CurtailmentCap(),
    Dimming14a(),
    Floored(),
    Floored(mechanism=FairOverTime(window="6h")),
    *(EqualDOE(enrolled=e, per=p) for e in ("active", "requesting") for p in ("feeder", "system")),
    *(GreedyDOE(enrolled=e, rule=rule) for e in ("active", "requesting") for rule in RULES),
    EqualDOE(enrolled="all"),
    GreedyDOE(enrolled="all", rule="largest_request_first"),
    AMM(),
    AMM(rho=0),
    AMM(level="participant", memory="1D"),
    AMM(priority="inverse_ratio", rho=1.0),
    AMM(priority="deficit", rho=0.3, level="feeder"),
    AMM(priority="shortage", idle="decay"),
    *(FairEachTime(per=p) for p in ("feeder", "participant")),
    *(FairOverTime(per=p, window="6h") for p in ("feeder", "participant")),
    FairUsingHistory(window="6h"),
    FairOverTimeStorage(window="6h"),
    AMM(envelope=EqualDOE()),
    AMM(rho=0, envelope=EqualDOE(enrolled="requesting")),
    *(AlphaFair(alpha=a) for a in (0, 1, 4)),
    AlphaFair(weight="equal"),
    Leximin(),
    Leximin(per="feeder"),
    *(DNP(per=per, spread=0.0) for per in ("system", "feeder")),
    LMP(),
    Dispatch(window="12h", committed="6h"),
    LMPAhead(window="12h", committed="6h"),
    FPAMM(seed=1),
]
SCARCE = slice(70, 96)
"""The second evening and night of the case below: exports, then imports are scarce."""
every_mechanism = pytest.mark.parametrize("mechanism", ALL, ids=str)
every_enforcing = pytest.mark.parametrize("mechanism", [m for m in ALL if m.enforces_limits], ids=str)


@lru_cache
def scarce() -> Case:
    """Two LV feeders of 64 buses, scarce in both directions."""
    return ao.load_case("synthetic:buses=130,days=2,seed=3").with_scenario(import_scale=2.5)


@lru_cache
def whole(mechanism: Mechanism[Any]) -> ao.Run:
    return ao.simulate(scarce(), mechanism)


def test_every_installed_mechanism_is_tested() -> None:
    assert {type(m) for m in ALL} >= set(installed().values())


@every_mechanism
def test_service_is_within_requests_and_limits(mechanism: Mechanism[Any]) -> None:
    run = whole(mechanism)
    requests, a, s = run.requests, run.allocation, run.summary
    for power, request in ((a.import_kw, requests.import_request_kw), (a.export_kw, requests.export_request_kw)):
        assert np.all(power >= 0)
        assert np.all(power <= request)
    assert not run.failed_steps
    assert not run.fallback_steps
    assert s["unavoidable_violations"] == 0
    if isinstance(mechanism, NoControl):
        assert s["thermal_violations"] > 50
        assert s["voltage_violations"] > 300
        assert s["unserved_mwh"] == s["curtailed_mwh"] == 0
        return
    if isinstance(mechanism, StaticLimit):
        assert s["voltage_violations"] < whole(NoControl()).summary["voltage_violations"]
        return
    assert s["thermal_violations"] == s["voltage_violations"] == 0
    # scarcity bites in both directions, and a good part is served all the same
    assert 0.02 < s["unserved_mwh"] / s["requested_import_mwh"] < 0.95
    assert 0.05 < s["curtailed_mwh"] / s["requested_export_mwh"] < 0.7
    served = s["requested_import_mwh"] - s["unserved_mwh"]
    assert a.import_kw.sum() * 0.5 / 1000 == pytest.approx(served, rel=1e-9)
    assert a.export_kw.sum() * 0.5 / 1000 == pytest.approx(s["requested_export_mwh"] - s["curtailed_mwh"], rel=1e-9)


@every_enforcing
def test_limits_are_met_by_the_network_itself(mechanism: Mechanism[Any]) -> None:
    """Flows summed and voltage drops added up branch by branch, without LinDistFlow's sweeps."""
    case, run = scarce(), whole(mechanism)
    f, w, a = case.feeder, run.requests, run.allocation
    p, q = case.bus_injections(w.inflexible_kw, a.import_kw, a.export_kw)
    p, q = -p, -q
    for b in range(f.n_buses - 1, 0, -1):
        p[:, f.parent[b]] += p[:, b]
        q[:, f.parent[b]] += q[:, b]
    v2 = np.full_like(p, f.v_source_pu**2)
    for b in range(1, f.n_buses):
        z = f.z_ohm[b][0, 0] / (1000 * f.vn_kv[b] ** 2)
        v2[:, b] = v2[:, f.parent[b]] / f.tap[b] ** 2 - 2 * (z.real * p[:, b] + z.imag * q[:, b])
    assert (np.hypot(p, q) / f.rating_kva)[:, 1:].max() < 1 + 2e-5
    assert np.sqrt(v2).min() > 0.9 - 5e-6
    assert np.sqrt(v2).max() < 1.1 + 5e-6


@every_mechanism
def test_order_of_participants_and_elements_does_not_matter(mechanism: Mechanism[Any]) -> None:
    other = shuffled(scarce(), seed=7)
    assert other.participant_names != scarce().participant_names
    position = [other.participant_names.index(name) for name in scarce().participant_names]
    a, b = (ao.simulate(c, mechanism, steps=SCARCE) for c in (scarce(), other))
    assert difference(a, b, position) < 1e-5


@every_mechanism
@pytest.mark.parametrize("factor", [0.05, 64.0])
def test_units_do_not_matter(mechanism: Mechanism[Any], factor: float) -> None:
    """Up to how exactly limits are met, which is 1e-6 of them; ties of lmp weigh a millionth."""
    other: Mechanism[Any] = mechanism
    if isinstance(mechanism, StaticLimit):
        other = StaticLimit(import_kw=1.5 * factor, export_kw=1.5 * factor)
    elif isinstance(mechanism, Dimming14a):
        other = Dimming14a(device_kw=4.2 * factor)
    elif isinstance(mechanism, Floored):
        other = replace(mechanism, floor=Dimming14a(device_kw=4.2 * factor))
    a = ao.simulate(scarce(), mechanism, steps=SCARCE)
    b = ao.simulate(in_other_units(scarce(), factor), other, steps=SCARCE)
    assert difference(a, b, factor=factor) < (1e-3 if isinstance(mechanism, LMP) else 3e-5)
    for column in ("unserved_mwh", "curtailed_mwh"):
        assert b.summary[column] == pytest.approx(factor * a.summary[column], rel=1e-4, abs=1e-7)


def twins() -> Case:
    """Pairs of identical participants on two feeders, with voltage and thermal scarcity in both directions."""
    lines = {
        "mv": ("src", 0.01, 90.0),
        "a1": ("mv", 0.02, 40.0),
        "a2": ("a1", 0.12, 25.0),
        "b1": ("mv", 0.03, 60.0),
        "b2": ("b1", 0.20, 100.0),
    }
    people = ["a1", "a2", "b1", "b2", "b2"] * 2
    powers = np.array([[1, 2, 0.5, 1, 1.5], [20, 10, 15, 12, 9], [0, 6, 3, 2, 0]]) @ np.kron(np.ones(2), np.eye(5))
    sunny = np.array([[0.5, 1, 1, 0.5, 0.25], [0, 4, 2, 0, 1], [15, 10, 25, 14, 18]]) @ np.kron(np.ones(2), np.eye(5))
    d, r, g = (np.tile(np.stack(pair), (4, 1)) for pair in zip(powers, sunny, strict=True))
    feeder = {"a1": "A", "a2": "A", "b1": "B", "b2": "B"}
    connected = [3, 1, 5, 2, 4] * 2
    return small_case(lines, people, d, r, g, feeder=feeder, power_factor=0.95, connected=connected)


@pytest.mark.parametrize("mechanism", [m for m in ALL if not m.draws_lots], ids=str)
def test_identical_participants_get_identical_service(mechanism: Mechanism[Any]) -> None:
    run = ao.simulate(twins(), mechanism)
    assert not run.failed_steps
    a, w = run.allocation, run.requests
    for power in (a.import_kw, a.export_kw):
        np.testing.assert_allclose(power[:, :5], power[:, 5:], rtol=1e-6, atol=1e-6)
    if mechanism.enforces_limits:
        assert a.import_kw[0].sum() < 0.9 * w.import_request_kw[0].sum()
        assert a.export_kw[1].sum() < 0.9 * w.export_request_kw[1].sum()
        assert run.summary["thermal_violations"] == run.summary["voltage_violations"] == 0


def test_more_capacity_never_reduces_the_service_of_throughput_mechanisms() -> None:
    """A larger feasible set cannot have a smaller maximum: the AMM's welfare, and its throughput where that is it."""
    totals, welfare = [], []
    for scale in (0.5, 0.8, 1.0, 1.25, 2.0):
        case = scarce().with_scenario(capacity_scale=scale)
        run = ao.simulate(case, AMM(alpha=0, rho=0), steps=SCARCE)
        totals.append((run.allocation.import_kw + run.allocation.export_kw).sum(axis=1))
        run = ao.simulate(case, AMM(alpha=0, rho=1), steps=SCARCE)
        w, a, value = run.requests, run.allocation, 0.0
        for x, r in ((a.import_kw, w.import_request_kw), (a.export_kw, w.export_request_kw)):
            value = value + (x - 0.5 * (r - x) ** 2 / np.where(r > 0, r, 1.0)).sum(axis=1)
        welfare.append(value)
    for result in (np.array(totals), np.array(welfare)):
        assert np.all(np.diff(result, axis=0) > -1e-4)
        assert result[-1].sum() > 1.1 * result[0].sum()


@pytest.mark.parametrize(("start", "direction"), [(25, "export"), (73, "export"), (84, "import"), (93, "import")])
def test_more_capacity_never_reduces_greedy_envelopes(start: int, direction: str) -> None:
    """The total of its limits, which is what it maximises, up to what the tie-break may trade (see test_envelopes).

    Its service is another matter: more capacity may shift limits to participants who do not ask for that much.
    """
    scales = (0.5, 0.8, 1.0, 1.25, 2.0)
    mechanism = GreedyDOE(enrolled="requesting")
    cases = [scarce().with_scenario(capacity_scale=s) for s in scales]
    found = [cleared(case, mechanism, start)[direction]["envelope"].sum() for case in cases]
    assert np.all(np.diff(found) > -1e-3 * found[0])
    assert found[-1] > 1.2 * found[0]


@pytest.mark.parametrize("mechanism", [GreedyDOE(enrolled="all"), AMM(alpha=0), AMM()], ids=str)
def test_more_capacity_serves_more_in_every_interval(mechanism: Mechanism[Any]) -> None:
    """No theorem for these (a new binding limit may move service to others), but so it is on this case."""
    runs = [ao.simulate(scarce().with_scenario(capacity_scale=s), mechanism, steps=SCARCE) for s in (0.5, 1.0, 1.5)]
    totals = np.array([(r.allocation.import_kw + r.allocation.export_kw).sum(axis=1) for r in runs])
    assert np.all(np.diff(totals, axis=0) > -1e-3 * totals[0])
    assert totals[-1].sum() > 1.1 * totals[0].sum()


@every_mechanism
def test_block_length_does_not_matter(mechanism: Mechanism[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    span = slice(60, 96)
    usual = ao.simulate(scarce(), mechanism, steps=span)
    monkeypatch.setattr(loop, "BLOCK_STEPS", 5)
    seen: list[tuple[int, int]] = []
    short = ao.simulate(scarce(), mechanism, steps=span, progress=lambda done, total: seen.append((done, total)))
    if mechanism.horizon == 1:
        assert seen == [(min(k, 36), 36) for k in range(5, 41, 5)]
    slack = 1e-6 if isinstance(mechanism, Dispatch) else 1e-8  # its stages leave one to each other
    assert difference(usual, short) < slack
    for name, array in usual.state.arrays().items():
        np.testing.assert_allclose(short.state.arrays()[name], array, rtol=1e-8, atol=1e-8)
    same = [c for c in usual.summary.index if c not in ("seconds", "ms_per_step")]
    np.testing.assert_allclose(
        short.summary[same].to_numpy(dtype=float), usual.summary[same].to_numpy(dtype=float), rtol=slack, atol=1e-9
    )


@dataclass(frozen=True)
class _Resumed(AMM):
    """An AMM that starts from a state given as arrays."""

    start: dict[str, np.ndarray] = field(default_factory=dict)

    def initial_state(self, case: Case) -> FairnessState:
        return FairnessState.from_arrays(self.start)


@pytest.mark.parametrize("options", [{}, {"rho": 0.0}, {"priority": "deficit"}, {"idle": "decay"}], ids=str)
def test_a_run_split_in_two_equals_the_whole(options: dict[str, Any]) -> None:
    case = scarce().with_scenario(capacity_scale=1.5)  # voltages bind, so priorities decide
    first = ao.simulate(case, AMM(**options), steps=slice(60, 72))
    assert first.state.shortage.max() > 0.05
    second = ao.simulate(case, _Resumed(start=first.state.arrays(), **options), steps=slice(72, 96))
    one = ao.simulate(case, AMM(**options), steps=slice(60, 96))
    for name in ("import_kw", "export_kw", "import_price", "export_price"):
        parts = [getattr(run.allocation, name) for run in (first, second)]
        np.testing.assert_allclose(np.concatenate(parts), getattr(one.allocation, name), atol=1e-5)
    for name, array in one.state.arrays().items():
        np.testing.assert_allclose(second.state.arrays()[name], array, atol=1e-5)
    forgot = ao.simulate(case, AMM(**options), steps=slice(72, 96))
    assert difference(forgot, second) > 0.02


power = st.one_of(st.just(0.0), st.floats(0.0, 40.0), st.floats(0.0, 1e-8))
matrices = st.lists(st.lists(power, min_size=4, max_size=4), min_size=3, max_size=3)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(matrices, matrices, st.lists(st.floats(-30.0, 30.0), min_size=4, max_size=4), st.sampled_from([0.0, 0.2, 1.0]))
def test_states_and_prices_stay_in_their_bounds(
    imports: list[list[float]], exports: list[list[float]], load: list[float], rho: float
) -> None:
    lines = {"a": ("src", 0.02, 50.0), "b": ("a", 0.08, 30.0)}
    case = small_case(lines, ["a", "a", "b", "b"], load, imports, exports)
    mechanism = AMM(
        rho=rho, alpha=3.0, prior_h=1.0, memory="6h", import_price_min=0.2, import_price_max=0.5, export_price_max=0.2
    )
    run = ao.simulate(case, mechanism)
    assert not run.failed_steps
    assert np.all((run.state.shortage >= 0) & (run.state.shortage <= 1))
    assert np.all((run.state.delivery_ratio >= 0) & (run.state.delivery_ratio <= 1 + 1e-12))
    assert np.all((run.allocation.import_price >= 0.2) & (run.allocation.import_price <= 0.5))
    assert np.all((run.allocation.export_price >= 0) & (run.allocation.export_price <= 0.2))
    assert np.all(run.allocation.import_kw <= run.requests.import_request_kw)
    assert np.all(run.allocation.export_kw <= run.requests.export_request_kw)
    assert run.summary["thermal_violations"] == run.summary["voltage_violations"] == 0


def test_prices_are_those_of_the_deficits_of_the_interval() -> None:
    run, grid = whole(AMM()), grid_of(scarce())
    for k in (26, 75, 93):
        d = ao.deficits(grid, scarce().requests(k, k + 1).interval(0))
        np.testing.assert_allclose(run.allocation.import_price[k], 0.10 + 0.30 * d[0], atol=1e-12)
        np.testing.assert_allclose(run.allocation.export_price[k], 0.08 - 0.08 * d[1], atol=1e-12)
    money = (run.allocation.import_kw * run.allocation.import_price).sum()
    money -= (run.allocation.export_kw * run.allocation.export_price).sum()
    assert run.summary["revenue"] == pytest.approx(0.5 * money, rel=1e-9)


BROKEN: list[tuple[Callable[[], Any], str]] = [
    (lambda: AMM(kappa=-1), "kappa = -1 must not be negative"),
    (lambda: AMM(rho=float("nan")), "rho = nan"),
    (lambda: AMM(beta=0), r"beta = 0 must be in \(0, 1\]"),
    (lambda: AMM(target=1.5), "target = 1.5"),
    (lambda: AMM(priority="need"), "valid choices: delivery, shortage, inverse_ratio, deficit"),
    (lambda: AMM(idle="stop"), "valid choices: hold, decay"),
    (lambda: AMM(import_price_min=1.0), "import price"),
    (lambda: AMM(price_shape="cubic"), "valid choices: linear, power, logistic"),
    (lambda: EqualDOE(per="bus"), "valid choices: feeder, system"),
    (lambda: EqualDOE(enrolled="some"), "valid choices: active, all, requesting"),
    (lambda: GreedyDOE(enrolled="some"), "valid choices: active, all, requesting"),
    (lambda: GreedyDOE(rule="best"), "valid choices: throughput, largest_request_first, worst_bus_first"),
]


@pytest.mark.parametrize(("make", "said"), BROKEN)
def test_parameters_out_of_range_are_refused(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ao.InputError, match=said):
        make()


def test_network_rows_reproduce_the_sweep() -> None:
    """The reference that other tests use is itself right."""
    grid, requests = grid_of(scarce()), first_interval(scarce())
    x, y = np.random.default_rng(0).uniform(0, 5, (2, grid.n))
    by_import, by_export = network_rows(grid)
    expected = grid.quantities(requests, x, y) - grid.quantities(requests, 0.0, 0.0)
    np.testing.assert_allclose(by_import @ x + by_export @ y, expected, atol=1e-10)
