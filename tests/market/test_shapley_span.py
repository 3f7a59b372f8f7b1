"""Shapley values over a span: hand-computed values in every interval, clusters, batteries, and processes."""

import numpy as np
import pandas as pd
import pytest
from wholesale import random_system, system

import amm_opt as ao
from amm_opt.market.shapley import span

PLANTS = {"A": ["A"], "B": ["B"], "C": ["C"]}


def behind_a_line() -> ao.Case:
    """A (50 kW) and B (40) behind a line of 60, C (30) at the load of 80; then half the load; then A alone is away."""
    people = [{"name": p, "bus": bus} for p, bus in (("load", "near"), ("A", "far"), ("B", "far"), ("C", "near"))]
    series = [("load", "import", "load", 80.0), ("A", "export", "a", 50.0), ("B", "export", "flat", 40.0)]
    series.append(("C", "export", "flat", 30.0))
    profiles = {"load": np.array([1.0, 0.5, 1.0]), "flat": np.ones(3), "a": np.array([1.0, 1.0, 0.0])}
    return system([("line", "near", "far")], 1.0, 60.0, people, series, profiles)


# all orders by hand: 95/3, 65/3, 80/3 (published check); with a load of 40 A and B reach it alone, C adds 30 alone
BY_HAND = np.array([[95 / 3, 65 / 3, 80 / 3], [15.0, 15.0, 10.0], [0.0, 40.0, 30.0]])


@pytest.mark.parametrize("network", ["transport", "dc"])
def test_every_interval_by_hand(network: str) -> None:
    case = behind_a_line()
    found = ao.shapley_span(case, PLANTS, network=ao.DCFlow(case.feeder) if network == "dc" else network)
    np.testing.assert_allclose(found.value, BY_HAND, rtol=1e-9)
    np.testing.assert_allclose(found.total, [80, 40, 70])
    np.testing.assert_allclose(found.share.sum(axis=1), 1.0)
    table = found.table
    assert list(table["name"][:3]) == ["A", "B", "C"]
    assert table["time"].is_monotonic_increasing
    one = table[(table["interval"] == 2) & (table["name"] == "B")]
    assert one["value_kw"].item() == pytest.approx(40.0)
    assert one["share"].item() == pytest.approx(4 / 7)


def test_a_part_of_the_span_and_available_power_in_place_of_what_is_offered() -> None:
    """C, away in the case, has 30 kW like a battery: with A's 50 and B's 40 it is the first interval again."""
    case = behind_a_line()
    without = case.with_profiles(pd.DataFrame({"C": np.zeros(3)}, index=case.times), "export")
    assert ao.shapley_span(without, PLANTS, network="transport", steps=1).value[0, 2] == 0.0
    kw = np.tile([0.0, 50.0, 40.0, 30.0], (2, 1))
    kw[1, 1] = 0.0
    order = [["load", "A", "B", "C"].index(name) for name in case.participant_names]
    found = ao.shapley_span(without, PLANTS, network="transport", steps=slice(1, 3), available_kw=kw[:, order])
    np.testing.assert_allclose(found.value, [BY_HAND[1], BY_HAND[2]], rtol=1e-9)


def test_clusters_give_every_generator_its_part() -> None:
    """A and B are one player of 90 kW behind the line: with C 55 and 25 of 80, in halves of 55 as 50 to 40."""
    found = ao.shapley_span(behind_a_line(), ao.clusters(behind_a_line()), network="transport", steps=1)
    np.testing.assert_allclose(dict(zip(found.names, found.value[0], strict=True))["A"], 55 * 5 / 9, rtol=1e-9)
    assert found.value[0].sum() == pytest.approx(80.0)


def test_processes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    case = random_system(3, n_bus=5, steps=30)
    plants = {n: [n] for n, owns in zip(case.participant_names, case.owns("export"), strict=True) if owns}
    seen: list[tuple[int, int]] = []
    ask = {"network": ao.DCFlow(case.feeder), "steps": slice(0, 30)}
    one, two = (ao.shapley_span(case, plants, workers=w, progress=lambda *s: seen.append(s), **ask) for w in (1, 2))
    np.testing.assert_array_equal(one.value, two.value)
    assert seen == [(span.CHUNK, 30), (30, 30)] * 2
    alone = ao.shapley(ao.NetworkGame(case, 29, plants, network=ask["network"]), list(plants))
    np.testing.assert_allclose(one.value[29], alone.value, atol=1e-4)
    np.testing.assert_array_equal(one.low, one.value)


def test_bad_availability_is_refused() -> None:
    case = behind_a_line()
    with pytest.raises(ao.InputError, match=r"shape \(3,\); 3 intervals of 4"):
        ao.shapley_span(case, PLANTS, network="transport", available_kw=np.ones(3))
    with pytest.raises(ao.InputError, match="finite and not negative"):
        ao.shapley_span(case, PLANTS, network="transport", available_kw=-np.ones((3, 4)))
