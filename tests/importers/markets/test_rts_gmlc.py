"""RTS-GMLC tables: a tiny system in that layout, by hand, and everything that may be wrong with one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import amm_opt as ao
from amm_opt.study.cli import main

BUS = """Bus ID,Bus Name,BaseKV,Bus Type,MW Load,MVAR Load,V Mag,V Angle,MW Shunt G,MVAR Shunt B,Area,Zone
101,Ash,138.0,Ref,30.0,6.0,1.02,0,0.0,0.0,1,11
102,Beech,138.0,PQ,90.0,0.0,1.0,0,0.0,-10.0,1,11
203,Cedar,230.0,PV,0.0,0.0,1.0,0,0.0,0.0,2,21
"""
BRANCH = """UID,From Bus,To Bus,R,X,B,Cont Rating,LTE Rating,STE Rating,Perm OutRate,Duration,Tr Ratio
A1,101,102,0.01,0.05,0.4,60,193,200,0.24,16,0
A2,101,102,0.01,0.05,0.4,60,193,200,0.24,16,0
A3,102,203,0.0,0.08,0.0,80,510,600,0.02,768,1.015
"""
GEN = (
    "GEN UID,Bus ID,Gen ID,Unit Type,Category,Fuel,PMax MW,PMin MW,Fuel Price $/MMBTU,Output_pct_0,Output_pct_1,"
    "Output_pct_2,HR_avg_0,HR_incr_1,HR_incr_2,VOM,Pump Load MW,Storage Roundtrip Efficiency\n"
    "101_STEAM_1,101,1,STEAM,Coal,Coal,100,50,2,0.5,0.75,1,10000,9000,12000,1,0,0\n"
    "102_CT_1,102,1,CT,Gas CT,NG,50,20,4,0.4,0.7,1,9000,10000,11000,0,0,0\n"
    "203_WIND_1,203,1,WIND,Wind,Wind,70,0,0,0,0,NA,0,0,NA,0,0,0\n"
    "203_RTPV_1,203,1,RTPV,Solar RTPV,Solar,20,0,0,0,0,NA,0,0,NA,0,0,0\n"
    "203_STORAGE_1,203,1,STORAGE,Storage,Storage,15,0,0,0,0,NA,0,0,NA,0,15,81\n"
    "203_SYNC_COND_1,203,1,SYNC_COND,Sync_Cond,Sync_Cond,0,0,0,0,0,NA,0,0,NA,0,0,0\n"
)
STORAGE = """GEN UID,Storage,Max Volume GWh,Initial Volume GWh
203_STORAGE_1,203_HEAD,0.06,0.03
203_STORAGE_1,203_TAIL,0.06,0.03
"""
POINTERS = """Simulation,Category,Object,Parameter,Scaling Factor,Data File
DAY_AHEAD,Generator,203_WIND_1,PMax MW,70,../series/wind.csv
DAY_AHEAD,Generator,203_RTPV_1,PMax MW,20,../series/sun.csv
DAY_AHEAD,Generator,203_RTPV_1,PMin MW,20,../series/sun.csv
DAY_AHEAD,Area,1,MW Load,120,../series/load.csv
DAY_AHEAD,Reserve,Spin_Up_R1,Requirement,1,../series/spin.csv
"""
HOURS = "".join(f"2020,2,{28 + k // 24},{k % 24 + 1},{{{k}}}\n" for k in range(48))


def column(name: str, values: np.ndarray) -> str:
    return f"Year,Month,Day,Period,{name}\n" + HOURS.format(*values)


def folder(path: Path, **changes: str) -> Path:
    """The tables with some of them changed."""
    files = {"bus": BUS, "branch": BRANCH, "gen": GEN, "storage": STORAGE, "timeseries_pointers": POINTERS, **changes}
    (path / "SourceData").mkdir(parents=True)
    (path / "series").mkdir()
    for name, text in files.items():
        if text:
            (path / "SourceData" / f"{name}.csv").write_text(text, encoding="utf-8")
    hour = np.arange(48) % 24
    for name, of, values in (
        ("wind", "203_WIND_1", np.where(hour < 12, 60.0, 5.0)),
        ("sun", "203_RTPV_1", np.where((hour > 8) & (hour < 16), 10.0, 0.0)),
        ("load", "1", np.where(hour < 6, 80.0, 120.0)),
    ):
        (path / "series" / f"{name}.csv").write_text(column(of, values), encoding="utf-8")
    return path


def test_network_loads_and_plants_by_hand(tmp_path: Path) -> None:
    case = ao.from_rts_gmlc(folder(tmp_path / "tiny"))
    f, people = case.feeder, case.participants.set_index("name")
    ratings = dict(zip(f.branch_names[1:], f.rating_kva[1:], strict=True))
    x = {name: float(f.z_ohm[k][0, 0].imag) for k, name in enumerate(f.branch_names) if k}
    assert ratings == {"A1": 60e3, "A2": 60e3, "A3": 80e3}
    assert x["A1"] == pytest.approx(0.05 * 138**2 / 100)
    assert x["A3"] == pytest.approx(0.08 * 230**2 / 100)
    assert float(f.tap[f.branch_names.index("A3")]) == pytest.approx(1.015)
    assert (case.times[0], case.dt_h) == (pd.Timestamp("2020-02-28"), 1.0)
    asked = dict(zip(case.participant_names, case.requests(0, 48).import_request_kw.T, strict=True))
    assert asked["bus 101"][0] == pytest.approx(80e3 * 30 / 120)  # of the area's load, by the share of the bus
    assert asked["bus 102"][12] == pytest.approx(90e3)
    can = dict(zip(case.participant_names, case.requests(0, 48).export_request_kw.T, strict=True))
    assert (can["203_WIND_1"][0], can["203_WIND_1"][12]) == (60e3, 5e3)  # MW of the file, whatever the scaling factor
    assert people.loc["203_RTPV_1", "must_run_kw"] == pytest.approx(10e3)
    store = people.loc["203_STORAGE_1"]
    assert store[["battery_kwh", "battery_kw", "battery_initial"]].tolist() == [60e3, 15e3, 0.5]
    assert store["battery_efficiency"] == pytest.approx(0.9)
    assert store["connection_import_kw"] == 15e3
    assert people.loc["101_STEAM_1", "technology"] == "Coal"
    assert "203_SYNC_COND_1" not in people.index


def test_heat_rates_become_steps_of_the_convex_cost(tmp_path: Path) -> None:
    """Gas at 4 per MMBTU: 36, 40 and 44 per MWh over 20, 15 and 15 MW.

    Coal at 2 and 1 for operation: 50 MW at 21, then 25 MW at 19: 75 MW at 61/3 on average, then 25 MW at 25.
    """
    people = ao.from_rts_gmlc(folder(tmp_path / "tiny")).participants.set_index("name")
    gas = people.loc[["102_CT_1", "102_CT_1, step 2", "102_CT_1, step 3"]]
    assert gas["export_offer"].tolist() == pytest.approx([0.036, 0.040, 0.044])
    assert gas["connection_export_kw"].tolist() == pytest.approx([20e3, 15e3, 15e3])
    coal = people.loc[["101_STEAM_1", "101_STEAM_1, step 2"]]
    assert coal["export_offer"].tolist() == pytest.approx([0.061 / 3, 0.025])
    assert coal["connection_export_kw"].tolist() == pytest.approx([75e3, 25e3])
    assert people.loc["203_WIND_1", "export_offer"] == 0.0


def test_the_command_writes_a_case_that_dispatch_runs(tmp_path: Path) -> None:
    """At hour 13 load of 120: wind 5 and sun 10 from bus 203, coal 100, and 5 that the store or gas give."""
    done = CliRunner().invoke(
        main, ["import", "rts-gmlc", str(folder(tmp_path / "tiny")), "--out", str(tmp_path / "case")]
    )
    assert done.exit_code == 0, done.output
    for words in ("1 plant that must run", "synchronous condensers: 203_SYNC_COND_1", "Requirement (1)"):
        assert words in done.output
    case = ao.load_case(tmp_path / "case")
    run = ao.simulate(case, "dispatch:source_price=none,reserve=0,window=24,committed=24", network="dc", steps=24)
    assert not run.failed_steps
    assert run.summary["unserved_mwh"] == pytest.approx(0.0, abs=1e-6)
    kw = dict(zip(case.participant_names, run.allocation.export_kw[13], strict=True))
    assert kw["203_RTPV_1"] == pytest.approx(10e3, abs=1.0)
    assert kw["101_STEAM_1"] == pytest.approx(75e3, abs=1.0)


def test_the_older_layout_of_pointers_is_read(tmp_path: Path) -> None:
    pointers = "Simulation,Object,Parameter,Data File\n" + "".join(
        f"DAY_AHEAD,{thing},{what},..\\series\\{file}.csv\n"
        for thing, what, file in (("203_WIND_1", "PMax MW", "wind"), ("Load", "Requirement", "load"))
    )
    case = ao.from_rts_gmlc(folder(tmp_path / "old", timeseries_pointers=pointers))
    can = case.requests(0, 48).export_request_kw.max(axis=0)
    assert can[case.participant_names.index("203_RTPV_1")] == 20e3  # without a series its PMax
    assert case.requests(0, 1).import_request_kw.sum() == pytest.approx(80e3)


@pytest.mark.parametrize(
    ("table", "old", "new", "said"),
    [
        ("gen", "102_CT_1,102", "102_CT_1,999", "gen '102_CT_1': there is no bus '999'"),
        (
            "gen",
            "Coal,Coal,100",
            "Coal,Coal,-100",
            "gen '101_STEAM_1': PMax MW = '-100' must be a finite number of at least 0",
        ),
        ("gen", "Coal,Coal,100,50", "Coal,Coal,40,50", "gen '101_STEAM_1': PMin MW = 50 is above PMax MW = 40"),
        ("gen", "203_WIND_1,203", "203_RTPV_1,203", "gen: GEN UID 203_RTPV_1 more than once"),
        ("gen", "NG,50,20,4", "NG,50,20,dear", "gen '102_CT_1': Fuel Price $/MMBTU = 'dear' must be a finite number"),
        ("gen", "NG,50,20,4", "NG,50,20,", "gen '102_CT_1': heat rates, and no Fuel Price $/MMBTU"),
        ("gen", "0.5,0.75,1", "0.8,0.7,1", "gen '101_STEAM_1': Output_pct 0.8, 0.7, 1 must rise from above 0"),
        ("branch", "A3,102,203", "A3,102,204", "branch 'A3': there is no bus '204'"),
        ("branch", "0.05,0.4,60", "x,0.4,60", "branch 'A1': X = 'x' must be a finite number"),
        (
            "branch",
            "102,203,0.0,0.08",
            "102,203,0.0,0.0",
            "branch 'A3': X = 0 must be positive, because dc shares flows",
        ),
        ("bus", "138.0,Ref", "138.0,PV", "one bus of type Ref is needed, bus.csv has 0"),
        ("bus", "PQ,90.0", "PQ,-90.0", "bus '102': MW Load = -90 must not be negative"),
        ("storage", "203_STORAGE_1", "203_STORAGE_2", "gen '203_STORAGE_1': a store, and storage.csv has no volume"),
        ("timeseries_pointers", "203_WIND_1", "204_WIND_1", "no generator 204_WIND_1 in gen.csv"),
        ("timeseries_pointers", "series/sun", "series/son", "son.csv cannot be read as a table: "),
        ("timeseries_pointers", "Area,1,MW", "Area,3,MW", "area '1' has load, and no series of it"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, table: str, old: str, new: str, said: str) -> None:
    texts = {"bus": BUS, "branch": BRANCH, "gen": GEN, "storage": STORAGE, "timeseries_pointers": POINTERS}
    assert old in texts[table]
    with pytest.raises(ao.InputError) as caught:
        ao.from_rts_gmlc(folder(tmp_path / "bad", **{table: texts[table].replace(old, new)}))
    assert said in str(caught.value)


def test_missing_tables_columns_and_simulations_are_named(tmp_path: Path) -> None:
    with pytest.raises(ao.InputError, match=r"no bus.csv in it, in SourceData"):
        ao.from_rts_gmlc(tmp_path)
    bad = folder(tmp_path / "bad", gen="", branch=BRANCH.replace("Cont Rating", "Rating"))
    with pytest.raises(ao.InputError) as caught:
        ao.from_rts_gmlc(bad)
    for part in ("gen.csv not found", "branch.csv: missing column 'Cont Rating'"):
        assert part in str(caught.value)
    with pytest.raises(ao.InputError, match=r"simulation = 'SOON' is not in .* valid choices: DAY_AHEAD"):
        ao.from_rts_gmlc(folder(tmp_path / "good"), simulation="SOON")
