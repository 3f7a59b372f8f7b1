"""Operating envelopes against closed forms, brute force and an independent linear program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog, nnls
from small import TRACE, cleared, first_interval, grid_of, network_rows, one_transformer, small_case

import amm_opt as ao
from amm_opt.arrays import DIRECTIONS, FloatArray
from amm_opt.cases import Case
from formulations import EqualDOE, GreedyDOE
from formulations.greedy_doe import TIE


def outcome(case: Case, mechanism: Any) -> tuple[FloatArray, FloatArray]:
    """Served import and accepted export in the first interval."""
    run = ao.simulate(case, mechanism, steps=1)
    assert not run.failed_steps
    return run.allocation.import_kw[0], run.allocation.export_kw[0]


def reach(case: Case, mechanism: Any, start: int = 0) -> Mapping[str, FloatArray]:
    """Flexible power up to each participant's limit, by direction."""
    return {d: s["envelope"] for d, s in cleared(case, mechanism, start).items()}


def close(actual: FloatArray, expected: Sequence[float]) -> None:
    np.testing.assert_allclose(actual, expected, atol=2e-4)


def test_equal_import_limit_by_hand() -> None:
    """20 kVA: one inflexible load of 8 above the level, one connection of 3 below it: 2 L + 8 + 3 = 20, L = 4.5."""
    connection = {"connection_import_kw": [25.0, 3.0, 25.0, 25.0]}
    case = one_transformer(20, [1.0, 2.0, 8.0, 0.5], [10.0, 1.0, 5.0, 6.0], [0.0] * 4, **connection)
    served, _ = outcome(case, EqualDOE())
    close(served, [4.5 - 1, 1.0, 0.0, 4.5 - 0.5])
    # only the first and the last ask: 2 L + 2 + 8 = 20
    quiet = one_transformer(20, [1.0, 2.0, 8.0, 0.5], [10.0, 0.0, 0.0, 6.0], [0.0] * 4, **connection)
    close(outcome(quiet, EqualDOE(enrolled="requesting"))[0], [5 - 1, 0.0, 0.0, 5 - 0.5])
    close(outcome(quiet, EqualDOE(enrolled="all"))[0], [4.5 - 1, 0.0, 0.0, 4.5 - 0.5])


@pytest.mark.parametrize("direction", [0, 1])
def test_those_who_own_a_device_are_enrolled_by_hand(direction: int) -> None:
    """30 kVA for a who asks, b who asks in another interval, c who asks in the other direction, d who never asks.

    Active are a and b: 15 kW each. Full enrolment leaves 7.5 kW to each of four, and who asks is alone with 30.
    """
    this, other = np.zeros((2, 2, 4))
    this[0, 0], this[1, 1], other[1, 2] = 40.0, 5.0, 5.0
    case = one_transformer(30, np.zeros((2, 4)), *((this, other) if direction == 0 else (other, this)))
    for enrolled, level in (("active", 15.0), ("all", 7.5), ("requesting", 30.0)):
        close(outcome(case, EqualDOE(enrolled=enrolled))[direction], [level, 0, 0, 0])
        close(outcome(case, GreedyDOE(enrolled=enrolled))[direction], [level, 0, 0, 0])
    assert EqualDOE().enrolled == GreedyDOE().enrolled == "active"


def test_equal_export_limit_by_hand() -> None:
    """20 kVA: must-run generation of 8 above the level, one connection of 3 below it; own use adds to what may flow."""
    connection = {"connection_export_kw": [25.0, 3.0, 25.0, 25.0]}
    case = one_transformer(20, [1.0, 2.0, -8.0, 0.5], [2.0, 0.0, 0.0, 0.0], [10.0, 5.0, 4.0, 12.0], **connection)
    served, accepted = outcome(case, EqualDOE())
    # net export L + 3 + 8 + L; the first uses 1 + 2 kW itself, the second 2
    close(accepted, [4.5 + 1 + 2, 3 + 2.0, 0.0, 4.5 + 0.5])
    close(served, [2.0, 0.0, 0.0, 0.0])


def test_self_consumption_is_never_limited() -> None:
    """A limit is on net power: 9 kW of own generation serve 9 kW of own use on top of the limit."""
    case = one_transformer(10, [0.0, 0.0], [14.0, 14.0], [9.0, 0.0])
    served, accepted = outcome(case, EqualDOE())
    close(served, [5 + 9, 5.0])
    close(accepted, [9.0, 0.0])


def test_levels_never_fall_below_what_inflexible_load_needs() -> None:
    """Inflexible load takes everything: no level, no flexible use, but both keep their inflexible load."""
    case = one_transformer(10, [4.0, 6.0], [3.0, 3.0], [0.0, 0.0])
    close(outcome(case, EqualDOE())[0], [0.0, 0.0])
    close(outcome(case, GreedyDOE())[0], [0.0, 0.0])


def two_feeders(mv_kva: float = 1000.0) -> Case:
    """Two customers behind 10 kVA, two behind 20 kVA, both transformers behind one line."""
    lines = {"mv": ("src", TRACE, mv_kva), "a": ("mv", TRACE, 10.0), "b": ("mv", TRACE, 20.0)}
    return small_case(lines, ["a", "a", "b", "b"], [0] * 4, [12] * 4, [0] * 4, feeder={"a": "A", "b": "B"})


def test_progressive_filling_by_hand() -> None:
    close(outcome(two_feeders(), EqualDOE())[0], [5, 5, 10, 10])
    close(outcome(two_feeders(24), EqualDOE())[0], [5, 5, 7, 7])
    close(outcome(two_feeders(16), EqualDOE())[0], [4, 4, 4, 4])
    close(outcome(two_feeders(), EqualDOE(per="system"))[0], [5, 5, 5, 5])
    close(outcome(two_feeders(16), EqualDOE(per="system"))[0], [4, 4, 4, 4])


def test_voltage_limit_by_hand() -> None:
    """w = 1 - 2 r P / (1000 V^2) >= 0.81 allows P = 0.19 * 160 / (2 r) kW in total at the end of one line."""
    case = small_case({"lv": ("src", 0.2, 1000.0)}, ["lv"] * 4, [0] * 4, [40] * 4, [0] * 4)
    total = 0.19 * 1000 * 0.4**2 / (2 * 0.2)
    close(outcome(case, EqualDOE())[0], [total / 4] * 4)
    case = small_case({"lv": ("src", 0.2, 1000.0)}, ["lv"] * 4, [0] * 4, [0] * 4, [40] * 4)
    close(outcome(case, EqualDOE())[1], [0.21 * 1000 * 0.4**2 / (2 * 0.2) / 4] * 4)


def random_case(seed: int) -> Case:
    """Three LV feeders on an MV line; loads above and connections below the levels, thermal and voltage limits."""
    rng = np.random.default_rng(seed)
    lines: dict[str, tuple[str, float, float]] = {"mv": ("src", 0.004, rng.uniform(80, 150))}
    feeder, people = {}, []
    for f in "ABC":
        lines[f"{f}0"] = ("mv", rng.uniform(0.005, 0.03), rng.uniform(20, 90))
        lines[f"{f}1"] = (f"{f}0", rng.uniform(0.02, 0.2), rng.uniform(15, 60))
        feeder |= {f"{f}0": f, f"{f}1": f}
        people += [f"{f}{i}" for i in rng.integers(0, 2, 4)]
    n = len(people)
    load = np.where(rng.random(n) < 0.2, rng.uniform(3, 8, n), rng.uniform(0, 1, n))
    connection = np.where(rng.random(n) < 0.4, rng.uniform(8, 20, n), 60.0)
    kw = {"connection_import_kw": connection, "connection_export_kw": connection, "power_factor_import": 0.97}
    request = np.minimum(50.0, connection - load)
    return small_case(lines, people, load, request, np.zeros(n), feeder=feeder, x_ohm=0.01, **kw)


def leximin_by_bisection(case: Case) -> FloatArray:
    """Levels of the feeders for import, each by bisection on what the network hosts.

    Hosting is monotone here: every limit is on import, so a feeder is blocked exactly where raising it alone by a
    hair is not hosted.
    """
    grid, requests = grid_of(case), first_interval(case)
    lower, upper = grid.limits(requests)
    slack = 1e-9

    def use(levels: FloatArray) -> FloatArray:
        most = np.maximum(case.connection_kw("import") - requests.inflexible_kw, 0)
        return np.clip(levels[case.lv_feeder] - requests.inflexible_kw, 0, most)

    def hosted(levels: FloatArray) -> bool:
        u = grid.quantities(requests, use(levels), 0.0)
        return bool(np.all((u <= upper + slack) & (u >= lower - slack)))

    levels, rising = np.zeros(3), np.ones(3, dtype=bool)
    while rising.any():
        low, high = float(levels.max()), 60.0
        for _ in range(60):
            mid = (low + high) / 2
            low, high = (mid, high) if hosted(np.where(rising, mid, levels)) else (low, mid)
        levels = np.where(rising, low - 1e-6, levels)  # clear of rounding in the hosting test
        blocked = [not hosted(levels + 1e-4 * np.eye(3)[f]) or low > 60 - 1e-5 for f in range(3)]
        rising &= ~np.array(blocked)
    return use(levels)


@pytest.mark.parametrize("seed", range(12))
def test_progressive_filling_is_leximin(seed: int) -> None:
    case = random_case(seed)
    served, _ = outcome(case, EqualDOE())
    np.testing.assert_allclose(served, leximin_by_bisection(case), atol=1e-3)


def test_the_random_cases_have_feeders_at_different_levels() -> None:
    """Else the test above would show little."""
    different, spread = [], []
    for seed in range(0, 12, 3):
        feeder, system = (outcome(random_case(seed), EqualDOE(per=per))[0] for per in ("feeder", "system"))
        different.append(len(set(np.round(feeder, 2))))
        spread.append(np.abs(feeder - system).max())
    assert np.mean(different) > 5
    assert np.median(spread) > 1.0


def scarce(seed: int) -> Case:
    return ao.load_case(f"synthetic:buses=130,days=1,seed={seed}").with_scenario(import_scale=2.5)


def linear_optimum(case: Case, start: int, direction: str) -> tuple[float, FloatArray, FloatArray]:
    """Largest total of the limits by scipy with every network row; one optimum; limits = x - base."""
    grid, requests = grid_of(case), case.requests(start, start + 1).interval(0)
    lower, upper = grid.limits(requests)
    gain = network_rows(grid)[DIRECTIONS.index(direction)]
    alone = grid.quantities(requests, 0.0, 0.0)
    base = -requests.inflexible_kw if direction == "import" else requests.inflexible_kw
    most = np.maximum(case.connection_kw(direction) + base, 0)
    solution = linprog(
        -np.ones(grid.n),
        A_ub=np.vstack([gain, -gain]),
        b_ub=np.concatenate([upper - alone, alone - lower]),
        bounds=np.column_stack([np.zeros(grid.n), most]),
        method="highs",
    )
    assert solution.status == 0
    return float(solution.x.sum() - base.sum()), solution.x - base, base


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("start", "direction"), [(24, "export"), (30, "export"), (36, "import"), (44, "import")])
def test_greedy_total_is_the_linear_optimum(seed: int, start: int, direction: str) -> None:
    """Within the documented tie-break: F(QP) >= F(LP) bounds the lost total by the squares' difference."""
    case = scarce(seed)
    total, limits, base = linear_optimum(case, start, direction)
    found = reach(case, GreedyDOE(enrolled="all"), start)[direction] - base
    curvature = TIE / np.mean(case.connection_kw(direction))
    allowed = 0.5 * curvature * (np.sum(limits**2) - np.sum(found**2))
    assert allowed < 0.002 * total
    assert total + 1e-3 > found.sum() >= total - allowed - 1e-3
    assert found.sum() < 0.9 * (case.connection_kw(direction)).sum()
    # and among what is as good, the limits are as equal as can be
    assert np.sum(found**2) <= np.sum(limits**2) + 1e-3


def test_greedy_prefers_those_who_use_less_of_the_limit() -> None:
    """One line of two sections, voltage at its end: w = 1 - k (r1 (P1 + P2) + r2 P2) with k = 2 / 160."""
    lines = {"near": ("src", 0.1, 1000.0), "far": ("near", 0.3, 1000.0)}
    case = small_case(lines, ["near", "far"], [0, 0], [60, 30], [0, 0])
    served, _ = outcome(case, GreedyDOE())
    # a kW at the far end uses four times as much: the near one goes first, to its connection limit of 100 kW
    budget = 0.19 * 160 / 2 / 0.1
    assert 100 < budget < 200
    close(served, [60.0, (budget - 100) / 4])
    close(reach(case, GreedyDOE())["import"], [100.0, (budget - 100) / 4])
    close(reach(case, EqualDOE())["import"], [30.4, 30.4])


def test_greedy_shares_a_tie_equally() -> None:
    """One transformer: every split has the same total; equal limits, not equal flexible use."""
    case = one_transformer(30, [0.0, 2.0, 7.0], [40.0, 40.0, 40.0], [0.0] * 3)
    close(outcome(case, GreedyDOE())[0], [10.0, 8.0, 3.0])


def test_a_direction_without_requests_needs_no_envelope() -> None:
    case = one_transformer(30, [1.0, 2.0], [40.0, 40.0], [0.0, 0.0])
    for mechanism in (EqualDOE(), GreedyDOE()):
        assert list(reach(case, mechanism)) == ["import"]


def test_an_unlimited_connection_is_refused() -> None:
    case = small_case({"lv": ("src", 0.1, np.inf)}, ["lv"], [1.0], [5.0], [0.0], connection_import_kw=np.inf)
    for mechanism in (EqualDOE(), GreedyDOE()):
        with pytest.raises(ao.InputError, match="'p0' has no connection_import_kw"):
            ao.simulate(case, mechanism)


@pytest.mark.parametrize("seed", [1, 3])
@pytest.mark.parametrize(("start", "direction"), [(24, "export"), (44, "import")])
def test_greedy_limits_are_certified(seed: int, start: int, direction: str) -> None:
    """Non-negative multipliers of binding limits and bounds that balance the gradient prove them optimal.

    With curvature c, a residual of e leaves the limits within e / c of the optimum.
    """
    case = scarce(seed)
    grid, requests = grid_of(case), case.requests(start, start + 1).interval(0)
    bounds = grid.limits(requests)
    x = reach(case, GreedyDOE(enrolled="all"), start)[direction]
    base = -requests.inflexible_kw if direction == "import" else requests.inflexible_kw
    most = np.maximum(case.connection_kw(direction) + base, 0)
    curvature = TIE / np.mean(case.connection_kw(direction))
    gain = network_rows(grid)[DIRECTIONS.index(direction)]
    use = grid.quantities(requests, 0.0, 0.0) + gain @ x
    assert np.all(use <= bounds[1] + 2e-6)
    assert np.all(use >= bounds[0] - 2e-6)
    tight = np.concatenate([gain[use > bounds[1] - 2e-6], -gain[use < bounds[0] + 2e-6]])
    assert len(tight)
    eye = np.eye(grid.n)
    normals = np.concatenate([tight / np.abs(tight).max(axis=1, keepdims=True), eye[x > most - 1e-6], -eye[x < 1e-6]])
    _, residual = nnls(normals.T, 1 - curvature * (x - base), maxiter=10_000)
    assert residual / curvature < 5e-3
