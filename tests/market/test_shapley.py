"""Shapley values: the axioms, closed forms, all orders by hand, intervals that hold, and plants behind lines."""

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_case

import amm_opt as ao

FLAT = pd.DataFrame({"flat": 1.0, "time": pd.date_range("2030-01-07", periods=2, freq="30min")})


def random_game(seed: int, n: int) -> dict[frozenset[str], float]:
    rng = np.random.default_rng(seed)
    sets = [frozenset("abcdefgh"[i] for i in range(n) if bits >> i & 1) for bits in range(2**n)]
    return dict(zip(sets, rng.normal(size=len(sets)).tolist(), strict=True))


def airport(costs: dict[str, float]) -> ao.ShapleyValues:
    return ao.shapley(lambda s: max((costs[p] for p in s), default=0.0), list(costs))


EIGHT = [str(p) for p in range(8)]
LENGTHS = dict(zip(EIGHT, (1.5, 2.9, 0.4, 2.8, 0.9, 1.3, 2.5, 1.2), strict=True))


def glove(here: frozenset[str]) -> float:
    """Pairs of gloves: players up to the third have a left one, the others a right one."""
    left = sum(int(p) < 3 for p in here)
    return float(min(left, len(here) - left))


def runway(here: frozenset[str]) -> float:
    """The longest that anybody needs: hardly anyone adds anything in most orders."""
    return max((LENGTHS[p] for p in here), default=0.0)


def quota(here: frozenset[str]) -> float:
    """A vote with weights."""
    return float(sum(LENGTHS[p] for p in here) > 6.0)


TWENTY = [str(p) for p in range(20)]


def line_case(cap_kw: float, plants: dict[str, tuple[str, float]], load_kw: float) -> ao.Case:
    """Plants at the far end of a line or near the load."""
    buses = pd.DataFrame({"name": ["near", "far"], "vn_kv": 110.0, "v_min_pu": 0.9, "v_max_pu": 1.1})
    buses["v_source_pu"] = [1.0, np.nan]
    line = {"name": "line", "from_bus": "near", "to_bus": "far", "r_ohm": 0.0, "x_ohm": 1.0, "rating_kva": cap_kw}
    people = [("load", "near", "import", load_kw), *((p, bus, "export", kw) for p, (bus, kw) in plants.items())]
    table = pd.DataFrame(people, columns=["name", "bus", "quantity", "scale_kw"])
    table["connection_import_kw"] = table["connection_export_kw"] = 1e3
    return ao.from_tables(
        name="line",
        buses=buses,
        branches=pd.DataFrame([line]),
        participants=table.drop(columns=["quantity", "scale_kw"]),
        profiles=FLAT,
        series=table.rename(columns={"name": "participant"})[["participant", "quantity", "scale_kw"]].assign(
            profile="flat"
        ),
    )


# axioms and closed forms


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5))
def test_the_value_is_the_mean_over_all_orders(seed: int, n: int) -> None:
    v, players = random_game(seed, n), list("abcdefgh"[:n])
    by_hand = dict.fromkeys(players, 0.0)
    orders = list(permutations(players))
    for order in orders:
        for k, player in enumerate(order):
            by_hand[player] += (v[frozenset(order[: k + 1])] - v[frozenset(order[:k])]) / len(orders)
    found = ao.shapley(v.__getitem__, players)
    np.testing.assert_allclose(found.value, list(by_hand.values()), atol=1e-12)
    assert found.exact
    assert found.evaluations == 2**n
    assert found.value.sum() == pytest.approx(v[frozenset(players)] - v[frozenset()], abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_symmetry_dummy_and_additivity(seed: int) -> None:
    v, w = random_game(seed, 4), random_game(seed + 1, 4)
    alone = random_game(seed, 1)[frozenset("a")]
    swap = str.maketrans("ab", "ba")

    def alike(s: frozenset[str]) -> float:
        return v[s] + v[frozenset(p.translate(swap) for p in s)]

    def with_dummy(s: frozenset[str]) -> float:
        return v[s - {"z"}] + alone * ("z" in s)

    same = ao.shapley(alike, list("abcd")).value
    assert same[0] == pytest.approx(same[1], abs=1e-12)
    assert ao.shapley(with_dummy, list("abcdz")).value[-1] == pytest.approx(alone, abs=1e-12)
    both = ao.shapley(lambda s: v[s] + w[s], list("abcd")).value
    parts = [ao.shapley(g.__getitem__, list("abcd")).value for g in (v, w)]
    np.testing.assert_allclose(both, sum(parts), atol=1e-12)


def test_closed_forms() -> None:
    """The airport game (Littlechild and Owen, 1973), and gloves of which there is one right."""
    np.testing.assert_allclose(airport({"a": 1.0, "b": 2.0, "c": 3.0}).value, [1 / 3, 5 / 6, 11 / 6])
    one_right = ao.shapley(lambda s: float(min(len(s & {"l", "m"}), len(s & {"r"}))), ["l", "m", "r"])
    np.testing.assert_allclose(one_right.table["value"], [1 / 6, 1 / 6, 2 / 3])
    np.testing.assert_allclose(one_right.share, [1 / 6, 1 / 6, 2 / 3])


# sampled


@pytest.mark.parametrize("game", [glove, runway, quota], ids=lambda game: game.__name__)
def test_intervals_hold_all_values_as_often_as_they_say(game: Callable[[frozenset[str]], float]) -> None:
    exact, total = ao.shapley(game, EIGHT), game(frozenset(EIGHT))
    held = 0
    for seed in range(200):
        found = ao.shapley(game, EIGHT, rounds=32, seed=seed)
        held += bool(np.all((found.low - 1e-12 <= exact.value) & (exact.value <= found.high + 1e-12)))
        assert found.value.sum() == pytest.approx(total, abs=1e-9)
        assert np.mean(found.high - found.low) < 0.15 * total
    assert held >= 190


def test_samples_are_the_same_with_more_workers_and_again() -> None:
    one, again, two = (ao.shapley(glove, TWENTY, rounds=2, seed=3, workers=w) for w in (1, 1, 2))
    np.testing.assert_array_equal(one.value, again.value)
    np.testing.assert_array_equal(one.value, two.value)
    assert not one.exact
    assert not np.array_equal(one.value, ao.shapley(glove, TWENTY, rounds=2, seed=4).value)


def test_rounds_may_be_asked_for_where_exact_values_are_in_reach() -> None:
    exact, sampled = (ao.shapley(glove, EIGHT[1:], rounds=rounds) for rounds in (None, 40))
    assert (sampled.rounds, exact.rounds) == (40, 0)
    assert np.all((sampled.low - 1e-9 <= exact.value) & (exact.value <= sampled.high + 1e-9))


# on networks


@pytest.mark.parametrize("network", ["transport", "dc", "lindistflow"])
@pytest.mark.parametrize(
    ("cap_kw", "plants", "load_kw", "expected"),
    [
        (30.0, {"A": ("far", 50.0), "B": ("near", 20.0)}, 100.0, [30, 20]),
        (60.0, {"A": ("far", 50.0), "B": ("far", 40.0), "C": ("near", 30.0)}, 80.0, [95 / 3, 65 / 3, 80 / 3]),
    ],
)
def test_plants_behind_a_line(
    network: str, cap_kw: float, plants: dict[str, tuple[str, float]], load_kw: float, expected: list[float]
) -> None:
    """A line of 30 kW carries 30, not twice that; two behind one line share it."""
    case = line_case(cap_kw, plants, load_kw)
    models = {"dc": ao.DCFlow, "lindistflow": ao.LinDistFlow}
    model = models[network](case.feeder) if network in models else network
    game = ao.NetworkGame(case, 0, {p: [p] for p in plants}, network=model)
    assert game.players == tuple(plants)
    np.testing.assert_allclose(ao.shapley(game, game.players).value, expected, rtol=1e-9)


def test_transport_carries_at_least_what_angles_allow() -> None:
    case = ao.load_case("ieee14").with_scenario(import_scale=2.0, limits={"branch 1": 60e3})
    plants = {name: [name] for name, owns in zip(case.participant_names, case.owns("export"), strict=True) if owns}
    free, angles = (ao.NetworkGame(case, 0, plants, network=n) for n in ("transport", ao.DCFlow(case.feeder)))
    every = [frozenset(p for k, p in enumerate(plants) if bits >> k & 1) for bits in range(2 ** len(plants))]
    gap = np.array([free(s) - angles(s) for s in every])
    assert np.all(gap >= -1e-3)
    assert gap.max() > 1e3
    assert free(frozenset()) == 0.0


@pytest.mark.parametrize("phases", [False, True])
def test_feeders_that_share_a_limit_are_hosted_as_the_mechanism_of_most_throughput_serves_them(phases: bool) -> None:
    case = tiny_case(3, phases).with_scenario(export_scale=0.0)
    model = (ao.LinDist3Flow if phases else ao.LinDistFlow)(case.feeder)
    home = case.feeder.lv_feeders
    names = dict(enumerate(case.participant_names))
    players = {f: [names[i] for i in np.flatnonzero(case.lv_feeder == k)] for k, f in enumerate(home)}
    for interval in range(3):
        sides = {"direction": "import", "counts": "import", "source": True}
        game = ao.NetworkGame(case, interval, players, network=model, **sides)
        run = ao.simulate(case, "alpha_fair:alpha=0", steps=slice(interval, interval + 1))
        values = ao.shapley(game, game.players)
        assert values.total == pytest.approx(game(frozenset(players)) - game(frozenset()))
        assert game(frozenset(players)) == pytest.approx(run.dataset["served_kw"].sum().item(), rel=1e-6)
        assert game(frozenset(players)) <= sum(game(frozenset([p])) for p in players) + 1e-9


# bad input


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ao.InputError) as error:
        ao.shapley(glove, ["a", "a"], rounds=1, seed=-1, confidence=1.0, workers=0)
    for part in ("a given more than once", "rounds = 1", "seed = -1", "confidence = 1", "workers = 0"):
        assert part in str(error.value)
    with pytest.raises(ao.InputError, match="nobody is given"):
        ao.shapley(glove, [])
    with pytest.raises(ao.InputError, match=r"gives nan for \{1\}"):
        ao.shapley(lambda s: float("nan") if s else 0.0, ["1"])
    case = line_case(30.0, {"A": ("far", 50.0)}, 100.0)
    with pytest.raises(ao.InputError) as error:
        ao.NetworkGame(case, 0, {"x": ["A", "Z"], "y": ["A"]}, network="transport")
    assert "no participant 'Z'" in str(error.value)
    assert "'A' belongs to the players 'x' and 'y'" in str(error.value)
    with pytest.raises(ao.InputError) as error:
        ao.NetworkGame(case, 9, {"x": ["A"]}, network="tubes", direction="up")
    for part in ("interval = 9", "0 to 1", "'tubes'", "direction = 'up'"):
        assert part in str(error.value)
    with pytest.raises(ao.InputError, match=r"inflexible load or shunt.*p0"):
        ao.NetworkGame(tiny_case(1), 0, {"x": ["p0"]}, network="transport")
