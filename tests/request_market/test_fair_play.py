"""Every rule of the Fair Play market by hand, and its promises on random problems."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import amm_opt as ao
from amm_opt.request_market.clearing import (
    Book,
    buy_price,
    cheapest_start,
    draw_queue,
    product_shares,
    sell_price,
    weights,
)
from amm_opt.request_market.fair_play import History

R = ao.FlexibleRequest


def test_prices_as_published() -> None:
    """Supply 60 and demand 100: H = 60, buy 106.00, sell -159.00; and both ends of the curve."""
    left, predicted = np.array([60.0, 0.0, 100.0, 200.0, -5.0, 5.0]), np.array([100.0] * 5 + [0.0])
    assert buy_price(left, predicted).tolist() == [106.0, 265.0, 0.0, 0.0, 265.0, 0.0]
    assert sell_price(left, predicted)[:2].tolist() == [-159.0, 0.0]
    assert buy_price(np.array([1.0]), np.array([3.0]))[0] == 176.67  # 265 - 2.65 * 33.33..


def test_weights_as_published() -> None:
    """1/F with F on two decimals, 999 at 0."""
    assert weights(np.array([1.0, 0.5, 0.0, 0.004, 1 / 3])) == pytest.approx([1.0, 2.0, 999.0, 999.0, 1 / 0.33])


def test_product_shares_as_published() -> None:
    assert product_shares(10, 20, 2.0, 0.3) == pytest.approx((0.35, 0.35, 0.3))
    assert product_shares(1, 2, 2.0, 0.0) == pytest.approx((0.5, 0.5, 0.0))
    assert product_shares(0, 0, 2.0, 0.3) == (0.0, 0.0, 1.0)


def test_the_cheapest_feasible_start() -> None:
    price, room = np.array([9.0, 5.0, 1.0, 1.0, 4.0, 4.0]), np.array([2.0, 2.0, 2.0, 0.5, 2.0, 2.0])
    assert cheapest_start(R("a", 0, 6, 0.5, 2), range(0, 6), room, price) == 2
    assert cheapest_start(R("a", 0, 6, 1.0, 2), range(0, 6), room, price) == 1  # 5 + 1; slot 3 has no room
    assert cheapest_start(R("a", 0, 6, 2.0, 2), range(3, 6), room, price) == 4
    assert cheapest_start(R("a", 0, 6, 2.1, 1), range(0, 6), room, price) is None
    assert cheapest_start(R("a", 0, 6, 1.0, 2, max_price=2.9), range(0, 6), room, price) is None  # 3 is the cheapest
    assert cheapest_start(R("a", 0, 6, 1.0, 2, max_price=3.0), range(0, 6), room, price) == 1
    assert cheapest_start(R("a", 0, 6, 1.0, 1), range(4, 6), room, price) == 4  # the earliest of equals


def test_a_charge_covers_the_slots_used_and_no_more() -> None:
    """1 kW for an hour at 106 p/kWh costs 106 p; afterwards 59 of 100 are left: 108.65 in the two slots only."""
    book = Book(ao.RequestProblem([R("a", 0, 4, 1.0, 2)], np.full(4, 60.0), predicted_kw=np.full(4, 100.0)))
    book.accept(0, 1)
    assert book.charge[0] == pytest.approx(106.0)
    assert book.price.tolist() == [106.0, 108.65, 108.65, 106.0]


def test_essential_load_comes_first() -> None:
    """Supply 60, essential 30: 30 are left of 100, which costs 185.50; where essential load is more, nothing is."""
    book = Book(ao.RequestProblem([], np.full(2, 60.0), np.array([30.0, 70.0]), np.full(2, 100.0)))
    assert book.price.tolist() == [185.5, 265.0]
    assert book.left_kw.tolist() == [30.0, 0.0]


def orders(g: list[float], draws: int) -> list[tuple[int, ...]]:
    problem = ao.RequestProblem([R(name, 0, 1, 1.0, 1) for name in "abcdef"[: len(g)]], np.full(1, 99.0))
    windows, out = dict.fromkeys(range(len(g)), range(0, 1)), []
    for seed in range(draws):
        rng, room = np.random.default_rng(seed), np.full(1, 99.0)
        out.append(tuple(draw_queue(Book(problem), range(len(g)), windows, np.array(g), room, rng)))
    return out


def test_draws_are_without_replacement_and_in_proportion() -> None:
    """Weights 1, 2, 5: c first in 5 of 8, then b in 2 of 3; every request at most once."""
    found = orders([1.0, 2.0, 5.0], 800)
    assert all(sorted(order) == [0, 1, 2] for order in found)
    first = Counter(order[0] for order in found)
    for i, share in enumerate((1 / 8, 2 / 8, 5 / 8)):
        assert first[i] / 800 == pytest.approx(share, abs=3.5 * np.sqrt(share * (1 - share) / 800))
    second = Counter(order[1] for order in found if order[0] == 2)
    assert second[1] / second.total() == pytest.approx(2 / 3, abs=3.5 * np.sqrt(2 / 9 / second.total()))


def test_a_queue_ends_after_200_attempts_per_request() -> None:
    """Attempts succeed with probability pi: of 400, some one in a million is out of reach; 1/500 succeeds in half.

    With n = 2 and pi = (499/500, 1/500), the first takes about two attempts and the second has some 398 left:
    it is reached with probability 1 - (1 - 1/500)^398 = 0.549.
    """
    assert all(order == (0,) for order in orders([1.0, 1e-9], 50))
    reached = np.mean([len(order) == 2 for order in orders([499.0, 1.0], 800)])
    assert reached == pytest.approx(0.549, abs=3.5 * np.sqrt(0.25 / 800))


def test_products_have_their_shares_and_the_rest_is_for_all() -> None:
    """100 kW for ten premium and twenty basic requests of 10 kW: three of each in 35 kW, then four of all."""
    people = [R(f"p{k}", 0, 1, 10.0, 1, product="premium") for k in range(10)] + [
        R(f"b{k}", 0, 1, 10.0, 1) for k in range(20)
    ]
    problem, premium = ao.RequestProblem(people, np.full(1, 100.0)), []
    for seed in range(8):
        run = ao.FairPlay(seed=seed).run(problem)
        accepted = run.table[run.table["accepted"]]
        counts = accepted["product"].value_counts()
        assert len(accepted) == 10
        assert min(counts) >= 3
        premium.append(int(counts["premium"]))
        alone = ao.FairPlay(deadband=0.0, seed=seed).run(problem)  # 50 kW each, and nothing is left
        assert alone.table[alone.table["accepted"]]["product"].value_counts().to_dict() == {"premium": 5, "basic": 5}
    assert len(set(premium)) > 1


def test_a_rejected_request_counts_once() -> None:
    """2 kWh asked and refused twice, then 1 kWh asked and served: F = 1/3; whoever was in no market has F = 1."""
    requests = [R("a", 0, 4, 1.0, 4), R("a", 5, 7, 1.0, 2), R("b", 0, 2, 1.0, 1)]
    history = History(ao.RequestProblem(requests, np.ones(8)))
    history.add({0: range(4)}, {})
    history.add({0: range(4), 1: range(5, 7)}, {1: 5})
    history.add({1: range(5, 7)}, {1: 5})
    assert history.fairness([0, 1, 2]) == pytest.approx([1 / 3, 1 / 3, 1.0])


def test_markets_are_held_every_three_hours_24_hours_ahead() -> None:
    """Slot 50 is in no market before that of slot 6; a window that begins before now is cut off at now."""
    late = ao.FairPlay().run(ao.RequestProblem([R("a", 50, 54, 1.0, 1)], np.full(60, 1.0)))
    assert list(late.start.values()) == [50]
    blocked = ao.RequestProblem([R("a", 46, 54, 1.0, 1)], np.where(np.arange(60) == 53, 1.0, 0.0))
    assert list(ao.FairPlay().run(blocked).start.values()) == [53]  # it was rejected at 0, and is accepted at 6


def test_whoever_was_refused_is_drawn_first_the_next_time() -> None:
    """Room for one of two a day: F = 0 weighs 999, so that the second day goes to the other, but for 1 in 500."""
    requests = [R(name, day * 48, day * 48 + 1, 1.0, 1) for day in (0, 3) for name in "ab"]
    problem, turned = ao.RequestProblem(requests, np.ones(200)), 0
    for seed in range(40):
        served = ao.FairPlay(products=False, seed=seed).run(problem).households["served_ratio"]
        turned += served.tolist() == [0.5, 0.5]
    assert turned >= 39


SLOTS = 60


@st.composite
def problems(draw: st.DrawFn) -> ao.RequestProblem:
    requests = []
    for k in range(draw(st.integers(1, 8))):
        slots, first = draw(st.integers(1, 6)), draw(st.integers(0, SLOTS - 12))
        last = first + slots + draw(st.integers(0, 6))
        terms = draw(st.floats(0.1, 4.0)), slots, draw(st.floats(0, 265)), draw(st.sampled_from(["premium", "basic"]))
        requests.append(R(f"h{k % 3}", first, last, *terms))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return ao.RequestProblem(requests, rng.uniform(0, 6, SLOTS), rng.uniform(0, 2, SLOTS))


@settings(max_examples=25, deadline=None)
@given(problems(), st.booleans())
def test_promises_on_random_problems(problem: ao.RequestProblem, products: bool) -> None:
    for approach in (ao.FairPlay(products=products), ao.BookingPlan("volume"), ao.BookingPlan("revenue")):
        run = approach.run(problem)
        assert (run.booked_kw <= problem.available_kw + 1e-6).all()
        table = run.table[run.table["accepted"].astype(bool)]
        assert (table["start"] >= table["earliest"]).all()
        assert (table["start"] + table["slots"] <= table["latest"]).all()
        if run.approach == "fair_play":
            assert (table["charge_pence"] >= 0).all()
            assert (table["charge_pence"] <= table["max_price"] * table["asked_kwh"] + 1e-6).all()
        backwards = ao.RequestProblem(problem.requests[::-1], problem.supply_kw, problem.essential_kw)
        assert approach.run(backwards).start == run.start


def test_the_same_seed_is_the_same_market() -> None:
    problem = ao.generated_problem(count=6, days=4, seed=3)
    one, two, other = (ao.FairPlay(seed=seed).run(problem) for seed in (1, 1, 2))
    assert one.start == two.start
    assert one.charge == two.charge
    assert one.start != other.start
    assert ao.generated_problem(count=6, days=4, seed=3).requests == problem.requests
