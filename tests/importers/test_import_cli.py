"""``amm-opt import``: a network file with a scenario becomes a case folder that every command takes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from amm_opt.cases import load_case
from amm_opt.cases.synthetic.generators import clear_sky, year_profiles
from amm_opt.errors import InputError
from amm_opt.importers import YearScenario, csiro_network, year_case
from amm_opt.study.cli import main

MASTER = """clear
new circuit.tiny basekv=11 bus1=B1 model=ideal
new linecode.generic/hv nphases=3 units=km r1=0.2 x1=0.1 r0=0.4 x0=0.3
new linecode.uglv_240al_4w nphases=4 units=km
~ rmatrix=[.2|.05 .2|.05 .05 .2|.05 .05 .05 .2] xmatrix=[.7|.6 .7|.6 .6 .7|.6 .6 .6 .7]
new line.l1 bus1=B1 bus2=B2 linecode=generic/hv length=0.5 units=km
new transformer.t1 leadlag=euro xhl=4 wdg=1 bus=B2 conn=delta kv=11 kva=25 %r=.5
~ wdg=2 bus=B3.1.2.3.4 conn=wye kv=.433 kva=25 %r=.5
new line.l2 bus1=B3 bus2=B4 linecode=uglv_240al_4w length=0.1 units=km
new line.l3 bus1=B4 bus2=B5 linecode=uglv_240al_4w length=0.1 units=km
"""
LOADS = "".join(f"new load.c{i} phases=1 bus1=B{4 + i % 2}.{i % 3 + 1}.4 kv=.25\n" for i in range(12))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "data"
    source.mkdir()
    (source / "Master.dss").write_text(MASTER + LOADS + "solve\n")
    return source


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(w) for w in words])


def test_import_writes_a_case_that_compare_takes(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "case"
    result = run("import", "csiro", folder, "--scenario", "days=14,ev=0.9,timer=1,seed=3", "--out", out)
    assert result.exit_code == 0, result.output
    for part in ("5 buses: 2 at 11 kV, 3 at 0.4 kV", "12 loads: 4 on a, 4 on b, 4 on c", "90% of customers", "Written"):
        assert part in result.output
    case = load_case(out)
    assert (case.n_participants, case.n_steps, case.licence) == (12, 14 * 48, "CC-BY-NC-SA-4.0")
    assert sorted(case.phases) == sorted("abc" * 4)
    assert "csiro:" not in case.title
    compared = run(
        "compare", out, "--mechanisms", "no_control,amm", "--steps", 96, "--network", "lindist3flow", "--json"
    )
    assert compared.exit_code == 0, compared.output
    document = json.loads(compared.stdout)
    assert document["network"] == "lindist3flow"
    free, fair = document["rows"]
    assert free["thermal_violations"] > 0
    assert fair["thermal_violations"] == fair["voltage_violations"] == 0
    assert 0 < fair["unserved_mwh"] < fair["requested_import_mwh"]
    by_default = run("compare", out, "--mechanisms", "no_control,amm", "--steps", 96, "--json")
    assert json.loads(by_default.stdout)["rows"][1]["unserved_mwh"] == fair["unserved_mwh"]


def test_without_out_only_the_report_is_shown(folder: Path) -> None:
    result = run("import", "csiro", folder, "--xhl", "per_unit")
    assert result.exit_code == 0
    assert "xhl read as per_unit: short-circuit reactance 400" in result.output
    assert "Written" not in result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scenario", "evs=1"], "unknown parameter of scenario 'evs'; valid choices: days, ev, load_kw, pv"),
        (["--scenario", "ev=some,days=1.5"], "days = '1.5' is not a whole number"),
        (["--scenario", "ev=2,tap_steps=9"], "tap_steps = 9 must be within -4 to 4"),
        (["--scenario", "ev=2"], "ev = 2.0 must be within 0 to 1"),
        (["--out", "."], "exists and is not an empty folder"),
    ],
)
def test_bad_input_exits_with_two(folder: Path, words: list[str], said: str) -> None:
    result = run("import", "csiro", folder, *words)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_bad_file_writes_nothing(folder: Path, tmp_path: Path) -> None:
    (folder / "Master.dss").write_text(MASTER.replace("linecode=generic/hv", "linecode=x", 1) + LOADS)
    result = run("import", "csiro", folder, "--out", tmp_path / "case")
    assert result.exit_code == 2
    assert "Master.dss:6: line 'l1': unknown linecode 'x'" in result.stderr
    assert not (tmp_path / "case").exists()
    assert run("import", "csiro", tmp_path / "nowhere").exit_code == 2


def test_lindistflow_refuses_phases_by_name(folder: Path, tmp_path: Path) -> None:
    assert run("import", "csiro", folder, "--scenario", "days=2", "--out", tmp_path / "case").exit_code == 0
    result = run("compare", tmp_path / "case", "--network", "lindistflow", "--steps", 4)
    assert result.exit_code == 2
    assert "use lindist3flow" in result.stderr


def test_the_same_seed_gives_the_same_case_and_shares_do_not_disturb_each_other(folder: Path) -> None:
    network = csiro_network(folder)
    first, again, more = (year_case(network, YearScenario(days=7, ev=ev, seed=4)) for ev in (0.5, 0.5, 0.9))
    for name, table in first.tables().items():
        pd.testing.assert_frame_equal(table, again.tables()[name])
    pd.testing.assert_frame_equal(first.tables()["series"], more.tables()["series"])
    owners, most = (set(c.profiles.sessions["participant"]) for c in (first, more))
    assert owners < most
    other = year_case(network, YearScenario(days=7, seed=5))
    assert not np.array_equal(other.profiles.values, first.profiles.values)


def test_a_tap_step_lowers_lv_by_its_share(folder: Path) -> None:
    network = csiro_network(folder)
    plain, lower = (year_case(network, YearScenario(days=1, tap_steps=k)).feeder for k in (0, 2))
    at = [f.tap[f.bus_index["B3"]] for f in (plain, lower)]
    assert at[1] / at[0] == pytest.approx(1.025**2)
    assert at[0] == pytest.approx(0.4 / 0.433)


def test_a_site_keeps_its_own_kw(folder: Path) -> None:
    """By hand: 300 kW have 60 chances; beside it, homes and what they draw stay as they were."""
    network = csiro_network(folder)
    alone = year_case(network, YearScenario(days=7, ev=0.5, pv=0.5))
    (folder / "Master.dss").write_text(MASTER + LOADS + "new load.shop bus1=B4 kv=.4 kw=300 kvar=-100\n")
    case = year_case(csiro_network(folder), YearScenario(days=7, ev=0.5, pv=0.5))
    people, series = case.participants.set_index("name"), case.tables()["series"].set_index("participant")
    requests = case.requests(0, case.n_steps)
    at = case.participant_names.index("shop")
    assert requests.inflexible_kw[:, at].max() == pytest.approx(300.0, rel=1e-6)
    assert people.loc["shop", "power_factor"] == pytest.approx(-300 / np.hypot(300, 100))
    roofs = series.loc[["shop"]].query("quantity == 'export'")["scale_kw"].sum()
    assert 60 * 0.5 * 3.0 < roofs < 60 * 0.7 * 8.0
    assert people.loc["shop", "connection_export_kw"] == pytest.approx(roofs)
    cars = requests.import_request_kw[:, at].max() / 7.4
    assert 3 <= cars <= 45
    assert people.loc["shop", "connection_import_kw"] >= requests.at_connection_kw("import")[:, at].max()
    assert "1 site of more than 18.4 kW on a phase: kW stay" in str(case.report)
    homes = case.tables()["series"].query("participant != 'shop'").reset_index(drop=True)
    pd.testing.assert_frame_equal(homes, alone.tables()["series"])
    more = year_case(csiro_network(folder), YearScenario(days=7, ev=0.9, pv=0.5))
    assert more.requests(0, 336).import_request_kw[:, at].sum() > requests.import_request_kw[:, at].sum()


SHAPED = """new loadshape.day npts=24 interval=1 mult=[{}]
batchedit load..* daily=day kw=2 vminpu=0.1
""".format(" ".join(["0.3"] * 17 + ["1"] * 5 + ["0.5"] * 2))


def test_a_day_of_the_file_becomes_a_year_with_uptake(folder: Path, tmp_path: Path) -> None:
    (folder / "Master.dss").write_text(MASTER + LOADS + SHAPED)
    words = ["import", "opendss", folder, "--option", "nominal_kv=[11, 0.4]"]
    result = run(*words, "--days", 365, "--uptake", "ev=0.5,pv=0.25,seed=2", "--out", tmp_path / "year")
    assert result.exit_code == 0, result.output
    assert "Demand: that of the file, over and over for 365 days\nUptake: ev=0.5,pv=0.25,seed=2" in result.output
    case = load_case(tmp_path / "year")
    assert (case.n_participants, case.n_steps) == (12, 365 * 24)
    assert case.tables()["sessions"]["participant"].nunique() == 6
    noon = case.requests(12, 13)
    assert noon.inflexible_kw.sum() == pytest.approx(12 * 2 * 0.3, rel=1e-5)
    assert (noon.export_request_kw > 0).sum() == 3
    ran = run("run", tmp_path / "year", "--mechanism", "amm", "--steps", 24, "--json")
    assert ran.exit_code == 0, ran.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--days", "365", "--scenario", "ev=1"], "--days beside --scenario: say days= there"),
        (["--uptake", "cars=1,ev=x"], "unknown parameter of uptake 'cars'; valid choices: battery, ev"),
        (["--uptake", "ev=40"], "ev = 40.0 must be a share of customers within 0 to 1"),
        (["--days", "1"], "--days repeats the file's own profiles, and it has none"),
    ],
)
def test_bad_days_and_uptake(folder: Path, tmp_path: Path, words: list[str], said: str) -> None:
    result = run("import", "opendss", folder, "--option", "nominal_kv=[11, 0.4]", "--out", tmp_path / "c", *words)
    assert result.exit_code == 2
    assert said in result.stderr, result.stderr
    assert not (tmp_path / "c").exists()


def test_no_customers_no_case(folder: Path) -> None:
    (folder / "Master.dss").write_text(MASTER)
    with pytest.raises(InputError, match="has no customers"):
        year_case(csiro_network(folder))


def test_profiles_are_a_plausible_year() -> None:
    times = pd.date_range("2023-01-01", periods=17520, freq="30min")
    sky = clear_sky(times, -33.9)
    daylight = (sky > 0).reshape(365, 48).sum(axis=1) / 2
    assert daylight[354] == pytest.approx(14.4, abs=0.6)  # December solstice in Sydney
    assert daylight[171] == pytest.approx(9.9, abs=0.6)
    assert sky.reshape(365, 48)[:, 23:25].max() == pytest.approx(1.0, abs=1e-3)
    table = year_profiles(times, -33.9, 3, np.random.default_rng(0))
    homes = table[["home0", "home1", "home2"]]
    assert np.allclose(homes.mean(), 1.0)
    assert homes.to_numpy().min() > 0
    by_hour = homes.mean(axis=1).groupby(times.hour).mean()
    assert by_hour.idxmax() in range(17, 22)
    assert 0.12 < table["pv"].mean() < 0.22
