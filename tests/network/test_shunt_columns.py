"""Columns of shunts and line charging: what they may hold, and what is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import amm_opt as ao
from amm_opt.network import Feeder
from tests.network.test_feeder import assert_said, changed, good_tables, problems_of

NAN = float("nan")
MATRIX = "0.3 | 0.1 0.3 | 0.1 0.1 0.3"


def on_phases(extra: dict[tuple[str, str, str], object] | None = None) -> dict[str, pd.DataFrame]:
    cells: dict[tuple[str, str, str], object] = {("buses", b, "phases"): "abc" for b in ("sub", "mv", "lv", "home")}
    cells |= {("branches", b, c): MATRIX for b in ("cable", "tr", "service") for c in ("r_ohm", "x_ohm")}
    return changed(cells | (extra or {}))


def test_shunts_of_balanced_buses_are_totals() -> None:
    cells: Any = {("buses", "lv", "shunt_kw"): 2.5, ("buses", "lv", "shunt_kvar"): "40"}
    feeder = Feeder.from_tables(**changed(cells | {("branches", "cable", "charging_kvar"): 12.0}))
    at = feeder.bus_index
    np.testing.assert_array_equal(feeder.shunt_kva[at["lv"]], [-2.5 + 40j, 0, 0])
    np.testing.assert_array_equal(feeder.charging_kvar[at["mv"]], [12, 0, 0])
    np.testing.assert_array_equal(feeder.injected_kva[:, 0], [6j, 6j, -2.5 + 40j, 0])
    assert feeder.graph.nodes["lv"]["shunt_kva"][0] == -2.5 + 40j
    assert feeder.graph.edges["sub", "mv"]["charging_kvar"][0] == 12.0


def test_shunts_on_phases_are_split_or_given_for_each() -> None:
    cells: Any = {("buses", "lv", "shunt_kvar"): "10 20 0", ("buses", "mv", "shunt_kvar"): 9}
    cells |= {("branches", "service", "phases"): "bc", ("branches", "service", "charging_kvar"): "1 3"}
    cells |= {("branches", "service", c): "0.3 | 0.1 0.3" for c in ("r_ohm", "x_ohm")}
    cells |= {("buses", "home", "phases"): "bc", ("buses", "home", "shunt_kw"): "4 6"}
    feeder = Feeder.from_tables(**on_phases(cells))
    np.testing.assert_array_equal(
        feeder.injected_kva, [[0, 0, 0], [3j, 3j, 3j], [10j, 20.5j, 1.5j], [0, -4 + 0.5j, -6 + 1.5j]]
    )
    kept = feeder.select(np.array([True, True, True, False]))
    np.testing.assert_array_equal(kept.injected_kva, [[0, 0, 0], [3j, 3j, 3j], [10j, 20j, 0]])
    np.testing.assert_array_equal(feeder.with_limits(capacity_scale=2.0).injected_kva, feeder.injected_kva)


@pytest.mark.parametrize("value", [NAN, None, 0, 0.0])
def test_no_shunt(value: object) -> None:
    tables = good_tables()
    tables["buses"]["shunt_kvar"] = value
    tables["branches"]["charging_kvar"] = value
    assert not Feeder.from_tables(**tables).injected_kva.any()


@pytest.mark.parametrize("value", ["much", "1 2", float("inf"), "1 nan 2", "-inf"])
def test_what_is_no_shunt_is_named(value: object) -> None:
    for table, element, column in (
        ("buses", "lv", "shunt_kw"),
        ("buses", "lv", "shunt_kvar"),
        ("branches", "tr", "charging_kvar"),
    ):
        assert_said(problems_of(on_phases({(table, element, column): value})), element, column, "one number per phase")


def test_a_shunt_on_a_phase_that_nothing_feeds_is_refused() -> None:
    cells: dict[tuple[str, str, str], object] = {("branches", "service", "phases"): "a"}
    cells |= {("branches", "service", c): 0.3 for c in ("r_ohm", "x_ohm")}
    Feeder.from_tables(**on_phases({**cells, ("buses", "home", "shunt_kvar"): "5 0 0"}))
    problems = problems_of(on_phases({**cells, ("buses", "home", "shunt_kvar"): "5 7 0"}))
    assert_said(problems, "home", "phase b", "only a arrives")


def test_shunts_survive_a_case_folder(tmp_path: Path) -> None:
    cells: dict[tuple[str, str, str], object] = {("buses", "lv", "shunt_kvar"): "10.5 20 0"}
    cells |= {("buses", "mv", "shunt_kvar"): 7, ("buses", "lv", "shunt_kw"): 0.3}
    tables = on_phases(cells | {("branches", "cable", "charging_kvar"): 12.0})
    case = ao.from_tables(
        name="shunts",
        **tables,
        participants=pd.DataFrame({"name": ["p"], "bus": ["home"], "phases": ["a"]}),
        profiles=pd.DataFrame({"time": pd.date_range("2030-01-01", periods=2, freq="30min"), "one": 1.0}),
        series=pd.DataFrame({"participant": ["p"], "quantity": ["import"], "profile": ["one"], "scale_kw": [1.0]}),
    )
    again = ao.load_case(ao.save_case(case, tmp_path / "stored"))
    np.testing.assert_array_equal(again.feeder.shunt_kva, case.feeder.shunt_kva)
    np.testing.assert_array_equal(again.feeder.charging_kvar, case.feeder.charging_kvar)
    assert again.fingerprint == case.fingerprint
    assert case.feeder.injected_kva.any()
