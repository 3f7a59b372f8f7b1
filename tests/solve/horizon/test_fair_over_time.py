"""Fairness over time: against one plain cvxpy problem, by hand, and what more foresight promises."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from small import difference, one_transformer, small_case

import amm_opt as ao
from amm_opt.cases import Case, Requests
from amm_opt.grid import Grid
from amm_opt.network.default import default_model
from amm_opt.testing.cases import small_case as phases_or_not
from formulations import AMM, FairEachTime, FairOverTime, FairUsingHistory

SPAN = slice(70, 96)


@lru_cache
def scarce() -> Case:
    return ao.load_case("synthetic:buses=130,days=2,seed=3").with_scenario(import_scale=2.5)


def on_phases() -> Case:
    return phases_or_not(balanced=False)


def worst_ratio(run: ao.Run, members: np.ndarray) -> float:
    """Lowest served ratio of a group over the run, both directions."""
    w, a = run.requests, run.allocation
    ratios = []
    for x, r in ((a.import_kw, w.import_request_kw), (a.export_kw, w.export_request_kw)):
        served, asked = members @ x.sum(axis=0), members @ r.sum(axis=0)
        ratios.append(np.min(served[asked > 1e-9] / asked[asked > 1e-9], initial=1.0))
    return float(min(ratios))


def groups(case: Case, per: str) -> np.ndarray:
    if per == "participant":
        return np.eye(case.n_participants)
    return case.groups("feeder").members.toarray()


def given_up(lost: Any, levels: np.ndarray, requests: Requests, give: float) -> Any:
    """What it costs in kWh that levels are lower by ``lost``."""
    asked = requests.both_kw.sum(axis=(1, 2)) * requests.dt_h
    return sum(asked[d] * (lost[d] + lost[d] ** 2 / (2 * give * levels[d])) for d in (0, 1) if give * levels[d] > 0)


def directly(case: Case, requests: Requests, per: str, inside: str, give: float) -> tuple[np.ndarray, float]:
    """FOT's levels and what its service is worth by one cvxpy problem with every network row of every interval."""
    grid, members = Grid(case, default_model(case.feeder)(case.feeder)), groups(case, per)
    nothing, each = requests.select(slice(0, 1)).interval(0), np.eye(case.n_participants)
    alone = [grid.quantities(nothing, *powers) for powers in ((each, 0 * each), (0 * each, each))]
    by_import, by_export = ((u - grid.quantities(nothing, 0.0, 0.0)).T for u in alone)
    both = (requests.import_request_kw, requests.export_request_kw)
    tied = members.T if inside == "proportional" else np.eye(case.n_participants)
    share = [cp.Variable((requests.n_steps, tied.shape[1])) for _ in both]
    level = cp.Variable(2)
    limits = [level <= 1]
    worth: Any = 0.0
    for d, (a, r) in enumerate(zip(share, both, strict=True)):
        served = cp.multiply(a @ tied.T, r)
        total = members @ cp.sum(served, axis=0) * requests.dt_h
        asked = (members @ r.sum(axis=0)) * requests.dt_h
        limits += [a >= 0, a <= 1, total >= level[d] * asked]
        short = cp.sum_squares(cp.multiply(np.sqrt(r), 1 - a @ tied.T))
        worth += requests.dt_h * (cp.sum(served) - 0.05 * short)
    for k in range(requests.n_steps):
        one = requests.interval(k)
        lower, upper = grid.limits(one)
        use = grid.quantities(one, 0.0, 0.0)
        for rows, a, r in zip(
            (by_import, by_export), share, (one.import_request_kw, one.export_request_kw), strict=True
        ):
            use = use + (rows * r) @ tied @ a[k]
        limits += [use <= upper, use >= lower]

    def best(value: Any, more: list[Any]) -> float:
        problem = cp.Problem(cp.Maximize(value), [*limits, *more])
        problem.solve(solver="HIGHS" if value.is_pwl() else "CLARABEL")
        assert problem.status == cp.OPTIMAL
        return float(problem.value)

    lowest = best(cp.min(level), [])
    held = [level >= lowest - 1e-9]
    highest = [best(level[d], held) for d in (0, 1)]
    levels = np.empty(2)
    levels[np.argsort(highest)] = [lowest, max(highest)]
    price = given_up(levels - level, levels, requests, give)
    return levels, best(worth - price, [level >= (1 - give) * levels - 1e-6, level <= levels - 1e-6])


READINGS = [("feeder", "free"), ("feeder", "proportional"), ("participant", "free")]


@pytest.mark.parametrize(("per", "inside"), READINGS)
@pytest.mark.parametrize(
    ("case", "steps", "give"),
    [(scarce(), slice(72, 80), 0.0), (scarce(), slice(72, 80), 0.02), (on_phases(), slice(0, 8), 0.02)],
    ids=["strict", "2 %", "phases"],
)
def test_against_one_problem_with_every_row(case: Case, steps: slice, per: str, inside: str, give: float) -> None:
    """Both stages: the levels, and what the service is worth; on a balanced feeder and on one with phases."""
    run = ao.simulate(case, FairOverTime(per=per, inside=inside, give=give, window="all"), steps=steps)
    levels, worth = directly(case, run.requests, per, inside, give)
    assert levels.min() < 0.97
    assert worst_ratio(run, groups(case, per)) >= (1 - give) * levels.min() - 5e-6
    if not give:
        assert worst_ratio(run, groups(case, per)) == pytest.approx(levels.min(), abs=5e-6)
    reached, lost = 0.0, np.zeros(2)
    for d, (x, r) in enumerate(zip(run.allocation.both_kw, run.requests.both_kw, strict=True)):
        some = r > 0
        reached += run.requests.dt_h * np.sum(x[some] - 0.05 * (r - x)[some] ** 2 / r[some])
        served, asked = groups(case, per) @ x.sum(axis=0), groups(case, per) @ r.sum(axis=0)
        lost[d] = max(0.0, np.max(levels[d] - (served / np.maximum(asked, 1e-9))[asked > 0], initial=0.0))
    assert reached - given_up(lost, levels, run.requests, give) == pytest.approx(worth, rel=5e-6)


@pytest.mark.parametrize(("per", "inside"), READINGS)
def test_more_foresight_is_fairer(per: str, inside: str) -> None:
    """With perfect forecasts the worst ratio of FOT over the whole run is at least that of FUH and FET.

    With participants free, it is at least that of any feasible service.
    """
    case, how = scarce(), {"per": per, "inside": inside, "give": 0.0}
    members = groups(case, per)
    worst = {
        str(m): worst_ratio(ao.simulate(case, m, steps=SPAN), members)
        for m in (
            FairOverTime(**how, window="all"),
            FairUsingHistory(**how, window="4h"),
            FairOverTime(**how, window="4h"),
            FairEachTime(**how),
            *([AMM()] if inside == "free" else []),
        )
    }
    best, *others = worst.values()
    assert all(best >= other - 3e-6 for other in others), worst


@pytest.mark.parametrize(
    ("how", "served_kw"),
    [
        # a tied to b gets 2 of 8, so that both have a quarter; c has the rest
        ({"inside": "proportional", "give": 0.0}, [2.0, 1.0, 7.0]),
        # b makes up for a: 12 and 10 kW are asked for and 10 are there
        ({"inside": "free", "give": 0.0}, [2.0, 12 * 10 / 22 - 2, 10 * 10 / 22]),
        # a lower level would buy nothing
        ({"inside": "free", "give": 0.02}, [2.0, 12 * 10 / 22 - 2, 10 * 10 / 22]),
    ],
)
def test_free_and_proportional_by_hand(how: dict[str, Any], served_kw: list[float]) -> None:
    """10 kW for a and b in one LV feeder, a behind a cable of 2 kW, and c in another."""
    lines = {
        "trunk": ("src", 1e-4, 10.0),
        "one": ("trunk", 1e-4, 99.0),
        "cable": ("one", 1e-4, 2.0),
        "two": ("trunk", 1e-4, 99.0),
    }
    feeder = {"one": "F1", "cable": "F1", "two": "F2"}
    case = small_case(lines, ["cable", "one", "two"], 0.0, [[8, 4, 10]], [[0, 0, 0]], feeder=feeder)
    run = ao.simulate(case, FairEachTime(**how))
    np.testing.assert_allclose(run.allocation.import_kw[0], served_kw, atol=2e-4)


@pytest.mark.parametrize(
    ("give", "served_kw"),
    # near + 5 far <= 30: both at one half. A level lower by 0.01 gives 0.1 kW away and takes 0.5 kW, which is 0.4 kW
    # more, two per cent of 20 kW: worth it as far as it may go
    [(0.0, [5.0, 5.0]), (0.02, [5.5, 4.9]), (0.04, [6.0, 4.8])],
)
def test_what_is_given_up_by_hand(give: float, served_kw: list[float]) -> None:
    """The voltage of the second of two LV feeders drops by five times as much for its own kW as for the other's."""
    r = (1 - 0.9**2) * 0.4**2 / 2e-3 / 30  # ohm: 2 r P / V^2 is the whole band at 30 kW
    lines = {"near": ("src", r, 999.0), "far": ("near", 4 * r, 999.0)}
    case = small_case(lines, ["near", "far"], 0.0, [[10, 10]], [[0, 0]], feeder={"near": "F1", "far": "F2"})
    run = ao.simulate(case, FairEachTime(give=give))
    np.testing.assert_allclose(run.allocation.import_kw[0], served_kw, atol=2e-3)


def test_history_is_used() -> None:
    """Two households, one transformer: who got less in the first window gets more in the second."""
    imports = [[10, 2], [10, 10], [2, 2]]
    case = one_transformer(8.0, 0.0, imports, np.zeros((3, 2)))
    how = {"per": "participant", "window": "1", "give": 0.0}
    fot = ao.simulate(case, FairOverTime(**how), steps=slice(0, 2)).allocation.import_kw
    fuh = ao.simulate(case, FairUsingHistory(**how), steps=slice(0, 2)).allocation.import_kw
    np.testing.assert_allclose(fot, [[8 * 10 / 12, 8 * 2 / 12], [4, 4]], atol=1e-4)
    # both had 2/3 before: 20/3 of 10 and 4/3 of 2; now (20/3 + x) / 20 = (4/3 + 8 - x) / 12
    x = (20 * (4 / 3 + 8) - 12 * 20 / 3) / 32
    np.testing.assert_allclose(fuh[1], [x, 8 - x], atol=1e-4)
    assert x == pytest.approx(10 / 3)


def test_limits_of_the_family() -> None:
    """One window over everything makes FUH the same as FOT; windows of one interval make FOT the same as FET.

    A group of one participant has nothing to share.
    """
    case = scarce()
    pairs = (
        (FairUsingHistory(window="all"), FairOverTime(window="all")),
        (FairOverTime(window="1"), FairEachTime()),
        (FairOverTime(window="30min", per="participant"), FairEachTime(per="participant")),
        (FairUsingHistory(window="all", inside="proportional"), FairOverTime(window="all", inside="proportional")),
        (FairOverTime(per="participant"), FairOverTime(per="participant", inside="proportional")),
    )
    for one, other in pairs:
        a, b = (ao.simulate(case, m, steps=SPAN) for m in (one, other))
        assert difference(a, b) < 1e-5
