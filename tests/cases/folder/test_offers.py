"""Offers in steps, and what is wrong with a wholesale case: everything at once, each by its name."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from in_process import amm_opt
from wholesale import system

import amm_opt as ao
from amm_opt.study.cli import main

FLAT = {"flat": np.ones(2)}
STEPS = pd.DataFrame(
    [("gas", 0.5, 0.02), ("gas", 0.4, 0.05), ("gas", 0.1, 0.1)], columns=["participant", "share", "export_offer"]
)


def plant_and_load(**gas: object) -> ao.Case:
    """100 kW of load beside 100 kW of gas without an offer, 20 kW of wind at the far end of a line."""
    people = [{"name": "load", "bus": "near"}, {"name": "gas", "bus": "near", "export_offer": np.nan, **gas}]
    people.append({"name": "wind", "bus": "far", "export_offer": 0.0})
    series = [("load", "import", "flat", 100.0), ("gas", "export", "flat", 100.0), ("wind", "export", "flat", 20.0)]
    return system([("line", "near", "far")], 10.0, 30e3, people, series, FLAT)


def test_steps_are_taken_in_order_and_paid_each_its_own_offer() -> None:
    """80 kW of gas for a load of 100: 50 at 0.02 and 30 at 0.05; at the margin a kWh costs 0.05."""
    case = plant_and_load().with_tables(offers=STEPS)
    assert case.participant_names[-2:] == ("gas, step 2", "gas, step 3")
    bid, marginal = (
        ao.simulate(case, f"{name}source_price=none", network="dc") for name in ("dispatch:reserve=0,", "lmp:")
    )
    for run in (bid, marginal):
        np.testing.assert_allclose(run.allocation.export_kw, [[0, 50, 20, 30, 0]] * 2, atol=1e-3)
    earned = bid.settlement().participants.set_index("participant")["earned"]
    assert earned[["gas", "gas, step 2"]].to_list() == pytest.approx([50 * 0.02, 30 * 0.05], rel=1e-5)
    np.testing.assert_allclose(marginal.allocation.import_price[:, 0], 0.05, rtol=1e-5)


def test_must_run_power_fills_the_steps_and_connections_follow_them() -> None:
    people = plant_and_load(must_run_kw=60.0).with_tables(offers=STEPS).participants.set_index("name")
    steps = people.loc[["gas", "gas, step 2", "gas, step 3"]]
    assert steps["must_run_kw"].to_list() == pytest.approx([50, 10, 0])
    assert steps["connection_export_kw"].to_list() == pytest.approx([1e9, 0.4e9, 0.1e9])


def test_a_folder_with_offers_is_read_and_written_as_participants(tmp_path: Path) -> None:
    ao.save_case(plant_and_load(), tmp_path / "plain")
    STEPS.to_csv(tmp_path / "plain" / "offers.csv", index=False)
    case = ao.load_case(tmp_path / "plain")
    ao.save_case(case, tmp_path / "again")
    assert case.fingerprint == ao.load_case(tmp_path / "again").fingerprint
    assert case.fingerprint == plant_and_load().with_tables(offers=STEPS).fingerprint


@pytest.mark.parametrize(
    ("rows", "gas", "said"),
    [
        ([("gas", 0.5, 0.05), ("gas", 0.5, 0.02)], {}, "'gas': offers fall from 0.05 to 0.02 at step 2"),
        ([("gas", 0.5, 0.02), ("gas", 0.4, 0.05)], {}, "'gas': the shares of its 2 steps add up to 0.9"),
        ([("gas", 1.0, 0.02)], {"export_offer": 0.1}, "'gas': has an export_offer or a slope beside"),
        ([("gas", 1.0, 0.02)], {"battery_kwh": 10.0, "battery_kw": 5.0}, "'gas': has a battery"),
        ([("load", 1.0, 0.02)], {}, "'load': offers in steps, and no series gives it any export"),
        ([("oil", 1.0, 0.02)], {}, "offers: row 1: unknown participant 'oil'"),
        ([("gas", 0.0, 0.02)], {}, "row 1, participant 'gas': share = 0.0 must be above 0"),
        ([("gas", 1.0, np.inf)], {}, "row 1, participant 'gas': export_offer = inf must be a finite number"),
    ],
)
def test_offers_that_cannot_be_are_refused_by_name(rows: list, gas: dict, said: str) -> None:  # type: ignore[type-arg]
    offers = pd.DataFrame(rows, columns=list(STEPS))
    with pytest.raises(ao.InputError) as caught:
        plant_and_load(**gas).with_tables(offers=offers)
    assert said in str(caught.value)


def broken(folder: Path) -> Path:
    """A folder with an unknown node, a negative capacity, falling steps and an island."""
    ao.save_case(plant_and_load(), folder)
    tables = {name: pd.read_csv(folder / f"{name}.csv") for name in ("buses", "participants", "series")}
    tables["buses"].loc[2] = {**tables["buses"].loc[1], "name": "Skye"}
    tables["participants"].loc[2, "bus"] = "faar"
    tables["series"].loc[2, "scale_kw"] = -20.0
    tables["offers"] = STEPS.assign(export_offer=[0.02, 0.1, 0.05])
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return folder


def test_everything_that_is_wrong_with_a_system_is_named_at_once_and_exits_2(tmp_path: Path) -> None:
    done = amm_opt("run", broken(tmp_path / "sick"), "--mechanism", "dispatch")
    assert done.returncode == 2
    told = " ".join(done.stderr.split())
    for part in (
        "island: no closed branch joins Skye to the source",
        "participant 'wind': unknown bus 'faar'",
        "participant 'gas': offers fall from 0.1 to 0.05 at step 3: steps that are not convex",
        "series: column 'scale_kw' row 3: negative request -20 of export of participant 'wind'",
    ):
        assert part in told
    assert "Traceback" not in done.stderr


def test_a_missing_bid_is_named_and_exits_2(tmp_path: Path) -> None:
    ao.save_case(plant_and_load(), tmp_path / "silent")
    done = CliRunner().invoke(main, ["run", str(tmp_path / "silent"), "--mechanism", "dispatch:source_price=none"])
    assert done.exit_code == 2
    assert "participant 'gas': no export_offer, and others have one" in " ".join(done.stderr.split())
    assert "wind" not in done.stderr


def test_offers_are_needed_where_others_have_them_and_only_there() -> None:
    case = plant_and_load()
    for mechanism in ("dispatch", "lmp", "lmp_ahead"):
        with pytest.raises(ao.InputError, match=rf"'gas': no export_offer.*{mechanism}:offer=NUMBER"):
            ao.simulate(case, f"{mechanism}:source_price=none", network="dc")
    given = ao.simulate(case, "dispatch:source_price=none,reserve=0,offer=0.07", network="dc")
    assert given.settlement().participants.set_index("participant")["earned"]["gas"] == pytest.approx(80 * 0.07)
    people = case.tables()["participants"].assign(export_offer=np.nan)
    none = ao.simulate(case.with_tables(participants=people), "dispatch:source_price=none,reserve=0", network="dc")
    assert none.settlement().operator["earned"] == 0.0
