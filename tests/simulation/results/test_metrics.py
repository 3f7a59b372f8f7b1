"""Numbers of fairness: by hand, and empty where nobody is compared with anybody."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from in_process import amm_opt
from small import TRACE, one_transformer, small_case

import amm_opt as ao
from amm_opt.cases import Case
from amm_opt.simulation.results.fairness import jain

FAIR = [f"{kind}_feeder{end}" for kind, end in (("jain", ""), ("worst", "_served"))]
WHO = [c.replace("feeder", "participant") for c in FAIR]


def feeders(imports: list[float], exports: list[float], *, outside: bool = False) -> Case:
    """Two customers behind 10 kVA on feeder A, two behind 20 kVA on B; or those of B on the upper tier."""
    lines = {"mv": ("src", TRACE, 1000.0), "a": ("mv", TRACE, 10.0), "b": ("mv", TRACE, 20.0)}
    names = {"a": "A"} if outside else {"a": "A", "b": "B"}
    return small_case(lines, ["a", "a", "b", "b"], [0] * 4, imports, exports, feeder=names)


def test_jain_by_hand() -> None:
    assert jain(np.array([0.5, 0.5, 0.5])) == pytest.approx(1.0)
    assert jain(np.array([1.0, 0.0])) == pytest.approx(0.5)
    assert jain(np.array([0.2, 0.6])) == pytest.approx(0.8**2 / (2 * 0.4))
    assert np.isnan(jain(np.array([])))
    assert np.isnan(jain(np.zeros(3)))


def test_two_feeders_that_ask() -> None:
    """10 of 20 kW and 20 of 24 kW: ratios 1/2 and 5/6."""
    s = ao.simulate(feeders([10, 10, 12, 12], [0] * 4), "amm").summary
    assert (
        s["jain_feeder"] == s["jain_feeder_import"] == pytest.approx((4 / 3) ** 2 / (2 * (1 / 4 + 25 / 36)), abs=1e-6)
    )
    assert s["worst_feeder_served"] == pytest.approx(0.5, abs=1e-6)
    assert s["worst_participant_served"] == s["worst_participant_served_import"] == pytest.approx(0.5, abs=1e-6)
    export = [f"{c}_export" for c in (*FAIR, *WHO)]
    assert s[export].isna().all()


@pytest.mark.parametrize("outside", [True, False])
def test_one_feeder_alone_is_compared_with_nobody(outside: bool) -> None:
    """Whether the others ask for nothing or are on no feeder; participants are compared all the same."""
    case = feeders([10, 10, *([12, 12] if outside else [0, 0])], [0] * 4, outside=outside)
    s = ao.simulate(case, "amm").summary
    assert s[FAIR].isna().all()
    assert s[[f"{c}_import" for c in FAIR]].isna().all()
    assert s["worst_participant_served"] == pytest.approx(0.5, abs=1e-6)
    assert 0.9 < s["jain_participant"] <= 1.0


def test_the_lower_of_the_directions_that_say_something() -> None:
    """Import: one feeder, 2 kW. Export: two, 12 of 16 kW and all of 12."""
    s = ao.simulate(feeders([1, 1, 0, 0], [8, 8, 6, 6]), "amm").summary
    assert np.isnan(s["worst_feeder_served_import"])
    assert s["worst_feeder_served"] == s["worst_feeder_served_export"] == pytest.approx(0.75, abs=1e-6)
    assert s["jain_feeder"] == s["jain_feeder_export"] == pytest.approx(1.75**2 / (2 * (1 + 0.75**2)), abs=1e-6)
    assert s["jain_participant"] == min(s["jain_participant_import"], s["jain_participant_export"])


def test_nobody_served_and_nobody_asked() -> None:
    full = ao.simulate(one_transformer(10.0, [10.0, 0.0], [4.0, 4.0], [0.0, 0.0]), "amm").summary
    assert np.isnan(full["jain_participant"])
    assert full["worst_participant_served"] == pytest.approx(0.0, abs=1e-6)
    quiet = ao.simulate(one_transformer(10.0, [1.0, 1.0], [0.0, 0.0], [0.0, 0.0]), "amm").summary
    assert quiet[[*FAIR, *WHO]].isna().all()


def test_no_price_of_fairness_where_limits_were_broken() -> None:
    case = feeders([10, 10, 12, 12], [0] * 4)
    table = ao.compare(case, ["alpha_fair:alpha=0", "no_control", "amm"]).table
    assert table.loc["no_control", "thermal_violations"] > 0
    assert np.isnan(table.loc["no_control", "price_of_fairness"])
    assert table.loc["alpha_fair:alpha=0", "price_of_fairness"] == 0
    assert table.loc["amm", "price_of_fairness"] == pytest.approx(0.0, abs=1e-6)


def test_empty_is_null_in_json_and_empty_in_csv(tmp_path: Path) -> None:
    folder = ao.save_case(feeders([10, 10, 0, 0], [0] * 4), tmp_path / "case")
    words = ["compare", folder, "--mechanisms", "alpha_fair:alpha=0,no_control", "--json", "--out", tmp_path / "out"]
    done = amm_opt(*words)
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)["rows"]
    assert first["jain_feeder"] is None
    assert first["worst_feeder_served_export"] is None
    assert first["jain_participant"] is not None
    assert second["price_of_fairness"] is None
    table = pd.read_csv(tmp_path / "out" / "summary.csv", index_col=0)
    assert table["jain_feeder"].isna().all()
    assert np.isnan(table.loc["no_control", "price_of_fairness"])
    loaded = ao.open_run(next((tmp_path / "out").glob("no_control")))
    assert np.isnan(loaded.summary["worst_feeder_served"])
