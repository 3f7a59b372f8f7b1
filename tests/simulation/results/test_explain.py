"""Which limits stand behind what was lost: by hand, and multipliers against runs with a little more of a limit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small import TRACE, small_case

import amm_opt as ao
from amm_opt.cases import Case
from amm_opt.simulation.explanation import explain
from amm_opt.testing import cases

BOUND = "alpha_fair:alpha=0"
MORE = 0.02
"""kVA or kW by which a limit is raised."""


def served_mwh(case: Case) -> float:
    s = ao.simulate(case, BOUND).summary
    asked = s["requested_import_mwh"] + s["requested_export_mwh"]
    return float(asked - s["unserved_mwh"] - s["curtailed_mwh"])


def two_feeders() -> Case:
    """Feeders A (10 kVA) and B (20 kVA) behind 25 kVA; import at 0 h, export at 0:30 h."""
    lines = {"mv": ("src", TRACE, 25.0), "a": ("mv", TRACE, 10.0), "b": ("mv", TRACE, 20.0)}
    imports, exports = [[8, 6, 12, 2], [0] * 4], [[0] * 4, [16, 0, 0, 0]]
    return small_case(lines, ["a", "a", "b", "b"], [0] * 4, imports, exports, feeder={"a": "A", "b": "B"})


def test_by_hand() -> None:
    """A asks for 14 of 10 kW and B for 14 of 20: 28 of 25 asked, 24 served. Then A has 16 kW of export for 10."""
    run = ao.simulate(two_feeders(), "amm")
    t = run.explain().set_index(["limit", "direction"])
    assert set(t.index) == {("to-a", "import"), ("to-a", "export"), ("to-mv", "import")}
    assert (t.loc[("to-mv", "import"), ["intervals", "asked_intervals", "worth_mwh", "feeders"]] == [0, 1, 0, 0]).all()
    drawn = t.loc["to-a", "import"]
    assert (drawn["intervals"], drawn["asked_intervals"], drawn["hours"], drawn["kind"]) == (1, 1, "00-01", "thermal")
    assert drawn["unserved_mwh"] == pytest.approx(4 * 0.5 / 1000, rel=1e-4)
    assert drawn["curtailed_mwh"] == 0
    assert drawn["worth_mwh"] == pytest.approx(0.5 / 1000, rel=1e-6)
    assert drawn["worth_per"] == "kVA"
    assert (drawn["feeders"], drawn["shared"]) == (1, False)
    assert [name for name, _ in drawn["most_affected"]] == ["p0", "p1"]
    assert t.loc[("to-a", "export"), "curtailed_mwh"] == pytest.approx(6 * 0.5 / 1000, rel=1e-4)


def test_binding_limits_by_hand() -> None:
    """As above: the line to A binds for half an hour in each direction; a kVA more of it is worth half a kWh."""
    table = ao.simulate(two_feeders(), "amm").binding()
    rows = table[["limit", "kind", "hours", "per", "feeders"]].to_numpy().tolist()
    assert rows == [["to-a", "thermal", 0.5, "kVA", 1]] * 2
    assert table["multiplier"].to_list() == pytest.approx([0.5 / 1000] * 2, rel=1e-6)
    by = table.set_index("direction")
    assert by["hours_of_day"].to_dict() == {"import": "00-01", "export": "00-01"}
    assert [name for name, _ in by.loc["import", "most_affected"]] == ["p0", "p1"]
    assert [name for name, _ in by.loc["export", "most_affected_feeders"]] == ["A"]


def test_a_shared_limit() -> None:
    """10 of A and 14 of B behind 20 kVA: 4 kW are lost at the head, 4 more of A at its own line."""
    case = two_feeders().with_scenario(limits={"to-mv": 20.0})
    run = ao.simulate(case, "leximin")
    t = run.explain().set_index(["limit", "direction"])
    head = t.loc["to-mv", "import"]
    assert (head["feeders"], head["shared"]) == (2, True)
    assert head["worth_mwh"] == pytest.approx(0.5 / 1000, rel=1e-6)
    assert head["unserved_mwh"] == pytest.approx(run.summary["unserved_mwh"], rel=1e-3)
    assert {name for name, _ in head["most_affected_feeders"]} == {"A", "B"}


@pytest.mark.parametrize("balanced", [True, False])
def test_a_rating_is_worth_what_a_little_more_of_it_serves(balanced: bool) -> None:
    case = cases.small_case(balanced)
    t = ao.simulate(case, BOUND).explain()
    thermal = t[t["kind"] == "thermal"].groupby("limit")["worth_mwh"].sum()
    assert len(thermal) == 3
    assert (thermal > 1e-3).any()
    before, feeder = served_mwh(case), case.feeder
    for name, worth in thermal.items():
        rating = feeder.rating_kva[feeder.branch_names.index(str(name))]
        gained = served_mwh(case.with_scenario(limits={str(name): rating + MORE})) - before
        assert worth == pytest.approx(gained / MORE, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("balanced", [True, False])
def test_a_band_is_worth_what_a_little_more_of_it_serves(balanced: bool) -> None:
    tables = cases.small_tables(balanced)
    case = ao.from_tables(**tables)
    t = ao.simulate(case, BOUND).explain()
    wide = t[(t["kind"] == "voltage") & (t["worth_mwh"] > 0)]
    assert len(wide) == (1 if balanced else 2)
    for _, row in wide.iterrows():
        buses = tables["buses"].copy()
        column, sign = ("v_min_pu", -1.0) if row["direction"] == "import" else ("v_max_pu", 1.0)
        buses.loc[buses["name"] == row["limit"], column] += sign * 1e-5
        gained = served_mwh(ao.from_tables(**{**tables, "buses": buses})) - served_mwh(case)
        assert row["worth_mwh"] == pytest.approx(gained / 1e-5, rel=2e-3)


@pytest.mark.parametrize("direction", ["import", "export"])
def test_a_limit_of_active_power(direction: str) -> None:
    limits = {"import_limit_kw": 9.0, "export_limit_kw": 7.0}
    case = two_feeders().with_scenario(limits={"to-mv": limits})
    t = ao.simulate(case, BOUND).explain().set_index(["limit", "direction", "kind"])
    row = t.loc["to-mv", direction, "active"]
    assert row["worth_per"] == "kW"
    name = f"{direction}_limit_kw"
    more = case.with_scenario(limits={"to-mv": {**limits, name: limits[name] + MORE}})
    assert row["worth_mwh"] == pytest.approx((served_mwh(more) - served_mwh(case)) / MORE, rel=1e-6)
    assert row["worth_mwh"] == pytest.approx(0.5 / 1000, rel=1e-6)


def test_what_inflexible_load_breaks_gives_nothing() -> None:
    case = small_case({"b": ("src", TRACE, 10.0)}, ["b"], [12.0], [5.0], [0.0])
    (row,) = ao.simulate(case, "amm", steps=1).explain().to_dict("records")
    assert (row["intervals"], row["worth_mwh"]) == (1, 0.0)
    assert row["unserved_mwh"] == pytest.approx(2.5 / 1000)


def test_what_a_mechanism_keeps_back() -> None:
    """An envelope of everybody: 10 kVA for two customers are 5 each, though one asks for 2 only."""
    case = small_case({"b": ("src", TRACE, 10.0)}, ["b", "b"], [0, 0], [2, 9], [0, 0])
    run = ao.simulate(case, "equal_doe", steps=1)
    t = run.explain().set_index("limit")
    assert (t.loc["to-b", "intervals"], t.loc["to-b", "asked_intervals"]) == (0, 1)
    assert t.loc[explain.NO_LIMIT, "unserved_mwh"] == pytest.approx(run.summary["unserved_mwh"])
    assert np.isnan(t.loc[explain.NO_LIMIT, "worth_mwh"])
    failed = replace(run, failed_steps={0: "no answer"}).explain().set_index("limit")
    assert explain.NO_LIMIT not in failed.index
    assert failed.loc[explain.FAILED, "unserved_mwh"] == pytest.approx(run.summary["unserved_mwh"])


@pytest.mark.parametrize("how", [{}, {"tiers": "two"}, {"forecast": "persistence"}])
def test_read_back_block_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]) -> None:
    run = ao.simulate("synthetic:buses=70,days=1,seed=3", "amm", steps=slice(20, 46), **how)
    whole = run.explain()
    run.save(tmp_path / "run")
    monkeypatch.setattr(explain, "BLOCK_STEPS", 5)
    seen: list[tuple[int, int]] = []
    again = ao.open_run(tmp_path / "run").explain(progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (5, 26)
    assert seen[-1] == (26, 26)
    names = ["limit", "kind", "direction", "intervals", "asked_intervals", "hours", "feeders"]
    pd.testing.assert_frame_equal(again[names], whole[names])
    for name in ("unserved_mwh", "curtailed_mwh", "worth_mwh"):
        np.testing.assert_allclose(again[name], whole[name], rtol=1e-6, atol=1e-9)
    assert whole["unserved_mwh"].sum() >= run.summary["unserved_mwh"] * (1 - 1e-3)


def test_order_of_participants_does_not_matter() -> None:
    tables = cases.small_tables(balanced=False)
    names = ["limit", "direction", "intervals", "asked_intervals", "hours", "feeders"]
    one, other = (
        ao.simulate(ao.from_tables(**t), "leximin").explain().sort_values(["limit", "direction"], ignore_index=True)
        for t in (tables, cases.in_other_order(tables))
    )
    pd.testing.assert_frame_equal(one[names], other[names])
    np.testing.assert_allclose(one["unserved_mwh"], other["unserved_mwh"], rtol=1e-4, atol=1e-7)


def test_what_cannot_be_explained() -> None:
    case = "synthetic:buses=20,days=1,seed=1"
    with pytest.raises(ao.InputError, match="'socp' are not rows"):
        ao.simulate(case, "amm", network="socp", steps=2).explain()
    with pytest.raises(ao.InputError, match="does not keep what was asked for"):
        ao.simulate(case, "amm", defer=True, steps=2).explain()
