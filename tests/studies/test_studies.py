"""Studies in Python: which variants there are, what they change, what they come to, and how they are gone on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from deadly import Deadly

import amm_opt as ao

CASE = "synthetic:buses=70,days=1,seed=3"


def small(**options: Any) -> ao.Study:
    given = {"parameters": {"mechanism.rho": [0.1, 0.4], "scenario.import_scale": [1.0, 1.5]}, "steps": 24}
    return ao.Study(CASE, "amm", **{**given, **options})


@pytest.fixture(scope="module")
def result() -> ao.StudyResult:
    return small().run()


def test_every_row_is_the_run_that_its_parameters_say(result: ao.StudyResult) -> None:
    """Against runs made one by one from the baseline."""
    assert len(result.table) == 4
    for row in result.table.to_dict("records"):
        case = ao.load_case(CASE).with_scenario(import_scale=row["scenario.import_scale"])
        run = ao.simulate(case, f"amm:rho={row['mechanism.rho']}", steps=24)
        for name, value in run.summary.items():
            if name not in ("seconds", "ms_per_step"):
                assert np.array_equal(value, row[str(name)], equal_nan=True), name


def test_edits_are_relative_to_the_baseline() -> None:
    """Not to the variant before: in whatever order they are run, and beside the case's own scenario."""
    base = ao.load_case(CASE).with_scenario(export_scale=1.2)
    rows = [
        {"ratings.all": 0.5},
        {"ratings.transformer": 0.5, "uptake.ev": 0.8, "uptake.seed": 4},
        {"ratings.all": 0.5},
    ]
    table = ao.Study(base, "equal_doe", variants=rows, steps=8).run().table
    alone = {
        0: base.with_ratings(factor=0.5),
        1: base.with_uptake(ev=0.8, seed=4).with_ratings(factor=0.5, kind="transformer"),
        2: base.with_ratings(factor=0.5),
    }
    for number, case in alone.items():
        summary = ao.simulate(case, "equal_doe", steps=8).summary
        assert table.loc[number, "unserved_mwh"] == summary["unserved_mwh"]
        assert table.loc[number, "requested_export_mwh"] == summary["requested_export_mwh"]


def test_all_combinations_of_what_is_given() -> None:
    study = ao.Study(
        {"one": CASE, "two": "synthetic:buses=70,days=1,seed=4"},
        ["equal_doe", "amm"],
        variants=pd.DataFrame({"scenario.load_scale": [1.0, 1.1, np.nan]}),
        parameters={"scenario": {"capacity_scale": {"from": 1, "to": 4, "count": 3, "spacing": "log"}}},
        solver=[None, "clarabel"],
        steps=2,
    )
    assert len(study) == 2 * 2 * 3 * 3 * 2
    assert study.parameters == (
        "case", "mechanism", "solver", "scenario.load_scale", "scenario.capacity_scale",
    )  # fmt: skip
    found = {v.parameters["scenario.capacity_scale"] for v in study.variants}
    assert sorted(found) == pytest.approx([1, 2, 4])  # type: ignore[type-var]
    assert sum("scenario.load_scale" not in v.parameters for v in study.variants) == len(study) // 3


def test_options_of_a_case_are_parameters() -> None:
    study = ao.Study("synthetic:buses=70,days=1", "no_control", parameters={"case.seed": [3, 4]}, steps=4)
    table = study.run().table
    for number, seed in ((0, 3), (1, 4)):
        alone = ao.simulate(f"synthetic:buses=70,days=1,seed={seed}", "no_control", steps=4).summary
        assert table.loc[number, "requested_import_mwh"] == alone["requested_import_mwh"]
    with pytest.raises(ao.InputError, match="has it in its name"):
        ao.Study(CASE, "no_control", parameters={"case.seed": [3, 4]}, steps=4)


@pytest.mark.parametrize("method", ["random", "sobol", "latin_hypercube"])
def test_samples_fill_their_bounds(method: str) -> None:
    sample = ao.Sample({"mechanism.rho": (0.1, 0.5), "uptake.seed": (2, 5)}, 64, method, 7)
    points, again = (pd.DataFrame(sample.points(["uptake.seed"])) for _ in range(2))
    pd.testing.assert_frame_equal(points, again)
    assert points["mechanism.rho"].between(0.1, 0.5).all()
    assert set(points["uptake.seed"]) == {2, 3, 4, 5}
    if method != "random":  # one point in each of 64 strips, by construction
        strips = np.floor((points["mechanism.rho"] - 0.1) / 0.4 * 64).astype(int)
        assert sorted(strips) == list(range(64))


def test_views(result: ao.StudyResult) -> None:
    pivot = result.pivot("unserved_mwh", "mechanism.rho", "scenario.import_scale")
    assert pivot.shape == (2, 2)
    means = result.pivot("unserved_mwh", "scenario.import_scale")["unserved_mwh"]
    table = result.table
    for scale, mean in means.items():
        assert mean == pytest.approx(table.loc[table["scenario.import_scale"] == scale, "unserved_mwh"].mean())
    assert result.numeric == ["mechanism.rho", "scenario.import_scale"]
    (axes,) = result.plot("unserved_mwh", by="scenario.import_scale").axes
    assert axes.get_ylabel() == "unserved_mwh (MWh)"
    assert len(axes.lines) == 2
    assert "4 variants" in repr(result)
    assert "unserved_mwh" in result._repr_html_()
    for wrong in (lambda: result.pivot("unserved", "mechanism.rho"), lambda: result.plot("unserved_mwh", "rho")):
        with pytest.raises(ao.InputError, match="valid choices"):
            wrong()


def test_failures_are_rows_with_a_reason(tmp_path: Path) -> None:
    mechanism = Deadly(mark=str(tmp_path))
    table = ao.Study(CASE, mechanism, parameters={"mechanism.fails": [True, False]}, steps=2).run()
    assert list(table.failed.index) == [0]
    assert table.failed[0] == "ZeroDivisionError: made to fail"
    assert table.table.loc[1, "steps"] == 2
    case = ao.load_case(CASE)
    wrong = case.with_ratings(factor=1.0)
    rows = [{"uptake.ev": 0.5}, {"uptake.ev": 0.5, "uptake.latitude_deg": 50.0}]
    assert not len(ao.Study(wrong, "no_control", variants=rows, steps=2).run().failed)


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(ao.InputError) as error:
        ao.Study(
            [CASE, "nowhere"],
            ["amm", "ammm"],
            parameters={
                "mechanism.kapa": [1],
                "scenario.import_scale": [-1],
                "ratings.cable": 2,
                "mechanism.rho": [-0.5],
            },
            variants=[{"scenario.import_scale": 2.0}],
            solver="xx",
        )
    said = str(error.value)
    for sentence in (
        "unknown case 'nowhere'; valid choices:",
        "unknown mechanism 'ammm'; valid choices:",
        "unknown parameter of amm 'mechanism.kapa'; valid choices: mechanism.alpha",
        "import_scale = -1 must be a non-negative number",
        "unknown parameter 'ratings.cable'; valid choices: ratings.LV",
        "rho = -0.5 must not be negative",
        "'scenario.import_scale' is given twice: in variants and in parameters",
    ):
        assert sentence in said, said


def test_a_study_is_gone_on_with(tmp_path: Path, result: ao.StudyResult) -> None:
    out = tmp_path / "study"

    def interrupt(done: int, total: int, row: object) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"2 variants are kept .* go on with resume=True"):
        small().run(out, progress=interrupt)
    assert len(ao.open_study(out).table) == 2
    assert "2 of 4 variants" in repr(ao.open_study(out))
    computed: list[int] = []
    whole = small().run(out, resume=True, progress=lambda done, total, row: computed.append(done))
    assert computed == [2, 3, 4]
    pd.testing.assert_frame_equal(whole.outcomes, result.outcomes, check_exact=True)
    pd.testing.assert_frame_equal(ao.open_study(out).table, whole.table, check_exact=True)
    pd.testing.assert_frame_equal(pd.read_parquet(out / "table.parquet"), whole.table, check_exact=True)


def test_a_folder_of_another_study_is_refused_with_the_difference(tmp_path: Path) -> None:
    out = tmp_path / "study"
    small(parameters={"mechanism.rho": [0.1]}).run(out)
    with pytest.raises(ao.InputError, match=r"another study: parameters: mechanism.rho is \['0.2'\] now, and was"):
        small(parameters={"mechanism.rho": [0.2]}).run(out, resume=True)
    with pytest.raises(ao.InputError, match="another study: intervals"):
        small(parameters={"mechanism.rho": [0.1]}, steps=12).run(out, resume=True)
    with pytest.raises(ao.InputError, match="it holds a study; go on with resume=True"):
        small().run(out)
    (out / "own.txt").write_text("mine")
    with pytest.raises(ao.InputError, match="is not an empty folder"):
        small().run(out, force=True)
    (out / "own.txt").unlink()
    assert len(small().run(out, force=True).table) == 4
    damaged = out / "variants" / "000001.json"
    damaged.write_text(damaged.read_text()[:-20])
    with pytest.raises(ao.InputError, match=r"000001.json is damaged, remove it"):
        small().run(out, resume=True)
    damaged.unlink()
    assert len(small().run(out, resume=True).table) == 4
    stored = json.loads((out / "study.json").read_text())
    assert stored["inputs"]["variants"] == 4


def test_whole_runs_are_kept(tmp_path: Path) -> None:
    study = small(parameters={"mechanism.rho": [0.1, 0.4]})
    result = study.run(tmp_path / "study", keep_runs=True)
    run = result.run(1)
    assert run.summary["unserved_mwh"] == result.table.loc[1, "unserved_mwh"]
    assert str(run.mechanism) == "amm:rho=0.4"
    with pytest.raises(ao.InputError, match="was not kept"):
        study.run().run(0)
