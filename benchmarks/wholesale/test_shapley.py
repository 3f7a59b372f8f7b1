"""Exact Shapley values of ten groups of plants of IEEE 118 in one interval, 1,024 sets.

``every_limit`` is the rival: HiGHS on one program with every limit as a row over all powers, bounds changed in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import highspy
import numpy as np
import pytest

import amm_opt as ao
from amm_opt.grid import Grid

SCENARIOS: dict[str, dict[str, float]] = {"as shipped": {}, "scarce": {"import_scale": 2.0, "capacity_scale": 0.4}}


def _game(scenario: str, network: str) -> ao.NetworkGame:
    case = ao.load_case("ieee118").with_scenario(**SCENARIOS[scenario])
    return ao.NetworkGame(case, 0, _players(case), network=ao.DCFlow(case.feeder) if network == "dc" else network)


def _players(case: ao.Case) -> dict[str, list[str]]:
    plants = [name for name, owns in zip(case.participant_names, case.owns("export"), strict=True) if owns]
    return {f"group {k}": plants[k::10] for k in range(10)}


def _every_limit(scenario: str) -> tuple[Callable[[frozenset[str]], float], list[str]]:
    case = ao.load_case("ieee118").with_scenario(**SCENARIOS[scenario])
    grid, requests = Grid(case, ao.DCFlow(case.feeder)), case.requests(0, 1).interval(0)
    n, groups, place = case.n_participants, _players(case), {p: k for k, p in enumerate(case.participant_names)}
    lower, upper = grid.limits(requests)
    change = np.concatenate(list(grid.sensitivity(np.arange(len(lower)))), axis=1)
    balance = np.repeat([1.0, -1.0], n)
    rows, most = np.vstack([change, balance]), requests.both_kw.ravel()
    model = highspy.Highs()
    model.setOptionValue("output_flag", False)
    for name, value in {"threads": 1, "presolve": "off"}.items():
        model.setOptionValue(name, value)
    model.addVars(2 * n, np.zeros(2 * n), most)
    model.changeColsCost(n, np.arange(n, dtype=np.int32), np.ones(n))
    model.changeObjectiveSense(highspy.ObjSense.kMaximize)
    starts = np.arange(len(rows), dtype=np.int32) * (2 * n)
    columns = np.tile(np.arange(2 * n, dtype=np.int32), len(rows))
    model.addRows(len(rows), np.append(lower, 0), np.append(upper, 0), rows.size, starts, columns, rows.ravel())

    def served(here: frozenset[str]) -> float:
        for group, names in groups.items():
            where = np.array([n + place[p] for p in names], dtype=np.int32)
            model.changeColsBounds(len(where), where, 0.0 * where, most[where] if group in here else 0.0 * where)
        model.run()
        return float(model.getInfo().objective_function_value)

    return served, list(groups)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("way", ["dc", "transport", "every_limit"])
def test_exact_values(benchmark: Any, scenario: str, way: str) -> None:
    benchmark.group = f"Shapley values, ten players, ieee118 {scenario}"

    def setup() -> tuple[tuple[Any, Any], dict[str, Any]]:
        if way == "every_limit":
            return _every_limit(scenario), {}
        game = _game(scenario, way)
        return (game, game.players), {}

    found = benchmark.pedantic(ao.shapley, setup=setup, rounds=3)
    if way == "dc":
        np.testing.assert_allclose(found.value, ao.shapley(*_every_limit(scenario)).value, rtol=1e-5)
