"""Indices of functions against published values and hand calculations, all through the same adapter."""

import json
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import amm_opt as ao

INTERVAL = {f"x{i}": (-np.pi, np.pi) for i in (1, 2, 3)}
FIRST, TOTAL = np.array([0.3139, 0.4424, 0.0]), np.array([0.5576, 0.4424, 0.2437])
"""Of the Ishigami function with a = 7, b = 0.1 (T. Ishigami and T. Homma, Proc. ISUMA 1990; A. Saltelli et al., "Global
Sensitivity Analysis: The Primer", 2008)."""


def ishigami(x1: float, x2: float, x3: float) -> float:
    return float(np.sin(x1) + 7.0 * np.sin(x2) ** 2 + 0.1 * x3**4 * np.sin(x1))


def test_sobol_indices_of_the_ishigami_function_are_the_published_ones() -> None:
    found = ao.sobol_indices(ishigami, INTERVAL, count=1024)
    assert found.runs == 1024 * 5
    table = found.table
    for kind, published in (("first", FIRST), ("total", TOTAL)):
        assert np.all(np.abs(table[kind] - published) <= table[f"{kind}_conf"])
        assert np.all(table[f"{kind}_conf"] < 0.1)
    again = ao.sobol_indices(ishigami, INTERVAL, count=1024)
    np.testing.assert_array_equal(again.table["total_conf"], table["total_conf"])


def test_morris_effects_of_a_line_are_its_slopes_over_the_ranges() -> None:
    table = ao.morris_indices(lambda a, b, c: 2.0 * a - 3.0 * b, {"a": (0, 10), "b": (5, 6), "c": (0, 1)}).table
    np.testing.assert_allclose(table["mu"], [20.0, -3.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(table["mu_star"], [20.0, 3.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(table["sigma"], 0.0, atol=1e-9)


def test_delta_indices_know_what_a_function_does_not_depend_on() -> None:
    """Of two normal-like sums delta grows with the share of the variance; the first-order indices are those shares."""
    bounds = {"large": (-2.0, 2.0), "small": (-1.0, 1.0), "idle": (0.0, 1.0)}
    table = ao.delta_indices(lambda large, small, idle: large + small, bounds, count=1024).table
    assert table["delta"].is_monotonic_decreasing
    assert table["delta"]["idle"] < 0.1 < table["delta"]["small"]
    np.testing.assert_allclose(table["first"], [0.8, 0.2, 0.0], atol=0.06)


def test_a_design_gives_points_and_takes_what_was_found_there() -> None:
    design = ao.Design(INTERVAL, count=64, units={"x1": "rad"})
    points = design.points()
    assert points.shape == (64 * 5, 3)
    assert points.equals(design.points())
    found = design.indices(ishigami_of(points), "ishigami")
    np.testing.assert_array_equal(found.table["first"], ao.sobol_indices(ishigami, INTERVAL, count=64).table["first"])
    assert list(found.table["unit"]) == ["rad", "", ""]
    assert "sobol of ishigami" in repr(found)
    figure = found.plot()
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["x1 (rad)", "x2", "x3"]
    flat = design.indices(np.full(len(points), 3.0))
    assert not flat.table[["first", "total"]].to_numpy().any()


def ishigami_of(points):
    return np.array([ishigami(**point) for point in points.to_dict("records")])


def test_bad_designs_and_outcomes_are_refused_with_all_that_is_wrong() -> None:
    with pytest.raises(ao.InputError) as told:
        ao.Design({"a": (1, 0), "b": 3}, "sobbol", count=1, seed=-1, units={"c": "kW"})
    assert len(told.value.problems) == 6
    with pytest.raises(ao.InputError, match="power of 2 for sobol, such as 128"):
        ao.Design(INTERVAL, count=100)
    with pytest.raises(ao.InputError, match="at least two numbers"):
        ao.Design({"a": (0, 1)})
    design = ao.Design(INTERVAL, count=4)
    with pytest.raises(ao.InputError, match="20 points"):
        design.indices(np.zeros(3))
    values = ishigami_of(design.points())
    values[[3, 7]] = np.nan
    with pytest.raises(ao.InputError, match="worst has no finite value at points 3, 7"):
        design.indices(values, "worst")
    with pytest.raises(ao.InputError, match="no finite number"):
        ao.sobol_indices(lambda **_: None, INTERVAL, count=4)


def test_nothing_is_left_changed() -> None:
    state, filters, look = np.random.get_state()[1].copy(), list(warnings.filters), warnings.formatwarning  # noqa: NPY002
    for indices in (ao.sobol_indices, ao.morris_indices, ao.delta_indices):
        indices(ishigami, INTERVAL, count=64)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert (list(warnings.filters), warnings.formatwarning) == (filters, look)


STUDY = """
case = "synthetic:buses=40,days=1,seed=3"
mechanism = "amm"
start = "{start}"
steps = 4
parameters.scenario.capacity_scale = 100

[sample]
method = "saltelli"
count = 4

[sample.bounds]
mechanism.rho = [0.1, 1]
scenario.import_scale = [0.5, 1.0]
scenario.export_scale = [0.5, 1.0]
"""


def test_a_study_knows_what_its_outcomes_depend_on(tmp_path: Path) -> None:
    """Nothing is scarce: what is asked for is proportional to one of the three numbers."""
    path, out = tmp_path / "study.toml", tmp_path / "out"
    case = ao.load_case("synthetic:buses=40,days=1,seed=3")
    asks = np.flatnonzero(case.requests(0, case.n_steps).import_request_kw.any(axis=1))[0]
    path.write_text(STUDY.format(start=f"{case.times[asks]}"), encoding="utf-8")
    command = [sys.executable, "-c", "from amm_opt.study.cli import main; main(prog_name='amm-opt')", "study"]
    done = subprocess.run([*command, str(path), "--out", str(out), "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [one["outcome"] for one in document["indices"]] == ["unserved_mwh", "worst_participant_served"]
    assert (out / "sensitivity.png").read_bytes()[:4] == b"\x89PNG"
    assert len(pd.read_csv(out / "sensitivity.csv")) == 2 * 3
    result = ao.open_study(out)
    assert result.count == 4 * (3 + 2)
    asked = result.indices("requested_import_mwh").table
    np.testing.assert_allclose(asked["total"].iloc[[0, 2]], 0.0, atol=1e-12)
    assert result.sample is not None
    alone = result.sample.design.indices(result.table["scenario.import_scale"]).table
    np.testing.assert_allclose(asked["total"], alone["total"], rtol=1e-6, atol=1e-12)
    assert alone["total"].iloc[1] > 0.5
    assert (asked.index == ["mechanism.rho", "scenario.import_scale", "scenario.export_scale"]).all()
    with pytest.raises(ao.InputError, match="19 of the sample's 20 variants"):
        replace(result, table=result.table.iloc[1:]).indices("requested_import_mwh")


def test_a_sample_by_morris_varies_one_number_at_a_time_and_takes_the_ends() -> None:
    sample = ao.Sample({"mechanism.rho": (0.0, 3.0), "uptake.seed": (1, 4)}, count=5, method="morris")
    points = pd.DataFrame(sample.points(whole=["uptake.seed"]))
    assert len(points) == 5 * 3
    assert set(points["uptake.seed"]) <= {1, 2, 3, 4}
    assert points["mechanism.rho"].between(0.0, 3.0).all()
    moved = (np.diff(sample.unit, axis=0) != 0).sum(axis=1).reshape(-1)
    assert (np.delete(moved, [2, 5, 8, 11]) == 1).all()
    with pytest.raises(ao.InputError, match="power of 2 for saltelli"):
        ao.Sample({"a": (0, 1), "b": (0, 1)}, count=3, method="saltelli")
    with pytest.raises(ao.InputError, match="at least two numbers"):
        ao.Sample({"a": (0, 1)}, count=4, method="saltelli")
