"""What participants cost: columns that no run reads, kept by folders, and wrong ones named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from small import one_transformer, rebuilt

import amm_opt as ao
from amm_opt.study.cli import main

COSTS = {"technology": ["wind", None], "capital_per_kw": [1900.0, 0.0], "fixed_cost_per_kw_year": 50.0}


def two(**columns: object) -> ao.Case:
    case = one_transformer(10.0, [0.0, 0.0], [5.0, 15.0], [2.0, 0.0])
    return rebuilt(case, participants=case.participants.assign(**columns))


def test_costs_are_kept_and_no_run_depends_on_them(tmp_path: Path) -> None:
    case = two(**COSTS, payback_years=[20.0, None])
    again = ao.load_case(ao.save_case(case, tmp_path / "case"))
    for one in (case, again):
        people = one.participants
        assert people["technology"].tolist() == ["wind", ""]
        assert people["capital_per_kw"].tolist() == [1900.0, 0.0]
        assert people["fixed_cost_per_kw_year"].tolist() == [50.0, 50.0]
        np.testing.assert_array_equal(people["payback_years"], [20.0, np.nan])
        assert one.fingerprint == two().fingerprint
    plain = two().participants
    assert plain["technology"].tolist() == ["", ""]
    assert not plain[["capital_per_kw", "fixed_cost_per_kw_year"]].any(axis=None)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"capital_per_kw": -1.0}, "capital_per_kw = -1.0 must be a finite number, not negative"),
        ({"fixed_cost_per_kw_year": np.inf}, "fixed_cost_per_kw_year = inf must be a finite number"),
        ({"payback_years": 0.0}, "payback_years = 0.0 must be a finite number above 0"),
        ({"capital_per_kw": 850.0}, "capital_per_kw = 850.0 needs its payback_years"),
        ({"payback_years": "long"}, "payback_years = 'long' is not a number"),
    ],
    ids=str,
)
def test_bad_costs_are_named(columns: dict[str, object], said: str) -> None:
    with pytest.raises(ao.InputError) as caught:
        two(**columns)
    assert f"participant 'p0': {said}" in str(caught.value)


def test_bad_costs_on_the_command_line(tmp_path: Path) -> None:
    path = ao.save_case(two(), tmp_path / "case")
    people = pd.read_csv(path / "participants.csv").assign(capital_per_kw=-3, payback_years=-2)
    people.to_csv(path / "participants.csv", index=False)
    result = CliRunner().invoke(main, ["run", str(path), "--mechanism", "amm"])
    assert result.exit_code == 2
    assert "capital_per_kw = -3" in result.output
    assert "payback_years = -2" in result.output
