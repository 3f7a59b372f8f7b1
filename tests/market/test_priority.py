"""The delivery priority: ratios with a prior, forgetting, whose memory counts, and bounds, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from small import TRACE, first_interval, grid_of, small_case

import amm_opt as ao
from amm_opt.market import FairnessState
from formulations import AMM


def delivered(served: Any, asked: Any, hours: Any = 0.0) -> FairnessState:
    """A state of energies of import (n,); exports never asked."""
    rows = [np.broadcast_to(np.asarray(a, dtype=float), np.shape(asked)) for a in (0.0, served, asked, hours)]
    return FairnessState(*(np.stack([row, np.zeros_like(row)]) for row in rows))


def test_a_history_counts_by_its_hours_beside_the_prior() -> None:
    """0.75 over 8 hours beside 8 hours in full is 0.875, whatever the size of the requests."""
    state = delivered([6.0, 600.0, 0.0, 0.0, 3.0], [8.0, 800.0, 10.0, 0.0, 4.0], [8.0, 8.0, 24.0, 0.0, 0.0])
    assert_allclose(state.delivery_ratio_after(8.0)[0], [0.875, 0.875, 0.25, 1.0, 1.0])
    assert_allclose(state.delivery_ratio_after(0.0)[0], [0.75, 0.75, 0.0, 1.0, 1.0])
    assert_allclose(state.delivery_ratio_after(8.0)[1], 1.0)


def test_weights_of_delivery_by_hand() -> None:
    state = delivered([10.0, 5.0, 0.0, 0.0], [10.0, 20.0, 10.0, 0.0], [1.0, 2.0, 3.0, 0.0])
    assert_allclose(AMM(alpha=2, prior_h=0).weights(state)[0], [1, 16, 999**2, 1])
    assert_allclose(AMM(alpha=1, prior_h=0).weights(state)[0], [1, 4, 999, 1])
    assert_allclose(AMM(alpha=2, prior_h=2).weights(state)[0], [1, 2.56, 6.25, 1])
    assert_allclose(AMM(alpha=0).weights(state), 1.0)
    assert np.all(np.isfinite(AMM(alpha=100, prior_h=0).weights(state)))


def test_forgetting_halves_energies_and_hours_with_or_without_a_request() -> None:
    """Intervals of half an hour, in which one customer is served 4 of 8 kW."""
    state = delivered([8.0, 8.0], [16.0, 16.0], [4.0, 4.0])
    requests = first_interval(small_case(LINES, ["a", "b"], [0, 0], [8, 0], [0, 0]))
    served = ao.Allocation(np.array([4.0, 0.0]), np.zeros(2))
    after = AMM(memory="30min").advance(state, served, requests)
    assert_allclose(after.served_kwh[0], [4 + 2, 4])
    assert_allclose(after.requested_kwh[0], [8 + 4, 8])
    assert_allclose(after.requested_h[0], [2.5, 2])
    assert_allclose(after.delivery_ratio[0], [0.5, 0.5])
    whole = AMM().advance(state, served, requests)
    assert_allclose(whole.served_kwh[0], [10, 8])
    assert_allclose(whole.requested_h[0], [4.5, 4])


LINES = {"mv": ("src", TRACE, 90.0), "a": ("mv", TRACE, 90.0), "b": ("mv", TRACE, 90.0)}


def weights(mechanism: AMM, state: FairnessState, asks: Any) -> Any:
    """Priorities of import of two customers on feeder A, one on B and one at medium voltage."""
    case = small_case(LINES, ["a", "a", "b", "mv"], np.zeros(4), asks, np.zeros(4), feeder={"a": "A", "b": "B"})
    return mechanism.priorities(grid_of(case), state, first_interval(case))[0]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("participant", [2, 1, 4, 1]),
        ("feeder", [8 / 7, 8 / 7, 4, 1]),
        ("nested", [8 / 7 * 2, 8 / 7, 4, 1]),  # the best served of A has its feeder's weight
    ],
)
def test_whose_memory_counts(level: str, expected: list[float]) -> None:
    """Delivery ratios 1/2, 1, 1/4 and 1; feeder A's is 35/40. A customer at medium voltage is a feeder of its own."""
    state = delivered([5.0, 30.0, 1.0, 4.0], [10.0, 30.0, 4.0, 4.0], 1.0)
    found = weights(AMM(alpha=1, prior_h=0, level=level), state, [2, 6, 4, 4])
    assert_allclose(found / found[3], expected, rtol=1e-7)
    tenth = weights(AMM(alpha=1, prior_h=0, level=level), state, [0.2, 0.6, 0.4, 0.4])
    assert_allclose(tenth, found, rtol=1e-7)  # profiles are stored in single precision


@pytest.mark.parametrize("level", ["feeder", "nested"])
def test_levels_hold_for_other_priorities_too(level: str) -> None:
    """Shortage memories of feeders are means by request: (2 x 0.5 + 6 x 0.1) / 8 = 0.2 on A."""
    s = np.array([[0.5, 0.1, 0.4, 0.0], [0.0] * 4])
    state = FairnessState(s, *np.zeros((3, 2, 4)))
    found = weights(AMM(priority="shortage", kappa=5, level=level), state, [2, 6, 4, 4])
    first = {"feeder": 1, "nested": 3.5 / 1.5}[level]
    assert_allclose(found / found[3], [2 * first, 2, 3, 1], rtol=1e-7)


def test_somebody_who_was_never_served_does_not_outweigh_everybody() -> None:
    """At most thirty times the geometric mean, which one customer of four moves by the fourth root of its weight."""
    state = delivered([0.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], 1.0)
    found = weights(AMM(alpha=1, prior_h=0, level="participant"), state, [1, 1, 1, 1])
    assert_allclose(found, [30.0, *[999**-0.25] * 3], rtol=1e-9)
    found = weights(AMM(alpha=100, prior_h=0, level="participant"), state, [1, 1, 1, 1])
    assert_allclose(found, [30.0, *[1 / 30] * 3], rtol=1e-9)
    for asks in ([0, 0, 0, 0], [1, 0, 0, 0]):
        assert np.all(np.isfinite(weights(AMM(level="nested"), state, asks)))


def test_only_those_who_ask_count_in_a_feeder() -> None:
    """The best served of A asks for nothing: the other one has its feeder's weight."""
    state = delivered([5.0, 30.0, 1.0, 4.0], [10.0, 30.0, 4.0, 4.0], 1.0)
    found = weights(AMM(alpha=1, prior_h=0, level="nested"), state, [2, 0, 4, 4])
    assert_allclose(found[[0, 2]] / found[3], [8 / 7, 4], rtol=1e-7)


def test_what_a_user_may_set() -> None:
    with pytest.raises(ao.InputError) as caught:
        AMM(alpha=-1.0, prior_h=-2.0, memory="soon", level="street", priority="mood")
    text = "\n".join(caught.value.problems)
    for said in (
        "alpha = -1.0 must be in [0, 100]",
        "prior_h = -2.0 must not be negative",
        "memory = 'soon' must be a length of time such as 90D, or None",
        "level = 'street'; valid choices: participant, feeder, nested",
        "priority = 'mood'; valid choices: delivery, shortage, inverse_ratio, deficit",
    ):
        assert said in text
