"""Leximin against brute force: linear programs by scipy with every limit, one per level and stage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog
from small import difference, first_interval, grid_of, linear_limits, mixed_case, one_transformer, shuffled, small_case

import amm_opt as ao
from amm_opt.arrays import FloatArray
from amm_opt.cases import Case
from amm_opt.solve.answer import NoAnswerError
from amm_opt.solve.backends.dispatch import Backends
from formulations import AlphaFair, Leximin

SEEDS = range(6)
TIGHT = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10, "presolve": False}


def served(case: Case, mechanism: ao.Mechanism, **kw: object) -> FloatArray:
    """(2n,) served import, then accepted export, in the first interval."""
    run = ao.simulate(case, mechanism, steps=1, **kw)  # type: ignore[arg-type]
    assert not run.failed_steps
    return np.concatenate([run.allocation.import_kw[0], run.allocation.export_kw[0]])


def brute_force(matrix: FloatArray, bound: FloatArray, request: FloatArray, share: FloatArray) -> FloatArray:
    """Leximin of share @ x over matrix @ x <= bound, 0 <= x <= request.

    Stages: the largest t that all open levels reach; then every open level alone is raised as far as possible while
    the others stay at t, and those that cannot rise are closed.
    """
    count = len(share)
    final, open_levels = np.zeros(count), np.ones(count, dtype=bool)
    limits = np.column_stack([np.zeros(len(request)), request])
    while open_levels.any():
        # variables x, t
        rows = np.hstack([-share, open_levels[:, None].astype(float)])
        stage = linprog(
            [*np.zeros(len(request)), -1.0],
            A_ub=np.vstack([np.hstack([matrix, np.zeros((len(matrix), 1))]), rows]),
            b_ub=np.concatenate([bound, np.where(open_levels, 0.0, -final + 1e-9)]),
            bounds=[*limits, (None, None)],
            options=TIGHT,
        )
        assert stage.status == 0
        t = -stage.fun
        floor = np.where(open_levels, t, final) - 1e-9
        closed = []
        for i in np.flatnonzero(open_levels):
            rows, most = np.vstack([matrix, -share]), np.append(bound, -floor)
            alone = linprog(-share[i], A_ub=rows, b_ub=most, bounds=limits, options=TIGHT)
            assert alone.status == 0
            if -alone.fun < t + 1e-6:
                closed.append(i)
        assert closed
        final[closed] = t
        open_levels[closed] = False
    return final


def participants(request: FloatArray) -> FloatArray:
    """Levels of those who ask, as a matrix over (x, y)."""
    asked = np.flatnonzero(request > 0)
    return np.eye(len(request))[asked] / request[asked][:, None]


def feeders(seed: int) -> Case:
    """Three LV feeders with two buses each: transformers and voltages bind, exports of some beside imports.

    Upper branches have no resistance, so that a voltage limit of one feeder does not hold the others back.
    """
    rng = np.random.default_rng(seed)
    lines: dict[str, tuple[str, float, float]] = {"mv": ("src", 0.0, rng.uniform(90, 130))}
    feeder, people = {}, []
    for f in "ABC":
        lines[f"{f}0"] = ("mv", 0.0, rng.uniform(25, 60))
        lines[f"{f}1"] = (f"{f}0", rng.uniform(0.5, 1.2), 100.0)
        feeder |= {f"{f}0": f, f"{f}1": f}
        people += [f"{f}{i}" for i in (0, 0, 1, 1)]
    powers = rng.uniform(0, 2, 12), rng.uniform(5, 30, 12), rng.uniform(5, 25, 12) * (rng.random(12) < 0.2)
    return small_case(lines, people, *powers, feeder=feeder, x_ohm=0.01)


@pytest.mark.parametrize("solver", [None, "clarabel", "highs"])
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("make", [mixed_case, feeders])
def test_against_brute_force(make: Callable[[int], Case], seed: int, solver: str | None) -> None:
    case = make(seed)
    matrix, bound, request = linear_limits(case)
    asked = request > 0
    expected = brute_force(matrix, bound, request, participants(request))
    found = served(case, Leximin(), solver=solver)
    np.testing.assert_allclose((found / np.where(asked, request, 1))[asked], expected, atol=2e-5)
    np.testing.assert_allclose(found[~asked], 0.0, atol=1e-9)


def test_the_cases_have_many_levels_and_both_directions() -> None:
    """Else the test above would show little."""
    levels, both = [], 0
    for seed in SEEDS:
        matrix, bound, request = linear_limits(feeders(seed))
        found = brute_force(matrix, bound, request, participants(request))
        levels.append(len(set(np.round(found, 3))))
        both += len(found) > 12
    assert np.mean(levels) >= 4
    assert both >= len(SEEDS) - 1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_levels_of_feeders_against_brute_force(seed: int) -> None:
    case = feeders(seed)
    matrix, bound, request = linear_limits(case)
    group = np.concatenate([case.lv_feeder, 3 + case.lv_feeder])
    share = np.stack([(group == g) * 1.0 for g in range(6)])
    asked = share @ request > 0
    share = share[asked] / (share @ request)[asked][:, None]
    expected = brute_force(matrix, bound, request, share)
    found = served(case, Leximin(per="feeder"))
    assert len(set(np.round(expected, 3))) >= 2
    assert np.all(share @ found > expected - 1e-5)
    # and then the most throughput: the linear optimum up to the tie-break
    best = linprog(
        -np.ones(len(request)),
        A_ub=np.vstack([matrix, -share]),
        b_ub=np.append(bound, 1e-6 - expected),
        bounds=np.column_stack([0 * request, request]),
    )
    assert best.status == 0
    assert -best.fun * (1 - 1e-3) < found.sum() < -best.fun + 1e-3
    # participants of one feeder may differ: that is what makes it another mechanism
    assert np.abs(found - served(case, Leximin())).max() > 0.5


def test_large_alpha_approaches_leximin() -> None:
    for seed in (1, 3, 5, 12):
        case = mixed_case(seed)
        target = served(case, Leximin())
        gaps = [np.abs(served(case, AlphaFair(alpha=a)) - target).max() for a in (0.0, 1.0, 4.0, 16.0)]
        assert gaps[0] > 1.0
        assert np.all(np.diff(gaps) < 1e-6)
        assert gaps[-1] < 0.5 * gaps[0]


def test_one_bottleneck_gives_everyone_the_same_ratio() -> None:
    case = one_transformer(30, [0.0] * 4, [40.0, 10.0, 6.0, 4.0], [0.0] * 4)
    np.testing.assert_allclose(served(case, Leximin())[:4], [20.0, 5.0, 3.0, 2.0], atol=1e-6)


def test_import_makes_room_for_export() -> None:
    """40 kW of exports behind 10 kVA beside 20 kW of imports: 30 are hosted, not 10."""
    case = one_transformer(10, [0.0] * 4, [15.0, 5.0, 0.0, 0.0], [0.0, 0.0, 20.0, 20.0])
    np.testing.assert_allclose(served(case, Leximin()), [15, 5, 0, 0, 0, 0, 15, 15], atol=1e-5)


def test_a_dead_end_drags_nobody_down() -> None:
    lines = {"main": ("src", 1e-4, 30.0), "dead": ("main", 1e-4, 5.0)}
    case = small_case(lines, ["main", "main", "dead"], [0, 0, 6], [30, 18, 9], [0] * 3)
    for per in ("participant", "feeder"):
        found = served(case, Leximin(per=per))[:3]
        assert found[2] == pytest.approx(0.0, abs=1e-4)
        assert found.sum() == pytest.approx(24.0, abs=1e-3)
    np.testing.assert_allclose(served(case, Leximin())[:3], [15.0, 9.0, 0.0], atol=1e-4)


def test_water_filling_is_the_usual_way_and_stages_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where imports relieve the limits of exports; without water filling the stages take over."""
    case, span = ao.load_case("mv33lv:scenario=private"), slice("2016-05-28 12:30", "2016-05-28 13:00")
    usual = ao.simulate(case, Leximin(), steps=span)
    assert usual.solver == "water_filling"
    both = (usual.requests.import_request_kw > 0).any(axis=1) & (usual.requests.export_request_kw > 0).any(axis=1)
    cut = (usual.requests.export_request_kw - usual.allocation.export_kw).sum(axis=1) > 1
    assert np.any(both & cut)
    true_solve = Backends.solve

    def solve(backends: Backends, problem: Any, solver: Any, start: Any, *rest: Any) -> Any:
        if solver == "WATER_FILLING":
            raise NoAnswerError("out of order")
        return true_solve(backends, problem, solver, start, *rest)

    monkeypatch.setattr(Backends, "solve", solve)
    stages = ao.simulate(case, Leximin(), steps=span)
    assert stages.solver == "clarabel"
    assert not stages.fallback_steps
    assert difference(usual, stages) < 1e-4


def test_units_and_order_do_not_matter_per_feeder() -> None:
    case = feeders(2)
    other = shuffled(case, seed=5)
    position = [other.participant_names.index(name) for name in case.participant_names]
    a, b = (ao.simulate(c, Leximin(per="feeder")) for c in (case, other))
    assert difference(a, b, position) < 1e-4
    assert grid_of(case).n == first_interval(case).inflexible_kw.size


def test_unknown_levels_are_refused() -> None:
    with pytest.raises(ao.InputError, match="per = 'bus'; valid choices: participant, feeder"):
        Leximin(per="bus")
