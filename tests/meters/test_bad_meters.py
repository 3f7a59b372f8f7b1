"""Tables of meters and arguments that are wrong: every problem by name, and all at once."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import amm_opt as ao
from amm_opt.study.cli import main
from tests.meters.test_fit import exact


def table(**changes) -> pd.DataFrame:
    return exact(steps=20).table().assign(**changes)


def refused(rows, **options) -> str:
    with pytest.raises(ao.InputError) as error:
        ao.read_meters(rows, **options)
    return str(error.value)


def test_a_table_is_read_as_it_was_written(tmp_path) -> None:
    data = exact(steps=20)
    data.table().to_csv(path := tmp_path / "meters.csv", index=False)
    for rows in (data.table(), path):
        read = ao.read_meters(rows)
        assert read.meters == data.meters
        assert (read.times == data.times).all()
        for name in ("p_kw", "q_kvar", "v_pu", "v_transformer_pu"):
            assert getattr(read, name) == pytest.approx(getattr(data, name), abs=1e-12)
    volts = data.table().assign(v_pu=lambda t: 240.0 * t["v_pu"]).rename(columns={"v_pu": "v"})
    assert ao.read_meters(volts, nominal_v=240.0).v_pu == pytest.approx(data.v_pu)
    assert ao.read_meters(data.table().drop(columns="q_kvar")).q_kvar is None


def test_gaps_are_named_or_left_out_on_request() -> None:
    rows = table()
    rows = rows.drop(index=rows[rows["meter"].eq("p2")].index[[3, 7]])
    rows.loc[rows["meter"].eq("p0") & rows["time"].eq(rows["time"].iloc[0]), "q_kvar"] = np.nan
    said = refused(rows)
    assert "'p2' has no p_kw in 2 of 20 intervals, first at 2030-01-07 01:30" in said
    assert "'p0' has no q_kvar in 1 of 20 intervals, first at 2030-01-07 00:00" in said
    kept = ao.read_meters(rows, gaps="drop")
    assert kept.n_steps == 17
    assert exact(steps=20).times[[0, 3, 7]].isin(kept.times).sum() == 0
    head = table()
    said = refused(head.drop(index=head[head["meter"].eq("transformer")].index[4]))
    assert "'transformer' has no v_pu in 1 of 20 intervals" in said


def test_every_problem_of_a_table_is_said_at_once() -> None:
    rows = table().astype({"p_kw": object, "time": str})
    rows.loc[0, "p_kw"] = "much"
    rows.loc[5, "v_pu"] = 231.0
    rows.loc[6, "v_pu"] = -1.0
    rows.loc[9, "meter"] = None
    rows.loc[12, "time"] = "13/01/2030"
    rows.loc[14, "q_kvar"] = np.inf
    said = refused(rows)
    for sentence in ("'p0': p_kw = 'much' is not a number", "row 10: empty meter", "row 13", "q_kvar must be finite"):
        assert sentence in said
    assert "'p1': a voltage of 231 pu" in said
    assert "is it in volts? name the column v" in said
    assert "'p2': a voltage of -1 pu" in said


def test_columns_meters_and_options() -> None:
    assert "missing column 'p_kw'" in refused(table().drop(columns="p_kw"))
    assert "unknown column 'kw'; valid columns: time, meter" in refused(table(kw=1.0))
    assert "one of the columns v_pu and v" in refused(table(v=230.0))
    twice = pd.concat([table(), table().iloc[[2]]])
    assert "'p2' has more than one reading at 2030-01-07 00:00" in refused(twice)
    said = refused(table(), meters=["p0", "p1", "p2", "p9"])
    assert "unknown meters 'p3'" in said
    assert "no readings of meters 'p9'" in said
    said = refused(table(), gaps="fill", nominal_v=-3)
    assert "gaps = 'fill'; valid choices: refuse, drop" in said
    assert "nominal_v = -3" in said
    assert "not the path" in refused(3)
    assert "cannot be read as a table of meters" in refused("nowhere.csv")


def test_a_fit_names_all_that_is_wrong() -> None:
    with pytest.raises(ao.InputError) as error:
        ao.fit_network(
            exact(), v_min_pu=1.2, rating_kva=-5, eps=0.5, ridge=-1, loss="cubes", signs=1, held_out=2, transformer="x"
        )
    for word in ("v_min_pu = 1.2", "rating_kva = -5", "eps = 0.5", "ridge = -1", "cubes", "signs", "held_out", "'x'"):
        assert word in str(error.value)
    for much in (0.0, -1.0, 1e300, float("nan"), "x"):
        with pytest.raises(ao.InputError, match=r"extrapolation = .* must be above 0 and at most 1e\+06, or None"):
            ao.fit_network(exact(), extrapolation=much)  # type: ignore[arg-type]
    with pytest.raises(ao.InputError, match="MeterData"):
        ao.fit_network(exact().table())
    with pytest.raises(ao.InputError, match=r"10 coefficients each, and there are 8 intervals.*too few"):
        ao.fit_network(exact(steps=10))
    still = exact()
    still.p_kw[:, 2] = 1.0
    with pytest.raises(ao.InputError, match="the power of meters 'p2' never changes"):
        ao.fit_network(still)
    with pytest.raises(ao.InputError, match="its voltage is not among the readings"):
        ao.fit_network(exact().without(transformer=True), transformer="measured")
    with pytest.raises(ao.InputError, match="v_transformer_pu goes with"):
        ao.fit_network(exact().without(transformer=True), v_transformer_pu=(1.0, 1.0))
    with pytest.raises(ao.InputError, match="lowest and the highest"):
        ao.fit_network(exact(), v_transformer_pu=(1.05, 1.0))


def test_cases_of_meters() -> None:
    fitted = ao.fit_network(exact())
    with pytest.raises(ao.InputError, match=r"(?s)connection_kw = -1.*export_kw = 'x'"):
        fitted.case(connection_kw=-1, export_kw="x")
    other = ao.load_case("synthetic:buses=9,days=1,seed=1")
    with pytest.raises(ao.InputError, match=r"(?s)have no meter.*'p0', 'p1', 'p2', 'p3' are no participants"):
        fitted.case_of(other)
    rows = exact(steps=60).table()
    rows = rows[~(rows["meter"].eq("p1") & rows["time"].eq(rows["time"].iloc[20]))]
    with pytest.raises(ao.InputError, match="profiles"):
        ao.fit_network(ao.read_meters(rows, gaps="drop")).case(connection_kw=10.0)


def test_synthetic_meters_refuse() -> None:
    case = ao.load_case("synthetic:buses=9,days=1,seed=1")
    with pytest.raises(ao.InputError) as error:
        ao.synthetic_meters(case, served=2, v_noise=-1, p_noise="x", seed=-1)
    for word in ("served = 2", "v_noise = -1", "p_noise = 'x'", "seed = -1"):
        assert word in str(error.value)
    with pytest.raises(ao.InputError, match="no bus of the case"):
        ao.synthetic_meters(case, transformer="nowhere")
    with pytest.raises(ao.InputError, match="participants are on 2 feeders"):
        ao.synthetic_meters(ao.load_case("synthetic:buses=130,days=1,seed=1"))


def test_the_command_fits_and_runs(tmp_path) -> None:
    exact().table().to_csv(tmp_path / "meters.csv", index=False)
    given = ["fit", str(tmp_path / "meters.csv"), "--ridge", "0", "--v-max-pu", "1.05", "--export-kw", "20"]
    done = CliRunner().invoke(main, [*given, "--mechanism", "equal_doe", "--steps", "4"])
    assert done.exit_code == 0, done.output
    assert "4 meters" in done.stdout
    assert "equal_doe" in done.stdout
    found = json.loads(CliRunner().invoke(main, [*given, "--mechanism", "equal_doe", "--steps", "4", "--json"]).stdout)
    assert found["errors"][2]["span"] == "held out"
    assert found["runs"][0]["curtailed_mwh"] > 0.0


def test_the_command_names_gaps_and_ends_with_2(tmp_path) -> None:
    rows = exact().table()
    rows.drop(index=5).to_csv(tmp_path / "meters.csv", index=False)
    ended = CliRunner().invoke(main, ["fit", str(tmp_path / "meters.csv")])
    assert ended.exit_code == 2
    assert "meter 'p1' has no p_kw in 1 of 64 intervals, first at 2030-01-07 00:30" in ended.stderr
    assert CliRunner().invoke(main, ["fit", str(tmp_path / "meters.csv"), "--gaps", "drop"]).exit_code == 0
