"""Summary columns: the contract's names, users' own ones, and what becomes of those that fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from small import one_transformer

import amm_opt as ao
from amm_opt.study.cli import main

CASE = "synthetic:buses=20,days=1,seed=1"
NAMES = (
    "requested_import_mwh unserved_mwh requested_export_mwh curtailed_mwh thermal_violations voltage_violations"
    " ac_thermal_violations ac_voltage_violations jain_feeder jain_participant worst_feeder_served"
    " worst_participant_served steps seconds ms_per_step jain_feeder_import jain_feeder_export jain_participant_import"
    " jain_participant_export worst_feeder_served_import worst_feeder_served_export worst_participant_served_import"
    " worst_participant_served_export p10_participant_served starved_participants"
    " jain_feeder_by_energy jain_participant_by_energy p10_participant_served_import p10_participant_served_export"
    " starved_participants_import starved_participants_export jain_feeder_by_energy_import"
    " jain_feeder_by_energy_export jain_participant_by_energy_import jain_participant_by_energy_export"
    " worst_thermal_excess_pct worst_voltage_excess_pu unavoidable_violations"
    " fallback_steps failed_steps revenue"
)
SERVED = ao.Column("served_kwh", lambda run: run.allocation.import_kw.sum() * run.case.dt_h, "kWh", "energy", "higher")
BUSY = ao.Column("busy", lambda run: (run.allocation.import_kw > 0).any(axis=1).sum(), "intervals", "count")


def test_names_and_order_of_every_run() -> None:
    assert " ".join(ao.simulate(CASE, "no_control", steps=2).summary.index) == NAMES


def test_own_columns_by_hand() -> None:
    """Two customers behind 10 kVA ask for 8 and 12 kW in one interval."""
    case = one_transformer(10.0, [0.0, 0.0], [8.0, 12.0], [0.0, 0.0])
    run = ao.simulate(case, "amm", steps=1, columns=[SERVED, BUSY])
    assert list(run.summary.index)[-2:] == ["served_kwh", "busy"]
    assert run.summary["busy"] == 1
    lost = 1000 * run.summary["unserved_mwh"]
    assert run.summary["served_kwh"] == pytest.approx(20.0 * case.dt_h - lost, rel=1e-9)
    assert 0.9 * 10.0 * case.dt_h < run.summary["served_kwh"] <= 10.0 * case.dt_h * (1.0 + 1e-9)


def test_own_columns_are_saved_and_read_back(tmp_path: Path) -> None:
    result = ao.compare(CASE, ["no_control", "amm"], steps=slice(30, 40), columns=[SERVED, BUSY], out=tmp_path / "out")
    table = result.table
    assert list(table.columns)[-2:] == ["served_kwh", "busy"]
    assert table["busy"].dtype == "Int64"
    assert (table["busy"] > 0).all()
    again = ao.open_comparison(tmp_path / "out")
    pd.testing.assert_frame_equal(again.table, table)
    kept = {name: column for name, column in again.columns.items() if name in ("served_kwh", "busy")}
    assert [(c.unit, c.kind, c.better, c.compute) for c in kept.values()] == [
        ("kWh", "energy", "higher", None),
        ("intervals", "count", None, None),
    ]
    written = pd.read_csv(tmp_path / "out" / "summary.csv", index_col=0)
    assert written["busy"].dtype == np.int64


def test_the_price_of_fairness_stands_before_own_columns() -> None:
    result = ao.compare(CASE, ["alpha_fair:alpha=0", "amm"], steps=4, columns=[SERVED])
    assert list(result.table.columns)[-2:] == ["price_of_fairness", "served_kwh"]
    assert list(result.columns) == list(result.table.columns)


def test_own_columns_see_the_others() -> None:
    double = ao.Column("double", lambda run: 2 * run.summary["requested_import_mwh"])
    run = ao.simulate(CASE, "no_control", columns=[double])
    assert run.summary["double"] == 2 * run.summary["requested_import_mwh"] > 0


def test_own_columns_after_a_check_by_ac_power_flow(tmp_path: Path) -> None:
    pytest.importorskip("power_grid_model")
    losses = ao.Column("losses_kwh", lambda run: 1000 * run.summary.get("ac_losses_mwh", np.nan))
    run = ao.simulate(CASE, "no_control", columns=[losses])
    assert np.isnan(run.summary["losses_kwh"])
    verified = [ao.simulate(CASE, "no_control", columns=[losses], ac="verify"), ao.verify(run)]
    for item in verified:
        assert item.summary["losses_kwh"] == pytest.approx(1000 * item.summary["ac_losses_mwh"], rel=1e-12)
        assert item.summary["losses_kwh"] > 0
    verified[0].save(tmp_path / "run")
    done = CliRunner().invoke(main, ["verify", str(tmp_path / "run"), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["rows"][0]["losses_kwh"] == verified[0].summary["losses_kwh"]


def failing(run: ao.Run) -> float:
    raise KeyError("mine")


@pytest.mark.parametrize(
    ("compute", "said"),
    [
        (failing, "KeyError: 'mine'"),
        (lambda run: None, "it gave None"),
        (lambda run: float("inf"), "it gave inf"),
        (lambda run: "much", "ValueError: could not convert string to float"),
        (lambda: 1.0, "TypeError"),
    ],
    ids=["raises", "nothing", "infinite", "text", "no argument"],
)
def test_a_column_that_fails_is_empty_and_the_run_is_kept(compute: Any, said: str, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=rf"no_control: column 'mine' is empty: {said}"):
        run = ao.simulate(CASE, "no_control", steps=2, columns=[ao.Column("mine", compute), BUSY])
    assert np.isnan(run.summary["mine"])
    assert run.summary["busy"] >= 0
    run.save(tmp_path / "run")
    again = ao.open_run(tmp_path / "run")
    pd.testing.assert_series_equal(again.summary, run.summary)


def test_a_number_that_is_none_is_no_failure() -> None:
    run = ao.simulate(CASE, "no_control", steps=2, columns=[ao.Column("mine", lambda run: np.nan)])
    assert np.isnan(run.summary["mine"])


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ([abs], "columns are Columns, not builtin_function_or_method"),
        ("steps", "columns are Columns, not str"),
        ([ao.Column("steps", abs)], "the name 'steps' of a column is taken"),
        ([ao.Column("solver", abs)], "the name 'solver' of a column is taken"),
        ([ao.Column("price_of_fairness", abs)], "the name 'price_of_fairness' of a column is taken"),
        ([ao.Column("a", abs), ao.Column("a", abs)], "the name 'a' of a column is taken"),
        ([ao.Column("a")], r"column 'a' has no compute\(run\)"),
    ],
    ids=str,
)
def test_columns_that_are_none_are_refused_before_the_run(columns: Any, said: str) -> None:
    for run in (ao.simulate, ao.compare):
        with pytest.raises(ao.InputError, match=said):
            run(CASE, "no_control", steps=2, columns=columns)


@pytest.mark.parametrize(
    "given", [{"name": ""}, {"name": "a\nb"}, {"name": 5}, {"kind": "size"}, {"better": "up"}, {"compute": 5}], ids=str
)
def test_what_a_column_cannot_be(given: dict[str, Any]) -> None:
    with pytest.raises(ao.InputError):
        ao.Column(**{"name": "a", "compute": abs, **given})


def test_tables_have_one_order_whatever_the_first_run_lacks() -> None:
    table = ao.compare("synthetic:buses=130,days=1,seed=3", ["no_control", "amm"], steps=4, tiers="both").table
    names = list(table.columns)
    assert names.index("revenue") < names.index("repaired_steps") < names.index("decomposition_energy_pct")
