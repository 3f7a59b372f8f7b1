"""The search for directions of batteries, against a mixed-integer program over all of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp
from small import one_transformer

import amm_opt as ao
from amm_opt.cases import Case
from amm_opt.market import storage
from tests.mechanisms.test_storage import DT, contents


def levels_by_branching(case: Case) -> np.ndarray:
    """The lower and the sum of both levels of the whole run, by a mixed-integer program over all directions (HiGHS).

    One group behind one transformer. Variables: shares of import and export in each interval; charging, discharging
    and its direction for each battery and interval; the lower level.
    """
    w, b = case.requests(0, case.n_steps), case.batteries
    steps, m, rating = w.n_steps, len(b), float(case.feeder.rating_kva[1])
    wanted = np.array([w.import_request_kw.sum(axis=1), w.export_request_kw.sum(axis=1)])
    asked = wanted.sum(axis=1)
    size = 2 * steps + 3 * steps * m + 1
    share, of_battery = (
        np.arange(2 * steps).reshape(2, steps),
        2 * steps + np.arange(3 * steps * m).reshape(3, steps, m),
    )
    rows, low, high = [], [], []

    def row(entries: dict[int, float], least: float, most: float) -> None:
        rows.append(np.bincount(list(entries), list(entries.values()), size))
        low.append(least)
        high.append(most)

    for k in range(steps):
        flow = {share[0, k]: wanted[0, k], share[1, k]: -wanted[1, k]}
        flow |= dict.fromkeys(of_battery[0, k], 1.0) | dict.fromkeys(of_battery[1, k], -1.0)
        row(flow, -rating - w.inflexible_kw[k].sum(), rating - w.inflexible_kw[k].sum())
        for j in range(m):
            charge, discharge, way = of_battery[:, k, j]
            row({charge: 1.0, way: -b.power_kw[j]}, -np.inf, 0.0)
            row({discharge: 1.0, way: b.power_kw[j]}, -np.inf, b.power_kw[j])
            so_far = dict.fromkeys(of_battery[0, : k + 1, j], DT * b.efficiency[j])
            so_far |= dict.fromkeys(of_battery[1, : k + 1, j], -DT / b.efficiency[j])
            row(so_far, -b.initial_kwh[j], b.size_kwh[j] - b.initial_kwh[j])
    some = np.flatnonzero(asked > 0)
    level = [dict(zip(share[d], wanted[d] / asked[d], strict=True)) for d in some]
    for one in level:
        row(one | {size - 1: -1.0}, 0.0, np.inf)
    upper = np.ones(size)
    upper[of_battery[:2]] = b.power_kw
    whole = np.zeros(size)
    whole[of_battery[2]] = 1.0
    total = sum(np.bincount(list(one), list(one.values()), size) for one in level)
    found, least = [], 0.0
    for gain in (np.eye(size)[-1], total):
        lower = np.append(np.zeros(size - 1), least)
        done = milp(
            -gain,
            integrality=whole,
            bounds=Bounds(lower, upper),
            constraints=LinearConstraint(np.array(rows), low, high),
            options={"mip_rel_gap": 0.0},
        )
        assert done.success
        found.append(-done.fun)
        least = found[0] - 1e-9
    return np.array(found)


def wasteful(seed: int) -> Case:
    """A few intervals with more sun than a transformer carries, and a lossy battery or two that are nearly full."""
    rng = np.random.default_rng(seed)
    steps, owners = int(rng.integers(2, 5)), int(rng.integers(1, 3))
    imports, exports = (rng.uniform(0, 10, (steps, owners)).round(1) * (rng.random((steps, 1)) < p) for p in (0.4, 0.8))
    return one_transformer(
        5.0,
        rng.uniform(0, 1, (steps, owners)).round(1),
        imports,
        exports,
        battery_kwh=rng.uniform(1, 8, owners).round(1),
        battery_kw=rng.uniform(1, 5, owners).round(1),
        battery_efficiency=rng.uniform(0.5, 0.95, owners).round(2),
        battery_initial=rng.uniform(0.6, 1.0, owners).round(2),
    )


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4, 14, 28, 45, 46, 51])
def test_the_best_directions_of_all(seed: int) -> None:
    """Both levels are what a mixed-integer program over all directions finds; no battery burns energy for it."""
    case = wasteful(seed)
    run = ao.simulate(case, "fot_storage:window=all")
    w, a = run.requests, run.allocation
    pairs = [(w.import_request_kw, a.import_kw), (w.export_request_kw, a.export_kw)]
    levels = [given.sum() / asked.sum() for asked, given in pairs if asked.sum() > 0]
    np.testing.assert_allclose([min(levels), sum(levels)], levels_by_branching(case), atol=2e-5)
    if a.battery_kw is not None:
        kwh = contents(case, run)
        assert np.all((kwh >= -1e-6) & (kwh <= case.batteries.size_kwh + 1e-6))


def test_a_full_battery_makes_room_for_later() -> None:
    """5 kVA, sun of 5 and 8 kW: discharging 1.92 kW at first leaves room to charge 3 kW when there is more."""
    battery = {"battery_kwh": 8.0, "battery_kw": 4.0, "battery_efficiency": 0.8, "battery_initial": 1.0}
    run = ao.simulate(one_transformer(5.0, [[0.0]] * 2, [[0.0]] * 2, [[5.0], [8.0]], **battery), "fot_storage:window=2")
    np.testing.assert_allclose(run.allocation.export_kw[:, 0], [3.08, 8.0], atol=1e-4)
    np.testing.assert_allclose(run.allocation.battery_kw, [[1.92], [-3.0]], atol=1e-4)


def test_a_search_that_is_cut_short_still_keeps_its_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any search the first plan stands: it burns nothing, and is at most as good as the best."""
    case = wasteful(28)
    best = ao.simulate(case, "fot_storage:window=all")
    monkeypatch.setattr(storage, "WORK", 0)
    first = ao.simulate(case, "fot_storage:window=all")
    lowest = [run.allocation.export_kw.sum() / run.requests.export_request_kw.sum() for run in (first, best)]
    assert lowest[0] < lowest[1] - 0.03
    assert np.all(contents(case, first) >= -1e-6)
    assert first.summary["thermal_violations"] == 0
