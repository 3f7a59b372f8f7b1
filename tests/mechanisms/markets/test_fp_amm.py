"""The lottery in two stages: its probabilities, its rays, its memory, its trigger, and what is refused."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streets import NAN, street

import amm_opt as ao
from amm_opt.testing.cases import small_case
from formulations import FPAMM
from formulations.markets.fp_amm import LotteryState


def one_branch(asked_kw: list[float], rating_kva: float, tiers: list[int] | None = None) -> ao.Case:
    """Everybody behind one branch whose rating binds."""
    people = [("a", "", 0.0, kw, 0.0) for kw in asked_kw]
    return street([("src", "a", 1e-4, 1e-4, rating_kva)], people, service_tier=tiers or [1] * len(asked_kw))


def drawn(case: ao.Case, mechanism: FPAMM, weight: np.ndarray, k: int = 0) -> list[int]:
    return mechanism.order(case, weight, case.requests(k, k + 1).interval(0)).tolist()


def test_whoever_is_drawn_takes_what_the_limit_leaves() -> None:
    """20 kVA and 8 kW each: two are served in full, one gets 4 kW, and one nothing, in the order of the lots."""
    case = one_branch([8.0] * 4, 20.0)
    for seed in range(6):
        mechanism = FPAMM(seed=seed)
        served = ao.simulate(case, mechanism, steps=1).allocation.import_kw[0]
        order = drawn(case, mechanism, np.vstack([np.ones(4), np.zeros(4)]))
        assert served[order] == pytest.approx([8.0, 8.0, 4.0, 0.0], abs=1e-3)


def test_the_first_is_drawn_in_proportion_to_weights_and_nobody_twice() -> None:
    """Weights 1, 2, 5 of 8: 2000 draws of the first, within three standard errors."""
    case, weight = one_branch([1.0] * 3, 1.0), np.array([[1.0, 2.0, 5.0], [0.0, 0.0, 0.0]])
    orders = [drawn(case, FPAMM(seed=seed), weight) for seed in range(2000)]
    assert all(sorted(order) == [0, 1, 2] for order in orders)
    first = Counter(order[0] for order in orders)
    for i, share in enumerate((1 / 8, 2 / 8, 5 / 8)):
        assert first[i] / 2000 == pytest.approx(share, abs=3 * np.sqrt(share * (1 - share) / 2000))
    second = Counter(order[1] for order in orders if order[0] == 2)  # then 1 and 2 of 3
    assert second[1] / second.total() == pytest.approx(2 / 3, abs=3 * np.sqrt(2 / 9 / second.total()))


def test_tiers_are_drawn_before_who_is_in_them() -> None:
    """One request in tier 1, three in tier 2: with a ratio of 2 the first is of tier 1 in 2 draws of 3."""
    case, weight = one_branch([1.0] * 4, 1.0, [1, 2, 2, 2]), np.vstack([np.ones(4), np.zeros(4)])
    first = Counter(drawn(case, FPAMM(seed=seed), weight)[0] for seed in range(1500))
    assert first[0] / 1500 == pytest.approx(2 / 3, abs=3 * np.sqrt(2 / 9 / 1500))
    assert first[1] / 1500 == pytest.approx(1 / 9, abs=3 * np.sqrt(8 / 81 / 1500))


def test_lots_depend_on_names_and_time_only() -> None:
    case = one_branch([1.0] * 5, 1.0)
    people = case.tables()["participants"].iloc[::-1]
    other, weight = case.with_tables(participants=people), np.vstack([np.ones(5), np.zeros(5)])
    names = [case.participant_names[i] for i in drawn(case, FPAMM(), weight, 1)]
    assert [other.participant_names[i] for i in drawn(other, FPAMM(), weight, 1)] == names
    assert drawn(case, FPAMM(), weight, 0) != drawn(case, FPAMM(), weight, 1) or len(names) < 2


def test_weights_by_hand() -> None:
    """Served 1 of 4 and 3 of 4 so far, a third without history: 4, 4/3, 1; to a target of 0.5 lack 0.25, 0 and all."""
    energies = np.array([[1.0, 3.0, 0.0], [0.0] * 3]), np.array([[4.0, 4.0, 0.0], [0.0] * 3])
    nothing = np.zeros((2, 3))
    state = LotteryState(nothing, *energies, nothing, nothing, nothing, np.zeros(()))
    assert FPAMM().priorities(state)[0] == pytest.approx([4.0, 4 / 3, 1.0])
    assert FPAMM(weights="deficit", target=0.5).priorities(state)[0] == pytest.approx([0.25, 0.0, 0.5])
    assert FPAMM(weights="equal").priorities(state) == pytest.approx(1.0)


def test_memory_stays_within_0_and_1_and_contracts() -> None:
    """T1: two memories under the same service approach each other at rate 1 - beta where something was asked for."""
    case, rng = one_branch([8.0] * 3, 10.0), np.random.default_rng(1)
    mechanism, requests = FPAMM(beta=0.2), case.requests(0, 1).interval(0)
    fresh = mechanism.initial_state(case)
    one, two = (LotteryState(s, *list(fresh.arrays().values())[1:]) for s in (np.zeros((2, 3)), np.ones((2, 3))))
    for k in range(1, 20):
        served = ao.Allocation(rng.uniform(0, 8, 3), np.zeros(3))
        one, two = (mechanism.advance(s, served, requests) for s in (one, two))
        assert two.shortage[0] - one.shortage[0] == pytest.approx(0.8**k)
        assert 0.0 <= one.shortage.min() <= two.shortage.max() <= 1.0


def test_one_fixed_point_from_every_start_at_a_linear_rate() -> None:
    """T2: x_i = min(r_i, room that those drawn before i leave at x), all at once, ends in the clearing from any start.

    On a street of three branches that all bind somewhere. A pass settles one more place of the draw, so that it ends
    after n passes, and errors fall by a factor q < 1 per pass (geometric mean over the passes).
    """
    lines = [("src", "a", 1e-4, 1e-4, 40.0), ("a", "b", 1e-4, 1e-4, 22.0), ("b", "c", 1e-4, 1e-4, 10.0)]
    people = [("abc"[k % 3], "", 0.0, 4.0 + k % 4, 0.0) for k in range(12)]
    case, n_starts = street(lines, people, service_tier=[1] * 12), 20
    grid = ao.Grid(case, ao.LinDistFlow(case.feeder))
    requests, mechanism = case.requests(0, 1).interval(0), FPAMM(seed=3)
    order = np.array(drawn(case, mechanism, (requests.both_kw > 1e-6).astype(float)))
    n, asked = case.n_participants, requests.both_kw.ravel()[order]
    unit = [grid.quantities(requests, *side) for side in np.eye(2 * n).reshape(2 * n, 2, n)]
    zero = grid.quantities(requests, np.zeros(n), np.zeros(n))
    slope = (np.array(unit) - zero)[order]  # (places, rows)
    lower, upper = grid.network.quantities.lower - zero, grid.network.quantities.upper - zero

    def passed(x: np.ndarray) -> np.ndarray:
        use = slope * x[:, None]
        before = np.cumsum(use, axis=0) - use
        with np.errstate(divide="ignore", invalid="ignore"):
            room = np.where(slope > 1e-12, (upper - before) / slope, np.inf)
            room = np.minimum(room, np.where(slope < -1e-12, (lower - before) / slope, np.inf))
        return np.clip(np.minimum(asked, room.min(axis=1)), 0.0, None)

    cleared = np.stack([*ao.simulate(case, mechanism, steps=1).allocation.both_kw]).reshape(2, n).ravel()[order]
    assert 0.05 < cleared.sum() / asked.sum() < 0.95
    rng, rates = np.random.default_rng(0), []
    for _ in range(n_starts):
        x, errors = rng.uniform(0, 1, len(order)) * asked, []
        for _ in range(len(order) + 1):
            errors.append(float(np.abs(x - cleared).max()))
            x = passed(x)
        assert x == pytest.approx(cleared, rel=1e-4, abs=1e-3)
        far = np.array([e for e in errors if e > 1e-3])
        rates.append((far[-1] / far[0]) ** (1 / max(len(far) - 1, 1)))
    assert max(rates) < 0.9


def test_tracking_error_stays_within_the_threshold() -> None:
    """T4: service differs from that of the last clearing by at most the threshold times the larger request."""
    case, rng = one_branch([8.0] * 4, 20.0), np.random.default_rng(2)
    times = pd.date_range("2030-01-07", periods=200, freq="30min")
    walk = 0.8 + 0.15 * np.sin(np.arange(200) / 8) + rng.uniform(-0.03, 0.03, 200)
    case, saved = case.with_tables(profiles=pd.DataFrame({"time": times, "one": walk})), []
    for threshold in (0.02, 0.1, 0.3):
        run = ao.simulate(case, FPAMM(threshold=threshold))
        asked, served = run.requests.import_request_kw, run.allocation.import_kw
        share, last = served / asked, 0
        for k in range(1, 200):
            if np.abs(share[k] - share[last]).max() > 1e-6:
                last = k
            assert (np.abs(served[k] - served[last]) <= threshold * np.maximum(asked[k], asked[last]) + 1e-5).all()
        saved.append(200 - float(run.state.clearings))
    assert saved[0] < saved[1] < saved[2]


def test_bad_parameters_on_the_command_line() -> None:
    """All at once, with exit code 2, as a process."""
    words = ["run", "ieee14", "--mechanism", "fp_amm:beta=0,target=1.5,threshold=-1", "--steps", "1"]
    done = subprocess.run([str(Path(sys.executable).with_name("amm-opt")), *words], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    for said in (
        "beta = 0.0 must be in (0, 1]",
        "target = 1.5 must be in (0, 1]",
        "threshold = -1.0 must be in [0, 1]",
    ):
        assert said in done.stderr


def test_inverse_weights_even_out_what_equal_ones_leave() -> None:
    """Four that ask for 2 kW and one that asks for 16 behind 12 kVA: who is drawn late gets least."""
    case = one_branch([2.0] * 4 + [16.0], 12.0).repeat(300)
    spread = {}
    for weights in ("equal", "inverse"):
        run = ao.simulate(case, FPAMM(weights=weights))
        spread[weights] = np.ptp(run.allocation.import_kw.sum(axis=0) / run.requests.import_request_kw.sum(axis=0))
    assert spread["inverse"] < 0.8 * spread["equal"]


def test_delivery_ratios_reach_a_target_that_can_be_reached() -> None:
    """T5 in small: half of what four ask for is there; errors at the end are some parts of 1/T."""
    case = one_branch([8.0] * 4, 16.0).repeat(400)
    run = ao.simulate(case, FPAMM(weights="deficit", target=0.45))
    ratio = run.allocation.import_kw.sum(axis=0) / run.requests.import_request_kw.sum(axis=0)
    assert np.abs(ratio - 0.45).max() < 3.0 / 800


@pytest.mark.parametrize("supply", ["source", "plants"])
def test_every_clearing_is_feasible_on_a_mesh(supply: str) -> None:
    case = ao.load_case("ieee14").with_scenario(import_scale=1.5)
    run = ao.simulate(case, FPAMM(supply=supply), steps=96)
    assert not run.failed_steps
    assert run.summary["thermal_violations"] == 0
    a = run.allocation
    if supply == "plants":
        assert a.export_kw.sum(axis=1) == pytest.approx(a.import_kw.sum(axis=1))
        share = a.export_kw / np.where(run.requests.export_request_kw > 0, run.requests.export_request_kw, np.inf)
        offers = run.requests.export_request_kw[0] > 0
        assert np.ptp(share[:, offers], axis=1) == pytest.approx(0.0, abs=1e-9)
    assert 0.05 < a.import_kw.sum() / run.requests.import_request_kw.sum() < 0.99


def test_no_supply_beyond_what_is_offered() -> None:
    case = ao.load_case("three_bus").with_scenario(capacity_scale=100.0, export_scale=0.5)
    a = ao.simulate(case, FPAMM(supply="plants"), steps=1).allocation
    assert a.import_kw.sum() == pytest.approx(300e3)  # half of 600 MW of plants


def test_the_trigger_saves_clearings_and_holds_shares() -> None:
    """T4: the same request again is no event; a request that moves by more than the threshold is one."""
    case = one_branch([8.0] * 4, 20.0)
    profile = pd.DataFrame(
        {"time": pd.date_range("2030-01-07", periods=6, freq="30min"), "one": [1, 1, 0.95, 0.95, 0.7, 0.7]}
    )
    case = case.with_tables(profiles=profile)
    run = ao.simulate(case, FPAMM(threshold=0.1))
    share = run.allocation.import_kw / run.requests.import_request_kw
    assert share[1:4] == pytest.approx(np.tile(share[0], (3, 1)), abs=1e-6)
    assert float(run.state.clearings) == 2.0
    assert float(ao.simulate(case, FPAMM()).state.clearings) == 6.0


def test_shares_that_are_not_feasible_any_more_are_an_event() -> None:
    case = one_branch([8.0] * 4, 20.0)
    profile = pd.DataFrame({"time": pd.date_range("2030-01-07", periods=2, freq="30min"), "one": [0.9, 1.0]})
    run = ao.simulate(case.with_tables(profiles=profile), FPAMM(threshold=0.5))
    assert float(run.state.clearings) == 2.0
    assert run.allocation.import_kw.sum(axis=1) == pytest.approx([20.0, 20.0], abs=1e-2)


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"beta": 0.0}, "beta = 0.0 must be in (0, 1]"),
        ({"beta": NAN}, "beta"),
        ({"target": 1.1}, "target = 1.1 must be in (0, 1]"),
        ({"tier_ratio": 0.5}, "tier_ratio = 0.5 must be at least 1"),
        ({"threshold": -0.1}, "threshold = -0.1 must be in [0, 1]"),
        ({"weights": "fair"}, "valid choices: inverse, deficit, equal"),
        ({"supply": "sun"}, "valid choices: source, plants"),
        ({"seed": -1}, "seed = -1 must not be negative"),
    ],
)
def test_bad_parameters_are_named(parameters: dict[str, object], sentence: str) -> None:
    with pytest.raises(ao.InputError) as said:
        FPAMM(**parameters)  # type: ignore[arg-type]
    assert sentence in str(said.value)


def test_bad_tiers_and_plants_with_inflexible_load_are_named() -> None:
    case = small_case(balanced=True)
    with pytest.raises(ao.InputError, match=r"'p0': service_tier = 1\.5 must be a whole number"):
        case.with_tables(participants=case.tables()["participants"].assign(service_tier=1.5))
    with pytest.raises(ao.InputError, match="needs loads that are requests"):
        ao.simulate(case, FPAMM(supply="plants"))
